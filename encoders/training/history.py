"""What happened in a training: a table of steps that plots itself and says whether the loss has levelled off."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["History", "levelled_off"]

_N_BINS = 40  # the loss is smoothed to this many means over the run
_MIN_ROWS = 16
_TAIL = 0.25  # part of the run that has to be flat
_FLAT = 0.05  # change over that part, as a share of the whole range of the loss


def levelled_off(loss: Sequence[float] | NDArray) -> bool:
    """Whether a loss has been shown to be flat over the last quarter of a run.

    The losses are averaged to at most 40 bins and a straight line is fitted to those of the last quarter. The change
    along the line, plus twice its standard error, must be at most 5 % of the range (largest less smallest bin) of the
    whole run: a loss too noisy to tell has not been shown to be flat. Fewer than 16 losses never suffice, nor does a
    loss that did not move at all.

    Parameters
    ----------
    loss : (n,) losses in equal distances of steps.

    Notes
    -----
    A rate that is annealed to zero flattens every loss at its end. A flat loss therefore says that this schedule is
    exhausted, not that a longer one would gain nothing.
    """
    values = np.asarray(loss, dtype=np.float64)
    if values.size < _MIN_ROWS or not np.isfinite(values).all():
        return False
    bins = np.array([part.mean() for part in np.array_split(values, min(_N_BINS, values.size))])
    extent = bins.max() - bins.min()
    if extent <= 1e-6 * np.abs(bins).max():
        return False
    tail = bins[-max(5, round(_TAIL * bins.size)) :]
    place = np.linspace(-0.5, 0.5, tail.size)
    slope = (place @ tail) / (place @ place)
    residual = tail - tail.mean() - slope * place
    error = np.sqrt((residual @ residual) / (tail.size - 2) / (place @ place))
    return bool(abs(slope) + 2 * error <= _FLAT * extent)


@dataclass
class History:
    """Rows of a training, one every ``log_every`` steps, and the facts of the whole.

    Attributes
    ----------
    rows : by name: ``step`` (steps done), ``epoch``, ``learning_rate``, ``weight_decay``, ``loss`` and the objective's
        further losses (means over the steps since the row before), ``grad_norm_*`` before clipping, the objective's
        diagnostics, and the times ``data_wait_s``, ``wall_s`` and ``cpu_s`` since the row before.
    n_steps, batch_size : steps done and galaxies a step, over all processes.
    precision : what matrices were multiplied in, ``float32`` or ``bfloat16``.
    device : where.
    n_parameters : numbers that were trained.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    n_steps: int = 0
    batch_size: int = 0
    precision: str = "float32"
    device: str = "cpu"
    n_parameters: int = 0

    @property
    def converged(self) -> bool:
        """Whether the loss has levelled off, see `levelled_off`."""
        return levelled_off([row["loss"] for row in self.rows])

    def facts(self) -> dict[str, object]:
        """What a record says of the training; ``samples_per_cpu_s`` counts galaxies a CPU second of one process."""
        cpu_s = sum(row["cpu_s"] for row in self.rows)
        wall_s = sum(row["wall_s"] for row in self.rows)
        last = self.rows[-1] if self.rows else {}
        n_logged = int(last.get("step", 0)) * self.batch_size
        times = ("step", "data_wait_s", "wall_s", "cpu_s")
        return {
            "n_steps": self.n_steps,
            "batch_size": self.batch_size,
            "n_parameters": self.n_parameters,
            "precision": self.precision,
            "device": self.device,
            "converged": self.converged,
            "last": {name: value for name, value in last.items() if name not in times},
            "samples_per_cpu_s": n_logged / cpu_s if cpu_s else None,
            "samples_per_s": n_logged / wall_s if wall_s else None,
            "data_wait_share": sum(row["data_wait_s"] for row in self.rows) / wall_s if wall_s else None,
        }

    def to_csv(self, path: Path) -> None:
        """Write the rows as a table; a number that a row lacks stays empty."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with Path(path).open("w", newline="") as stream:
            writer = csv.DictWriter(stream, names)
            writer.writeheader()
            writer.writerows(self.rows)

    @classmethod
    def read_csv(cls, path: Path) -> History:
        """Rows that `to_csv` wrote; the other facts are not in a table."""
        with Path(path).open(newline="") as stream:
            table = [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(stream)]
        return cls(rows=table, n_steps=int(table[-1]["step"]) if table else 0)

    def plot(self, path: Path) -> None:
        """Draw the losses, the rates and the diagnostics against the step; the suffix of ``path`` gives the format.

        Raises
        ------
        ValueError
            If there are no rows.
        """
        from matplotlib.figure import Figure  # without pyplot, which keeps global state

        if not self.rows:
            raise ValueError("a training without rows cannot be plotted: train for at least one step")
        panels = _panels(self.rows)
        figure = Figure(figsize=(6.4, 2.2 * len(panels)), layout="constrained")
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axis, (title, names) in zip(axes, panels.items(), strict=True):
            for name in names:
                known = [row for row in self.rows if name in row]
                axis.plot([row["step"] for row in known], [row[name] for row in known], label=name, linewidth=1)
            axis.set_title(title, fontsize=9, loc="left")
            axis.legend(fontsize=7, frameon=False)
        axes[-1].set_xlabel("step")
        figure.savefig(path)


def _panels(rows: Sequence[Mapping[str, float]]) -> dict[str, list[str]]:
    """Names of columns by panel: losses, schedules, gradients, and what else there is, alone where it is alone."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in ("step", "epoch")]
    panels: dict[str, list[str]] = {"loss": [], "schedule": [], "gradient norm": [], "time": []}
    for name in names:
        if "loss" in name:
            panels["loss"].append(name)
        elif name in ("learning_rate", "weight_decay"):
            panels["schedule"].append(name)
        elif name.startswith("grad_norm"):
            panels["gradient norm"].append(name)
        elif name.endswith("_s"):
            panels["time"].append(name)
        else:
            panels[name] = [name]
    return {title: found for title, found in panels.items() if found}

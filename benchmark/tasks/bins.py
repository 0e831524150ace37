"""Bins of brightness, and what a posterior's widths and scores are in each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.artefacts import Posterior
from posteriors.calibration.conditional import quantile_bins
from posteriors.calibration.conformal import conformal_by_pit

__all__ = ["N_BINS", "Bins", "galaxy_bins", "scores_in_bins"]

Floats = NDArray[np.float64]

N_BINS = 4
_LEAST_IN_BIN = 25
_LEAST_CALIBRATION = 50  # validation galaxies, for conformal intervals
_LEVEL = 0.68


@dataclass(frozen=True)
class Bins:
    """Quarters of the test galaxies.

    Attributes
    ----------
    by : what they are quarters of, in words.
    number : (n,) 0 to 3, -1 for galaxies without a value.
    centre : median value of each.
    """

    by: str
    number: NDArray[np.int64]
    centre: tuple[float, ...]


def galaxy_bins(evidence: Posterior) -> Bins | None:
    """Quarters of the brightness, or of the predicted first target where no magnitude is known; None for few galaxies.

    Both are known without the truth: bins of the truth itself would make a right posterior look wrong.
    """
    least = N_BINS * _LEAST_IN_BIN
    if len(evidence.target_id) < least:
        return None
    by, values = evidence.magnitude_name, evidence.magnitude
    if values is None or np.isfinite(values).sum() < least:
        by, values = f"predicted {evidence.names[0]}", evidence.draws[:, :, 0].mean(0, dtype=np.float64)
    number = quantile_bins(values, N_BINS)
    # equal values share a bin, so that a column of few values leaves some without a galaxy
    centre = (float(np.median(values[number == i])) if (number == i).any() else math.nan for i in range(N_BINS))
    return Bins(by, number, tuple(centre))


def scores_in_bins(
    evidence: Posterior, per_galaxy: Mapping[tuple[str, str], Floats], spread: Floats
) -> dict[str, Any] | None:
    """Mean widths and scores of each bin with their standard errors, for the page; None for few galaxies.

    Parameters
    ----------
    per_galaxy : (n,) scores by metric and target; ``crps`` and ``sharpness_68`` of each target in its units, others of
        all targets, ``joint``.
    spread : (t,) standard deviations of the training targets, which widths and CRPS are divided by.

    Returns
    -------
    ``by``, ``n_calibration`` (validation galaxies behind the conformal intervals; 0: there are none) and ``bins``: rows
    of target, centre, n and, for each metric, value and standard error. ``conformal_68`` is the width of intervals
    that hold 68 % of truths, whatever the posterior; left out where it is infinite.
    """
    bins = galaxy_bins(evidence)
    if bins is None:
        return None
    scale = dict(zip(evidence.names, spread.tolist(), strict=True)) | {"joint": 1.0}
    columns = {(metric, name): values / scale[name] for (metric, name), values in per_galaxy.items()}
    pit = evidence.validation_pit
    n_calibration = 0 if pit is None or len(pit) < _LEAST_CALIBRATION else len(pit)
    if pit is not None and n_calibration:
        low, high = conformal_by_pit(pit, evidence.draws, _LEVEL)
        for i, name in enumerate(evidence.names):
            columns["conformal_68", name] = (high[:, i] - low[:, i]) / scale[name]
    rows = []
    for name in [*evidence.names, "joint"]:
        theirs = {metric: values for (metric, target), values in columns.items() if target == name}
        rows += [_row(name, bins, number, theirs) for number in range(N_BINS) if (bins.number == number).any()]
    return {"by": bins.by, "n_calibration": n_calibration, "bins": rows}


def _row(name: str, bins: Bins, number: int, columns: Mapping[str, Floats]) -> dict[str, Any]:
    inside = bins.number == number
    row: dict[str, Any] = {"target": name, "centre": round(bins.centre[number], 4), "n": int(inside.sum())}
    for metric, values in columns.items():
        mean, error = float(values[inside].mean()), float(values[inside].std() / math.sqrt(inside.sum()))
        if math.isfinite(mean):
            row[metric] = [float(f"{mean:.4g}"), float(f"{error:.2g}")]
    return row

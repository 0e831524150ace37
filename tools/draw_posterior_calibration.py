"""Draw how calibrated and how sharp a posterior of one target is: from the store of a run to a PNG.

Above, TARP, PIT and coverage by magnitude, as it is and recalibrated, and its ranks in their simultaneous band; below,
in the same quarters of magnitude, widths beside conformal ones, CRPS and density loss.

python tools/draw_posterior_calibration.py RUN MODEL FILE.png
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from benchmark.artefacts import Posterior
from benchmark.store import Store, load_records
from benchmark.tasks.recalibration import recalibrated_draws
from posteriors.calibration.uniformity import rank_ecdf
from posteriors.scores.density import pit_values

N_PIT_BINS = 20
BLUE, VERMILLION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "0.4"
KINDS = (("as it is", BLUE, "o", -0.06), ("recalibrated", VERMILLION, "s", 0.06))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("model")
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    score, evidence = _read(arguments.run, arguments.model)
    if len(evidence.names) != 1:
        raise SystemExit(
            f"the posterior of {arguments.model} is of {len(evidence.names)} targets: the page shows those"
        )
    mended = recalibrated_draws(evidence)
    if mended is None:
        raise SystemExit(f"{arguments.model} has too few validation galaxies to recalibrate by")
    details = score["details"]
    figure, axes = plt.subplots(2, 4, figsize=(13, 6), layout="constrained")
    pairs = zip(KINDS, (details, details["recalibrated"]), (evidence.draws, mended), strict=True)
    for (kind, colour, marker, shift), each, drawn in pairs:
        _draw_tarp(axes[0, 0], each["coverage_curve"], colour, kind)
        pit = pit_values(evidence.truth, drawn, seed=0)[:, 0]
        share = np.full(len(pit), N_PIT_BINS / len(pit))
        axes[0, 1].hist(pit, N_PIT_BINS, range=(0, 1), weights=share, histtype="step", color=colour)
        _draw_coverage(axes[0, 2], each["conditional"]["bins"], colour, marker, shift)
        axes[0, 3].plot(*_curve(pit), color=colour)
    if evidence.hpd_rank is not None:
        axes[0, 3].plot(*_curve(evidence.hpd_rank), color=GREEN)
    _finish_ranks(axes[0], len(evidence.truth), details["conditional"]["by"])
    _draw_scores(axes[1], details["scores_in_bins"])
    _draw_legend(axes[1, 3])
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.file, dpi=100)


def _draw_tarp(axes: Axes, curve: dict[str, list[float]], colour: str, kind: str) -> None:
    level, ecp, low, high = (np.array(curve[name]) for name in ("credibility", "ecp", "ecp_low", "ecp_high"))
    axes.plot(level, ecp - level, color=colour, label=kind)
    axes.fill_between(level, low - level, high - level, color=colour, alpha=0.15, linewidth=0)


def _draw_coverage(axes: Axes, bins: list[dict[str, Any]], colour: str, marker: str, shift: float) -> None:
    place = np.array([row["centre"] for row in bins]) + shift
    value = np.array([row["coverage_68"] for row in bins])
    ends = np.abs(np.array([[row["low"], row["high"]] for row in bins]).T - value)
    axes.errorbar(place, value, ends, color=colour, marker=marker, linestyle="none")


def _curve(ranks: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = rank_ecdf(ranks)
    return found.level, found.ecdf - found.level


def _finish_ranks(axes: Any, n: int, by: str) -> None:
    """Bands, lines of calibrated posteriors and labels of the upper row."""
    reach = 1.96 * (N_PIT_BINS / n) ** 0.5
    axes[1].axhspan(1 - reach, 1 + reach, color="0.85", zorder=0)
    band = rank_ecdf(np.random.default_rng(0).random(n))  # the band depends on n alone
    axes[3].fill_between(band.level, band.low - band.level, band.high - band.level, color="0.85", zorder=0)
    for panel, height in zip(axes, (0, 1, 0.68, 0), strict=True):
        panel.axhline(height, color=GREY, linewidth=0.8)
    axes[0].set(xlabel="credibility", ylabel="TARP coverage − credibility", xlim=(0, 1))
    axes[1].set(xlabel="PIT", ylabel="density", xlim=(0, 1), ylim=(0.6, 1.4))
    axes[2].set(xlabel=by, ylabel="coverage of 68 %", ylim=(0.58, 0.78))
    axes[3].set(xlabel="PIT, HPD rank", ylabel="ECDF − uniform", xlim=(0, 1))


def _draw_scores(axes: Any, in_bins: dict[str, Any]) -> None:
    """Widths, CRPS and density loss in bins, with two standard errors."""
    shown = (
        (axes[0], "sharpness_68", BLUE, "o", -0.04),
        (axes[0], "conformal_68", PURPLE, "D", 0.04),
        (axes[1], "crps", BLUE, "o", 0.0),
        (axes[2], "cde_loss", BLUE, "o", 0.0),
    )
    for panel, metric, colour, marker, shift in shown:
        rows = [row for row in in_bins["bins"] if metric in row]
        value, error = np.array([row[metric] for row in rows]).reshape(-1, 2).T
        place = np.array([row["centre"] for row in rows]) + shift
        panel.errorbar(place, value, 2 * error, color=colour, marker=marker, linestyle="none")
        panel.set_xlabel(in_bins["by"])
    axes[0].set(ylabel="width of 68 % [spread of targets]", ylim=(0, None))
    axes[1].set(ylabel="CRPS [spread of targets]", ylim=(0, None))
    axes[2].set_ylabel("density loss")


def _draw_legend(axes: Axes) -> None:
    axes.axis("off")
    entries = [(kind, {"color": colour, "marker": marker}) for kind, colour, marker, _ in KINDS]
    entries += [("HPD rank, as it is", {"color": GREEN})]
    entries += [("conformal width", {"color": PURPLE, "marker": "D", "linestyle": "none"})]
    entries += [("95 % of calibrated bins, curves", {"color": "0.85", "linewidth": 8})]
    for label, style in entries:
        axes.plot([], [], label=label, **style)
    axes.legend(frameon=False, loc="center")


def _read(run: Path, model: str) -> tuple[dict[str, Any], Posterior]:
    """The scored record of a model's posterior, and the posterior itself."""
    for record in load_records(run):
        if (record["task"]["name"], record["model"]["name"], record["status"]) == ("posterior", model, "done"):
            return record, Posterior.read(Store(run).checked_artefact(record["needs"][0]))
    raise SystemExit(f"{run} has no scored posterior of {model}")


if __name__ == "__main__":
    main()

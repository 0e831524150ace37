"""A posterior's calibration in one figure: rank ECDFs with their simultaneous band, and coverage in bins below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmark.report.theme import BLUE, GREEN, INK, PURPLE, SKY, VERMILLION, printable, svg
from posteriors.calibration.uniformity import rank_ecdf

__all__ = ["rank_plot"]

_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, SKY)
_LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (2, 1)), (0, (6, 1, 1, 1)))
_MARKERS = "osD^v"
_N_LEVELS = 41  # finer steps cannot be seen, and make the page larger


def rank_plot(names: Sequence[str], pit: NDArray[np.float64], conditional: Mapping[str, Any] | None) -> str:
    """Difference of each target's PIT distribution from the uniform one, and below its coverage in bins.

    Parameters
    ----------
    names : names of the t targets.
    pit : (n, t) probability integral transforms in [0, 1].
    conditional : ``by`` and ``bins`` of `benchmark.tasks.calibration.calibration_details`; None: no lower panel.
    """
    n_legend_rows = -(-(len(names) + 1) // 3)

    def draw(figure: Figure) -> None:
        axes = figure.subplots(1 if conditional is None else 2, 1, squeeze=False)[:, 0]
        _draw_ecdf(axes[0], names, pit)
        if conditional is not None:
            _draw_coverage(axes[1], names, conditional)
        figure.legend(
            *axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3, handlelength=1.6, columnspacing=1.0
        )

    return svg((3.5, (2.1 if conditional is None else 4.1) + 0.18 * n_legend_rows), draw, arrange=True)


def _draw_ecdf(axes: Axes, names: Sequence[str], pit: NDArray[np.float64]) -> None:
    curves = [rank_ecdf(column, _N_LEVELS) for column in pit.T]
    band = curves[0]
    low, high = band.low - band.level, band.high - band.level
    low[[0, -1]] = high[[0, -1]] = 0
    axes.fill_between(band.level, low, high, color=INK, alpha=0.14, linewidth=0, label="95 % band")
    axes.axhline(0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    for number, (name, curve) in enumerate(zip(names, curves, strict=True)):
        axes.plot(curve.level, curve.ecdf - curve.level, linewidth=1.4, label=printable(name), **_style(number))
    reach = 1.15 * max(*(np.abs(curve.ecdf - curve.level).max() for curve in curves), high.max(), -low.min())
    axes.set(xlim=(0, 1), ylim=(-reach, reach), xlabel="PIT", ylabel="ECDF − uniform")


def _draw_coverage(axes: Axes, names: Sequence[str], conditional: Mapping[str, Any]) -> None:
    """Points side by side in each bin, with 95 % whiskers."""
    centres = sorted({row["centre"] for row in conditional["bins"]})
    step = min(np.diff(centres), default=1.0) * 0.5 / max(len(names), 1)
    axes.axhline(0.68, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    for number, name in enumerate(names):
        rows = [row for row in conditional["bins"] if row["target"] == name]
        place = np.array([row["centre"] for row in rows]) + (number - (len(names) - 1) / 2) * step
        value, low, high = (np.array([row[field] for row in rows]) for field in ("coverage_68", "low", "high"))
        whiskers = (np.maximum(value - low, 0), np.maximum(high - value, 0))
        marker = _MARKERS[number % len(_MARKERS)]
        axes.errorbar(
            place, value, whiskers, marker=marker, markersize=4, linewidth=0.7, elinewidth=1.2, **_style(number)
        )
    axes.set(xlabel=printable(conditional["by"]), ylabel="coverage of 68 %")


def _style(number: int) -> dict[str, Any]:
    return {"color": _COLOURS[number % len(_COLOURS)], "linestyle": _LINES[number // len(_COLOURS) % len(_LINES)]}

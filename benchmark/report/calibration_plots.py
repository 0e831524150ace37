"""A posterior's calibration and scores: rank ECDFs in their simultaneous band, and coverage, widths, losses in bins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmark.report.theme import BLUE, GREEN, INK, ORANGE, PURPLE, VERMILLION, printable, svg
from posteriors.calibration.uniformity import rank_ecdf

__all__ = ["rank_plot", "reliability_plot", "score_plot"]

Floats = NDArray[np.float64]

_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE)  # without sky blue, which blue becomes in the dark
_LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (2, 1)), (0, (6, 1, 1, 1)))
_MARKERS = "osD^v"
_HOLLOW: dict[str, Any] = {"markerfacecolor": "none", "linestyle": (0, (1, 1.5))}
_N_LEVELS = 41  # finer steps cannot be seen, and make the page larger


def rank_plot(
    names: Sequence[str],
    pit: Floats,
    conditional: Mapping[str, Any] | None,
    hpd: Floats | None = None,
) -> str:
    """Difference of each target's PIT distribution from the uniform one, and below its coverage in bins.

    Parameters
    ----------
    names : names of the t targets.
    pit : (n, t) probability integral transforms in [0, 1].
    conditional : ``by`` and ``bins`` of `benchmark.tasks.calibration.calibration_details`; None: no lower panel.
    hpd : (n,) ranks of the truths in joint density, drawn beside the PIT of the targets.
    """
    n_legend_rows = -(-(len(names) + (hpd is not None) + 1) // 3)

    def draw(figure: Figure) -> None:
        axes = figure.subplots(1 if conditional is None else 2, 1, squeeze=False)[:, 0]
        _draw_ecdf(axes[0], names, pit, hpd)
        if conditional is not None:
            _draw_coverage(axes[1], names, conditional)
        figure.legend(
            *axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3, handlelength=1.6, columnspacing=1.0
        )

    return svg((3.5, (2.1 if conditional is None else 4.1) + 0.18 * n_legend_rows), draw, arrange=True)


def score_plot(names: Sequence[str], in_bins: Mapping[str, Any]) -> str:
    """Widths of the 68 % intervals in bins, beside the widths that hold 68 %; CRPS and energy score; density loss.

    Parameters
    ----------
    names : names of the t targets.
    in_bins : what `benchmark.tasks.bins.scores_in_bins` gives.
    """
    rows = in_bins["bins"]
    has = {metric: any(metric in row for row in rows) for metric in ("conformal_68", "cde_loss")}
    n_panels, n_legend_rows = 2 + has["cde_loss"], -(-(len(names) + 1 + has["conformal_68"]) // 3)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(n_panels, 1, sharex=True)
        for number, name in enumerate(names):
            step = _side_step(rows, names, number)
            _draw_means(panels[0], rows, name, "sharpness_68", step, label=printable(name), **_marked(number))
            _draw_means(panels[0], rows, name, "conformal_68", step, **_marked(number) | _HOLLOW)
            _draw_means(panels[1], rows, name, "crps", step, **_marked(number))
        joint = {"color": INK, "marker": "P", "linestyle": (0, (4, 2))}
        _draw_means(panels[1], rows, "joint", "energy_score", 0.0, label="all together", **joint)
        if has["conformal_68"]:
            panels[0].plot([], [], color=INK, marker="o", markersize=4, linewidth=0.9, label="conformal", **_HOLLOW)
        if has["cde_loss"]:
            _draw_means(panels[2], rows, "joint", "cde_loss", 0.0, **joint)
            panels[2].set_ylabel("density loss")
        for axes, label in zip(panels, ("width of 68 %", "CRPS, energy score"), strict=False):
            axes.set_ylabel(label)
            axes.set_ylim(bottom=0)
        panels[-1].set_xlabel(printable(in_bins["by"]))
        named = [pair for axes in panels for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
        figure.legend(*zip(*named, strict=True), loc="outside upper left", ncols=3, handlelength=2.0, columnspacing=1.0)

    return svg((3.5, 0.35 + 1.55 * n_panels + 0.18 * n_legend_rows), draw, arrange=True)


def _side_step(rows: Sequence[Mapping[str, Any]], names: Sequence[str], number: int) -> float:
    """How far the points of a target stand beside the centre of their bin."""
    centres = sorted({row["centre"] for row in rows})
    return min(np.diff(centres), default=1.0) * 0.5 / max(len(names), 1) * (number - (len(names) - 1) / 2)


def _draw_means(
    axes: Axes, rows: Sequence[Mapping[str, Any]], name: str, metric: str, step: float, **style: Any
) -> None:
    """Means of a metric in bins with whiskers of two standard errors."""
    shown = [row for row in rows if row["target"] == name and metric in row]
    if not shown:
        return
    place = np.array([row["centre"] for row in shown]) + step
    value, error = np.array([row[metric] for row in shown]).T
    _draw_points(axes, place, value, value - 2 * error, value + 2 * error, **style)


def reliability_plot(name: str, curves: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Observed shares of classes against the claimed ones, with 95 % whiskers and the diagonal of calibration.

    Parameters
    ----------
    name : of the target.
    curves : class -> the fields of `posteriors.calibration.reliability.ReliabilityCurve`.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        for number, (one, curve) in enumerate(curves.items()):
            place, value, low, high = (np.asarray(curve[field]) for field in ("claimed", "observed", "low", "high"))
            _draw_points(axes, place, value, low, high, label=printable(one), **_marked(number))
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="claimed probability", ylabel="observed share", aspect="equal")
        axes.set_title(printable(name))
        axes.legend(loc="upper left")

    return svg((3.2, 3.3), draw, arrange=True)


def _draw_points(
    axes: Axes, place: Floats, value: Floats, low: Floats, high: Floats, *, linewidth: float = 0.9, **style: Any
) -> None:
    """Marked points with whiskers from ``low`` to ``high``: all whiskers are one line, as each would be an element."""
    axes.plot(place, value, markersize=4, linewidth=linewidth, clip_on=False, **style)
    ends = np.stack([low, high, np.full(len(low), np.nan)], axis=1).ravel()
    axes.plot(np.repeat(place, 3), ends, color=style["color"], linewidth=1.1, clip_on=False)


def _marked(number: int) -> dict[str, Any]:
    return {"marker": _MARKERS[number % len(_MARKERS)]} | _style(number)


def _draw_ecdf(axes: Axes, names: Sequence[str], pit: Floats, hpd: Floats | None) -> None:
    curves = [rank_ecdf(column, _N_LEVELS) for column in pit.T]
    joint = [] if hpd is None else [rank_ecdf(hpd, _N_LEVELS)]
    band = curves[0]
    low, high = band.low - band.level, band.high - band.level
    low[[0, -1]] = high[[0, -1]] = 0
    axes.fill_between(band.level, low, high, color=INK, alpha=0.14, linewidth=0, label="95 % band")
    axes.axhline(0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    for number, (name, curve) in enumerate(zip(names, curves, strict=True)):
        axes.plot(curve.level, curve.ecdf - curve.level, linewidth=1.4, label=printable(name), **_style(number))
    for curve in joint:
        axes.plot(curve.level, curve.ecdf - curve.level, linewidth=1.4, label="all (HPD)", color=INK, linestyle="-.")
    strays = [np.abs(curve.ecdf - curve.level).max() for curve in (*curves, *joint)]
    reach = 1.15 * max(*strays, high.max(), -low.min())
    axes.set(xlim=(0, 1), ylim=(-reach, reach), xlabel="PIT, HPD rank", ylabel="ECDF − uniform")


def _draw_coverage(axes: Axes, names: Sequence[str], conditional: Mapping[str, Any]) -> None:
    """Points side by side in each bin, with 95 % whiskers."""
    centres = sorted({row["centre"] for row in conditional["bins"]})
    step = min(np.diff(centres), default=1.0) * 0.5 / max(len(names), 1)
    axes.axhline(0.68, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    for number, name in enumerate(names):
        rows = [row for row in conditional["bins"] if row["target"] == name]
        place = np.array([row["centre"] for row in rows]) + (number - (len(names) - 1) / 2) * step
        value, low, high = (np.array([row[field] for row in rows]) for field in ("coverage_68", "low", "high"))
        _draw_points(axes, place, value, low, high, linewidth=0.7, **_marked(number))
    axes.set(xlabel=printable(conditional["by"]), ylabel="coverage of 68 %")


def _style(number: int) -> dict[str, Any]:
    return {"color": _COLOURS[number % len(_COLOURS)], "linestyle": _LINES[number // len(_COLOURS) % len(_LINES)]}

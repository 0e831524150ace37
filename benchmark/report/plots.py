"""Figures of the page: arrays in, SVG text out. Axes follow the reader's light or dark theme.

Everything is drawn on `matplotlib.figure.Figure`: pyplot, and with it a global backend, is never touched. Clouds of
points are embedded as pixels, the rest stays lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import binom

from benchmark.report.tables import plot_range
from benchmark.report.theme import BLUE, GREEN, INK, PURPLE, SKY, VERMILLION, printable, svg

__all__ = ["Dot", "coverage_plot", "interval_plot", "pit_band", "pit_bins_outside", "pit_plot", "redshift_plot"]

Floats = NDArray[np.float64]

_MODALITIES = {
    "photometry": (BLUE, "o"),
    "image": (VERMILLION, "s"),
    "spectrum": (GREEN, "D"),
    "image+spectrum": (PURPLE, "^"),
}
_DENSE = 2_000  # from so many galaxies on a cloud of points is a histogram
_OUTLIER = 0.15  # |dz| of the outlier fraction


@dataclass(frozen=True)
class Dot:
    """One row of an interval plot."""

    name: str
    modality: str
    value: float
    low: float | None
    high: float | None


def interval_plot(dots: Sequence[Dot], mark: float | None, mark_label: str, label: str) -> str:
    """Values with 95 % whiskers, the first at the top, and a line at the floor, zero or the nominal level.

    A value or whisker beyond the axis is drawn at its border with an arrow.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        limits = plot_range([end for dot in dots for end in (dot.value, dot.low, dot.high)], [mark])
        for place, dot in enumerate(dots):
            _draw_dot(axes, dot, -place, limits)
        if mark is not None:
            axes.axvline(mark, color=INK, linestyle=(0, (4, 3)), linewidth=1, label=mark_label)
        axes.set_xlim(*limits)
        axes.set_ylim(-len(dots) + 0.4, 0.6)
        axes.set_yticks([-place for place in range(len(dots))], [printable(dot.name) for dot in dots])
        axes.set_xlabel(label)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=INK, alpha=0.15, linewidth=0.6)
        handles, names = axes.get_legend_handles_labels()
        unique = dict(zip(names, handles, strict=True))
        figure.legend(unique.values(), unique.keys(), loc="outside upper left", ncols=3, handlelength=1.6)

    return svg((5.0, 0.85 + 0.27 * len(dots)), draw, arrange=True)


def redshift_plot(
    name: str, title: Sequence[str], truth: Floats, predicted: Floats, limits: tuple[float, float], reach: float
) -> str:
    """Predicted against true redshift, with the residual below.

    Parameters
    ----------
    name : model and probe.
    title : further lines of the title, such as scores with their intervals.
    truth, predicted : (n,) redshifts, finite; from 2,000 galaxies on they are shown as a histogram.
    limits : lowest and highest redshift of both axes.
    reach : largest |dz| of the residual panel. What lies outside of the axes is drawn at their border.
    """
    residual = (predicted - truth) / (1 + truth)
    shown = np.clip(truth, *limits)

    def draw(figure: Figure) -> None:
        upper, lower = _stacked(figure, 1 + len(title))
        _draw_cloud(upper, shown, np.clip(predicted, *limits), (limits, limits))
        line = np.linspace(*limits, 50)
        upper.plot(line, line, color=INK, linewidth=1)
        _draw_cloud(lower, shown, np.clip(residual, -reach, reach), (limits, (-reach, reach)))
        lower.axhline(0, color=INK, linewidth=1)
        for sign in (-1, 1):
            upper.plot(line, line + sign * _OUTLIER * (1 + line), color=INK, linewidth=0.7, linestyle=(0, (4, 3)))
            lower.axhline(sign * _OUTLIER, color=INK, linewidth=0.7, linestyle=(0, (4, 3)))
        _draw_quantiles(lower, truth, residual)
        upper.set(xlim=limits, ylim=limits, ylabel="predicted z")
        lower.set(ylim=(-reach, reach), xlabel="true z", ylabel="Δz / (1 + z)")
        upper.set_title("\n".join([printable(name), *title]), linespacing=1.35)

    return svg((3.5, 4.5), draw)


def coverage_plot(name: str, curve: Mapping[str, Sequence[float]]) -> str:
    """Expected coverage against credibility with its 95 % band, and the difference of both below.

    Parameters
    ----------
    name : model and probe.
    curve : ``credibility``, ``ecp``, ``ecp_low`` and ``ecp_high``, of equal length.
    """
    credibility, ecp, low, high = (
        np.asarray(curve[field], dtype=float) for field in ("credibility", "ecp", "ecp_low", "ecp_high")
    )

    def draw(figure: Figure) -> None:
        upper, lower = _stacked(figure, 1)
        for axes, offset in ((upper, 0 * credibility), (lower, credibility)):
            axes.fill_between(
                credibility, low - offset, high - offset, color=SKY, alpha=0.4, linewidth=0, label="95 % band"
            )
            axes.plot(credibility, ecp - offset, color=BLUE, linewidth=1.6, label="measured")
        upper.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)), label="calibrated")
        lower.axhline(0, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        widest = 1.1 * max(0.05, np.abs(low - credibility).max(), np.abs(high - credibility).max())
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="expected coverage")
        lower.set(ylim=(-widest, widest), xlabel="credibility", ylabel="difference")
        upper.set_title(printable(name))
        upper.legend(loc="upper left")

    return svg((3.5, 4.1), draw)


def pit_plot(names: Sequence[str], pit: Floats) -> str:
    """A histogram of PIT values a target, with the band in which 95 % of bins lie if they are uniform.

    Parameters
    ----------
    names : names of the t targets.
    pit : (n, t) probability integral transforms in [0, 1].
    """
    n = len(pit)
    n_bins, low, high = pit_band(n)
    n_columns = min(3, len(names))
    n_rows = -(-len(names) // n_columns)
    width, height = (3.6, 2.6) if n_columns == 1 else (1.85 * n_columns + 0.5, 1.6 * n_rows + 0.5)

    def draw(figure: Figure) -> None:
        margins = {"left": 0.62 / width, "right": 1 - 0.1 / width, "bottom": 0.52 / height, "top": 1 - 0.25 / height}
        spaces = {"wspace": 0.12, "hspace": 0.38}
        grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False, gridspec_kw=margins | spaces)
        for number, axes in enumerate(grid.flat):
            if number >= len(names):
                axes.remove()
                continue
            axes.axhspan(low, high, color=INK, alpha=0.14, linewidth=0)
            axes.axhline(1, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
            axes.hist(
                pit[:, number], bins=n_bins, range=(0, 1), density=True, histtype="step", color=BLUE, linewidth=1.4
            )
            axes.set_title(printable(names[number]))
            axes.set_xlim(0, 1)
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
            axes.tick_params(labelbottom=number + n_columns >= len(names))
        grid[0, 0].set_ylim(bottom=0)
        figure.supxlabel("PIT: posterior mass below the truth", fontsize=9, y=0.02)
        figure.supylabel("density", fontsize=9, x=0.02)

    return svg((width, height), draw)


def pit_band(n: int) -> tuple[int, float, float]:
    """Number of bins for n PIT values, and the densities between which 95 % of bins lie if they are uniform.

    A bin's count is binomial with n trials and probability 1 / n_bins; 20 galaxies a bin at least, 5 to 20 bins.
    """
    n_bins = int(np.clip(n // 20, 5, 20))
    low, high = (float(binom.ppf(share, n, 1 / n_bins)) * n_bins / n for share in (0.025, 0.975))
    return n_bins, low, high


def pit_bins_outside(pit: Floats) -> tuple[int, int]:
    """How many bins of the histograms of (n, t) PIT values lie outside of the band of `pit_band`, and of how many."""
    n_bins, low, high = pit_band(len(pit))
    density = np.array([np.histogram(column, n_bins, (0, 1), density=True)[0] for column in pit.T])
    tolerance = 1e-9  # the band's ends are densities of whole counts, computed in another order
    return int(((density < low - tolerance) | (density > high + tolerance)).sum()), density.size


def _stacked(figure: Figure, title_lines: int) -> tuple[Axes, Axes]:
    """A panel and a lower one below it on the same abscissa, with room for a title."""
    width, height = figure.get_size_inches()
    margins = {"left": 0.66 / width, "right": 1 - 0.14 / width, "bottom": 0.45 / height}
    margins["top"] = 1 - (0.08 + 0.17 * title_lines) / height
    upper, lower = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1.25], "hspace": 0.1, **margins}
    )
    for axes in (upper, lower):
        axes.yaxis.set_label_coords(-0.53 / (width * (margins["right"] - margins["left"])), 0.5)
    return upper, lower


def _draw_dot(axes: Axes, dot: Dot, height: float, limits: tuple[float, float]) -> None:
    colour, marker = _MODALITIES.get(dot.modality, (INK, "P"))
    if dot.low is not None and dot.high is not None:
        ends = np.clip((dot.low, dot.high), *limits)
        axes.plot(ends, (height, height), color=colour, linewidth=1.8, solid_capstyle="butt")
    name = dot.modality if dot.modality in _MODALITIES else "reads nothing, or unknown"
    outside = "<" if dot.value < limits[0] else ">" if dot.value > limits[1] else marker
    place = float(np.clip(dot.value, *limits))
    axes.plot([], [], linestyle="none", marker=marker, color=colour, markersize=5.5, label=name)
    axes.plot(place, height, linestyle="none", marker=outside, color=colour, markersize=5.5, clip_on=False)


def _draw_cloud(axes: Axes, x: Floats, y: Floats, limits: tuple[tuple[float, float], tuple[float, float]]) -> None:
    """Points, or beyond `_DENSE` a two-dimensional histogram whose opacity grows with the logarithm of the count."""
    if len(x) <= _DENSE:
        size, alpha = (5, 0.5) if len(x) <= 500 else (3, 0.35)
        axes.scatter(x, y, s=size, color=BLUE, alpha=alpha, linewidth=0, rasterized=True)
        return
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=70, range=limits)
    opacity = np.linspace(0.25, 1, 64)
    colours = ListedColormap([(*to_rgb(BLUE), alpha) for alpha in opacity])
    axes.pcolormesh(
        x_edges, y_edges, np.ma.masked_equal(np.log1p(counts), 0).T, cmap=colours, linewidth=0, rasterized=True
    )


def _draw_quantiles(axes: Axes, truth: Floats, residual: Floats) -> None:
    """Median and central 68 % of the residual in bins of equal numbers of galaxies, 20 at least."""
    n_bins = min(10, len(truth) // 20)
    if n_bins < 2:
        return
    order = np.array_split(np.argsort(truth), n_bins)
    centre = [np.median(truth[rows]) for rows in order]
    low, middle, high = np.array([np.quantile(residual[rows], (0.16, 0.5, 0.84)) for rows in order]).T
    axes.plot(centre, middle, color=VERMILLION, linewidth=1.6)
    for edge in (low, high):
        axes.plot(centre, edge, color=VERMILLION, linewidth=1, linestyle=(0, (2, 1.5)))

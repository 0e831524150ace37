"""Figures of the page: arrays in, SVG text out. Axes follow the reader's light or dark theme.

Everything is drawn on `matplotlib.figure.Figure`: pyplot, and with it a global backend, is never touched. Clouds of
points are embedded as pixels, the rest stays lines.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from numpy.typing import NDArray
from scipy.stats import binom

from benchmark.report.tables import plot_range

__all__ = ["Dot", "coverage_plot", "interval_plot", "pit_band", "pit_plot", "redshift_plot"]

Floats = NDArray[np.float64]

_INK = "#010203"  # stands for the theme's text colour until the SVG is written
_BLUE, _VERMILLION, _GREEN, _PURPLE, _SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"  # Okabe and Ito 2008
_MODALITIES = {
    "photometry": (_BLUE, "o"),
    "image": (_VERMILLION, "s"),
    "spectrum": (_GREEN, "D"),
    "image+spectrum": (_PURPLE, "^"),
}
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "text.parse_math": False,  # a name with a dollar sign is a name
    "svg.fonttype": "path",
    "svg.hashsalt": "galaxybench",  # equal figures are equal text
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
}
_THEME = (
    "<style>@media (prefers-color-scheme: dark){svg{color:#e4e7eb}"
    '[style*="stroke: #0072b2"]{stroke:#56b4e9!important}[style*="fill: #0072b2"]{fill:#56b4e9!important}'
    "image{filter:brightness(1.6)}}</style>"
)
_DENSE = 2_000  # from so many galaxies on a cloud of points is a histogram
_LONGEST_NAME = 34  # letters of a model's name beside a figure
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
            axes.axvline(mark, color=_INK, linestyle=(0, (4, 3)), linewidth=1, label=mark_label)
        axes.set_xlim(*limits)
        axes.set_ylim(-len(dots) + 0.4, 0.6)
        axes.set_yticks([-place for place in range(len(dots))], [_printable(dot.name) for dot in dots])
        axes.set_xlabel(label)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=_INK, alpha=0.15, linewidth=0.6)
        handles, names = axes.get_legend_handles_labels()
        unique = dict(zip(names, handles, strict=True))
        figure.legend(unique.values(), unique.keys(), loc="outside upper left", ncols=3, handlelength=1.6)

    return _svg((5.0, 0.85 + 0.27 * len(dots)), draw)


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
        upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1.25]})
        _draw_cloud(upper, shown, np.clip(predicted, *limits), (limits, limits))
        line = np.linspace(*limits, 50)
        upper.plot(line, line, color=_INK, linewidth=1)
        _draw_cloud(lower, shown, np.clip(residual, -reach, reach), (limits, (-reach, reach)))
        lower.axhline(0, color=_INK, linewidth=1)
        for sign in (-1, 1):
            upper.plot(line, line + sign * _OUTLIER * (1 + line), color=_INK, linewidth=0.7, linestyle=(0, (4, 3)))
            lower.axhline(sign * _OUTLIER, color=_INK, linewidth=0.7, linestyle=(0, (4, 3)))
        _draw_quantiles(lower, truth, residual)
        upper.set(xlim=limits, ylim=limits, ylabel="predicted z")
        lower.set(ylim=(-reach, reach), xlabel="true z", ylabel="Δz / (1 + z)")
        upper.set_title("\n".join([_printable(name), *title]), linespacing=1.35)
        figure.align_ylabels()

    return _svg((3.5, 4.5), draw)


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
        upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1.25]})
        for axes, offset in ((upper, 0 * credibility), (lower, credibility)):
            axes.fill_between(
                credibility, low - offset, high - offset, color=_SKY, alpha=0.4, linewidth=0, label="95 % band"
            )
            axes.plot(credibility, ecp - offset, color=_BLUE, linewidth=1.6, label="measured")
        upper.plot([0, 1], [0, 1], color=_INK, linewidth=1, linestyle=(0, (4, 3)), label="calibrated")
        lower.axhline(0, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
        widest = 1.1 * max(0.05, np.abs(low - credibility).max(), np.abs(high - credibility).max())
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="expected coverage")
        lower.set(ylim=(-widest, widest), xlabel="credibility", ylabel="difference")
        upper.set_title(_printable(name))
        upper.legend(loc="upper left")
        figure.align_ylabels()

    return _svg((3.5, 4.3), draw)


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

    def draw(figure: Figure) -> None:
        grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
        for number, axes in enumerate(grid.flat):
            if number >= len(names):
                axes.remove()
                continue
            axes.axhspan(low, high, color=_INK, alpha=0.14, linewidth=0)
            axes.axhline(1, color=_INK, linewidth=0.8, linestyle=(0, (4, 3)))
            axes.hist(
                pit[:, number], bins=n_bins, range=(0, 1), density=True, histtype="step", color=_BLUE, linewidth=1.4
            )
            axes.set_title(_printable(names[number]))
            axes.set_xlim(0, 1)
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
            axes.tick_params(labelbottom=number + n_columns >= len(names))
        grid[0, 0].set_ylim(bottom=0)
        figure.supxlabel("PIT: posterior mass below the truth", fontsize=9)
        figure.supylabel("density", fontsize=9)

    return _svg((1.55 * n_columns + 0.4, 1.45 * n_rows + 0.5), draw)


def pit_band(n: int) -> tuple[int, float, float]:
    """Number of bins for n PIT values, and the densities between which 95 % of bins lie if they are uniform.

    A bin's count is binomial with n trials and probability 1 / n_bins; 20 galaxies a bin at least, 5 to 20 bins.
    """
    n_bins = int(np.clip(n // 20, 5, 20))
    low, high = (float(binom.ppf(share, n, 1 / n_bins)) * n_bins / n for share in (0.025, 0.975))
    return n_bins, low, high


def _draw_dot(axes: Axes, dot: Dot, height: float, limits: tuple[float, float]) -> None:
    colour, marker = _MODALITIES.get(dot.modality, (_INK, "P"))
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
        axes.scatter(x, y, s=size, color=_BLUE, alpha=alpha, linewidth=0, rasterized=True)
        return
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=70, range=limits)
    opacity = np.linspace(0.25, 1, 64)
    colours = ListedColormap([(*to_rgb(_BLUE), alpha) for alpha in opacity])
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
    axes.plot(centre, middle, color=_VERMILLION, linewidth=1.6)
    for edge in (low, high):
        axes.plot(centre, edge, color=_VERMILLION, linewidth=1, linestyle=(0, (2, 1.5)))


def _svg(size: tuple[float, float], draw: Callable[[Figure], None]) -> str:
    """Draw on a figure of this size in inches and return the SVG element, in the theme's colours."""
    stream = io.StringIO()
    with matplotlib.rc_context(_STYLE):  # put back on leaving, whatever happens
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(stream, format="svg", dpi=170, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg ") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"(?<!scale\()(-?\d+\.\d\d)\d+(?=[ \n\"])", r"\1", text)  # hundredths of a point are enough
    return re.sub(r"<svg ([^>]*)>", rf'<svg color="#1c2126" \1>{_THEME}', text, count=1)


def _printable(name: str) -> str:
    """A name as the figures' font can show it: on one line, cut where it is long, unknown letters as boxes."""
    known = get_font(findfont("DejaVu Sans")).get_charmap()
    letters = "".join(letter if ord(letter) in known else "□" for letter in " ".join(name.split()))
    return letters if len(letters) <= _LONGEST_NAME else letters[: _LONGEST_NAME - 1] + "…"

"""How figures look: the page's colours on white, small PNG files."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from benchmark.report.theme import BLUE, GREEN, PURPLE, SKY, VERMILLION

__all__ = ["BLUE", "GREEN", "GREY", "PURPLE", "SKY", "STYLE", "VERMILLION", "cloud", "running", "write_png"]

GREY = "#5f6b76"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
}
DPI = 110


def write_png(figure: Figure | NDArray[np.float64], path: Path) -> None:
    """Save a figure, or a picture (height, width, 3) in [0, 1], with a palette that keeps the file small."""
    if isinstance(figure, Figure):
        stream = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            figure.savefig(stream, format="png", dpi=DPI)
        image = Image.open(stream).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    else:  # colours of the few bright pixels must survive, so coverage of colour space decides, not frequency
        photograph = Image.fromarray(np.round(255 * figure).astype(np.uint8))
        image = photograph.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    image.save(path, optimize=True)


def cloud(axes: Axes, x: NDArray, y: NDArray, colour: str, label: str | None = None, most: int = 4000) -> None:
    """Points of at most ``most`` galaxies, the first ones."""
    axes.scatter(x[:most], y[:most], s=2.5, color=colour, alpha=0.35, linewidth=0, rasterized=True)
    if label:
        axes.plot([], [], "o", color=colour, markersize=4, label=label)


def running(
    axes: Axes, x: NDArray, y: NDArray, edges: NDArray, colour: str, label: str | None = None, fewest: int = 15
) -> None:
    """Median of y in bins of x with bars from the 16 % to the 84 % quantile, of bins with galaxies enough."""
    centre, quantiles = [], []
    for low, high in pairwise(edges):
        inside = (x >= low) & (x < high) & np.isfinite(y)
        if inside.sum() >= fewest:
            centre.append((low + high) / 2)
            quantiles.append(np.quantile(y[inside], (0.16, 0.5, 0.84)))
    if centre:
        low, middle, high = np.array(quantiles).T
        bars = np.stack([middle - low, high - middle])
        axes.errorbar(centre, middle, bars, fmt="o", color=colour, markersize=4, capsize=2, label=label)

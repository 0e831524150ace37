"""How figures look: colours that everybody can tell apart, and SVG that follows the reader's light or dark theme."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from benchmark.data.inspection.pictures import printable

__all__ = ["BLUE", "DIMMED_IN_DARK", "GREEN", "INK", "ORANGE", "PURPLE", "SKY", "VERMILLION", "printable", "svg"]

INK = "#010203"
"""Stands for the theme's text colour until the SVG is written."""

# Okabe & Ito 2008, Color Universal Design
BLUE, SKY, GREEN, VERMILLION, PURPLE, ORANGE = "#0072B2", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#E69F00"

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
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}
DIMMED_IN_DARK = "image{filter:brightness(1.6)}"
"""Rule of the dark theme for clouds of points that are embedded as pixels; photographs do without."""

_THEME = (
    "<style>@media (prefers-color-scheme: dark){svg{color:#e4e7eb}"
    '[style*="stroke: #0072b2"]{stroke:#56b4e9!important}[style*="fill: #0072b2"]{fill:#56b4e9!important}'
    f"{DIMMED_IN_DARK}}}</style>"
)


def svg(size: tuple[float, float], draw: Callable[[Figure], None], *, arrange: bool = False) -> str:
    """Draw on a figure of this size in inches and return the SVG element, in the theme's colours.

    ``arrange`` lets matplotlib find the margins, which takes as long as drawing twice.
    """
    stream = io.StringIO()
    with matplotlib.rc_context(_STYLE):  # put back on leaving, whatever happens
        figure = Figure(figsize=size, layout="constrained" if arrange else None)
        draw(figure)
        figure.savefig(stream, format="svg", dpi=170, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg ") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*\n\s*", " ", text).replace("> <", "><")  # an eighth of it is line breaks and indents
    text = re.sub(r"(?<!scale\()(-?\d+\.\d\d)\d+(?=[ \n\"])", r"\1", text)  # hundredths of a point are enough
    return re.sub(r"<svg ([^>]*)>", rf'<svg color="#1c2126" \1>{_THEME}', text, count=1)

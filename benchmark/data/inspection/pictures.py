"""Pictures of a survey to look at before anything is scored: galaxies, spectra with their lines, targets, the sky."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from numpy.typing import NDArray

from benchmark.data.survey import Survey
from benchmark.data.views import inputs

__all__ = ["LINES", "Drawing", "draw_survey", "drawings", "printable"]

N_GALAXIES, N_SPECTRA = 25, 6
N_COLUMNS = 5  # of galaxies
SMOOTHED_TO = 1000  # pixels of a drawn spectrum
SURE = 5.0  # sigma above which a pixel of a spectrum counts for the height of its axis
N_BINS = 30
LONGEST_NAME = 34  # letters
# Okabe & Ito 2008, Color Universal Design
COLOURS = {"train": "#0072B2", "validation": "#E69F00", "test": "#009E73", "unlabelled": "#8C8C8C"}
LINE_COLOUR = "#D55E00"
# vacuum wavelengths in Angstrom, as SDSS lists them (classic.sdss.org/dr7/algorithms/linestable.php)
LINES = {
    "[O II]": 3728.5,
    "Ca K": 3934.8,
    "Ca H": 3969.6,
    "H delta": 4102.9,
    "G": 4305.6,
    "H beta": 4862.7,
    "[O III]": 5008.2,
    "Mg": 5176.6,
    "Na D": 5895.6,
    "H alpha": 6564.6,
    "[S II]": 6725.5,
}


@dataclass(frozen=True)
class Drawing:
    """One figure that is not drawn yet.

    Attributes
    ----------
    size : width and height in inches.
    draw : draws on an empty figure of this size, in the colours that matplotlib is set to.
    caption : what it shows, in words.
    """

    size: tuple[float, float]
    draw: Callable[[Figure], None]
    caption: str


def drawings(survey: Survey, *, seed: int = 0) -> dict[str, Drawing]:
    """What can be drawn of a survey.

    Parameters
    ----------
    survey : the survey.
    seed : of the choice of galaxies.

    Returns
    -------
    Those that the survey has the data for, of ``galaxies`` (25 random images), ``spectra`` (6 random spectra, with the
    lines of their redshift where there is one), ``targets`` (histograms by split) and ``sky``.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, Drawing] = {}
    if survey.images is not None:
        rows = _chosen(survey, N_GALAXIES, rng)
        n_lines = -(-len(rows) // N_COLUMNS)
        size = (2.0 * min(N_COLUMNS, len(rows)), 2.25 * n_lines)
        caption = f"{len(rows)} of {survey.n_galaxies:,} galaxies, drawn at random"
        found["galaxies"] = Drawing(size, partial(_galaxies, survey=survey, rows=rows), caption)
    if survey.spectra is not None:
        rows = _chosen(survey, N_SPECTRA, rng)
        caption = (
            f"{len(rows)} of {survey.n_galaxies:,} spectra, drawn at random, with their errors (grey); lines stand "
            "where the redshift puts them"
        )
        found["spectra"] = Drawing((10, 2.0 * len(rows) + 0.3), partial(_spectra, survey=survey, rows=rows), caption)
    if targets := survey.info.targets:
        n_columns = min(3, len(targets))
        size = (3.6 * n_columns, 2.6 * -(-len(targets) // n_columns) + 0.4)
        caption = "targets by split, as densities"
        found["targets"] = Drawing(size, partial(_targets, survey=survey, n_columns=n_columns), caption)
    if np.isfinite(survey.catalogue["ra"].to_numpy(dtype=np.float64)).any():
        found["sky"] = Drawing((7, 4.5), partial(_sky, survey=survey), "positions on the sky by split")
    return found


def draw_survey(survey: Survey, folder: str | Path, *, seed: int = 0) -> list[Path]:
    """Draw what a survey holds into PNG files, named as in `drawings`.

    Parameters
    ----------
    survey : the survey.
    folder : where the pictures go; it is made.
    seed : of the choice of galaxies.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    written = []
    for name, drawing in drawings(survey, seed=seed).items():
        with matplotlib.rc_context({"text.parse_math": False}):  # a name with a dollar sign is a name
            figure = Figure(figsize=drawing.size, layout="constrained")
            FigureCanvasAgg(figure)
            drawing.draw(figure)
            path = place / f"{name}.png"
            figure.savefig(path, dpi=110)
        written.append(path)
    return written


def printable(name: str) -> str:
    """A name as a figure's font can show it: on one line, cut where it is long, unknown letters as boxes."""
    known = get_font(findfont("DejaVu Sans")).get_charmap()
    letters = "".join(letter if ord(letter) in known else "□" for letter in " ".join(name.split()))
    return letters if len(letters) <= LONGEST_NAME else letters[: LONGEST_NAME - 1] + "…"


def _chosen(survey: Survey, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.sort(rng.permutation(survey.n_galaxies)[:n]).astype(np.int64)


def _ink() -> str:
    return str(matplotlib.rcParams["text.color"])


def _galaxies(figure: Figure, survey: Survey, rows: NDArray[np.int64]) -> None:
    pixels = inputs(survey, "image", rows)[:]
    if pixels.shape[1] not in (1, 3):  # more bands than colours: the first, the middle and the last of them
        pixels = pixels[:, [0, pixels.shape[1] // 2, pixels.shape[1] - 1]]
    n_columns = min(N_COLUMNS, len(rows))
    axes = figure.subplots(-(-len(rows) // n_columns), n_columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, row in zip(axes, pixels, rows):
        shown = (np.clip(np.moveaxis(image, 0, -1).squeeze(), 0, 1) * 255).astype(np.uint8)
        axis.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="none")
        axis.set_title("\n".join(_label(survey, int(row))), fontsize=6.5, loc="center")


def _label(survey: Survey, row: int) -> list[str]:
    """Name of a galaxy, and its first target."""
    table = survey.catalogue
    name = str(table["source_id"][row]) if "source_id" in table else str(survey.target_id[row])
    if not survey.info.targets:
        return [printable(name)]
    target, value = survey.info.targets[0], float(table[survey.info.targets[0].name][row])
    text = target.classes[int(value)] if target.classes and np.isfinite(value) else f"{value:.4g}"
    return [printable(name), printable(f"{target.name} = {text}")]


def _spectra(figure: Figure, survey: Survey, rows: NDArray[np.int64]) -> None:
    axes = np.atleast_1d(figure.subplots(len(rows), 1, sharex=True))
    for axis, row in zip(axes, rows):
        _spectrum(axis, survey, int(row))
    axes[-1].set_xlabel("observed wavelength [Å]")
    figure.supylabel("flux density [1e-17 erg/s/cm²/Å]", fontsize=8)


def _spectrum(axis: Axes, survey: Survey, row: int) -> None:
    assert survey.spectra is not None  # the caller asked
    assert survey.spectra_ivar is not None
    assert survey.wave_angstrom is not None
    flux, ivar = survey.spectra[row].astype(np.float64), survey.spectra_ivar[row].astype(np.float64)
    width = max(1, len(flux) // SMOOTHED_TO)
    n = len(flux) // width * width
    parts = (values[:n].reshape(-1, width) for values in (flux * ivar, ivar, survey.wave_angstrom))
    weighted, weight, wave = (values.sum(axis=1) for values in parts)
    wave = wave / width
    mean = np.where(weight > 0, weighted / np.where(weight > 0, weight, 1), np.nan)
    error = np.where(weight > 0, 1 / np.sqrt(np.where(weight > 0, weight, 1)), np.nan)
    axis.fill_between(wave, mean - error, mean + error, color=_ink(), alpha=0.2, linewidth=0)
    axis.plot(wave, mean, color=_ink(), linewidth=0.6)
    seen = mean[np.isfinite(mean)]
    if len(seen):
        low, high = np.quantile(seen, [0.005, 0.995])
        high = np.nanmax(mean, initial=high, where=mean > SURE * error)  # the whole of a line, of a noisy pixel not
        axis.set_ylim(low - 0.1 * (high - low), high + 0.4 * (high - low))
    axis.set_xlim(wave[0], wave[-1])
    axis.tick_params(labelsize=7)
    axis.set_title(", ".join(_label(survey, row)), fontsize=7, loc="left")
    z = survey.catalogue["z"][row] if "z" in survey.catalogue else np.nan
    for name, rest in LINES.items() if np.isfinite(z) else ():
        at = rest * (1 + z)
        if wave[0] < at < wave[-1]:
            axis.axvline(at, color=LINE_COLOUR, linewidth=0.7, alpha=0.7, zorder=0.5)
            if name == "Ca H":  # so close to Ca K that one name has to do for both
                continue
            text = "Ca K H" if name == "Ca K" else name
            place: dict[str, Any] = {"xytext": (-1, 0), "textcoords": "offset points", "va": "top", "ha": "right"}
            axis.annotate(text, (at, 0.97), xycoords=axis.get_xaxis_transform(), fontsize=6, rotation=90, **place)


def _targets(figure: Figure, survey: Survey, n_columns: int) -> None:
    targets = survey.info.targets
    axes = figure.subplots(-(-len(targets) // n_columns), n_columns, squeeze=False).ravel()
    for axis in axes[len(targets) :]:
        axis.set_axis_off()
    handles: dict[str, Any] = {}
    for axis, target in zip(axes, targets):
        values = survey.target([target.name], survey.rows())[:, 0]
        known = np.isfinite(values)
        label = printable(f"{target.name} [{target.unit}]" if target.unit else target.name)
        axis.set_xlabel(label, fontsize=8)
        axis.tick_params(labelsize=7)
        if not known.any():
            continue
        edges = _edges(values[known], len(target.classes))
        if target.classes:
            axis.set_xticks(range(len(target.classes)), [printable(name) for name in target.classes])
        elif n_outside := int(((values[known] < edges[0]) | (values[known] > edges[-1])).sum()):
            axis.set_xlabel(f"{label}, {n_outside} outside", fontsize=8)
        for split in ("train", "validation", "test"):
            chosen = values[known & (survey.split == split)]
            inside = chosen[(chosen >= edges[0]) & (chosen <= edges[-1])]
            if len(inside):
                style: dict[str, Any] = {"color": COLOURS[split], "linewidth": 1.2, "label": split}
                handles[split] = axis.hist(inside, edges, histtype="step", density=True, **style)[2][0]
    if handles:
        names, lines = list(handles), list(handles.values())
        figure.legend(lines, names, loc="outside upper left", ncols=3, fontsize=7, frameon=False)


def _edges(values: NDArray[np.float64], n_classes: int) -> NDArray[np.float64]:
    """Bins of a histogram that a few far values do not squeeze: all of them, or all but .25 % on either side."""
    if n_classes:
        return np.arange(-0.5, n_classes)
    low, first, last, high = np.quantile(values, [0, 0.0025, 0.9975, 1])
    margin = 0.5 * (last - first)
    low, high = (first if low < first - margin else low), (last if high > last + margin else high)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, N_BINS + 1)


def _sky(figure: Figure, survey: Survey) -> None:
    ra, dec = (survey.catalogue[name].to_numpy(dtype=np.float64) for name in ("ra", "dec"))
    axis = figure.subplots()
    size = 5.0 if len(ra) < 1000 else 2.5 if len(ra) < 20_000 else 1.2
    for split in ("unlabelled", "train", "validation", "test"):  # the few above the many
        chosen = (survey.split == split) & np.isfinite(ra)
        if chosen.any():
            style: dict[str, Any] = {"color": COLOURS[split], "markersize": size, "rasterized": True}
            axis.plot(ra[chosen], dec[chosen], ".", label=f"{split} ({int(chosen.sum()):,})", **style)
    axis.set_xlabel("right ascension [deg]")
    axis.set_ylabel("declination [deg]")
    axis.invert_xaxis()
    figure.legend(loc="outside upper left", ncols=4, fontsize=8, frameon=False, markerscale=8 / size)

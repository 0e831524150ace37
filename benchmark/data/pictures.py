"""Pictures of a survey to look at before anything is scored: galaxies, spectra with their lines, targets, the sky."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmark.data.survey import Survey
from benchmark.data.views import inputs

__all__ = ["LINES", "draw_survey"]

N_GALAXIES, N_SPECTRA = 25, 6
SMOOTHED_TO = 1000  # pixels of a drawn spectrum
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


def draw_survey(survey: Survey, folder: str | Path, *, seed: int = 0) -> list[Path]:
    """Draw what a survey holds.

    Parameters
    ----------
    survey : the survey.
    folder : where the pictures go; it is made.
    seed : of the choice of galaxies.

    Returns
    -------
    The files written, of these: ``galaxies.png`` (25 random images), ``spectra.png`` (6 random spectra, with the lines
    of their redshift where there is one), ``targets.png`` (histograms by split) and ``sky.png``.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    figures: dict[str, Figure] = {}
    if survey.images is not None:
        figures["galaxies"] = _galaxies(survey, rng)
    if survey.spectra is not None:
        figures["spectra"] = _spectra(survey, rng)
    if survey.info.targets:
        figures["targets"] = _targets(survey)
    if np.isfinite(survey.catalogue["ra"].to_numpy(dtype=np.float64)).any():
        figures["sky"] = _sky(survey)
    written = []
    for name, figure in figures.items():
        FigureCanvasAgg(figure)
        path = place / f"{name}.png"
        figure.savefig(path, dpi=110)
        written.append(path)
    return written


def _chosen(survey: Survey, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.sort(rng.permutation(survey.n_galaxies)[:n]).astype(np.int64)


def _galaxies(survey: Survey, rng: np.random.Generator) -> Figure:
    rows = _chosen(survey, N_GALAXIES, rng)
    pixels = inputs(survey, "image", rows)[:]
    if pixels.shape[1] not in (1, 3):  # more bands than colours: the first, the middle and the last of them
        pixels = pixels[:, [0, pixels.shape[1] // 2, pixels.shape[1] - 1]]
    side = int(np.ceil(np.sqrt(len(rows))))
    figure = Figure(figsize=(2 * side, 2.15 * side), layout="constrained")
    axes = np.atleast_1d(figure.subplots(side, side)).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, row in zip(axes, pixels, rows):
        axis.imshow(np.moveaxis(image, 0, -1).squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(_label(survey, int(row)), fontsize=6)
    return figure


def _label(survey: Survey, row: int) -> str:
    """Name and first target of a galaxy."""
    table = survey.catalogue
    name = str(table["source_id"][row]) if "source_id" in table else str(survey.target_id[row])
    if not survey.info.targets:
        return name
    target = survey.info.targets[0].name
    return f"{name}\n{target} = {table[target][row]:.4g}"


def _spectra(survey: Survey, rng: np.random.Generator) -> Figure:
    rows = _chosen(survey, N_SPECTRA, rng)
    figure = Figure(figsize=(11, 2.1 * len(rows)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(rows), 1, sharex=True))
    for axis, row in zip(axes, rows):
        _spectrum(axis, survey, int(row))
    axes[-1].set_xlabel("observed wavelength [Angstrom]")
    return figure


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
    axis.fill_between(wave, mean - error, mean + error, color="0.8", linewidth=0)
    axis.plot(wave, mean, color="black", linewidth=0.6)
    seen = mean[np.isfinite(mean)]
    if len(seen):
        low, high = np.quantile(seen, [0.005, 0.998])
        axis.set_ylim(low - 0.15 * (high - low), high + 0.35 * (high - low))
    axis.set_xlim(wave[0], wave[-1])
    axis.set_ylabel("f_lambda", fontsize=7)
    axis.tick_params(labelsize=7)
    axis.set_title(_label(survey, row).replace("\n", ", "), fontsize=7, loc="left")
    z = survey.catalogue["z"][row] if "z" in survey.catalogue else np.nan
    for name, rest in LINES.items() if np.isfinite(z) else ():
        at = rest * (1 + z)
        if wave[0] < at < wave[-1]:
            axis.axvline(at, color="tab:red", linewidth=0.6, alpha=0.6)
            axis.text(
                at, 0.98, name, transform=axis.get_xaxis_transform(), fontsize=6, rotation=90, va="top", ha="right"
            )


def _targets(survey: Survey) -> Figure:
    targets = survey.info.targets
    n_columns = min(3, len(targets))
    n_lines = -(-len(targets) // n_columns)
    figure = Figure(figsize=(4 * n_columns, 2.8 * n_lines), layout="constrained")
    axes = np.atleast_1d(figure.subplots(n_lines, n_columns, squeeze=False)).ravel()
    for axis in axes[len(targets) :]:
        axis.set_axis_off()
    for axis, target in zip(axes, targets):
        values = survey.target([target.name], survey.rows())[:, 0]
        known = np.isfinite(values)
        axis.set_xlabel(f"{target.name} [{target.unit}]" if target.unit else target.name)
        if not known.any():
            continue
        edges = np.linspace(values[known].min(), values[known].max() + 1e-12, 31)
        for split in ("train", "validation", "test"):
            chosen = values[known & (survey.split == split)]
            if len(chosen):
                axis.hist(chosen, edges, histtype="step", density=True, label=f"{split} ({len(chosen)})")
        axis.legend(fontsize=6)
    return figure


def _sky(survey: Survey) -> Figure:
    ra, dec = (survey.catalogue[name].to_numpy(dtype=np.float64) for name in ("ra", "dec"))
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    for split in ("train", "validation", "test", "unlabelled"):
        chosen = (survey.split == split) & np.isfinite(ra)
        if chosen.any():
            axis.plot(ra[chosen], dec[chosen], ".", markersize=2, label=f"{split} ({int(chosen.sum())})")
    axis.set_xlabel("right ascension [deg]")
    axis.set_ylabel("declination [deg]")
    axis.invert_xaxis()
    axis.legend(fontsize=7)
    return figure

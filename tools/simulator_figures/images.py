"""Figures of images and of what volunteers say about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import zoom

from benchmark.data import Survey, rgb_stretch
from benchmark.simulator.flavours import SOUTH
from benchmark.simulator.votes import QUESTIONS

from . import real as real_data
from .noise import autocorrelation, blank_pixels, radial_power
from .style import BLUE, GREEN, GREY, PURPLE, VERMILLION

__all__ = ["blank_sky", "mosaic", "noise_power", "scaled_cutout", "votes"]

N_COLUMNS, STAMP_ROWS = 8, 2
STAMP = 76  # pixels
GAP = 8
NOISE_CUTOUTS = 24


def mosaic(frame: pd.DataFrame, survey: Survey, folder: Path | None) -> NDArray[np.float64]:
    """Simulated galaxies beside DECaLS ones, cut to size, and whole cutouts beside a field of the Legacy Surveys.

    Featured galaxies (as the real ones are: three fifths of votes and more) brighter than r = 17.8 within z = .15 are
    cut as Galaxy Zoo cuts them; below, galaxies of all kinds stand as models get them, beside the field at one scale.

    Returns
    -------
    (height, 608, 3) colours in [0, 1]: from the top two rows of simulated featured galaxies, two of DECaLS (left out
    without ``folder``), then two of six simulated cutouts, 40 arcsec each, left of the field of 67 arcsec.
    """
    images = _images(survey)
    votes_for = frame["smooth-or-featured_featured-or-disk"] / frame["smooth-or-featured_total"]
    n_each = STAMP_ROWS * N_COLUMNS
    bright = np.flatnonzero((frame["r"] < 17.8) & (frame["z"] < 0.15) & (votes_for > 0.6))[:n_each]
    radius = frame["radius_arcsec"].to_numpy()
    ours = [scaled_cutout(np.asarray(images[row], np.float64), radius[row]) for row in bright]
    blocks = [_tiled(ours, N_COLUMNS)]
    if folder is not None:
        blocks.append(_tiled([_halved(cutout / 255) for cutout in real_data.zoo_cutouts(folder, n_each)], N_COLUMNS))
    all_kinds = np.arange(2 * (N_COLUMNS - 2)) * 37 % len(frame)
    whole = _tiled([_halved(_colour(np.asarray(images[k], np.float64))) for k in all_kinds], N_COLUMNS - 2)
    right = np.ones((len(whole), 2 * STAMP, 3))
    if folder is not None:
        field = _halved(_colour(real_data.legacy_cube(folder)))
        row, column = (len(right) - len(field)) // 2, 2 * STAMP - len(field)
        right[row : row + len(field), column:] = field
    blocks.append(np.concatenate([whole, right], axis=1))
    gap = np.ones((GAP, N_COLUMNS * STAMP, 3))
    return np.concatenate([part for block in blocks for part in (block, gap)][:-1], axis=0)


def scaled_cutout(image: NDArray[np.float64], radius_arcsec: float) -> NDArray[np.float64]:
    """Colour composite (76, 76, 3) of a galaxy's surroundings, 24 half-light radii wide or what the image has.

    Parameters
    ----------
    image : (3, height, width) nanomaggies a pixel of .262 arcsec, the galaxy in the middle.
    radius_arcsec : half-light radius.
    """
    half = int(np.clip(round(12 * radius_arcsec / SOUTH.pixel_scale_arcsec), 19, image.shape[1] // 2))
    middle = image.shape[1] // 2
    cut = image[:, middle - half : middle + half, middle - half : middle + half]
    factor = STAMP / (2 * half)
    return _colour(zoom(cut, (1, factor, factor), order=1))


def _images(survey: Survey) -> NDArray:
    if survey.images is None:
        raise ValueError(f"{survey.folder}: the survey has no images; build one that has")
    return survey.images


def _colour(image: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.moveaxis(rgb_stretch(image), 0, -1).astype(np.float64)


def _halved(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of two by two pixels."""
    height, width = colours.shape[0] // 2, colours.shape[1] // 2
    return colours.reshape(height, 2, width, 2, 3).mean(axis=(1, 3))


def _tiled(stamps: list[NDArray[np.float64]], n_columns: int) -> NDArray[np.float64]:
    """Stamps in rows of ``n_columns``, white where there are too few."""
    stamps = stamps + [np.ones((STAMP, STAMP, 3))] * (-len(stamps) % n_columns)
    rows = [np.concatenate(stamps[k : k + n_columns], axis=1) for k in range(0, len(stamps), n_columns)]
    return np.clip(np.concatenate(rows, axis=0), 0, 1)


def blank_sky(images: NDArray, reach: int = 12) -> list[tuple[float, NDArray, NDArray]]:
    """Noise of images (n, 3, height, width) where no source is seen in any band, a band each.

    Returns
    -------
    Standard deviation of a pixel, and frequencies and powers as `noise.radial_power` returns them.
    """
    stack = np.asarray(images, dtype=np.float64)
    blank = np.array([np.logical_and.reduce([blank_pixels(band) for band in image]) for image in stack])
    found = []
    for band in range(stack.shape[1]):
        correlation = autocorrelation(stack[:, band], blank, reach)
        found.append((float(np.sqrt(correlation[reach, reach])), *radial_power(correlation)))
    return found


def noise_power(survey: Survey, folder: Path | None) -> Figure:
    """Power spectrum of the noise of blank sky in simulated cutouts and in a field of the Legacy Surveys."""
    images = _images(survey)
    samples = {"simulated": blank_sky(images[:NOISE_CUTOUTS])}
    if folder is not None:
        samples["Legacy Surveys DR9"] = blank_sky(real_data.legacy_cube(folder)[None])
    figure = Figure(figsize=(9.2, 2.8), layout="constrained")
    for k, (axes, band) in enumerate(zip(figure.subplots(1, 3, sharey=True), "grz", strict=True)):
        for (name, found), colour in zip(samples.items(), (BLUE, VERMILLION), strict=False):
            sigma, frequency, power = found[k]
            axes.plot(frequency, power, "o-", color=colour, markersize=4, label=f"{name}, sigma {1e3 * sigma:.1f}")
        axes.axhline(1, color=GREY, linestyle=":")
        axes.set(title=band, xlabel="frequency, cycles a pixel", yscale="log", ylim=(0.03, 6))
        axes.legend(fontsize=7, loc="lower left")
    figure.axes[0].set_ylabel("power by that of white noise")
    figure.axes[0].text(0.02, 4, "sigma a pixel in 1e-3 nMgy", fontsize=7, color=GREY)
    return figure


def votes(frame: pd.DataFrame) -> Figure:
    """Vote fractions for features, their trend with magnitude, and how many volunteers reach each question."""
    total = frame["smooth-or-featured_total"].to_numpy()
    featured = (frame["smooth-or-featured_featured-or-disk"] / total).to_numpy()
    debiased = frame["smooth-or-featured_featured-or-disk_debiased"].to_numpy()
    many = total > 34
    figure = Figure(figsize=(9.2, 3.0), layout="constrained")
    share, trend, asked = figure.subplots(1, 3)
    kinds = (
        ("quiescent", frame["quiescent"].to_numpy(), VERMILLION),
        ("star-forming", ~frame["quiescent"].to_numpy(), BLUE),
    )
    for name, rows, colour in kinds:
        share.hist(featured[many & rows], np.linspace(0, 1, 21), histtype="step", color=colour, label=name)
    share.set(xlabel="share of votes for features or disc", ylabel="galaxies")
    share.legend()
    edges = np.arange(16, 20.3, 0.5)
    for values, colour, name in ((featured, BLUE, "raw"), (debiased, GREEN, "debiased")):
        inside = np.digitize(frame["r"], edges)
        bins = [k for k in range(1, len(edges)) if np.sum(inside == k) > 1]
        mean = [np.mean(values[inside == k]) for k in bins]
        error = [np.std(values[inside == k]) / np.sum(inside == k) ** 0.5 for k in bins]
        trend.errorbar(edges[:-1][np.array(bins) - 1] + 0.25, mean, error, fmt="o", color=colour, label=name)
    trend.set(xlabel="r", ylabel="mean share of votes for features", ylim=(0, 1))
    trend.legend()
    names = list(QUESTIONS)
    half = [np.mean(frame[f"{name}_total"].to_numpy()[many] >= 0.5 * total[many]) for name in names]
    asked.barh(np.arange(len(names)), half, color=PURPLE)
    asked.set_yticks(np.arange(len(names)), names, fontsize=7)
    asked.invert_yaxis()
    asked.set(xlabel="galaxies of which half are asked", xlim=(0, 1))
    return figure

"""Images as networks see them: some bands, averaged over blocks of pixels; and what their sky is like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.reading.images import ImageFacts, ImageStack, binned, centre_crop, require_finite, require_images
from encoders.reading.prepared_galaxies import Prepare, PreparedGalaxies
from encoders.reading.stretch import GRZ_SCALES
from encoders.row_order import content_keys

__all__ = ["Sky", "facts_of", "image_centres", "shown_bands", "survey_images"]

_MOST = float(np.finfo(np.float16).max)


def facts_of(inputs: ImageStack) -> ImageFacts:
    """What a stack says of its pixels; pictures where it says nothing."""
    facts = getattr(inputs, "facts", None)
    return ImageFacts() if facts is None else facts


def shown_bands(facts: ImageFacts, reader: str) -> tuple[tuple[int, ...] | None, tuple[float, ...] | None]:
    """Which bands a network is shown, None for all, and their scales in the colour stretch, None for pictures.

    All bands where the survey has scales for them, else g, r and z, with the usual scales.

    Raises
    ------
    ValueError
        If images in nanomaggies have neither.
    """
    if facts.unit == "display":
        return None, None
    if facts.stretch:
        return None, facts.stretch
    if not {"g", "r", "z"} <= set(facts.bands):
        raise ValueError(
            f"{reader} was given nanomaggies in {', '.join(facts.bands) or 'unnamed bands'}: the colour stretch is "
            "defined for g, r, z; other bands need image_stretch in survey.toml"
        )
    return tuple(facts.bands.index(band) for band in "grz"), GRZ_SCALES


def image_centres(
    inputs: ImageStack, factor: int, side: int, reader: str, bands: tuple[int, ...] | None = None
) -> Prepare:
    """How images become the centres of binned images (b, bands, side, side), float16, for `PreparedGalaxies`.

    Parameters
    ----------
    inputs : images (n, bands, height, width).
    factor : pixels that are averaged along each axis, at least 1.
    side : pixels, after binning, about the centre that are kept; shorter images are surrounded by zeros.
    reader : name of the model, for messages.
    bands : which bands, None for all.

    Raises
    ------
    ValueError
        If ``inputs`` are no images; when they are read, if a pixel is NaN or infinite.

    Notes
    -----
    The relative error of float16, 5e-4, is far below a pixel's noise. Values beyond 65,504 are cut.
    """
    n_bands, height, width = require_images(inputs, reader)
    chosen = slice(None) if bands is None or bands == tuple(range(n_bands)) else list(bands)
    of_rows, of_columns = (_binned_to(length, factor, side) for length in (height, width))

    def prepare(images: NDArray[np.float32], rows: NDArray[np.int64]) -> Tensor:
        require_finite(images, rows, reader)
        centre = centre_crop(binned(images[:, chosen, of_rows, of_columns], factor), side)
        return torch.from_numpy(np.clip(centre, -_MOST, _MOST).astype(np.float16))

    return prepare


def _binned_to(length: int, factor: int, side: int) -> slice:
    """The pixels of an axis that become the ``side`` central ones of its ``length // factor`` bins."""
    first = max(0, length // factor - side) // 2
    return slice(first * factor, (first + side) * factor)


@dataclass(frozen=True)
class Sky:
    """Mean and standard deviation of all pixels of each channel, as shown; of each band the noise of empty sky."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    noise: tuple[float, ...]


def survey_images(read: PreparedGalaxies, show: Callable[[Tensor], Tensor]) -> tuple[Sky, NDArray[np.int64]]:
    """Look at all images once, ``show`` making of fluxes what is shown: their sky, and their order (n,) by content.

    In that order a training does not depend on the order of the file. The noise is the median over galaxies of the
    scatter in the four corners, 1.4826 times the median absolute deviation, which neighbours in a corner hardly move.
    """
    sums = squares = torch.zeros((), dtype=torch.float64)
    n_pixels = 0
    scatter, keys = [], []
    for images in read.consecutive():
        keys.append(content_keys(images.flatten(1).numpy(), 0))
        shown = show(images).double()
        sums = sums + shown.sum((0, 2, 3))
        squares = squares + shown.square().sum((0, 2, 3))
        n_pixels += shown[:, 0].numel()
        scatter.append(_corner_scatter(images))
    mean = sums / n_pixels
    std = (squares / n_pixels - mean.square()).clamp_min(1e-12).sqrt()
    noise = torch.cat(scatter).median(0).values.clamp_min(1e-6)
    order = np.argsort(np.concatenate(keys), kind="stable")
    return Sky(tuple(mean.tolist()), tuple(std.tolist()), tuple(noise.tolist())), order


def _corner_scatter(images: Tensor) -> Tensor:
    """Robust standard deviation (b, bands) of the pixels in the four corners, an eighth of the side each."""
    side = max(1, min(images.shape[-2:]) // 8)
    edge = torch.cat([images[..., :side, :], images[..., -side:, :]], dim=-2)
    corner = torch.cat([edge[..., :side], edge[..., -side:]], dim=-1).flatten(2)
    deviation = (corner - corner.median(-1, keepdim=True).values).abs()
    return 1.4826 * deviation.median(-1).values

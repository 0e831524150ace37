"""Images as a training reads them: some bands, averaged over blocks of pixels once, kept in memory where they fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.reading.images import ImageFacts, ImageStack, binned, centre_crop, require_finite, require_images
from encoders.reading.stretch import GRZ_SCALES
from encoders.row_order import content_keys

__all__ = ["BinnedImages", "Sky", "facts_of", "shown_bands", "survey_images"]

CACHE_BYTES = 4_000_000_000
_MOST = float(np.finfo(np.float16).max)
_READ_ROWS = 256


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


class BinnedImages:
    """A function from rows to the centres of binned images (b, bands, side, side), float32.

    Parameters
    ----------
    inputs : images (n, bands, height, width).
    factor : pixels that are averaged along each axis, at least 1.
    side : pixels, after binning, about the centre that are kept; shorter images are surrounded by zeros.
    reader : name of the model, for messages.
    bands : which bands, None for all.
    max_bytes : binned images are kept in memory, as float16, if all of them fit in so much; else they are read and
        binned anew each time.

    Notes
    -----
    Values are rounded to float16 either way (a relative error of 5e-4, far below a pixel's noise), so that what fits
    into memory moves no number. Beyond 65,504 they are cut.
    """

    def __init__(
        self,
        inputs: ImageStack,
        factor: int,
        side: int,
        reader: str,
        *,
        bands: tuple[int, ...] | None = None,
        max_bytes: int = CACHE_BYTES,
    ) -> None:
        n_bands, _, _ = require_images(inputs, reader)
        self._inputs, self._factor, self._side, self._name, self._bands = inputs, factor, side, reader, bands
        shape = (n_bands if bands is None else len(bands), side, side)
        fits = 2 * len(inputs) * int(np.prod(shape)) <= max_bytes
        self._kept = np.empty((len(inputs), *shape), dtype=np.float16) if fits else None
        self._known = np.zeros(len(inputs), dtype=bool)

    def __len__(self) -> int:
        return len(self._inputs)

    def __call__(self, rows: NDArray[np.int64]) -> Tensor:
        if self._kept is None:
            return torch.from_numpy(self._read(rows)).float()
        fresh = rows[~self._known[rows]]
        if fresh.size:
            self._kept[fresh] = self._read(fresh)
            self._known[fresh] = True
        return torch.from_numpy(self._kept[rows]).float()

    def _read(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        contiguous = rows.size and bool((np.diff(rows) == 1).all())  # a slice of a memory map reads ahead
        chosen = slice(int(rows[0]), int(rows[-1]) + 1) if contiguous else rows
        images = np.asarray(self._inputs[chosen], dtype=np.float32)
        require_finite(images, int(rows[0]) if rows.size else 0, self._name)
        if self._bands is not None:
            images = images[:, self._bands]
        centre = centre_crop(binned(images, self._factor), self._side)
        return np.clip(centre, -_MOST, _MOST).astype(np.float16)


@dataclass(frozen=True)
class Sky:
    """Of each band: mean and standard deviation of all pixels, as shown, and the noise of empty sky, in flux."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    noise: tuple[float, ...]


def survey_images(read: BinnedImages, show: Callable[[Tensor], Tensor]) -> tuple[Sky, NDArray[np.int64]]:
    """Look at all images once, ``show`` making of fluxes what is shown: their sky, and their order (n,) by content.

    In that order a training does not depend on the order of the file. The noise is the median over galaxies of the
    scatter in the four corners, 1.4826 times the median absolute deviation, which neighbours in a corner hardly move.
    """
    sums = squares = torch.zeros((), dtype=torch.float64)
    n_pixels = 0
    scatter, keys = [], []
    for start in range(0, len(read), _READ_ROWS):
        images = read(np.arange(start, min(start + _READ_ROWS, len(read))))
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

"""Reading a stack of images batch by batch, with its shape and its numbers checked at the border."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["ImageFacts", "ImageStack", "binned", "centre_crop", "image_batches", "require_finite", "require_images"]

Pixels = NDArray[np.float32]
_PAIRWISE = 8  # terms from which on numpy sums in another order


@dataclass(frozen=True)
class ImageFacts:
    """What the pixels of a stack of images are: its attribute ``facts``. A stack without facts holds pictures.

    Attributes
    ----------
    unit : ``nanomaggy`` a pixel, or ``display``: a picture in [0, 1], from which no flux can be had.
    bands : name of each band.
    pixel_scale_arcsec : arcseconds a pixel, None where unknown.
    stretch : scale of each band in the colour stretch; empty for the usual one of g, r, z.
    """

    unit: Literal["nanomaggy", "display"] = "display"
    bands: tuple[str, ...] = ()
    pixel_scale_arcsec: float | None = None
    stretch: tuple[float, ...] = ()


class ImageStack(Protocol):
    """Images (n, bands, height, width) that are loaded when a slice of rows is asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]: ...


def require_images(inputs: ImageStack, reader: str) -> tuple[int, int, int]:
    """Bands, height and width of a stack of images.

    Raises
    ------
    ValueError
        If the stack is not (n, bands, height, width), or an axis after the first is empty.
    """
    shape = tuple(inputs.shape)
    if len(shape) != 4 or 0 in shape[1:]:
        raise ValueError(
            f"{reader} was given inputs of shape {shape}: it reads images (n, bands, height, width); "
            "add the missing axis or choose a model for this kind of input"
        )
    return shape[1], shape[2], shape[3]


def image_batches(inputs: ImageStack, batch_size: int, reader: str) -> Iterator[NDArray[np.float32]]:
    """Consecutive batches (b, bands, height, width) of float32 images, every pixel finite.

    Parameters
    ----------
    inputs : images (n, bands, height, width).
    batch_size : rows that are in memory at a time, at least 1.
    reader : name of the model, for messages.

    Raises
    ------
    ValueError
        If the shape is not that of images, or a pixel is NaN or infinite (the first such row is named).
    """
    require_images(inputs, reader)
    if batch_size < 1:
        raise ValueError(f"{reader}: batch_size {batch_size}: must be at least 1")
    for start in range(0, len(inputs), batch_size):
        batch = np.asarray(inputs[start : start + batch_size], dtype=np.float32)
        yield require_finite(batch, np.arange(start, start + len(batch)), reader)


def require_finite(batch: Pixels, rows: NDArray[np.int64], reader: str) -> Pixels:
    """The images (b, bands, height, width) of some rows (b,), unless a pixel is NaN or infinite.

    Raises
    ------
    ValueError
        If one is; the first such row is named.
    """
    finite = np.isfinite(batch).all(axis=(1, 2, 3))
    if not finite.all():
        raise ValueError(
            f"{reader}: {np.count_nonzero(~finite)} images of rows {rows.min()} to {rows.max()} hold NaN or "
            f"infinite pixels, first row {rows[~finite].min()}: only finite pixels are allowed; "
            "fill or drop bad pixels first"
        )
    return batch


def binned(images: Pixels, factor: int) -> Pixels:
    """Images (..., height, width) averaged over ``factor`` x ``factor`` pixels; what is left over at the end is cut.

    The mean keeps surface brightness, so that a stretch made for full resolution still holds; the noise of a pixel
    falls by ``factor``.
    """
    height, width = (side // factor for side in images.shape[-2:])
    cut = images[..., : height * factor, : width * factor]
    if factor >= _PAIRWISE:
        return cut.reshape(*images.shape[:-2], height, factor, width, factor).mean(axis=(-3, -1), dtype=np.float32)
    rows = (_sum([cut[..., row::factor, column::factor] for column in range(factor)]) for row in range(factor))
    return _sum(list(rows)) / np.float32(factor**2)


def _sum(terms: list[Pixels]) -> Pixels:
    """Sum in the order of the terms: that of numpy's mean over short axes, which takes 4 times as long."""
    total = terms[0].astype(np.float32)
    for term in terms[1:]:
        total += term
    return total


def centre_crop(images: Pixels, size: int) -> Pixels:
    """The central ``size`` x ``size`` pixels of images (..., height, width); a side that is shorter gets zeros."""
    missing = [max(0, size - side) for side in images.shape[-2:]]
    if any(missing):
        width = [(0, 0)] * (images.ndim - 2) + [(gap // 2, gap - gap // 2) for gap in missing]
        images = np.pad(images, width)
    top, left = ((side - size) // 2 for side in images.shape[-2:])
    return images[..., top : top + size, left : left + size]

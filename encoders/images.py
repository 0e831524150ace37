"""Reading a stack of images batch by batch, with its shape and its numbers checked at the border."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["ImageStack", "image_batches", "require_images"]


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
        finite = np.isfinite(batch).all(axis=(1, 2, 3))
        if not finite.all():
            raise ValueError(
                f"{reader}: {np.count_nonzero(~finite)} images of rows {start} to {start + len(batch) - 1} hold NaN or "
                f"infinite pixels, first row {start + int(np.argmin(finite))}: only finite pixels are allowed; "
                "fill or drop bad pixels first"
            )
        yield batch

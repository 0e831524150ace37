"""Linear embeddings of images: pooled pixels, and principal components of pooled pixels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.classical.components import drawn_rows, principal_components
from encoders.reading.images import ImageStack, image_batches, require_images
from encoders.row_order import content_keys

__all__ = ["ImagePCA", "ImagePixels"]


class ImagePixels:
    """Pixels averaged over a coarse grid: what a network has to beat to have seen more than colour and size.

    Parameters
    ----------
    grid : cells along height and along width, at least 1. The embedding has ``bands * grid**2`` columns.
    batch_size : images in memory at a time.

    Notes
    -----
    Cells are those of adaptive average pooling: an image whose side is no multiple of ``grid`` gets cells that share
    edge pixels, one smaller than the grid has pixels repeated. Any image size is therefore read.
    """

    def __init__(self, grid: int = 8, batch_size: int = 256) -> None:
        _require_at_least_one(grid=grid, batch_size=batch_size)
        self.grid, self.batch_size = grid, batch_size

    def fit(self, inputs: ImageStack, *, seed: int) -> None:
        """Nothing is learned and nothing is drawn; the shape of ``inputs`` (n, bands, height, width) is checked."""
        require_images(inputs, "ImagePixels")

    def embed(self, inputs: ImageStack) -> NDArray[np.float32]:
        """Mean pixels (n, bands * grid**2) of images (n, bands, height, width), band by band, row by row.

        Raises
        ------
        ValueError
            If ``inputs`` are not images or hold NaN or infinite pixels.
        """
        bands, _, _ = require_images(inputs, "ImagePixels")
        out = np.empty((len(inputs), bands * self.grid**2), dtype=np.float32)
        start = 0
        for batch in image_batches(inputs, self.batch_size, "ImagePixels"):
            out[start : start + len(batch)] = _pooled(batch, self.grid)
            start += len(batch)
        return out

    def state(self) -> dict[str, NDArray]:
        """Empty: there are no weights."""
        return {}

    def load_state(self, state: Mapping[str, NDArray]) -> None:
        """Accept the empty state; anything else belongs to another model."""
        if state:
            raise ValueError(f"ImagePixels has no weights, was given {', '.join(sorted(state))}: load it elsewhere")


class ImagePCA:
    """Principal components of pooled pixels, learned from training and unlabelled galaxies.

    Parameters
    ----------
    n_components : width of the embedding, at least 1; fewer where there are fewer training rows or pooled pixels.
    grid : images are averaged to ``grid`` x ``grid`` cells first, as in `ImagePixels`.
    max_rows : galaxies the components are learned from, which bounds memory (two float32 copies of ``max_rows *
        bands * grid**2``). Above it a subset is drawn: the rows with the smallest hash of content and seed, so that
        the draw does not depend on the order of the file.
    batch_size : images in memory at a time.

    References
    ----------
    Halko, Martinsson & Tropp 2011, arXiv:0909.4061 (the randomised solver, as scikit-learn has it).
    """

    def __init__(self, n_components: int = 64, grid: int = 32, max_rows: int = 10_000, batch_size: int = 256) -> None:
        _require_at_least_one(n_components=n_components, grid=grid, max_rows=max_rows, batch_size=batch_size)
        self.n_components, self.grid, self.max_rows, self.batch_size = n_components, grid, max_rows, batch_size
        self._mean: NDArray[np.float32] | None = None
        self._components: NDArray[np.float32] | None = None

    def fit(self, inputs: ImageStack, *, seed: int) -> None:
        """Learn the components of images (n, bands, height, width); needs at least 2 galaxies.

        Raises
        ------
        ValueError
            If ``inputs`` are not images, hold NaN or infinite pixels, or are fewer than 2.
        """
        require_images(inputs, "ImagePCA")
        if len(inputs) < 2:
            raise ValueError(f"ImagePCA was given {len(inputs)} training images: at least 2 are needed")
        pooled = (_pooled(batch, self.grid) for batch in image_batches(inputs, self.batch_size, "ImagePCA"))
        rows = drawn_rows(((batch, content_keys(batch, seed)) for batch in pooled), self.max_rows)
        mean, components, _ = principal_components(rows, self.n_components, seed)
        self._mean, self._components = mean.astype(np.float32), components.astype(np.float32)

    def embed(self, inputs: ImageStack) -> NDArray[np.float32]:
        """Projections (n, n_components) of images (n, bands, height, width), in the units of a pixel, not whitened.

        Raises
        ------
        ValueError
            If the model was not fitted, or ``inputs`` are not images, hold NaN or infinite pixels, or have another
            number of bands than the training images.
        """
        bands, _, _ = require_images(inputs, "ImagePCA")
        if self._mean is None or self._components is None:
            raise ValueError("ImagePCA has no components yet: call fit or load_state first")
        trained = len(self._mean) // self.grid**2
        if bands != trained:
            raise ValueError(f"ImagePCA was given {bands} bands: it was fitted on {trained}; fit it on these images")
        out = np.empty((len(inputs), len(self._components)), dtype=np.float32)
        start = 0
        for batch in image_batches(inputs, self.batch_size, "ImagePCA"):
            out[start : start + len(batch)] = (_pooled(batch, self.grid) - self._mean) @ self._components.T
            start += len(batch)
        return out

    def state(self) -> dict[str, NDArray]:
        """``mean`` (bands * grid**2,) and ``components`` (n_components, bands * grid**2); empty before `fit`."""
        if self._mean is None or self._components is None:
            return {}
        return {"mean": self._mean, "components": self._components}

    def load_state(self, state: Mapping[str, NDArray]) -> None:
        """The inverse of `state`.

        Raises
        ------
        ValueError
            If an array is missing, unknown, or does not fit the grid.
        """
        if sorted(state) != ["components", "mean"]:
            raise ValueError(f"ImagePCA was given {sorted(state)}: its state is 'components' and 'mean'")
        mean, components = state["mean"], state["components"]
        if components.ndim != 2 or mean.shape != components.shape[1:] or mean.size % self.grid**2:
            raise ValueError(
                f"ImagePCA with grid {self.grid} was given mean {mean.shape} and components {components.shape}: the "
                f"last axes must agree and be a multiple of {self.grid**2}; build it with the grid it was fitted with"
            )
        self._mean, self._components = mean.astype(np.float32), components.astype(np.float32)


def _pooled(images: NDArray[np.float32], grid: int) -> NDArray[np.float32]:
    """Images (b, bands, height, width) averaged to (b, bands * grid**2)."""
    pooled = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(images)), grid)
    return pooled.flatten(1).numpy()


def _require_at_least_one(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} {value}: must be at least 1")

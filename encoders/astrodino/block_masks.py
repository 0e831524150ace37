"""Masks of image patches made of rectangles, for masked prediction."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["block_mask", "block_masks"]

_MIN_AREA = 4  # patches of a block, before rounding
_LARGEST_SHARE = 0.5  # of all patches, in one block
_ASPECT = (0.3, 1 / 0.3)
_TRIES = 10


def block_masks(
    n_images: int,
    grid: int,
    rng: np.random.Generator,
    *,
    share: float = 0.5,
    ratio: tuple[float, float] = (0.1, 0.5),
) -> NDArray[np.bool_]:
    """Masks (n_images, grid * grid) of which a share of the images has any.

    Parameters
    ----------
    n_images : images in the batch.
    grid : patches on a side.
    rng : source of all draws.
    share : of the images that are masked: exactly ``int(n_images * share)`` are asked to be.
    ratio : smallest and largest share of patches. The range is cut into equal parts, one for each masked image, in
        which its share is drawn, so that every batch holds light and heavy masks; which image gets which is random.

    References
    ----------
    Bao et al. 2022, arXiv:2106.08254 (blocks); DINOv2, arXiv:2304.07193 (shares and batches).
    """
    if not 0 <= share <= 1 or not 0 <= ratio[0] <= ratio[1] <= 1:
        raise ValueError(f"share {share}, ratio {ratio}: must be within 0 and 1, the ratio ascending")
    n_masked = int(n_images * share)
    edges = np.linspace(ratio[0], ratio[1], n_masked + 1)
    masks = np.zeros((n_images, grid * grid), dtype=bool)
    for row, low, high in zip(rng.permutation(n_images), edges[:-1], edges[1:]):
        masks[row] = block_mask(grid, int(grid**2 * rng.uniform(low, high)), rng).ravel()
    return masks


def block_mask(grid: int, n_patches: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """One mask (grid, grid) with at most ``n_patches`` patches, block by block until nothing more can be placed.

    A block's area is uniform from 4 to the patches that are left to mask (at most half of all), its aspect log-uniform
    from .3 to 3.3; one of ten placements must add at least one patch and no more than are left.
    """
    mask = np.zeros((grid, grid), dtype=bool)
    remaining = n_patches
    while remaining > 0 and (added := _place(mask, remaining, rng)):
        remaining -= added
    return mask


def _place(mask: NDArray[np.bool_], remaining: int, rng: np.random.Generator) -> int:
    grid = len(mask)
    allowed = min(remaining, int(_LARGEST_SHARE * grid**2))
    for _ in range(_TRIES):
        area, log_aspect, y, x = rng.random(4)
        area = _MIN_AREA + area * (allowed - _MIN_AREA)
        aspect = math.exp(math.log(_ASPECT[0]) + log_aspect * math.log(_ASPECT[1] / _ASPECT[0]))
        height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if height >= grid or width >= grid:
            continue
        top, left = int(y * (grid - height + 1)), int(x * (grid - width + 1))
        block = mask[top : top + height, left : left + width]
        if 0 < (added := block.size - int(block.sum())) <= allowed:
            block[:] = True
            return added
    return 0

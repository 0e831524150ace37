"""A vision transformer that was never trained: what its architecture alone is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from encoders.images import ImageStack, image_batches, require_images
from encoders.randomness import seeded_torch
from encoders.vit import VisionTransformer

__all__ = ["RandomViT"]


class RandomViT:
    """A `VisionTransformer` with weights drawn from a seed and frozen.

    Parameters
    ----------
    dim, depth, n_heads, patch_size : see `VisionTransformer`; LayerScale is 1 at any depth, since the usual 1e-5 would
        leave nothing of the blocks.
    pool : the embedding (n, dim) is the mean over patch tokens (``patches``) or the class token (``cls``).
    batch_size : images in memory at a time.

    Notes
    -----
    Images of any size are read: each side is cropped about the centre to the largest multiple of the patch; a side
    shorter than one patch is padded with zeros on both sides. Positions are made for the first images seen and
    interpolated for other sizes. Nothing is learned: `fit` draws the weights and looks at the shape of its inputs only.

    References
    ----------
    Dosovitskiy et al. 2021, arXiv:2010.11929 (the network); Oquab et al. 2023, arXiv:2304.07193 (its layout).
    """

    def __init__(
        self,
        dim: int = 96,
        depth: int = 3,
        n_heads: int = 3,
        patch_size: int = 12,
        pool: Literal["patches", "cls"] = "patches",
        batch_size: int = 64,
    ) -> None:
        if pool not in ("patches", "cls"):
            raise ValueError(f"pool '{pool}': must be 'patches' or 'cls'")
        self.dim, self.depth, self.n_heads, self.patch_size = dim, depth, n_heads, patch_size
        self.pool, self.batch_size = pool, batch_size
        self._network: VisionTransformer | None = None

    def fit(self, inputs: ImageStack, *, seed: int) -> None:
        """Draw the weights from ``seed`` for images (n, bands, height, width); no pixel is read.

        Raises
        ------
        ValueError
            If ``inputs`` are not images.
        """
        bands, height, width = require_images(inputs, "RandomViT")
        side = max(self.patch_size, min(height, width) // self.patch_size * self.patch_size)
        with seeded_torch(seed):
            self._network = self._build(side, bands)

    def embed(self, inputs: ImageStack) -> NDArray[np.float32]:
        """Embedding (n, dim) of images (n, bands, height, width).

        Raises
        ------
        ValueError
            If no weights were drawn, or ``inputs`` are not images, hold NaN or infinite pixels, or have other bands.
        """
        bands, _, _ = require_images(inputs, "RandomViT")
        network = self._network
        if network is None:
            raise ValueError("RandomViT has no weights yet: call fit or load_state first")
        drawn_for = network.patch_embed.proj.in_channels
        if bands != drawn_for:
            raise ValueError(f"RandomViT was given {bands} bands: its weights were drawn for {drawn_for}; fit it again")
        out = np.empty((len(inputs), self.dim), dtype=np.float32)
        start = 0
        with torch.inference_mode():
            for batch in image_batches(inputs, self.batch_size, "RandomViT"):
                tokens = network(_to_patches(torch.from_numpy(np.ascontiguousarray(batch)), self.patch_size))
                pooled = tokens.cls if self.pool == "cls" else tokens.patches.mean(1)
                out[start : start + len(batch)] = pooled.numpy()
                start += len(batch)
        return out

    def state(self) -> dict[str, NDArray]:
        """The network's parameters by name; empty while none were drawn."""
        if self._network is None:
            return {}
        return {name: weight.detach().numpy().copy() for name, weight in self._network.state_dict().items()}

    def load_state(self, state: Mapping[str, NDArray]) -> None:
        """The inverse of `state`; bands and image size are read off the shapes.

        Raises
        ------
        ValueError
            If names or shapes are not those of a network of this width, depth and patch.
        """
        missing = {"patch_embed.proj.weight", "pos_embed"} - set(state)
        if missing:
            raise ValueError(f"RandomViT: the state lacks {', '.join(sorted(missing))}: give what RandomViT.state gave")
        grid = math.isqrt(state["pos_embed"].shape[1] - 1)
        with seeded_torch(0):
            network = self._build(grid * self.patch_size, state["patch_embed.proj.weight"].shape[1])
        try:
            network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in state.items()})
        except RuntimeError as error:
            raise ValueError(f"RandomViT of width {self.dim} and depth {self.depth}: {error}") from error
        self._network = network

    def _build(self, image_size: int, bands: int) -> VisionTransformer:
        network = VisionTransformer(
            image_size=image_size,
            patch_size=self.patch_size,
            in_channels=bands,
            dim=self.dim,
            depth=self.depth,
            n_heads=self.n_heads,
            layer_scale=1.0,
        )
        return network.requires_grad_(False).eval()


def _to_patches(image_BCHW: Tensor, patch_size: int) -> Tensor:
    """Centre crop to a multiple of the patch; a side shorter than one patch is padded with zeros to one patch."""
    height, width = image_BCHW.shape[-2:]
    rows, columns = (max(patch_size, side // patch_size * patch_size) for side in (height, width))
    pad_y, pad_x = max(0, rows - height), max(0, columns - width)
    if pad_y or pad_x:
        image_BCHW = F.pad(image_BCHW, (pad_x // 2, pad_x - pad_x // 2, pad_y // 2, pad_y - pad_y // 2))
    top, left = (image_BCHW.shape[-2] - rows) // 2, (image_BCHW.shape[-1] - columns) // 2
    return image_BCHW[..., top : top + rows, left : left + columns]

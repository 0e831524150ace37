"""Layers of a pre-norm vision transformer, named as DINOv2 names them so that its weights map one to one.

Axes in suffixes: B images, C channels, H and W pixels or patches, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.training.precision import attention

__all__ = ["Attention", "Block", "LayerScale", "Mlp", "PatchEmbed", "drop_path_rows", "init_transformer_linear"]

LAYER_NORM_EPS = 1e-6  # DINOv2 (torch's own default is 1e-5)


class PatchEmbed(nn.Module):
    """Images (B, C, H, W) cut into patches, each mapped to a vector by one convolution: (B, N, D), row by row."""

    def __init__(self, patch_size: int, in_channels: int, dim: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        height, width = image_BCHW.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"images of {height} x {width} pixels: each side must be a multiple of the patch, {self.patch_size}; "
                "crop or pad them first"
            )
        patch_BDHW = self.proj(image_BCHW)
        return patch_BDHW.flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762, eq. 1), scale 1/sqrt(width of a head)."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        if dim % n_heads:
            raise ValueError(f"width {dim} with {n_heads} heads: the width must be a multiple of the number of heads")
        self.n_heads = n_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, token_BND: Tensor) -> Tensor:
        return self.proj(self._mix(self.qkv(token_BND)))

    def packed(self, token_TD: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
        """Attention inside every image of several groups, whose tokens lie one after the other in one table.

        Parameters
        ----------
        token_TD : tokens of all groups (T, D), T the sum of images times tokens.
        shapes : images and tokens of every group.
        """
        parts = self.qkv(token_TD).split([n_images * n_tokens for n_images, n_tokens in shapes])
        mixed = [self._mix(part.reshape(*shape, -1)).flatten(0, 1) for part, shape in zip(parts, shapes, strict=True)]
        return self.proj(torch.cat(mixed))

    def _mix(self, qkv_BNF: Tensor) -> Tensor:
        n_images, n_tokens, width = qkv_BNF.shape
        qkv = qkv_BNF.reshape(n_images, n_tokens, 3, self.n_heads, width // (3 * self.n_heads))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return attention(query, key, value).transpose(1, 2).flatten(2)


class Mlp(nn.Module):
    """Linear, exact (erf) GELU, Linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, token_BND: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(token_BND)))


class LayerScale(nn.Module):
    """A learned factor for every column of a residual branch (Touvron et al. 2021, arXiv:2103.17239)."""

    def __init__(self, dim: int, init: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), init))

    def forward(self, token_BND: Tensor) -> Tensor:
        return token_BND * self.gamma


class Block(nn.Module):
    """Pre-norm transformer block: ``x += ls1 * attn(norm1(x)); x += ls2 * mlp(norm2(x))``.

    ``drop_path`` is the share of a batch that skips a residual branch in training (Huang et al. 2016,
    arXiv:1603.09382). As in DINOv2 it is a share of the rows of every batch, not a coin for each: what is skipped is
    not computed.
    """

    def __init__(self, dim: int, n_heads: int, mlp_ratio: float, layer_scale: float, drop_path: float = 0.0) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.attn = Attention(dim, n_heads)
        self.ls1 = LayerScale(dim, layer_scale)
        self.norm2 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(dim, round(dim * mlp_ratio))
        self.ls2 = LayerScale(dim, layer_scale)

    def forward(self, token_BND: Tensor, generator: torch.Generator | None = None) -> Tensor:
        token_BND = self._add(token_BND, self._attend, generator)
        return self._add(token_BND, self._transform, generator)

    def packed(self, token_TD: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
        """The block on several groups of images at once, without drop path; see `Attention.packed`."""
        token_TD = token_TD + self.ls1(self.attn.packed(self.norm1(token_TD), shapes))
        return token_TD + self._transform(token_TD)

    def _attend(self, token_BND: Tensor) -> Tensor:
        return self.ls1(self.attn(self.norm1(token_BND)))

    def _transform(self, token_BND: Tensor) -> Tensor:
        return self.ls2(self.mlp(self.norm2(token_BND)))

    def _add(self, token_BND: Tensor, branch: Callable[[Tensor], Tensor], generator: torch.Generator | None) -> Tensor:
        if not self.training or self.drop_path == 0:
            return token_BND + branch(token_BND)
        rows = drop_path_rows(len(token_BND), self.drop_path, generator).to(token_BND.device)
        residual = branch(token_BND[rows]) * (len(token_BND) / len(rows))
        return token_BND.index_add(0, rows, residual.to(token_BND.dtype))


def drop_path_rows(n_rows: int, rate: float, generator: torch.Generator | None) -> Tensor:
    """The rows of a batch that keep a residual branch: a random share 1 - ``rate`` of them, at least one.

    Parameters
    ----------
    n_rows : images in the batch.
    rate : share that skips the branch, from 0 to below 1.
    generator : source of the draw; None for torch's global one.
    """
    kept = max(1, int(n_rows * (1 - rate)))
    device = "cpu" if generator is None else generator.device
    return torch.randperm(n_rows, generator=generator, device=device)[:kept]


def init_transformer_linear(module: nn.Module) -> None:
    """Truncated normal of standard deviation 0.64/sqrt(fan in) for a Linear's weight, zero for its bias.

    At a width of 1024 this is the usual 0.02. For narrow models 0.02 itself is too small: self-distillation then
    stays at the uniform solution. Other modules are left as they are; use with ``nn.Module.apply``.
    """
    if isinstance(module, nn.Linear):
        std = 0.64 * module.in_features**-0.5
        nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        nn.init.zeros_(module.bias)

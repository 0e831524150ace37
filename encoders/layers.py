"""Layers of a pre-norm vision transformer, named as DINOv2 names them so that its weights map one to one.

Axes in suffixes: B images, C channels, H and W pixels or patches, N tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Attention", "Block", "LayerScale", "Mlp", "PatchEmbed", "init_transformer_linear"]

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
        n_images, n_tokens, dim = token_BND.shape
        qkv = self.qkv(token_BND).reshape(n_images, n_tokens, 3, self.n_heads, dim // self.n_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(n_images, n_tokens, dim))


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
    """Pre-norm transformer block: ``x += ls1 * attn(norm1(x)); x += ls2 * mlp(norm2(x))``."""

    def __init__(self, dim: int, n_heads: int, mlp_ratio: float, layer_scale: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.attn = Attention(dim, n_heads)
        self.ls1 = LayerScale(dim, layer_scale)
        self.norm2 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(dim, round(dim * mlp_ratio))
        self.ls2 = LayerScale(dim, layer_scale)

    def forward(self, token_BND: Tensor) -> Tensor:
        token_BND = token_BND + self.ls1(self.attn(self.norm1(token_BND)))
        return token_BND + self.ls2(self.mlp(self.norm2(token_BND)))


def init_transformer_linear(module: nn.Module) -> None:
    """Truncated normal of standard deviation 0.64/sqrt(fan in) for a Linear's weight, zero for its bias.

    At a width of 1024 this is the usual 0.02. For narrow models 0.02 itself is too small: self-distillation then
    stays at the uniform solution. Other modules are left as they are; use with ``nn.Module.apply``.
    """
    if isinstance(module, nn.Linear):
        std = 0.64 * module.in_features**-0.5
        nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        nn.init.zeros_(module.bias)

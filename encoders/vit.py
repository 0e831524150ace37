"""A plain vision transformer with the layout of DINOv2, of any width, depth, patch and image size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.layers import LAYER_NORM_EPS, Block, PatchEmbed, init_transformer_linear

__all__ = ["ViTOutput", "VisionTransformer"]

_POSITION_OFFSET = 0.1  # DINOv2 adds it to the patch count in the scale factor of interpolated positions


class ViTOutput(NamedTuple):
    """Tokens after the final LayerNorm.

    Attributes
    ----------
    cls : class token (B, D); None when the network ran on patches alone.
    patches : patch tokens (B, N, D), row by row over the image.
    """

    cls: Tensor | None
    patches: Tensor


class VisionTransformer(nn.Module):
    """Vision transformer: patch convolution, class token, learned positions, pre-norm blocks with LayerScale.

    Parameters
    ----------
    image_size : side of the square images the positions are made for, in pixels; a multiple of ``patch_size``.
    patch_size : side of a patch in pixels.
    in_channels : bands.
    dim : width of a token, a multiple of ``n_heads``.
    depth : number of blocks.
    n_heads : attention heads.
    mlp_ratio : hidden width of a block's MLP over ``dim``.
    layer_scale : initial LayerScale; None means 1.0 below 12 blocks and DINOv2's 1e-5 from there on. A network that
        is never trained needs 1.0 at any depth, as 1e-5 turns its blocks off.
    drop_path : share of a batch that skips a residual branch in training, the same in all blocks.

    Notes
    -----
    Parameter names are those of DINOv2 without its chunks: ``blocks.{chunk}.{i}.*`` there is ``blocks.{i}.*`` here.
    The positional embedding is drawn like a Linear's weight, truncated normal with 0.64/sqrt(dim) (0.02 at 1024).
    Weights are drawn from torch's global generator, as in any torch module.

    References
    ----------
    Dosovitskiy et al. 2021, arXiv:2010.11929; Oquab et al. 2023, arXiv:2304.07193.
    """

    def __init__(
        self,
        *,
        image_size: int,
        patch_size: int = 12,
        in_channels: int = 3,
        dim: int = 96,
        depth: int = 3,
        n_heads: int = 3,
        mlp_ratio: float = 4.0,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if image_size < patch_size or image_size % patch_size:
            raise ValueError(f"image_size {image_size}: must be a positive multiple of patch_size {patch_size}")
        if not 0 <= drop_path < 1:
            raise ValueError(f"drop_path {drop_path}: must be from 0 to below 1")
        if layer_scale is None:
            layer_scale = 1.0 if depth < 12 else 1e-5
        self.grid = image_size // patch_size
        self.patch_embed = PatchEmbed(patch_size, in_channels, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid**2, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim))
        self.blocks = nn.ModuleList([Block(dim, n_heads, mlp_ratio, layer_scale, drop_path) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.apply(init_transformer_linear)
        std = 0.64 * dim**-0.5
        nn.init.trunc_normal_(self.pos_embed, std=std, a=-2 * std, b=2 * std)
        nn.init.normal_(self.cls_token, std=1e-6)

    def forward(
        self,
        image_BCHW: Tensor,
        *,
        masks_BN: Tensor | None = None,
        patches_only: bool = False,
        generator: torch.Generator | None = None,
    ) -> ViTOutput:
        """Tokens of images (B, C, H, W), each side a multiple of the patch.

        Parameters
        ----------
        image_BCHW : images; a size other than ``image_size`` has its positions interpolated.
        masks_BN : True (B, N) where a patch is replaced by the mask token, before positions are added.
        patches_only : run on the patch tokens alone, with neither class token nor positions.
        generator : of the draws of drop path, None for torch's global one; nothing else is drawn.

        Raises
        ------
        ValueError
            If a side is no multiple of the patch, or the masks do not fit the patches.
        """
        token_BND = self._tokens(image_BCHW, masks_BN, patches_only)
        for block in self.blocks:
            token_BND = block(token_BND, generator)
        token_BND = self.norm(token_BND)
        return ViTOutput(None, token_BND) if patches_only else ViTOutput(token_BND[:, 0], token_BND[:, 1:])

    def forward_groups(
        self,
        groups: Sequence[Tensor],
        masks: Sequence[Tensor | None],
        generator: torch.Generator | None = None,
    ) -> list[ViTOutput]:
        """Tokens of several groups of images, each of its own size, as by `forward` on each.

        Without drop path the groups share every layer but attention, so that small crops do not make small products.

        Parameters
        ----------
        groups : images (B, C, H, W), one tensor a group.
        masks : see `forward`, one a group.
        generator : of drop path.
        """
        if self.training and any(block.drop_path for block in self.blocks):
            pairs = zip(groups, masks, strict=True)
            return [self(image, masks_BN=mask, generator=generator) for image, mask in pairs]
        tokens = [self._tokens(image, mask) for image, mask in zip(groups, masks, strict=True)]
        shapes = [(len(token_BND), token_BND.shape[1]) for token_BND in tokens]
        token_TD = torch.cat([token_BND.flatten(0, 1) for token_BND in tokens])
        for block in self.blocks:
            assert isinstance(block, Block)
            token_TD = block.packed(token_TD, shapes)
        parts = self.norm(token_TD).split([n_images * n_tokens for n_images, n_tokens in shapes])
        unpacked = [part.reshape(*shape, -1) for part, shape in zip(parts, shapes, strict=True)]
        return [ViTOutput(token_BND[:, 0], token_BND[:, 1:]) for token_BND in unpacked]

    def _tokens(self, image_BCHW: Tensor, masks_BN: Tensor | None, patches_only: bool = False) -> Tensor:
        """Tokens (B, [1 +] N, D) as they enter the first block."""
        token_BND = self.patch_embed(image_BCHW)
        if masks_BN is not None:
            if masks_BN.shape != token_BND.shape[:2]:
                raise ValueError(
                    f"masks of shape {tuple(masks_BN.shape)}: must be {tuple(token_BND.shape[:2])}, one a patch"
                )
            token_BND = torch.where(masks_BN.unsqueeze(-1), self.mask_token.to(token_BND.dtype), token_BND)
        if patches_only:
            return token_BND
        token_BND = torch.cat([self.cls_token.expand(len(token_BND), -1, -1), token_BND], dim=1)
        height, width = image_BCHW.shape[-2:]
        return token_BND + self._positions(height // self.patch_embed.patch_size, width // self.patch_embed.patch_size)

    def _positions(self, rows: int, columns: int) -> Tensor:
        """Positions (1, 1 + rows * columns, D): bicubic in the grid of patches, unchanged for the class token.

        The scale factor is handed to torch, not the size: torch takes its coordinates from it, and DINOv2's offset of
        0.1 moves them by up to a few per cent of a patch.
        """
        if (rows, columns) == (self.grid, self.grid):
            return self.pos_embed
        dim = self.pos_embed.shape[-1]
        grid_1DHW = self.pos_embed[:, 1:].reshape(1, self.grid, self.grid, dim).permute(0, 3, 1, 2)
        factors = [(side + _POSITION_OFFSET) / self.grid for side in (rows, columns)]
        resized = F.interpolate(grid_1DHW, scale_factor=factors, mode="bicubic", antialias=False)
        if resized.shape[-2:] != (rows, columns):
            raise ValueError(f"positions of {self.grid} x {self.grid} patches cannot be resized to {rows} x {columns}")
        return torch.cat([self.pos_embed[:, :1], resized.permute(0, 2, 3, 1).reshape(1, rows * columns, dim)], dim=1)

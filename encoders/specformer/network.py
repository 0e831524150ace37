"""SpecFormer: a transformer over overlapping windows of a spectrum, headed by a token of its mean and scatter.

Axes in suffixes: B spectra, T tokens, W numbers of a token, D width.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from encoders.layers import Attention, Mlp
from encoders.specformer.tokens import N_EXTRA

__all__ = ["SpecFormer", "SpecFormerOutput"]

LAYER_NORM_EPS = 1e-5

_POSITION_STD = 0.5


class SpecFormerOutput(NamedTuple):
    """What the network makes of tokens.

    Attributes
    ----------
    tokens : (B, T, D) after the final LayerNorm; their mean over T is the embedding.
    reconstruction : (B, T, W) what a token would be, predicted from ``tokens``.
    """

    tokens: Tensor
    reconstruction: Tensor


class SpecFormer(nn.Module):
    """Linear embedding of windows, learned positions, pre-norm transformer blocks, linear reconstruction.

    Parameters
    ----------
    window : pixels of a window; a token has ``window + 2`` numbers.
    dim : width of a token inside the network, a multiple of ``n_heads``.
    depth : number of blocks.
    n_heads : attention heads.
    max_tokens : positions that are learned; the most tokens a spectrum may have, the statistics token included.
    mlp_ratio : hidden width of a block's MLP over ``dim``.
    init : ``released`` draws weights as the released code does; ``width`` draws every Linear with 0.64/sqrt(fan in),
        positions with 0.5, and starts with a reconstruction near 0: narrow networks then learn faster.

    Notes
    -----
    There is no class token: the paper speaks of one, its released code has a token with mean and scatter of the
    spectrum instead. Weights are drawn from torch's global generator. The sizes of the paper (window 20, dim 768, depth
    6, 6 heads, 800 positions) give 43,177,750 parameters, as the released file has.

    References
    ----------
    Parker et al. 2024, arXiv:2310.03024, section 3.2 and appendix A.2.
    """

    def __init__(
        self,
        *,
        window: int = 20,
        dim: int = 768,
        depth: int = 6,
        n_heads: int = 6,
        max_tokens: int = 800,
        mlp_ratio: float = 4.0,
        init: Literal["released", "width"] = "released",
    ) -> None:
        super().__init__()
        if init not in ("released", "width"):
            raise ValueError(f"init '{init}': must be 'released' or 'width'")
        for name, value in (("window", window), ("depth", depth), ("max_tokens", max_tokens)):
            if value < 1:
                raise ValueError(f"{name} {value}: must be at least 1")
        self.n_numbers = window + N_EXTRA
        self.embed = nn.Linear(self.n_numbers, dim)
        self.pos_embed = nn.Parameter(torch.zeros(max_tokens, dim))
        self.blocks = nn.ModuleList([SpecFormerBlock(dim, n_heads, mlp_ratio) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.head = nn.Linear(dim, self.n_numbers)
        if init == "released":
            self._draw_as_released()
        else:
            self._draw_by_width()

    def forward(self, token_BTW: Tensor) -> SpecFormerOutput:
        """Tokens (B, T, D) and reconstructions (B, T, W) of tokens (B, T, W).

        Raises
        ------
        ValueError
            If there are more tokens than positions, or a token has another number of numbers.
        """
        n_tokens, n_numbers = token_BTW.shape[-2:]
        if n_tokens > len(self.pos_embed) or n_numbers != self.n_numbers:
            raise ValueError(
                f"tokens of shape {tuple(token_BTW.shape)}: at most {len(self.pos_embed)} tokens of {self.n_numbers} "
                "numbers fit this network; bin the spectra or build it with more positions"
            )
        token_BTD = self.embed(token_BTW) + self.pos_embed[:n_tokens]
        for block in self.blocks:
            token_BTD = block(token_BTD)
        token_BTD = self.norm(token_BTD)
        return SpecFormerOutput(token_BTD, self.head(token_BTD))

    def _draw_as_released(self) -> None:
        for linear in (module for module in self.blocks.modules() if isinstance(module, nn.Linear)):
            std = (2 * linear.in_features * len(self.blocks)) ** -0.5
            nn.init.trunc_normal_(linear.weight, std=std, a=-3 * std, b=3 * std)
            nn.init.zeros_(linear.bias)
        std = self.head.in_features**-0.5
        nn.init.trunc_normal_(self.head.weight, std=std, a=-3 * std, b=3 * std)
        nn.init.zeros_(self.head.bias)
        for weight in (self.embed.weight, self.pos_embed):
            nn.init.trunc_normal_(weight, std=std, a=-3 * std, b=3 * std)

    def _draw_by_width(self) -> None:
        for linear in (module for module in self.modules() if isinstance(module, nn.Linear)):
            std = (0.02 if linear is self.head else 0.64) * linear.in_features**-0.5
            nn.init.trunc_normal_(linear.weight, std=std, a=-2 * std, b=2 * std)
            nn.init.zeros_(linear.bias)
        nn.init.normal_(self.pos_embed, std=_POSITION_STD)


class SpecFormerBlock(nn.Module):
    """Pre-norm transformer block: ``x += attn(norm1(x)); x += mlp(norm2(x))``."""

    def __init__(self, dim: int, n_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.attn = Attention(dim, n_heads)
        self.norm2 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(dim, round(dim * mlp_ratio))

    def forward(self, token_BTD: Tensor) -> Tensor:
        token_BTD = token_BTD + self.attn(self.norm1(token_BTD))
        return token_BTD + self.mlp(self.norm2(token_BTD))

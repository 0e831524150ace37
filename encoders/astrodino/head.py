"""The projection head of DINO: three layers, a unit vector, scores against weight-normed prototypes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.layers import init_transformer_linear

__all__ = ["DINOHead", "Prototypes"]


class Prototypes(nn.Module):
    """A Linear without bias whose row k is ``weight_g[k] * weight_v[k] / |weight_v[k]|``; the lengths start at 1.

    References
    ----------
    Salimans & Kingma 2016, arXiv:1602.07868.
    """

    def __init__(self, dim: int, n_prototypes: int) -> None:
        super().__init__()
        self.weight_v = nn.Parameter(torch.empty(n_prototypes, dim))
        self.weight_g = nn.Parameter(torch.ones(n_prototypes, 1))
        std = 0.64 * dim**-0.5
        nn.init.trunc_normal_(self.weight_v, std=std, a=-2 * std, b=2 * std)

    def forward(self, unit_ND: Tensor) -> Tensor:
        return F.linear(unit_ND, self.weight_g * F.normalize(self.weight_v, dim=-1))


class DINOHead(nn.Module):
    """Vectors (N, D) to logits (N, K): Linear, GELU, Linear, GELU, Linear, divide by the norm, prototypes.

    Parameters
    ----------
    dim : width of what comes in.
    hidden : width of the two hidden layers (2048 in AstroDINO).
    bottleneck : length of the unit vector (256).
    n_prototypes : K (65536).

    References
    ----------
    Caron et al. 2021, arXiv:2104.14294; Oquab et al. 2023, arXiv:2304.07193, whose parameter names these are.
    """

    def __init__(self, dim: int, *, hidden: int, bottleneck: int, n_prototypes: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.mlp.apply(init_transformer_linear)
        self.last_layer = Prototypes(bottleneck, n_prototypes)

    def forward(self, vector_ND: Tensor) -> Tensor:
        return self.last_layer(F.normalize(self.mlp(vector_ND), dim=-1, eps=1e-12))

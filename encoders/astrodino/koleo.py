"""KoLeo: embeddings are pushed away from their nearest neighbours, so that they fill the sphere."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["koleo_loss"]

_EPS = 1e-8


def koleo_loss(embedding_BD: Tensor) -> Tensor:
    """Mean of -log(distance to the nearest other row) of unit vectors made of ``embedding_BD`` (B, D), in float32.

    The neighbour is chosen without a gradient, the distance has one on both sides. A batch of fewer than two rows has
    no neighbours: its loss is zero.

    Notes
    -----
    An estimator of differential entropy (Kozachenko & Leonenko 1987). AstroCLIP's paper prints it with the opposite
    sign (arXiv:2310.03024, eq. A7), which would draw neighbours together; its code has this one.

    References
    ----------
    Sablayrolles et al. 2019, arXiv:1806.03198, eq. 5.
    """
    unit_BD = F.normalize(embedding_BD if embedding_BD.dtype == torch.float64 else embedding_BD.float(), eps=_EPS)
    if len(unit_BD) < 2:
        return unit_BD.sum() * 0
    with torch.no_grad(), torch.autocast(unit_BD.device.type, enabled=False):
        product_BB = unit_BD @ unit_BD.T
        product_BB.fill_diagonal_(-2.0)
        nearest = product_BB.argmax(1)
    distance_B = (unit_BD - unit_BD[nearest] + _EPS).norm(dim=-1)
    return -torch.log(distance_B + _EPS).mean()

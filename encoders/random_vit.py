"""A vision transformer that was never trained: what its architecture alone is worth."""

from __future__ import annotations

from typing import Any

from encoders.astrodino.encoder import AstroDINOEncoder

__all__ = ["RandomViT"]


def RandomViT(**options: Any) -> AstroDINOEncoder:
    """AstroDINO's twin with its weights as they are drawn: the same binning, crop, stretch, network, class token.

    Parameters
    ----------
    options : see `AstroDINOEncoder`; those of a training have no effect.
    """
    twin = AstroDINOEncoder(**{**options, "n_steps": 0})
    twin.name = "RandomViT"
    return twin

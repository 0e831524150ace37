"""Fluxes made fit for a network: the colour stretch of the Legacy Survey viewer, z-scores, inverse hyperbolic sines."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["GRZ_SCALES", "ImageNorm", "asinh_rgb", "bright_and_colours"]

GRZ_SCALES = (6.0, 3.4, 2.2)
_M = 0.03
_Q = 20.0
_SOFTENING = 30.0  # noises of the sky: fainter pixels are shown as they are, brighter ones by their logarithm
_COLOUR_SPREAD = 0.5  # of the colours' channels beside 1 of the brightness
NORMS = ("rgb", "rgb_zscore", "zscore", "asinh", "colours")


def asinh_rgb(flux_BCHW: Tensor, scales: Sequence[float] = GRZ_SCALES) -> Tensor:
    """Colour composite (B, C, H, W) in [0, 1] of images in nanomaggies a pixel, the reddest band first.

    Parameters
    ----------
    flux_BCHW : bands from blue to red, g, r, z with the usual scales.
    scales : what each band is multiplied by.

    References
    ----------
    Lupton et al. 2004, astro-ph/0312483; constants of Parker et al. 2024, arXiv:2310.03024: m = 0.03, Q = 20.
    """
    y = flux_BCHW * flux_BCHW.new_tensor(scales)[:, None, None] + _M
    intensity = y.clamp_min(0).mean(-3, keepdim=True)
    f = torch.asinh(_Q * intensity) / _Q**0.5
    return (y * (f / intensity.masked_fill(intensity == 0, 1e-6))).clamp(0, 1).flip(-3)


def bright_and_colours(image_BCHW: Tensor, noise: Tensor | None) -> Tensor:
    """Channels (B, C, H, W): the mean of the stretched bands, and each band less the one after it.

    Where a galaxy is bright the differences are its colours, free of its brightness; in the sky they are next to zero.

    Parameters
    ----------
    image_BCHW : fluxes, bands from blue to red; or pictures.
    noise : (C,) of each band's empty sky, in flux: a band is stretched to asinh(flux / 30 noise). None for pictures,
        which have been stretched.

    Notes
    -----
    The softening is far above the noise, so that the sky is not raised to the level of galaxies: with 4 noises a small
    network found less of redshift and mass than in `asinh_rgb`, with 30 more.
    """
    if noise is not None:
        image_BCHW = torch.asinh(image_BCHW / (_SOFTENING * noise[:, None, None]))
    return torch.cat([image_BCHW.mean(-3, keepdim=True), image_BCHW[..., :-1, :, :] - image_BCHW[..., 1:, :, :]], -3)


class ImageNorm(nn.Module):
    """What is done to augmented images before a network sees them; its constants are part of a checkpoint.

    Parameters
    ----------
    norm : ``rgb``: `asinh_rgb`, as the released AstroCLIP has it; ``rgb_zscore``: the same, less the mean, over the
        spread of each channel, without which a narrow network sees little but the constant sky; ``zscore``: that of the
        flux itself, as AstroCLIP's paper says; ``asinh``: half the asinh of flux over the noise of the band's sky,
        which mixes no bands; ``colours``: `bright_and_colours`, less the mean, scaled to a spread of 1 for the
        brightness and of .5 for each colour: with 1 for all, colours tell galaxies apart so well that a network learns
        less of their shapes.
    scales : of `asinh_rgb`; None for pictures, which have been stretched.
    mean, std : of each channel over the training galaxies, of the flux or of what `stretched` makes of it.
    noise : standard deviation of each band's empty sky.
    """

    mean: Tensor
    std: Tensor
    noise: Tensor

    def __init__(
        self,
        norm: str,
        scales: Sequence[float] | None,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        noise: Sequence[float],
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"image_norm '{norm}': must be one of {', '.join(NORMS)}")
        self.norm, self.scales = norm, None if scales is None else tuple(scales)
        for name, value in (("mean", mean), ("std", std), ("noise", noise)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))

    def stretched(self, image_BCHW: Tensor) -> Tensor:
        """Images with their stretch, before any z-score."""
        if self.norm == "asinh":
            return 0.5 * torch.asinh(image_BCHW / self.noise[:, None, None])
        if self.norm == "colours":
            return bright_and_colours(image_BCHW, None if self.scales is None else self.noise)
        if self.norm.startswith("rgb") and self.scales is not None:
            return asinh_rgb(image_BCHW, self.scales)
        return image_BCHW

    def forward(self, image_BCHW: Tensor) -> Tensor:
        image_BCHW = self.stretched(image_BCHW)
        if self.norm in ("rgb", "asinh"):
            return image_BCHW
        scaled = (image_BCHW - self.mean[:, None, None]) / self.std[:, None, None]
        if self.norm == "colours":
            return torch.cat([scaled[..., :1, :, :], _COLOUR_SPREAD * scaled[..., 1:, :, :]], -3)
        return scaled

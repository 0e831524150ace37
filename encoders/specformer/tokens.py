"""Spectra cut into overlapping windows, as the released SpecFormer does it and with noise taken into account.

Axes in suffixes: B spectra, N pixels, T tokens, W numbers of a token, P pixels of a window.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "WindowFit",
    "n_released_windows",
    "n_windows",
    "relative_spectra",
    "released_tokens",
    "window_fits",
    "window_tokens",
]

N_EXTRA = 2
"""Numbers of a token in front of the pixels of its window."""

_MEAN_SHIFT, _MEAN_SCALE = 2.0, 2.0  # of the released code, which makes them of DESI's units
_SCATTER_SHIFT, _SCATTER_SCALE = 2.0, 8.0
_LEAST_SCATTER = 0.2

_LEVEL_SHIFT, _LEVEL_SCALE = 0.5, 0.5  # log10 of 1e-17 erg/s/cm2/A; galaxies of DESI's bright survey: -0.2 to 1.2
_PIXEL_VARIANCE = 0.09  # expected of a pixel about the line through its window, in units of the level squared
_LINE_VARIANCE = 0.25  # the same of the height and slope of a window
_LINE_GAIN = 8.0  # two numbers against all pixels of a window: without it the noise of the pixels drowns them
_SLOPE_RIDGE = 0.01  # steadies the slope of windows with few valid pixels


def n_released_windows(n_pixels: int, window: int = 20, step: int = 10) -> int:
    """Windows that the released code makes of ``n_pixels``: it drops the last start, though its window may be whole.

    Raises
    ------
    ValueError
        If no window is left.
    """
    count = len(range(0, n_pixels - (window - step), step)) - 1
    if count < 1:
        raise ValueError(f"spectra of {n_pixels} pixels: too short for windows of {window} every {step} pixels")
    return count


def released_tokens(flux_BN: Tensor, valid_BN: Tensor, window: int = 20, step: int = 10) -> Tensor:
    """Tokens (B, T, window + 2) of spectra (B, N) as the released code cuts them, T = 1 + number of windows.

    A spectrum is standardised by its mean and scatter (not below 0.2) over valid pixels. The first token holds
    ``(mean - 2) / 2`` and ``(scatter - 2) / 8`` in its two first numbers, any other the pixels of its window behind two
    zeros. Windows start every ``step`` pixels; the last one is dropped, complete or not, so that the last pixels are
    not seen: 7781 pixels make 778 tokens.

    Notes
    -----
    The released code knows no invalid pixels. Here they are 0 once standardised, which is their mean, and do not enter
    mean and scatter; the loss of the released code, which leaves out whatever is exactly 0, leaves them out by itself.
    """
    n_kept = n_released_windows(flux_BN.shape[1], window, step)
    count = valid_BN.sum(1, keepdim=True).clamp(min=1)
    kept_BN = torch.where(valid_BN, flux_BN, 0.0)
    mean = kept_BN.sum(1, keepdim=True) / count
    deviation_BN = torch.where(valid_BN, flux_BN - mean, 0.0)
    scatter = (deviation_BN.square().sum(1, keepdim=True) / (count - 1).clamp(min=1)).sqrt().clamp(min=_LEAST_SCATTER)
    window_BTW = (deviation_BN / scatter).unfold(1, window, step)[:, :n_kept]
    token_BTW = F.pad(window_BTW, (N_EXTRA, 0, 1, 0))
    token_BTW[:, 0, 0] = (mean[:, 0] - _MEAN_SHIFT) / _MEAN_SCALE
    token_BTW[:, 0, 1] = (scatter[:, 0] - _SCATTER_SHIFT) / _SCATTER_SCALE
    return token_BTW


def n_windows(n_pixels: int, window: int, step: int) -> int:
    """Windows that start every ``step`` pixels and hold every pixel; the last may reach beyond the end."""
    return 1 + max(0, -(-(n_pixels - window) // step))


class WindowFit(NamedTuple):
    """A straight line through every window, weighted by inverse variance, and what is left of the pixels.

    Attributes
    ----------
    line_BT2 : height at the weighted mean position of the window, and slope (change over half of a window).
    line_ivar_BT2 : their inverse variances; 0 where a window has no valid pixel.
    pixel_BTP : pixels less the line; 0 where invalid.
    pixel_ivar_BTP : inverse variance of the pixels.
    """

    line_BT2: Tensor
    line_ivar_BT2: Tensor
    pixel_BTP: Tensor
    pixel_ivar_BTP: Tensor


def relative_spectra(flux_BN: Tensor, ivar_BN: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Flux over its mean level less 1, with its inverse variance, and log10 of the level (B,).

    The level is the mean weighted by ivar, not below its error; without any valid pixel it is 1.
    """
    total = ivar_BN.sum(1)
    known = total > 0
    safe = torch.where(known, total, 1.0)
    level = torch.where(known, torch.maximum((flux_BN * ivar_BN).sum(1) / safe, safe.rsqrt()), 1.0)
    relative_BN = torch.where(ivar_BN > 0, flux_BN / level[:, None] - 1, 0.0)
    return relative_BN, ivar_BN * level[:, None].square(), level.log10()


def window_fits(flux_BN: Tensor, ivar_BN: Tensor, window: int, step: int) -> WindowFit:
    """Fit a line to each window of spectra (B, N); beyond the end of a spectrum pixels are invalid."""
    beyond = (n_windows(flux_BN.shape[1], window, step) - 1) * step + window - flux_BN.shape[1]
    flux_BTP, ivar_BTP = (F.pad(part, (0, beyond)).unfold(1, window, step) for part in (flux_BN, ivar_BN))
    position_P = torch.linspace(-1, 1, window, dtype=flux_BN.dtype, device=flux_BN.device)
    weight = ivar_BTP.sum(-1)
    safe = torch.where(weight > 0, weight, 1.0)
    height = (flux_BTP * ivar_BTP).sum(-1) / safe
    offset_BTP = position_P - ((ivar_BTP * position_P).sum(-1) / safe)[..., None]
    moment = (ivar_BTP * offset_BTP.square()).sum(-1) + _SLOPE_RIDGE * safe
    slope = (ivar_BTP * offset_BTP * flux_BTP).sum(-1) / moment
    left_BTP = torch.where(ivar_BTP > 0, flux_BTP - height[..., None] - slope[..., None] * offset_BTP, 0.0)
    slope_ivar = torch.where(weight > 0, moment, 0.0)
    return WindowFit(torch.stack([height, slope], -1), torch.stack([weight, slope_ivar], -1), left_BTP, ivar_BTP)


def window_tokens(fit: WindowFit, log10_level: Tensor) -> Tensor:
    """Tokens (B, 1 + T, P + 2): one with the level of the spectrum, then height, slope and pixels of every window.

    Numbers are shrunk towards 0 by their noise, ``x / (1 + 1 / (ivar * expected variance))``: what is invalid is 0.
    Height and slope are then multiplied by 8.
    """
    pixel_BTP = fit.pixel_BTP * _reliability(fit.pixel_ivar_BTP, _PIXEL_VARIANCE)
    line_BT2 = fit.line_BT2 * (_LINE_GAIN * _reliability(fit.line_ivar_BT2, _LINE_VARIANCE))
    token_BTW = F.pad(torch.cat([line_BT2, pixel_BTP], -1), (0, 0, 1, 0))
    token_BTW[:, 0, 0] = (log10_level - _LEVEL_SHIFT) / _LEVEL_SCALE
    return token_BTW


def _reliability(ivar: Tensor, variance: float) -> Tensor:
    scaled = ivar * variance
    return scaled / (1 + scaled)

"""Light on pixels: batches of galaxies drawn in Fourier space with torch.

A bulge is a de Vaucouleurs profile as a mixture of Gaussians, known in Fourier space; discs of old and young stars are
pixel maps that one transform each carries there; a point-spread function of two Gaussians multiplies; one inverse
transform a band comes back. Round blobs (knots, stars, neighbours, tails) are outer products of two Gaussians and need
no transform. The point-spread function includes the pixel's response: light is sampled at pixel centres.

Discs that are thin against a pixel are widened by .6 pixels in quadrature, which keeps their samples from beating with
the grid and lies far below the seeing. What falls outside of the padded grid of one disc is lost, as it is outside of a
real cutout; a bulge's far wings re-enter on the other side instead (under 1 % of the light of bulges that fit).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from scipy.optimize import brentq
from torch import Tensor

from benchmark.simulator.morphology import FLOCCULENT_ARMS

__all__ = ["PSF_SHARES", "PSF_WIDTHS", "Blobs", "Discs", "Ellipses", "psf_sigma_per_fwhm", "render"]

PAD = 8  # pixels around the stamp, half on each side: 152 + 8 = 2^5 * 5
MIN_WIDTH = 0.6  # pixels

# Hogg & Lang 2013, PASP 125, 719 (arXiv:1210.6563), as in the Tractor: half-light radius 1, 8 and 6 Gaussians
_DEV_SHARE = (0.0426347652, 0.240127183, 0.685907632, 1.51937350, 2.83627243, 4.46467501, 5.72440830, 5.60989349)
_DEV_VARIANCE = (
    *(2.23759216e-4, 1.00220099e-3, 4.18731126e-3, 1.69432589e-2),
    *(6.84850479e-2, 0.287207080, 1.33320254, 8.40215071),
)
_EXP_SHARE = (2.34853813e-3, 3.07995260e-2, 0.223364214, 1.17949102, 4.33873750, 5.99820770)
_EXP_VARIANCE = (1.20078965e-3, 8.84526493e-3, 3.91463084e-2, 0.139976817, 0.460962500, 1.50159566)
PROFILES = {"dev": (_DEV_SHARE, _DEV_VARIANCE), "exp": (_EXP_SHARE, _EXP_VARIANCE)}

PSF_SHARES = (0.85, 0.15)
PSF_WIDTHS = (1.0, 2.2)  # the second Gaussian's sigma in units of the first's

ARM_SHARPNESS = 2.2
_ARM_MEAN = 0.29127  # of exp(2.2 (cos t - 1)) over t: exp(-2.2) I0(2.2)


@dataclass(frozen=True, eq=False)
class Ellipses:
    """n elliptical profiles; lengths in pixels, float32 tensors (n,), flux (n, bands) nanomaggies.

    ``x``, ``y`` are offsets of the centre from that of the stamp.
    """

    flux: Tensor
    radius: Tensor
    ratio: Tensor
    angle: Tensor
    x: Tensor
    y: Tensor


@dataclass(frozen=True, eq=False)
class Discs:
    """n exponential discs at the centre of the stamp: tensors (n,), see `Morphology` for the shapes; scale in pixels.

    ``old``, ``young`` (n, bands) are their fluxes in nanomaggies, without knots.
    """

    old: Tensor
    young: Tensor
    scale: Tensor
    ratio: Tensor
    angle: Tensor
    n_arms: Tensor
    arm_pitch: Tensor
    arm_strength: Tensor
    arm_phase: Tensor
    handedness: Tensor
    lopsided: Tensor
    lopsided_angle: Tensor
    bar_share: Tensor
    bar_length: Tensor
    bar_ratio: Tensor
    bar_angle: Tensor
    lane_depth: Tensor


@dataclass(frozen=True, eq=False)
class Blobs:
    """(n, k) round Gaussians: offsets from the stamp's centre and sigma in pixels; flux (n, k, bands) nanomaggies."""

    x: Tensor
    y: Tensor
    sigma: Tensor
    flux: Tensor


def render(bulges: Ellipses, discs: Discs, companions: Ellipses, blobs: Blobs, psf_sigma: Tensor, size: int) -> Tensor:
    """Noise-free images (n, bands, size, size) in nanomaggies a pixel.

    Parameters
    ----------
    bulges : de Vaucouleurs profiles; companions : exponential ones, skipped where their flux is 0.
    psf_sigma : (n, bands) sigma of the point-spread function's core in pixels.
    size : of the stamp; even.
    """
    grid = size + PAD
    maps = torch.fft.rfft2(_disc_maps(discs, grid))
    light = _ellipse_transform(bulges, grid, "dev")[:, None] * bulges.flux[..., None, None]
    light = light + maps[:, :1] * discs.old[..., None, None] + maps[:, 1:] * discs.young[..., None, None]
    near = torch.nonzero(companions.flux.amax(dim=1) > 0).flatten()
    if len(near):
        chosen = Ellipses(**{name: value[near] for name, value in vars(companions).items()})
        light[near] += _ellipse_transform(chosen, grid, "exp")[:, None] * chosen.flux[..., None, None]
    images = torch.fft.irfft2(light * _psf_transform(psf_sigma, grid), s=(grid, grid))
    half = PAD // 2
    return images[..., half : half + size, half : half + size] + _blob_images(blobs, psf_sigma, size)


@lru_cache(maxsize=1)
def psf_sigma_per_fwhm() -> float:
    """Sigma of the point-spread function's core by the full width at half maximum of the whole."""

    def excess(radius: float) -> float:
        peak = [share / width**2 for share, width in zip(PSF_SHARES, PSF_WIDTHS)]
        here = [p * float(torch.exp(torch.tensor(-0.5 * (radius / w) ** 2))) for p, w in zip(peak, PSF_WIDTHS)]
        return sum(here) - 0.5 * sum(peak)

    return 0.5 / float(brentq(excess, 1.0, 1.5))


@lru_cache(maxsize=4)
def _frequencies(grid: int) -> tuple[Tensor, Tensor]:
    """Angular frequencies along rows (grid, 1) and columns (1, grid // 2 + 1), radians a pixel."""
    ky = 2 * torch.pi * torch.fft.fftfreq(grid, dtype=torch.float64)
    kx = 2 * torch.pi * torch.fft.rfftfreq(grid, dtype=torch.float64)
    return ky[:, None].float(), kx[None, :].float()


def _ellipse_transform(ellipses: Ellipses, grid: int, profile: str) -> Tensor:
    """Fourier transform (n, grid, grid // 2 + 1) of profiles of unit flux."""
    ky, kx = _frequencies(grid)
    cos, sin = (f(ellipses.angle)[:, None, None] for f in (torch.cos, torch.sin))
    major, minor = kx * cos + ky * sin, ky * cos - kx * sin
    radius, ratio = ellipses.radius[:, None, None], ellipses.ratio[:, None, None]
    exponent = -0.5 * radius**2 * (major**2 + (ratio * minor) ** 2)
    shares, variances = PROFILES[profile]
    total = sum(shares)
    amplitude = torch.zeros_like(exponent)
    for share, variance in zip(shares, variances):
        amplitude += share / total * torch.exp(variance * exponent)
    centre = (grid - 1) / 2
    rows = torch.exp(-1j * ky * (centre + ellipses.y)[:, None, None])
    columns = torch.exp(-1j * kx * (centre + ellipses.x)[:, None, None])
    return amplitude * (rows * columns)


def _psf_transform(sigma: Tensor, grid: int) -> Tensor:
    """(n, bands, grid, grid // 2 + 1), real: the function is symmetric."""
    ky, kx = _frequencies(grid)
    variance = (sigma**2)[..., None, None]
    core, wing = (
        share * torch.exp(-0.5 * width**2 * variance * ky**2) * torch.exp(-0.5 * width**2 * variance * kx**2)
        for share, width in zip(PSF_SHARES, PSF_WIDTHS)
    )
    return core + wing


def _disc_maps(discs: Discs, grid: int) -> Tensor:
    """Old and young light (n, 2, grid, grid) of unit flux, less what lies outside of the grid."""
    x, y, scale_x = _disc_plane(discs, _offsets(grid))
    square = x * x + y * y + 1e-4
    radius = torch.sqrt(square)
    smooth = torch.exp(-radius)
    spiral = _spiral(discs, x, y, square)
    toward = x * _image(torch.cos(discs.lopsided_angle)) + y * _image(torch.sin(discs.lopsided_angle))
    shape = smooth * (1 + _image(discs.lopsided) * toward / (radius + 0.5))
    shape = shape * (1 - _image(discs.lane_depth) / (1 + (y / 0.35) ** 2) ** 2)
    old, young = shape * (1 + 0.35 * spiral), shape * (1 + spiral)
    inside = 1 - _share_outside(discs, smooth, scale_x, grid)
    bar, bar_share = _bar(discs, x, y), _image(discs.bar_share)
    old = _unit(old) * (1 - bar_share) + _unit(bar) * bar_share
    return torch.stack([old, _unit(young)], dim=1) * inside[:, None, None, None]


def _image(value: Tensor) -> Tensor:
    return value[:, None, None]


def _unit(image: Tensor) -> Tensor:
    return image / image.sum(dim=(1, 2), keepdim=True)


def _offsets(grid: int, step: int = 1) -> Tensor:
    return step * (torch.arange(grid, dtype=torch.float32) - (grid - 1) / 2)


def _disc_plane(discs: Discs, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates in the disc in scale lengths, and the pixels that one of them spans along the major axis."""
    cos, sin = _image(torch.cos(discs.angle)), _image(torch.sin(discs.angle))
    column, row = offset[None, None, :], offset[None, :, None]
    scale_x = torch.sqrt(discs.scale**2 + MIN_WIDTH**2)
    scale_y = torch.sqrt((discs.scale * discs.ratio) ** 2 + MIN_WIDTH**2)
    x = (column * cos + row * sin) / _image(scale_x)
    y = (row * cos - column * sin) / _image(scale_y)
    return x, y, scale_x


def _spiral(discs: Discs, x: Tensor, y: Tensor, square: Tensor) -> Tensor:
    """Relative excess of light along logarithmic arms, 0 on average around a circle, fading inside of .7 h."""
    log_radius = 0.5 * torch.log(square)
    angle = torch.atan2(y, x)
    wound = _image(discs.handedness) * angle - log_radius / _image(torch.tan(discs.arm_pitch))
    phase = _image(discs.n_arms) * (wound - _image(discs.arm_phase))
    flocculent = _image((discs.n_arms == FLOCCULENT_ARMS).to(x.dtype))
    phase = phase + flocculent * (4.0 * x * y / square) * log_radius
    excess = torch.exp(ARM_SHARPNESS * (torch.cos(phase) - 1)) / _ARM_MEAN - 1
    return _image(discs.arm_strength) * square / (square + 0.5) * excess


def _bar(discs: Discs, x: Tensor, y: Tensor) -> Tensor:
    """A flat bar with a steep edge; its isophotes are squarer than ellipses."""
    cos, sin = _image(torch.cos(discs.bar_angle)), _image(torch.sin(discs.bar_angle))
    along = ((x * cos + y * sin) / _image(discs.bar_length)).abs()
    across = ((y * cos - x * sin) / _image(discs.bar_length * discs.bar_ratio)).abs()
    return 1 / (1 + (along * along * along + across * across * across) ** 2)


def _share_outside(discs: Discs, smooth: Tensor, scale_x: Tensor, grid: int) -> Tensor:
    """(n,) share of the smooth disc's light beyond the grid, by a grid four times as wide in steps of four pixels."""
    share = torch.zeros_like(scale_x)
    large = torch.nonzero(scale_x > grid / 20).flatten()  # else under 5e-4 is outside
    if len(large):
        chosen = Discs(**{name: value[large] for name, value in vars(discs).items()})
        x, y, _ = _disc_plane(chosen, _offsets(grid, step=4))
        wide = torch.exp(-torch.sqrt(x * x + y * y + 1e-4))
        inner = slice(grid * 3 // 8, grid * 5 // 8)
        wide[:, inner, inner] = 0
        beyond = 16 * wide.sum(dim=(1, 2))
        share[large] = beyond / (beyond + smooth[large].sum(dim=(1, 2)))
    return share


def _blob_images(blobs: Blobs, psf_sigma: Tensor, size: int) -> Tensor:
    """(n, bands, size, size): every blob as one product of Gaussians for each Gaussian of the PSF."""
    offset = _offsets(size)
    parts = []
    for share, width in zip(PSF_SHARES, PSF_WIDTHS):
        variance = blobs.sigma[:, None, :] ** 2 + (width * psf_sigma[..., None]) ** 2
        exponent = -0.5 / variance[..., None]
        column = torch.exp(exponent * (offset - blobs.x[:, None, :, None]) ** 2)
        row = torch.exp(exponent * (offset - blobs.y[:, None, :, None]) ** 2)
        height = share * blobs.flux.transpose(1, 2) / (2 * torch.pi * variance)
        parts.append(torch.matmul((row * height[..., None]).transpose(2, 3), column))
    return torch.stack(parts).sum(dim=0)

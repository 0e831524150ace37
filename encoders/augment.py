"""Random views of galaxies, made for a whole batch at once on its device: crops, flips, blur, noise.

Axes in suffixes: B images, C bands, H and W pixels, S sigmas, N pixels of a crop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["STEIN_NOISE", "STEIN_PSF", "Augmentation", "LogNormal", "gaussian_bank", "random_crops"]

N_SIGMAS = 96
_TRUNCATE = 4.0  # sigmas, as scikit-image does
_SMALLEST_SIGMA = 0.1  # pixels: below it a Gaussian's neighbour weighs exp(-50)


@dataclass(frozen=True)
class LogNormal:
    """loc + scale * exp(shape * N(0, 1)), scipy's parametrisation."""

    shape: float
    loc: float
    scale: float

    @property
    def median(self) -> float:
        return self.loc + self.scale

    def scaled(self, factor: float) -> LogNormal:
        """The distribution of ``factor`` times the number."""
        return LogNormal(self.shape, self.loc * factor, self.scale * factor)


STEIN_PSF = (
    LogNormal(0.2109966, 1.0807153, 1.3153171),
    LogNormal(0.3008485, 1.2394326, 0.9164757),
    LogNormal(0.3471172, 1.1928363, 0.8233702),
)
"""Sigma of the point-spread function in pixels of .262 arcsec, g, r, z: Stein et al. 2021, arXiv:2110.00023."""
STEIN_NOISE = (
    LogNormal(0.2264926, -0.0006735, 0.0037602),
    LogNormal(0.2431146, -0.0023663, 0.0067417),
    LogNormal(0.1334844, -0.0143416, 0.0260779),
)
"""Standard deviation of a pixel's noise in nanomaggies, g, r, z; the same source."""


def gaussian_bank(size: int, sigmas: Sequence[float]) -> Tensor:
    """Matrices (S, N, N) that blur a column of ``size`` pixels by Gaussians, cut at 4 sigma, mirrored at the border.

    The mirror repeats the border pixel (scipy's ``reflect``), so ``G @ image @ G.T`` is scikit-image's Gaussian filter
    and keeps the total flux.
    """
    bank = torch.zeros(len(sigmas), size, size, dtype=torch.float64)
    out = torch.arange(size)
    for matrix, sigma in zip(bank, sigmas, strict=True):
        radius = int(_TRUNCATE * sigma + 0.5)
        offset = torch.arange(-radius, radius + 1)
        weight = torch.exp(-0.5 * (offset.double() / sigma) ** 2)
        weight /= weight.sum()
        source = (out[:, None] + offset) % (2 * size)  # a mirror has period 2 N
        source = torch.where(source < size, source, 2 * size - 1 - source)
        matrix.scatter_add_(1, source, weight.expand(size, -1))
    return bank.float()


def random_crops(image_BCHW: Tensor, size: int, generator: torch.Generator, *, contains_centre: bool = False) -> Tensor:
    """A crop (B, C, size, size) of every image at a random place, flipped left-right and up-down with probability 1/2.

    Parameters
    ----------
    image_BCHW : images, no side smaller than ``size``.
    size : side of the crops.
    generator : source of the draws.
    contains_centre : only places whose crop holds the image's central pixel, where the galaxy is.
    """
    n_images, n_bands, height, width = image_BCHW.shape
    if size > min(height, width):
        raise ValueError(f"crops of {size} pixels from images of {height} x {width}: must not be larger")
    drawn = torch.rand(4, n_images, generator=generator, device=generator.device).to(image_BCHW.device)
    index = []
    for side, place, flip in ((height, drawn[0], drawn[1]), (width, drawn[2], drawn[3])):
        first, last = 0, side - size
        if contains_centre:
            first, last = max(first, side // 2 - size + 1), min(last, side // 2)
        start = first + (place * (last - first + 1)).long().clamp_max(last - first)
        pixel = torch.arange(size, device=image_BCHW.device)
        index.append(start[:, None] + torch.where(flip[:, None] < 0.5, pixel, size - 1 - pixel))
    rows, columns = index
    flat = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
    picked = image_BCHW.flatten(2).gather(2, flat[:, None].expand(-1, n_bands, -1))
    return picked.reshape(n_images, n_bands, size, size)


def rotated(image_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Every image turned about its centre by an angle uniform in 0 to pi, bilinear, mirrored at the border."""
    angle = math.pi * torch.rand(len(image_BCHW), generator=generator, device=generator.device).to(image_BCHW.device)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    theta = torch.stack([torch.stack([cos, -sin, zero], -1), torch.stack([sin, cos, zero], -1)], 1)
    grid = F.affine_grid(theta, list(image_BCHW.shape), align_corners=False)
    return F.grid_sample(image_BCHW, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


class Augmentation(nn.Module):
    """Two global and some local views of every image, in linear flux.

    Parameters
    ----------
    global_size, local_size : sides of the crops in pixels.
    n_local : local views.
    probabilities : of blurring, and independently of adding noise, for the two global views and the local ones.
    psf, noise : for each band the fits that sigmas are drawn from, already in pixels and units of the images; empty
        where images are pictures whose pixels are no fluxes: then nothing is blurred or added.
    local_contains_centre : see `random_crops`.
    rotate : turn every view first, see `rotated`.

    Notes
    -----
    A view gets what takes it from one survey condition to another: two sigmas are drawn for each band and only
    sqrt(max(0, second^2 - first^2)) is added, so even at probability 1 half of the bands stay as they are. Sigmas of
    the blur are rounded to 96 logarithmic steps, 4 % apart. Blur comes before noise.

    References
    ----------
    Stein et al. 2021, arXiv:2110.00023; Parker et al. 2024, arXiv:2310.03024, section 3.
    """

    bank_global: Tensor
    bank_local: Tensor

    def __init__(
        self,
        *,
        global_size: int,
        local_size: int,
        n_local: int,
        probabilities: tuple[float, float, float],
        psf: Sequence[LogNormal] = (),
        noise: Sequence[LogNormal] = (),
        local_contains_centre: bool = False,
        rotate: bool = False,
    ) -> None:
        super().__init__()
        if any(not 0 <= p <= 1 for p in probabilities):
            raise ValueError(f"probabilities {probabilities}: each must be from 0 to 1")
        if len(psf) != len(noise):
            raise ValueError(f"{len(psf)} fits of the blur and {len(noise)} of the noise: one of each a band")
        self.global_size, self.local_size, self.n_local = global_size, local_size, n_local
        self.probabilities, self.psf, self.noise = probabilities, tuple(psf), tuple(noise)
        self.local_contains_centre, self.rotate = local_contains_centre, rotate
        largest = max((fit.loc + fit.scale * math.exp(4 * fit.shape) for fit in psf), default=_SMALLEST_SIGMA)
        steps = torch.linspace(math.log(_SMALLEST_SIGMA), math.log(max(largest, 2 * _SMALLEST_SIGMA)), N_SIGMAS)
        self.sigmas = steps.exp().tolist()
        self.register_buffer("bank_global", self._bank(global_size), persistent=False)
        self.register_buffer("bank_local", self._bank(local_size), persistent=False)

    def forward(self, flux_BCHW: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Global (2 B, C, G, G) and local (n_local B, C, L, L) views; the first B rows are view 1 of every image.

        Always in the precision of the images: faint galaxies are a few per cent of the sky's noise.
        """
        with torch.autocast(flux_BCHW.device.type, enabled=False):
            return self._all_views(flux_BCHW, generator)

    def _all_views(self, flux_BCHW: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        parts = [
            self._views(flux_BCHW, self.global_size, probability, self.bank_global, generator, centred=False)
            for probability in self.probabilities[:2]
        ]
        repeated = flux_BCHW.repeat(self.n_local, 1, 1, 1)
        local = self._views(
            repeated,
            self.local_size,
            self.probabilities[2],
            self.bank_local,
            generator,
            centred=self.local_contains_centre,
        )
        return torch.cat(parts), local

    def _views(
        self,
        flux_BCHW: Tensor,
        size: int,
        probability: float,
        bank_SNN: Tensor,
        generator: torch.Generator,
        *,
        centred: bool,
    ) -> Tensor:
        if self.rotate:
            flux_BCHW = rotated(flux_BCHW, generator)
        view = random_crops(flux_BCHW, size, generator, contains_centre=centred)
        if not self.psf or probability == 0:
            return view
        blurred = self._blur(view, self._added(view, self.psf, probability, generator), bank_SNN)
        sigma_BC = self._added(view, self.noise, probability, generator)
        normal = torch.randn(view.shape, generator=generator, device=generator.device).to(view.device)
        return blurred + normal * sigma_BC[:, :, None, None]

    def _added(self, view: Tensor, fits: Sequence[LogNormal], probability: float, generator: torch.Generator) -> Tensor:
        """Sigmas (B, C) to add in quadrature; zero for images that are left alone."""
        names = ("shape", "loc", "scale")
        shape, loc, scale = (view.new_tensor([getattr(fit, name) for fit in fits]) for name in names)
        device = generator.device
        normal = torch.randn(2, *view.shape[:2], generator=generator, device=device).to(view.device)
        chosen = torch.rand(len(view), 1, generator=generator, device=device).to(view.device) < probability
        before, after = (loc + scale * torch.exp(shape * normal)).clamp_min(0)
        return (after**2 - before**2).clamp_min(0).sqrt() * chosen

    def _blur(self, view: Tensor, sigma_BC: Tensor, bank_SNN: Tensor) -> Tensor:
        low, high = math.log(self.sigmas[0]), math.log(self.sigmas[-1])
        step = (sigma_BC.clamp_min(1e-12).log() - low) / (high - low) * (N_SIGMAS - 1)
        number = step.round().clamp_max(N_SIGMAS - 1).flatten()
        rows = torch.nonzero(number >= 0).squeeze(1)
        planes = view.flatten(0, 1)
        kernel = bank_SNN[number[rows].long()]
        blurred = kernel @ planes[rows] @ kernel.transpose(1, 2)
        return planes.index_copy(0, rows, blurred).reshape(view.shape)

    def _bank(self, size: int) -> Tensor:
        return gaussian_bank(size, self.sigmas) if self.psf else torch.zeros(0, size, size)

"""A bulge and a disc fitted to images of galaxies (b, bands, height, width): the measurement behind catalogues of B/T.

The model is a de Vaucouleurs and an exponential profile at the centre of the image, each with its own size, axis ratio
and direction, the same in all bands, with fluxes of their own in every band; both are mixtures of Gaussians, blurred by
a point-spread function of two. Images are folded about their centre and averaged over cells: single pixels inside of
four pixels, sectors of rings beyond. The mean of a Gaussian over a cell is that of one widened by the cell's own
covariance, so that a fit needs some two hundred numbers instead of all pixels. A Levenberg-Marquardt search moves all
galaxies of a batch at once for a fixed number of steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BulgeDisc", "fit_bulge_disc"]

Array = NDArray[np.float64]
Floats = NDArray[Any]  # single precision

N_STEPS = 9
# Hogg & Lang 2013, PASP 125, 719 (arXiv:1210.6563): half-light radius 1. Their innermost Gaussians, which no seeing
# from the ground tells from a point, are one here.
_DEV = (
    (0.11778671, 0.13427227, 0.21136265, 0.27099981, 0.26557856),
    (0.01160167, 0.0684850479, 0.28720708, 1.33320254, 8.40215071),
)
_EXP = (
    (0.00281561, 0.01897267, 0.10018654, 0.36853448, 0.50949069),
    (0.00830365, 0.0391463084, 0.139976817, 0.4609625, 1.50159566),
)
_PSF = ((0.85, 1.0), (0.15, 2.2))  # share, width: a core and a wing
_INNER = 4.0  # pixels, within which every pixel is a cell
_RING = 0.22  # step in the logarithm of the radius
_N_SECTORS = 12  # in half a turn
_SYSTEMATIC = 0.05  # of the light: what arms and clumps differ from a smooth model
_FAR = 0.01  # of the brightest ring: what a model may miss there counts for errors further out too


@dataclass(frozen=True, eq=False)
class BulgeDisc:
    """Fits of b galaxies.

    Attributes
    ----------
    bulge, disc : (b, bands) fluxes, in the images' unit; either may be slightly negative.
    bulge_radius, disc_radius : (b,) half-light radii, pixels, geometric mean of both axes.
    bulge_ratio, disc_ratio : (b,) axis ratios, 0 to 1.
    misfit : (b,) root mean square of the residuals by their errors, 5 % of the light among these.
    """

    bulge: Array
    disc: Array
    bulge_radius: Array
    disc_radius: Array
    bulge_ratio: Array
    disc_ratio: Array
    misfit: Array


@dataclass(frozen=True, eq=False)
class _Cells:
    """Cells of a folded image: member pixels sorted by cell, where each starts, counts, centroids and covariances."""

    pixel: NDArray[np.intp]
    first: NDArray[np.intp]
    count: Floats
    x: Floats
    y: Floats
    xx: Floats
    yy: Floats
    xy: Floats
    ring: NDArray[np.intp]


@lru_cache(maxsize=4)
def _cells(height: int, width: int) -> _Cells:
    row, column = (values.ravel() for values in np.indices((height, width)))
    y, x = row - (height - 1) / 2, column - (width - 1) / 2
    fold = np.where((y < 0) | ((y == 0) & (x < 0)), -1, 1)
    x, y = x * fold, y * fold
    radius = np.hypot(x, y)
    ring = np.where(radius < _INNER, 0, 1 + np.floor(np.log(np.maximum(radius, _INNER) / _INNER) / _RING))
    sector = np.floor(np.arctan2(y, x) / np.pi * _N_SECTORS).clip(0, _N_SECTORS - 1)
    by_itself = -1 - (np.round(2 * y) * 4 * width + np.round(2 * x) + 2 * width)  # inner pixels: half-integer places
    label = np.where(ring == 0, by_itself, ring * _N_SECTORS + sector)
    used = np.flatnonzero(radius < max(min(height, width) / 2, 1.0))
    _, cell = np.unique(label[used], return_inverse=True)
    order = np.argsort(cell, kind="stable")
    pixel, cell = used[order], cell[order]
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    count = np.diff(np.append(first, len(cell)))
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = (
        np.add.reduceat(value[pixel], first) / count for value in (x, y, x * x, y * y, x * y)
    )
    # the level of light is averaged over rings; of the inner pixels, over those within half a pixel of a radius
    rings = np.where(ring == 0, np.floor(2 * radius), 2 * _INNER + ring)[pixel[first]].astype(np.intp)
    return _Cells(
        pixel=pixel,
        first=first,
        count=count.astype(np.float32),
        x=mean_x.astype(np.float32),
        y=mean_y.astype(np.float32),
        xx=(mean_xx - mean_x**2).astype(np.float32),
        yy=(mean_yy - mean_y**2).astype(np.float32),
        xy=(mean_xy - mean_x * mean_y).astype(np.float32),
        ring=rings,
    )


def fit_bulge_disc(image: Floats, sigma: Floats, r50: Array, psf_sigma: float) -> BulgeDisc:
    """Fit images without background and neighbours.

    Parameters
    ----------
    image : (b, bands, height, width).
    sigma : (b, bands) standard deviation of a pixel's noise.
    r50 : (b,) half-light radius in pixels, where the search starts.
    psf_sigma : of the point-spread function's core, pixels.
    """
    cells = _cells(*image.shape[2:])
    data, error = _averages(image, sigma, cells)
    weight = (1 / error).astype(np.float32)
    start = np.log(np.clip(r50, 1.5, min(image.shape[2:]) / 4))
    zero = np.zeros_like(start)
    shape = np.stack([start - 0.7, zero, zero, start, zero, zero], axis=1).astype(np.float32)
    prior = shape.copy()
    parameters, flux, cost = _search(shape, prior, data, weight, cells, psf_sigma)
    ratio = [np.exp(-np.hypot(parameters[:, k + 1], parameters[:, k + 2])) for k in (0, 3)]
    radius = [np.exp(parameters[:, k]).astype(np.float64) for k in (0, 3)]
    return BulgeDisc(
        bulge=flux[..., 0].astype(np.float64),
        disc=flux[..., 1].astype(np.float64),
        bulge_radius=radius[0],
        disc_radius=radius[1],
        bulge_ratio=ratio[0].astype(np.float64),
        disc_ratio=ratio[1].astype(np.float64),
        misfit=np.sqrt(cost / (data.shape[1] * data.shape[2])).astype(np.float64),
    )


def _averages(image: Floats, sigma: Floats, cells: _Cells) -> tuple[Floats, Floats]:
    """Means (b, bands, cells) of the cells and their errors."""
    flat = image.reshape(*image.shape[:2], -1)[:, :, cells.pixel]
    data = np.add.reduceat(flat, cells.first, axis=-1) / cells.count
    ring = np.zeros((int(cells.ring.max()) + 1, len(cells.ring)), np.float32)
    ring[cells.ring, np.arange(len(cells.ring))] = 1
    ring /= np.maximum(ring.sum(axis=1, keepdims=True), 1)
    level = np.maximum((data @ ring.T)[..., cells.ring], 0)
    level = level + _FAR * level.max(axis=-1, keepdims=True)
    return data, np.sqrt(sigma[..., None] ** 2 / cells.count + (_SYSTEMATIC * level) ** 2)


_PRIOR = np.array([0.7, 0.5, 0.5, 0.7, 1.5, 1.5], np.float32)
_STEP = np.float32(0.02)


def _search(
    shape: Floats, prior: Floats, data: Floats, weight: Floats, cells: _Cells, psf_sigma: float
) -> tuple[Floats, Floats, Floats]:
    """Shapes (b, 6), fluxes (b, bands, 2) and sums of squares (b,) after `N_STEPS` steps."""
    damping = np.full(len(shape), 0.03, np.float32)
    parts = _both(shape, cells, psf_sigma)
    flux, cost = _fluxes(parts, data, weight, shape, prior)
    for _ in range(N_STEPS):
        trial = shape + _move(shape, prior, parts, flux, data, weight, cells, psf_sigma, damping)
        trial[:, (0, 3)] = np.clip(trial[:, (0, 3)], -1.0, 4.5)
        trial_parts = _both(trial, cells, psf_sigma)
        trial_flux, trial_cost = _fluxes(trial_parts, data, weight, trial, prior)
        better = trial_cost < cost
        shape = np.where(better[:, None], trial, shape)
        parts = np.where(better[:, None, None], trial_parts, parts)
        flux = np.where(better[:, None, None], trial_flux, flux)
        cost = np.where(better, trial_cost, cost)
        damping = np.where(better, damping * np.float32(0.3), damping * np.float32(8))
    return shape, flux, cost


def _fluxes(parts: Floats, data: Floats, weight: Floats, shape: Floats, prior: Floats) -> tuple[Floats, Floats]:
    """Best fluxes (b, bands, 2) of both components and the sums of squares (b,), the prior's included."""
    scaled = parts[:, None] * weight[:, :, None]  # (b, bands, 2, cells)
    normal = scaled @ scaled.transpose(0, 1, 3, 2)
    trace = normal[..., 0, 0] + normal[..., 1, 1]
    normal[..., (0, 1), (0, 1)] += 1e-5 * trace[..., None]
    flux = np.linalg.solve(normal, scaled @ (data * weight)[..., None])[..., 0]
    flux = _not_negative(flux, scaled, data * weight)
    residual = data * weight - (flux[..., None] * scaled).sum(axis=2)
    return flux, (residual**2).sum(axis=(1, 2)) + (((shape - prior) / _PRIOR) ** 2).sum(axis=1)


def _not_negative(flux: Floats, scaled: Floats, target: Floats) -> Floats:
    """Where one component is negative, none of it and the best of the other."""
    alone = (scaled * target[:, :, None]).sum(axis=-1) / np.maximum((scaled**2).sum(axis=-1), 1e-20)
    for k in (0, 1):
        negative = flux[..., k] < 0
        flux[..., k] = np.where(negative, 0, flux[..., k])
        flux[..., 1 - k] = np.where(negative, alone[..., 1 - k], flux[..., 1 - k])
    return flux


def _move(
    shape: Floats,
    prior: Floats,
    parts: Floats,
    flux: Floats,
    data: Floats,
    weight: Floats,
    cells: _Cells,
    psf_sigma: float,
    damping: Floats,
) -> Floats:
    """The damped Gauss-Newton step (b, 6) of the shapes, the fluxes following."""
    n, _, n_cells = data.shape
    slopes = np.empty((n, 6, n_cells), np.float32)
    for k in range(6):
        component = k // 3
        moved = shape[:, 3 * component : 3 * component + 3].copy()
        moved[:, k % 3] += _STEP
        slopes[:, k] = (_profile(moved, component, cells, psf_sigma) - parts[:, component]) / _STEP
    owner = np.array([0, 0, 0, 1, 1, 1])
    wanted = slopes[:, None] * flux[:, :, owner, None] * weight[:, :, None]  # (b, bands, 6, cells)
    scaled = parts[:, None] * weight[:, :, None]
    residual = data * weight - (flux[..., None] * scaled).sum(axis=2)
    # slopes less what a change of the fluxes would do as well
    own = scaled @ scaled.transpose(0, 1, 3, 2)
    own[..., (0, 1), (0, 1)] += 1e-4 * (own[..., 0, 0] + own[..., 1, 1])[..., None]
    free = wanted - (np.linalg.solve(own, scaled @ wanted.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)) @ scaled
    normal = np.einsum("nbkc,nblc->nkl", free, free, optimize=True)
    gradient = np.einsum("nbkc,nbc->nk", free, residual, optimize=True)
    precision = 1 / _PRIOR**2
    normal[:, range(6), range(6)] *= 1 + damping[:, None]
    normal[:, range(6), range(6)] += precision
    gradient += (prior - shape) * precision
    return np.clip(np.linalg.solve(normal, gradient[..., None])[..., 0], -0.7, 0.7)


def _both(shape: Floats, cells: _Cells, psf_sigma: float) -> Floats:
    return np.stack([_profile(shape[:, 3 * k : 3 * k + 3], k, cells, psf_sigma) for k in (0, 1)], axis=1)


def _profile(shape: Floats, component: int, cells: _Cells, psf_sigma: float) -> Floats:
    """Mean (b, cells) over every cell of a profile of unit flux: log radius and the two parts of its stretch."""
    shares, variances = (_DEV, _EXP)[component]
    size = np.exp(2 * shape[:, 0])
    stretch = np.hypot(shape[:, 1], shape[:, 2]) + np.float32(1e-6)
    even, uneven = np.cosh(stretch), np.sinh(stretch) / stretch
    xx, yy = (size * (even + sign * uneven * shape[:, 1]) for sign in (1, -1))
    xy = size * uneven * shape[:, 2]
    total = np.zeros((len(shape), len(cells.x)), np.float32)
    for share, variance in zip(shares, variances):
        for psf_share, psf_width in _PSF:
            blur = np.float32((psf_width * psf_sigma) ** 2)
            a = (np.float32(variance) * xx + blur)[:, None] + cells.xx
            b = (np.float32(variance) * yy + blur)[:, None] + cells.yy
            c = (np.float32(variance) * xy)[:, None] + cells.xy
            inverse = 1 / (a * b - c * c)
            square = (b * cells.x**2 + a * cells.y**2 - c * (2 * cells.x * cells.y)) * inverse
            total += np.float32(share * psf_share / (2 * np.pi)) * np.sqrt(inverse) * np.exp(np.float32(-0.5) * square)
    return total

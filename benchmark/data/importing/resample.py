"""Spectra on another wavelength grid: fluxes conserved, variances carried along, cameras merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from benchmark.contracts import GalaxybenchError

__all__ = ["WaveGrid", "air_to_vacuum", "merge_cameras", "resample", "scatter_ivar", "uniform_grid"]

MIN_COVER = 0.5  # of a new pixel's width that valid old pixels must cover
SAME_PIXEL = 1e-3  # of a pixel: closer grids are the same grid
SCATTER_WINDOW = 101  # pixels


@dataclass(frozen=True)
class WaveGrid:
    """Pixel centres ``start + i step``, Angstrom.

    Raises
    ------
    GalaxybenchError
        If start, step or the number of pixels is not positive.
    """

    start: float
    step: float
    n: int

    def __post_init__(self) -> None:
        if not (np.isfinite(self.start) and np.isfinite(self.step) and self.start > 0 and self.step > 0 and self.n > 1):
            raise GalaxybenchError(
                f"wavelength grid start = {self.start}, step = {self.step}, n = {self.n}: must be positive, n above 1"
            )

    @property
    def wave_angstrom(self) -> NDArray[np.float64]:
        """(n,) pixel centres."""
        return self.start + self.step * np.arange(self.n, dtype=np.float64)


def resample(
    wave: NDArray[np.float64], flux: NDArray[np.float64], ivar: NDArray[np.float64], grid: WaveGrid
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return flux density and inverse variance on another grid.

    Parameters
    ----------
    wave : (m,) ascending pixel centres, Angstrom; pixel edges lie half way between them.
    flux : (m,) flux density f_lambda.
    ivar : (m,) inverse variance, 0 = invalid.
    grid : the new pixels.

    Returns
    -------
    flux, ivar : (n,) each. A new pixel is the mean of the old ones weighted by overlap, so that flux times width is
        conserved; its variance is that of this mean of independent pixels. A new pixel of which valid pixels cover less
        than half has ivar 0 and flux 0. Where both grids coincide the values are returned as they are.

    Raises
    ------
    GalaxybenchError
        If wavelengths do not ascend, or the grids do not overlap.

    Notes
    -----
    Where the new pixels are narrower than the old ones, neighbours share an old pixel and are not independent: the sum
    of ivar over them then overstates what is known.

    References
    ----------
    Carnall 2017, arXiv:1705.05165, eqs. 1-3, with masked pixels left out of the sums.
    """
    if len(wave) < 2 or not (np.diff(wave) > 0).all():
        raise GalaxybenchError(f"{len(wave)} wavelengths that do not ascend: sort them and drop repeats")
    edges = np.concatenate(
        [[1.5 * wave[0] - 0.5 * wave[1]], (wave[1:] + wave[:-1]) / 2, [1.5 * wave[-1] - 0.5 * wave[-2]]]
    )
    low, high = grid.start - grid.step / 2, grid.start + (grid.n - 0.5) * grid.step
    if edges[-1] <= low or edges[0] >= high:
        raise GalaxybenchError(
            f"wavelengths {wave[0]:.6g} to {wave[-1]:.6g} Angstrom do not overlap the grid {grid.start:.6g} to "
            f"{grid.start + grid.step * (grid.n - 1):.6g}; check wavelength_unit and resample"
        )
    place = (wave - grid.start) / grid.step
    nearest = np.rint(place)
    if (np.abs(place - nearest) < SAME_PIXEL).all() and (np.diff(nearest) == 1).all():
        return _placed(nearest.astype(np.int64), flux, ivar, grid.n)
    return _rebinned(edges, flux, ivar, grid)


def _placed(
    pixel: NDArray[np.int64], flux: NDArray[np.float64], ivar: NDArray[np.float64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Copy pixels of the same grid to their places."""
    inside = (pixel >= 0) & (pixel < n)
    new_flux, new_ivar = np.zeros(n), np.zeros(n)
    valid = inside & (ivar > 0)
    new_flux[pixel[valid]], new_ivar[pixel[valid]] = flux[valid], ivar[valid]
    return new_flux, new_ivar


def _rebinned(
    edges: NDArray[np.float64], flux: NDArray[np.float64], ivar: NDArray[np.float64], grid: WaveGrid
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    valid = ivar > 0
    position = (edges - grid.start) / grid.step + 0.5  # in new pixels, from the left edge of the first
    left, right = position[:-1][valid], position[1:][valid]
    first = np.clip(np.floor(left), 0, grid.n).astype(np.int64)
    last = np.clip(np.ceil(right), 0, grid.n).astype(np.int64)
    n_pixels = np.maximum(last - first, 0)
    old = np.repeat(np.arange(len(left)), n_pixels)
    new = np.arange(n_pixels.sum()) - np.repeat(np.cumsum(n_pixels) - n_pixels, n_pixels) + first[old]
    overlap = np.maximum(np.minimum(right[old], new + 1) - np.maximum(left[old], new), 0)
    cover = np.bincount(new, overlap, minlength=grid.n)
    total = np.bincount(new, overlap * flux[valid][old], minlength=grid.n)
    variance = np.bincount(new, overlap**2 / ivar[valid][old], minlength=grid.n)
    enough = (cover >= MIN_COVER - 1e-9) & (variance > 0)
    safe_cover, safe_variance = np.where(enough, cover, 1.0), np.where(enough, variance, 1.0)
    return np.where(enough, total / safe_cover, 0.0), np.where(enough, cover**2 / safe_variance, 0.0)


def merge_cameras(
    cameras: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of the cameras' fluxes weighted by inverse variance, and the sum of the inverse variances.

    Parameters
    ----------
    cameras : (flux, ivar) of each on one grid, ivar 0 where a camera does not see.

    Notes
    -----
    Where one camera alone sees, its values are returned untouched.
    """
    ivar = np.sum([camera[1] for camera in cameras], axis=0)
    seen = np.sum([camera[1] > 0 for camera in cameras], axis=0)
    weighted = np.sum([camera[0] * camera[1] for camera in cameras], axis=0)
    alone = np.sum([np.where(camera[1] > 0, camera[0], 0.0) for camera in cameras], axis=0)
    merged = weighted / np.where(ivar > 0, ivar, 1.0)
    return np.where(seen == 1, alone, np.where(seen > 1, merged, 0.0)), ivar


def scatter_ivar(flux: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return inverse variances estimated from the scatter between neighbouring pixels, for spectra without errors.

    Parameters
    ----------
    flux : (m,) flux density.
    valid : (m,) pixels that may be used.

    Returns
    -------
    (m,) 1 / noise^2 with the noise of Stoehr et al. 2008 in a running window of 101 valid pixels; 0 where invalid,
    everywhere if fewer than 5 pixels are valid or they do not scatter. Noise that neighbours share is not seen: the
    estimate is then too optimistic.

    References
    ----------
    Stoehr et al. 2008, ASP Conf. Ser. 394, 505 (DER_SNR).
    """
    ivar = np.zeros(len(flux))
    chosen = np.flatnonzero(valid)
    if len(chosen) < 5:
        return ivar
    f = flux[chosen]
    third = np.abs(2 * f[2:-2] - f[:-4] - f[4:])
    noise = 1.482602 / np.sqrt(6) * median_filter(third, size=min(SCATTER_WINDOW, len(third)), mode="nearest")
    floor = 1e-3 * np.median(noise)  # a window of equal pixels is a gap, not a perfect measurement
    if not floor > 0:
        return ivar
    ivar[chosen] = 1 / np.maximum(np.pad(noise, 2, mode="edge"), floor) ** 2
    return ivar


def air_to_vacuum(wave_angstrom: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the vacuum wavelength of wavelengths in standard air, 2000 Angstrom to 3 micron.

    References
    ----------
    Morton 2000, ApJS 130, 403, eq. 8 (vacuum to air), inverted by iteration to 1e-9 Angstrom.
    """
    vacuum = wave_angstrom.copy()
    for _ in range(4):
        s2 = (1e4 / vacuum) ** 2
        vacuum = wave_angstrom * (1 + 8.34254e-5 + 2.406147e-2 / (130 - s2) + 1.5998e-4 / (38.9 - s2))
    return vacuum


def uniform_grid(wave: NDArray[np.float64]) -> WaveGrid | None:
    """Return the grid that wavelengths form; None where they are not even within a hundredth of a pixel."""
    if len(wave) < 2 or not np.isfinite(wave).all():
        return None
    step = (wave[-1] - wave[0]) / (len(wave) - 1)
    if step <= 0 or np.abs(wave - wave[0] - step * np.arange(len(wave))).max() > 0.01 * step:
        return None
    rounded = round(float(step), 6)  # a grid stored in single precision: 0.8, not 0.79999995
    if rounded > 0 and abs(rounded - step) * len(wave) < 0.01 * step:
        step = rounded
    return WaveGrid(round(float(wave[0]), 4), float(step), len(wave))

"""Redshifts of spectra by a scan: least squares of stellar templates and emission lines at every redshift of a grid.

On bins even in log10 wavelength a redshift is a shift, so the normal equations of all redshifts are correlations: with
the weights w = ivar, data d and templates B_k,

    b_k(s) = sum_i w_i d_i B_k(i - s),    A_kl(s) = sum_i w_i B_k(i - s) B_l(i - s),

which fast Fourier transforms give for all shifts s at once (the cross-correlation of Tonry & Davis 1979, AJ 84, 1511,
with weights and a solve for the amplitudes at each redshift as in redrock: Guy et al. 2023, arXiv:2209.14482). The
redshift minimises chi2(s) = d W d - b A^-1 b; its neighbours refine it by a parabola.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["LINE_GROUPS", "Scan", "TemplateScan", "redshift_templates"]

TEMPLATE_FILE = Path(__file__).parent / "redshift_templates.npz"
LINE_GROUPS: dict[str, dict[float, float]] = {  # vacuum Angstrom -> flux relative to the strongest
    "hydrogen": {4341.7: 0.13, 4862.7: 0.29, 6549.9: 0.12, 6564.6: 1.0, 6585.3: 0.36, 6718.3: 0.21, 6732.7: 0.16},
    "oxygen": {4960.3: 1 / 2.98, 5008.2: 1.0},
    "oxygen_blue": {3727.1: 0.42, 3729.9: 0.58},
}
"""Lines that move together: H-alpha with [NII] and [SII] at the ratios of star-forming galaxies, [OIII], [OII]."""
LINE_SIGMA = 4.0e-4 / math.log(10)  # of ln wavelength 4e-4: 120 km/s, in dex
SHRINKAGE = 1e-4  # of a template's own norm: keeps amplitudes finite where nothing tells templates apart
SEPARATION_DEX = 0.0022  # 1500 km/s: a second minimum closer than this is the first one's flank
_CHUNK = 16


@dataclass(frozen=True, eq=False)
class Scan:
    """What a scan found in n spectra.

    Attributes
    ----------
    z : (n,) redshift of the lowest chi2.
    dchi2 : (n,) how much lower it is than the next minimum that is at least 1500 km/s away; below about 9 the redshift
        is not secure.
    amplitudes : (n, templates) of the best fit.
    """

    z: NDArray[np.float64]
    dchi2: NDArray[np.float64]
    amplitudes: NDArray[np.float64]


class TemplateScan:
    """Templates laid out for one grid of bins.

    Parameters
    ----------
    log10_wave : (n_bins,) observed log10 wavelengths / Angstrom in even steps.
    z_max : largest redshift.
    z_min : smallest.
    """

    def __init__(self, log10_wave: NDArray[np.float64], z_max: float = 0.7, z_min: float = 0.003) -> None:
        self.step = float(np.diff(log10_wave).mean())
        self.n_bins = len(log10_wave)
        first = math.ceil(math.log10(1 + z_min) / self.step)
        last = math.floor(math.log10(1 + z_max) / self.step)
        if not 0 <= first < last - 2:
            raise ValueError(f"z from {z_min:g} to {z_max:g}: fewer than 3 bins of {self.step:g} dex; widen the range")
        self.log10_zp1 = self.step * np.arange(first, last + 1)
        # rest wavelengths from the observed start at the largest redshift to the observed end at the smallest
        self.rest_log10_wave = log10_wave[0] + self.step * np.arange(-last, self.n_bins - first)
        self._last = last
        self._templates = torch.from_numpy(redshift_templates(self.rest_log10_wave))
        self._n_fft = _good_length(len(self.rest_log10_wave))  # shifts wanted do not wrap around
        left, right = np.triu_indices(len(self._templates))
        self._place = np.empty((len(self._templates), len(self._templates)), dtype=np.int64)
        self._place[left, right] = self._place[right, left] = np.arange(len(left))
        products = self._templates[left] * self._templates[right]
        self._spectra = torch.fft.rfft(self._templates, self._n_fft)
        self._product_spectra = torch.fft.rfft(products, self._n_fft)

    @property
    def n_templates(self) -> int:
        return len(self._templates)

    def model(self, scan_rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Best fits (n, n_rest) of amplitudes (n, templates) on `rest_log10_wave`."""
        return scan_rows @ self._templates.numpy()

    def run(self, flux: NDArray[np.float64], ivar: NDArray[np.float64]) -> Scan:
        """Scan binned spectra, (n, n_bins) flux and ivar; each spectrum by itself."""
        parts = [self._chunk(flux[i : i + _CHUNK], ivar[i : i + _CHUNK]) for i in range(0, len(flux), _CHUNK)]
        if not parts:
            return Scan(np.empty(0), np.empty(0), np.empty((0, self.n_templates)))
        return Scan(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("z", "dchi2", "amplitudes")))

    def _chunk(self, flux: NDArray[np.float64], ivar: NDArray[np.float64]) -> Scan:
        weight, data = torch.from_numpy(np.ascontiguousarray(ivar)), torch.from_numpy(np.ascontiguousarray(flux))
        right = self._correlate(weight * data, self._spectra)
        products = self._correlate(weight, self._product_spectra)
        on_diagonal = self._place.diagonal().tolist()
        diagonal = products[on_diagonal]
        scale = diagonal.amax(dim=(0, 2), keepdim=True).clamp_min(1e-290)
        products[on_diagonal] += SHRINKAGE * diagonal.clamp_min(0) + 1e-9 * scale
        gain = _eliminate(products, right, self._place).flip(-1).numpy()
        best = gain.argmax(axis=1)
        rows, last_first = np.arange(len(gain)), gain.shape[1] - 1 - best
        left_over = products[:, rows, last_first].numpy()
        amplitude = _substitute(left_over, right[:, rows, last_first].numpy(), self._place)
        away = np.abs(np.arange(gain.shape[1]) - best[:, None]) * self.step >= SEPARATION_DEX
        second = np.where(away, gain, -np.inf).max(axis=1)
        z = 10 ** (self.log10_zp1[best] + self.step * _parabola(gain, best)) - 1
        return Scan(z, np.maximum(gain[rows, best] - second, 0.0), amplitude.T)

    def _correlate(self, rows: Tensor, spectra: Tensor) -> Tensor:
        """sum_i rows[i] T[i - s] for each template T and shift s of the grid, last one first: (k, b, shifts)."""
        transformed = torch.fft.rfft(rows, self._n_fft).conj()
        found = torch.fft.irfft(transformed * spectra[:, None], self._n_fft)
        # lag last - s: rest bin of the observed bin 0 at shift s
        return found[..., : len(self.log10_zp1)].contiguous()


def _eliminate(products: Tensor, right: Tensor, place: NDArray[np.int64]) -> Tensor:
    """What each least-squares fit explains, b A^-1 b, (b, shifts): A = L D L^T for all shifts at once.

    Parameters
    ----------
    products, right : (pairs, b, shifts) of A and (k, b, shifts); they become D and L D, and L^-1 b.
    place : (k, k) row of ``products`` for each entry of A.
    """
    gain = torch.zeros_like(right[0])
    for j in range(len(right)):
        inverse = products[place[j, j]].clamp_min_(1e-300).reciprocal()
        gain.addcmul_(right[j] * right[j], inverse)
        for i in range(j + 1, len(right)):
            share = products[place[i, j]] * inverse
            right[i].addcmul_(share, right[j], value=-1)
            for m in range(j + 1, i + 1):
                products[place[i, m]].addcmul_(share, products[place[m, j]], value=-1)
    return gain


def _substitute(
    products: NDArray[np.float64], right: NDArray[np.float64], place: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Amplitudes (k, b) from what `_eliminate` leaves, (pairs, b) and (k, b)."""
    amplitude = right / products[place.diagonal()]
    for j in reversed(range(len(right))):
        for i in range(j + 1, len(right)):
            amplitude[j] -= products[place[i, j]] / products[place[j, j]] * amplitude[i]
    return amplitude


def redshift_templates(rest_log10_wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """Templates (8, n) on even rest log10 wavelengths / Angstrom: five stellar populations, three `LINE_GROUPS`.

    Stars are single-age populations of 0.01, 0.1, 0.6, 2.5 and 11 Gyr of solar metallicity (PopStar continua, Molla et
    al. 2009, doi:10.1111/j.1365-2966.2009.15160.x; MaStar lines, Maraston et al. 2020, doi:10.1093/mnras/staa1489),
    of mean 1 between 4000 and 6000 A, averaged over the bins; lines are Gaussians of 120 km/s and total flux 1 bin.
    """
    start, step, stars = _stored()
    width = float(np.diff(rest_log10_wave).mean())
    edges = np.append(rest_log10_wave - width / 2, rest_log10_wave[-1] + width / 2)
    fine = start + step * np.arange(stars.shape[1])
    cumulative = np.concatenate([np.zeros((len(stars), 1)), np.cumsum(stars, axis=1) * step], axis=1)
    bounds = np.append(fine - step / 2, fine[-1] + step / 2)
    binned = [np.diff(np.interp(edges, bounds, row)) / width for row in cumulative]
    groups = [sum(flux * _line(edges, wave) for wave, flux in lines.items()) for lines in LINE_GROUPS.values()]
    return np.stack([*binned, *groups])


def _line(edges: NDArray[np.float64], wave: float) -> NDArray[np.float64]:
    from scipy.special import ndtr  # .2 s of import, needed once a grid

    return np.diff(ndtr((edges - math.log10(wave)) / LINE_SIGMA))


@lru_cache(maxsize=1)
def _stored() -> tuple[float, float, NDArray[np.float64]]:
    with np.load(TEMPLATE_FILE, allow_pickle=False) as arrays:
        return float(arrays["start"]), float(arrays["step"]), arrays["templates"].astype(np.float64)


def _parabola(gain: NDArray[np.float64], best: NDArray[np.int64]) -> NDArray[np.float64]:
    """Offset (n,) of the vertex of the parabola through each maximum and its neighbours, in bins, -1/2 to 1/2."""
    rows, inner = np.arange(len(gain)), np.clip(best, 1, gain.shape[1] - 2)
    left, middle, right = gain[rows, inner - 1], gain[rows, inner], gain[rows, inner + 1]
    curvature = left - 2 * middle + right
    offset = 0.5 * (left - right) / np.where(curvature < 0, curvature, -np.inf)
    return np.where(inner == best, np.clip(offset, -0.5, 0.5), 0.0)


def _good_length(n: int) -> int:
    """The smallest length from n on whose only prime factors are 2, 3 and 5."""
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1

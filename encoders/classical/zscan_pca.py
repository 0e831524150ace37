"""Spectra at rest: a scanned redshift, then principal components of the rest-frame spectrum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from encoders.classical.components import drawn_rows, known_state, principal_components
from encoders.classical.zscan import TemplateScan
from encoders.reading.spectra import (
    LogBins,
    SpectrumStack,
    mean_level,
    require_wavelengths,
    spectrum_batches,
    wavelengths,
)
from encoders.row_order import content_keys

__all__ = ["SpectrumZscanPCA"]

REST_ANGSTROM = (3000.0, 8000.0)
LEVEL_ANGSTROM = (4400.0, 5600.0)  # rest: observed from z = 0 to .75
N_LEVELS = 6  # broad bands that the observed wavelengths are cut into
OXYGEN_ANGSTROM = 3728.5  # [OII], the last feature that a spectrum loses as redshift grows
LEAST_Z_MAX = 0.3
TEMPLATE_ERROR = 0.1  # of the level: how far the best-fitting templates are trusted where data are poor or lacking
_STATE = ("wave_angstrom", "mean", "components", "variance", "column_mean", "column_scale")


@dataclass(frozen=True, eq=False)
class _AtRest:
    """Rest-frame spectra over their level with ivar and template fit (b, n_rest), and the other columns (b, 9)."""

    flux: NDArray[np.float64]
    ivar: NDArray[np.float64]
    model: NDArray[np.float64]
    columns: NDArray[np.float64]


class SpectrumZscanPCA:
    """Redshift by a template scan (`TemplateScan`), and principal components at rest by weighted least squares.

    Parameters
    ----------
    n_components : components, at least 1; fewer where there are fewer training rows.
    step : width of the bins in dex, 3e-4 = 207 km/s; as wide as the widest pixel where that is more.
    z_max : largest redshift of the scan; None for that at which [OII] leaves the spectra (1.63 for DESI), at least .3.
    max_rows : galaxies the components are learned from, drawn by a hash of their spectra above it.
    batch_size : spectra in memory at a time.

    Notes
    -----
    No label is used: templates are stellar populations and groups of lines, fixed beforehand. The embedding has 9
    columns of zero mean and unit variance over the training rows (z, log10(z + .01), log10(1 + dchi2), log10 of the
    mean flux in six bands) and the coefficients of the components, in units of the first one's spread. Coefficients
    are the most probable ones given the noise of every bin and the components' own variance over the training rows
    (a Wiener filter), so that a bin outside the observed range has no say.

    References
    ----------
    Connolly & Szalay 1999, doi:10.1086/300839 (components of spectra with gaps); Guy et al. 2023, arXiv:2209.14482
    (redrock, the scan).
    """

    def __init__(
        self,
        n_components: int = 24,
        step: float = 3e-4,
        z_max: float | None = None,
        max_rows: int = 10_000,
        batch_size: int = 128,
    ) -> None:
        for name, value in (("n_components", n_components), ("max_rows", max_rows), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"{name} {value}: must be at least 1")
        if step <= 0 or (z_max is not None and z_max <= 0):
            raise ValueError(f"step {step}, z_max {z_max}: both must be positive")
        self.n_components, self.step, self.z_max = n_components, step, z_max
        self.max_rows, self.batch_size = max_rows, batch_size
        self._learned: dict[str, NDArray] = {}
        self._frame: _RestFrame | None = None

    def fit(self, inputs: SpectrumStack, *, seed: int) -> None:
        """Learn the components of spectra (n, 2, n_wave) at their scanned redshifts; needs at least 2 galaxies.

        Raises
        ------
        ValueError
            If ``inputs`` are not spectra, hold values that are not allowed, or are fewer than 2.
        """
        wave = wavelengths(inputs, "SpectrumZscanPCA")
        if len(inputs) < 2:
            raise ValueError(f"SpectrumZscanPCA was given {len(inputs)} training spectra: at least 2 are needed")
        frame = self._frame_of(wave)

        def batches() -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint64]]]:
            for flux, ivar in spectrum_batches(inputs, self.batch_size, "SpectrumZscanPCA"):
                found = frame.bring(flux, ivar)
                trust = TEMPLATE_ERROR**-2
                filled = (found.flux * found.ivar + found.model * trust) / (found.ivar + trust)
                rows = np.column_stack([filled, found.columns]).astype(np.float32)
                yield rows, content_keys(flux.astype(np.float32), seed)

        drawn = drawn_rows(batches(), self.max_rows)
        n_rest = len(frame.rest_log10_wave)
        mean, components, variance = principal_components(drawn[:, :n_rest], self.n_components, seed)
        columns = drawn[:, n_rest:].astype(np.float64)
        known = np.isfinite(columns)
        count = np.maximum(known.sum(axis=0), 1)
        centre = np.where(known, columns, 0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, columns - centre, 0) ** 2).sum(axis=0) / count)
        self._learned = {
            "wave_angstrom": wave,
            "mean": mean,
            "components": components,
            "variance": np.maximum(variance, 1e-12),
            "column_mean": centre,
            "column_scale": np.where(spread > 0, spread, 1.0),
        }

    def embed(self, inputs: SpectrumStack) -> NDArray[np.float32]:
        """Columns (n, 9 + n_components) of spectra (n, 2, n_wave).

        Raises
        ------
        ValueError
            If the model was not fitted, or ``inputs`` are not spectra on the wavelengths it was fitted on.
        """
        wave = wavelengths(inputs, "SpectrumZscanPCA")
        if not self._learned:
            raise ValueError("SpectrumZscanPCA has no components yet: call fit or load_state first")
        require_wavelengths(wave, self._learned["wave_angstrom"], "SpectrumZscanPCA")
        frame, variance = self._frame_of(wave), self._learned["variance"]
        parts = [np.empty((0, len(self._learned["column_mean"]) + len(variance)))]
        for flux, ivar in spectrum_batches(inputs, self.batch_size, "SpectrumZscanPCA"):
            found = frame.bring(flux, ivar)
            columns = np.nan_to_num((found.columns - self._learned["column_mean"]) / self._learned["column_scale"])
            parts.append(np.column_stack([columns, self._coefficients(found) / np.sqrt(variance[0])]))
        return np.concatenate(parts).astype(np.float32)

    def state(self) -> dict[str, NDArray]:
        """Mean, components and their variance, scaling of the other columns, wavelengths; empty before `fit`."""
        return dict(self._learned)

    def load_state(self, state: Mapping[str, NDArray]) -> None:
        """The inverse of `state`.

        Raises
        ------
        ValueError
            If an array is missing, unknown, or does not fit the bins.
        """
        learned = known_state(state, _STATE, "SpectrumZscanPCA")
        n_rest = len(self._frame_of(learned["wave_angstrom"]).rest_log10_wave)
        if learned["components"].shape[1:] != (n_rest,) or learned["mean"].shape != (n_rest,):
            raise ValueError(
                f"SpectrumZscanPCA with bins of {self.step:g} dex was given components of shape "
                f"{learned['components'].shape}: there are {n_rest} bins at rest; build it as it was fitted"
            )
        self._learned = learned

    def _coefficients(self, found: _AtRest) -> NDArray[np.float64]:
        """Most probable coefficients (b, k) given the bins' noise and the components' variance."""
        components = self._learned["components"]
        right = ((found.flux - self._learned["mean"]) * found.ivar) @ components.T
        matrix = np.stack([(components * weight) @ components.T for weight in found.ivar])
        matrix += np.diag(1 / self._learned["variance"])
        return np.linalg.solve(matrix, right[..., None])[..., 0]

    def _frame_of(self, wave: NDArray[np.float64]) -> _RestFrame:
        if self._frame is None or not np.array_equal(self._frame.wave_angstrom, wave):
            z_max = self.z_max or max(LEAST_Z_MAX, wave[-1] / OXYGEN_ANGSTROM - 1)
            self._frame = _RestFrame(wave, self.step, z_max)
        return self._frame


class _RestFrame:
    """Brings spectra on one grid of wavelengths to their own rest frames."""

    def __init__(self, wave_angstrom: NDArray[np.float64], step: float, z_max: float) -> None:
        self.wave_angstrom = wave_angstrom
        self._bins = LogBins.of(wave_angstrom, step)
        self._scan = TemplateScan(self._bins.log10_wave, z_max)
        rest = self._scan.rest_log10_wave
        self._inside = (rest >= np.log10(REST_ANGSTROM[0])) & (rest <= np.log10(REST_ANGSTROM[1]))
        self.rest_log10_wave = rest[self._inside]
        if not self.rest_log10_wave.size:
            raise ValueError(
                f"wavelengths {wave_angstrom[0]:.0f} to {wave_angstrom[-1]:.0f} A: none is between "
                f"{REST_ANGSTROM[0]:.0f} and {REST_ANGSTROM[1]:.0f} A at rest for z from 0 to {z_max:g}; are these "
                "optical spectra?"
            )
        edge = np.linspace(0, len(wave_angstrom), N_LEVELS + 1).astype(int)
        self._bands = [slice(*pair) for pair in pairwise(edge)]

    def bring(self, flux: NDArray[np.float64], ivar: NDArray[np.float64]) -> _AtRest:
        """Rest-frame spectra of (b, n_wave) flux and ivar, each by itself."""
        scan = self._scan.run(*self._bins.average(flux, ivar))
        rest, rest_ivar = self._rebinned(flux, ivar, scan.z)
        model = self._scan.model(scan.amplitudes)[:, self._inside]
        angstrom = 10**self.rest_log10_wave
        window = (angstrom > LEVEL_ANGSTROM[0]) & (angstrom < LEVEL_ANGSTROM[1])
        level = mean_level(rest[:, window], rest_ivar[:, window])
        level = np.where(np.isfinite(level), level, _expected_level(flux, ivar, model[:, window]))[:, None]
        bands = [np.log10(mean_level(flux[:, band], ivar[:, band])) for band in self._bands]
        columns = np.column_stack([scan.z, np.log10(scan.z + 0.01), np.log10(1 + scan.dchi2), *bands])
        return _AtRest(rest / level, rest_ivar * level**2, model / level, columns)

    def _rebinned(
        self, flux: NDArray[np.float64], ivar: NDArray[np.float64], z: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means weighted by ivar of the pixels that fall into each bin at rest, and their ivar, (b, n_rest)."""
        n_rest, n = len(self.rest_log10_wave), len(flux)
        place = (np.log10(self.wave_angstrom) - np.log10(1 + z)[:, None] - self.rest_log10_wave[0]) / self._bins.step
        number = np.floor(place + 0.5).astype(np.int64)
        number = np.where((number >= 0) & (number < n_rest), number, n_rest)  # the last bin collects what is outside
        flat = (number + (n_rest + 1) * np.arange(n)[:, None]).ravel()
        total, weighted = (
            np.bincount(flat, values.ravel(), n * (n_rest + 1)).reshape(n, n_rest + 1)[:, :n_rest]
            for values in (ivar, flux * ivar)
        )
        return weighted / np.where(total > 0, total, 1.0), np.asarray(total, dtype=np.float64)


def _expected_level(flux: NDArray[np.float64], ivar: NDArray[np.float64], window: NDArray[np.float64]) -> NDArray:
    """Level (b,) by the best templates in a window (b, n) that was not observed, a tenth to ten times the observed.

    Without any valid pixel it is 1.
    """
    observed = np.nan_to_num(mean_level(flux, ivar), nan=1.0)
    return np.clip(window.mean(axis=1), observed / 10, observed * 10)

"""Reading a stack of spectra batch by batch, with its shape and its numbers checked at the border; binning them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DESI_WAVE_ANGSTROM",
    "LogBins",
    "PixelBins",
    "SpectrumStack",
    "flux_and_ivar",
    "mean_level",
    "require_spectra",
    "require_wavelengths",
    "spectrum_batches",
    "wavelengths",
]

DESI_WAVE_ANGSTROM: NDArray[np.float64] = 3600.0 + 0.8 * np.arange(7781, dtype=np.float64)
"""Observed wavelengths (vacuum) that a plain array of 7781 pixels is taken to have: the coadded grid of DESI."""


class SpectrumStack(Protocol):
    """Spectra (n, 2, n_wave), [:, 0] flux and [:, 1] ivar, loaded when rows are asked for.

    Where the stack has an attribute ``wave_angstrom`` (n_wave,), it names the pixels.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]: ...


def require_spectra(inputs: SpectrumStack, reader: str) -> int:
    """Pixels of a stack of spectra.

    Raises
    ------
    ValueError
        If the stack is not (n, 2, n_wave) with at least 2 pixels.
    """
    shape = tuple(inputs.shape)
    if len(shape) != 3 or shape[1] != 2 or shape[2] < 2:
        raise ValueError(
            f"{reader} was given inputs of shape {shape}: it reads spectra (n, 2, n_wave), flux and inverse variance; "
            "choose a model for this kind of input"
        )
    return shape[2]


def wavelengths(inputs: SpectrumStack, reader: str) -> NDArray[np.float64]:
    """Observed wavelengths (n_wave,) of a stack, Angstrom.

    Raises
    ------
    ValueError
        If the stack does not say and is not on DESI's grid, or wavelengths do not increase.
    """
    n_wave = require_spectra(inputs, reader)
    named = getattr(inputs, "wave_angstrom", None)
    if named is None:
        if n_wave != len(DESI_WAVE_ANGSTROM):
            raise ValueError(
                f"{reader}: {n_wave} pixels without wavelengths: only {len(DESI_WAVE_ANGSTROM)} (DESI's grid) are "
                "known; give a stack with an attribute wave_angstrom"
            )
        return DESI_WAVE_ANGSTROM
    wave = np.asarray(named, dtype=np.float64)
    if wave.shape != (n_wave,) or not (np.diff(wave) > 0).all() or wave[0] <= 0:
        raise ValueError(f"{reader}: wave_angstrom of shape {wave.shape}: must be ({n_wave},), positive and increasing")
    return wave


def require_wavelengths(wave: NDArray[np.float64], fitted: NDArray[np.float64], reader: str) -> None:
    """Refuse spectra on other wavelengths than a model was fitted on, both (n_wave,) in Angstrom.

    Raises
    ------
    ValueError
        If they differ.
    """
    if not np.array_equal(wave, fitted):
        raise ValueError(f"{reader} was given {len(wave)} other wavelengths than in training: fit it on these")


def spectrum_batches(
    inputs: SpectrumStack, batch_size: int, reader: str
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Consecutive batches of flux and ivar, (b, n_wave) each; where ivar is 0 the flux is set to 0.

    Raises
    ------
    ValueError
        If a shape is not that of spectra, an ivar is negative, NaN or infinite, or a flux with ivar > 0 is not finite
        (the first such row is named).
    """
    require_spectra(inputs, reader)
    if batch_size < 1:
        raise ValueError(f"{reader}: batch_size {batch_size}: must be at least 1")
    for start in range(0, len(inputs), batch_size):
        batch = inputs[start : start + batch_size]
        yield flux_and_ivar(batch, np.arange(start, start + len(batch)), reader)


def flux_and_ivar(
    batch: NDArray, rows: NDArray[np.int64], reader: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Flux and ivar (b, n_wave) of the spectra (b, 2, n_wave) of some rows (b,); where ivar is 0 the flux is set to 0.

    Raises
    ------
    ValueError
        If an ivar is negative, NaN or infinite, or a flux with ivar > 0 is not finite (the first such row is named).
    """
    flux, ivar = (np.asarray(batch[:, part], dtype=np.float64) for part in range(2))
    bad = (~(np.isfinite(ivar) & (ivar >= 0)) | ((ivar > 0) & ~np.isfinite(flux))).any(axis=1)
    if bad.any():
        raise ValueError(
            f"{reader}: {np.count_nonzero(bad)} spectra of rows {rows.min()} to {rows.max()} hold NaN, infinite or "
            f"negative values, first row {rows[bad].min()}: flux must be finite where ivar > 0 and ivar finite, "
            "not negative; set ivar = 0 for bad pixels"
        )
    return np.where(ivar > 0, flux, 0.0), ivar


@dataclass(frozen=True, eq=False)
class LogBins:
    """Bins of equal width in log10 wavelength, into which spectra are averaged.

    Attributes
    ----------
    start : (n_bins,) first pixel of each bin; every bin holds a pixel.
    log10_wave : (n_bins,) log10 of the middle of the bins / Angstrom, in steps of ``step``.
    step : dex.
    """

    start: NDArray[np.int64]
    log10_wave: NDArray[np.float64]
    step: float

    @classmethod
    def of(cls, wave_angstrom: NDArray[np.float64], step: float) -> LogBins:
        """Bins over all pixels, at least ``step`` dex wide, and as wide as the widest pixel if that is more."""
        log10_wave = np.log10(wave_angstrom)
        width = max(step, float(np.diff(log10_wave).max()) * (1 + 1e-9))
        number = np.floor((log10_wave - log10_wave[0]) / width).astype(np.int64)
        _, start = np.unique(number, return_index=True)
        return cls(start, log10_wave[0] + (np.arange(len(start)) + 0.5) * width, width)

    def average(
        self, flux: NDArray[np.float64], ivar: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means (b, n_bins) weighted by ivar, 0 where nothing is valid, and their inverse variances."""
        return _averages(flux, ivar, self.start)


@dataclass(frozen=True, eq=False)
class PixelBins:
    """Bins of equal numbers of neighbouring pixels, the last one of what is left.

    Attributes
    ----------
    start : (n_bins,) first pixel of each bin.
    """

    start: NDArray[np.int64]

    @classmethod
    def of(cls, n_wave: int, n_pixels: int) -> PixelBins:
        """Bins of ``n_pixels`` over ``n_wave`` pixels; 1 leaves spectra as they are.

        Raises
        ------
        ValueError
            If a bin would be empty.
        """
        if n_pixels < 1:
            raise ValueError(f"bins of {n_pixels} pixels: must be at least 1")
        return cls(np.arange(0, n_wave, n_pixels, dtype=np.int64))

    def average(
        self, flux: NDArray[np.float64], ivar: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means (b, n_bins) weighted by ivar, 0 where nothing is valid, and their inverse variances."""
        return _averages(flux, ivar, self.start)


def _averages(
    flux: NDArray[np.float64], ivar: NDArray[np.float64], start: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    total = np.add.reduceat(ivar, start, axis=1)
    weighted = np.add.reduceat(flux * ivar, start, axis=1)
    return weighted / np.where(total > 0, total, 1.0), total


def mean_level(flux: NDArray[np.float64], ivar: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean flux (b,) of spectra (b, n) weighted by ivar, not below its error; NaN where no pixel is valid."""
    total = ivar.sum(axis=1)
    known = np.where(total > 0, total, np.nan)
    return np.maximum((flux * ivar).sum(axis=1) / known, 1 / np.sqrt(known))

"""Principal components of spectra as they are observed: a floor for every model of spectra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from encoders.classical.components import drawn_rows, known_state, principal_components
from encoders.reading.spectra import (
    LogBins,
    SpectrumStack,
    mean_level,
    require_spectra,
    require_wavelengths,
    spectrum_batches,
    wavelengths,
)
from encoders.row_order import content_keys

__all__ = ["SpectrumPCA"]

_STATE = ("wave_angstrom", "weight", "mean", "components", "level")


class SpectrumPCA:
    """Principal components of binned spectra divided by their level, and the level.

    Parameters
    ----------
    n_components : components, at least 1; fewer where there are fewer training rows or bins. The embedding has one more
        column: log10 of the level, brought to zero mean and unit variance over the training rows.
    step : width of the bins in dex; as wide as the widest pixel where that is more.
    max_rows : galaxies the components are learned from, drawn by a hash of their spectra above it.
    batch_size : spectra in memory at a time.

    Notes
    -----
    The level is the mean flux weighted by ivar. A bin is weighted by the root of its typical inverse variance over the
    training rows, so that sky lines and the noisy ends count little; a bin without valid pixels takes the training
    mean. Lines move through the bins with redshift and linear components cannot follow: that is why it is a floor.
    """

    def __init__(
        self, n_components: int = 64, step: float = 4.5e-4, max_rows: int = 10_000, batch_size: int = 128
    ) -> None:
        for name, value in (("n_components", n_components), ("max_rows", max_rows), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"{name} {value}: must be at least 1")
        if step <= 0:
            raise ValueError(f"step {step}: must be a positive width in dex")
        self.n_components, self.step, self.max_rows, self.batch_size = n_components, step, max_rows, batch_size
        self._learned: dict[str, NDArray] = {}

    def fit(self, inputs: SpectrumStack, *, seed: int) -> None:
        """Learn the components of spectra (n, 2, n_wave); needs at least 2 galaxies.

        Raises
        ------
        ValueError
            If ``inputs`` are not spectra, hold values that are not allowed, or are fewer than 2.
        """
        wave = wavelengths(inputs, "SpectrumPCA")
        if len(inputs) < 2:
            raise ValueError(f"SpectrumPCA was given {len(inputs)} training spectra: at least 2 are needed")
        bins = LogBins.of(wave, self.step)

        def batches() -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint64]]]:
            for flux, ivar in spectrum_batches(inputs, self.batch_size, "SpectrumPCA"):
                shape, binned_ivar, level = _normalised(bins, flux, ivar)
                rows = np.column_stack([shape, binned_ivar, np.log10(level)])
                yield rows.astype(np.float32), content_keys(flux.astype(np.float32), seed)

        drawn = drawn_rows(batches(), self.max_rows)
        n_bins = len(bins.start)
        shape, ivar, level = drawn[:, :n_bins], drawn[:, n_bins:-1], drawn[:, -1].astype(np.float64)
        known = ivar > 0
        mean = np.where(known, shape, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        weight = np.sqrt(np.median(ivar, axis=0))
        weight = weight / (weight.max() or 1.0)
        _, components, _ = principal_components(
            (np.where(known, shape - mean, 0) * weight).astype(np.float32), self.n_components, seed
        )
        level = level[np.isfinite(level)]
        spread = float(level.std()) if level.size else 0.0
        self._learned = {
            "wave_angstrom": wave,
            "weight": weight.astype(np.float64),
            "mean": mean.astype(np.float64),
            "components": components,
            "level": np.array([level.mean() if level.size else 0.0, spread or 1.0]),
        }

    def embed(self, inputs: SpectrumStack) -> NDArray[np.float32]:
        """Projections (n, n_components + 1) of spectra (n, 2, n_wave), the scaled log10 level last.

        Raises
        ------
        ValueError
            If the model was not fitted, or ``inputs`` are not spectra on the wavelengths it was fitted on.
        """
        require_spectra(inputs, "SpectrumPCA")
        if not self._learned:
            raise ValueError("SpectrumPCA has no components yet: call fit or load_state first")
        wave = wavelengths(inputs, "SpectrumPCA")
        require_wavelengths(wave, self._learned["wave_angstrom"], "SpectrumPCA")
        bins, components = LogBins.of(wave, self.step), self._learned["components"]
        centre, spread = self._learned["level"]
        parts = [np.empty((0, len(components) + 1))]
        for flux, ivar in spectrum_batches(inputs, self.batch_size, "SpectrumPCA"):
            shape, binned_ivar, level = _normalised(bins, flux, ivar)
            rows = np.where(binned_ivar > 0, shape - self._learned["mean"], 0.0) * self._learned["weight"]
            scaled = np.nan_to_num((np.log10(level) - centre) / spread)
            parts.append(np.column_stack([rows @ components.T, scaled]))
        return np.concatenate(parts).astype(np.float32)

    def state(self) -> dict[str, NDArray]:
        """``wave_angstrom``, ``weight``, ``mean``, ``components`` and ``level``; empty before `fit`."""
        return dict(self._learned)

    def load_state(self, state: Mapping[str, NDArray]) -> None:
        """The inverse of `state`.

        Raises
        ------
        ValueError
            If an array is missing, unknown, or does not fit the bins.
        """
        learned = known_state(state, _STATE, "SpectrumPCA")
        n_bins = len(LogBins.of(learned["wave_angstrom"], self.step).start)
        if learned["components"].shape[1:] != (n_bins,) or learned["mean"].shape != (n_bins,):
            raise ValueError(
                f"SpectrumPCA with bins of {self.step:g} dex was given components of shape "
                f"{learned['components'].shape}: these wavelengths make {n_bins} bins; build it with the step it was "
                "fitted with"
            )
        self._learned = learned


def _normalised(
    bins: LogBins, flux: NDArray[np.float64], ivar: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Binned flux over level, its ivar, and the level (b,), NaN where no pixel is valid."""
    level = mean_level(flux, ivar)
    unit = np.nan_to_num(level, nan=1.0)[:, None]
    binned, binned_ivar = bins.average(flux, ivar)
    return binned / unit, binned_ivar * unit**2, level

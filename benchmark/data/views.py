"""What a model sees of a survey: magnitudes and spectra as they are, images in [0, 1], read when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import InputArray, Modality, UsageError
from benchmark.data.survey import Survey
from encoders.reading.images import ImageFacts

__all__ = ["ImageView", "PhotometryView", "SpectrumView", "inputs", "rgb_stretch"]

STRETCH_BANDS = ("g", "r", "z")
GRZ_SCALES = (6.0, 3.4, 2.2)
STRETCH_M = 0.03
STRETCH_Q = 20.0


def rgb_stretch(flux_nanomaggy: NDArray, scales: Sequence[float] = GRZ_SCALES) -> NDArray[np.float32]:
    """Return the asinh colour composite of images, of g, r, z with the constants of the Legacy Survey viewer.

    Parameters
    ----------
    flux_nanomaggy : (..., bands, height, width) nanomaggies a pixel, bands from blue to red: g, r, z.
    scales : what each band is multiplied by.

    Returns
    -------
    (..., bands, height, width) float32 in [0, 1], the last band first: channels red, green, blue = z, r, g.

    References
    ----------
    Lupton et al. 2004, astro-ph/0312483, with the constants of the Legacy Survey viewer that AstroCLIP uses
    (Parker et al. 2024, arXiv:2310.03024): scales 6.0, 3.4, 2.2 of g, r, z; m = 0.03; Q = 20.
    """
    scale = np.array(scales, dtype=np.float32)[:, None, None]
    y = scale * np.asarray(flux_nanomaggy, dtype=np.float32) + np.float32(STRETCH_M)
    intensity = np.maximum(y, 0).mean(axis=-3, keepdims=True)
    f = np.arcsinh(np.float32(STRETCH_Q) * intensity) / np.float32(np.sqrt(STRETCH_Q))
    intensity = np.where(intensity == 0, np.float32(1e-6), intensity)
    return np.clip(y * f / intensity, 0, 1)[..., ::-1, :, :]


def _display(pixels: NDArray) -> NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


@dataclass(frozen=True)
class PhotometryView:
    """Magnitudes (n, bands) float32 of some galaxies, NaN where missing."""

    values: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        return self.values[rows].copy()


@dataclass(frozen=True)
class ImageView:
    """Images (n, bands, height, width) float32 of some galaxies, in [0, 1] or as fluxes; read when indexed.

    Attributes
    ----------
    stored : (m, stored bands, height, width).
    rows : (n,) of ``stored``.
    scale : makes what is shown of stored pixels.
    bands : which of the stored bands are shown, in this order; None for all.
    facts : what the shown pixels are, where they are fluxes.
    """

    stored: NDArray
    rows: NDArray[np.int64]
    scale: Callable[[NDArray], NDArray[np.float32]]
    bands: tuple[int, ...] | None = None
    facts: ImageFacts | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        n_bands = self.stored.shape[1] if self.bands is None else len(self.bands)
        return (len(self.rows), n_bands, *self.stored.shape[2:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        pixels = np.asarray(self.stored[self.rows[rows]])
        return np.ascontiguousarray(self.scale(pixels if self.bands is None else pixels[:, self.bands]))


@dataclass(frozen=True)
class SpectrumView:
    """Spectra (n, 2, n_wave) float32 of some galaxies, flux in [:, 0] and ivar in [:, 1]; read when indexed.

    Attributes
    ----------
    flux : 1e-17 erg/s/cm2/A.
    ivar : inverse variance of ``flux``; 0 = invalid.
    rows : (n,) rows of the stored arrays.
    wave_angstrom : (n_wave,) observed, vacuum.
    """

    flux: NDArray[np.float32]
    ivar: NDArray[np.float32]
    rows: NDArray[np.int64]
    wave_angstrom: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), 2, self.flux.shape[1])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        chosen = self.rows[rows]
        return np.stack([self.flux[chosen], self.ivar[chosen]], axis=1)


def inputs(survey: Survey, modality: Modality, rows: NDArray[np.int64]) -> InputArray:
    """Return what a model of a modality reads, for some rows of a survey.

    Parameters
    ----------
    survey : the survey.
    modality : ``photometry``, ``image`` or ``spectrum``.
    rows : (n,) row numbers, e.g. ``survey.rows("train")``; the view has this order.

    Returns
    -------
    Photometry (n, bands) AB magnitudes with NaN where missing, or images (n, bands, height, width) in [0, 1]:
    ``display_uint8`` divided by 255, ``nanomaggy`` by `rgb_stretch`, all bands where survey.toml has their
    ``image_stretch`` (reddest first), else g, r, z, other bands left aside; or spectra (n, 2, n_wave), a `SpectrumView`
    whose ``wave_angstrom`` names the pixels.

    Raises
    ------
    UsageError
        If the survey lacks the modality, or its images cannot be shown to a model.
    """
    if modality not in survey.modalities:
        raise UsageError(
            f"survey {survey.info.name} has no {modality}: it has {', '.join(survey.modalities) or 'nothing'}; "
            "choose a model that reads one of these"
        )
    rows = np.asarray(rows, dtype=np.int64)
    if modality == "photometry":
        columns = [f"mag_{band}" for band in survey.info.photometry_bands]
        return PhotometryView(survey.catalogue[columns].to_numpy(dtype=np.float32)[rows])
    if modality == "spectrum":
        flux, ivar, wave = survey.spectra, survey.spectra_ivar, survey.wave_angstrom
        assert flux is not None  # modalities says so
        assert ivar is not None
        assert wave is not None
        return SpectrumView(flux, ivar, rows, wave)
    stored = survey.images
    assert stored is not None  # modalities says so
    if survey.info.image_unit == "display_uint8":
        return ImageView(stored, rows, _display)
    if survey.info.image_stretch:
        return ImageView(stored, rows, partial(rgb_stretch, scales=survey.info.image_stretch))
    bands = tuple(survey.info.image_bands)
    if not set(STRETCH_BANDS) <= set(bands):
        raise UsageError(
            f"images of survey {survey.info.name} are nanomaggies in {', '.join(bands)}: "
            "the colour stretch is defined for g, r, z; other bands need image_stretch in survey.toml"
        )
    shown = tuple(bands.index(band) for band in STRETCH_BANDS)
    return ImageView(stored, rows, rgb_stretch, None if bands == STRETCH_BANDS else shown)

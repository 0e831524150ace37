"""Mock galaxies of every modality, and labels for them: what `benchmark.conformance` tries models on.

They come through the views that a run uses, so that a model which only reads plain arrays is found out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import SIMULATOR, InputArray, ModelCard, UsageError
from benchmark.data.views import ImageView, PhotometryView, SpectrumView

__all__ = ["KNOWN", "N_CLASSES", "class_columns", "galaxies", "image_view", "spectrum_view", "targets"]

KNOWN = {
    SIMULATOR: ("south", ("z", "log10_mstar", "t_age_gyr")),
    "benchmark.analytic:build_survey": ("gaussian3", ("theta1", "theta2", "theta3")),
}
"""What builds surveys -> a flavour with three bands, and three targets: for models that know such surveys."""

N_CLASSES = (2, 3)
"""Classes of the two targets of `class_columns`."""

_WAVE_ANGSTROM: NDArray[np.float64] = 3600.0 + 4.0 * np.arange(1557, dtype=np.float64)


def galaxies(card: ModelCard, n: int, seed: int) -> InputArray:
    """Rows (n, ...) of what a model reads.

    Raises
    ------
    UsageError
        If there are no mock galaxies of the model's modality.
    """
    rng = np.random.default_rng([seed, n])
    if card.modality == "photometry":
        magnitudes = rng.normal((20.0, 19.0, 18.5), (1.5, 1.2, 1.1), (n, 3)).astype(np.float32)
        if card.knows == SIMULATOR:  # analytic problems have no gaps
            magnitudes[rng.random(magnitudes.shape) < 0.1] = np.nan
        return PhotometryView(magnitudes)
    if card.modality == "image":
        return image_view(rng.random((n, 3, 64, 64), dtype=np.float32))
    if card.modality == "spectrum":
        ivar = rng.uniform(0.5, 4.0, (n, len(_WAVE_ANGSTROM))).astype(np.float32)
        ivar[rng.random(ivar.shape) < 0.05] = 0
        level = rng.uniform(0.5, 5.0, (n, 1)) * (_WAVE_ANGSTROM / 6000) ** rng.normal(0, 1, (n, 1))
        flux = (level + rng.normal(size=ivar.shape)).astype(np.float32)
        return spectrum_view(np.stack([flux, ivar], axis=1))
    if card.modality == "none":
        return np.zeros((n, 0), dtype=np.float32)
    raise UsageError(f"{card.name} reads {card.modality}: mock galaxies exist for photometry, image, spectrum and none")


def image_view(images: NDArray[np.float32]) -> ImageView:
    """Images (n, bands, height, width) as a run gives them, unstretched."""
    return ImageView(images, np.arange(len(images)), lambda pixels: pixels.astype(np.float32))


def spectrum_view(spectra: NDArray[np.float32]) -> SpectrumView:
    """Flux and ivar (n, 2, 1557) from 3600 to 9824 A as a run gives them."""
    return SpectrumView(spectra[:, 0], spectra[:, 1], np.arange(len(spectra)), _WAVE_ANGSTROM)


def targets(n: int, n_targets: int, seed: int) -> NDArray[np.float64]:
    """Targets (n, n_targets) of different sizes and units, a fifth of them missing, every column with values."""
    rng = np.random.default_rng([seed, n])
    target = rng.normal(np.arange(n_targets) * 5.0, 1.0 + np.arange(n_targets), (n, n_targets))
    target[rng.random(target.shape) < 0.2] = np.nan
    target[0] = np.arange(n_targets) * 5.0
    return target


def class_columns(n: int, seed: int) -> NDArray[np.float64]:
    """Columns (n, sum of `N_CLASSES`) of 0 and 1; a fifth of the galaxies have no class, NaN in all of its columns."""
    rng = np.random.default_rng([seed, n])
    parts = []
    for n_classes in N_CLASSES:
        columns = np.eye(n_classes)[rng.integers(n_classes, size=n)]
        columns[rng.random(n) < 0.2] = np.nan
        parts.append(columns)
    return np.hstack(parts)

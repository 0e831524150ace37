"""What spectra tell when the redshift is given: ``python -m tools.rest_frame_information SEED...`` prints R2.

Of 4,000 galaxies a seed the last 800 are predicted by kernel ridge on principal components at rest wavelengths, the
level and the redshift. Plain components count all bins alike; noise-weighted ones come from expectation maximisation
with every bin's inverse variance (Bailey 2012, doi:10.1086/668105, with a prior on the coefficients as in Tipping &
Bishop 1999, doi:10.1111/1467-9868.00196). Widths and penalties are chosen on the last 800 of the 3,200 training
galaxies, one pair a target.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from benchmark.data import Survey, inputs
from benchmark.metrics import r2
from benchmark.simulator import build_survey

__all__ = ["at_rest", "information", "kernel_ridge", "noise_weighted_coefficients", "plain_coefficients"]

Array = NDArray[np.float64]

N_GALAXIES, N_TRAIN, N_CHOICE = 4000, 3200, 800
REST_ANGSTROM = (3000.0, 8000.0)
STEP_DEX = 6e-4  # 414 km/s
LEVEL_ANGSTROM = (4400.0, 5600.0)
REDSHIFT_ERROR = 1e-4
FLOOR = 1e-4  # variance of a bin over its level squared that is never counted on: calibration, not noise
N_ITERATIONS = 4
WIDTHS = (0.5, 0.7, 1.0, 1.4)  # by the median distance of two galaxies
PENALTIES = (0.03, 0.1, 0.3)
LEARNERS = {"40 plain": (False, 40), "6 noise-weighted": (True, 6), "24 noise-weighted": (True, 24)}
TARGETS = ("log10_mstar", "ln_z_mw", "t_age_gyr", "log10_ssfr")


def at_rest(flux: Array, ivar: Array, wave_angstrom: Array, z: Array) -> tuple[Array, Array, Array]:
    """Spectra (n, n_wave) in bins at rest: mean flux over its level and ivar (n, n_bins), and the level (n,)."""
    first, last = (np.log10(edge) for edge in REST_ANGSTROM)
    n_bins = int((last - first) / STEP_DEX)
    place = np.floor((np.log10(wave_angstrom / (1 + z[:, None])) - first) / STEP_DEX).astype(np.int64)
    place = np.where((place >= 0) & (place < n_bins), place, n_bins)  # the last bin collects what is outside
    flat = (place + (n_bins + 1) * np.arange(len(z))[:, None]).ravel()
    total, weighted = (
        np.bincount(flat, values.ravel(), len(z) * (n_bins + 1)).reshape(len(z), -1)[:, :n_bins]
        for values in (ivar, flux * ivar)
    )
    middle = 10 ** (first + STEP_DEX * (np.arange(n_bins) + 0.5))
    window = (middle > LEVEL_ANGSTROM[0]) & (middle < LEVEL_ANGSTROM[1])
    known = total[:, window].sum(axis=1)
    level = np.maximum(weighted[:, window].sum(axis=1) / known, 1 / np.sqrt(known))
    mean = weighted / np.where(total > 0, total, 1.0)
    return mean / level[:, None], total * level[:, None] ** 2, level


def plain_coefficients(flux: Array, ivar: Array, n_train: int, n_components: int) -> Array:
    """Projections (n, k) on principal components of the first ``n_train`` spectra; bins without data are average."""
    seen = ivar > 0
    mean = np.where(seen, flux, 0.0)[:n_train].sum(axis=0) / np.maximum(seen[:n_train].sum(axis=0), 1)
    rows = np.where(seen, flux - mean, 0.0)
    return rows @ _axes(rows[:n_train], n_components)


def noise_weighted_coefficients(flux: Array, ivar: Array, n_train: int, n_components: int) -> Array:
    """Most probable coefficients (n, k) given the noise, on components that the first ``n_train`` spectra define.

    The model is flux = mean + c W + noise with c ~ N(0, 1); W grows from plain components by expectation maximisation
    over the training spectra. Coefficients come along the principal axes of W with half of its spread in logarithm
    (the square root), so that weak components still count in a distance.
    """
    weight = 1 / (1 / np.maximum(ivar, 1e-12) + FLOOR)
    train = slice(0, n_train)
    mean = (flux[train] * weight[train]).sum(axis=0) / weight[train].sum(axis=0)
    trusted = (flux[train] - mean) * (weight[train] / (weight[train] + 100.0))  # to .1 of the level, to begin with
    axes = _axes(trusted, n_components)
    loadings = (axes * (trusted @ axes).std(axis=0)).T
    for _ in range(N_ITERATIONS):
        coefficient, covariance = _posterior(flux[train] - mean, weight[train], loadings)
        second = covariance + coefficient[:, :, None] * coefficient[:, None, :]
        normal = (weight[train].T @ second.reshape(n_train, -1)).reshape(-1, n_components, n_components)
        right = (weight[train] * (flux[train] - mean)).T @ coefficient
        ridge = 1e-6 * np.trace(normal.mean(axis=0)) / n_components * np.eye(n_components)
        loadings = np.linalg.solve(normal + ridge, right[..., None])[..., 0].T
        residual = (flux[train] - coefficient @ loadings) * weight[train]
        mean = residual.sum(axis=0) / weight[train].sum(axis=0)
    power, axes = np.linalg.eigh(loadings @ loadings.T)
    loadings, power = axes[:, ::-1].T @ loadings, power[::-1]
    coefficient, _ = _posterior(flux - mean, weight, loadings)
    return coefficient * (power / power[0]) ** 0.25


def _axes(rows: Array, n_components: int) -> Array:
    """Leading eigenvectors (d, k) of rows (n, d)."""
    return np.linalg.eigh(rows.T @ rows)[1][:, : -n_components - 1 : -1]


def _posterior(rows: Array, weight: Array, loadings: Array) -> tuple[Array, Array]:
    """Mean (n, k) and covariance (n, k, k) of the coefficients of rows with weights (n, d), given loadings (k, d)."""
    precision = np.stack([(loadings * one) @ loadings.T for one in weight]) + np.eye(len(loadings))
    covariance = np.linalg.inv(precision)
    return np.einsum("nkl,nl->nk", covariance, (rows * weight) @ loadings.T), covariance


def kernel_ridge(features: Array, target: Array, n_train: int, n_choice: int) -> Array:
    """Predictions for the rows after the first ``n_train``, (n - n_train, t) of targets (n_train or more, t).

    A Gaussian kernel; its width and the penalty of every target have the best R2 on the last ``n_choice`` training
    rows, predicted from the others.
    """
    fitted, chosen, train = slice(0, n_train - n_choice), slice(n_train - n_choice, n_train), slice(0, n_train)
    centre, scale = target[train].mean(axis=0), target[train].std(axis=0)
    y = (target[train] - centre) / scale
    distance = _squared_distances(features, features[train])
    distance /= 2 * np.median(distance[fitted, fitted][::7, ::7])
    settings = list(product(WIDTHS, PENALTIES))
    reached = np.empty((len(settings), y.shape[1]))
    for row, (width, penalty) in enumerate(settings):
        guess = _predict(distance[fitted, fitted], y[fitted], distance[chosen, fitted], width, penalty)
        reached[row] = [r2(y[chosen, k], guess[:, k]) for k in range(y.shape[1])]
    best = reached.argmax(axis=0)
    prediction = np.empty((len(features) - n_train, y.shape[1]))
    for row in np.unique(best):
        prediction[:, best == row] = _predict(distance[train], y[:, best == row], distance[n_train:], *settings[row])
    return prediction * scale + centre


def _squared_distances(rows: Array, others: Array) -> Array:
    product = rows @ others.T
    return np.maximum((rows**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * product, 0.0)


def _predict(distance: Array, y: Array, to_others: Array, width: float, penalty: float) -> Array:
    """Kernel ridge from halved squared distances among the fitted rows (n, n) and from the others to them (m, n)."""
    kernel = np.exp(-distance / width**2) + penalty * np.eye(len(distance))
    return np.exp(-to_others / width**2) @ cho_solve(cho_factor(kernel, lower=True, overwrite_a=True), y)


def information(survey: Survey, seed: int) -> dict[str, Array]:
    """R2 by learner, of the `TARGETS` and of their PROVABGS-like versions (8,); ``seed`` of the redshifts' errors."""
    rows, wave = np.arange(survey.n_galaxies), np.asarray(survey.wave_angstrom)
    z = survey.target(["z"], rows)[:, 0] + REDSHIFT_ERROR * np.random.default_rng(seed).standard_normal(len(rows))
    spectra = inputs(survey, "spectrum", rows)
    parts = []
    for batch in np.array_split(rows, max(1, len(rows) // 500)):
        flux, ivar = (np.asarray(spectra[batch][:, part], dtype=np.float64) for part in (0, 1))
        parts.append(at_rest(flux, ivar, wave, z[batch]))
    flux, ivar, level = (np.concatenate(part) for part in zip(*parts, strict=True))
    target = survey.target([*TARGETS, *(f"{name}_provabgs" for name in TARGETS)], rows)
    known = np.column_stack([np.log10(level), z])
    known = (known - known[:N_TRAIN].mean(axis=0)) / known[:N_TRAIN].std(axis=0)
    found = {}
    for name, (weighted, n_components) in LEARNERS.items():
        coefficients = (noise_weighted_coefficients if weighted else plain_coefficients)(
            flux, ivar, N_TRAIN, n_components
        )
        features = np.column_stack([coefficients / coefficients[:N_TRAIN].std(axis=0)[0], known])
        predicted = kernel_ridge(features, target, N_TRAIN, N_CHOICE)
        found[name] = np.array([r2(target[N_TRAIN:, k], predicted[:, k]) for k in range(target.shape[1])])
    return found


def main(seeds: list[int]) -> None:
    every = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            survey = build_survey(Path(folder) / "s", N_GALAXIES, seed, modalities=("photometry", "spectrum"))
            every.append(information(survey, seed))
    for name in LEARNERS:
        values = np.array([found[name] for found in every])
        print(f"{name}: {', '.join(TARGETS)}; the same, PROVABGS-like")
        for label, row in (*zip(map(str, seeds), values, strict=True), ("mean", values.mean(axis=0))):
            print(f"  {label:>5} {' '.join(f'{value:.3f}' for value in row)}")


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]])

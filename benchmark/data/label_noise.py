"""How sure the labels are: their errors or posterior draws, and labels drawn anew within them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from benchmark.contracts import Target
from benchmark.data.survey import Survey

__all__ = ["LabelNoise", "gaussian_entropy", "label_noise"]

Array = NDArray[np.float64]

ROWS_AT_ONCE = 4096  # galaxies whose draws are in memory together


@dataclass(frozen=True)
class LabelNoise:
    """The errors of some targets of some galaxies.

    Attributes
    ----------
    error : (n, t) one-sigma errors in the targets' units, or the root of the mean square by which draws leave the
        label; NaN where there is none.
    resampled : (n, t) labels drawn anew, one a galaxy: the label plus a Gaussian error, or one of its draws, the same
        draw for all targets, so that their correlation is kept; reflected at a target's hard limits. NaN where there is
        no error, and for a redshift (target ``z``) of -1 or less, which cannot be.
    entropy : (n,) nats of the joint distribution of the errors in the targets' units, Gaussian; the least
        -log density that a model can reach on average. NaN unless every target has an error.
    """

    error: Array
    resampled: Array
    entropy: Array


def label_noise(survey: Survey, names: Sequence[str], rows: NDArray[np.int64]) -> LabelNoise | None:
    """Return the errors of some targets and labels drawn anew within them; None where no target has any.

    What is drawn depends on the survey alone, so that every model is held against the same labels. Draws are used where
    a target has both.

    Parameters
    ----------
    survey : its ``<target>_err`` columns and ``label_draws`` are read.
    names : targets.
    rows : (n,) row numbers.
    """
    label = survey.target(names, rows)
    error, resampled = np.full_like(label, np.nan), np.full_like(label, np.nan)
    drawn = [name for name in names if name in survey.info.label_draws]
    for number, name in enumerate(names):
        if name in survey.info.label_errors and name not in drawn:
            error[:, number] = survey.catalogue[f"{name}_err"].to_numpy(dtype=np.float64)[rows]
            resampled[:, number] = label[:, number] + error[:, number] * _normal(survey, name)[rows]
    entropy = np.log(error * np.sqrt(2 * np.pi * np.e))  # NaN where there is no error
    joint = entropy[:, [name not in drawn for name in names]].sum(axis=1)
    if drawn:
        columns = [list(names).index(name) for name in drawn]
        found = _of_draws(survey, drawn, label[:, columns], rows)
        error[:, columns], resampled[:, columns] = found.error, found.resampled
        joint = joint + found.entropy
    if np.isnan(error).all():
        return None
    unknown = np.isnan(label) | np.isnan(error)
    error, resampled = np.where(unknown, np.nan, error), np.where(unknown, np.nan, resampled)
    for number, name in enumerate(names):
        resampled[:, number] = _reflected(resampled[:, number], survey.target_info(name))
    if "z" in names:
        number = list(names).index("z")
        resampled[resampled[:, number] <= -1, number] = np.nan
    return LabelNoise(error, resampled, np.where(unknown.any(axis=1), np.nan, joint))


def _of_draws(survey: Survey, names: Sequence[str], label: Array, rows: NDArray[np.int64]) -> LabelNoise:
    stored = survey.label_draws
    assert stored is not None  # survey.toml names its targets
    columns = [survey.info.label_draws.index(name) for name in names]
    chosen = np.random.default_rng(_seed("draw")).integers(stored.shape[1], size=survey.n_galaxies)[rows]
    parts = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        draws = np.asarray(stored[rows[part]], dtype=np.float64)[:, :, columns]
        error = np.sqrt(np.square(draws - label[part][:, None]).mean(axis=1))
        one = draws[np.arange(len(draws)), chosen[part]]
        parts.append(LabelNoise(error, one, gaussian_entropy(draws)))
    if not parts:
        empty = np.zeros((0, len(names)))
        return LabelNoise(empty, empty, np.zeros(0))
    return LabelNoise(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))


def gaussian_entropy(draws: Array) -> Array:
    """Nats (n,) of the Gaussian that has the covariance of draws (n, n_draws, t), without bias for a finite number.

    1/2 log det(2 pi e S), less what the logarithm of a Wishart matrix of n_draws - 1 degrees of freedom lies below that
    of its mean (Misra et al. 2005, J. Multivariate Anal. 92, 324). NaN where draws are missing or have no
    volume.
    """
    n_draws, t = draws.shape[1:]
    centred = draws - draws.mean(axis=1, keepdims=True)
    covariance = np.einsum("nki,nkj->nij", centred, centred) / (n_draws - 1)
    sign, log_det = np.linalg.slogdet(np.where(np.isfinite(covariance), covariance, 0.0))
    freedom = n_draws - 1
    bias = digamma((freedom - np.arange(t)) / 2).sum() + t * np.log(2 / freedom)
    entropy = 0.5 * (t * np.log(2 * np.pi * np.e) + log_det - bias)
    return np.where((sign > 0) & np.isfinite(log_det), entropy, np.nan)


def _reflected(values: Array, target: Target) -> Array:
    """Values beyond a hard limit as far inside as they lay outside."""
    low = -np.inf if target.low is None else target.low
    high = np.inf if target.high is None else target.high
    with np.errstate(invalid="ignore"):  # an infinite limit minus what lies beyond it, which nothing does
        inside = np.where(values < low, 2 * low - values, np.where(values > high, 2 * high - values, values))
    return np.clip(inside, low, high)


def _normal(survey: Survey, name: str) -> Array:
    """A standard normal number for every galaxy of the survey."""
    return np.random.default_rng(_seed(name)).normal(size=survey.n_galaxies)


def _seed(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"label noise of {name}".encode()).digest()[:8], "big")

"""Ranks of models that their scores justify: who is better than whom, by paired resamples and beyond chance.

Counting resamples cannot serve a table: among 31 models Holm's correction asks for p-values of one in ten thousand,
which takes tens of thousands of resamples. Each difference is held against the standard error of its paired replicates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from posteriors.calibration.conditional import holm

__all__ = ["Comparison", "Ranks", "compare", "join", "rank_models"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """All pairs of m models on galaxies that both have.

    Attributes
    ----------
    difference : (m, m) cost of the row less that of the column: below 0 the row is better. NaN where a pair was not
        compared.
    p_value : (m, m) two-sided; NaN likewise, and on the diagonal.
    """

    difference: Floats
    p_value: Floats


@dataclass(frozen=True)
class Ranks:
    """What is known of the order of m models.

    Attributes
    ----------
    low, high : (m,) the best and the worst rank that a model may have: 1 + models that are significantly better, and
        m less those that are significantly worse.
    tie_group : (m,) from 1: the best model and all that are not significantly worse than it are group 1; the best of
        the others opens the next.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    tie_group: NDArray[np.int64]


def compare(cost: Floats, replicates: Floats) -> Comparison:
    """Compare m models on the same resamples of the same galaxies.

    Parameters
    ----------
    cost : (m,) scores, lower is better.
    replicates : (m, B) of the costs, from shared resamples; not finite: the resample is left out for that pair.

    Returns
    -------
    p-values from a normal distribution of the difference over the standard deviation of its replicates. Equal
    predictions differ by 0 in each resample: their p-value is 1.
    """
    difference = cost[:, None] - cost[None, :]
    error = _paired_errors(replicates)
    # sums in single precision leave 1e-6 of a score where two models say the same
    same = np.abs(difference) <= 1e-6 * np.maximum(np.abs(cost)[:, None], np.abs(cost)[None, :])
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(same, 1.0, 2 * ndtr(-np.abs(difference) / error))
    np.fill_diagonal(p, np.nan)
    return Comparison(difference, p)


def _paired_errors(replicates: Floats) -> Floats:
    """Standard deviation (m, m) of the difference of two rows of (m, B)."""
    if np.isfinite(replicates).all():
        covariance = np.atleast_2d(np.cov(replicates))
        variance = np.diagonal(covariance)
        return np.sqrt(np.maximum(variance[:, None] + variance[None, :] - 2 * covariance, 0.0))
    error = np.zeros((len(replicates),) * 2)
    for row, values in enumerate(replicates):
        gaps = values - replicates
        finite = np.isfinite(gaps)
        count = np.maximum(finite.sum(axis=1), 2)
        mean = np.where(finite, gaps, 0.0).sum(axis=1) / count
        squares = np.where(finite, np.square(np.where(finite, gaps, 0.0) - mean[:, None]), 0.0)
        error[row] = np.sqrt(squares.sum(axis=1) / (count - 1))
    return error


def join(parts: list[tuple[NDArray[np.int64], Comparison]], m: int) -> Comparison:
    """Put comparisons of some of m models into one; of a pair that is in several, the last counts.

    Parameters
    ----------
    parts : numbers of the models (k,), and the comparison of these.
    m : models in all. Pairs in no part stay NaN.
    """
    difference, p = np.full((m, m), np.nan), np.full((m, m), np.nan)
    for numbers, part in parts:
        difference[np.ix_(numbers, numbers)] = part.difference
        p[np.ix_(numbers, numbers)] = part.p_value
    np.fill_diagonal(p, np.nan)
    return Comparison(difference, p)


def rank_models(cost: Floats, comparison: Comparison, level: float = 0.05) -> Ranks:
    """Ranks and tie groups of m models.

    Parameters
    ----------
    cost : (m,) each model's own score, lower is better: it says who is the best of a group.
    comparison : of all pairs. One that was not made counts as a tie.
    level : that some pair of equal models is called different has at most this probability (Holm over all pairs).
    """
    m = len(cost)
    rows, columns = np.triu_indices(m, 1)
    p = comparison.p_value[rows, columns]
    made = np.isfinite(p)
    rejected = np.zeros((m, m), dtype=bool)
    if made.any():
        different = holm(p[made]) < level
        rejected[rows[made][different], columns[made][different]] = True
    rejected |= rejected.T
    better = rejected & (comparison.difference < 0)  # the row than the column
    group = np.zeros(m, dtype=np.int64)
    for number in range(1, m + 1):
        left = np.flatnonzero(group == 0)
        if not left.size:
            break
        best = left[np.argmin(cost[left])]
        group[left[~better[best, left]]] = number
    return Ranks(1 + better.sum(axis=0), m - better.sum(axis=1), group)

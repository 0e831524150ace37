"""Scores of probabilities of classes: the cards, the functions, and their forms for resampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmark.contracts import MetricCard
from posteriors.scores.resampling import BoundMoment

__all__ = ["METRICS", "bind_roc_auc", "brier", "brier_per_galaxy", "roc_auc"]

Floats = NDArray[np.float64]

METRICS = (
    MetricCard(
        "roc_auc",
        "higher",
        "area under the ROC curve: how often a galaxy of a class is given more of its probability than one of another "
        "(mean over classes where there are more than two); a constant reaches 0.5",
    ),
    MetricCard(
        "brier",
        "lower",
        "half the squared distance between probabilities and truth, so for two classes (p - y)^2; the shares of the "
        "training set reach the floor",
    ),
    MetricCard(
        "brier_excess",
        "zero",
        "Brier score less the one that the probabilities expect of themselves: above 0 over-confident, below 0 "
        "under-confident",
    ),
    MetricCard(
        "reliability",
        "lower",
        "part of the Brier score that recalibration would remove: squared distance of claimed and observed shares in "
        "bins, less the scatter of the bins (so a calibrated model may have it just below 0)",
    ),
)


def roc_auc(y_true: ArrayLike, score: ArrayLike) -> float:
    """Probability that a galaxy of the class scores higher than one of another, ties counting half.

    Parameters
    ----------
    y_true : (n,) True or 1 where a galaxy is of the class.
    score : (n,) finite numbers that should be higher there; only their order matters.

    Raises
    ------
    ValueError
        For shapes that differ, values that are not finite, and where one of both kinds is absent.

    References
    ----------
    Hanley & McNeil 1982, Radiology 143, 29.
    """
    return _placements(y_true, score)[2]


def brier(y_true: ArrayLike, probability: ArrayLike) -> float:
    """Mean of `brier_per_galaxy`; arguments as there."""
    return float(brier_per_galaxy(y_true, probability).mean())


def brier_per_galaxy(y_true: ArrayLike, probability: ArrayLike) -> Floats:
    """Half the squared distance (n,) of probabilities (n, K) from truth (n, K), which is 1 in the galaxy's class.

    From 0 (sure and right) to 1 (sure and wrong). Proper: lowest in the mean for the true probabilities.

    References
    ----------
    Brier 1950, Mon. Weather Rev. 78, 1; his score is twice this one.
    """
    true, found = np.asarray(y_true, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    if true.shape != found.shape or true.ndim != 2:
        raise ValueError(f"truth {true.shape} and probabilities {found.shape}: both must be (n, classes)")
    return 0.5 * np.square(found - true).sum(axis=1)


def bind_roc_auc(y_true: ArrayLike, score: ArrayLike, valid: NDArray[np.bool_]) -> BoundMoment:
    """`roc_auc` of the valid galaxies, to be resampled.

    A galaxy's placement is the share of galaxies of the other kind that it is ranked rightly against. The area is the
    mean placement of either kind, and on a resample it is taken as linear in both means: its first-order term, whose
    variance is DeLong's. So thousands of resamples need no sorting; the value itself is exact. Percentile intervals of
    95 % hold the truth in .94 of 600 samples of 104 galaxies for an area of .76 and equal classes, in .91 where one in
    ten is of the class, in .90 for an area of .96: near its end the interval is too short, as it is for other scores.

    Parameters
    ----------
    y_true, score : (n,), as in `roc_auc`; not looked at where ``valid`` is False.
    valid : (n,) True where a galaxy counts.

    Raises
    ------
    ValueError
        As `roc_auc`.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44, 837.
    """
    mask = np.asarray(valid, dtype=bool)
    inside, placement, area = _placements(np.asarray(y_true)[mask], np.asarray(score)[mask])
    statistics = np.zeros((len(mask), 4))
    statistics[mask] = np.stack([inside, inside * placement, ~inside, ~inside * placement], axis=1)

    def combine(sums: Floats, _: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):  # a resample without one kind has no area: NaN
            return np.clip(sums[:, 1] / sums[:, 0] + sums[:, 3] / sums[:, 2] - area, 0.0, 1.0)

    return BoundMoment(statistics, mask, combine)


def _placements(y_true: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.bool_], Floats, float]:
    """Which galaxies (n,) are of the class, the placement (n,) of each, and their area under the ROC curve."""
    inside, values = np.asarray(y_true) == 1, np.asarray(score, dtype=np.float64)
    if inside.ndim != 1 or inside.shape != values.shape or not np.isfinite(values).all():
        raise ValueError(f"truth {inside.shape} and scores {values.shape}: both must be (n,) and finite")
    n_inside = int(inside.sum())
    n_outside = len(inside) - n_inside
    if not n_inside or not n_outside:
        raise ValueError(f"{n_inside} galaxies of the class and {n_outside} others: an ROC curve needs both")
    among_all, below = _ranks(values), np.empty(len(values))
    for kind in (inside, ~inside):
        below[kind] = among_all[kind] - _ranks(values[kind])  # galaxies of the other kind below, ties as halves
    placement = np.where(inside, below / n_outside, 1 - below / n_inside)
    return inside, placement, float(placement[inside].mean())


def _ranks(values: Floats) -> Floats:
    """Ranks (n,) from 1, equal values sharing their mean."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]

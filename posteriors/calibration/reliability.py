"""Are probabilities of classes calibrated? Of galaxies given 30 %, three in ten should be of the class.

The half Brier score splits exactly into reliability (how far claimed and observed shares differ, bin by bin),
resolution (how far observed shares differ from the overall one) and uncertainty (of the class itself), plus what
probabilities differ within a bin. Reliability of a calibrated forecast is not 0 in a finite sample: each bin has the
scatter of its outcomes, which the unbiased form takes off.

References
----------
Murphy 1973, J. Appl. Meteorol. 12, 595 (decomposition); Stephenson, Coelho & Jolliffe 2008, Weather Forecast. 23, 752
(terms within bins); Ferro & Fricker 2012, Q. J. R. Meteorol. Soc. 138, 1954 (unbiased terms); Broecker & Smith 2007,
Weather Forecast. 22, 651 (consistency resampling); Spiegelhalter 1986, Stat. Med. 5, 421 (test without bins).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posteriors.scores.resampling import BoundMoment

__all__ = [
    "Decomposition",
    "ReliabilityCurve",
    "bind_reliability",
    "brier_decomposition",
    "brier_excess_per_galaxy",
    "calibration_p_value",
    "reliability_bias",
    "reliability_curve",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_MOST_BINS, _GALAXIES_A_BIN = 10, 25
_TWO_SIDED_95 = 1.959963984540054


@dataclass(frozen=True)
class ReliabilityCurve:
    """Claimed beside observed shares of one class, in bins of as equal numbers of galaxies as ties allow.

    Attributes
    ----------
    claimed, observed : (bins,) mean probability, and share of galaxies that are of the class.
    low, high : (bins,) 95 % interval of the observed share (Wilson 1927).
    n : (bins,) galaxies.
    """

    claimed: Floats
    observed: Floats
    low: Floats
    high: Floats
    n: Integers


@dataclass(frozen=True)
class Decomposition:
    """Terms of the half Brier score, summed over classes: brier = reliability - resolution + uncertainty + within.

    Attributes
    ----------
    reliability : 0 of a calibrated forecast on average, so below 0 about half the time.
    resolution, uncertainty : without bias in the number of galaxies.
    within : what probabilities differ within bins, and the sum's remainder.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within: float


def reliability_curve(inside: ArrayLike, probability: ArrayLike) -> ReliabilityCurve:
    """Claimed and observed shares of one class.

    Parameters
    ----------
    inside : (n,) True or 1 where a galaxy is of the class.
    probability : (n,) from 0 to 1. Up to ten bins, 25 galaxies in each; equal probabilities share one.

    Raises
    ------
    ValueError
        For shapes that differ, no galaxies, or numbers that are no probabilities.
    """
    true, claimed = _checked(inside, probability)
    n, sums, hits = _sums(true, claimed, _bins(claimed))
    observed = hits / n
    centre = (hits + _TWO_SIDED_95**2 / 2) / (n + _TWO_SIDED_95**2)
    half = _TWO_SIDED_95 * np.sqrt(n * observed * (1 - observed) + _TWO_SIDED_95**2 / 4) / (n + _TWO_SIDED_95**2)
    return ReliabilityCurve(sums / n, observed, centre - half, centre + half, n.astype(np.int64))


def brier_decomposition(y_true: ArrayLike, probability: ArrayLike) -> Decomposition:
    """Reliability, resolution and uncertainty of probabilities of K classes, half the sum over classes each.

    Parameters
    ----------
    y_true : (n, K), 1 in a galaxy's class, else 0.
    probability : (n, K). Each class is binned by its own probability, as in `reliability_curve`.

    Raises
    ------
    ValueError
        As `reliability_curve`, and for shapes that are not (n, K).
    """
    true, found = _two_axes(y_true, probability)
    terms = np.zeros(3)
    for inside, claimed in zip(true.T, found.T, strict=True):
        n, sums, hits = _sums(inside, claimed, _bins(claimed))
        observed, overall, total = hits / n, inside.mean(), len(inside)
        scatter = _scatter(n, hits).sum() / total
        of_the_mean = overall * (1 - overall) / max(total - 1, 1)
        plain = np.sum(n * (sums / n - observed) ** 2) / total, np.sum(n * (observed - overall) ** 2) / total
        terms += plain[0] - scatter, plain[1] - scatter + of_the_mean, overall * (1 - overall) + of_the_mean
    brier = float(np.square(found - true).sum(axis=1).mean())
    reliability, resolution, uncertainty = (0.5 * float(term) for term in terms)
    return Decomposition(reliability, resolution, uncertainty, 0.5 * brier - (reliability - resolution + uncertainty))


def brier_excess_per_galaxy(y_true: ArrayLike, probability: ArrayLike) -> Floats:
    """Half Brier score (n,) less the one that the probabilities themselves expect; needs no bins.

    Its mean is 0 for calibrated probabilities, above it for over-confident and below it for under-confident ones; a
    shift in which both cancel is not seen. For two classes (y - p) (1 - 2 p), Spiegelhalter's statistic.

    Parameters
    ----------
    y_true, probability : (n, K) as in `brier_decomposition`.
    """
    true, found = _two_axes(y_true, probability)
    return 0.5 * (np.square(found - true).sum(axis=1) - (1 - np.square(found).sum(axis=1)))


def bind_reliability(y_true: ArrayLike, probability: ArrayLike, valid: ArrayLike) -> BoundMoment:
    """Unbiased reliability of the valid galaxies, to be resampled in the bins that they have.

    Resamples scatter about the galaxies as these do about the truth: their mean lies above the value by
    `reliability_bias`, by which the ends of a percentile interval have to be lowered.

    Parameters
    ----------
    y_true, probability : (n, K) as in `brier_decomposition`; not looked at where ``valid`` (n,) is False.
    """
    mask = np.asarray(valid, dtype=bool)
    true, found = _two_axes(np.asarray(y_true)[mask], np.asarray(probability)[mask])
    columns = []
    for inside, claimed in zip(true.T, found.T, strict=True):
        member = np.eye(int(_bins(claimed).max()) + 1)[_bins(claimed)]
        columns += [member, member * claimed[:, None], member * inside[:, None]]
    widths = [column.shape[1] for column in columns]
    statistics = np.zeros((len(mask), sum(widths)))
    statistics[mask] = np.hstack(columns)
    edges = np.cumsum(widths)[:-1]

    def combine(sums: Floats, counts: Floats) -> Floats:
        total = np.zeros(len(sums))
        parts = np.split(sums, edges, axis=1)
        for n, claims, hits in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            gap = np.square(claims - hits) / np.maximum(n, 1)
            total += (gap - _scatter(n, hits)).sum(axis=1)
        return 0.5 * total / counts

    return BoundMoment(statistics, mask, combine)


def reliability_bias(y_true: ArrayLike, probability: ArrayLike) -> float:
    """By how much reliability without its correction is too high on average; arguments as `brier_decomposition`."""
    true, found = _two_axes(y_true, probability)
    scatter = [_scatter(*_sums(inside, claimed, _bins(claimed))[::2]).sum() for inside, claimed in zip(true.T, found.T)]
    return 0.5 * float(np.sum(scatter)) / len(true)


def calibration_p_value(y_true: ArrayLike, probability: ArrayLike, n_resamples: int = 1000, seed: int = 0) -> float:
    """How often classes that are drawn from the probabilities themselves have at least this reliability, by bins.

    Low: the probabilities are not calibrated. It is exact for any number of galaxies, as the drawn classes are binned
    as the true ones; over-confidence, under-confidence and shifts are all seen.

    Parameters
    ----------
    y_true, probability : (n, K) as in `brier_decomposition`; the probabilities of a galaxy sum to 1.
    n_resamples, seed : of the drawn classes. The smallest p-value is 1 / (n_resamples + 1).
    """
    true, found = _two_axes(y_true, probability)
    members = [np.eye(int(_bins(claimed).max()) + 1)[_bins(claimed)] for claimed in found.T]
    below = np.cumsum(found, axis=1)[:, :-1]
    rng = np.random.default_rng(seed)

    def distance(classes: Integers) -> Floats:
        """Plain reliability (B,) of classes (B, n)."""
        total = np.zeros(len(classes))
        for number, (member, claimed) in enumerate(zip(members, found.T, strict=True)):
            gap = ((classes == number) - claimed) @ member
            total += (np.square(gap) / member.sum(axis=0)).sum(axis=1)
        return total

    observed = distance(true.argmax(axis=1)[None])[0]
    at_least, step = 0, max(1, 2_000_000 // len(true))
    for start in range(0, n_resamples, step):
        uniform = rng.random((min(step, n_resamples - start), len(true), 1))
        drawn = (uniform > below).sum(axis=2)
        at_least += int((distance(drawn) >= observed * (1 - 1e-9)).sum())  # equal sums in another order
    return (at_least + 1) / (n_resamples + 1)


def _bins(claimed: Floats) -> Integers:
    """Bin (n,) of each probability, from 0 without gaps; equal probabilities share one."""
    n_bins = int(np.clip(len(claimed) // _GALAXIES_A_BIN, 1, _MOST_BINS))
    edges = np.unique(np.quantile(claimed, np.arange(1, n_bins) / n_bins, method="higher"))
    return np.unique(np.searchsorted(edges, claimed, side="right"), return_inverse=True)[1].astype(np.int64)


def _sums(inside: Floats, claimed: Floats, bins: Integers) -> tuple[Floats, Floats, Floats]:
    """Galaxies, summed probabilities and galaxies of the class (bins,)."""
    n = np.bincount(bins).astype(np.float64)
    sums, hits = (np.asarray(np.bincount(bins, weights), dtype=np.float64) for weights in (claimed, inside))
    return n, sums, hits


def _scatter(n: Floats, hits: Floats) -> Floats:
    """n times the variance of the observed share of a bin, without bias; 0 where one galaxy cannot tell."""
    share = hits / np.maximum(n, 1)
    return np.where(n > 1, n * share * (1 - share) / np.maximum(n - 1, 1), 0.0)


def _checked(inside: ArrayLike, probability: ArrayLike) -> tuple[Floats, Floats]:
    true, claimed = np.asarray(inside, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    if true.shape != claimed.shape or true.ndim != 1 or not true.size:
        raise ValueError(f"truth {true.shape} and probabilities {claimed.shape}: both must be (n,), n at least 1")
    if not (np.isin(true, (0, 1)).all() and ((claimed >= 0) & (claimed <= 1)).all()):
        raise ValueError("truth must be 0 or 1 and probabilities from 0 to 1")
    return true, claimed


def _two_axes(y_true: ArrayLike, probability: ArrayLike) -> tuple[Floats, Floats]:
    true, found = np.asarray(y_true, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    if true.shape != found.shape or true.ndim != 2:
        raise ValueError(f"truth {true.shape} and probabilities {found.shape}: both must be (n, classes)")
    _checked(true.ravel(), found.ravel())
    return true, found

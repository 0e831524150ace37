"""How a score is computed on thousands of resamples of galaxies at once.

A *moment* score is a function of weighted sums of per-galaxy statistics: all resamples of all such scores are one
matrix product. An *order* score is a median, found in the sorted values. A *derived* score combines others.
Each is bound to the data of one model and target; bound scores of a task share their resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posteriors.scores.point import NMAD_FACTOR, OUTLIER_LIMIT, redshift_residual

__all__ = [
    "POINT_SCORES",
    "BoundMoment",
    "BoundOrder",
    "BoundScore",
    "DerivedScore",
    "MomentScore",
    "OrderScore",
    "difference_of_scores",
    "mean_of_scores",
    "mean_over_galaxies",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BoundMoment:
    """A moment score with its data: statistics (n, k), 0 where not valid, and ``combine``.

    ``combine`` takes the sums (B, k) over the valid galaxies of each resample and their counts (B,).
    """

    statistics: Floats
    valid: NDArray[np.bool_]
    combine: Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class BoundOrder:
    """An order score with its data: one value a galaxy (n,), 0 where not valid, and what is made of them.

    ``statistic`` is a name of `posteriors.scores.order.ORDER_STATISTICS`, ``factor`` multiplies it.
    """

    values: Floats
    valid: NDArray[np.bool_]
    statistic: str
    factor: float


@dataclass(frozen=True)
class DerivedScore:
    """A score made of others of the same call, resample by resample.

    Attributes
    ----------
    of : keys of the scores it is made of.
    combine : from their replicates (len(of), B) to its own (B,).
    """

    of: tuple[Hashable, ...]
    combine: Callable[[Floats], Floats]


BoundScore = BoundMoment | BoundOrder | DerivedScore


@dataclass(frozen=True)
class MomentScore:
    """A function of sums over galaxies.

    Attributes
    ----------
    statistics : from y_true (m,) and y_pred (m,) of the valid galaxies to (m, k).
    combine : from sums (B, k) and counts (B,) to scores (B,).
    """

    statistics: Callable[[Floats, Floats], Floats]
    combine: Callable[[Floats, Floats], Floats]

    def bind(self, y_true: ArrayLike, y_pred: ArrayLike, valid: ArrayLike | None = None) -> BoundMoment:
        """Bind to (n,) truths and predictions; values where ``valid`` (n,) is False are not looked at.

        Raises
        ------
        ValueError
            For shapes that differ, and for valid values that are not finite.
        """
        true, predicted, mask = _checked(y_true, y_pred, valid)
        inside = self.statistics(true[mask], predicted[mask])
        statistics = np.zeros((len(mask), inside.shape[1]))
        statistics[mask] = inside
        return BoundMoment(statistics, mask, self.combine)


@dataclass(frozen=True)
class OrderScore:
    """A function of the order statistics of one value a galaxy.

    Attributes
    ----------
    values : from y_true (m,) and y_pred (m,) of the valid galaxies to (m,).
    statistic : a name of `posteriors.scores.order.ORDER_STATISTICS`.
    factor : multiplies the statistic.
    """

    values: Callable[[Floats, Floats], Floats]
    statistic: str
    factor: float = 1.0

    def bind(self, y_true: ArrayLike, y_pred: ArrayLike, valid: ArrayLike | None = None) -> BoundOrder:
        """Bind to (n,) truths and predictions; arguments and errors as `MomentScore.bind`."""
        true, predicted, mask = _checked(y_true, y_pred, valid)
        values = np.zeros(len(mask))
        values[mask] = self.values(true[mask], predicted[mask])
        return BoundOrder(values, mask, self.statistic, self.factor)


def mean_over_galaxies(values: ArrayLike, valid: ArrayLike | None = None) -> BoundMoment:
    """The mean of one number a galaxy, (n,): NLL, CRPS, covered or not.

    Raises
    ------
    ValueError
        For another shape, and for valid values that are not finite.
    """
    column, _, mask = _checked(values, values, valid)
    return BoundMoment(np.where(mask, column, 0.0)[:, None], mask, lambda sums, counts: sums[:, 0] / counts)


def mean_of_scores(keys: Sequence[Hashable]) -> DerivedScore:
    """The mean of other scores, e.g. of R2 over targets."""
    return DerivedScore(tuple(keys), lambda replicates: replicates.mean(0))


def difference_of_scores(first: Hashable, second: Hashable) -> DerivedScore:
    """First minus second score, paired on the same resamples."""
    return DerivedScore((first, second), lambda replicates: replicates[0] - replicates[1])


def _r2_statistics(true: Floats, predicted: Floats) -> Floats:
    # centred, so that the sum of squares about the mean of a resample loses no digits
    centred = true - (true.mean() if len(true) else 0.0)
    return np.column_stack([np.square(true - predicted), centred, np.square(centred)])


def _r2_from_sums(sums: Floats, counts: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 - sums[:, 0] / (sums[:, 2] - np.square(sums[:, 1]) / counts)


def _mean_from_sums(sums: Floats, counts: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return sums[:, 0] / counts


def _checked(y_true: ArrayLike, y_pred: ArrayLike, valid: ArrayLike | None) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    true, predicted = np.asarray(y_true, dtype=np.float64), np.asarray(y_pred, dtype=np.float64)
    mask = np.ones(true.shape, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    if true.ndim != 1 or true.shape != predicted.shape or true.shape != mask.shape:
        raise ValueError(f"truth {true.shape}, prediction {predicted.shape} and valid {mask.shape}: all must be (n,)")
    n_bad = int((~(np.isfinite(true) & np.isfinite(predicted)) & mask).sum())
    if n_bad:
        raise ValueError(f"{n_bad} valid galaxies have NaN or infinite values: mark them in `valid` or leave them out")
    return true, predicted, mask


POINT_SCORES: Mapping[str, MomentScore | OrderScore] = {
    "r2": MomentScore(_r2_statistics, _r2_from_sums),
    "rmse": MomentScore(
        lambda true, predicted: np.square(true - predicted)[:, None],
        lambda sums, counts: np.sqrt(np.maximum(_mean_from_sums(sums, counts), 0.0)),
    ),
    "sigma_nmad": OrderScore(redshift_residual, "median_deviation", NMAD_FACTOR),
    "bias": OrderScore(redshift_residual, "median"),
    "outlier_fraction": MomentScore(
        lambda true, predicted: (np.abs(redshift_residual(true, predicted)) > OUTLIER_LIMIT).astype(float)[:, None],
        _mean_from_sums,
    ),
}
"""Point scores by their name on the board."""

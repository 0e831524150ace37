"""Percentile bootstrap intervals over galaxies, with the same resamples for all scores of a call.

Resampling the test galaxies says how far a score depends on which galaxies were tested; what the training set and the
seed of a fit add is not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posteriors.scores.density import crps_per_galaxy, energy_score_per_galaxy
from posteriors.scores.resampling import (
    POINT_SCORES,
    BoundMoment,
    BoundOrder,
    BoundScore,
    DerivedScore,
    difference_of_scores,
    mean_over_galaxies,
)

__all__ = [
    "Interval",
    "PairedDifference",
    "bootstrap_ci",
    "paired_bootstrap",
    "shared_intervals",
    "shared_replicates",
    "two_sided_p_value",
]

Key = TypeVar("Key", bound=Hashable)
Metric = str | Callable[..., float]
Floats = NDArray[np.float64]

_CHUNK_VALUES = 2_000_000  # indices drawn at once; part of the stream's definition, as it sets the order of draws
_ROW_CHUNK_VALUES = 500_000  # values of order scores gathered at once, 4 MB: stays in cache
_LEVEL = 0.95
_MOST_UNDEFINED = 0.05


@dataclass(frozen=True)
class Interval:
    """A score with its 95 % percentile interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """Score of a minus score of b over the same galaxies, its 95 % interval and two-sided p-value."""

    delta: float
    low: float
    high: float
    p_value: float


def bootstrap_ci(
    metric: Metric, y_true: ArrayLike, y_pred: ArrayLike, n_resamples: int = 10_000, seed: int = 0
) -> Interval:
    """A score with its 95 % percentile interval over galaxies.

    Parameters
    ----------
    metric : a name (``r2``, ``rmse``, ``sigma_nmad``, ``bias``, ``outlier_fraction``, ``crps``, ``energy_score``) or a
        function f(y_true, y_pred) -> float, called once for each resample.
    y_true : (n,), or (n, t) where the metric takes it.
    y_pred : predictions like ``y_true``; draws (n_draws, n[, t]) for ``crps`` and ``energy_score``.
    n_resamples : at least 1.
    seed : of the resamples: the same for all metrics of the same n.

    Raises
    ------
    ValueError
        For an unknown metric, shapes that do not fit, fewer than 2 galaxies, NaN, or n_resamples < 1.
    """
    if callable(metric):
        true, predicted = _rows(y_true, y_pred)
        value, replicates = float(metric(true, predicted)), np.empty(n_resamples)
        for start, index in _index_chunks(len(true), n_resamples, seed):
            replicates[start : start + len(index)] = [metric(true[row], predicted[row]) for row in index]
        return _interval(metric, value, replicates)
    score = _bind(metric, y_true, y_pred)
    return shared_intervals({metric: score}, n=len(np.asarray(y_true)), n_resamples=n_resamples, seed=seed)[metric]


def paired_bootstrap(
    metric: Metric,
    y_true: ArrayLike,
    y_pred_a: ArrayLike,
    y_pred_b: ArrayLike,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> PairedDifference:
    """Difference of a score between two predictions of the same galaxies, both on the same resamples.

    Parameters and errors as `bootstrap_ci`; the p-value is `two_sided_p_value` of the differences.
    """
    if callable(metric):
        true, first = _rows(y_true, y_pred_a)
        _, second = _rows(y_true, y_pred_b)
        delta, differences = float(metric(true, first) - metric(true, second)), np.empty(n_resamples)
        for start, index in _index_chunks(len(true), n_resamples, seed):
            differences[start : start + len(index)] = [
                metric(true[row], first[row]) - metric(true[row], second[row]) for row in index
            ]
    else:
        scores: dict[str, BoundScore] = {
            "a": _bind(metric, y_true, y_pred_a),
            "b": _bind(metric, y_true, y_pred_b),
            "difference": difference_of_scores("a", "b"),
        }
        values, replicates = shared_replicates(scores, n=len(np.asarray(y_true)), n_resamples=n_resamples, seed=seed)
        delta, differences = values["difference"], replicates["difference"]
    interval = _interval(metric, delta, differences)
    return PairedDifference(interval.value, interval.low, interval.high, two_sided_p_value(differences))


def two_sided_p_value(differences: ArrayLike) -> float:
    """Twice the smaller share of replicates on either side of zero, (b + 1) / (B + 1), at most 1.

    Replicates that are not finite are left out. Davison & Hinkley 1997, Bootstrap Methods, eq. 4.11.
    """
    finite = np.asarray(differences)[np.isfinite(differences)]
    tail = min(int((finite <= 0).sum()), int((finite >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (len(finite) + 1))


def shared_intervals(
    scores: Mapping[Key, BoundScore], *, n: int, n_resamples: int = 10_000, seed: int = 0
) -> dict[Key, Interval]:
    """Values and 95 % percentile intervals of many scores on the same resamples of n galaxies.

    Parameters
    ----------
    scores : key to bound score, each bound to the same n galaxies in the same order (its ``valid`` says which of them
        it uses); a `DerivedScore` names the keys that it combines.
    n : number of galaxies of the task.
    n_resamples, seed : the resamples depend on n, n_resamples and seed alone, so that calls with other models of the
        same task are paired with this one.

    Raises
    ------
    ValueError
        For n < 2, n_resamples < 1, scores of another length, fewer than 2 valid galaxies, derived scores of unknown
        keys, and scores that are undefined on these galaxies.
    """
    values, replicates = shared_replicates(scores, n=n, n_resamples=n_resamples, seed=seed)
    return {key: _interval(key, values[key], replicates[key]) for key in scores}


def shared_replicates(
    scores: Mapping[Key, BoundScore], *, n: int, n_resamples: int = 10_000, seed: int = 0
) -> tuple[dict[Key, float], dict[Key, Floats]]:
    """Values, and replicates (n_resamples,), of many scores on the same resamples; arguments as `shared_intervals`."""
    moments = {key: score for key, score in scores.items() if isinstance(score, BoundMoment)}
    orders = {key: score for key, score in scores.items() if isinstance(score, BoundOrder)}
    derived = {key: score for key, score in scores.items() if isinstance(score, DerivedScore)}
    _check_scores(moments, orders, derived, n)
    replicates = {key: np.empty(n_resamples) for key in (*moments, *orders)}
    everyone = np.arange(n)[None]
    table = _MomentTable(moments, n)
    values = {key: _evaluate_moment(score) for key, score in moments.items()}
    values |= {key: float(_evaluate_order(score, everyone)[0]) for key, score in orders.items()}
    for start, index in _index_chunks(n, n_resamples, seed):
        rows = slice(start, start + len(index))
        for key, column in table.evaluate(index).items():
            replicates[key][rows] = column
        for key, score in orders.items():
            replicates[key][rows] = _evaluate_order(score, index)
    for key, recipe in derived.items():
        parts = cast("tuple[Key, ...]", recipe.of)
        values[key] = float(recipe.combine(np.array([[values[part]] for part in parts]))[0])
        replicates[key] = recipe.combine(np.stack([replicates[part] for part in parts]))
    return values, replicates


class _MomentTable(Generic[Key]):
    """Statistics of all moment scores side by side, so that one product serves them all.

    Columns are centred and brought to unit size; the products run in float32, whose rounding then only touches the
    small departure of a resampled sum from its expectation; means and counts are added back in float64.
    """

    def __init__(self, moments: Mapping[Key, BoundMoment], n: int) -> None:
        self._combine = {key: score.combine for key, score in moments.items()}
        columns: list[Floats] = []
        self._places: dict[Key, tuple[slice, int]] = {}
        counts: dict[bytes, int] = {}
        for key, score in moments.items():
            start = len(columns)
            columns.extend(score.statistics.T)
            statistics = slice(start, len(columns))
            mask = score.valid.tobytes()
            if mask not in counts:
                counts[mask] = len(columns)
                columns.append(score.valid.astype(np.float64))
            self._places[key] = (statistics, counts[mask])
        table = np.stack(columns, axis=1) if columns else np.empty((n, 0))
        self._mean = table.mean(0)
        centred = table - self._mean
        self._size = np.abs(centred).max(0, initial=0.0)
        self._size[self._size == 0] = 1.0
        self._table = (centred / self._size).astype(np.float32)
        self._n = n

    def evaluate(self, index: NDArray[np.int64]) -> dict[Key, Floats]:
        """Scores (b,) of the resamples (b, n), by key."""
        if not self._places:
            return {}
        flat = (index + self._n * np.arange(len(index))[:, None]).ravel()
        weights = np.bincount(flat, minlength=index.size).reshape(index.shape).astype(np.float32)
        sums = (weights @ self._table).astype(np.float64) * self._size + self._n * self._mean
        result = {}
        for key, (statistics, count) in self._places.items():
            result[key] = self._combine[key](sums[:, statistics], np.rint(sums[:, count]))
        return result


def _evaluate_moment(score: BoundMoment) -> float:
    return float(score.combine(score.statistics.sum(0)[None], np.array([score.valid.sum()], dtype=float))[0])


def _evaluate_order(score: BoundOrder, index: NDArray[np.int64]) -> Floats:
    step = max(1, _ROW_CHUNK_VALUES // index.shape[1])
    parts = []
    all_valid = bool(score.valid.all())
    for start in range(0, len(index), step):
        rows = index[start : start + step]
        n_valid = np.full(len(rows), rows.shape[1]) if all_valid else score.valid[rows].sum(1)
        parts.append(score.evaluate(score.values[rows], n_valid))
    return np.concatenate(parts)


def _index_chunks(n: int, n_resamples: int, seed: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """(first resample, indices (b, n)) until n_resamples are drawn."""
    if n < 2:
        raise ValueError(f"{n} galaxies: an interval needs at least 2")
    if n_resamples < 1:
        raise ValueError(f"n_resamples = {n_resamples}: at least 1 is needed, 10000 is usual")
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK_VALUES // n)
    for start in range(0, n_resamples, step):
        yield start, rng.integers(0, n, size=(min(step, n_resamples - start), n))


def _interval(key: Hashable, value: float, replicates: Floats) -> Interval:
    """Percentile interval; few resamples may be undefined (all galaxies alike), many may not."""
    finite = replicates[np.isfinite(replicates)]
    if not np.isfinite(value) or len(finite) < (1 - _MOST_UNDEFINED) * len(replicates):
        raise ValueError(
            f"{key}: undefined on these galaxies, or on {len(replicates) - len(finite)} of {len(replicates)} resamples "
            "of them: are the truths constant, or too few?"
        )
    low, high = np.quantile(finite, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Interval(value, float(low), float(high))


def _bind(metric: str, y_true: ArrayLike, y_pred: ArrayLike) -> BoundScore:
    if metric in POINT_SCORES:
        return POINT_SCORES[metric].bind(y_true, y_pred)
    if metric == "crps":
        per_galaxy = crps_per_galaxy(y_true, y_pred)
        return mean_over_galaxies(per_galaxy.reshape(len(per_galaxy), -1).mean(1))
    if metric == "energy_score":
        return mean_over_galaxies(energy_score_per_galaxy(y_true, y_pred))
    known = ", ".join([*POINT_SCORES, "crps", "energy_score"])
    raise ValueError(f"metric {metric!r}: allowed are {known}, or a function f(y_true, y_pred)")


def _rows(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray, NDArray]:
    true, predicted = np.asarray(y_true), np.asarray(y_pred)
    if true.ndim == 0 or predicted.ndim == 0 or len(true) != len(predicted):
        raise ValueError(f"y_true has shape {true.shape} and y_pred {predicted.shape}: they need the same n rows")
    for name, values in (("y_true", true), ("y_pred", predicted)):
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"{name} has NaN or infinite values: leave those galaxies out")
    return true, predicted


def _check_scores(
    moments: Mapping[Key, BoundMoment], orders: Mapping[Key, BoundOrder], derived: Mapping[Key, DerivedScore], n: int
) -> None:
    bound: dict[Key, BoundMoment | BoundOrder] = {**moments, **orders}
    for key, score in bound.items():
        if len(score.valid) != n:
            raise ValueError(f"score {key} is bound to {len(score.valid)} galaxies, n = {n}: bind all to the same ones")
        if score.valid.sum() < 2:
            raise ValueError(f"score {key} has {int(score.valid.sum())} valid galaxies: at least 2 are needed")
    for key, recipe in derived.items():
        missing = [part for part in recipe.of if part not in bound]
        if missing or not recipe.of:
            raise ValueError(f"score {key} is made of {missing or 'nothing'}: give keys of moment or order scores")

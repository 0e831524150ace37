"""Bootstrap intervals over galaxies, with the same resamples for all scores of a call.

Resampling the test galaxies says how far a score depends on which galaxies were tested; what the training set and the
seed of a fit add is not in it.

References
----------
Efron 1979, doi:10.1214/aos/1176344552; Davison & Hinkley 1997, Bootstrap Methods and their Application, sections 2.4
and 3.8 (clusters).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posteriors.resampling.intervals import (
    Interval,
    IntervalMethod,
    design_effect,
    interval_of_replicates,
    two_sided_p_value,
)
from posteriors.resampling.replicates import cluster_codes, galaxy_weights, shared_jackknife, shared_replicates
from posteriors.scores import density
from posteriors.scores.classification import CLASS_SCORES, bind_classes
from posteriors.scores.resampling import POINT_SCORES, BoundScore, difference_of_scores, mean_over_galaxies

__all__ = [
    "NAMED_SCORES",
    "Interval",
    "IntervalMethod",
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

_DRAW_SCORES: Mapping[str, Callable[[ArrayLike, ArrayLike], Floats]] = {
    "crps": density.crps_per_galaxy,
    "energy_score": density.energy_score_per_galaxy,
    "coverage_68": lambda y_true, draws: density.central_coverage(density.pit_values(y_true, draws), 0.68).astype(
        float
    ),
    "coverage_95": lambda y_true, draws: density.central_coverage(density.pit_values(y_true, draws), 0.95).astype(
        float
    ),
}
_DENSITY_SCORES: Mapping[str, Callable[[ArrayLike, ArrayLike], Floats]] = {
    "nll_mixture": lambda y_true, log_prob: density.nll_mixture(log_prob),
    "nll_member_mean": lambda y_true, log_prob: density.nll_member_mean(log_prob),
    "nll_per_dim": lambda y_true, log_prob: density.nll_per_dim(log_prob, np.atleast_2d(np.asarray(y_true).T).shape[0]),
}
NAMED_SCORES = (*POINT_SCORES, *CLASS_SCORES, *_DRAW_SCORES, *_DENSITY_SCORES)
"""Names of scores that `bootstrap_ci` and `paired_bootstrap` know."""


@dataclass(frozen=True)
class PairedDifference:
    """Score of a minus score of b over the same galaxies, its 95 % interval and two-sided p-value.

    ``design_effect`` as in `Interval`.
    """

    delta: float
    low: float
    high: float
    p_value: float
    design_effect: float | None = None


def bootstrap_ci(
    metric: Metric,
    y_true: ArrayLike,
    y_pred: ArrayLike,
    n_resamples: int = 10_000,
    seed: int = 0,
    *,
    method: IntervalMethod = "percentile",
    clusters: ArrayLike | None = None,
) -> Interval:
    """A score with its 95 % bootstrap interval over galaxies.

    Parameters
    ----------
    metric : a name of `NAMED_SCORES`, or a function f(y_true, y_pred) -> float, called once for each resample.
    y_true : (n,), or (n, t) where the metric takes it.
    y_pred : predictions like ``y_true``; draws (n_draws, n[, t]) for ``crps``, ``energy_score`` and coverages; log
        densities (members, n) in nats for ``nll_*``.
    n_resamples : at least 1.
    seed : of the resamples: the same for all metrics of the same n.
    method : ``"percentile"``, or ``"bca"``: bias-corrected and accelerated, better for skewed scores at small n.
    clusters : (n,) labels of groups that are resampled as a whole, e.g. of sky regions; None: each galaxy by itself.

    Raises
    ------
    ValueError
        For an unknown metric or method, shapes that do not fit, fewer than 2 galaxies or clusters, NaN, or
        n_resamples < 1.
    """
    if not callable(metric):
        bound = {metric: _bind(metric, y_true, y_pred)}
        n = len(np.asarray(y_true))
        return shared_intervals(bound, n=n, n_resamples=n_resamples, seed=seed, method=method, clusters=clusters)[
            metric
        ]
    called = _Called(metric, *_rows(y_true, y_pred))
    return _interval_of_function(called, n_resamples, seed, method, clusters)[0]


def paired_bootstrap(
    metric: Metric,
    y_true: ArrayLike,
    y_pred_a: ArrayLike,
    y_pred_b: ArrayLike,
    n_resamples: int = 10_000,
    seed: int = 0,
    *,
    method: IntervalMethod = "percentile",
    clusters: ArrayLike | None = None,
) -> PairedDifference:
    """Difference of a score between two predictions of the same galaxies, both on the same resamples.

    Parameters and errors as `bootstrap_ci`; the p-value is `two_sided_p_value` of the differences.
    """
    if callable(metric):
        true, first = _rows(y_true, y_pred_a)
        _, second = _rows(y_true, y_pred_b)
        called = _Called(lambda y, a, b: metric(y, a) - metric(y, b), true, first, second)
        found, differences = _interval_of_function(called, n_resamples, seed, method, clusters)
    else:
        scores: dict[str, BoundScore] = {
            "a": _bind(metric, y_true, y_pred_a),
            "b": _bind(metric, y_true, y_pred_b),
            "difference": difference_of_scores("a", "b"),
        }
        n = len(np.asarray(y_true))
        intervals, replicates = _intervals(scores, ["difference"], n, n_resamples, seed, method, clusters)
        found, differences = intervals["difference"], replicates["difference"]
    return PairedDifference(found.value, found.low, found.high, two_sided_p_value(differences), found.design_effect)


def shared_intervals(
    scores: Mapping[Key, BoundScore],
    *,
    n: int,
    n_resamples: int = 10_000,
    seed: int = 0,
    method: IntervalMethod = "percentile",
    clusters: ArrayLike | None = None,
) -> dict[Key, Interval]:
    """Values and 95 % intervals of many scores on the same resamples of n galaxies.

    Parameters
    ----------
    scores : key to bound score, each bound to the same n galaxies in the same order (its ``valid`` says which of them
        it uses); a `DerivedScore` names the keys that it combines.
    n : number of galaxies of the task.
    n_resamples, seed : the resamples depend on n, n_resamples and seed alone, so that calls with other models of the
        same task are paired with this one.
    method, clusters : as `bootstrap_ci`.

    Raises
    ------
    ValueError
        For n < 2, n_resamples < 1, scores of another length, fewer than 2 valid galaxies, derived scores of unknown
        keys, and scores that are undefined on these galaxies.
    """
    return _intervals(scores, list(scores), n, n_resamples, seed, method, clusters)[0]


def _intervals(
    scores: Mapping[Key, BoundScore],
    asked: Sequence[Key],
    n: int,
    n_resamples: int,
    seed: int,
    method: IntervalMethod,
    clusters: ArrayLike | None,
) -> tuple[dict[Key, Interval], dict[Key, Floats]]:
    _check_method(method)
    codes = None if clusters is None else cluster_codes(clusters, n)
    values, replicates = shared_replicates(scores, n=n, n_resamples=n_resamples, seed=seed, codes=codes)
    effects: dict[Key, float] = {}
    if codes is not None:
        _, independent = shared_replicates(scores, n=n, n_resamples=n_resamples, seed=seed)
        effects = {key: design_effect(replicates[key], independent[key]) for key in asked}
    left_out = shared_jackknife(scores, codes) if method == "bca" else {}
    intervals = {
        key: interval_of_replicates(key, values[key], replicates[key], left_out.get(key), effects.get(key))
        for key in asked
    }
    return intervals, replicates


class _Called:
    """A function of the rows of some arrays, to be called on rows that are repeated."""

    def __init__(self, function: Callable[..., float], *arrays: NDArray) -> None:
        self._function, self._arrays = function, arrays
        self.n = len(arrays[0])

    def __call__(self, counts: NDArray) -> float:
        rows = np.repeat(np.arange(self.n), np.rint(counts).astype(np.int64))
        return float(self._function(*(array[rows] for array in self._arrays)))


def _interval_of_function(
    called: _Called, n_resamples: int, seed: int, method: IntervalMethod, clusters: ArrayLike | None
) -> tuple[Interval, Floats]:
    _check_method(method)
    n, codes = called.n, None if clusters is None else cluster_codes(clusters, called.n)

    def replicate(by: NDArray[np.int64] | None) -> Floats:
        return np.array([called(row) for _, weights in galaxy_weights(n, n_resamples, seed, by) for row in weights])

    replicates = replicate(codes)
    effect = None if codes is None else design_effect(replicates, replicate(None))
    left_out = None
    if method == "bca":
        units = np.arange(n) if codes is None else codes
        left_out = np.array([called(units != unit) for unit in range(int(units.max()) + 1)])
    return interval_of_replicates("the function", called(np.ones(n)), replicates, left_out, effect), replicates


def _bind(metric: str, y_true: ArrayLike, y_pred: ArrayLike) -> BoundScore:
    if metric in POINT_SCORES:
        return POINT_SCORES[metric].bind(y_true, y_pred)
    if metric in CLASS_SCORES:
        true, predicted = _rows(y_true, y_pred)
        n_classes = int(max(true.max(), predicted.max())) + 1
        return bind_classes(metric, true, predicted, np.ones(true.shape, dtype=bool), n_classes)
    if metric in _DRAW_SCORES or metric in _DENSITY_SCORES:
        per_galaxy = {**_DRAW_SCORES, **_DENSITY_SCORES}[metric](y_true, y_pred)
        return mean_over_galaxies(per_galaxy.reshape(len(per_galaxy), -1).mean(1))
    raise ValueError(f"metric {metric!r}: allowed are {', '.join(NAMED_SCORES)}, or a function f(y_true, y_pred)")


def _rows(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray, NDArray]:
    true, predicted = np.asarray(y_true), np.asarray(y_pred)
    if true.ndim == 0 or predicted.ndim == 0 or len(true) != len(predicted):
        raise ValueError(f"y_true has shape {true.shape} and y_pred {predicted.shape}: they need the same n rows")
    if len(true) < 2:
        raise ValueError(f"{len(true)} galaxies: an interval needs at least 2")
    for name, values in (("y_true", true), ("y_pred", predicted)):
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"{name} has NaN or infinite values: leave those galaxies out")
    return true, predicted


def _check_method(method: str) -> None:
    if method not in ("percentile", "bca"):
        raise ValueError(f"method {method!r}: allowed are 'percentile' and 'bca'")

"""What the tasks on point predictions share: scores with intervals and floors, on the same resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.artefacts import Predictions
from benchmark.contracts import GalaxybenchError, Score
from benchmark.tasks.floor import constant_prediction
from posteriors.resampling.bootstrap import Interval, shared_intervals
from posteriors.scores.resampling import POINT_SCORES, BoundScore, mean_of_scores

__all__ = ["CEILING", "RESAMPLED", "comparable_points", "known_errors", "point_scores"]

ScoreKey = tuple[str, str, str]  # whose, metric, target

CEILING = "r2_ceiling"
RESAMPLED = "labels=resampled"

_MIN_GALAXIES = 10  # below it a bootstrap interval says nothing


def point_scores(
    evidence: Predictions,
    training: NDArray[np.float64],
    metrics: tuple[str, ...],
    averaged: tuple[str, ...],
    *,
    seed: int,
    n_resamples: int,
) -> list[Score]:
    """Scores of every target by every metric; where labels have errors, against labels drawn anew too.

    The latter have the condition ``labels=resampled``, and with them ``r2_ceiling``: R2 of a prediction that knows the
    truth behind the labels. Targets of which fewer than ten galaxies have an error are left out.

    Parameters
    ----------
    evidence : predictions of n test galaxies; a galaxy whose truth of a target is missing is left out of it.
    training : (m, t) training targets, NaN = missing, which the floor is made from; no floor where there are none.
    metrics : names of point metrics.
    averaged : targets whose R2 is averaged as target ``mean``; none where there are fewer than two.
    seed : seed of the resamples, the same for every model.
    n_resamples : bootstrap resamples of the test galaxies.
    """
    valid = np.isfinite(evidence.truth)
    predictions = {"model": evidence.prediction}
    if np.isfinite(training).any(axis=0).all():  # a survey of published predictions may be all test: then no floor
        predictions["floor"] = constant_prediction(training, len(evidence.target_id))
    bound: dict[ScoreKey, BoundScore] = {}
    for number, name in enumerate(evidence.names):
        n_valid = int(valid[:, number].sum())
        if n_valid < _MIN_GALAXIES:
            raise GalaxybenchError(f"{n_valid} test galaxies have '{name}': a score needs at least {_MIN_GALAXIES}")
        truth = evidence.truth[:, number]
        for metric in metrics:
            for who, predicted in predictions.items():
                bound[who, metric, name] = POINT_SCORES[metric].bind(truth, predicted[:, number], valid[:, number])
    bound |= _against_resampled(evidence, predictions, metrics, averaged)
    counts = {name: int(valid[:, number].sum()) for number, name in enumerate(evidence.names)}
    if len(averaged) > 1:
        counts["mean"] = int(valid[:, [list(evidence.names).index(name) for name in averaged]].any(axis=1).sum())
        for who in predictions:
            bound[who, "r2", "mean"] = mean_of_scores([(who, "r2", name) for name in averaged])
    found = shared_intervals(bound, n=len(evidence.target_id), n_resamples=n_resamples, seed=seed)
    return [
        Score(metric, name, interval.value, interval.low, interval.high, counts[name], floor.value if floor else None)
        for (who, metric, name), interval in found.items()
        for floor in [found.get(("floor", metric, name))]
        if who == "model"
    ] + _resampled_scores(evidence, found, averaged)


def comparable_points(
    evidence: Predictions, metrics: Sequence[str], averaged: Sequence[str]
) -> dict[tuple[str, str], BoundScore]:
    """The scores of one model by (metric, target), bound to its galaxies; arguments as `point_scores`."""
    valid = np.isfinite(evidence.truth)
    bound: dict[tuple[str, str], BoundScore] = {
        (metric, name): POINT_SCORES[metric].bind(evidence.truth[:, i], evidence.prediction[:, i], valid[:, i])
        for i, name in enumerate(evidence.names)
        if valid[:, i].sum() >= _MIN_GALAXIES
        for metric in metrics
    }
    if len(averaged) > 1 and all(("r2", name) in bound for name in averaged):
        bound["r2", "mean"] = mean_of_scores([("r2", name) for name in averaged])
    return bound


def known_errors(evidence: Predictions) -> NDArray[np.bool_]:
    """(n, t) galaxies whose label of a target has an error; none of targets of which fewer than ten have one."""
    if evidence.resampled is None or evidence.label_error is None:
        return np.zeros(evidence.truth.shape, dtype=bool)
    known = np.isfinite(evidence.resampled) & np.isfinite(evidence.label_error) & np.isfinite(evidence.truth)
    return known & (known.sum(axis=0) >= _MIN_GALAXIES)


def _against_resampled(
    evidence: Predictions,
    predictions: Mapping[str, NDArray[np.float64]],
    metrics: Sequence[str],
    averaged: Sequence[str],
) -> dict[ScoreKey, BoundScore]:
    """Scores against labels drawn anew, and the ceiling."""
    known = known_errors(evidence)
    bound: dict[ScoreKey, BoundScore] = {}
    if evidence.resampled is None or evidence.label_error is None:
        return bound
    names = [name for number, name in enumerate(evidence.names) if known[:, number].any()]
    for name in names:
        number = list(evidence.names).index(name)
        truth, inside = evidence.truth[:, number], known[:, number]
        for who, predicted in predictions.items():
            for metric in metrics:
                score = POINT_SCORES[metric].bind(evidence.resampled[:, number], predicted[:, number], inside)
                bound[f"resampled {who}", metric, name] = score
        # squares alone enter: an offset of one sigma is as good as all the labels that could have been drawn
        best = truth + evidence.label_error[:, number]
        bound["resampled model", CEILING, name] = POINT_SCORES["r2"].bind(truth, best, inside)
    if len(averaged) > 1 and set(averaged) <= set(names):
        for metric, whos in (("r2", predictions), (CEILING, ("model",))):
            for who in whos:
                keys = [(f"resampled {who}", metric, name) for name in averaged]
                bound[f"resampled {who}", metric, "mean"] = mean_of_scores(keys)
    return bound


def _resampled_scores(
    evidence: Predictions, found: Mapping[ScoreKey, Interval], averaged: Sequence[str]
) -> list[Score]:
    known = known_errors(evidence)
    counts = {name: int(known[:, number].sum()) for number, name in enumerate(evidence.names)}
    counts["mean"] = int(known[:, [list(evidence.names).index(name) for name in averaged]].any(axis=1).sum())
    scores = []
    for (who, metric, name), interval in found.items():
        if who == "resampled model":
            floor = found.get(("resampled floor", metric, name))
            values = interval.value, interval.low, interval.high, counts[name], floor.value if floor else None
            scores.append(Score(metric, name, *values, condition=RESAMPLED))
    return scores

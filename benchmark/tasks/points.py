"""What the tasks on point predictions share: scores with intervals and floors, on the same resamples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmark.artefacts import Predictions
from benchmark.contracts import GalaxybenchError, Score
from benchmark.tasks.floor import constant_prediction
from posteriors.bootstrap import shared_intervals
from posteriors.scores.resampling import POINT_SCORES, BoundScore, mean_of_scores

__all__ = ["point_scores"]

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
    """Scores of every target by every metric.

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
    bound: dict[tuple[str, str, str], BoundScore] = {}
    for number, name in enumerate(evidence.names):
        n_valid = int(valid[:, number].sum())
        if n_valid < _MIN_GALAXIES:
            raise GalaxybenchError(f"{n_valid} test galaxies have '{name}': a score needs at least {_MIN_GALAXIES}")
        truth = evidence.truth[:, number]
        for metric in metrics:
            for who, predicted in predictions.items():
                bound[who, metric, name] = POINT_SCORES[metric].bind(truth, predicted[:, number], valid[:, number])
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
    ]

"""Physical properties as point predictions: R2 and RMSE of every numeric target, and the mean R2 of the ranked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.artefacts import Predictions
from benchmark.contracts import Score, TaskCard
from benchmark.tasks.eligible import every_target
from benchmark.tasks.points import CEILING, comparable_points, point_scores
from posteriors.scores.resampling import BoundScore

__all__ = ["TASK", "comparable", "score"]

_METRICS = ("r2", "rmse")


TASK = TaskCard(
    name="properties",
    version=2,
    needs="predictions",
    metrics=(*_METRICS, CEILING),
    score="benchmark.tasks.properties:score",
    comparable="benchmark.tasks.properties:comparable",
    targets=every_target,
    reason="has no numeric target",
    headline=("r2", "mean"),
    summary="every numeric target of the survey: R2 and RMSE, and the mean R2 over the ranked targets",
)


def score(
    evidence: Predictions, training: NDArray[np.float64], *, ranked: tuple[str, ...], seed: int, n_resamples: int
) -> tuple[list[Score], dict[str, Any]]:
    """Scores of (n, t) predictions, per target on the galaxies that have it, and the mean R2 over ``ranked``."""
    return point_scores(evidence, training, _METRICS, ranked, seed=seed, n_resamples=n_resamples), {}


def comparable(evidence: Predictions, *, ranked: tuple[str, ...]) -> dict[tuple[str, str], BoundScore]:
    """The scores by (metric, target), to be compared with those of other models of the same galaxies."""
    return comparable_points(evidence, _METRICS, ranked)

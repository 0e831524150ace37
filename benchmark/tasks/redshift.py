"""Redshift as a point prediction: R2, scatter, bias and outliers of dz = (z_predicted - z) / (1 + z)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.artefacts import Predictions
from benchmark.contracts import Score, Target, TaskCard
from benchmark.tasks.points import CEILING, comparable_points, point_scores
from posteriors.scores.resampling import BoundScore

__all__ = ["TASK", "comparable", "score"]

_METRICS = ("r2", "sigma_nmad", "bias", "outlier_fraction")


def _targets(targets: tuple[Target, ...]) -> tuple[str, ...]:
    return tuple(target.name for target in targets if target.name == "z")


TASK = TaskCard(
    name="redshift",
    version=2,
    needs="predictions",
    metrics=(*_METRICS, CEILING),
    score="benchmark.tasks.redshift:score",
    comparable="benchmark.tasks.redshift:comparable",
    targets=_targets,
    reason="has no redshift target 'z'",
    headline=("r2", "z"),
    summary="redshift of the test galaxies: R2, sigma_NMAD, bias, outlier fraction",
)


def score(
    evidence: Predictions, training: NDArray[np.float64], *, ranked: tuple[str, ...], seed: int, n_resamples: int
) -> tuple[list[Score], dict[str, Any]]:
    """Redshift scores of (n, 1) predictions; ``training`` (m, 1) holds the training redshifts, for the floor."""
    return point_scores(evidence, training, _METRICS, (), seed=seed, n_resamples=n_resamples), {}


def comparable(evidence: Predictions, *, ranked: tuple[str, ...]) -> dict[tuple[str, str], BoundScore]:
    """The scores by (metric, target), to be compared with those of other models of the same galaxies."""
    return comparable_points(evidence, _METRICS, ())

"""Scores of classes: against scikit-learn, at their limits, and under resampling."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from posteriors.resampling.bootstrap import shared_intervals
from posteriors.scores import accuracy, balanced_accuracy, f1_weighted
from posteriors.scores.classification import CLASS_SCORES, bind_classes

OURS = {"accuracy": accuracy, "f1_weighted": f1_weighted, "balanced_accuracy": balanced_accuracy}
SKLEARN = {
    "accuracy": accuracy_score,
    "f1_weighted": lambda true, predicted: f1_score(true, predicted, average="weighted", zero_division=0),
    "balanced_accuracy": balanced_accuracy_score,
}


def classes(n: int, prevalence: tuple[float, ...], right: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """True classes, and predictions that are right with a probability and drawn from the prevalence otherwise."""
    rng = np.random.default_rng(seed)
    true, other = (rng.choice(len(prevalence), n, p=prevalence) for _ in range(2))
    return true, np.where(rng.random(n) < right, true, other)


@pytest.mark.parametrize("metric", OURS)
@pytest.mark.parametrize("prevalence", [(0.5, 0.5), (0.9, 0.1), (0.2, 0.5, 0.3), (0.01, 0.04, 0.15, 0.8)])
@pytest.mark.parametrize("n", [7, 300])
def test_class_scores_are_those_of_scikit_learn(metric: str, prevalence: tuple[float, ...], n: int) -> None:
    true, predicted = classes(n, prevalence, right=0.6)
    predicted = np.where(np.isin(predicted, true), predicted, true)  # scikit-learn warns of classes that never occur
    assert OURS[metric](true, predicted) == pytest.approx(SKLEARN[metric](true, predicted), abs=1e-12)


@pytest.mark.parametrize("metric", OURS)
def test_perfect_permuted_and_constant_predictions_reach_their_known_scores(metric: str) -> None:
    prevalence = (0.6, 0.25, 0.15)
    true, _ = classes(40_000, prevalence, right=1.0)
    assert OURS[metric](true, true) == 1.0
    chance = {"accuracy": 0.445, "f1_weighted": 0.445, "balanced_accuracy": 1 / 3}  # sum p^2 = .445
    permuted = np.random.default_rng(1).permutation(true)
    assert OURS[metric](true, permuted) == pytest.approx(chance[metric], abs=0.01)  # 4 standard errors
    p = float((true == 0).mean())
    constant = {"accuracy": p, "f1_weighted": 2 * p**2 / (1 + p), "balanced_accuracy": 1 / 3}
    assert OURS[metric](true, np.zeros_like(true)) == pytest.approx(constant[metric], abs=1e-12)


def test_a_worked_example() -> None:
    true, predicted = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0]
    assert accuracy(true, predicted) == pytest.approx(4 / 6)
    assert balanced_accuracy(true, predicted) == pytest.approx((2 / 3 + 1 + 0) / 3)
    # F1: class 0 4/6, class 1 4/5, class 2 0
    assert f1_weighted(true, predicted) == pytest.approx((3 * 4 / 6 + 2 * 4 / 5) / 6)


@pytest.mark.parametrize("metric", CLASS_SCORES)
def test_resampled_scores_are_those_of_the_resampled_galaxies(metric: str) -> None:
    true, predicted = classes(250, (0.2, 0.5, 0.3), right=0.7)
    valid = np.random.default_rng(2).random(250) < 0.8
    bound = bind_classes(metric, true, predicted, valid, 4)
    rng = np.random.default_rng(3)
    for _ in range(20):
        rows = rng.integers(0, 250, 250)
        kept = rows[valid[rows]]
        got = bound.combine(bound.statistics[rows].sum(axis=0)[None], np.array([float(len(kept))]))[0]
        assert got == pytest.approx(OURS[metric](true[kept], predicted[kept]), abs=1e-12)


def test_the_interval_of_an_accuracy_is_the_binomial_one() -> None:
    true, predicted = classes(2000, (0.5, 0.5), right=0.6)
    bound = {"a": bind_classes("accuracy", true, predicted, np.ones(2000, dtype=bool), 2)}
    interval = shared_intervals(bound, n=2000, n_resamples=4000, seed=0)["a"]
    sigma = np.sqrt(interval.value * (1 - interval.value) / 2000)
    # 6 %: noise of two quantiles from 4000 draws
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * sigma, rel=0.06)


@pytest.mark.parametrize(
    ("true", "predicted", "message"),
    [
        ([0, 1], [0], r"y_true has shape \(2,\) and y_pred \(1,\)"),
        ([], [], "n at least 1"),
        ([0.0, 1.0], [0, 1], "dtype float64: must be integers"),
        ([0, -1], [0, 1], "classes -1 to 0: must be from 0"),
    ],
)
def test_what_is_no_class_is_refused(true: list, predicted: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        accuracy(true, predicted)


def test_a_class_beyond_the_number_of_classes_and_an_unknown_score_are_refused() -> None:
    everyone = np.ones(2, dtype=bool)
    with pytest.raises(ValueError, match="classes 0 to 2: must be from 0 to 1"):
        bind_classes("accuracy", np.array([0, 2]), np.array([0, 1]), everyone, 2)
    with pytest.raises(ValueError, match="metric 'f2': allowed are accuracy, f1_weighted, balanced_accuracy"):
        bind_classes("f2", np.array([0, 1]), np.array([0, 1]), everyone, 2)

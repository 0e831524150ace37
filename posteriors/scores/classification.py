"""Scores of class predictions, from the confusion matrix: f(y_true, y_pred) -> float over galaxies.

Classes are numbers 0 ... K - 1. A score is a function of the K x K confusion matrix alone, which is a sum over
galaxies: that is its form for resampling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posteriors.scores.resampling import BoundMoment

__all__ = ["CLASS_SCORES", "accuracy", "balanced_accuracy", "bind_classes", "f1_weighted"]

Floats = NDArray[np.float64]


def accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Share of galaxies whose class is right; a constant predictor reaches the prevalence of its class.

    Parameters
    ----------
    y_true, y_pred : (n,) class numbers, integers >= 0.

    Raises
    ------
    ValueError
        For shapes that differ, no galaxies, and numbers that are no classes.
    """
    return _evaluate("accuracy", y_true, y_pred)


def f1_weighted(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """F1 of every class, averaged with the classes' true counts as weights; arguments and errors as `accuracy`.

    A constant predictor of a class with prevalence p reaches 2 p^2 / (1 + p). A class that is never predicted has
    F1 = 0 (scikit-learn's ``zero_division=0``).
    """
    return _evaluate("f1_weighted", y_true, y_pred)


def balanced_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Recall averaged over the classes that occur; arguments and errors as `accuracy`.

    A constant predictor reaches 1 / (number of classes), however unequal they are.
    """
    return _evaluate("balanced_accuracy", y_true, y_pred)


def bind_classes(
    metric: str, y_true: NDArray[np.int64], y_pred: NDArray[np.int64], valid: NDArray[np.bool_], n_classes: int
) -> BoundMoment:
    """A score of `CLASS_SCORES` bound to (n,) classes of galaxies, to be resampled.

    Parameters
    ----------
    metric : name of the score.
    y_true, y_pred : (n,) class numbers below ``n_classes``; not looked at where ``valid`` is False.
    valid : (n,) True where a galaxy counts.
    n_classes : classes there are, whether they occur or not.

    Raises
    ------
    ValueError
        For an unknown score, shapes that differ, and numbers that are no classes.
    """
    if metric not in CLASS_SCORES:
        raise ValueError(f"metric {metric!r}: allowed are {', '.join(CLASS_SCORES)}")
    mask = np.asarray(valid, dtype=bool)
    true, predicted = np.asarray(y_true), np.asarray(y_pred)
    if true.ndim != 1 or true.shape != predicted.shape or true.shape != mask.shape:
        raise ValueError(f"truth {true.shape}, prediction {predicted.shape} and valid {mask.shape}: all must be (n,)")
    statistics = np.zeros((len(mask), n_classes**2))
    cell = _classes(true[mask], n_classes) * n_classes + _classes(predicted[mask], n_classes)
    statistics[np.flatnonzero(mask), cell] = 1.0
    score = CLASS_SCORES[metric]
    return BoundMoment(statistics, mask, lambda sums, _: score(np.rint(sums).reshape(-1, n_classes, n_classes)))


def _evaluate(metric: str, y_true: ArrayLike, y_pred: ArrayLike) -> float:
    true, predicted = np.asarray(y_true), np.asarray(y_pred)
    if true.ndim != 1 or true.shape != predicted.shape or not true.size:
        raise ValueError(f"y_true has shape {true.shape} and y_pred {predicted.shape}: both must be (n,), n at least 1")
    n_classes = int(max(true.max(), predicted.max())) + 1
    bound = bind_classes(metric, true, predicted, np.ones(true.shape, dtype=bool), n_classes)
    return float(bound.combine(bound.statistics.sum(axis=0)[None], np.array([float(len(true))]))[0])


def _classes(numbers: NDArray, n_classes: int) -> NDArray[np.int64]:
    if numbers.dtype.kind not in "iu":
        raise ValueError(f"classes have dtype {numbers.dtype}: must be integers from 0")
    if numbers.size and (numbers.min() < 0 or numbers.max() >= n_classes):
        raise ValueError(f"classes {numbers.min()} to {numbers.max()}: must be from 0 to {n_classes - 1}")
    return numbers.astype(np.int64)


def _accuracy(matrix: Floats) -> Floats:
    """From confusion matrices (B, K, K), true class by row, to (B,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.trace(matrix, axis1=1, axis2=2) / matrix.sum(axis=(1, 2))


def _f1_weighted(matrix: Floats) -> Floats:
    right = np.diagonal(matrix, axis1=1, axis2=2)
    true, predicted = matrix.sum(axis=2), matrix.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (true * 2 * right / np.maximum(true + predicted, 1)).sum(axis=1) / true.sum(axis=1)


def _balanced_accuracy(matrix: Floats) -> Floats:
    true = matrix.sum(axis=2)
    recall = np.diagonal(matrix, axis1=1, axis2=2) / np.maximum(true, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return recall.sum(axis=1) / (true > 0).sum(axis=1)


CLASS_SCORES: Mapping[str, Callable[[Floats], Floats]] = {
    "accuracy": _accuracy,
    "f1_weighted": _f1_weighted,
    "balanced_accuracy": _balanced_accuracy,
}
"""Scores of classes by their name on the board: from confusion matrices (B, K, K) to (B,)."""

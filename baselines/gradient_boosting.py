"""Gradient-boosted trees on magnitudes and colours: the floor that a photometric network has to beat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from baselines.photometry import magnitudes_and_colours, photometry_context
from baselines.rows import Rows, check_targets, read_columns
from encoders.row_order import content_order

__all__ = ["GradientBoosting"]


class GradientBoosting:
    """One `HistGradientBoostingRegressor` a target, the number of rounds chosen on the validation rows.

    Parameters
    ----------
    max_rounds : trees that are grown; those up to the lowest validation error are used.
    learning_rate : shrinkage of a tree.
    max_leaf_nodes : leaves of a tree.
    min_samples_leaf : training rows a leaf holds at least.
    l2 : penalty on a leaf's value.
    n_classes : classes of each target: one classifier a target, rounds by log loss, predictions are probabilities.
        None: numbers.

    Notes
    -----
    Magnitudes and adjacent colours are the inputs; a missing band is a NaN that the trees branch on. Each target is
    fitted on the rows that have it.

    References
    ----------
    Friedman 2001, doi:10.1214/aos/1013203451; Ke et al. 2017 (LightGBM, whose histograms scikit-learn follows).
    """

    def __init__(
        self,
        max_rounds: int = 400,
        learning_rate: float = 0.1,
        max_leaf_nodes: int = 31,
        min_samples_leaf: int = 20,
        l2: float = 0.0,
        n_classes: Sequence[int] | None = None,
    ) -> None:
        if max_rounds < 1:
            raise ValueError(f"max_rounds {max_rounds}: must be at least 1")
        self.max_rounds, self.learning_rate, self.l2 = max_rounds, learning_rate, l2
        self.max_leaf_nodes, self.min_samples_leaf = max_leaf_nodes, min_samples_leaf
        self.n_classes = n_classes
        self.rounds: list[int] = []
        self._trees: list[Any] = []
        self._n_bands = 0

    def fit(self, inputs: Rows, target: NDArray, *, validation: tuple[Rows, NDArray], seed: int) -> None:
        """Fit on AB magnitudes (n, bands), NaN = missing band, and targets (n, n_targets), NaN = missing.

        Raises
        ------
        ValueError
            If shapes do not fit, a value is infinite, or a target has no value among training or validation rows.
        """
        target = check_targets(inputs, target, "GradientBoosting")
        held_out = check_targets(*validation, "GradientBoosting (validation)")
        magnitudes = read_columns(inputs, "GradientBoosting", missing=True)
        self._n_bands = magnitudes.shape[1]
        order = content_order(np.hstack([magnitudes, target]), seed)  # sums of a histogram depend on the order of rows
        columns, target = magnitudes_and_colours(magnitudes[order]), target[order]
        columns_held_out = self._columns(validation[0])
        self.rounds, self._trees = [], []
        for part in self._parts(target.shape[1]):
            rows, known = np.isfinite(target[:, part.start]), np.isfinite(held_out[:, part.start])
            one, truth = target[rows, part], held_out[known, part]
            make = HistGradientBoostingClassifier if self.n_classes else HistGradientBoostingRegressor
            trees = make(
                max_iter=self.max_rounds,
                learning_rate=self.learning_rate,
                max_leaf_nodes=self.max_leaf_nodes,
                min_samples_leaf=self.min_samples_leaf,
                l2_regularization=self.l2,
                early_stopping=False,  # its own would hold out a random tenth
                random_state=seed,
            )
            trees.fit(columns[rows], one.argmax(axis=1) if self.n_classes else one[:, 0])
            self._trees.append(trees)
            staged = self._staged(trees, columns_held_out[known], one.shape[1])
            errors = [(_log_loss if self.n_classes else _squared_error)(truth, predicted) for predicted in staged]
            self.rounds.append(int(np.argmin(errors)) + 1)

    def predict(self, inputs: Rows) -> NDArray[np.float64]:
        """Predictions (n, n_targets) in the targets' units, or probabilities, by the trees up to the chosen round.

        Raises
        ------
        ValueError
            If `fit` was not called or the bands are others than in training.
        """
        columns = self._columns(inputs)
        widths = self.n_classes or [1] * len(self._trees)
        predicted = [
            next(islice(self._staged(trees, columns, width), rounds - 1, None))
            if len(columns)
            else np.empty((0, width))
            for trees, rounds, width in zip(self._trees, self.rounds, widths, strict=True)
        ]
        return np.hstack(predicted)

    def context(self, inputs: Rows) -> NDArray[np.float32]:
        """What a posterior is conditioned on, (n, 3 * bands - 1): see `photometry_context`.

        It needs no fit, has seen no label, and is the same for every recipe.
        """
        return photometry_context(inputs)

    def _parts(self, n_columns: int) -> list[slice]:
        """The columns of each target."""
        ends = np.cumsum(self.n_classes or [1] * n_columns).tolist()
        return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def _staged(self, trees: Any, columns: NDArray, width: int) -> Iterator[NDArray[np.float64]]:
        """Predictions (n, width) after one round, two, ...; a class that no training row has is given 0."""
        if not self.n_classes:
            yield from (predicted[:, None] for predicted in trees.staged_predict(columns))
            return
        for predicted in trees.staged_predict_proba(columns):
            probability = np.zeros((len(columns), width))
            probability[:, trees.classes_] = predicted
            yield probability

    def _columns(self, inputs: Rows) -> NDArray[np.float64]:
        if not self._n_bands:
            raise ValueError("GradientBoosting was not fitted yet: call fit first")
        return magnitudes_and_colours(read_columns(inputs, "GradientBoosting", missing=True, n_columns=self._n_bands))


def _squared_error(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    return float(np.mean((predicted - truth) ** 2))


def _log_loss(truth: NDArray[np.float64], probability: NDArray[np.float64]) -> float:
    return float(-np.log(np.maximum(probability[truth == 1], np.finfo(float).tiny)).mean())

"""Gradient-boosted trees on magnitudes and colours: the floor that a photometric network has to beat."""

from __future__ import annotations

from itertools import islice

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

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
    ) -> None:
        if max_rounds < 1:
            raise ValueError(f"max_rounds {max_rounds}: must be at least 1")
        self.max_rounds, self.learning_rate, self.l2 = max_rounds, learning_rate, l2
        self.max_leaf_nodes, self.min_samples_leaf = max_leaf_nodes, min_samples_leaf
        self.rounds: list[int] = []
        self._trees: list[HistGradientBoostingRegressor] = []
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
        for i in range(target.shape[1]):
            rows, known = np.isfinite(target[:, i]), np.isfinite(held_out[:, i])
            trees = HistGradientBoostingRegressor(
                max_iter=self.max_rounds,
                learning_rate=self.learning_rate,
                max_leaf_nodes=self.max_leaf_nodes,
                min_samples_leaf=self.min_samples_leaf,
                l2_regularization=self.l2,
                early_stopping=False,  # its own would hold out a random tenth
                random_state=seed,
            ).fit(columns[rows], target[rows, i])
            staged = trees.staged_predict(columns_held_out[known])
            errors = [np.mean((predicted - held_out[known, i]) ** 2) for predicted in staged]
            self.rounds.append(int(np.argmin(errors)) + 1)
            self._trees.append(trees)

    def predict(self, inputs: Rows) -> NDArray[np.float64]:
        """Predictions (n, n_targets) in the targets' units, by the trees up to the chosen round.

        Raises
        ------
        ValueError
            If `fit` was not called or the bands are others than in training.
        """
        columns = self._columns(inputs)
        predicted = [
            next(islice(trees.staged_predict(columns), rounds - 1, None)) if len(columns) else np.empty(0)
            for trees, rounds in zip(self._trees, self.rounds, strict=True)
        ]
        return np.column_stack(predicted)

    def context(self, inputs: Rows) -> NDArray[np.float32]:
        """What a posterior is conditioned on, (n, 3 * bands - 1): see `photometry_context`.

        It needs no fit, has seen no label, and is the same for every recipe.
        """
        return photometry_context(inputs)

    def _columns(self, inputs: Rows) -> NDArray[np.float64]:
        if not self._n_bands:
            raise ValueError("GradientBoosting was not fitted yet: call fit first")
        return magnitudes_and_colours(read_columns(inputs, "GradientBoosting", missing=True, n_columns=self._n_bands))

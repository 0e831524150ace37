"""Zero-shot probe: the distance-weighted mean over the nearest training embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from baselines.rows import Rows, check_targets, read_columns
from benchmark.config import HeadInputs
from benchmark.contracts import HeadCard
from benchmark.heads.scaling import InputScaling
from encoders.row_order import content_order
from posteriors.neighbours.exact import nearest, weighted_mean

__all__ = ["CARD", "KNNHead"]


class KNNHead:
    """k nearest neighbours with weights 1/distance.

    Parameters
    ----------
    k : neighbours; all training rows with the target where there are fewer.
    n_classes : classes of each target; their weighted shares among the neighbours are the probabilities.
    inputs : how the embedding is scaled, see `InputScaling`.

    Notes
    -----
    Distances are Euclidean; a galaxy that coincides with training galaxies takes their mean (as scikit-learn does).
    A target with gaps is predicted from the nearest rows that have it: one search serves all targets known for the
    same rows. Training rows are kept in an order made from their content, so that ties do not depend on the file.
    k = 64 is what AstroCLIP's evaluation code runs whatever it is asked for.

    References
    ----------
    Parker et al. 2024, arXiv:2310.03024, section 4.
    """

    def __init__(
        self, k: int = 64, inputs: HeadInputs = "standardised", n_classes: Sequence[int] | None = None
    ) -> None:
        if k < 1:
            raise ValueError(f"knn: k {k}: must be at least 1")
        self.k = k  # the mean of columns of 0 and 1 is their share: classes need nothing else
        self._scaling = InputScaling(inputs, "knn")
        self._embedding: NDArray[np.float64] = np.empty((0, 0))
        self._target: NDArray[np.float64] = np.empty((0, 0))

    def fit(self, inputs: Rows, target: NDArray, *, validation: tuple[Rows, NDArray], seed: int) -> None:
        """Keep the training embedding (n, d) and targets (n, n_targets), NaN = missing; nothing is chosen or drawn.

        Raises
        ------
        ValueError
            If shapes do not fit, a value is infinite, or a target has no value.
        """
        target = check_targets(inputs, target, "knn")
        embedding = self._scaling.fit(inputs)
        order = content_order(np.hstack([read_columns(inputs, "knn"), target]), seed=0)
        self._embedding, self._target = embedding[order], target[order]

    def predict(self, inputs: Rows) -> NDArray[np.float64]:
        """Predictions (n, n_targets) in the targets' units, within the range of the training targets.

        Raises
        ------
        ValueError
            If `fit` was not called, or the embedding is not a finite table of as many columns as in training.
        """
        embedding = self._scaling.transform(inputs)
        out = np.empty((len(embedding), self._target.shape[1]))
        if len(embedding):
            for columns, rows in gap_patterns(self._target):
                found = nearest(self._embedding[rows], embedding, min(self.k, rows.size))
                out[:, columns] = weighted_mean(self._target[np.ix_(rows, columns)], found)
        return out


def gap_patterns(target: NDArray) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Targets that are known for the same rows: pairs of (their columns, those rows) of ``target`` (n, n_targets)."""
    known = np.isfinite(target)
    patterns, of_column = np.unique(known, axis=1, return_inverse=True)
    of_column = of_column.ravel()
    return [(np.flatnonzero(of_column == i), np.flatnonzero(patterns[:, i])) for i in range(patterns.shape[1])]


CARD = HeadCard(
    name="knn",
    factory="benchmark.heads.knn:KNNHead",
    produces="predictions",
    summary="k nearest neighbours on the frozen embedding: 64 of them, distance-weighted, standardised (zero-shot)",
    options={"smoke": {}, "laptop": {}, "paper": {}},
)

"""Zero-shot probe: the distance-weighted mean over the nearest training embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.rows import Rows, check_targets
from benchmark.config import HeadInputs
from benchmark.contracts import HeadCard
from benchmark.heads.scaling import InputScaling

__all__ = ["CARD", "KNNHead"]


class KNNHead:
    """k nearest neighbours with weights 1/distance.

    Parameters
    ----------
    k : neighbours; all training rows with the target where there are fewer.
    inputs : how the embedding is scaled, see `InputScaling`.

    Notes
    -----
    Distances are Euclidean; a galaxy that coincides with training galaxies takes their mean (as scikit-learn does).
    A target with gaps is predicted from the nearest rows that have it: one search for each pattern of gaps. k = 64 is
    what AstroCLIP's evaluation code runs whatever it is asked for.

    References
    ----------
    Parker et al. 2024, arXiv:2310.03024, section 4.
    """

    def __init__(self, k: int = 64, inputs: HeadInputs = "standardised") -> None:
        if k < 1:
            raise ValueError(f"knn: k {k}: must be at least 1")
        self.k = k
        self._scaling = InputScaling(inputs, "knn")
        self._searches: list[tuple[NDArray[np.int64], Any]] = []
        self._n_targets = 0

    def fit(self, inputs: Rows, target: NDArray, *, validation: tuple[Rows, NDArray], seed: int) -> None:
        """Keep the training embedding (n, d) and targets (n, n_targets), NaN = missing; nothing is chosen or drawn.

        Raises
        ------
        ValueError
            If shapes do not fit, a value is infinite, or a target has no value.
        """
        from sklearn.neighbors import KNeighborsRegressor  # here for start-up time: listing probes stays light

        target = check_targets(inputs, target, "knn")
        embedding = self._scaling.fit(inputs)
        self._n_targets, self._searches = target.shape[1], []
        for columns, rows in gap_patterns(target):
            search = KNeighborsRegressor(min(self.k, rows.size), weights="distance")
            self._searches.append((columns, search.fit(embedding[rows], target[np.ix_(rows, columns)])))

    def predict(self, inputs: Rows) -> NDArray[np.float64]:
        """Predictions (n, n_targets) in the targets' units, within the range of the training targets.

        Raises
        ------
        ValueError
            If `fit` was not called, or the embedding is not a finite table of as many columns as in training.
        """
        embedding = self._scaling.transform(inputs)
        out = np.empty((len(embedding), self._n_targets))
        for columns, search in self._searches:
            out[:, columns] = search.predict(embedding) if len(embedding) else 0.0
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

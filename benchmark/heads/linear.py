"""Few-shot probe: ridge or logistic regression, its penalty chosen on the validation rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from baselines.rows import Rows, check_targets
from benchmark.config import HeadInputs
from benchmark.contracts import HeadCard
from benchmark.heads.knn import gap_patterns
from benchmark.heads.logistic import LogisticPath
from benchmark.heads.scaling import InputScaling

__all__ = ["CARD", "LinearHead"]

PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-14, 9))
"""1e-7 to 1e4, two a decade."""


class LinearHead:
    """Ridge regression with an intercept, a penalty for each target; of classes, `LogisticPath`.

    Parameters
    ----------
    inputs : how the embedding is scaled, see `InputScaling`.
    penalties : candidates, in units of (training rows) x (mean variance of a column): 1 shrinks a direction of
        average variance by half whatever the size of the sample and the units of the embedding. scikit-learn's
        ``Ridge(alpha)`` is ``alpha = penalty * n * mean variance``.
    n_classes : classes of each target: predictions are probabilities. None: numbers.

    Notes
    -----
    Each target is fitted on the rows that have it; one singular value decomposition serves all penalties and all
    targets known for the same rows. Raw inputs are the default: a ridge on standardised columns lets columns that
    hold only noise count as much as those that vary most (R2 of metallicity from pooled SDSS pixels: .50 raw, .38
    standardised, at the best penalty of each).

    References
    ----------
    Hoerl & Kennard 1970, doi:10.1080/00401706.1970.10488634.
    """

    def __init__(
        self,
        inputs: HeadInputs = "raw",
        penalties: Sequence[float] = PENALTIES,
        n_classes: Sequence[int] | None = None,
    ) -> None:
        if not penalties or min(penalties) <= 0:
            raise ValueError(f"linear: penalties {list(penalties)}: at least one, all positive")
        self.candidates = np.sort(np.asarray(penalties, dtype=np.float64))
        self.n_classes = n_classes
        self._scaling = InputScaling(inputs, "linear")
        self._classifiers: list[LogisticPath] = []
        self._coefficients = np.empty((0, 0))
        self._intercept = np.empty(0)
        self.penalties: NDArray[np.float64] = np.empty(0)

    def fit(self, inputs: Rows, target: NDArray, *, validation: tuple[Rows, NDArray], seed: int) -> None:
        """Fit on the embedding (n, d) and targets (n, n_targets), NaN = missing; nothing is drawn.

        Raises
        ------
        ValueError
            If shapes do not fit, a value is infinite, or a target has no value among training or validation rows.
        """
        target = check_targets(inputs, target, "linear")
        held_out = check_targets(*validation, "linear (validation)")
        embedding = self._scaling.fit(inputs)
        embedding_held_out = self._scaling.transform(validation[0])
        if self.n_classes:
            paths_held_out = (embedding_held_out, held_out)
            self._classifiers = _classifiers(embedding, target, paths_held_out, self.candidates, self.n_classes)
            self.penalties = np.array([classifier.penalty for classifier in self._classifiers])
            return
        self._coefficients = np.empty((embedding.shape[1], target.shape[1]))
        self._intercept, self.penalties = np.empty(target.shape[1]), np.empty(target.shape[1])
        for columns, rows in gap_patterns(target):
            x, y = embedding[rows], target[np.ix_(rows, columns)]
            paths = _ridge_paths(x - x.mean(axis=0), y - y.mean(axis=0), self.candidates)
            for place, column in enumerate(columns):
                known = np.isfinite(held_out[:, column])
                path = paths[:, :, place]
                predicted = (embedding_held_out[known] - x.mean(axis=0)) @ path.T + y[:, place].mean()
                errors = ((predicted - held_out[known, column][:, None]) ** 2).mean(axis=0)
                best = int(np.argmin(errors))
                self.penalties[column] = self.candidates[best]
                self._coefficients[:, column] = path[best]
                self._intercept[column] = y[:, place].mean() - x.mean(axis=0) @ path[best]

    def predict(self, inputs: Rows) -> NDArray[np.float64]:
        """Predictions (n, n_targets) in the targets' units, or probabilities of classes.

        Raises
        ------
        ValueError
            If `fit` was not called, or the embedding is not a finite table of as many columns as in training.
        """
        embedding = self._scaling.transform(inputs)
        if self.n_classes:
            return np.hstack([classifier.predict(embedding) for classifier in self._classifiers])
        return embedding @ self._coefficients + self._intercept


def _classifiers(
    embedding: NDArray,
    target: NDArray,
    validation: tuple[NDArray, NDArray],
    candidates: NDArray[np.float64],
    n_classes: Sequence[int],
) -> list[LogisticPath]:
    """A classifier a target, on the rows that have it."""
    found, start = [], 0
    for size in n_classes:
        columns = slice(start, start + size)
        start += size
        rows, known = (np.isfinite(values[:, columns]).all(axis=1) for values in (target, validation[1]))
        held_out = (validation[0][known], validation[1][known, columns].argmax(axis=1))
        path = LogisticPath(candidates, size)
        found.append(path.fit(embedding[rows], target[rows, columns].argmax(axis=1), held_out))
    return found


def _ridge_paths(x: NDArray, y: NDArray, penalties: NDArray) -> NDArray[np.float64]:
    """Coefficients (penalties, d, targets) of ridge regressions of centred y (n, targets) on centred x (n, d)."""
    left, singular, right = np.linalg.svd(x, full_matrices=False)
    variance = (singular**2).sum() / max(x.shape[1], 1)  # n times the mean variance of a column
    if variance == 0:
        return np.zeros((len(penalties), x.shape[1], y.shape[1]))
    shrunk = singular / (singular**2 + penalties[:, None] * variance)
    return np.einsum("kd,pk,kt->pdt", right, shrunk, left.T @ y, optimize=True)


CARD = HeadCard(
    name="linear",
    factory="benchmark.heads.linear:LinearHead",
    produces="predictions",
    summary="ridge or logistic regression on the frozen embedding, penalty chosen on validation (few-shot)",
    options={"smoke": {}, "laptop": {}, "paper": {}},
)

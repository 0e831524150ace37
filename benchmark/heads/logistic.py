"""Logistic regression on an embedding, its penalty chosen on the validation rows."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

__all__ = ["LogisticPath"]

_PATIENCE = 4  # weaker penalties in a row that do not improve the validation loss: two decades
_MAX_ITERATIONS = 1_000
_FLOOR = 1e-12  # of a probability in the loss: a class that no training row has must not make it infinite

Floats = NDArray[np.float64]


class LogisticPath:
    """Multinomial logistic regression with an intercept and an L2 penalty, from the strongest penalty to weaker ones.

    Parameters
    ----------
    penalties : candidates, in units of (training rows) x (mean variance of a column), as of `LinearHead`;
        scikit-learn's ``C`` is ``1 / (penalty * n * mean variance)``.
    n_classes : classes there are, whether the training rows have them or not.

    Attributes
    ----------
    penalty : the one with the lowest log loss on validation rows.

    Notes
    -----
    The penalty does not see a rotation, so the fit is made on principal components, of which there are no more than
    rows. The path ends once four weaker penalties in a row, or one whose fit does not converge, bring nothing: where
    classes can be separated, weaker ones are ever longer fits to ever larger coefficients.

    References
    ----------
    Le Cessie & van Houwelingen 1992, Appl. Stat. 41, 191.
    """

    def __init__(self, penalties: Floats, n_classes: int) -> None:
        self.candidates, self.n_classes = np.sort(penalties)[::-1], n_classes
        self.penalty = np.nan
        self._mean, self._axes = np.empty(0), np.empty((0, 0))
        self._present: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._coefficients, self._intercept = np.empty((0, 0)), np.empty(0)

    def fit(self, x: Floats, y: NDArray[np.int64], validation: tuple[Floats, NDArray[np.int64]]) -> LogisticPath:
        """Fit on an embedding (n, d) and classes (n,), numbers from 0; nothing is drawn.

        Raises
        ------
        ValueError
            If all training rows are of one class, or there are no validation rows.
        """
        from sklearn.linear_model import LogisticRegression  # here for start-up time

        self._present = np.unique(y)
        if len(self._present) < 2 or not len(validation[1]):
            raise ValueError(
                f"linear: {len(self._present)} classes among {len(y)} training rows, {len(validation[1])} validation "
                "rows: at least two classes and one validation row are needed"
            )
        components = self._principal_axes(x)
        model = LogisticRegression(max_iter=_MAX_ITERATIONS, tol=1e-6, warm_start=True)
        lowest, waited = np.inf, 0
        for penalty in self.candidates:
            model.C = 1 / (penalty * len(y))
            if waited >= _PATIENCE or not _fitted(model, components, y):
                break
            coefficients, intercept = _both_classes(model.coef_, model.intercept_)
            loss = self._loss(coefficients, intercept, *validation)
            if loss < lowest:
                lowest, waited, self.penalty = loss, 0, float(penalty)
                self._coefficients, self._intercept = coefficients, intercept
            else:
                waited += 1
        if not np.isfinite(lowest):
            raise ValueError(f"linear: no fit converges at penalties {self.candidates.tolist()}: give stronger ones")
        return self

    def predict(self, x: Floats) -> Floats:
        """Probabilities (n, n_classes); 0 for a class that no training row has."""
        return self._probabilities(x, self._coefficients, self._intercept)

    def _principal_axes(self, x: Floats) -> Floats:
        """Learn the axes and return components (n, k) of unit mean variance a column of ``x``."""
        self._mean = x.mean(axis=0)
        centred = x - self._mean
        _, singular, right = np.linalg.svd(centred, full_matrices=False)
        kept = (
            singular >= singular[0] * 1e-10
        )  # of an embedding that is the same for all, axes that nothing moves along
        scale = np.sqrt(centred.var(axis=0).mean()) or 1.0
        self._axes = right[kept].T / scale
        return centred @ self._axes

    def _probabilities(self, x: Floats, coefficients: Floats, intercept: Floats) -> Floats:
        logits = (x - self._mean) @ self._axes @ coefficients.T + intercept
        weight = np.exp(logits - logits.max(axis=1, keepdims=True))
        probability = np.zeros((len(x), self.n_classes))
        probability[:, self._present] = weight / weight.sum(axis=1, keepdims=True)
        return probability

    def _loss(self, coefficients: Floats, intercept: Floats, x: Floats, y: NDArray[np.int64]) -> float:
        found = self._probabilities(x, coefficients, intercept)[np.arange(len(y)), y]
        return float(-np.log(np.maximum(found, _FLOOR)).mean())


def _fitted(model: object, components: Floats, y: NDArray[np.int64]) -> bool:
    """Fit a scikit-learn model in place; whether it converged."""
    from sklearn.exceptions import ConvergenceWarning  # here for start-up time

    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(components, y)  # type: ignore[attr-defined]
        except ConvergenceWarning:
            return False
    return True


def _both_classes(coefficients: Floats, intercept: Floats) -> tuple[Floats, Floats]:
    """Logits a class; of two classes scikit-learn gives those of the second alone."""
    if len(coefficients) > 1:
        return coefficients.copy(), intercept.copy()
    return np.vstack([np.zeros_like(coefficients), coefficients]), np.append(0.0, intercept)

"""The mean of the training targets for every galaxy: the floor of every score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from baselines.rows import Rows, check_targets

__all__ = ["Constant"]


class Constant:
    """Predicts the training mean of each target and looks at no input.

    Its R2 on test galaxies is at or just below 0. A posterior on its `context` is the unconditional density.

    Parameters
    ----------
    n_classes : classes of each target; the means of columns of 0 and 1 are their shares. None: numbers.
    """

    def __init__(self, n_classes: Sequence[int] | None = None) -> None:
        self._mean: NDArray[np.float64] | None = None

    def fit(self, inputs: Rows, target: NDArray, *, validation: tuple[Rows, NDArray], seed: int) -> None:
        """Take the mean of each column of ``target`` (n, n_targets), NaN left out; nothing is chosen or drawn.

        Raises
        ------
        ValueError
            If shapes do not fit, a value is infinite, or a target has no value.
        """
        self._mean = np.nanmean(check_targets(inputs, target, "Constant"), axis=0)

    def predict(self, inputs: Rows) -> NDArray[np.float64]:
        """The training means (n, n_targets), one row a galaxy.

        Raises
        ------
        ValueError
            If `fit` was not called.
        """
        if self._mean is None:
            raise ValueError("Constant was not fitted yet: call fit first")
        return np.tile(self._mean, (len(inputs), 1))

    def context(self, inputs: Rows) -> NDArray[np.float32]:
        """One column of zeros (n, 1): the same for every galaxy."""
        return np.zeros((len(inputs), 1), dtype=np.float32)

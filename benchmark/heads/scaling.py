"""How a probe sees an embedding: as it is, standardised per column, or as unit vectors."""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import NDArray

from baselines.rows import Rows, read_columns
from baselines.scaling import ColumnScaling
from benchmark.config import HeadInputs

__all__ = ["InputScaling"]


class InputScaling:
    """Scaling of an embedding, fitted on the training rows of a probe.

    Parameters
    ----------
    inputs : ``raw`` leaves it as it is, ``standardised`` gives every column zero mean and unit variance over training
        rows (a constant column becomes 0), ``l2`` divides every row by its Euclidean norm (a row of zeros stays).
    reader : name of the probe, for messages.
    """

    def __init__(self, inputs: HeadInputs, reader: str) -> None:
        if inputs not in get_args(HeadInputs):
            raise ValueError(f"{reader}: inputs '{inputs}': must be one of {', '.join(get_args(HeadInputs))}")
        self.inputs, self.reader = inputs, reader
        self._columns: ColumnScaling | None = None

    def fit(self, embedding: Rows) -> NDArray[np.float64]:
        """Learn from training rows (n, d) and return them scaled.

        Raises
        ------
        ValueError
            If the embedding is not a finite table (n, d).
        """
        self._columns = ColumnScaling.fit(read_columns(embedding, self.reader))
        return self.transform(embedding)

    def transform(self, embedding: Rows) -> NDArray[np.float64]:
        """Rows (n, d) as the probe sees them, in float64.

        Raises
        ------
        ValueError
            If `fit` was not called, or the embedding is not a finite table of as many columns as in training.
        """
        if self._columns is None:
            raise ValueError(f"{self.reader} was not fitted yet: call fit first")
        table = read_columns(embedding, self.reader, n_columns=len(self._columns.mean))
        if self.inputs == "standardised":
            return self._columns.forward(table)
        if self.inputs == "l2":
            norm = np.linalg.norm(table, axis=1, keepdims=True)
            return table / np.where(norm > 0, norm, 1.0)
        return table

"""Column scaling that is fitted on training rows, kept with the model, and undone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ColumnScaling"]

_CONSTANT = 1e-7  # spread over size below which a column is constant: the resolution of the float32 it came from


@dataclass(frozen=True)
class ColumnScaling:
    """Zero mean and unit variance for every column.

    Attributes
    ----------
    mean : (columns,), in the columns' units.
    scale : (columns,), population standard deviation; 1 where a column is constant or has no value.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, table: NDArray, *, shared: bool = False) -> ColumnScaling:
        """Scaling of the rows of ``table`` (n, columns), NaN left out.

        Parameters
        ----------
        table : training rows.
        shared : ONE mean and one standard deviation over all columns, as AstroCLIP scales its magnitudes.
        """
        values = np.asarray(table, dtype=np.float64)
        if shared:
            one = cls.fit(values.reshape(-1, 1))
            return cls(np.repeat(one.mean, values.shape[1]), np.repeat(one.scale, values.shape[1]))
        known = np.isfinite(values)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, values, 0.0).sum(axis=0) / count
        scale = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(axis=0) / count)
        return cls(mean, np.where(scale > _CONSTANT * np.abs(mean), scale, 1.0))

    def forward(self, table: NDArray) -> NDArray[np.float64]:
        """Scaled columns; a NaN stays one."""
        return (np.asarray(table, dtype=np.float64) - self.mean) / self.scale

    def inverse(self, table: NDArray) -> NDArray[np.float64]:
        """The inverse of `forward`."""
        return np.asarray(table, dtype=np.float64) * self.scale + self.mean

"""Features of a row of magnitudes: the magnitudes, their adjacent colours, and which bands are missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from baselines.rows import Rows, read_columns
from baselines.scaling import ColumnScaling

__all__ = ["PhotometryFeatures", "magnitudes_and_colours", "photometry_context"]


def magnitudes_and_colours(magnitudes: NDArray) -> NDArray[np.float64]:
    """Magnitudes (n, bands) followed by the colours of adjacent bands (n, bands - 1), e.g. g, r, z, g-r, r-z.

    A colour with a missing band is missing (NaN).
    """
    return np.hstack([magnitudes, magnitudes[:, :-1] - magnitudes[:, 1:]])


class PhotometryFeatures:
    """Finite, scaled features of AB magnitudes with gaps.

    Parameters
    ----------
    colours : add the colours of adjacent bands.
    indicators : add a 0/1 column for every band that is missing somewhere in the training rows. A missing value
        itself is put at the training mean.
    shared : scale all magnitudes by ONE mean and standard deviation instead of one pair a column.
    """

    def __init__(self, *, colours: bool = True, indicators: bool = True, shared: bool = False) -> None:
        self.colours, self.indicators, self.shared = colours, indicators, shared
        self._scaling: ColumnScaling | None = None
        self._gaps = np.empty(0, dtype=np.int64)
        self._n_bands = 0

    def fit(self, inputs: Rows) -> None:
        """Learn scaling and gaps from the magnitudes (n, bands) of training rows; no label is seen.

        Raises
        ------
        ValueError
            If ``inputs`` are not a table, hold infinities, or have no rows.
        """
        magnitudes = read_columns(inputs, "photometry", missing=True)
        if len(magnitudes) == 0:
            raise ValueError("photometry was given 0 training rows: at least 1 is needed")
        self._n_bands = magnitudes.shape[1]
        self._gaps = np.flatnonzero(np.isnan(magnitudes).any(axis=0)) if self.indicators else self._gaps[:0]
        self._scaling = ColumnScaling.fit(self._columns(magnitudes), shared=self.shared)

    def transform(self, inputs: Rows) -> NDArray[np.float32]:
        """Features (n, columns) of magnitudes (n, bands): scaled columns, then indicators; every one finite.

        Raises
        ------
        ValueError
            If `fit` was not called, or ``inputs`` have other bands than the training rows or hold infinities.
        """
        if self._scaling is None:
            raise ValueError("photometry features have no scaling yet: call fit first")
        magnitudes = read_columns(inputs, "photometry", missing=True, n_columns=self._n_bands)
        scaled = np.nan_to_num(self._scaling.forward(self._columns(magnitudes)), nan=0.0)
        return np.hstack([scaled, np.isnan(magnitudes[:, self._gaps])]).astype(np.float32)

    def _columns(self, magnitudes: NDArray) -> NDArray[np.float64]:
        return magnitudes_and_colours(magnitudes) if self.colours else magnitudes


def photometry_context(inputs: Rows) -> NDArray[np.float32]:
    """What a posterior on photometry is conditioned on: nothing is learned, each row is read by itself.

    Parameters
    ----------
    inputs : AB magnitudes (n, bands), NaN = missing.

    Returns
    -------
    context : (n, 3 * bands - 1), finite: magnitudes as (m - 20) / 2, colours of adjacent bands, and 1 where a band is
        missing. A missing band is put at the mean of the galaxy's other bands, at 20 where all are missing. The
        constants bring magnitudes to about unit size; a posterior scales its context by itself.

    Raises
    ------
    ValueError
        If ``inputs`` are not a table or hold infinities.
    """
    magnitudes = read_columns(inputs, "photometry", missing=True)
    missing = np.isnan(magnitudes)
    n_known = np.count_nonzero(~missing, axis=1, keepdims=True)
    row_mean = np.where(missing, 0.0, magnitudes).sum(axis=1, keepdims=True) / np.maximum(n_known, 1)
    filled = np.where(missing, np.where(n_known > 0, row_mean, 20.0), magnitudes)
    colours = filled[:, :-1] - filled[:, 1:]
    return np.hstack([(filled - 20.0) / 2.0, colours, missing]).astype(np.float32)

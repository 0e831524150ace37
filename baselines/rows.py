"""What a model is given, row by row: inputs that are read in slices, targets with gaps; both checked at the border."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows", "check_targets", "read_columns"]


class Rows(Protocol):
    """Inputs (n, ...) that are loaded when rows are asked for; a numpy array is one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]: ...


def check_targets(inputs: Rows, target: NDArray, reader: str, *, every_column: bool = True) -> NDArray[np.float64]:
    """Targets (n, n_targets) in float64, NaN = missing.

    Parameters
    ----------
    inputs : inputs (n, ...).
    target : (n, n_targets).
    reader : name of the model, for messages.
    every_column : every target needs at least one value.

    Raises
    ------
    ValueError
        If the shapes do not fit, a value is infinite, or a target that needs a value has none.
    """
    values = np.asarray(target, dtype=np.float64)
    if values.ndim != 2 or len(values) != len(inputs):
        raise ValueError(
            f"{reader}: inputs of shape {tuple(inputs.shape)} with targets of shape {values.shape}: targets must be "
            f"({len(inputs)}, n_targets), one row a galaxy"
        )
    if np.isinf(values).any():
        raise ValueError(f"{reader}: targets hold infinite values: finite ones and NaN (= missing) are allowed")
    empty = np.flatnonzero(np.isnan(values).all(axis=0))
    if every_column and (len(values) == 0 or empty.size):
        raise ValueError(
            f"{reader}: no value in target columns {empty.tolist()} of {len(values)} rows: leave these targets out, or "
            "give labelled rows"
        )
    return values


def read_columns(inputs: Rows, reader: str, *, missing: bool = False, n_columns: int | None = None) -> NDArray:
    """All rows of a table (n, columns) as float64.

    Parameters
    ----------
    inputs : the table.
    reader : name of the model, for messages.
    missing : NaN is allowed (infinities never are).
    n_columns : the number of columns the model was fitted on, None for any.

    Raises
    ------
    ValueError
        If the table has another rank or number of columns, or holds values that are not allowed (the first row is
        named).
    """
    shape = tuple(inputs.shape)
    if len(shape) != 2 or shape[1] == 0:
        raise ValueError(f"{reader} was given inputs of shape {shape}: it reads a table (n, columns)")
    if n_columns is not None and shape[1] != n_columns:
        raise ValueError(f"{reader} was given {shape[1]} columns: it was fitted on {n_columns}; give the same ones")
    table = np.asarray(inputs[:], dtype=np.float64)
    bad = np.isinf(table) if missing else ~np.isfinite(table)
    if bad.any():
        rows = np.flatnonzero(bad.any(axis=1))
        allowed = "finite values and NaN (= missing)" if missing else "finite values only"
        raise ValueError(
            f"{reader}: {rows.size} rows hold {'infinite' if missing else 'NaN or infinite'} values, first row "
            f"{rows[0]}: {allowed} are allowed"
        )
    return table

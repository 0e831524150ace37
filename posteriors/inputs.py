"""Checks at the border: arrays or tensors of any dtype become finite float64 arrays of two dimensions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["as_context", "as_pair", "as_target", "check_context", "check_ids"]

_CHUNK_ROWS = 4_096


def as_context(context: ArrayLike, name: str = "context") -> NDArray[np.float64]:
    """Context (n, c) as float64.

    Raises
    ------
    ValueError
        If it has another number of dimensions, no column, or a value that is not finite.
    """
    array = _as_float(context, name)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} of shape {array.shape}: (n, c) with c >= 1 is needed")
    return array


def check_context(context: ArrayLike, name: str = "context") -> NDArray:
    """Context (n, c) as it is, of any real type: a large one is neither copied nor, on a disk, read as a whole.

    Raises
    ------
    ValueError
        As `as_context`.
    """
    values = context.detach().cpu() if hasattr(context, "detach") else context
    array = np.asanyarray(values)
    known = array.ndim == 2 and array.shape[1] > 0 and array.dtype.kind in "fiu"
    starts = range(0, len(array), _CHUNK_ROWS) if known else ()
    if known and all(np.isfinite(array[start : start + _CHUNK_ROWS]).all() for start in starts):
        return array
    return as_context(array, name)  # other types, and the error that says what is wrong


def as_target(target: ArrayLike, name: str = "target") -> NDArray[np.float64]:
    """Target (n, t) or (n,) as float64 (n, t).

    Raises
    ------
    ValueError
        If it has another number of dimensions, no column, or a value that is not finite.
    """
    array = _as_float(target, name)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} of shape {array.shape}: (n, t) or (n,) with t >= 1 is needed")
    return array


def as_pair(context: ArrayLike, target: ArrayLike, name: str = "") -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Context (n, c) and target (n, t) of the same galaxies.

    Raises
    ------
    ValueError
        As `as_context` and `as_target`, and if the numbers of rows differ or are 0.
    """
    context_nc, target_nt = as_context(context, f"{name}context"), as_target(target, f"{name}target")
    if len(context_nc) != len(target_nt) or not len(context_nc):
        raise ValueError(
            f"{name}context has shape {context_nc.shape} and {name}target {target_nt.shape}: "
            "one row for each of the same galaxies is needed in both, at least one"
        )
    return context_nc, target_nt


def check_ids(ids: ArrayLike, n_rows: int) -> NDArray:
    """Ids (n,) if they are unique and as many as rows.

    Raises
    ------
    ValueError
        If their number is not ``n_rows`` or some id is repeated.
    """
    array = np.asarray(ids)
    if array.shape != (n_rows,):
        raise ValueError(f"ids of shape {array.shape}: ({n_rows},) is needed, one for each row")
    values, counts = np.unique(array, return_counts=True)
    if len(values) < n_rows:
        raise ValueError(f"{int((counts > 1).sum())} ids are repeated, the first is {values[counts > 1][0]}")
    return array


def _as_float(values: ArrayLike, name: str) -> NDArray[np.float64]:
    detached = values.detach().cpu() if hasattr(values, "detach") else values
    array = np.asarray(detached, dtype=np.float64)
    bad = ~np.isfinite(array)
    if bad.any():
        place = tuple(int(position) for position in np.argwhere(bad)[0])
        raise ValueError(
            f"{name} has {int(bad.sum())} values that are NaN or infinite, the first at {place}: "
            "drop or fill those rows first"
        )
    return array

"""Exact nearest neighbours by chunked matrix products; one search serves all targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posteriors.inputs import as_context

__all__ = ["Neighbours", "Search", "check_search", "nearest", "neighbour_regression", "weighted_mean"]

_CHUNK_VALUES = 1_500_000  # float32 distances held at once: 6 MB
_LEAST_QUERIES = 64
_GROUP = 8  # columns whose minimum is taken first
_PAIR_VALUES = 100_000
_EPS = float(np.finfo(np.float32).eps)
_PRECISION = 1e-5  # of squared distances; float64 is asked for where float32 does not give it

Floats = NDArray[np.float64]
Weights = Literal["distance", "uniform"]


@dataclass(frozen=True)
class Neighbours:
    """The k nearest reference rows of each query, nearest first; ties go to the lower row.

    Attributes
    ----------
    index : (n_queries, k) rows of the reference.
    distance : (n_queries, k) Euclidean distances.
    recall : share of the true neighbours that are among these: 1 for the exact search, measured for others.
    """

    index: NDArray[np.int64]
    distance: Floats
    recall: float = 1.0


Search = Callable[[ArrayLike, ArrayLike, int], Neighbours]
"""From reference rows (n, d), queries (n_queries, d) and k to neighbours."""


def nearest(reference: ArrayLike, query: ArrayLike, k: int) -> Neighbours:
    """Find the k nearest rows of ``reference`` for every row of ``query``, exactly.

    Distances are screened in float32; neighbours that its rounding cannot tell apart are compared in float64, as are
    small distances, so that the neighbours and their order are exact and distances good to 5e-6 of themselves.

    Parameters
    ----------
    reference : (n, d), scaled so that Euclidean distances mean something.
    query : (n_queries, d).
    k : 1 to n.

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, and k out of range.
    """
    rows, queries = as_context(reference, "reference"), as_context(query, "query")
    check_search(rows, queries, k)
    centre = rows.mean(0)  # distances do not change, float32 products keep more digits
    table = _Table(rows - centre)
    index = np.empty((len(queries), k), dtype=np.int64)
    distance = np.empty((len(queries), k))
    step = max(_LEAST_QUERIES, _CHUNK_VALUES // len(rows))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        index[part], distance[part] = _search(table, queries[part] - centre, k)
    return Neighbours(index, distance)


def check_search(rows: Floats, queries: Floats, k: int) -> None:
    """Refuse a search for k neighbours of queries (n_queries, d) among rows (n, d) that cannot be made.

    Raises
    ------
    ValueError
        For unequal numbers of columns, and k out of range.
    """
    if rows.shape[1] != queries.shape[1]:
        raise ValueError(f"reference has {rows.shape[1]} columns and query {queries.shape[1]}: they must agree")
    if not 1 <= k <= len(rows):
        raise ValueError(f"k = {k}: 1 to {len(rows)}, the number of reference rows, are allowed")


def weighted_mean(target: ArrayLike, neighbours: Neighbours, weights: Weights = "distance") -> Floats:
    """Mean of the neighbours' targets, weighted by 1 / distance.

    A query at distance 0 from some neighbours takes the plain mean of those alone, as scikit-learn's
    ``KNeighborsRegressor(weights="distance")`` does.

    Parameters
    ----------
    target : (n, t) or (n,) targets of the reference rows, finite where they are used.
    neighbours : of the queries.
    weights : ``"distance"`` or ``"uniform"``.

    Returns
    -------
    (n_queries, t) or (n_queries,).
    """
    values = np.asarray(target, dtype=np.float64)
    if weights == "uniform":
        weight = np.ones_like(neighbours.distance)
    elif weights == "distance":
        zero = neighbours.distance == 0
        with np.errstate(divide="ignore"):
            weight = np.where(zero.any(1)[:, None], zero, 1 / neighbours.distance)
    else:
        raise ValueError(f"weights {weights!r}: allowed are 'distance' and 'uniform'")
    weight /= weight.sum(1, keepdims=True)
    return np.einsum("qk,qk...->q...", weight, values[neighbours.index])


def neighbour_regression(
    reference: ArrayLike,
    target: ArrayLike,
    query: ArrayLike,
    k: int,
    weights: Weights = "distance",
    search: Search | None = None,
) -> Floats:
    """Predict targets by the k nearest reference rows that have them.

    Parameters
    ----------
    reference, query : (n, d) and (n_queries, d), scaled.
    target : (n, t), NaN where missing. Targets that miss the same rows share one search; each search looks only at
        the rows that have the target, so that every prediction rests on k neighbours.
    k : at most the number of rows that have each target.
    search : finds the neighbours; None: `nearest`. For very large samples
        `posteriors.neighbours.graph.nearest_by_graph`.

    Returns
    -------
    (n_queries, t) predictions, never NaN.

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite in reference or query, infinite targets, and targets
        with fewer than k values.
    """
    rows, values = as_context(reference, "reference"), np.asarray(target, dtype=np.float64)
    if values.ndim != 2 or len(values) != len(rows):
        raise ValueError(f"target has shape {values.shape} and reference {rows.shape}: (n, t) and (n, d) are needed")
    if np.isinf(values).any():
        raise ValueError(f"target has {int(np.isinf(values).sum())} infinite values: NaN marks a missing one")
    known = np.isfinite(values)
    patterns: dict[bytes, list[int]] = {}
    for column in range(values.shape[1]):
        patterns.setdefault(known[:, column].tobytes(), []).append(column)
    prediction: Floats | None = None
    for columns in patterns.values():
        usable = known[:, columns[0]]
        if usable.sum() < k:
            raise ValueError(f"target column {columns[0]} has {int(usable.sum())} values: at least k = {k} are needed")
        found = (search or nearest)(rows if usable.all() else rows[usable], query, k)
        if prediction is None:
            prediction = np.empty((len(found.index), values.shape[1]))
        prediction[:, columns] = weighted_mean(values[usable][:, columns], found, weights)
    if prediction is None:
        raise ValueError("target has no column: (n, t) with t >= 1 is needed")
    return prediction


class _Table:
    """Reference rows (n, d) about their mean, in both precisions."""

    def __init__(self, rows: Floats) -> None:
        self.rows = rows
        self.single = rows.astype(np.float32)
        norms = np.einsum("nd,nd->n", rows, rows)
        self.half_norms = (0.5 * norms).astype(np.float32)
        self.largest = float(np.sqrt(norms.max()))


def _search(table: _Table, queries: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
    """The k nearest rows and their distances, ranked by |row|^2 / 2 - row . query in float32.

    Of the k + 1 nearest, those that float32 cannot tell apart, and those whose distance is small beside the rounding,
    are compared in float64; where the k-th is in doubt, so is every row that could take its place.
    """
    half = queries.astype(np.float32) @ table.single.T
    np.subtract(table.half_norms, half, out=half)
    norms = np.einsum("qd,qd->q", queries, queries)
    column, value = _smallest(half, min(k + 1, len(table.rows)))
    product = np.abs(table.half_norms[column] - value).max(1)
    rounding = _EPS * table.largest * (2 * np.sqrt(norms) + table.largest)
    rounding += _EPS * 0.5 * np.sqrt(queries.shape[1]) * product
    squared = 2 * value.astype(np.float64) + norms[:, None]
    close = np.diff(value, axis=1) <= 2 * rounding[:, None]
    doubtful = np.flatnonzero(close[:, k - 1]) if value.shape[1] > k else np.empty(0, dtype=np.int64)
    vague = squared * _PRECISION < 2 * rounding[:, None]
    vague[:, :-1] |= close
    vague[:, 1:] |= close
    row, place = np.nonzero(vague)
    squared[row, place] = _squared_distances(table.rows, queries, column[row, place], row)
    again = np.unique(row)
    order = np.lexsort((column[again], squared[again]), axis=1)
    column[again] = np.take_along_axis(column[again], order, 1)
    squared[again] = np.take_along_axis(squared[again], order, 1)
    index, nearest_squared = column[:, :k], squared[:, :k]
    for query in doubtful:
        candidates = np.flatnonzero(half[query] <= value[query, k - 1] + 2 * rounding[query])
        exact = _squared_distances(table.rows, queries, candidates, np.full(len(candidates), query))
        chosen = np.argsort(exact, kind="stable")[:k]
        index[query], nearest_squared[query] = candidates[chosen], exact[chosen]
    return index, np.sqrt(np.maximum(nearest_squared, 0.0))


def _squared_distances(rows: Floats, queries: Floats, row: NDArray[np.int64], query: NDArray[np.int64]) -> Floats:
    """Squared distances in float64 of pairs of one row and one query."""
    squared = np.empty(len(row))
    step = max(1, _PAIR_VALUES // rows.shape[1])
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        offset = rows[row[part]] - queries[query[part]]
        squared[part] = np.einsum("nd,nd->n", offset, offset)
    return squared


def _smallest(values: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Columns (n, count) of the smallest values of each row, in order, ties by column; and the values.

    In two stages: the ``count``-th smallest minimum over groups of columns is at least the ``count``-th smallest value,
    and few values lie below it.
    """
    n_rows, n_columns = values.shape
    n_groups = n_columns // _GROUP
    if n_groups <= count:
        border = np.partition(values, count - 1, axis=1)[:, count - 1]
    else:
        minima = values[:, :n_groups]
        for member in range(1, _GROUP):
            minima = np.minimum(minima, values[:, member * n_groups : (member + 1) * n_groups])
        border = np.partition(minima, count - 1, axis=1)[:, count - 1]
    place = np.flatnonzero(values <= border[:, None])
    row = place // n_columns
    found = np.bincount(row, minlength=n_rows)
    first = np.cumsum(found) - found
    # sorted as whole numbers: the value above, the column below
    keys = np.full((n_rows, int(found.max())), np.iinfo(np.int64).max)
    keys[row, np.arange(len(place)) - first[row]] = _sortable(values.reshape(-1)[place]) << 32 | (
        place - row * n_columns
    )
    keys.sort(axis=1)
    column = keys[:, :count] & 0xFFFFFFFF
    return column, np.take_along_axis(values, column, 1)


def _sortable(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Whole numbers that are ordered as the values are: the bits of a float, with the magnitude of negatives turned."""
    bits = (values + np.float32(0)).view(np.int32)  # -0 becomes 0
    return np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)

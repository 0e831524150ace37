"""Exact nearest neighbours by chunked matrix products; one search serves all targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posteriors.inputs import as_context

__all__ = ["Neighbours", "nearest", "neighbour_regression", "weighted_mean"]

_CHUNK_VALUES = 4_000_000  # float32 distances held at once: 16 MB
_SPARE = 8  # candidates beyond k kept from the float32 search
_ROUNDING = 16 * float(np.finfo(np.float32).eps)

Floats = NDArray[np.float64]
Weights = Literal["distance", "uniform"]


@dataclass(frozen=True)
class Neighbours:
    """The k nearest reference rows of each query, nearest first; ties go to the lower row.

    Attributes
    ----------
    index : (n_queries, k) rows of the reference.
    distance : (n_queries, k) Euclidean distances.
    """

    index: NDArray[np.int64]
    distance: Floats


def nearest(reference: ArrayLike, query: ArrayLike, k: int) -> Neighbours:
    """Find the k nearest rows of ``reference`` for every row of ``query``, exactly.

    Distances are screened in float32; the candidates, and every query whose k-th neighbour float32 cannot settle, are
    compared in float64.

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
    if rows.shape[1] != queries.shape[1]:
        raise ValueError(f"reference has {rows.shape[1]} columns and query {queries.shape[1]}: they must agree")
    if not 1 <= k <= len(rows):
        raise ValueError(f"k = {k}: 1 to {len(rows)}, the number of reference rows, are allowed")
    centre = rows.mean(0)  # distances do not change, float32 products keep more digits
    rows, queries = rows - centre, queries - centre
    rows32, squares = rows.astype(np.float32), np.square(rows).sum(1)
    index = np.empty((len(queries), k), dtype=np.int64)
    distance = np.empty((len(queries), k))
    step = max(1, _CHUNK_VALUES // len(rows))
    for start in range(0, len(queries), step):
        chunk = queries[start : start + step]
        screened = squares.astype(np.float32) - 2 * (chunk.astype(np.float32) @ rows32.T)
        n_candidates = min(len(rows), k + _SPARE)
        candidates, edge = _smallest(screened, n_candidates)
        found, exact = _order_exactly(rows, chunk, candidates, k)
        if n_candidates < len(rows):
            norms = np.square(chunk).sum(1)
            # a row of a larger norm than |query| + distance k is farther away than neighbour k, whatever its rounding
            reach = np.square(np.sqrt(exact[:, -1]) + np.sqrt(norms))
            for row in np.flatnonzero(exact[:, -1] - norms + _ROUNDING * (reach + norms) >= edge):
                everyone = np.arange(len(rows))[None]
                found[row], exact[row] = _order_exactly(rows, chunk[row : row + 1], everyone, k)
        index[start : start + step], distance[start : start + step] = found, np.sqrt(exact)
    return Neighbours(index, distance)


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
    reference: ArrayLike, target: ArrayLike, query: ArrayLike, k: int, weights: Weights = "distance"
) -> Floats:
    """Predict targets by the k nearest reference rows that have them.

    Parameters
    ----------
    reference, query : (n, d) and (n_queries, d), scaled.
    target : (n, t), NaN where missing. Targets that miss the same rows share one search; each search looks only at
        the rows that have the target, so that every prediction rests on k neighbours.
    k : at most the number of rows that have each target.

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
    patterns, pattern_of = np.unique(known, axis=1, return_inverse=True)
    prediction: Floats | None = None
    for number in range(patterns.shape[1]):
        columns, usable = np.flatnonzero(pattern_of == number), patterns[:, number]
        if usable.sum() < k:
            raise ValueError(f"target column {columns[0]} has {int(usable.sum())} values: at least k = {k} are needed")
        found = nearest(rows[usable], query, k)
        if prediction is None:
            prediction = np.empty((len(found.index), values.shape[1]))
        prediction[:, columns] = weighted_mean(values[np.ix_(usable, columns)], found, weights)
    if prediction is None:
        raise ValueError("target has no column: (n, t) with t >= 1 is needed")
    return prediction


def _smallest(values: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], Floats]:
    """Columns of the ``count`` smallest values of each row, in any order, and the largest of them."""
    if count == values.shape[1]:
        everyone = np.broadcast_to(np.arange(count), values.shape)
        return everyone, np.full(len(values), np.inf)
    chosen = np.argpartition(values, count - 1, axis=1)[:, :count]
    return chosen, values[np.arange(len(values)), chosen[:, -1]].astype(np.float64)


def _order_exactly(
    rows: Floats, queries: Floats, candidates: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], Floats]:
    """The k nearest candidates in float64, ties by row, and their squared distances."""
    ordered = np.sort(candidates, axis=1)
    squared = np.stack([np.square(rows[chosen] - query).sum(1) for chosen, query in zip(ordered, queries, strict=True)])
    place = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(ordered, place, 1), np.take_along_axis(squared, place, 1)

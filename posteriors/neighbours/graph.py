"""Nearest neighbours by a graph of the rows (HNSW), for samples too large for the exact search; the recall is measured.

Exact search costs rows x queries; from some 10^5 of each on a graph is faster, and misses a few neighbours. How many is
measured on some of the queries each time, and belongs beside every number that is made from the result.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from posteriors.inputs import as_context
from posteriors.neighbours.exact import Neighbours, check_search, nearest

__all__ = ["nearest_by_graph"]

_CONNECTIVITY = 16  # edges of a row, the usual choice


def nearest_by_graph(
    reference: ArrayLike,
    query: ArrayLike,
    k: int,
    *,
    expansion: int = 256,
    n_checked: int = 200,
    seed: int = 0,
    n_threads: int = 1,
) -> Neighbours:
    """Find nearly all of the k nearest rows, by the index of the package usearch, which has to be installed.

    Parameters
    ----------
    reference, query, k : as `posteriors.neighbours.exact.nearest`.
    expansion : candidates looked at while the graph is built and searched, at least k are used: more of them find more
        neighbours and take longer.
    n_checked : queries, chosen at random, that are searched exactly too; all where there are fewer.
    seed : of that choice.
    n_threads : 1 gives the same graph every time.

    Returns
    -------
    Neighbours whose ``recall`` is the share of true neighbours found for the checked queries. Distances are float64 of
    the rows found; order and ties as in the exact search.

    Raises
    ------
    ImportError
        If usearch is missing: ``pip install galaxybench[neighbours]``.
    ValueError
        As `posteriors.neighbours.exact.nearest`, and for n_checked, expansion or n_threads below 1.

    References
    ----------
    Malkov & Yashunin 2018, arXiv:1603.09320.
    """
    from usearch.index import Index  # optional

    for name, value in (("expansion", expansion), ("n_checked", n_checked), ("n_threads", n_threads)):
        if value < 1:
            raise ValueError(f"{name} = {value}: at least 1 is needed")
    rows, queries = as_context(reference, "reference"), as_context(query, "query")
    check_search(rows, queries, k)
    centre = rows.mean(0)
    single = (rows - centre).astype(np.float32)
    width = max(expansion, k)
    graph = Index(
        ndim=rows.shape[1],
        metric="l2sq",
        dtype="f32",
        connectivity=_CONNECTIVITY,
        expansion_add=width,
        expansion_search=width,
    )
    graph.add(np.arange(len(rows)), single, threads=n_threads)
    found = graph.search((queries - centre).astype(np.float32), k, threads=n_threads)
    index = np.asarray(found.keys, dtype=np.int64).reshape(len(queries), k)
    if (index < 0).any() or (index >= len(rows)).any():
        raise ValueError(f"the graph found fewer than k = {k} rows for some query: raise expansion = {expansion}")
    distance = np.empty(index.shape)
    for number, chosen in enumerate(index):
        chosen.sort()
        offset = rows[chosen] - queries[number]
        squared = np.einsum("nd,nd->n", offset, offset)
        order = np.argsort(squared, kind="stable")
        index[number], distance[number] = chosen[order], np.sqrt(squared[order])
    n_checked = min(n_checked, len(queries))
    checked = np.random.default_rng(seed).choice(len(queries), n_checked, replace=False)
    true = nearest(rows, queries[checked], k).index
    hits = [np.isin(exact, got).sum() for exact, got in zip(true, index[checked], strict=True)]
    return Neighbours(index, distance, float(np.sum(hits)) / true.size)

"""Principal components of rows that arrive in batches, from a subset that the order of the file has no say in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

__all__ = ["drawn_rows", "known_state", "principal_components"]


def drawn_rows(batches: Iterable[tuple[NDArray[np.float32], NDArray[np.uint64]]], max_rows: int) -> NDArray[np.float32]:
    """The ``max_rows`` rows (all where there are fewer) with the smallest keys, in the order of the keys.

    Parameters
    ----------
    batches : rows (b, d) with keys (b,) made from what they were computed from, e.g. by
        `encoders.row_order.content_keys`.
    max_rows : bounds memory: twice as many are held at most, or a batch more.
    """
    kept: tuple[NDArray[np.float32], NDArray[np.uint64]] | None = None
    pending: list[tuple[NDArray[np.float32], NDArray[np.uint64]]] = []
    for batch in batches:
        pending.append(batch)
        if sum(len(keys) for _, keys in pending) >= max_rows:
            kept, pending = _smallest([kept, *pending] if kept else pending, max_rows), []
    if pending:
        kept = _smallest([kept, *pending] if kept else pending, max_rows)
    return kept[0] if kept else np.empty((0, 0), dtype=np.float32)


def principal_components(
    rows: NDArray[np.float32], n_components: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean (d,), components (k, d) and variance (k,) along them of rows (n, d); k at most n and d.

    Each component's sign is the one that makes its largest entry positive (scikit-learn's ``svd_flip``).
    """
    pca = PCA(min(n_components, *rows.shape), svd_solver="randomized", random_state=seed).fit(rows)
    found = (pca.mean_, pca.components_, pca.explained_variance_)
    return tuple(np.asarray(array, dtype=np.float64) for array in found)  # type: ignore[return-value]


def known_state(state: Mapping[str, NDArray], names: Sequence[str], model: str) -> dict[str, NDArray[np.float64]]:
    """The arrays of a fitted model, in double precision.

    Raises
    ------
    ValueError
        If one of ``names`` is missing, or another is there.
    """
    if sorted(state) != sorted(names):
        raise ValueError(f"{model} was given {sorted(state)}: its state is {', '.join(names)}")
    return {name: np.asarray(array, dtype=np.float64) for name, array in state.items()}


def _smallest(
    parts: list[tuple[NDArray[np.float32], NDArray[np.uint64]]], max_rows: int
) -> tuple[NDArray[np.float32], NDArray[np.uint64]]:
    rows, keys = (np.concatenate(column) for column in zip(*parts, strict=True))
    best = np.argsort(keys, kind="stable")[:max_rows]
    return rows[best], keys[best]

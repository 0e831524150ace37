"""Scores on many bootstrap resamples at once: one matrix of weights and one product serve all scores of a call."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posteriors.resampling.weights import Weights, weight_chunks
from posteriors.scores.order import ORDER_STATISTICS, SortedValues
from posteriors.scores.resampling import BoundMoment, BoundOrder, BoundScore, DerivedScore

__all__ = ["cluster_codes", "galaxy_weights", "shared_jackknife", "shared_replicates"]

Key = TypeVar("Key", bound=Hashable)
Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

_MANY_COLUMNS = 32  # from which the faster product of torch is worth its import
_EXPANDED_VALUES = 1_000_000  # weights of galaxies made from weights of clusters at once, 4 MB


def shared_replicates(
    scores: Mapping[Key, BoundScore],
    *,
    n: int,
    n_resamples: int = 10_000,
    seed: int = 0,
    codes: Codes | None = None,
) -> tuple[dict[Key, float], dict[Key, Floats]]:
    """Values, and replicates (n_resamples,), of many scores on the same resamples.

    Parameters and errors as `posteriors.resampling.bootstrap.shared_intervals`; ``codes`` are the `cluster_codes` of
    clusters that are resampled as a whole.
    """
    bound = {key: score for key, score in scores.items() if not isinstance(score, DerivedScore)}
    derived = {key: score for key, score in scores.items() if isinstance(score, DerivedScore)}
    _check_scores(bound, derived, n)
    table: _Table[Key] = _Table(bound, n)
    values = {key: _value(score) for key, score in bound.items()}
    replicates = table.evaluate(weights for _, weights in galaxy_weights(n, n_resamples, seed, codes))
    for key, recipe in derived.items():
        parts = cast("tuple[Key, ...]", recipe.of)
        values[key] = float(recipe.combine(np.array([[values[part]] for part in parts]))[0])
        replicates[key] = recipe.combine(np.stack([replicates[part] for part in parts]))
    return values, replicates


def _value(score: BoundMoment | BoundOrder) -> float:
    """The score of all galaxies, in float64."""
    if isinstance(score, BoundMoment):
        return float(score.combine(score.statistics.sum(0)[None], np.array([float(score.valid.sum())]))[0])
    everyone = np.ones((1, len(score.valid)), dtype=np.float32)
    ordered = SortedValues(score.values, score.valid, ORDER_STATISTICS[score.statistic])
    return score.factor * float(ordered.evaluate(everyone, everyone @ ordered.cells)[0])


def galaxy_weights(n: int, n_resamples: int, seed: int, codes: Codes | None = None) -> Iterator[tuple[int, Weights]]:
    """First resample and weights (b, n) of galaxies, resampled one by one or by clusters; as `weight_chunks`."""
    if codes is None:
        yield from weight_chunks(n, n_resamples, seed)
        return
    step = max(1, _EXPANDED_VALUES // n)
    for start, weights in weight_chunks(int(codes.max()) + 1, n_resamples, seed):
        for first in range(0, len(weights), step):
            yield start + first, weights[first : first + step].take(codes, axis=1)


def cluster_codes(clusters: ArrayLike, n: int) -> Codes:
    """Numbers 0 ... G - 1 of the clusters of n galaxies.

    Raises
    ------
    ValueError
        For labels of another shape, NaN among them, and fewer than 2 clusters.
    """
    labels = np.asarray(clusters)
    if labels.shape != (n,):
        raise ValueError(f"clusters of shape {labels.shape}: one label for each of the {n} galaxies is needed")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"clusters have {int((~np.isfinite(labels)).sum())} labels that are NaN or infinite")
    found, codes = np.unique(labels, return_inverse=True)
    if len(found) < 2:
        raise ValueError(f"clusters: all galaxies are in {found[0]!r}: at least 2 clusters are needed")
    return codes


def shared_jackknife(scores: Mapping[Key, BoundScore], codes: Codes | None = None) -> dict[Key, Floats]:
    """Every score without each galaxy (n,), or without each cluster (G,), in closed form."""
    left_out = {key: _jackknife(score, codes) for key, score in scores.items() if not isinstance(score, DerivedScore)}
    for key, score in scores.items():
        if isinstance(score, DerivedScore):
            parts = cast("tuple[Key, ...]", score.of)
            left_out[key] = score.combine(np.stack([left_out[part] for part in parts]))
    return left_out


def _jackknife(score: BoundMoment | BoundOrder, codes: Codes | None = None) -> Floats:
    if isinstance(score, BoundMoment):
        statistics, counts = score.statistics, score.valid.astype(float)
        if codes is not None:
            inside = np.zeros((int(codes.max()) + 1, statistics.shape[1]))
            np.add.at(inside, codes, statistics)
            statistics, counts = inside, np.bincount(codes, weights=counts)
        return score.combine(score.statistics.sum(0) - statistics, score.valid.sum() - counts)
    ordered = SortedValues(score.values, score.valid, ORDER_STATISTICS[score.statistic])
    if codes is None:
        places, without = ordered.leave_one_out()
        left_out = np.full(len(score.valid), _value(score))  # leaving out who does not count changes nothing
        left_out[places] = score.factor * without
        return left_out
    n_clusters = int(codes.max()) + 1
    step = max(1, _EXPANDED_VALUES // len(codes))
    parts = []
    for first in range(0, n_clusters, step):
        weights = (np.arange(first, min(first + step, n_clusters))[:, None] != codes).astype(np.float32)
        parts.append(ordered.evaluate(weights, weights @ ordered.cells))
    return score.factor * np.concatenate(parts)


class _Table(Generic[Key]):
    """Statistics of all scores side by side, each column once, so that one product with the weights serves them all.

    Columns are centred and brought to unit size; the products run in float32, whose rounding then only touches the
    small departure of a resampled sum from its expectation; means and counts are added back in float64. Numbers of
    galaxies, in all and in the cells of order scores, are whole numbers below 2^24 and exact as they are.
    """

    def __init__(self, bound: Mapping[Key, BoundMoment | BoundOrder], n: int) -> None:
        self._columns: list[Weights] = []
        self._mean: list[float] = []
        self._size: list[float] = []
        self._known: dict[bytes, int] = {}
        self._total = self._place(np.ones(n), as_it_is=True)
        self._moments: dict[Key, tuple[BoundMoment, list[int], int]] = {}
        self._orders: dict[Key, tuple[BoundOrder, SortedValues, list[int]]] = {}
        for key, score in bound.items():
            if isinstance(score, BoundMoment):
                places = [self._place(column) for column in score.statistics.T]
                self._moments[key] = (score, places, self._place(score.valid.astype(float)))
            else:
                ordered = SortedValues(score.values, score.valid, ORDER_STATISTICS[score.statistic])
                cells = [self._place(column.astype(float), as_it_is=True) for column in ordered.cells.T]
                self._orders[key] = (score, ordered, cells)
        self._table = np.stack(self._columns)
        self._columns, self._known = [], {}

    def evaluate(self, chunks: Iterable[Weights]) -> dict[Key, Floats]:
        """Scores (B,) of the resamples whose weights (b, n) come in chunks, by key."""
        products: list[Weights] = []
        parts: dict[Key, list[Floats]] = {key: [] for key in self._orders}
        for weights in chunks:
            product = _product(self._table, weights)
            products.append(product)
            for key, (score, ordered, cells) in self._orders.items():
                parts[key].append(score.factor * ordered.evaluate(weights, product[cells].T))
        columns = self._restore(np.concatenate(products, axis=1))
        result = {key: np.concatenate(part) for key, part in parts.items()}
        for key, (moment, places, count) in self._moments.items():
            result[key] = moment.combine(columns[places].T, np.rint(columns[count]))
        return result

    def _place(self, column: Floats, as_it_is: bool = False) -> int:
        """Number of this column in the table, where it is put unless it is there."""
        name = bytes([as_it_is]) + column.tobytes()
        if name not in self._known:
            self._known[name] = len(self._columns)
            mean = 0.0 if as_it_is else float(column.mean())
            centred = column - mean
            size = 1.0 if as_it_is else float(np.abs(centred).max()) or 1.0
            self._columns.append((centred / size).astype(np.float32))
            self._mean.append(mean)
            self._size.append(size)
        return self._known[name]

    def _restore(self, sums: Weights) -> Floats:
        """Sums (columns, B) of the statistics as they were, in float64."""
        restored = sums.astype(np.float64)
        total = restored[self._total].copy()
        restored *= np.array(self._size)[:, None]
        for row, mean in zip(restored, self._mean, strict=True):
            if mean:
                row += mean * total
        return restored


def _product(table: Weights, weights: Weights) -> Weights:
    """``table @ weights.T``; of many columns by oneDNN, which is faster than some builds of numpy's library."""
    if len(table) < _MANY_COLUMNS:
        return table @ weights.T
    import torch  # here, since a single interval needs no torch, whose import takes seconds

    from posteriors.products import product

    return product(torch.from_numpy(table), torch.from_numpy(weights).T).numpy()


def _check_scores(bound: Mapping[Key, BoundMoment | BoundOrder], derived: Mapping[Key, DerivedScore], n: int) -> None:
    if n < 2:
        raise ValueError(f"{n} galaxies: an interval needs at least 2")
    for key, score in bound.items():
        if len(score.valid) != n:
            raise ValueError(f"score {key} is bound to {len(score.valid)} galaxies, n = {n}: bind all to the same ones")
        if score.valid.sum() < 2:
            raise ValueError(f"score {key} has {int(score.valid.sum())} valid galaxies: at least 2 are needed")
    for key, recipe in derived.items():
        missing = [part for part in recipe.of if part not in bound]
        if missing or not recipe.of:
            raise ValueError(f"score {key} is made of {missing or 'nothing'}: give keys of moment or order scores")

"""How often each galaxy is in each bootstrap resample: exact multinomial weights, drawn a byte a galaxy.

Weights of n galaxies in a resample of n are multinomial. Here Poisson weights of a mean a little below 1 are looked up
by random bytes, and what a resample then lacks of n galaxies is drawn one by one. Poisson counts given their sum are
multinomial, and so is the sum of two multinomials: the law is exact, at some three operations a weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["Weights", "weight_chunks"]

Weights = NDArray[np.float32]

_CHUNK_VALUES = 1_000_000  # weights held at once, 4 MB; part of the stream's definition, as it sets the order of draws
_LEAST_ROWS = 16
_MOST_GALAXIES = 2**24  # whole numbers beyond it are not exact in float32
_SHORTFALL = 3.0  # standard deviations by which the Poisson counts fall short of n
_RARE = 255  # marks weights that a byte cannot decide


def weight_chunks(n: int, n_resamples: int, seed: int) -> Iterator[tuple[int, Weights]]:
    """Weights of n galaxies in each of n_resamples bootstrap resamples, some resamples at a time.

    Parameters
    ----------
    n : galaxies, 2 to 2^24.
    n_resamples : at least 1.
    seed : the resamples depend on n, n_resamples and seed alone.

    Yields
    ------
    Number of the first resample, and weights (b, n): whole numbers whose rows sum to n. The array is used again for
    the next chunk.

    Raises
    ------
    ValueError
        For n or n_resamples out of range.

    References
    ----------
    Kingman 1993, Poisson Processes, section 1.3 (Poisson counts given their sum are multinomial).
    """
    if not 2 <= n <= _MOST_GALAXIES:
        raise ValueError(f"{n} galaxies: an interval needs at least 2 and at most {_MOST_GALAXIES}")
    if n_resamples < 1:
        raise ValueError(f"n_resamples = {n_resamples}: at least 1 is needed, 10000 is usual")
    rng = np.random.default_rng(seed)
    n_rows = min(max(_LEAST_ROWS, _CHUNK_VALUES // n), n_resamples)
    pairs, rare = _tables(max(0.0, 1 - _SHORTFALL / math.sqrt(n)))
    weights = np.empty((n_rows, n), dtype=np.float32)
    counts = np.empty(-(-n_rows * n // 8) * 4, dtype=np.uint16)  # a buffer: new memory costs as much as the look-up
    for start in range(0, n_resamples, n_rows):
        _fill(weights, counts, pairs, rare, rng)
        yield start, weights[: n_resamples - start]


def _fill(
    weights: Weights,
    two_counts: NDArray[np.uint16],
    pairs: NDArray[np.uint16],
    rare: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    n_rows, n = weights.shape
    flat = weights.reshape(-1)
    words = rng.integers(0, 2**64 - 1, size=-(-flat.size // 8), dtype=np.uint64, endpoint=True).astype(
        "<u8", copy=False
    )
    pairs.take(words.view("<u2"), mode="wrap", out=two_counts)  # every index is in range
    counts = two_counts.view(np.uint8)[: flat.size]
    flat[:] = counts
    undecided = np.flatnonzero(counts == _RARE)
    flat[undecided] = np.searchsorted(rare, rng.random(undecided.size), side="right")
    lacking = n - np.rint(weights @ np.ones(n, np.float32)).astype(np.int64)
    for row in np.flatnonzero(lacking < 0):  # more than n already: this resample is drawn directly
        weights[row] = np.bincount(rng.integers(0, n, n), minlength=n)
        lacking[row] = 0
    more = np.repeat(np.arange(n_rows) * n, lacking) + rng.integers(0, n, int(lacking.sum()))
    np.add.at(flat, more, np.float32(1))


def _tables(mean: float) -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
    """What two random bytes mean: two Poisson counts, or `_RARE`; and the cumulative probabilities of a rare count.

    Of the 256 values of a byte each count has as many as fit into its probability; the rest of the probabilities is
    the law of the counts that are marked rare.
    """
    count = np.arange(60)
    log_factorial = np.array([math.lgamma(k + 1) for k in count])
    probability = np.exp(count * math.log(mean) - mean - log_factorial) if mean > 0 else (count == 0).astype(float)
    cells = np.floor(256 * probability + 1e-9).astype(np.int64)
    rest = np.maximum(256 * probability - cells, 0.0)
    n_rare = 256 - int(cells.sum())
    table = np.concatenate([np.repeat(count, cells), np.full(n_rare, _RARE)]).astype(np.uint8)
    low, high = np.meshgrid(table, table)  # little-endian: the low byte is the first
    pairs = np.stack([low.ravel(), high.ravel()], axis=1).view(np.uint16).ravel()
    return pairs, np.cumsum(rest) / rest.sum() if n_rare else np.ones(1)

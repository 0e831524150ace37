"""An order of rows that their file has no say in."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["content_keys", "content_order"]


def content_keys(rows: NDArray, seed: int) -> NDArray[np.uint64]:
    """A pseudo-random 64-bit number (n,) for every row of ``rows`` (n, ...), made from its bytes and the seed alone."""
    key = int(seed).to_bytes(8, "little", signed=True)
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1)
    digests = b"".join(hashlib.blake2b(row.tobytes(), digest_size=8, key=key).digest() for row in flat)
    return np.frombuffer(digests, dtype=np.uint64)


def content_order(rows: NDArray, seed: int) -> NDArray[np.int64]:
    """A seeded shuffle (n,) of ``rows`` that depends on what the rows hold and not on how they were ordered.

    ``rows[content_order(rows, seed)]`` is the same array for every permutation of ``rows``: a training loop that
    starts from it gives the same model whatever the order of the file was.
    """
    return np.argsort(content_keys(rows, seed), kind="stable").astype(np.int64)

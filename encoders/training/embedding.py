"""Embedding galaxies batch by batch: reading, computing and fetching at the same time, in the memory there is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.training.batches import Reader, batches

__all__ = ["embed_in_batches"]


def embed_in_batches(
    read: Reader, n_rows: int, embed: Callable[[Tensor], Tensor], device: torch.device, *, batch_size: int
) -> NDArray[np.float32]:
    """Embedding (n_rows, d) of all rows, in evaluation.

    On a GPU the next batch is read, and the last result fetched, while the device computes. Only a few batches are in
    memory at a time.

    Parameters
    ----------
    read : gives the batch of some rows.
    n_rows : rows there are; of none the width is still known.
    embed : from a batch (b, ...) on the device to its embedding (b, d).
    device : where to compute.
    batch_size : rows that are computed at a time; where the memory of the device does not suffice, half as many from
        then on, down to one.

    Raises
    ------
    torch.OutOfMemoryError
        If the memory does not suffice for a single row.
    """

    def rows_of(step: int) -> NDArray[np.int64]:
        return np.arange(step * batch_size, min((step + 1) * batch_size, n_rows), dtype=np.int64)

    steps = range(max(1, -(-n_rows // batch_size)))
    coming = batches(read, rows_of, steps, device, ahead=device.type == "cuda")
    embedding, written, size = np.empty((n_rows, 0), dtype=np.float32), 0, batch_size
    fetched: Callable[[], NDArray[np.float32]] | None = None
    for batch in coming:
        start = 0
        while start == 0 or start < len(batch):
            piece = batch[start : start + size]
            result = _if_it_fits(embed, piece)
            if result is None:
                size = len(piece) // 2
                continue
            start += max(1, len(piece))
            if embedding.shape[1] == 0:
                embedding = np.empty((n_rows, result.shape[1]), dtype=np.float32)
            fetching = _fetch(result)
            if fetched is not None:
                written = _put(embedding, written, fetched())
            fetched = fetching
    assert fetched is not None
    _put(embedding, written, fetched())
    return embedding


def _if_it_fits(embed: Callable[[Tensor], Tensor], piece: Tensor) -> Tensor | None:
    """The embedding of a batch, None where memory does not suffice and the batch can still be halved."""
    try:
        return embed(piece)
    except torch.OutOfMemoryError:
        if len(piece) < 2:
            raise
    if piece.is_cuda:
        torch.cuda.empty_cache()  # what larger batches left in pieces
    return None


def _fetch(result: Tensor) -> Callable[[], NDArray[np.float32]]:
    """Start to bring a result to the host; the function that is returned waits for it."""
    result = result.float()
    if not result.is_cuda:
        return lambda: result.numpy()
    host = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
    host.copy_(result, non_blocking=True)
    done = torch.cuda.Event()
    done.record()

    def wait() -> NDArray[np.float32]:
        done.synchronize()
        values: NDArray[np.float32] = host.numpy()
        return values

    return wait


def _put(embedding: NDArray[np.float32], start: int, part: NDArray[np.float32]) -> int:
    embedding[start : start + len(part)] = part
    return start + len(part)

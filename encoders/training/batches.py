"""Batches on their way to the device: read when they are needed, or while the device computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Reader", "batches"]

Reader = Callable[[NDArray[np.int64]], Tensor]
"""From row numbers (b,) to the batch of these rows, on the CPU or on the device of the training."""


def batches(
    read: Reader, rows: Callable[[int], NDArray[np.int64]], steps: range, device: torch.device, *, ahead: bool
) -> Iterator[Tensor]:
    """Batches of some steps on a device.

    Parameters
    ----------
    read : gives the batch of some rows.
    rows : gives the rows of a step.
    steps : consecutive steps.
    device : where the batches go.
    ahead : read the next batch in a thread, into pinned memory, while the device computes. On a CPU there is nothing
        to gain: reading and computing share the cores.
    """
    if not ahead:
        yield from (read(rows(step)).to(device) for step in steps)
        return

    def load(step: int) -> Tensor:
        batch = read(rows(step))
        return batch.pin_memory() if device.type == "cuda" and not batch.is_cuda else batch

    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(load, steps[0]) if steps else None
        for step in steps:
            assert coming is not None
            batch = coming.result()
            coming = pool.submit(load, step + 1) if step + 1 < steps.stop else None
            yield batch.to(device, non_blocking=True)

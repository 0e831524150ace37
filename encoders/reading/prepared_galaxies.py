"""Galaxies as a model sees them: prepared once where they are read again and again, else whenever they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Galaxies", "Prepare", "PreparedGalaxies"]

KEPT_BYTES = 4_000_000_000
_READ_ROWS = 256


class Galaxies(Protocol):
    """Inputs (n, ...) of galaxies that are loaded when a slice or an array of rows is asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]: ...


Prepare = Callable[[NDArray[np.float32], NDArray[np.int64]], Tensor]
"""From galaxies (b, ...) and their rows (b,), for messages, to what a model sees of them (b, ...), each by itself."""


class PreparedGalaxies:
    """A function from rows to what a model sees of these galaxies, float32.

    Parameters
    ----------
    inputs : galaxies (n, ...).
    prepare : checks, bins, crops, rounds to a smaller dtype. It must treat every galaxy by itself.
    keep : whether what was prepared is kept in memory, in the dtype of ``prepare``, for when it is asked for again:
        for a training, which passes over its galaxies many times, not for an embedding, which reads each once.
    max_bytes : where all galaxies together take more, nothing is kept and rows are prepared anew each time.

    Notes
    -----
    Numbers are rounded by ``prepare`` either way, so that what is kept moves none of them.
    """

    def __init__(self, inputs: Galaxies, prepare: Prepare, *, keep: bool, max_bytes: int | None = None) -> None:
        self._inputs, self._prepare, self._keep = inputs, prepare, keep
        self._max_bytes = KEPT_BYTES if max_bytes is None else max_bytes
        self._kept: Tensor | None = None
        self._known = np.zeros(len(inputs), dtype=bool)

    def __len__(self) -> int:
        return len(self._inputs)

    def __call__(self, rows: NDArray[np.int64]) -> Tensor:
        if self._keep and rows.size:
            self._fill(rows)
        if self._kept is None:
            return self._read(rows).float()
        return self._kept[torch.from_numpy(rows)].float()

    def consecutive(self) -> Iterator[Tensor]:
        """All galaxies in their order, some hundreds at a time."""
        for start in range(0, len(self), _READ_ROWS):
            yield self(np.arange(start, min(start + _READ_ROWS, len(self)), dtype=np.int64))

    def _fill(self, rows: NDArray[np.int64]) -> None:
        """Prepare those of the rows that are not there yet; on the first call, see whether all would fit."""
        fresh = rows[~self._known[rows]]
        if not fresh.size:
            return
        prepared = self._read(fresh)
        if self._kept is None:
            self._keep = prepared[0].numel() * prepared.element_size() * len(self) <= self._max_bytes
            if not self._keep:
                return
            self._kept = prepared.new_empty((len(self), *prepared.shape[1:]))
        self._kept[torch.from_numpy(fresh)] = prepared
        self._known[fresh] = True

    def _read(self, rows: NDArray[np.int64]) -> Tensor:
        contiguous = rows.size and bool((np.diff(rows) == 1).all())  # a slice of a memory map reads ahead
        chosen = slice(int(rows[0]), int(rows[-1]) + 1) if contiguous else rows
        return self._prepare(np.asarray(self._inputs[chosen], dtype=np.float32), rows)

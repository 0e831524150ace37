"""Which galaxies a step sees, and the seed of what it draws: functions of seed, step and process, nothing else.

A training has therefore no state of its sampler to keep: it goes on from a step, in any number of processes, as if it
had never stopped.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

__all__ = ["monitor_rows", "rows_of_step", "steps_per_epoch", "stream_seed"]

_ORDER, _DRAWS, _MONITOR = 0, 1, 2  # streams of one seed that must not meet
_MAX_MONITOR = 128


def steps_per_epoch(n_rows: int, batch_size: int) -> int:
    """Steps until every galaxy but a remainder smaller than a batch was seen once.

    Raises
    ------
    ValueError
        If a batch holds more galaxies than there are: it would hold some of them twice.
    """
    if not 1 <= batch_size <= n_rows:
        raise ValueError(
            f"batch_size {batch_size}: must be from 1 to the number of galaxies, {n_rows}; lower it or give more"
        )
    return n_rows // batch_size


def rows_of_step(n_rows: int, batch_size: int, *, seed: int, step: int) -> NDArray[np.int64]:
    """Rows (batch_size,) of a step, counted from 0, over all processes: a slice of the epoch's permutation.

    Every epoch has its own permutation and leaves another remainder aside.
    """
    epoch, place = divmod(step, steps_per_epoch(n_rows, batch_size))
    return _permutation(n_rows, seed, epoch)[place * batch_size : (place + 1) * batch_size].copy()


def monitor_rows(n_rows: int, *, seed: int) -> NDArray[np.int64]:
    """Rows, at most 128, that are looked at again and again to see how a training goes."""
    rng = np.random.default_rng([seed, _MONITOR])
    return np.sort(rng.choice(n_rows, size=min(n_rows, _MAX_MONITOR), replace=False))


def stream_seed(seed: int, step: int, rank: int = 0) -> int:
    """A 63-bit seed of what the step of one process draws; step -1 is the one of the monitor."""
    state = np.random.SeedSequence([seed, _DRAWS, step + 1, rank]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


@functools.lru_cache(maxsize=2)  # a process reads one epoch at a time; at 10^8 rows a permutation has 800 MB
def _permutation(n_rows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    order = np.random.default_rng([seed, _ORDER, epoch]).permutation(n_rows)
    order.setflags(write=False)
    return order

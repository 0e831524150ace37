"""Schedules of a training: functions of the step, counted from 0, that give one number."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["Schedule", "constant", "cosine", "linear_ramp", "warmup_cosine"]

Schedule = Callable[[int], float]
"""From a step, counted from 0, to the number that holds in it."""


def constant(value: float) -> Schedule:
    """The same number at every step."""
    return lambda step: value


def linear_ramp(start: float, end: float, n_ramp: int) -> Schedule:
    """A straight line from ``start`` at step 0 to ``end`` at step ``n_ramp``, and ``end`` from there on.

    Raises
    ------
    ValueError
        If ``n_ramp`` is negative.
    """
    _require_count(n_ramp=n_ramp)
    return lambda step: end if step >= n_ramp else start + (end - start) * step / n_ramp


def cosine(start: float, end: float, n_steps: int) -> Schedule:
    """Half a cosine from ``start`` at step 0 to ``end`` at step ``n_steps``, and ``end`` from there on.

    Raises
    ------
    ValueError
        If ``n_steps`` is negative.

    References
    ----------
    Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, without restarts.
    """
    _require_count(n_steps=n_steps)

    def value(step: int) -> float:
        if step >= n_steps:
            return end
        return end + 0.5 * (start - end) * (1 + math.cos(math.pi * step / n_steps))

    return value


def warmup_cosine(peak: float, end: float, n_steps: int, n_warmup: int) -> Schedule:
    """A straight line up to ``peak`` over ``n_warmup`` steps, then half a cosine down to ``end`` at step ``n_steps``.

    Step 0 has ``peak / n_warmup``, not 0: a step at a rate of 0 would be wasted, and half of a short run's warm-up with
    it. Step ``n_warmup - 1`` has ``peak``.

    Raises
    ------
    ValueError
        If a count is negative or the warm-up is longer than the run.
    """
    _require_count(n_steps=n_steps, n_warmup=n_warmup)
    if n_warmup > n_steps:
        raise ValueError(f"n_warmup {n_warmup}: must be at most n_steps, {n_steps}; shorten the warm-up")
    falling = cosine(peak, end, n_steps - n_warmup)

    def value(step: int) -> float:
        return peak * (step + 1) / n_warmup if step < n_warmup else falling(step - n_warmup)

    return value


def _require_count(**counts: int) -> None:
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"{name} {count}: must be 0 or more")

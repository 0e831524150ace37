"""Randomness that leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["seeded_torch"]


@contextmanager
def seeded_torch(seed: int) -> Iterator[None]:
    """Run a block on torch's global CPU generator seeded with ``seed``; its state before is put back afterwards.

    Module initialisation and dropout draw from the global generator and take no other; this is how they are seeded.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield

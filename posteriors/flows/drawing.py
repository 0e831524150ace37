"""Draws from a mixture of flows, a block of galaxies at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriors.flows.backends import Backend

__all__ = ["draw_blocks"]

_CHUNK = 10_000  # rows of one pass over all members: what stays in cache on a CPU


def draw_blocks(
    backend: Backend, n_members: int, context: Tensor, n_targets: int, n_draws: int, seed: int
) -> Iterator[tuple[slice, NDArray]]:
    """Blocks of galaxies with their draws (n_draws, block, t) in scaled units; the whole never stands in memory.

    Each draw belongs to one member, the same for every galaxy: all members give n_draws // members draws, and members
    chosen by the seed give one of the remainder each; their order is shuffled.
    """
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    turns = rng.permutation(n_members)
    used = np.sort(turns[:n_draws])
    each = -(-n_draws // n_members)  # draws of a member; the last of some are not used
    place = np.searchsorted(used, turns[np.arange(n_draws) % n_members]) * each + np.arange(n_draws) // n_members
    chosen = torch.from_numpy(rng.permutation(place))
    step = max(1, _CHUNK // (len(used) * each))
    for start in range(0, len(context), step):
        block = context[start : start + step]
        noise = torch.randn(len(used), n_targets, len(block), each, generator=generator, dtype=context.dtype)
        drawn = backend.from_noise(noise.to(context.device), block, used.tolist())
        ordered = drawn.permute(0, 3, 2, 1).reshape(len(used) * each, len(block), n_targets)[chosen]
        yield slice(start, start + len(block)), ordered.cpu().numpy()

"""Draws from a mixture of flows, a block of galaxies at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriors.flows.backends import Backend
from posteriors.flows.mixture_weights import draw_counts

__all__ = ["draw_blocks"]

_CHUNK = 10_000  # rows of one pass over all members: what stays in cache on a CPU


def draw_blocks(
    backend: Backend,
    weights: NDArray[np.float64],
    encode: Callable[[slice], Tensor],
    n_galaxies: int,
    n_targets: int,
    n_draws: int,
    seed: int,
) -> Iterator[tuple[slice, NDArray]]:
    """Blocks of galaxies with their draws (n_draws, block, t) in scaled units; the whole never stands in memory.

    Each draw belongs to one member, the same for every galaxy: members give their share by weight, what is left over
    goes to those with the largest remainders and among equal ones by the seed; the order of draws is shuffled.

    Parameters
    ----------
    weights : (members,) of sum 1.
    encode : scaled contexts (block, k) of a range of galaxies.
    """
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    turns = rng.permutation(len(weights))
    counts = draw_counts(weights, n_draws, turns)
    layers = _layers(counts)
    chosen = torch.from_numpy(rng.permutation(_places(layers, counts, turns)))
    step = max(1, _CHUNK // n_draws)
    for start in range(0, n_galaxies, step):
        galaxies = slice(start, min(start + step, n_galaxies))
        context = encode(galaxies)
        drawn = []
        for members, each in layers:
            shape = len(members), n_targets, len(context), each
            noise = torch.randn(shape, generator=generator, dtype=context.dtype, device="cpu").to(context.device)
            values = backend.from_noise(noise, context, members)
            drawn.append(values.permute(0, 3, 2, 1).reshape(len(members) * each, len(context), n_targets))
        ordered = torch.cat(drawn)[chosen] if len(drawn) > 1 else drawn[0][chosen]
        yield galaxies, ordered.cpu().numpy()


def _layers(counts: NDArray[np.int64]) -> list[tuple[list[int], int]]:
    """Passes (members, draws of each) that give every member its count: a pass has one number for all of its members.

    Members of equal weight take one pass, and their remainder another.
    """
    heights = np.unique(np.append(counts, 0)).tolist()
    return [(np.flatnonzero(counts >= high).tolist(), high - low) for low, high in pairwise(heights)]


def _places(
    layers: list[tuple[list[int], int]], counts: NDArray[np.int64], turns: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Where each draw stands among those of all passes, members taking turns."""
    member = np.concatenate([np.repeat(members, each) for members, each in layers])
    order = np.argsort(member, kind="stable")  # of a member, its draws in the order of the passes
    number = np.empty(len(member), dtype=np.int64)
    number[order] = np.arange(len(member)) - np.repeat(np.cumsum(counts) - counts, counts)
    turn = np.empty(len(turns), dtype=np.int64)
    turn[turns] = np.arange(len(turns))
    return np.lexsort((turn[member], number))

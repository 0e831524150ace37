"""Modes and quantiles of posteriors, a block of galaxies at a time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriors.flows.backends import Backend

__all__ = ["climb_to_mode", "quantiles_of"]

_STEPS = 60  # of Rprop, whose steps shrink to a thousandth of a z-score in about 30
_FIRST_STEP = 0.05  # in z-scores
_STEP_RANGE = (1e-6, 0.2)


def quantiles_of(
    blocks: Iterable[tuple[slice, NDArray[np.float64]]], levels: NDArray[np.float64], n_galaxies: int, n_targets: int
) -> NDArray[np.float64]:
    """Quantiles (levels, n, t) of each target from blocks of draws (n_draws, block, t)."""
    found = np.empty((len(levels), n_galaxies, n_targets))
    for galaxies, draws in blocks:
        found[:, galaxies] = np.quantile(draws, levels, axis=0)
    return found


def climb_to_mode(backend: Backend, log_weights: Tensor, draws: NDArray, context: Tensor) -> Tensor:
    """The densest point (n, t) in scaled units: from the densest draw uphill, by the gradient's signs.

    Parameters
    ----------
    log_weights : (members,) of the mixture.
    draws : (n_draws, n, t) in scaled units.
    context : (n, k).
    """
    drawn = torch.from_numpy(np.ascontiguousarray(draws)).to(context)
    with torch.no_grad():
        found = torch.stack([_log_density(backend, log_weights, each, context) for each in drawn])
    start = drawn[found.argmax(0), torch.arange(len(context), device=context.device)]
    point = start.clone().requires_grad_()
    best, best_density = start.clone(), found.amax(0)
    optimiser = torch.optim.Rprop([point], lr=_FIRST_STEP, step_sizes=_STEP_RANGE)
    for _ in range(_STEPS):
        optimiser.zero_grad()
        density = _log_density(backend, log_weights, point, context)
        better = density.detach() > best_density
        best[better], best_density[better] = point.detach()[better], density.detach()[better]
        (-density.sum()).backward()
        optimiser.step()
    return best


def _log_density(backend: Backend, log_weights: Tensor, scaled: Tensor, context: Tensor) -> Tensor:
    """Log density (n,) of the mixture at scaled values (n, t), per unit of these."""
    return torch.logsumexp(backend.log_prob(scaled, context) + log_weights[:, None], 0)

"""Flows as people use them today, the peers of our timings: plain nflows modules, and AstroCLIP's loop on pyro."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from nflows.distributions import StandardNormal
from nflows.flows import Flow
from nflows.nn.nets import ResidualNet
from nflows.transforms import CompositeTransform, PiecewiseRationalQuadraticCouplingTransform
from posterior_problem import Split
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from posteriors import FlowEnsembleConfig
from posteriors.flows.pyro_flows import PyroFlow, make_pyro_flow

__all__ = ["draw_galaxy_by_galaxy", "make_nflows", "nflows_step", "released_loop", "train_nflows"]


def make_nflows(n_context: int, seed: int, n_targets: int = 5) -> Flow:
    """The architecture of recipe ``coupling`` in nflows' own modules."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [
            PiecewiseRationalQuadraticCouplingTransform(
                [(column + index) % 2 for column in range(n_targets)],
                lambda n_in, n_out: ResidualNet(n_in, n_out, 64, context_features=n_context, num_blocks=1),
                num_bins=8,
                tails="linear",
                tail_bound=5.0,
            )
            for index in range(3)
        ]
        return Flow(CompositeTransform(layers), StandardNormal([n_targets]))


def nflows_step(flow: Flow, optimiser: torch.optim.Optimizer, target: Tensor, context: Tensor) -> None:
    """One optimiser step."""
    loss = -flow.log_prob(target, context).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def train_nflows(flow: Flow, train: Split, held: Split, *, batch_size: int, patience: int, seed: int) -> int:
    """Train to the end with early stopping, as recipe ``coupling`` does; the number of epochs."""
    optimiser = torch.optim.AdamW(flow.parameters(), lr=2e-3, weight_decay=0.0, fused=True)
    generator = torch.Generator().manual_seed(seed)
    best, best_epoch = float("inf"), -1
    for epoch in range(100):
        order = torch.randperm(len(train.target), generator=generator)
        for rows in order.split(batch_size)[: len(order) // batch_size]:
            nflows_step(flow, optimiser, train.target[rows], train.context[rows])
        with torch.no_grad():
            nll = -float(flow.log_prob(held.target, held.context).mean())
        if nll < best:
            best, best_epoch = nll, epoch
        elif epoch - best_epoch >= patience:
            break
    return epoch + 1


def draw_galaxy_by_galaxy(flows: Sequence[Flow], context: Tensor, n_draws: int) -> list[Tensor]:
    """Draws of every member for every galaxy, as the published scripts take them."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return [flow.sample(n_draws, context=row[None]) for row in context for flow in flows]


def released_loop(train: Split, held: Split, test: Split, *, members: int, seed: int) -> tuple[list[PyroFlow], float]:
    """AstroCLIP's loop as published, its early stop included, up to every member's own best validation loss.

    Returns
    -------
    flows : with the weights that the loop ends with.
    seconds : to the epoch of the best validation loss, summed over the members; what comes after it is not counted.
    """
    rng, flows, seconds = np.random.default_rng(seed), [], 0.0
    mean, std = train.context.mean(), train.context.std()
    for _ in range(members):
        member = FlowEnsembleConfig(recipe="code").member(int(rng.integers(2**31)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**31)))
            flow = make_pyro_flow(member, 5, train.context.shape[1])
            generator = torch.Generator().manual_seed(seed)
            rows = TensorDataset((train.context - mean) / std, train.target)
            loader: DataLoader = DataLoader(rows, batch_size=128, shuffle=True, generator=generator)
            seconds += _run_released(flow, loader, (held.context - mean) / std, held.target)
        flows.append(flow)
    return flows, seconds


def _run_released(flow: PyroFlow, loader: DataLoader, context: Tensor, target: Tensor) -> float:
    optimiser = torch.optim.Adam(flow.parameters(), lr=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=25, eta_min=1e-6)
    losses: list[float] = []
    start, best_at, best = time.perf_counter(), 0.0, float("inf")
    for epoch in range(25):
        for batch_context, batch_target in loader:
            optimiser.zero_grad()
            loss = -flow.log_prob_per_target(batch_target, batch_context).mean()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            nll = -float(flow.log_prob(target, context).mean())
        if nll < best:
            best, best_at = nll, time.perf_counter() - start
        if epoch > 10 and nll > float(np.mean(losses[-5:])):
            break
        losses.append(nll)
        schedule.step()
    return best_at

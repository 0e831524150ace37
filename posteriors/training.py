"""Training of one member: AdamW on the negative log density, the best validation epoch kept as a copy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from posteriors.config import FlowEnsembleConfig
from posteriors.flows import ConditionalFlow, make_flow

__all__ = ["Diverged", "Rows", "TrainedMember", "train_member"]

_Tensors = tuple[Tensor, ...] | list[Tensor]
_CHUNK = 8_192  # rows of a validation pass


class Diverged(ArithmeticError):
    """The loss of a member left the finite numbers."""


@dataclass(frozen=True)
class Rows:
    """Scaled context (n, k) and target (n, t), float32."""

    context: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True)
class TrainedMember:
    """A trained flow with its best epoch (counted from 0) and the validation NLL there, in nats of scaled targets."""

    flow: ConditionalFlow
    best_epoch: int
    validation_nll: float


def train_member(
    config: FlowEnsembleConfig,
    n_context: int,
    train: Rows,
    validation: Rows,
    seed: int,
    on_epoch: Callable[[], None] = lambda: None,
) -> TrainedMember:
    """Train one flow on the rows and return it with the weights of its best validation epoch.

    Parameters
    ----------
    n_context : number of leading context columns that this member sees.
    seed : of the initial weights and of the shuffles.
    on_epoch : called after every epoch.

    Raises
    ------
    Diverged
        If a loss is not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow = make_flow(config, train.target.shape[1], n_context)
    batch_size = min(_batch_size(config, len(train)), len(train))
    steps_per_epoch = min(max(1, len(train) // batch_size), config.max_steps)
    n_epochs = max(1, min(config.epochs, config.max_steps // steps_per_epoch))
    optimiser = torch.optim.AdamW(
        flow.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _make_schedule(config, steps_per_epoch, n_epochs))
    generator = torch.Generator().manual_seed(seed)
    averaged = AveragedModel(flow, multi_avg_fn=_running_average) if config.average else None
    best_epoch, best_nll, best_weights = -1, math.inf, {}
    for epoch in range(n_epochs):
        for batch in islice(_batches(len(train), batch_size, generator), steps_per_epoch):
            loss = -flow.log_prob(train.target[batch], train.context[batch]).mean()
            if not torch.isfinite(loss):
                raise Diverged(f"training loss {loss.item()} in epoch {epoch}")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            if averaged is not None:
                averaged.update_parameters(flow)
        current = flow if averaged is None else cast("ConditionalFlow", averaged.module)
        nll = _mean_nll(current, validation)
        on_epoch()
        if nll < best_nll:
            best_epoch, best_nll = epoch, nll
            best_weights = {name: value.clone() for name, value in current.state_dict().items()}
        elif config.patience and epoch - best_epoch >= config.patience:
            break
    if best_epoch < 0:
        raise Diverged("validation loss never finite")
    flow.load_state_dict(best_weights)
    return TrainedMember(flow.eval().requires_grad_(False), best_epoch, best_nll)


@torch.no_grad()
def _mean_nll(flow: ConditionalFlow, rows: Rows) -> float:
    """Mean negative log density of the rows, summed in float64."""
    parts = zip(rows.target.split(_CHUNK), rows.context.split(_CHUNK), strict=True)
    return -sum(flow.log_prob(target, context).double().sum().item() for target, context in parts) / len(rows)


def _batch_size(config: FlowEnsembleConfig, n_rows: int) -> int:
    if config.batch_size is not None:
        return config.batch_size
    if config.recipe == "coupling" or n_rows < 2_000:
        return min(128, max(32, n_rows // 8))
    return 256 if n_rows < 10_000 else 512


def _running_average(averaged: _Tensors, current: _Tensors, n_averaged: Tensor | int) -> None:
    """Exponential average of the weights over the last 50 steps, over fewer at the start."""
    steps = float(n_averaged)
    torch._foreach_lerp_(averaged, current, 1 - min(0.98, steps / (steps + 10)))


def _batches(n_rows: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Shuffled rows in batches of equal size; the few rows left over wait for the next shuffle."""
    order = torch.randperm(n_rows, generator=generator)
    for start in range(0, n_rows - batch_size + 1, batch_size):
        yield order[start : start + batch_size]


def _make_schedule(config: FlowEnsembleConfig, steps_per_epoch: int, n_epochs: int) -> Callable[[int], float]:
    """Factor of the learning rate at a step: one epoch of warm-up and a cosine to 0; ``coupling``: constant."""
    if config.recipe == "coupling":
        return lambda step: 1.0
    warm_up, total = min(steps_per_epoch, steps_per_epoch * n_epochs // 2), steps_per_epoch * n_epochs

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1, total - warm_up))))

    return factor

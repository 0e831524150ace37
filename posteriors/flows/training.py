"""Training of flows: AdamW on the negative log density, each member's best validation epoch kept as a copy.

Here stand the schedule that every backend follows and the plain loop over modules, one member after another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from posteriors.flows.config import FlowEnsembleConfig
from posteriors.flows.nflows_flows import Flow, decayed_parameters

__all__ = ["Diverged", "Rows", "Schedule", "TrainedMember", "batches", "running_weight", "train_member"]

_Tensors = tuple[Tensor, ...] | list[Tensor]
_CHUNK = 8_192  # rows of a validation pass


class Diverged(ArithmeticError):
    """The loss of a member left the finite numbers."""


@dataclass(frozen=True)
class Rows:
    """Scaled context (n, k) and target (n, t)."""

    context: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True)
class TrainedMember:
    """A trained flow with its best epoch (counted from 0) and the validation NLL there, in nats of scaled targets."""

    flow: Flow
    best_epoch: int
    validation_nll: float


@dataclass(frozen=True)
class Schedule:
    """Steps of a training and the learning rate at each: the same for every backend."""

    batch_size: int
    steps_per_epoch: int
    n_epochs: int
    cosine: bool

    @classmethod
    def plan(cls, config: FlowEnsembleConfig, n_rows: int) -> Self:
        """The schedule of a recipe for ``n_rows`` training rows."""
        batch_size = min(_batch_size(config, n_rows), n_rows)
        steps_per_epoch = min(max(1, n_rows // batch_size), config.max_steps)
        n_epochs = max(1, min(config.epochs, config.max_steps // steps_per_epoch))
        return cls(batch_size, steps_per_epoch, n_epochs, cosine=config.recipe == "default")

    def factor(self, step: int) -> float:
        """Factor of the learning rate at a step: an epoch of warm-up and a cosine to 0, or constant."""
        if not self.cosine:
            return 1.0
        total = self.steps_per_epoch * self.n_epochs
        warm_up = min(self.steps_per_epoch, total // 2)
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1, total - warm_up))))


def batches(n_rows: int, schedule: Schedule, generator: torch.Generator) -> Iterator[Tensor]:
    """Shuffled rows of an epoch in batches of equal size; the few rows left over wait for the next shuffle."""
    order = torch.randperm(n_rows, generator=generator, device="cpu")
    starts = range(0, n_rows - schedule.batch_size + 1, schedule.batch_size)
    return (order[start : start + schedule.batch_size] for start in islice(starts, schedule.steps_per_epoch))


def running_weight(n_averaged: int) -> float:
    """Share of the current weights in a running average over the last 50 steps, over fewer at the start."""
    return 1 - min(0.98, n_averaged / (n_averaged + 10))


def train_member(
    config: FlowEnsembleConfig,
    flow: Flow,
    train: Rows,
    validation: Rows,
    batch_seed: int,
    on_epoch: Callable[[], None] = lambda: None,
) -> TrainedMember:
    """Train a flow on the rows and return it with the weights of its best validation epoch.

    Parameters
    ----------
    flow : untrained; moved in place.
    batch_seed : of the shuffles.
    on_epoch : called after every epoch.

    Raises
    ------
    Diverged
        If a loss is not finite.
    """
    schedule = Schedule.plan(config, len(train))
    decayed, others = decayed_parameters(flow)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
    steps = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule.factor)
    generator = torch.Generator().manual_seed(batch_seed)
    device = train.target.device
    averaged = AveragedModel(flow, device=device, multi_avg_fn=_running_average) if config.average else None
    current = flow if averaged is None else cast("Flow", averaged.module)
    best_epoch, best_nll, best_weights = -1, math.inf, {}
    for epoch in range(schedule.n_epochs):
        for batch in batches(len(train), schedule, generator):
            loss = -flow.log_prob(train.target[batch], train.context[batch]).mean()
            if not torch.isfinite(loss):
                raise Diverged(f"training loss {loss.item()} in epoch {epoch}")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            steps.step()
            if averaged is not None:
                averaged.update_parameters(flow)
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
def _mean_nll(flow: Flow, rows: Rows) -> float:
    """Mean negative log density of the rows, summed in float64."""
    parts = zip(rows.target.split(_CHUNK), rows.context.split(_CHUNK), strict=True)
    return -sum(flow.log_prob(target, context).double().sum().item() for target, context in parts) / len(rows)


def _batch_size(config: FlowEnsembleConfig, n_rows: int) -> int:
    if config.batch_size is not None:
        return config.batch_size
    if config.recipe == "default" and n_rows >= 10_000:
        return 512
    return min(128, max(32, n_rows // 8))


def _running_average(averaged: _Tensors, current: _Tensors, n_averaged: Tensor | int) -> None:
    torch._foreach_lerp_(averaged, current, running_weight(int(n_averaged)))

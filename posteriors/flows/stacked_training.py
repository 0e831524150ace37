"""Training of a stack of flows: every step moves all members, each stops by its own validation loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from posteriors.flows.config import FlowEnsembleConfig
from posteriors.flows.nflows_flows import ConditionalFlow
from posteriors.flows.stacked import FlowStack
from posteriors.flows.training import Diverged, Rows, Schedule, TrainedMember, batches, running_weight

__all__ = ["train_stack"]

_CHUNK = 10_000  # rows of a validation pass, over all members
_LEAVE = 1 / 3  # share of stopped members at which the others go on without them


def train_stack(
    config: FlowEnsembleConfig,
    flows: Sequence[ConditionalFlow],
    train: Rows,
    validation: Rows,
    batch_seeds: Sequence[int],
    on_epoch: Callable[[int], None] = lambda running: None,
) -> list[TrainedMember | Diverged]:
    """Train flows of equal depth together; one outcome each, in their order.

    Parameters
    ----------
    flows : untrained; the weights of the best validation epochs are written into them.
    batch_seeds : of the members' shuffles; where all are equal, the members see the same batches.
    on_epoch : called after every epoch with the number of members that trained in it.
    """
    return _StackTraining(config, flows, train, validation, batch_seeds).run(on_epoch)


class _StackTraining:
    """State of a training: the stack of those still in it, and what has been found of each member."""

    def __init__(
        self,
        config: FlowEnsembleConfig,
        flows: Sequence[ConditionalFlow],
        train: Rows,
        validation: Rows,
        batch_seeds: Sequence[int],
    ) -> None:
        self.config, self.flows, self.train, self.validation = config, flows, train, validation
        self.schedule = Schedule.plan(config, len(train))
        self.shared = len(set(batch_seeds)) == 1
        self.generators = [torch.Generator().manual_seed(seed) for seed in batch_seeds]
        self.best_nll, self.best_epoch = [math.inf] * len(flows), [-1] * len(flows)
        self.failed: dict[int, Diverged] = {}
        self.running = list(range(len(flows)))  # members that still train
        self.held = list(self.running)  # members of the stack: those, and a few that have stopped
        self._use(FlowStack(flows))

    def _use(
        self, stack: FlowStack, moments: dict[str, dict[str, Tensor]] | None = None, averaged: Tensor | None = None
    ) -> None:
        self.stack = stack
        self.averaged = averaged
        self.weights = stack.leaves()
        self.optimiser = torch.optim.AdamW(
            [piece for piece in self.weights.values() if piece.requires_grad],
            lr=self.config.learning_rate,
            weight_decay=0.0,
            fused=True,
        )
        self.decay = self.config.weight_decay * stack.decayed() if self.config.weight_decay else None
        for name, state in (moments or {}).items():
            self.optimiser.state[self.weights[name]] = state

    def run(self, on_epoch: Callable[[int], None]) -> list[TrainedMember | Diverged]:
        step = 0
        for epoch in range(self.schedule.n_epochs):
            losses = torch.zeros(len(self.held), device=self.stack.flat.device)
            for batch in self._epoch_batches():
                for group in self.optimiser.param_groups:
                    group["lr"] = self.config.learning_rate * self.schedule.factor(step)
                losses += self._step(batch)
                self._average(step)
                step += 1
            self._judge(epoch, torch.isfinite(losses).tolist())
            on_epoch(len(self.running))
            self._let_go(epoch)
            if not self.running:
                break
        return [self._outcome(member) for member in range(len(self.flows))]

    def _epoch_batches(self) -> list[Tensor]:
        """Rows of each step, (n,) shared or (M, n); members that have stopped go on shuffling with the others."""
        if self.shared:
            return list(batches(len(self.train), self.schedule, self.generators[0]))
        orders = [list(batches(len(self.train), self.schedule, self.generators[member])) for member in self.held]
        return [torch.stack(rows) for rows in zip(*orders, strict=True)]

    def _step(self, batch: Tensor) -> Tensor:
        """One step of every member; their losses (M,)."""
        batch = batch.to(self.train.target.device)
        losses = -self.stack.log_prob(self.train.target[batch], self.train.context[batch], self.weights).mean(1)
        self.optimiser.zero_grad(set_to_none=True)
        losses.sum().backward()
        self._decay()
        self.optimiser.step()
        return losses.detach()

    @torch.no_grad()
    def _decay(self) -> None:
        """Weight decay of parts of a tensor, which AdamW cannot do."""
        if self.decay is not None:
            self.stack.flat.addcmul_(self.stack.flat, self.decay, value=-self.optimiser.param_groups[0]["lr"])

    @torch.no_grad()
    def _average(self, step: int) -> None:
        if not self.config.average:
            return
        if self.averaged is None:
            self.averaged = self.stack.flat.detach().clone()
        else:
            self.averaged.lerp_(self.stack.flat, running_weight(step))

    @property
    def _offered(self) -> Tensor:
        """The weights that an epoch offers for keeping."""
        return self.stack.flat if self.averaged is None else self.averaged

    @torch.no_grad()
    def _judge(self, epoch: int, finite: list[bool]) -> None:
        """Validation losses of all members in one pass; the better ones' weights are copied into their flows."""
        size = max(1, _CHUNK // len(self.held))
        total = torch.zeros(len(self.held), dtype=torch.float64, device=self.stack.flat.device)
        offered = self.stack.split(self._offered)
        for target, context in zip(self.validation.target.split(size), self.validation.context.split(size)):
            total -= self.stack.log_prob(target, context, offered).double().sum(1)
        for place, nll in enumerate((total / len(self.validation)).tolist()):
            member = self.held[place]
            if member not in self.running:
                continue
            if not finite[place]:
                self.failed[member] = Diverged(f"training loss not finite in epoch {epoch}")
            elif nll < self.best_nll[member]:
                self.best_nll[member], self.best_epoch[member] = nll, epoch
                self.stack.write(place, self.flows[member], self._offered)

    def _let_go(self, epoch: int) -> None:
        """Members that stop; the others get a stack of their own once a third of this one has stopped."""
        patience = self.config.patience
        self.running = [
            member
            for member in self.running
            if member not in self.failed and not (patience and epoch - self.best_epoch[member] >= patience)
        ]
        if not self.running or len(self.held) - len(self.running) < _LEAVE * len(self.held):
            return
        places = [self.held.index(member) for member in self.running]
        index = torch.tensor(places, device=self.stack.flat.device)
        moments = {
            name: {key: value if key == "step" else value[index] for key, value in self.optimiser.state[piece].items()}
            for name, piece in self.weights.items()
            if piece.requires_grad
        }
        averaged = None if self.averaged is None else self.stack.select(self.averaged, index)
        self._use(self.stack.subset(places), moments, averaged)
        self.held = list(self.running)

    def _outcome(self, member: int) -> TrainedMember | Diverged:
        if member in self.failed:
            return self.failed[member]
        if self.best_epoch[member] < 0:
            return Diverged("validation loss never finite")
        flow = self.flows[member].eval().requires_grad_(False)
        return TrainedMember(flow, self.best_epoch[member], self.best_nll[member])

"""Members behind one interface: trained and evaluated one after another as modules, or together as stacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor

from posteriors.flows.config import FlowEnsembleConfig
from posteriors.flows.linear_start import LinearStart
from posteriors.flows.nflows_flows import ConditionalFlow, Flow, make_flow
from posteriors.flows.stacked import FlowStack
from posteriors.flows.stacked_training import train_stack
from posteriors.flows.training import Diverged, Rows, TrainedMember, train_member

__all__ = ["Backend", "make_backend", "make_member"]

_Report = Callable[[int], None]


class Backend(Protocol):
    """Densities and draws of trained members, in scaled units."""

    def log_prob(self, target: Tensor, context: Tensor) -> Tensor:
        """Log density (M, n) of targets (n, t) given contexts (n, k); differentiable in both."""
        ...

    def from_noise(self, noise: Tensor, context: Tensor, members: Sequence[int]) -> Tensor:
        """Noise (m, t, n, d) to draws of some members, d for each of n galaxies with contexts (n, k)."""
        ...


class ModuleBackend:
    """Members one after another: the reference (nflows), and pyro's transforms."""

    def __init__(self, flows: Sequence[Flow]) -> None:
        self._flows = flows

    @classmethod
    def train(
        cls,
        config: FlowEnsembleConfig,
        flows: Sequence[Flow],
        train: Rows,
        validation: Rows,
        batch_seeds: Sequence[int],
        report: _Report,
    ) -> list[TrainedMember | Diverged]:
        """One outcome a flow; ``report`` is called with the number of members that finished an epoch."""
        outcomes: list[TrainedMember | Diverged] = []
        for flow, seed in zip(flows, batch_seeds, strict=True):
            try:
                outcomes.append(cls._train_one(config, flow, train, validation, seed, lambda: report(1)))
            except Diverged as error:
                outcomes.append(error)
        return outcomes

    @staticmethod
    def _train_one(
        config: FlowEnsembleConfig, flow: Flow, train: Rows, validation: Rows, seed: int, on_epoch: Callable[[], None]
    ) -> TrainedMember:
        return train_member(config, flow, train, validation, seed, on_epoch)

    def log_prob(self, target: Tensor, context: Tensor) -> Tensor:
        return torch.stack([flow.log_prob(target, context) for flow in self._flows])

    @torch.no_grad()
    def from_noise(self, noise: Tensor, context: Tensor, members: Sequence[int]) -> Tensor:
        _, n_targets, n_rows, n_draws = noise.shape
        rows = context.repeat_interleave(n_draws, 0)
        flat = noise.permute(0, 2, 3, 1).reshape(len(members), n_rows * n_draws, n_targets)
        drawn = [_from_noise(self._flows[member], each, rows) for member, each in zip(members, flat, strict=True)]
        return torch.stack(drawn).view(len(members), n_rows, n_draws, n_targets).permute(0, 3, 1, 2)


class StackedBackend:
    """All members together; those of other depth stand in a stack of their own."""

    def __init__(self, flows: Sequence[Flow]) -> None:
        self._n_members = len(flows)
        self._groups = [
            (places, FlowStack([cast("ConditionalFlow", flows[place]) for place in places]))
            for places in _groups_of(flows)
        ]
        self._subsets: dict[tuple[int, ...], FlowStack] = {}

    @staticmethod
    def train(
        config: FlowEnsembleConfig,
        flows: Sequence[Flow],
        train: Rows,
        validation: Rows,
        batch_seeds: Sequence[int],
        report: _Report,
    ) -> list[TrainedMember | Diverged]:
        """One outcome a flow; ``report`` is called with the number of members that finished an epoch."""
        outcomes: dict[int, TrainedMember | Diverged] = {}
        for places in _groups_of(flows):
            stacked = [cast("ConditionalFlow", flows[place]) for place in places]
            seeds = [batch_seeds[place] for place in places]
            found = train_stack(config, stacked, train, validation, seeds, report)
            outcomes |= dict(zip(places, found, strict=True))
        return [outcomes[place] for place in range(len(flows))]

    def log_prob(self, target: Tensor, context: Tensor) -> Tensor:
        if len(self._groups) == 1:
            return self._groups[0][1].log_prob(target, context)
        values = target.new_empty(self._n_members, len(target))
        for places, stack in self._groups:
            values[places] = stack.log_prob(target, context)
        return values

    @torch.no_grad()
    def from_noise(self, noise: Tensor, context: Tensor, members: Sequence[int]) -> Tensor:
        drawn = torch.empty_like(noise)
        order = {member: place for place, member in enumerate(members)}
        for places, stack in self._groups:
            chosen = [number for number, place in enumerate(places) if place in order]
            if not chosen:
                continue
            used = stack if len(chosen) == len(places) else self._subset(stack, places, chosen)
            mine = [order[places[number]] for number in chosen]
            drawn[mine] = used.from_noise(noise[mine], context)
        return drawn

    def _subset(self, stack: FlowStack, places: Sequence[int], chosen: Sequence[int]) -> FlowStack:
        key = tuple(places[number] for number in chosen)
        if key not in self._subsets:
            self._subsets = {key: stack.subset(chosen)}
        return self._subsets[key]


class PyroBackend(ModuleBackend):
    """Pyro's transforms, trained by the loop they were released with."""

    @staticmethod
    def _train_one(
        config: FlowEnsembleConfig, flow: Flow, train: Rows, validation: Rows, seed: int, on_epoch: Callable[[], None]
    ) -> TrainedMember:
        from posteriors.flows.pyro_flows import PyroFlow, train_released  # heavy, and only this recipe needs it

        return train_released(config, cast("PyroFlow", flow), train, validation, seed, on_epoch)


_BACKENDS: dict[str, type[ModuleBackend] | type[StackedBackend]] = {
    "stacked": StackedBackend,
    "nflows": ModuleBackend,
    "pyro": PyroBackend,
}


def make_backend(name: str) -> type[ModuleBackend] | type[StackedBackend]:
    """The class of a backend by name."""
    return _BACKENDS[name]


def make_member(config: FlowEnsembleConfig, n_targets: int, n_context: int, start: LinearStart | None = None) -> Flow:
    """An untrained member; its weights come from torch's global generator, the start is of ``default`` alone."""
    if config.backend == "pyro":
        from posteriors.flows.pyro_flows import make_pyro_flow  # heavy, and only this recipe needs it

        return make_pyro_flow(config, n_targets, n_context)
    return make_flow(config, n_targets, n_context, start)


def _groups_of(flows: Iterable[Flow]) -> list[list[int]]:
    """Places of the flows that can share a stack."""
    groups: dict[int, list[int]] = {}
    for place, flow in enumerate(flows):
        groups.setdefault(flow.n_couplings, []).append(place)
    return list(groups.values())


def _from_noise(flow: Flow, noise: Tensor, context: Tensor) -> Tensor:
    try:
        drawn = flow.from_noise(noise, context)
    except AssertionError:  # nflows and pyro assert a discriminant >= 0, which float32 rounding can miss by a little
        drawn = torch.full_like(noise, torch.nan)
    if torch.isfinite(drawn).all():
        return drawn
    drawn = flow.double().from_noise(noise.double(), context.double()).to(noise.dtype)
    flow.to(noise.dtype)
    return drawn

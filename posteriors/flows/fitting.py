"""Members from their seeds to trained flows: initial weights, batches, a second attempt for those that diverge."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from posteriors.flows.backends import make_backend, make_member
from posteriors.flows.config import FlowEnsembleConfig
from posteriors.flows.nflows_flows import Flow
from posteriors.flows.training import Diverged, Rows, Schedule, TrainedMember

__all__ = ["train_members", "with_weight_decay"]

_LOGGER = logging.getLogger(__name__)
_ATTEMPTS = 2
_DECAYS = (0.1, 1.0)  # the first is right for few rows, and for many where the density is far from a Gaussian
_MANY_ROWS = 8_000


def train_members(
    config: FlowEnsembleConfig,
    n_seen: Sequence[int],
    train: Rows,
    validation: Rows,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> list[TrainedMember]:
    """The members that did not diverge twice, in their order.

    Parameters
    ----------
    n_seen : (members,) leading context columns that each member sees.
    progress : called with (epochs done, epochs at most) of all members.
    """
    report = _Progress(config.members * config.epochs, progress)
    outcomes: dict[int, TrainedMember] = {}
    for attempt in range(_ATTEMPTS):
        missing = [index for index in range(len(n_seen)) if index not in outcomes]
        if not missing:
            break
        seeds = [_member_seed(seed, index, attempt) for index in missing]
        flows = [
            _seeded_member(config.member(member_seed), train, n_seen[index], member_seed)
            for index, member_seed in zip(missing, seeds, strict=True)
        ]
        batch_seeds = [_member_seed(seed, 0, attempt)] * len(missing) if config.shared_batches else seeds
        found = make_backend(config.backend).train(config, flows, train, validation, batch_seeds, report)
        for index, outcome in zip(missing, found, strict=True):
            if isinstance(outcome, Diverged):
                _LOGGER.warning("member %d, attempt %d diverged: %s", index, attempt + 1, outcome)
            else:
                outcomes[index] = outcome
    return [outcomes[index] for index in sorted(outcomes)]


def with_weight_decay(
    config: FlowEnsembleConfig, n_context: int, train: Rows, validation: Rows, seed: int
) -> FlowEnsembleConfig:
    """The configuration with its weight decay resolved: from 8,000 rows on by pilot members of half as many steps.

    Few rows do not tell which decay is better, and cannot pay for the pilots.

    Parameters
    ----------
    n_context : context columns of a member.
    seed : as of `train_members`; the pilots start from the same weights and see the same batches.
    """
    if config.weight_decay is not None:
        return config
    if len(train) < _MANY_ROWS:
        return replace(config, weight_decay=_DECAYS[0])
    plan = Schedule.plan(config, len(train))
    n_steps = max(1, plan.steps_per_epoch * plan.n_epochs // 2)
    found = {}
    for decay in _DECAYS:
        pilot = replace(config, members=1, weight_decay=decay, max_steps=n_steps)
        trained = train_members(pilot, [n_context], train, validation, seed, None)
        found[decay] = trained[0].validation_nll if trained else math.inf
    _LOGGER.info("validation NLL by weight decay: %s", found)
    return replace(config, weight_decay=min(found, key=found.__getitem__))


class _Progress:
    def __init__(self, total: int, callback: Callable[[int, int], None] | None) -> None:
        self._done, self._total, self._callback = 0, total, callback

    def __call__(self, n_epochs: int) -> None:
        self._done = min(self._done + n_epochs, self._total)
        if self._callback is not None:
            self._callback(self._done, self._total)


def _member_seed(seed: int, index: int, attempt: int) -> int:
    return int(np.random.SeedSequence([seed, index, attempt]).generate_state(1)[0])


def _seeded_member(config: FlowEnsembleConfig, train: Rows, n_context: int, seed: int) -> Flow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make_member(config, train.target.shape[1], n_context).to(train.target.device, train.target.dtype)

"""Members from their seeds to trained flows: initial weights, batches, a second attempt for those that diverge."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch

from posteriors.flows.backends import make_backend, make_member
from posteriors.flows.config import FlowEnsembleConfig
from posteriors.flows.linear_start import LinearStart
from posteriors.flows.nflows_flows import Flow
from posteriors.flows.training import Diverged, Rows, TrainedMember

__all__ = ["LINEAR_DECAY", "train_members"]

LINEAR_DECAY = 1.0
"""Weight decay from which on members start as the Gaussian that is linear in the context."""

_LOGGER = logging.getLogger(__name__)
_ATTEMPTS = 2


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
    start = _start(config, train, validation) if config.recipe == "default" else None
    report = _Progress(config.members * config.epochs, progress)
    outcomes: dict[int, TrainedMember] = {}
    for attempt in range(_ATTEMPTS):
        missing = [index for index in range(len(n_seen)) if index not in outcomes]
        if not missing:
            break
        seeds = [_member_seed(seed, index, attempt) for index in missing]
        flows = [
            _seeded_member(config.member(member_seed), train, n_seen[index], member_seed, start)
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


class _Progress:
    def __init__(self, total: int, callback: Callable[[int, int], None] | None) -> None:
        self._done, self._total, self._callback = 0, total, callback

    def __call__(self, n_epochs: int) -> None:
        self._done = min(self._done + n_epochs, self._total)
        if self._callback is not None:
            self._callback(self._done, self._total)


def _member_seed(seed: int, index: int, attempt: int) -> int:
    return int(np.random.SeedSequence([seed, index, attempt]).generate_state(1)[0])


def _seeded_member(
    config: FlowEnsembleConfig, train: Rows, n_context: int, seed: int, start: LinearStart | None
) -> Flow:
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(seed)
        return make_member(config, train.target.shape[1], n_context, start).to(train.target.device, train.target.dtype)


def _start(config: FlowEnsembleConfig, train: Rows, validation: Rows) -> LinearStart:
    """The start of all members, in float64.

    Decay pulls towards a linear Gaussian: where it is strong they start as one, where it is weak far from it.
    """
    known, held = (
        (rows.context.double().cpu().numpy(), rows.target.double().cpu().numpy()) for rows in (train, validation)
    )
    return LinearStart.fit(known, held, linear=(config.weight_decay or 0) >= LINEAR_DECAY)

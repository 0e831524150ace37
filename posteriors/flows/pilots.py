"""What the training rows decide of the recipe ``default``: its size and weight decay, by pilot members.

Few rows do not tell which is better, and cannot pay for pilots: below 8,000 of them a fit is small with the weaker
decay. From there on a pilot is one member of a candidate on a shortened schedule, judged by its NLL on the validation
rows. Two small pilots choose the decay. Where the better one beats a Gaussian that is linear in the context by .05
nats, a third pilot tries the large size, where that can be of use: two targets or more, which couplings couple, and at
most 16 columns of context, which are whitened in full (wider contexts were not tried). The large size takes some five
times the CPU time. Its pilot is cut shorter than a small one, at twice the rate, and it is taken if that pilot is still
better by .01 nats and by half the standard error of the difference: the rest of the schedule is still to come.
Measured: docs/statistics.md.
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from scipy.stats import multivariate_normal
from torch import Tensor

from posteriors.flows.config import FlowEnsembleConfig
from posteriors.flows.fitting import train_members
from posteriors.flows.recipes import DECAYS, Size
from posteriors.flows.training import Rows, Schedule

__all__ = ["Pilot", "settle"]

_LOGGER = logging.getLogger(__name__)
_MANY_ROWS = 8_000
_NARROW = 16  # columns of context
_SHARES: dict[Size, float] = {"small": 1 / 2, "large": 1 / 4}  # of the steps of a fit that its pilot takes
_RATES: dict[Size, float] = {"small": 1.0, "large": 2.0}  # of the learning rate: a quarter of the schedule bears more
_CURVED = 0.05  # nats by which a small pilot must beat a linear Gaussian for the large one to be tried
_GAIN = 0.01  # nats that the large size must gain: what is less is not worth its time
_NOISE = 0.5  # and standard errors of that gain


@dataclass(frozen=True)
class Pilot:
    """A candidate for a fit and what its pilot has shown.

    Attributes
    ----------
    size : ``"small"``, ``"large"``, or ``"given"`` where the configuration has one.
    weight_decay : of the candidate.
    n_steps : optimiser steps of the pilot.
    validation_nll : mean over validation rows, in z-scored nats; None where the pilot diverged.
    chosen : whether the ensemble was fitted so.
    """

    size: str
    weight_decay: float
    n_steps: int
    validation_nll: float | None
    chosen: bool = False

    def shifted(self, nats: float) -> Self:
        """The pilot with its NLL in another unit of the targets."""
        return self if self.validation_nll is None else replace(self, validation_nll=self.validation_nll + nats)

    def to_dict(self) -> dict[str, Any]:
        """All fields as a dictionary that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class _Trial:
    """A pilot with its configuration and the log density (n,) at each validation row, none where it diverged."""

    config: FlowEnsembleConfig
    pilot: Pilot
    log_prob: Tensor

    @property
    def nll(self) -> float:
        return math.inf if self.pilot.validation_nll is None else self.pilot.validation_nll

    def beats(self, other: _Trial) -> bool:
        """Whether its NLL is lower by what is worth it, and by half the standard error of the paired difference."""
        if math.isinf(self.nll) or math.isinf(other.nll):
            return self.nll < other.nll
        gain = self.log_prob - other.log_prob
        return bool(gain.mean() > max(_GAIN, _NOISE * float(gain.std()) / math.sqrt(len(gain))))


def settle(
    config: FlowEnsembleConfig, n_context: int, train: Rows, validation: Rows, seed: int
) -> tuple[FlowEnsembleConfig, tuple[Pilot, ...]]:
    """The configuration with its size and weight decay, and the pilots that have chosen them, if any.

    Parameters
    ----------
    config : what it gives is kept.
    n_context : context columns of a member.
    seed : as of `train_members`; the pilots start from the same seeds and see the same batches. Their NLL are in nats
        of the scaled targets.
    """
    few = _candidate(config, "small", DECAYS[0])
    decays = DECAYS if config.weight_decay is None else (config.weight_decay,)
    large = config.has_open_size and n_context <= _NARROW and train.target.shape[1] > 1
    if len(train) < _MANY_ROWS or (len(decays) == 1 and not large):
        return few, ()
    trials = [_try(config, "small", decay, n_context, train, validation, seed) for decay in decays]
    best = min(trials, key=lambda trial: trial.nll)  # the first of equals
    if large and _linear_nll(train, validation) - best.nll >= _CURVED:
        trials.append(_try(config, "large", decays[0], n_context, train, validation, seed))
        best = trials[-1] if trials[-1].beats(best) else best
    pilots = tuple(replace(trial.pilot, chosen=trial is best) for trial in trials)
    _LOGGER.info("pilots: %s", pilots)
    return best.config, pilots


def _candidate(config: FlowEnsembleConfig, size: Size, decay: float) -> FlowEnsembleConfig:
    sized = config.of_size(size)
    return sized if sized.weight_decay is not None else replace(sized, weight_decay=decay)


def _linear_nll(train: Rows, validation: Rows) -> float:
    """Mean NLL of the validation rows under the Gaussian with linear mean and one covariance, by least squares."""
    known, held = (
        (np.hstack([np.ones((len(rows), 1)), rows.context.double().cpu().numpy()]), rows.target.double().cpu().numpy())
        for rows in (train, validation)
    )
    slopes = np.linalg.lstsq(*known, rcond=None)[0]
    residual, error = known[1] - known[0] @ slopes, held[1] - held[0] @ slopes
    noise = multivariate_normal(np.zeros(error.shape[1]), residual.T @ residual / len(residual), allow_singular=True)
    return -float(noise.logpdf(error).mean())


def _try(
    config: FlowEnsembleConfig, size: Size, decay: float, n_context: int, train: Rows, validation: Rows, seed: int
) -> _Trial:
    candidate = _candidate(config, size, decay)
    plan = Schedule.plan(candidate, len(train))
    n_steps = max(1, int(plan.steps_per_epoch * plan.n_epochs * _SHARES[size]))
    rate = _RATES[size] * candidate.learning_rate
    short = replace(candidate, members=1, max_steps=n_steps, learning_rate=rate)
    trained = train_members(short, [n_context], train, validation, seed, None)
    name = size if config.has_open_size else "given"
    if not trained:
        return _Trial(candidate, Pilot(name, decay, n_steps, None), torch.empty(0))
    with torch.no_grad():
        log_prob = trained[0].flow.log_prob(validation.target, validation.context).double()
    return _Trial(candidate, Pilot(name, decay, n_steps, trained[0].validation_nll), log_prob)

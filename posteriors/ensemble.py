"""A mixture of conditional flows over physical targets, given a frozen embedding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from posteriors.backends import make_backend
from posteriors.config import FlowEnsembleConfig
from posteriors.drawing import draw_blocks
from posteriors.ensemble_file import read_ensemble, write_ensemble
from posteriors.fitting import train_members
from posteriors.inputs import as_context, as_pair, check_ids
from posteriors.scaling import ContextScaling, TargetScaling, member_components
from posteriors.training import Rows, TrainedMember

__all__ = ["FlowEnsemble"]

_CHUNK = 10_000  # rows of one pass over all members: what stays in cache on a CPU
_MIN_ROWS = 20
_VALIDATION_SHARE = 0.1


class FlowEnsemble:
    """Equally weighted mixture of conditional normalising flows, p(target | context).

    Make one with `fit` or `load`. Scaling of context and target was fitted on the training rows and is undone inside:
    densities are per unit of the targets, draws are in their units.

    Attributes
    ----------
    config : the `FlowEnsembleConfig`.
    n_context, n_targets : number of context columns c and of targets t.
    log_jacobian : log |d target / d z-score| in nats. ``log_prob(...) + log_jacobian`` is the log density of the
        z-scored targets; a mean NLL in z-scored units is the mean NLL minus ``log_jacobian``.
    members : the trained flows.
    validation_nll : (members,) each member's best mean NLL on the validation rows, in z-scored nats.
    best_epoch : (members,) the epoch, from 0, whose weights were kept.
    n_diverged : members that diverged twice and were dropped.
    """

    def __init__(
        self,
        config: FlowEnsembleConfig,
        context_scaling: ContextScaling,
        target_scaling: TargetScaling,
        members: Sequence[TrainedMember],
        n_diverged: int,
    ) -> None:
        self.config = config
        self.context_scaling = context_scaling
        self.target_scaling = target_scaling
        self.members = [member.flow for member in members]
        self.validation_nll = np.array([member.validation_nll for member in members])
        self.best_epoch = np.array([member.best_epoch for member in members])
        self.n_diverged = n_diverged
        self.n_context, self.n_targets = len(context_scaling.mean), len(target_scaling.mean)
        self.log_jacobian = target_scaling.log_jacobian
        self._backend = make_backend(config.backend)(self.members)

    @classmethod
    def fit(
        cls,
        context: ArrayLike | Tensor,
        target: ArrayLike | Tensor,
        *,
        config: FlowEnsembleConfig | None = None,
        seed: int = 0,
        validation: tuple[ArrayLike | Tensor, ArrayLike | Tensor] | None = None,
        ids: ArrayLike | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> FlowEnsemble:
        """Fit an ensemble.

        Parameters
        ----------
        context : (n, c) what the density is conditioned on; c = 1 of one value gives an unconditional density.
        target : (n, t) or (n,), in any units.
        config : None is ``FlowEnsembleConfig()``.
        seed : of initial weights, shuffles and the held-out tenth. The fit is the same for the same seed, rows and
            number of threads.
        validation : (context, target) by which each member's epoch is chosen; None: a tenth of the rows is held out.
        ids : (n,) unique integers or strings; rows are put in their order first, which makes the fit independent of
            the order in which they were given.
        progress : called with (epochs done, epochs at most) of all members.

        Raises
        ------
        ValueError
            For shapes that do not fit, NaN or infinite values, fewer than 20 rows, constant targets, repeated ids, or
            when more than half of the members diverge.
        """
        config = FlowEnsembleConfig() if config is None else config
        context_nc, target_nt = as_pair(context, target)
        if ids is not None:
            order = np.argsort(check_ids(ids, len(target_nt)), kind="stable")
            context_nc, target_nt = context_nc[order], target_nt[order]
        if len(target_nt) < _MIN_ROWS:
            raise ValueError(f"{len(target_nt)} training rows: a flow needs at least {_MIN_ROWS}")
        if validation is None:
            context_nc, target_nt, held_context, held_target = _hold_out(context_nc, target_nt, seed)
        else:
            held_context, held_target = as_pair(*validation, name="validation ")
            _check_same_columns(context_nc, held_context, "context")
            _check_same_columns(target_nt, held_target, "target")
        target_scaling = TargetScaling.fit(target_nt)
        if config.recipe == "default":
            context_scaling = ContextScaling.principal_components(context_nc, config.n_components)
            n_seen = member_components(context_scaling.n_components, config.members)
        else:
            context_scaling = ContextScaling.standardise(context_nc)
            n_seen = [context_scaling.n_components] * config.members
        train = _scaled_rows(config, context_scaling, target_scaling, context_nc, target_nt)
        held = _scaled_rows(config, context_scaling, target_scaling, held_context, held_target)
        members = train_members(config, n_seen, train, held, seed, progress)
        n_diverged = config.members - len(members)
        if 2 * len(members) < config.members:
            raise ValueError(
                f"{n_diverged} of {config.members} members diverged twice, at least half must be left: look for "
                f"extreme values in the targets or lower learning_rate = {config.learning_rate:g}"
            )
        return cls(config, context_scaling, target_scaling, members, n_diverged)

    def log_prob(self, target: ArrayLike | Tensor, context: ArrayLike | Tensor) -> NDArray[np.float64]:
        """Log density (n,) of the mixture in nats, in the targets' units.

        Parameters
        ----------
        target : (n, t), or (n,) where t = 1.
        context : (n, c).

        Raises
        ------
        ValueError
            For shapes that do not fit and for NaN or infinite values.
        """
        return np.logaddexp.reduce(self.member_log_prob(target, context), axis=0) - math.log(len(self.members))

    def member_log_prob(self, target: ArrayLike | Tensor, context: ArrayLike | Tensor) -> NDArray[np.float64]:
        """Log density (members, n) of each member in nats, in the targets' units; arguments as in `log_prob`."""
        context_nc, target_nt = as_pair(context, target)
        self._check_columns(context_nc, target_nt)
        rows = _scaled_rows(self.config, self.context_scaling, self.target_scaling, context_nc, target_nt)
        size = max(1, _CHUNK // len(self.members))
        chunks = zip(rows.target.split(size), rows.context.split(size), strict=True)
        scaled = torch.cat([self._backend.log_prob(*chunk).double() for chunk in chunks], dim=1)
        return scaled.cpu().numpy() - self.log_jacobian

    def draw(self, context: ArrayLike | Tensor, n_draws: int = 1000, seed: int = 0) -> NDArray[np.float32]:
        """Draws (n_draws, n, t) from the mixture, in the targets' units.

        Each draw belongs to one member, the same for every galaxy: all members give n_draws // members draws, and
        members chosen by the seed give one of the remainder each; their order is shuffled.

        Parameters
        ----------
        context : (n, c).
        n_draws : at least 1.
        seed : the draws are the same for the same seed, context and number of threads.

        Raises
        ------
        ValueError
            For shapes that do not fit, NaN or infinite values, and n_draws < 1.
        """
        context_nc = as_context(context)
        self._check_columns(context_nc)
        if n_draws < 1:
            raise ValueError(f"n_draws = {n_draws}: at least 1 is needed")
        encoded = _tensor(self.context_scaling.forward(context_nc), self.config)
        draws = np.empty((n_draws, len(encoded), self.n_targets), dtype=np.float32)
        for galaxies, scaled in draw_blocks(self._backend, len(self.members), encoded, self.n_targets, n_draws, seed):
            draws[:, galaxies] = self.target_scaling.inverse(scaled)
        return draws

    def save(self, path: str | Path) -> None:
        """Write the ensemble to one safetensors file, with its configuration in the metadata."""
        write_ensemble(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> FlowEnsemble:
        """Read an ensemble that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is not an ensemble or was damaged.
        """
        return cls(**read_ensemble(Path(path)))

    def _check_columns(self, context: NDArray, target: NDArray | None = None) -> None:
        if context.shape[1] != self.n_context:
            raise ValueError(f"context has {context.shape[1]} columns: the ensemble was fitted on {self.n_context}")
        if target is not None and target.shape[1] != self.n_targets:
            raise ValueError(f"target has {target.shape[1]} columns: the ensemble was fitted on {self.n_targets}")


def _hold_out(context: NDArray, target: NDArray, seed: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    order = np.random.default_rng(seed).permutation(len(target))
    n_held = max(2, round(_VALIDATION_SHARE * len(target)))
    held, kept = np.sort(order[:n_held]), np.sort(order[n_held:])
    return context[kept], target[kept], context[held], target[held]


def _check_same_columns(train: NDArray, held: NDArray, name: str) -> None:
    if train.shape[1] != held.shape[1]:
        raise ValueError(
            f"validation {name} has {held.shape[1]} columns and training {name} {train.shape[1]}: they must agree"
        )


def _scaled_rows(
    config: FlowEnsembleConfig,
    context_scaling: ContextScaling,
    target_scaling: TargetScaling,
    context: NDArray,
    target: NDArray,
) -> Rows:
    scaled = target_scaling.forward(target)
    return Rows(_tensor(context_scaling.forward(context), config), _tensor(scaled, config))


def _tensor(values: NDArray, config: FlowEnsembleConfig) -> Tensor:
    return torch.from_numpy(values).to(getattr(torch, config.dtype))

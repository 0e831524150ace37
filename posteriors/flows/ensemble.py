"""A mixture of conditional flows over physical targets, given a frozen embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from posteriors.flows.backends import Backend, make_backend
from posteriors.flows.config import FlowEnsembleConfig
from posteriors.flows.draw_files import write_draws
from posteriors.flows.drawing import draw_blocks
from posteriors.flows.ensemble_file import FittedEnsemble, read_ensemble, write_ensemble
from posteriors.flows.fitting import train_members
from posteriors.flows.limits import Limit
from posteriors.flows.mixture_weights import log_weights, stacked_weights
from posteriors.flows.pilots import settle
from posteriors.flows.scaling import ContextScaling, TargetScaling
from posteriors.flows.summaries import climb_to_mode, quantiles_of
from posteriors.flows.training import Rows
from posteriors.inputs import as_pair, check_context, check_ids
from posteriors.scores.density import nll_mixture

__all__ = ["FlowEnsemble"]

_CHUNK = 10_000  # rows of one pass over all members: what stays in cache on a CPU
_MIN_ROWS = 20
_VALIDATION_SHARE = 0.1


class FlowEnsemble:
    """Mixture of conditional normalising flows, p(target | context) = sum_k w_k p_k(target | context).

    Make one with `fit` or `load`. Scaling of context and target was fitted on the training rows and is undone inside:
    densities are per unit of the targets, draws are in their units.

    Attributes
    ----------
    config : the `FlowEnsembleConfig`, with what the training rows decided.
    pilots : the `posteriors.flows.pilots.Pilot` of each candidate for that; none where there was nothing to decide.
    n_context, n_targets : number of context columns c and of targets t.
    log_jacobian : log |d target / d z-score| in nats. ``log_prob(...) + log_jacobian`` is the log density of the
        z-scored targets; a mean NLL in z-scored units is the mean NLL minus ``log_jacobian``.
    members : the trained flows.
    weights : (members,) w, of the kind that ``config.weights`` names.
    stacked_weights : (members,) the weights with the lowest NLL on the validation rows, whichever are used.
    validation_nll : (members,) each member's best mean NLL on the validation rows, in z-scored nats.
    best_epoch : (members,) the epoch, from 0, whose weights were kept.
    n_diverged : members that diverged twice and were dropped.
    device : where the members are.
    """

    def __init__(self, fitted: FittedEnsemble, *, device: str | torch.device = "cpu") -> None:
        self._fitted = fitted
        self.config, self.n_diverged, self.stacked_weights = fitted.config, fitted.n_diverged, fitted.stacked_weights
        self.pilots = tuple(fitted.pilots)
        self.context_scaling, self.target_scaling = fitted.context_scaling, fitted.target_scaling
        self.device = torch.device(device)
        self.members = [member.flow.to(self.device) for member in fitted.members]
        self.validation_nll = np.array([member.validation_nll for member in fitted.members])
        self.best_epoch = np.array([member.best_epoch for member in fitted.members])
        self.n_context, self.n_targets = len(self.context_scaling.mean), len(self.target_scaling.mean)
        self.log_jacobian = self.target_scaling.log_jacobian
        self._backend = make_backend(self.config.backend)(self.members)
        uniform = np.full(len(self.members), 1 / len(self.members))
        self.weights = self.stacked_weights if self.config.weights == "stacked" else uniform

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
        limits: Sequence[Limit | None] | None = None,
        device: str | torch.device = "cpu",
        progress: Callable[[int, int], None] | None = None,
    ) -> FlowEnsemble:
        """Fit an ensemble.

        Parameters
        ----------
        context : (n, c) what the density is conditioned on; c = 1 of one value gives an unconditional density.
        target : (n, t) or (n,), in any units.
        config : None is ``FlowEnsembleConfig()``.
        seed : of initial weights, shuffles and the held-out tenth. The fit is the same for the same seed, rows, device
            and number of threads.
        validation : (context, target) by which each member's epoch and the stacked weights are chosen; None: a tenth
            of the rows is held out.
        ids : (n,) unique integers or strings; rows are put in their order first, which makes the fit independent of
            the order in which they were given. None: they are put in the order of their values, which does the same.
        limits : for each target its hard limits (lower, upper), None for none: below and above the density is 0. The
            flow sees what `posteriors.flows.limits.TargetLimits` makes of it; densities and draws stay in its units.
        device : where members are trained and evaluated, e.g. "cuda".
        progress : called with (epochs done, epochs at most) of all members.

        Raises
        ------
        ValueError
            For shapes that do not fit, NaN or infinite values, fewer than 20 rows, constant targets, repeated ids, or
            targets on or beyond their limits, or when more than half of the members diverge.
        """
        config = FlowEnsembleConfig() if config is None else config
        context_nc, target_nt = as_pair(context, target)
        if ids is None:
            order = np.lexsort(np.hstack([context_nc, target_nt]).T)
        else:
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
        target_scaling = TargetScaling.fit(target_nt, limits)
        target_scaling.limits.check(held_target, "validation ")
        context_scaling = _fit_context(config, context_nc)
        n_seen = context_scaling.n_components
        scale = partial(_scaled_rows, config, context_scaling, target_scaling, device=torch.device(device))
        train, held = scale(context_nc, target_nt), scale(held_context, held_target)
        config, pilots = settle(config, n_seen, train, held, seed)
        members = train_members(config, [n_seen] * config.members, train, held, seed, progress)
        n_diverged = config.members - len(members)
        if 2 * len(members) < config.members:
            raise ValueError(
                f"{n_diverged} of {config.members} members diverged twice, at least half must be left: look for "
                f"extreme values in the targets or lower learning_rate = {config.learning_rate:g}"
            )
        to_z_scores = float(target_scaling.log_slope(held.target).mean()) + target_scaling.log_jacobian
        members = [replace(member, validation_nll=member.validation_nll - to_z_scores) for member in members]
        pilots = tuple(pilot.shifted(-to_z_scores) for pilot in pilots)
        backend = make_backend(config.backend)([member.flow for member in members])
        weights = stacked_weights(_member_log_prob(backend, held, len(members)).cpu().numpy())
        fitted = FittedEnsemble(config, context_scaling, target_scaling, members, n_diverged, weights, pilots)
        return cls(fitted, device=device)

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
        return -nll_mixture(self.member_log_prob(target, context), self.weights)

    def member_log_prob(self, target: ArrayLike | Tensor, context: ArrayLike | Tensor) -> NDArray[np.float64]:
        """Log density (members, n) of each member in nats, in the targets' units; arguments as in `log_prob`."""
        context_nc, target_nt = as_pair(context, target)
        self._check_columns(context_nc, target_nt)
        found = np.full((len(self.members), len(target_nt)), -np.inf)
        inside = self.target_scaling.limits.inside(target_nt)  # elsewhere the density is 0
        size = max(1, _CHUNK // len(self.members))
        known = np.flatnonzero(inside)
        for start in range(0, len(known), size):
            rows = known[start : start + size]
            chunk = self._scaled(context_nc[rows], target_nt[rows])
            with torch.no_grad():
                scaled = self._backend.log_prob(chunk.target, chunk.context).double()
            found[:, rows] = (scaled + self.target_scaling.log_slope(chunk.target.double())).cpu().numpy()
        return found

    def draw(self, context: ArrayLike | Tensor, n_draws: int = 1000, seed: int = 0) -> NDArray[np.float32]:
        """Draws (n_draws, n, t) from the mixture, in the targets' units.

        Each draw belongs to one member, the same for every galaxy: members give their share by weight, what is left
        over goes to those with the largest remainders and among equal ones by the seed; their order is shuffled.

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
        context_nc = check_context(context)
        draws = np.empty((_check_count(n_draws), len(context_nc), self.n_targets), dtype=np.float32)
        for galaxies, block in self._draw_blocks(context_nc, n_draws, seed):
            draws[:, galaxies] = block
        return draws

    def sample(
        self,
        path: str | Path,
        context: ArrayLike | Tensor,
        ids: ArrayLike,
        *,
        names: Sequence[str] | None = None,
        n_draws: int = 1000,
        seed: int = 0,
    ) -> None:
        """Write the draws that `draw` returns to a file, block by block: 10^6 galaxies need no more memory than 10^3.

        Only the context is the caller's to hold: a `numpy.memmap` is read a block at a time.

        Parameters
        ----------
        path : ``.npz`` with ``target_id`` (n,), ``draws`` (n, n_draws, t) and ``targets`` (t,); or ``.parquet``, a row
            a galaxy with ``target_id`` and one list of draws for each target.
        context : (n, c).
        ids : (n,) unique integers that name the galaxies.
        names : of the t targets, ``target_0`` and so on where not given.
        n_draws, seed : as in `draw`.

        Raises
        ------
        ValueError
            As `draw`, for another suffix, and for ids or names that do not fit.
        """
        context_nc = check_context(context)
        target_id = check_ids(ids, len(context_nc))
        if not np.issubdtype(target_id.dtype, np.integer):
            raise ValueError(f"ids of type {target_id.dtype}: integers are needed")
        labels = tuple(f"target_{number}" for number in range(self.n_targets)) if names is None else tuple(names)
        if len(set(labels)) != self.n_targets:
            raise ValueError(f"names {labels}: {self.n_targets} different ones are needed, one for each target")
        blocks = self._draw_blocks(context_nc, _check_count(n_draws), seed)
        by_galaxy = (block.swapaxes(0, 1).astype(np.float32) for _, block in blocks)
        write_draws(Path(path), by_galaxy, ids=target_id.astype(np.int64), names=labels, n_draws=n_draws)

    def quantile(
        self, context: ArrayLike | Tensor, levels: ArrayLike, *, n_draws: int = 1000, seed: int = 0
    ) -> NDArray[np.float64]:
        """Quantiles (levels, n, t) of each target's marginal posterior, from draws, in the targets' units.

        Parameters
        ----------
        context : (n, c).
        levels : (levels,) between 0 and 1.
        n_draws, seed : as in `draw`; a quantile q scatters by sqrt(q (1 - q) / n_draws) / density.

        Raises
        ------
        ValueError
            As `draw`, and for levels outside [0, 1].
        """
        wanted = np.atleast_1d(np.asarray(levels, dtype=np.float64))
        if wanted.ndim != 1 or not ((wanted >= 0) & (wanted <= 1)).all():
            raise ValueError(f"levels = {levels!r}: numbers from 0 to 1 are needed")
        context_nc = check_context(context)
        blocks = self._draw_blocks(context_nc, _check_count(n_draws), seed)
        return quantiles_of(blocks, wanted, len(context_nc), self.n_targets)

    def mode(self, context: ArrayLike | Tensor, *, n_draws: int = 100, seed: int = 0) -> NDArray[np.float64]:
        """The densest point (n, t) of each galaxy's posterior, in the targets' units.

        The densest of some draws, moved uphill along the gradient of the mixture. The mode of a density depends on the
        target's scale: that of log10 M* is not that of M*. Where a target has limits it is the mode of what
        `posteriors.flows.limits.TargetLimits` makes of it: per unit of the target a density may diverge at a limit.

        Parameters
        ----------
        context : (n, c).
        n_draws, seed : draws that the climb may start from.

        Raises
        ------
        ValueError
            As `draw`.
        """
        context_nc = check_context(context)
        found = np.empty((len(context_nc), self.n_targets))
        weights = _tensor(log_weights(self.weights), self.config, self.device)
        for galaxies, draws in self._scaled_blocks(context_nc, _check_count(n_draws), seed):
            best = climb_to_mode(self._backend, weights, draws, self._encoded(context_nc[galaxies]))
            found[galaxies] = self.target_scaling.inverse(best.double().cpu().numpy())
        return found

    def save(self, path: str | Path) -> None:
        """Write the ensemble to one safetensors file, with its configuration in the metadata."""
        write_ensemble(self._fitted, Path(path))

    @classmethod
    def load(cls, path: str | Path, *, device: str | torch.device = "cpu") -> FlowEnsemble:
        """Read an ensemble that `save` wrote, to any device.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is not an ensemble or was damaged.
        """
        return cls(read_ensemble(Path(path)), device=device)

    def _draw_blocks(self, context: NDArray, n_draws: int, seed: int) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Blocks of galaxies with their draws (n_draws, block, t) in the targets' units."""
        for galaxies, scaled in self._scaled_blocks(context, n_draws, seed):
            yield galaxies, self.target_scaling.inverse(scaled)

    def _scaled_blocks(self, context: NDArray, n_draws: int, seed: int) -> Iterator[tuple[slice, NDArray]]:
        self._check_columns(context)

        def encode(galaxies: slice) -> Tensor:
            return self._encoded(context[galaxies])

        return draw_blocks(self._backend, self.weights, encode, len(context), self.n_targets, n_draws, seed)

    def _encoded(self, context: NDArray) -> Tensor:
        forward = self.context_scaling.forward(np.asarray(context, dtype=np.float64))
        return _tensor(forward, self.config, self.device)

    def _scaled(self, context: NDArray, target: NDArray) -> Rows:
        return _scaled_rows(self.config, self.context_scaling, self.target_scaling, context, target, device=self.device)

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


def _fit_context(config: FlowEnsembleConfig, context: NDArray) -> ContextScaling:
    if config.recipe == "default":
        return ContextScaling.principal_components(context, config.n_components)
    if config.recipe == "code":
        return ContextScaling.standardise_as_one(context)
    return ContextScaling.standardise(context)


def _member_log_prob(backend: Backend, rows: Rows, n_members: int) -> Tensor:
    """Log density (members, n) of scaled rows, in float64."""
    size = max(1, _CHUNK // n_members)
    parts = zip(rows.target.split(size), rows.context.split(size), strict=True)
    with torch.no_grad():
        return torch.cat([backend.log_prob(target, context).double() for target, context in parts], dim=1)


def _check_count(n_draws: int) -> int:
    if n_draws < 1:
        raise ValueError(f"n_draws = {n_draws}: at least 1 is needed")
    return n_draws


def _scaled_rows(
    config: FlowEnsembleConfig,
    context_scaling: ContextScaling,
    target_scaling: TargetScaling,
    context: NDArray,
    target: NDArray,
    *,
    device: torch.device,
) -> Rows:
    scaled = target_scaling.forward(target)
    return Rows(_tensor(context_scaling.forward(context), config, device), _tensor(scaled, config, device))


def _tensor(values: NDArray, config: FlowEnsembleConfig, device: torch.device) -> Tensor:
    return torch.from_numpy(values).to(device, getattr(torch, config.dtype))

"""AstroCLIP's released flow: pyro's conditional splines, one for each target, and the loop that trains them.

Every layer transforms each target by a spline that the context alone shapes, so that the Jacobian is diagonal: the
density is a product of marginals, whatever the targets' correlation.

References
----------
Parker et al. 2024, AstroCLIP, arXiv:2310.03024; its code, downstream_tasks/property_estimation, commit 9d85069.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pyro.distributions as dist
import torch
from pyro.distributions.conditional import ConditionalComposeTransformModule, ConditionalTransformedDistribution
from pyro.distributions.transforms import conditional_spline
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from posteriors.flows.config import FlowEnsembleConfig
from posteriors.flows.nflows_flows import Flow
from posteriors.flows.training import Diverged, Rows, TrainedMember

__all__ = ["PyroFlow", "make_pyro_flow", "train_released"]

_LOWEST_RATE = 1e-6
_FIRST_STOP = 10  # epochs after which the loop may stop


class PyroFlow(Flow):
    """A stack of pyro's elementwise conditional splines over a standard normal base.

    Parameters
    ----------
    n_targets, n_context : t and k.
    n_layers, hidden : number of splines a target, and width of the three layers of each one's network.
    n_bins, bound : of the splines.
    """

    def __init__(self, n_targets: int, n_context: int, n_layers: int, hidden: int, n_bins: int, bound: float) -> None:
        super().__init__(n_context, n_layers, hidden)
        self.n_targets = n_targets
        splines = [
            conditional_spline(
                n_targets, n_context, hidden_dims=[hidden] * 3, count_bins=n_bins, bound=bound, order="quadratic"
            )
            for _ in range(n_layers)
        ]
        self.splines = ConditionalComposeTransformModule(splines, cache_size=1)

    def log_prob_per_target(self, target: Tensor, context: Tensor) -> Tensor:
        """Log density (n, t) of each target, in nats: they are independent given the context."""
        zeros = torch.zeros(self.n_targets, dtype=target.dtype, device=target.device)
        base = dist.Normal(zeros, torch.ones_like(zeros), validate_args=False)
        conditional = ConditionalTransformedDistribution(base, [self.splines])
        density = conditional.condition(context[:, : self.n_context]).log_prob(target)
        conditional.clear_cache()
        return density

    def log_prob(self, target: Tensor, context: Tensor) -> Tensor:
        return self.log_prob_per_target(target, context).sum(1)

    def from_noise(self, noise: Tensor, context: Tensor) -> Tensor:
        drawn = noise
        for spline in self.splines.condition(context[:, : self.n_context]).parts:
            drawn = spline(drawn)
        return drawn


def make_pyro_flow(config: FlowEnsembleConfig, n_targets: int, n_context: int) -> PyroFlow:
    """An untrained member of the ``code`` recipe; its weights come from torch's global generator."""
    if isinstance(config.n_couplings, tuple) or isinstance(config.hidden, tuple):
        raise ValueError("a member needs one depth and one width: draw them with FlowEnsembleConfig.member(seed)")
    return PyroFlow(n_targets, n_context, config.n_couplings, config.hidden, config.n_bins, config.tail_bound)


def train_released(
    config: FlowEnsembleConfig,
    flow: PyroFlow,
    train: Rows,
    validation: Rows,
    batch_seed: int,
    on_epoch: Callable[[], None] = lambda: None,
) -> TrainedMember:
    """Train a member as the released loop does: Adam, a cosine over the epochs, an early stop on the last five.

    The loop minimises the mean over galaxies and targets. Two of its slips are mended unless ``config.faithful``: it
    calls the module itself the best one, which is then the last, and it divides a sum of batch means by the number of
    another loader's batches (here: by the number of validation batches, which leaves out the factor between the two).

    Raises
    ------
    Diverged
        If a loss is not finite, or pyro cannot invert a spline.
    """
    optimiser = torch.optim.Adam(flow.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=config.epochs, eta_min=_LOWEST_RATE)
    generator = torch.Generator().manual_seed(batch_seed)
    size = min(config.batch_size or 128, len(train))
    loader: DataLoader = DataLoader(
        TensorDataset(train.context, train.target), batch_size=size, shuffle=True, generator=generator
    )
    history: list[float] = []
    best_epoch, best_nll, best_weights = -1, math.inf, {}
    for epoch in range(config.epochs):
        for context, target in loader:
            loss = -_finite(flow.log_prob_per_target, target, context, epoch).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        nll = _validation_nll(flow, validation, size, epoch, batch_means=config.faithful)
        on_epoch()
        if config.patience and epoch > _FIRST_STOP and nll > sum(history[-config.patience :]) / config.patience:
            break
        history.append(nll)
        if nll < best_nll:
            best_epoch, best_nll = epoch, nll
            best_weights = {name: value.clone() for name, value in flow.state_dict().items()}
        schedule.step()
    if not config.faithful:
        flow.load_state_dict(best_weights)
    return TrainedMember(flow.eval().requires_grad_(False), best_epoch, best_nll)


@torch.no_grad()
def _validation_nll(flow: PyroFlow, rows: Rows, size: int, epoch: int, *, batch_means: bool) -> float:
    """Joint NLL of the rows: their mean, or the mean of the batches' means."""
    parts = zip(rows.target.split(size), rows.context.split(size), strict=True)
    values = [-_finite(flow.log_prob, target, context, epoch).double() for target, context in parts]
    if batch_means:
        return float(torch.stack([value.mean() for value in values]).mean())
    return float(torch.cat(values).mean())


def _finite(function: Callable[[Tensor, Tensor], Tensor], target: Tensor, context: Tensor, epoch: int) -> Tensor:
    try:
        values = function(target, context)
    except AssertionError as error:  # pyro asserts a discriminant >= 0, which float32 rounding can miss by a little
        raise Diverged(f"a spline could not be inverted in epoch {epoch}") from error
    if not torch.isfinite(values).all():
        raise Diverged(f"loss not finite in epoch {epoch}")
    return values

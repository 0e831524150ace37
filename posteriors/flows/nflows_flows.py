"""The flows of an ensemble's members, built from nflows: data to a standard normal base."""

from __future__ import annotations

import math

import torch
from nflows.nn.nets import ResidualNet
from nflows.transforms import CompositeTransform
from nflows.transforms.base import Transform
from torch import Tensor, nn

from posteriors.flows.config import FlowEnsembleConfig
from posteriors.flows.linear_start import LinearStart
from posteriors.flows.splines import UNIT_SLOPE, MarginalSpline, SplineCoupling

__all__ = ["ConditionalAffine", "ConditionalFlow", "Flow", "LinearBase", "decayed_parameters", "make_flow"]


class ConditionalAffine(Transform):
    """Affine map to the base whose mean, scales and mixing depend on the context.

    With y (n, t) and m, s, L functions of the context: z = exp(-s) * (L (y - m)), L unit lower triangular. With a
    normal base y is Gaussian with mean m and Cholesky factor L^-1 diag(exp(s)). The functions are a linear skip that
    starts at zero plus ``hidden`` tanh units; s is bounded by 5 tanh(. / 5).

    Parameters
    ----------
    n_targets, n_context : t and k.
    hidden : number of tanh units.
    """

    def __init__(self, n_targets: int, n_context: int, hidden: int) -> None:
        super().__init__()
        self.n_targets = n_targets
        n_outputs = 2 * n_targets + n_targets * (n_targets - 1) // 2
        self.skip = nn.Linear(n_context, n_outputs)
        self.inner = nn.Linear(n_context, hidden)
        self.outer = nn.Linear(hidden, n_outputs, bias=False)
        nn.init.zeros_(self.skip.weight)
        nn.init.zeros_(self.skip.bias)
        with torch.no_grad():
            self.outer.weight.mul_(0.1)
        rows, columns = torch.tril_indices(n_targets, n_targets, offset=-1)
        self.register_buffer("_below", rows * n_targets + columns, persistent=False)

    def parameters_at(self, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean (n, t), log scale (n, t) and unit lower-triangular mixing (n, t, t) at the contexts (n, k)."""
        t = self.n_targets
        outputs = self.skip(context) + self.outer(torch.tanh(self.inner(context)))
        mean, log_scale, below = outputs.split((t, t, outputs.shape[1] - 2 * t), dim=1)
        mixing = torch.eye(t, dtype=context.dtype, device=context.device).flatten().repeat(len(context), 1)
        mixing = mixing.index_copy(1, self._below, below).view(-1, t, t)
        return mean, 5 * torch.tanh(log_scale / 5), mixing

    def forward(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale, mixing = self.parameters_at(context)
        mixed = (mixing @ (inputs - mean)[..., None])[..., 0]
        return mixed * torch.exp(-log_scale), -log_scale.sum(1)

    def inverse(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale, mixing = self.parameters_at(context)
        mixed = (inputs * torch.exp(log_scale))[..., None]
        solved = torch.linalg.solve_triangular(mixing, mixed, upper=False, unitriangular=True)
        return solved[..., 0] + mean, log_scale.sum(1)


class LinearBase(Transform):
    """Marginal splines g, and a `LinearStart` behind them: z = L a((g(y) - c) / s), c = W x + b.

    Where noise is compressed the mean goes through the splines as well, c = g(W x + b): however these bend the targets,
    noise far narrower than their bins stays where it is. Only the splines are trained.

    Parameters
    ----------
    marginal : the splines.
    start : as of contexts with ``n_context`` columns; None leaves the targets as they are.
    """

    weight: Tensor
    bias: Tensor
    log_scale: Tensor
    reach: Tensor
    mixing: Tensor

    def __init__(self, marginal: MarginalSpline, n_targets: int, n_context: int, start: LinearStart | None) -> None:
        super().__init__()
        self.marginal = marginal
        start = LinearStart.identity(n_targets, n_context) if start is None else start
        for name in ("weight", "bias", "log_scale", "reach", "mixing"):
            self.register_buffer(name, torch.from_numpy(getattr(start, name)).to(torch.get_default_dtype()))

    def _centre(self, context: Tensor) -> Tensor:
        linear = context @ self.weight.T + self.bias
        return torch.where(self.reach > 0, self.marginal(linear)[0], linear)

    def forward(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        values, log_slope = self.marginal(inputs)
        residual = (values - self._centre(context)) * torch.exp(-self.log_scale)
        inner = residual.clamp(-self.reach, self.reach)
        noise = torch.asinh(inner) + (residual - inner) / torch.sqrt(1 + self.reach.square())
        return noise @ self.mixing.T, log_slope + self._log_slope(inner)

    def inverse(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.linalg.solve_triangular(self.mixing, inputs.T, upper=False).T
        reach = torch.asinh(self.reach)
        inner = noise.clamp(-reach, reach)
        residual = torch.sinh(inner) + (noise - inner) * torch.sqrt(1 + self.reach.square())
        outputs, log_slope = self.marginal.inverse(residual * torch.exp(self.log_scale) + self._centre(context))
        return outputs, log_slope - self._log_slope(torch.sinh(inner))

    def _log_slope(self, inner: Tensor) -> Tensor:
        """Log |d noise / d values| (n,) at residuals cut off at the reach."""
        fixed = torch.log(self.mixing.diagonal()) - self.log_scale
        return (fixed - 0.5 * torch.log1p(inner.square())).sum(1)


class Flow(nn.Module):
    """A member of an ensemble: a density over (n, t) scaled targets given (n, k) contexts.

    Parameters
    ----------
    n_context : leading context columns that are seen.
    n_couplings, hidden : its depth and the width of its networks.
    """

    def __init__(self, n_context: int, n_couplings: int, hidden: int) -> None:
        super().__init__()
        self.n_context, self.n_couplings, self.hidden = n_context, n_couplings, hidden

    def log_prob(self, target: Tensor, context: Tensor) -> Tensor:
        """Log density (n,) in nats."""
        raise NotImplementedError

    def from_noise(self, noise: Tensor, context: Tensor) -> Tensor:
        """Standard normal noise (n, t) to targets."""
        raise NotImplementedError


class ConditionalFlow(Flow):
    """nflows' transforms to a standard normal base."""

    def __init__(self, transform: Transform, n_context: int, n_couplings: int, hidden: int) -> None:
        super().__init__(n_context, n_couplings, hidden)
        self.transform = transform

    def log_prob(self, target: Tensor, context: Tensor) -> Tensor:
        noise, log_jacobian = self.transform(target, context=context[:, : self.n_context])
        return log_jacobian - 0.5 * noise.square().sum(1) - 0.5 * target.shape[1] * math.log(2 * math.pi)

    def from_noise(self, noise: Tensor, context: Tensor) -> Tensor:
        return self.transform.inverse(noise, context=context[:, : self.n_context])[0]


def decayed_parameters(flow: Flow) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Parameters that weight decay acts on, and the others.

    Without the first the flow is a Gaussian whose mean is linear in the context, behind splines of each target; decay
    must pull towards that and not away from it. The others are all biases, which hold the slopes of the identity, the
    marginal splines, and the linear part of the affine map.
    """
    named = list(flow.named_parameters())
    decayed = {name for name, _ in named if name.endswith("weight") and not name.endswith("skip.weight")}
    return [p for name, p in named if name in decayed], [p for name, p in named if name not in decayed]


def make_flow(
    config: FlowEnsembleConfig, n_targets: int, n_context: int, start: LinearStart | None = None
) -> ConditionalFlow:
    """Return an untrained member that maps (n, ``n_targets``) targets close to themselves.

    ``default``: one unconditional rational-quadratic spline for each target, the linear ``start``, the conditional
    affine map, then couplings; other recipes: couplings only. The weights come from torch's global generator: fork and
    seed it around the call.

    Raises
    ------
    ValueError
        If the configuration is not that of one member.

    References
    ----------
    Durkan, Bekasov, Murray & Papamakarios 2019, Neural Spline Flows, arXiv:1906.04032, section 3.
    """
    if isinstance(config.n_couplings, tuple) or isinstance(config.hidden, tuple) or config.has_open_size:
        raise ValueError("a member needs one depth and one width: FlowEnsembleConfig has of_size and member for that")
    transforms: list[Transform] = []
    if config.recipe == "default":
        marginal = MarginalSpline(
            shape=[n_targets],
            num_bins=config.n_bins,
            tails="linear",
            tail_bound=config.tail_bound,
            identity_init=True,
        )
        transforms.append(LinearBase(marginal, n_targets, n_context, start))
        transforms.append(ConditionalAffine(n_targets, n_context, config.affine_hidden))
    n_couplings = config.n_couplings if n_targets > 1 else 1
    for index in range(n_couplings):
        mask = [1] if n_targets == 1 else [(column + index) % 2 for column in range(n_targets)]
        transforms.append(_make_coupling(config, mask, n_context, config.hidden))
    return ConditionalFlow(CompositeTransform(transforms), n_context, n_couplings, config.hidden)


def _make_coupling(config: FlowEnsembleConfig, mask: list[int], n_context: int, hidden: int) -> Transform:
    """Coupling that moves the targets of the mask; a single target is moved by a spline of the context alone."""

    def make_network(n_inputs: int, n_outputs: int) -> ResidualNet:
        network = ResidualNet(n_inputs, n_outputs, hidden, context_features=n_context, num_blocks=config.n_blocks)
        with torch.no_grad():
            network.final_layer.weight.mul_(0.1)
            bias = network.final_layer.bias.view(sum(mask), -1)
            bias[:, : 2 * config.n_bins] = 0
            bias[:, 2 * config.n_bins :] = UNIT_SLOPE
        return network

    return SplineCoupling(mask, make_network, num_bins=config.n_bins, tails="linear", tail_bound=config.tail_bound)

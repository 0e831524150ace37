"""All members of an ensemble as one set of tensors: one batched product a layer, one spline evaluation a coupling.

Equal in meaning to `posteriors.flows.nflows_flows`: a stack is made from such flows and writes into them. Axes: M
members, t targets, h hidden units, k context columns, n values of a pass. Features stand before values, so that
weights keep nflows' (out, in) shape, the context's first product for all members is one matrix product, and operations
over bins and features run along contiguous values. Members of fewer hidden units or context columns are filled up with
zeros, which stay zero in training: relu(0) = 0 passes no gradient either way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from posteriors.flows.nflows_flows import ConditionalFlow
from posteriors.flows.stacked_layout import FROZEN, StackShape, pack, unpack
from posteriors.flows.stacked_splines import spline, spline_inverse
from posteriors.products import context_product

__all__ = ["FlowStack"]


class FlowStack:
    """Flows of equal depth as one flat tensor, with densities and draws of all of them in one pass.

    Parameters
    ----------
    flows : members with the same transforms; widths and numbers of context columns may differ.

    Attributes
    ----------
    flat : all parameters, each contiguous with the members first.
    """

    def __init__(self, flows: Sequence[ConditionalFlow]) -> None:
        shape = StackShape.of(flows)
        example = next(flows[0].parameters())
        members = [pack(flow, shape) for flow in flows]
        stacked = [torch.stack([member[name] for member in members]).flatten() for name in shape.sizes()]
        flat = torch.cat(stacked).to(example.device)
        self._assemble(shape, flat, [flow.hidden for flow in flows], [flow.n_context for flow in flows])

    def _assemble(self, shape: StackShape, flat: Tensor, hidden: list[int], n_context: list[int]) -> None:
        self._shape, self._sizes, self.flat, self._hidden, self._n_context = (
            shape,
            shape.sizes(),
            flat,
            hidden,
            n_context,
        )
        device, dtype = flat.device, flat.dtype
        self._scale = torch.tensor(hidden, dtype=dtype, device=device).rsqrt().view(-1, 1, 1, 1, 1)
        self._compresses = shape.has_base and bool((self.split(flat.detach())["base.reach"] > 0).any())
        self._seen: Tensor | None = None
        if min(n_context) < shape.n_context:
            columns = torch.arange(shape.n_context, device=device)
            self._seen = (columns < torch.tensor(n_context, device=device)[:, None]).to(dtype)[:, None]
        self._rows, self._columns = torch.tril_indices(shape.n_targets, shape.n_targets, offset=-1, device=device)

    def __len__(self) -> int:
        return len(self._hidden)

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """The parameters (M, ...) by name, as views of a flat tensor."""
        pieces = flat.split([len(self) * math.prod(size) for size in self._sizes.values()])
        return {
            name: piece.view(len(self), *size) for (name, size), piece in zip(self._sizes.items(), pieces, strict=True)
        }

    def leaves(self) -> dict[str, Tensor]:
        """The parameters by name as views to train: gradients of each need not be put together into a flat one."""
        return {
            name: piece.requires_grad_(name not in FROZEN) for name, piece in self.split(self.flat.detach()).items()
        }

    def decayed(self) -> Tensor:
        """1 where weight decay acts and 0 elsewhere, as a flat tensor: see `nflows_flows.decayed_parameters`."""
        flat = torch.zeros_like(self.flat)
        for name, piece in self.split(flat).items():
            if name == "context.weight":
                piece[:, self._shape.n_linear :] = 1
            elif not name.endswith("bias") and name != "marginal" and name not in FROZEN:
                piece.fill_(1)
        return flat

    def select(self, flat: Tensor, members: Tensor) -> Tensor:
        """The part of a flat tensor that belongs to some members, in the order of ``members``."""
        return torch.cat([piece[members].flatten() for piece in self.split(flat.detach()).values()])

    def subset(self, members: Sequence[int]) -> FlowStack:
        """A stack of some members with weights of its own."""
        other = object.__new__(FlowStack)
        flat = self.select(self.flat, torch.tensor(members, device=self.flat.device))
        hidden, n_context = ([values[member] for member in members] for values in (self._hidden, self._n_context))
        other._assemble(self._shape, flat, hidden, n_context)
        return other

    def write(self, member: int, flow: ConditionalFlow, flat: Tensor | None = None) -> None:
        """Copy the weights of a member into a flow of its shape; from ``flat``, if given."""
        pieces = self.split(self.flat.detach() if flat is None else flat)
        unpack(flow, {name: piece[member] for name, piece in pieces.items()}, self._shape)

    def log_prob(self, target: Tensor, context: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Log density (M, n) in nats of scaled targets.

        Parameters
        ----------
        target, context : (n, t) and (n, k), the same for all members, or (M, n, t) and (M, n, k).
        weights : parameters to use instead of those of ``self.flat``, as `split` gives them.
        """
        weights = self.split(self.flat) if weights is None else weights
        encoded = self._encode(context, weights)
        values = target.mT.expand(len(self), -1, -1)
        log_prob: Tensor | float = 0.0
        if self._shape.has_base:
            values, log_slopes = self._leave_start(values, encoded, weights)
            mean, log_scale, below = self._affine(encoded, weights)
            residual = values - mean
            mixed = residual.index_add(1, self._rows, below * residual[:, self._columns])
            values = mixed * torch.exp(-log_scale)
            log_prob = log_slopes - log_scale.sum(1)
        parts = [values[:, 0::2], values[:, 1::2]]
        for coupling in range(self._shape.n_couplings):
            moved = self._shape.moved_part(coupling)
            parameters = self._coupling(coupling, parts[1 - moved], encoded, weights)
            parts[moved], log_slopes = spline(parts[moved], parameters, self._scale, self._shape.bound)
            log_prob = log_prob + log_slopes.sum(1)
        squares = parts[0].square().sum(1) + parts[1].square().sum(1)
        return log_prob - 0.5 * squares - 0.5 * self._shape.n_targets * math.log(2 * math.pi)

    @torch.no_grad()
    def from_noise(self, noise: Tensor, context: Tensor) -> Tensor:
        """Standard normal noise (M, t, n, d) to d draws of each of n scaled targets, given the context (n, k)."""
        weights, n_draws = self.split(self.flat), noise.shape[-1]
        encoded = self._encode(context, weights)
        values = noise.flatten(-2)
        parts = [values[:, 0::2], values[:, 1::2]]
        for coupling in reversed(range(self._shape.n_couplings)):
            moved = self._shape.moved_part(coupling)
            parameters = self._coupling(coupling, parts[1 - moved], encoded, weights, n_draws)
            parts[moved] = spline_inverse(parts[moved], parameters, self._scale, self._shape.bound)
        values = torch.empty_like(values)
        values[:, 0::2], values[:, 1::2] = parts
        if self._shape.has_base:
            mean, log_scale, below = (_repeat(each, n_draws) for each in self._affine(encoded, weights))
            values = values * torch.exp(log_scale)
            for row in range(1, self._shape.n_targets):  # forward substitution: each row needs those before it
                first = row * (row - 1) // 2
                values[:, row] -= (below[:, first : first + row] * values[:, :row]).sum(1)
            centre = _repeat(self._centre(encoded, weights), n_draws)
            values = self._enter_start(values + mean, centre, weights)
        return values.view(noise.shape)

    def _encode(self, context: Tensor, weights: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """What each layer sees of the context, (M, rows, n); cut up at once, as autograd fills a whole for each cut."""
        weight, bias = weights["context.weight"], weights["context.bias"]
        if self._seen is not None:
            weight = weight * self._seen
        if context.dim() == 3:
            encoded = torch.baddbmm(bias, weight, context.mT)
        else:
            rows = context_product(weight.flatten(0, 1), bias.flatten(0, 1), context)
            encoded = rows.view(len(self), -1, len(context))
        return encoded.split(self._shape.encoded_rows, dim=1)

    def _leave_start(
        self, values: Tensor, encoded: Sequence[Tensor], weights: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Noise (M, t, n) of the linear start behind the marginal splines, and the log Jacobian (M, n)."""
        values, log_slopes = spline(values, weights["marginal"], 1.0, self._shape.bound)
        log_scale, mixing, reach = (weights[name] for name in ("base.log_scale", "base.mixing", "base.reach"))
        fixed = torch.log(mixing.diagonal(dim1=1, dim2=2)).unsqueeze(-1) - log_scale
        noise = (values - self._centre(encoded, weights)) * torch.exp(-log_scale)
        log_slopes = log_slopes + fixed
        if self._compresses:
            inner = noise.clamp(-reach, reach)
            noise = torch.asinh(inner) + (noise - inner) / torch.sqrt(1 + reach.square())
            log_slopes = log_slopes - 0.5 * torch.log1p(inner.square())
        return torch.bmm(mixing, noise), log_slopes.sum(1)

    def _enter_start(self, noise: Tensor, centre: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """The inverse of `_leave_start`, given the means."""
        values = torch.linalg.solve_triangular(weights["base.mixing"], noise, upper=False)
        if self._compresses:
            straight = torch.sqrt(1 + weights["base.reach"].square())
            reach = torch.asinh(weights["base.reach"])
            inner = values.clamp(-reach, reach)
            values = torch.sinh(inner) + (values - inner) * straight
        values = values * torch.exp(weights["base.log_scale"]) + centre
        return spline_inverse(values, weights["marginal"], 1.0, self._shape.bound)

    def _centre(self, encoded: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        """Means (M, t, n) of the linear start, which no gradient moves."""
        linear = encoded[0].detach()
        if not self._compresses:
            return linear
        bent, _ = spline(linear, weights["marginal"], 1.0, self._shape.bound)
        return torch.where(weights["base.reach"] > 0, bent, linear)

    def _affine(self, encoded: Sequence[Tensor], weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, log scale (M, t, n) and the mixing below its diagonal (M, t (t - 1) / 2, n)."""
        t = self._shape.n_targets
        outputs = torch.baddbmm(encoded[1], weights["affine.outer"], torch.tanh(encoded[2]))
        mean, log_scale, below = outputs.split((t, t, self._shape.n_affine - 2 * t), dim=1)
        return mean, 5 * torch.tanh(log_scale / 5), below

    def _coupling(
        self, coupling: int, fixed: Tensor, encoded: Sequence[Tensor], weights: Mapping[str, Tensor], n_draws: int = 1
    ) -> Tensor:
        """Spline parameters (M, moved, 3 bins - 1, n) from the targets that stay: nflows' gated residual network."""
        first = 3 * self._shape.has_base + coupling * (1 + self._shape.n_blocks)
        units = _repeat(encoded[first], n_draws)
        if f"{coupling}.input" in weights:
            units = torch.baddbmm(units, weights[f"{coupling}.input"], fixed)
        for block in range(self._shape.n_blocks):
            inner = units
            for layer in range(2):
                name = f"{coupling}.{block}.{layer}"
                inner = torch.baddbmm(weights[f"{name}.bias"], weights[f"{name}.weight"], functional.relu(inner))
            units = torch.addcmul(units, inner, _repeat(torch.sigmoid(encoded[first + 1 + block]), n_draws))
        outputs = torch.baddbmm(weights[f"{coupling}.final.bias"], weights[f"{coupling}.final.weight"], units)
        return outputs.unflatten(1, (self._shape.n_moved(coupling), -1))


def _repeat(values: Tensor, n_draws: int) -> Tensor:
    """(M, f, n) to (M, f, n * n_draws), the draws of a galaxy side by side."""
    return values if n_draws == 1 else values.unsqueeze(-1).expand(-1, -1, -1, n_draws).flatten(-2)

"""Where each weight of a flow stands in the tensors of a stack of flows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from posteriors.flows.nflows_flows import ConditionalAffine, ConditionalFlow, LinearBase
from posteriors.flows.splines import SplineCoupling

__all__ = ["FROZEN", "StackShape", "pack", "unpack"]

FROZEN = ("base.log_scale", "base.reach", "base.mixing")
"""Parameters that no step moves; the rows of the context's matrix that hold the start's mean are the others."""

_Index = tuple[slice | int, ...]


@dataclass(frozen=True)
class StackShape:
    """What the members of a stack share; the widest counts. ``has_base``: marginal splines and an affine map first."""

    n_targets: int
    n_context: int
    hidden: int
    affine_hidden: int
    n_couplings: int
    n_blocks: int
    n_bins: int
    bound: float
    has_base: bool

    @classmethod
    def of(cls, flows: Sequence[ConditionalFlow]) -> StackShape:
        """The shape that holds all of the flows.

        Raises
        ------
        ValueError
            If the flows do not consist of the same transforms.
        """
        outlines = {_outline(flow) for flow in flows}
        if len(outlines) != 1:
            raise ValueError("a stack needs flows of the same transforms: group them by depth first")
        n_targets, has_base, affine_hidden, n_couplings, n_blocks, n_bins, bound = outlines.pop()
        n_context, hidden = max(flow.n_context for flow in flows), max(flow.hidden for flow in flows)
        return cls(n_targets, n_context, hidden, affine_hidden, n_couplings, n_blocks, n_bins, bound, has_base)

    @property
    def n_affine(self) -> int:
        """Outputs of the affine map: means, log scales, and the mixing below its diagonal."""
        return 2 * self.n_targets + self.n_targets * (self.n_targets - 1) // 2 if self.has_base else 0

    @property
    def n_linear(self) -> int:
        """Leading rows of the context's matrix that act linearly: the start's means and the affine map's skip."""
        return self.n_targets + self.n_affine if self.has_base else 0

    def moved_part(self, coupling: int) -> int:
        """Whether a coupling moves the odd (1) or the even (0) columns: odd first; a single target is even."""
        return 0 if self.n_targets == 1 else 1 - coupling % 2

    def n_moved(self, coupling: int) -> int:
        """Number of targets that a coupling moves."""
        return (self.n_targets + 1 - self.moved_part(coupling)) // 2

    def encoded_before(self, coupling: int) -> int:
        """Rows of the context's matrix before those of a coupling."""
        base = self.n_linear + self.affine_hidden if self.has_base else 0
        return base + coupling * (1 + self.n_blocks) * self.hidden

    @property
    def encoded_rows(self) -> list[int]:
        """Rows of the context's matrix that each layer reads, in order."""
        base = [self.n_targets, self.n_affine, self.affine_hidden] if self.has_base else []
        return base + [self.hidden] * (self.n_couplings * (1 + self.n_blocks))

    def sizes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter of a member; all that read the context stand in one matrix."""
        per_spline, n_encoded = 3 * self.n_bins - 1, self.encoded_before(self.n_couplings)
        sizes: dict[str, tuple[int, ...]] = {
            "context.weight": (n_encoded, self.n_context),
            "context.bias": (n_encoded, 1),
        }
        if self.has_base:
            sizes |= dict.fromkeys(FROZEN, (self.n_targets, 1))
            sizes["base.mixing"] = (self.n_targets, self.n_targets)
            sizes["marginal"] = (self.n_targets, per_spline, 1)
            sizes["affine.outer"] = (self.n_affine, self.affine_hidden)
        for coupling in range(self.n_couplings):
            n_moved = self.n_moved(coupling)
            sizes[f"{coupling}.input"] = (self.hidden, self.n_targets - n_moved)
            for block in range(self.n_blocks):
                for layer in range(2):
                    sizes[f"{coupling}.{block}.{layer}.weight"] = (self.hidden, self.hidden)
                    sizes[f"{coupling}.{block}.{layer}.bias"] = (self.hidden, 1)
            sizes[f"{coupling}.final.weight"] = (n_moved * per_spline, self.hidden)
            sizes[f"{coupling}.final.bias"] = (n_moved * per_spline, 1)
        return {name: size for name, size in sizes.items() if math.prod(size)}


def pack(flow: ConditionalFlow, shape: StackShape) -> dict[str, Tensor]:
    """Weights of a flow as parameters of a stack; what a narrower flow does not have is 0."""
    example = next(flow.parameters())
    packed = {name: torch.zeros(size, dtype=example.dtype, device="cpu") for name, size in shape.sizes().items()}
    for name, index, values in _places(flow, shape):
        packed[name][index] = values.cpu()
    return packed


def unpack(flow: ConditionalFlow, packed: Mapping[str, Tensor], shape: StackShape) -> None:
    """The inverse of `pack`: copy parameters of a stack into the flow."""
    for name, index, values in _places(flow, shape):
        values.copy_(packed[name][index])


def _transforms(flow: ConditionalFlow) -> tuple[LinearBase | None, ConditionalAffine | None, list[SplineCoupling]]:
    transforms: list[Any] = list(flow.transform._transforms)
    if isinstance(transforms[0], LinearBase):
        return transforms[0], transforms[1], transforms[2:]
    return None, None, transforms


def _outline(flow: ConditionalFlow) -> tuple[int, bool, int, int, int, int, float]:
    _, affine, couplings = _transforms(flow)
    first = couplings[0]
    return (
        first.features,
        affine is not None,
        affine.inner.out_features if affine is not None else 0,
        len(couplings),
        len(first.transform_net.blocks),
        first.num_bins,
        first.tail_bound,
    )


def _places(flow: ConditionalFlow, shape: StackShape) -> Iterator[tuple[str, _Index, Tensor]]:
    """Every weight of a flow with the parameter and the place where a stack has it."""
    base, affine, couplings = _transforms(flow)
    seen, every = slice(0, flow.n_context), slice(None)
    if base is not None and affine is not None:
        bins, marginal = shape.n_bins, base.marginal
        yield "base.log_scale", (every, 0), base.log_scale
        yield "base.reach", (every, 0), base.reach
        yield "base.mixing", (every, every), base.mixing
        yield from _context_layer(base.weight, base.bias, slice(0, shape.n_targets), seen)
        yield "marginal", (every, slice(0, bins), 0), marginal.unnormalized_widths.data
        yield "marginal", (every, slice(bins, 2 * bins), 0), marginal.unnormalized_heights.data
        yield "marginal", (every, slice(2 * bins, 3 * bins - 1), 0), marginal.unnormalized_derivatives.data
        yield "affine.outer", (every, every), affine.outer.weight.data
        rows = slice(shape.n_targets, shape.n_linear)
        yield from _context_layer(affine.skip.weight.data, affine.skip.bias.data, rows, seen)
        rows = slice(shape.n_linear, shape.n_linear + shape.affine_hidden)
        yield from _context_layer(affine.inner.weight.data, affine.inner.bias.data, rows, seen)
    units = slice(0, flow.hidden)
    for index, coupling in enumerate(couplings):
        network, first = coupling.transform_net, shape.encoded_before(index)
        n_fixed = shape.n_targets - shape.n_moved(index)
        if n_fixed:
            yield f"{index}.input", (units, every), network.initial_layer.weight.data[:, :n_fixed]
        layers = [(network.initial_layer.weight.data[:, n_fixed:], network.initial_layer.bias.data)]
        for number, block in enumerate(network.blocks):
            layers.append((block.context_layer.weight.data, block.context_layer.bias.data))
            for layer, linear in enumerate(block.linear_layers):
                yield f"{index}.{number}.{layer}.weight", (units, units), linear.weight.data
                yield f"{index}.{number}.{layer}.bias", (units, 0), linear.bias.data
        for weight, bias in layers:
            yield from _context_layer(weight, bias, slice(first, first + units.stop), seen)
            first += shape.hidden
        yield f"{index}.final.weight", (every, units), network.final_layer.weight.data
        yield f"{index}.final.bias", (every, 0), network.final_layer.bias.data


def _context_layer(weight: Tensor, bias: Tensor, rows: slice, seen: slice) -> Iterator[tuple[str, _Index, Tensor]]:
    yield "context.weight", (rows, seen), weight
    yield "context.bias", (rows, 0), bias

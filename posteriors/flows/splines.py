"""nflows' rational-quadratic transforms with linear tails, without its boolean masks.

nflows cuts out the values inside the bound, transforms them and puts them back; on small batches that costs more than
the splines. Here all values are transformed, clamped to the bound, and those outside replaced by themselves. Same
parameters, same numbers (tests).
"""

from __future__ import annotations

import math

import torch
from nflows.transforms import PiecewiseRationalQuadraticCDF, PiecewiseRationalQuadraticCouplingTransform
from nflows.transforms.splines import rational_quadratic_spline
from torch import Tensor
from torch.nn import functional

__all__ = ["UNIT_SLOPE", "MarginalSpline", "SplineCoupling"]

_MIN_DERIVATIVE = 1e-3  # nflows' default
UNIT_SLOPE = math.log(math.exp(1 - _MIN_DERIVATIVE) - 1)
"""The unnormalised derivative at which a spline has slope 1."""


class SplineCoupling(PiecewiseRationalQuadraticCouplingTransform):
    """Coupling whose conditioned splines are the identity outside the bound.

    References
    ----------
    Durkan, Bekasov, Murray & Papamakarios 2019, Neural Spline Flows, arXiv:1906.04032, section 3.
    """

    def _piecewise_cdf(self, inputs: Tensor, transform_params: Tensor, inverse: bool = False) -> tuple[Tensor, Tensor]:
        bins = self.num_bins
        softmax_scale = 1 / math.sqrt(self.transform_net.hidden_features)
        widths, heights = transform_params[..., : 2 * bins].mul(softmax_scale).split(bins, dim=-1)
        return _tailed_spline(inputs, widths, heights, transform_params[..., 2 * bins :], self.tail_bound, inverse)


class MarginalSpline(PiecewiseRationalQuadraticCDF):
    """One spline for each target, the same for every context, the identity outside the bound."""

    def _spline(self, inputs: Tensor, inverse: bool = False) -> tuple[Tensor, Tensor]:
        outputs, log_derivative = _tailed_spline(
            inputs,
            self.unnormalized_widths.expand(len(inputs), -1, -1),
            self.unnormalized_heights.expand(len(inputs), -1, -1),
            self.unnormalized_derivatives.expand(len(inputs), -1, -1),
            self.tail_bound,
            inverse,
        )
        return outputs, log_derivative.sum(1)


def _tailed_spline(
    inputs: Tensor, widths: Tensor, heights: Tensor, derivatives: Tensor, bound: float, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Outputs and log derivatives (n, t) of splines of (n, t, bins) unnormalised parameters."""
    outputs, log_derivative = rational_quadratic_spline(
        inputs.clamp(-bound, bound),
        widths,
        heights,
        functional.pad(derivatives, (1, 1), value=UNIT_SLOPE),
        inverse=inverse,
        left=-bound,
        right=bound,
        bottom=-bound,
        top=bound,
        min_derivative=_MIN_DERIVATIVE,
    )
    inside = inputs.abs() <= bound
    return torch.where(inside, outputs, inputs), torch.where(inside, log_derivative, 0.0)

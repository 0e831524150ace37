"""Rational-quadratic splines with linear tails for all members at once: one pass, no masks, a gradient by hand.

Axes are (members, features, values); the parameters of a spline stand on an axis before the values, so that every
operation runs along contiguous values. Same parameters and numbers as nflows' splines (tests).

References
----------
Durkan, Bekasov, Murray & Papamakarios 2019, Neural Spline Flows, arXiv:1906.04032, section 3.1 and appendix A.
Gregory & Delbourgo 1982, IMA J. Numer. Anal. 2, 123.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from posteriors.flows.splines import UNIT_SLOPE

__all__ = ["spline", "spline_inverse"]

_MIN_BIN = 1e-3  # nflows' defaults: least width and height of a bin in units of the interval, least slope
_MIN_SLOPE = 1e-3


def spline(values: Tensor, parameters: Tensor, scale: Tensor | float, bound: float) -> tuple[Tensor, Tensor]:
    """Transformed values and log slopes, differentiable once in ``values`` and ``parameters``.

    Parameters
    ----------
    values : (m, f, n); those outside [-bound, bound] stay as they are.
    parameters : (m, f, 3 k - 1, n) or (..., 1) unnormalised widths (k), heights (k) and inner slopes (k - 1).
    scale : factor of the unnormalised widths and heights, broadcastable to (m, f, 2, k, n).
    bound : half the width of the interval, > 0.
    """
    return _Spline.apply(values, parameters, scale, bound)


@torch.no_grad()
def spline_inverse(values: Tensor, parameters: Tensor, scale: Tensor | float, bound: float) -> Tensor:
    """The values that `spline` maps to ``values``; not differentiable.

    The root 2 c / (-b - sqrt(D)) does not cancel, and D is clamped at 0, which rounding can miss by a little.
    """
    inside = values.clamp(-bound, bound)
    piece = _find_piece(inside, parameters, scale, bound, by_height=True)
    slope = piece.height / piece.width
    above = inside - piece.bottom
    excess = above * (piece.slope_left + piece.slope_right - 2 * slope)
    a = excess + piece.height * (slope - piece.slope_left)
    b = piece.height * piece.slope_left - excess
    c = -slope * above
    root = 2 * c / (-b - torch.sqrt((b.square() - 4 * a * c).clamp_min_(0)))
    return torch.where(values.abs() <= bound, root * piece.width + piece.left, values)


class _Piece(NamedTuple):
    """The bin of each value, and what the gradient needs of the normalisation."""

    left: Tensor
    bottom: Tensor
    width: Tensor
    height: Tensor
    slope_left: Tensor
    slope_right: Tensor
    number: Tensor
    shares: Tensor
    raw_left: Tensor
    raw_right: Tensor


def _find_piece(inside: Tensor, parameters: Tensor, scale: Tensor | float, bound: float, *, by_height: bool) -> _Piece:
    n_bins = (parameters.shape[-2] + 1) // 3
    shares = torch.softmax(parameters[..., : 2 * n_bins, :].unflatten(-2, (2, n_bins)) * scale, dim=-2)
    sizes = shares * (2 * bound * (1 - _MIN_BIN * n_bins)) + 2 * bound * _MIN_BIN
    ends = sizes.cumsum(-2)
    index = (inside.unsqueeze(-2) + bound >= ends[..., int(by_height), :-1, :]).sum(-2)
    bins = index[..., None, None, :].expand(*index.shape[:-1], 2, 1, index.shape[-1])
    whole = (*sizes.shape[:-1], index.shape[-1])
    size = sizes.expand(whole).gather(-2, bins).squeeze(-2)
    start = ends.expand(whole).gather(-2, bins).squeeze(-2) - size - bound
    raw = functional.pad(parameters[..., 2 * n_bins :, :], (0, 0, 1, 1), value=UNIT_SLOPE)
    raw = raw.expand(*raw.shape[:-1], index.shape[-1])
    bins = index.unsqueeze(-2)
    raw_left, raw_right = raw.gather(-2, bins).squeeze(-2), raw.gather(-2, bins + 1).squeeze(-2)
    slopes = functional.softplus(torch.stack((raw_left, raw_right))) + _MIN_SLOPE
    return _Piece(
        start[..., 0, :],
        start[..., 1, :],
        size[..., 0, :],
        size[..., 1, :],
        slopes[0],
        slopes[1],
        index,
        shares,
        raw_left,
        raw_right,
    )


class _Spline(torch.autograd.Function):
    """Forward and gradient of the splines; autograd would record some hundred small operations in their place."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, parameters: Tensor, scale: Tensor | float, bound: float
    ) -> tuple[Tensor, Tensor]:
        inside = values.clamp(-bound, bound)
        piece = _find_piece(inside, parameters, scale, bound, by_height=False)
        s = piece.height / piece.width
        u = (inside - piece.left) / piece.width
        v = u * (1 - u)
        q = s * u.square() + piece.slope_left * v
        d = s + (piece.slope_left + piece.slope_right - 2 * s) * v
        a = piece.slope_right * u.square() + 2 * s * v + piece.slope_left * (1 - u).square()
        within = values.abs() <= bound
        outputs = torch.where(within, piece.bottom + piece.height * q / d, values)
        log_slopes = torch.where(within, 2 * torch.log(s / d) + torch.log(a), 0.0)
        ctx.save_for_backward(*piece, s, u, q, d, a, within)
        ctx.scale, ctx.bound, ctx.parameters_shape = scale, bound, parameters.shape
        return outputs, log_slopes

    @staticmethod
    def backward(ctx: Any, grad_outputs: Tensor, grad_log_slopes: Tensor) -> tuple[Tensor, Tensor, None, None]:
        *fields, s, u, q, d, a, within = ctx.saved_tensors
        piece = _Piece(*fields)
        gy = torch.where(within, grad_outputs, 0.0)
        gl = torch.where(within, grad_log_slopes, 0.0)
        v, w = u * (1 - u), 1 - u
        turn = 1 - 2 * u
        bend = piece.slope_left + piece.slope_right - 2 * s
        gy_d = gy * piece.height / d.square()  # d output = height (dq d - q dd) / d^2
        gl_a, gl_d = gl / a, 2 * gl / d  # d log slope = 2 ds/s + da/a - 2 dd/d
        g_left = v * (gy_d * (d - q) - gl_d) + gl_a * w.square()
        g_right = gl_a * u.square() - v * (gy_d * q + gl_d)
        g_s = gy_d * (d * u.square() - q * (1 - 2 * v)) + 2 * gl / s + 2 * gl_a * v - gl_d * (1 - 2 * v)
        g_u = gy_d * s * a + 2 * gl_a * (piece.slope_right * u + s * turn - piece.slope_left * w) - gl_d * bend * turn
        g_inside = g_u / piece.width
        g_width = -(g_u * u + g_s * s) / piece.width
        g_height = gy * q / d + g_s / piece.width
        grad_values = torch.where(within, g_inside, grad_outputs)
        grad_parameters = torch.empty((*ctx.parameters_shape[:-1], u.shape[-1]), dtype=u.dtype, device=u.device)
        _fill_gradient(grad_parameters, piece, (-g_inside, gy), (g_width, g_height), (g_left, g_right), ctx)
        if ctx.parameters_shape[-1] == 1:
            grad_parameters = grad_parameters.sum(-1, keepdim=True)
        return grad_values, grad_parameters, None, None


def _fill_gradient(
    gradient: Tensor,
    piece: _Piece,
    starts: tuple[Tensor, Tensor],
    sizes: tuple[Tensor, Tensor],
    slopes: tuple[Tensor, Tensor],
    ctx: Any,
) -> None:
    """Gradients of a bin's start, size and slopes into those of the unnormalised parameters (m, f, 3 k - 1, n).

    A bin starts where the bins before it end: their sizes have the start's gradient, its own size has its own.
    """
    n_bins = piece.shares.shape[-2]
    number = torch.arange(n_bins, device=gradient.device)[:, None]
    index = piece.number[..., None, None, :]
    start, size = torch.stack(starts, -2).unsqueeze(-2), torch.stack(sizes, -2).unsqueeze(-2)
    of_share = torch.where(number < index, start, torch.where(number == index, size, 0.0))
    of_share = of_share * piece.shares
    total = of_share.sum(-2, keepdim=True)
    of_share = (of_share - total * piece.shares) * (2 * ctx.bound * (1 - _MIN_BIN * n_bins) * ctx.scale)
    gradient[..., : 2 * n_bins, :] = of_share.flatten(-3, -2)
    left, right = (slopes[0] * torch.sigmoid(piece.raw_left), slopes[1] * torch.sigmoid(piece.raw_right))
    inner = number[1:]  # inner slope j stands left of bin j and right of bin j - 1
    index = piece.number.unsqueeze(-2)
    of_slope = torch.where(inner == index, left.unsqueeze(-2), 0.0)
    gradient[..., 2 * n_bins :, :] = torch.where(inner == index + 1, right.unsqueeze(-2), of_slope)

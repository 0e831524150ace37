"""Matrix products in float32 at the speed of oneDNN, and that of a context with the weights of all members.

torch gives float32 products on a CPU to MKL, which on processors of AMD runs at half the speed of oneDNN. oneDNN comes
with torch as well, and its linear layer is the same product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["context_product", "product"]


def context_product(weight: Tensor, bias: Tensor, context: Tensor) -> Tensor:
    """``weight @ context.T + bias``, (r, n), differentiable once.

    Parameters
    ----------
    weight, bias : (r, k) and (r, 1).
    context : (n, k).
    """
    return _ContextProduct.apply(weight, bias, context)


def product(left: Tensor, right: Tensor) -> Tensor:
    """The matrix product (a, n) of (a, k) and (k, n), not differentiable; float32 on a CPU by oneDNN."""
    if left.dtype == torch.float32 and left.device.type == "cpu" and torch.backends.mkldnn.is_available():
        return torch.ops.mkldnn._linear_pointwise(left, right.T, None, "none", [], "")
    return left @ right


class _ContextProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, context: Tensor) -> Tensor:
        ctx.save_for_backward(weight, context)
        return product(weight, context.T).add_(bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, context = ctx.saved_tensors
        of_weight = product(gradient, context) if ctx.needs_input_grad[0] else None
        of_bias = gradient.sum(1, keepdim=True) if ctx.needs_input_grad[1] else None
        return of_weight, of_bias, gradient.T @ weight if ctx.needs_input_grad[2] else None

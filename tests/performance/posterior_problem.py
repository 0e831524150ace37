"""The problem that trained flows are timed on: 512 context columns, five correlated targets, the density known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Split", "make_problem"]

N_TARGETS, N_CONTEXT, N_SIGNALS, N_DIRECTIONS = 5, 512, 24, 10


@dataclass(frozen=True)
class Split:
    """Context (n, 512), standardised target (n, 5), and the mean NLL of the exact density in nats."""

    context: Tensor
    target: Tensor
    exact_nll: float


def make_problem(seed: int = 0, sizes: tuple[int, int, int] = (3_200, 400, 400)) -> tuple[Split, Split, Split]:
    """Training, validation and test rows.

    The context holds 24 signals and noise; its ten leading directions move the targets linearly and through tanh, the
    noise of the targets is heteroscedastic with AR(1) correlation .75, and a sinh-arcsinh warp makes it skew.
    """
    generator = torch.Generator().manual_seed(seed)
    n_rows = sum(sizes)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    context = normal(n_rows, N_SIGNALS) @ normal(N_SIGNALS, N_CONTEXT) / N_SIGNALS**0.5
    context = context + 0.5 * normal(n_rows, N_CONTEXT)
    context = (context - context.mean()) / context.std()
    left = torch.linalg.svd(context - context.mean(0), full_matrices=False)[0]
    direction = left[:, :N_DIRECTIONS] * n_rows**0.5
    linear, curved = (normal(N_DIRECTIONS, N_TARGETS) / N_DIRECTIONS**0.5 for _ in range(2))
    mean = direction @ linear + 0.6 * torch.tanh(1.5 * direction @ curved)
    index = torch.arange(N_TARGETS)
    factor = torch.linalg.cholesky(0.75 ** (index[:, None] - index).abs().float())
    scale = 0.25 * torch.exp(0.35 * torch.tanh(direction[:, :1]))
    noise = normal(n_rows, N_TARGETS)
    plain = mean + scale * (noise @ factor.T)
    angle = 1.15 * torch.asinh(plain) + 0.075
    target = torch.sinh(angle)
    spread = target[: sizes[0]].std(0)
    log_prob = -0.5 * noise.square().sum(1) - 0.5 * N_TARGETS * math.log(2 * math.pi)
    log_prob = log_prob - N_TARGETS * torch.log(scale[:, 0]) - torch.logdet(factor) + torch.log(spread).sum()
    log_prob = log_prob - torch.log(torch.cosh(angle) * 1.15 / torch.sqrt(1 + plain.square())).sum(1)
    target = (target - target[: sizes[0]].mean(0)) / spread
    parts = zip(context.split(sizes), target.split(sizes), log_prob.split(sizes), strict=True)
    train, held, test = (Split(c.contiguous(), y.contiguous(), -float(p.mean())) for c, y, p in parts)
    return train, held, test

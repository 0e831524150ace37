"""Conditional densities that are known exactly, for tests of fits and of diagnostics."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LOG_2_PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Problem:
    """Context (n, c), target (n, t) and the log density (n,) of the target given its context."""

    context: np.ndarray
    target: np.ndarray
    log_prob: np.ndarray


def linear_gaussian(n: int, t: int = 2, c: int = 3, rho: float = 0.95, seed: int = 0) -> Problem:
    """Targets linear in the context, with correlated Gaussian noise, on scales far from 1."""
    rng = np.random.default_rng(seed)
    weights = np.random.default_rng(7).normal(size=(c, t))
    index = np.arange(t)
    factor = np.linalg.cholesky(rho ** np.abs(index[:, None] - index))
    context, noise = rng.normal(size=(n, c)), rng.normal(size=(n, t))
    scale = 10.0 ** np.linspace(-2, 2, t)
    target = 50 + scale * (context @ weights + 0.5 * noise @ factor.T)
    log_det = t * math.log(0.5) + np.log(np.diag(factor)).sum() + np.log(scale).sum()
    return Problem(context, target, -0.5 * np.square(noise).sum(1) - 0.5 * t * LOG_2_PI - log_det)


def heteroscedastic(n: int, seed: int = 0) -> Problem:
    """One target whose noise grows with the first context column."""
    rng = np.random.default_rng(seed)
    context, noise = rng.normal(size=(n, 2)), rng.normal(size=n)
    log_scale = 0.7 * np.tanh(context[:, 0])
    target = np.sin(context[:, 1]) + np.exp(log_scale) * noise
    return Problem(context, target[:, None], -0.5 * noise**2 - 0.5 * LOG_2_PI - log_scale)


def banana(n: int, seed: int = 0) -> Problem:
    """Two targets, the second around the square of the first."""
    rng = np.random.default_rng(seed)
    context, noise = rng.normal(size=(n, 1)), rng.normal(size=(n, 2))
    first = 0.5 * context[:, 0] + noise[:, 0]
    second = first**2 + 0.3 * noise[:, 1]
    log_prob = -0.5 * np.square(noise).sum(1) - LOG_2_PI - math.log(0.3)
    return Problem(context, np.stack([first, second], axis=1), log_prob)

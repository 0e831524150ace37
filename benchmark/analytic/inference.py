"""Inference problems of the benchmark of Lueckmann et al.: a uniform or Gaussian prior and a simulator.

Written from the equations of Lueckmann et al. 2021, arXiv:2101.04653, appendix T, with their constants. Each posterior
is exact, so draws are independent and none comes from a chain.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from benchmark.analytic.problem import LOG_2_PI, Array, Problem

__all__ = ["LUECKMANN", "GaussianLinear", "GaussianMixture", "TwoMoons", "accepted"]

LUECKMANN = "Lueckmann et al. 2021, arXiv:2101.04653"


def accepted(
    propose: Callable[[int], tuple[Array, NDArray[np.bool_]]], n_draws: int, n_targets: int, what: str
) -> Array:
    """Rejection sampling: ask for proposals (m, t) and which of them are kept until there are n_draws."""
    kept: list[Array] = []
    n_kept = n_proposed = 0
    while n_kept < n_draws:
        proposed, good = propose(2 * (n_draws - n_kept) + 50)
        kept.append(proposed[good])
        n_kept += int(good.sum())
        n_proposed += len(proposed)
        if n_proposed > 10_000 * (n_kept + 100):
            raise ValueError(f"{what}: less than one proposal in 10,000 is kept; no simulation gives such inputs")
    return np.concatenate(kept)[:n_draws] if kept else np.empty((0, n_targets))


class GaussianLinear(Problem):
    """theta ~ N(0, .1 I) in ten dimensions, x ~ N(theta, .1 I): the posterior is N(x / 2, .05 I)."""

    name, n_inputs, n_targets = "gaussian-linear", 10, 10
    summary = "ten Gaussian means, each seen once with Gaussian noise"
    reference, spread = LUECKMANN, 0.45
    PRIOR_VARIANCE, NOISE_VARIANCE = 0.1, 0.1

    def simulate(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Inputs (n, 10) and targets (n, 10)."""
        target = np.sqrt(self.PRIOR_VARIANCE) * rng.normal(size=(n, self.n_targets))
        return target + np.sqrt(self.NOISE_VARIANCE) * rng.normal(size=target.shape), target

    def log_prob(self, target: Array, inputs: Array) -> Array:
        """Exact log density (n,)."""
        share, variance = self._posterior()
        residual = target - share * inputs
        return -0.5 * (np.square(residual) / variance + LOG_2_PI + np.log(variance)).sum(1)

    def draw_one(self, inputs: Array, n_draws: int, rng: np.random.Generator) -> Array:
        """Draws (n_draws, 10) for inputs (10,)."""
        share, variance = self._posterior()
        return share * inputs + np.sqrt(variance) * rng.normal(size=(n_draws, self.n_targets))

    def _posterior(self) -> tuple[float, float]:
        total = self.PRIOR_VARIANCE + self.NOISE_VARIANCE
        return self.PRIOR_VARIANCE / total, self.PRIOR_VARIANCE * self.NOISE_VARIANCE / total


class GaussianMixture(Problem):
    """theta ~ U(-10, 10)^2, x ~ N(theta, I) / 2 + N(theta, .01 I) / 2: a broad and a narrow posterior at one place."""

    name, n_inputs, n_targets = "gaussian-mixture", 2, 2
    summary = "a mean seen through either broad or narrow noise, one does not know which"
    reference, support, spread = LUECKMANN, (-10.0, 10.0), 5.8
    WIDTHS = (1.0, 0.1)

    def simulate(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Inputs (n, 2) and targets (n, 2)."""
        target = rng.uniform(-10, 10, (n, 2))
        width = np.where(rng.random(n) < 0.5, *self.WIDTHS)[:, None]
        return target + width * rng.normal(size=(n, 2)), target

    def log_prob(self, target: Array, inputs: Array) -> Array:
        """Exact log density (n,): normalised by what lies inside the prior's box."""
        terms = [
            -0.5 * np.square((target - inputs) / width).sum(1) - LOG_2_PI - 2 * np.log(width) for width in self.WIDTHS
        ]
        inside = (np.abs(target) <= 10).all(1)
        with np.errstate(divide="ignore"):
            return np.where(inside, np.logaddexp(*terms) - np.log(sum(self._masses(inputs))), -np.inf)

    def draw_one(self, inputs: Array, n_draws: int, rng: np.random.Generator) -> Array:
        """Draws (n_draws, 2) for inputs (2,)."""

        def propose(n: int) -> tuple[Array, NDArray[np.bool_]]:
            width = np.where(rng.random(n) < 0.5, *self.WIDTHS)[:, None]
            proposed = inputs + width * rng.normal(size=(n, 2))
            return proposed, np.abs(proposed).max(axis=1) <= 10

        return accepted(propose, n_draws, 2, "gaussian-mixture")

    def _masses(self, inputs: Array) -> list[Array]:
        return [np.prod(ndtr((10 - inputs) / width) - ndtr((-10 - inputs) / width), axis=1) for width in self.WIDTHS]


class TwoMoons(Problem):
    """theta ~ U(-1, 1)^2, x = p + (-|theta1 + theta2|, theta2 - theta1) / sqrt 2 with p on a noisy half-circle.

    p = (r cos a + .25, r sin a), a ~ U(-pi/2, pi/2), r ~ N(.1, .01^2): two crescents of radius .1 and width .01.
    Negative radii (probability 10^-23) are left out of the density.
    """

    name, n_inputs, n_targets = "two-moons", 2, 2
    summary = "two thin crescents, mirror images of each other"
    reference, support, spread = LUECKMANN, (-1.0, 1.0), 0.6
    RADIUS, WIDTH, OFFSET = 0.1, 0.01, 0.25
    _N_ANGLES = 400  # of the normalisation, where the prior's edge cuts a crescent

    def simulate(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Inputs (n, 2) and targets (n, 2)."""
        target = rng.uniform(-1, 1, (n, 2))
        along, across = self._rotated(target)
        return self._noise(n, rng) + np.stack([-np.abs(along), across], axis=1), target

    def log_prob(self, target: Array, inputs: Array) -> Array:
        """Exact log density (n,); the posterior's share inside the prior's box by quadrature over the angle."""
        along, across = self._rotated(target)
        x, y = inputs[:, 0] + np.abs(along) - self.OFFSET, inputs[:, 1] - across
        radius = np.maximum(np.hypot(x, y), 1e-300)
        log_density = -0.5 * ((radius - self.RADIUS) / self.WIDTH) ** 2 - 0.5 * LOG_2_PI - np.log(self.WIDTH)
        log_density -= np.log(np.pi * radius) + np.log(2 * self._share_inside(inputs))
        return np.where((x > 0) & (np.abs(target) <= 1).all(1), log_density, -np.inf)

    def draw_one(self, inputs: Array, n_draws: int, rng: np.random.Generator) -> Array:
        """Draws (n_draws, 2) for inputs (2,)."""

        def propose(n: int) -> tuple[Array, NDArray[np.bool_]]:
            p = self._noise(n, rng)
            distance, across = p[:, 0] - inputs[0], inputs[1] - p[:, 1]
            along = np.where(rng.random(n) < 0.5, distance, -distance)
            proposed = np.stack([along - across, along + across], axis=1) / np.sqrt(2)
            return proposed, (distance >= 0) & (np.abs(proposed) <= 1).all(1)

        return accepted(propose, n_draws, 2, "two-moons")

    def _noise(self, n: int, rng: np.random.Generator) -> Array:
        angle, radius = rng.uniform(-np.pi / 2, np.pi / 2, n), rng.normal(self.RADIUS, self.WIDTH, n)
        return np.stack([radius * np.cos(angle) + self.OFFSET, radius * np.sin(angle)], axis=1)

    @staticmethod
    def _rotated(target: Array) -> tuple[Array, Array]:
        """Along the diagonal and across it."""
        return (target[:, 0] + target[:, 1]) / np.sqrt(2), (target[:, 1] - target[:, 0]) / np.sqrt(2)

    def _share_inside(self, inputs: Array) -> Array:
        """Probability (n,) that a point of the half-circle gives a theta inside the box: 0 <= d, d + |v| <= sqrt 2.

        Both conditions are linear in the radius, so that at a given angle an interval of it is left.
        """
        angle = (np.arange(self._N_ANGLES) + 0.5) / self._N_ANGLES * np.pi - np.pi / 2
        share = np.ones(len(inputs))
        reach = self.RADIUS + 10 * self.WIDTH
        distance, across = self.OFFSET - inputs[:, 0], np.abs(inputs[:, 1])
        cut = np.flatnonzero((distance < 0) | (distance + across + 2 * reach > np.sqrt(2)))
        for start in range(0, len(cut), 10_000):
            rows = cut[start : start + 10_000]
            d, x2 = distance[rows, None], inputs[rows, 1:]
            low, high = -d / np.cos(angle), np.full((len(rows), len(angle)), np.inf)
            for sign in (1, -1):
                slope, room = np.cos(angle) - sign * np.sin(angle), np.sqrt(2) - d - sign * x2
                high = np.where(slope > 0, np.minimum(high, room / slope), high)
                low = np.where(slope < 0, np.maximum(low, room / slope), low)
            low = np.maximum(low, 0.0)
            lower, upper = ((edge - self.RADIUS) / self.WIDTH for edge in (low, high))
            share[rows] = np.maximum(ndtr(upper) - ndtr(lower), 0.0).mean(axis=1)
        return share

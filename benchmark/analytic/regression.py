"""Problems that draw the inputs first and the target from a density of them that can be written down."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_expit

from benchmark.analytic.problem import LOG_2_PI, Array, Problem

__all__ = ["Banana", "Heteroscedastic", "LinearGaussian", "TwoModes"]


_COUNTS = ("one target", *(f"{n} targets" for n in ("two", "three", "four", "five", "six", "seven", "eight")))


class _Conditional(Problem):
    """Standard normal inputs; a galaxy's target is one draw of the exact posterior."""

    def simulate(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Inputs (n, n_inputs) and targets (n, n_targets)."""
        inputs = rng.normal(size=(n, self.n_inputs))
        return inputs, self._target(inputs, rng)

    def draw_one(self, inputs: Array, n_draws: int, rng: np.random.Generator) -> Array:
        """Draws (n_draws, n_targets) for inputs (n_inputs,)."""
        return self._target(np.broadcast_to(inputs, (n_draws, self.n_inputs)), rng)

    def _target(self, inputs: Array, rng: np.random.Generator) -> Array:
        """One target (n_targets,) for every row."""
        raise NotImplementedError


class LinearGaussian(_Conditional):
    """y = s (W x + L e / 2): targets linear in three inputs, in units from .1 to 10.

    L L^T has the correlations rho^|i - j|. The mutual information that a product of marginals cannot have is
    -(t - 1) log(1 - rho^2) / 2: 4.7 nats at t = 5, rho = .95.
    """

    n_inputs = 3
    NOISE = 0.5

    def __init__(self, n_targets: int, rho: float = 0.0) -> None:
        self.n_targets, self.rho = n_targets, rho
        self.name = f"{'correlated' if rho else 'gaussian'}{n_targets}"
        noise = f"Gaussian noise with correlations of {rho:g}" if rho else "independent Gaussian noise"
        self.summary = f"{_COUNTS[n_targets - 1]} linear in three inputs, {noise}"
        index = np.arange(n_targets)
        self.weights = np.random.default_rng(7).normal(size=(self.n_inputs, 8))[:, :n_targets]
        self.factor = np.linalg.cholesky(rho ** np.abs(index[:, None] - index)) if rho else np.eye(n_targets)
        self.scale = 10.0 ** np.linspace(-1, 1, n_targets)

    def log_prob(self, target: Array, inputs: Array) -> Array:
        """Exact log density (n,)."""
        residual = (target / self.scale - inputs @ self.weights) / self.NOISE
        noise = np.linalg.solve(self.factor, residual.T).T
        log_det = self.n_targets * np.log(self.NOISE) + np.log(np.diag(self.factor)).sum() + np.log(self.scale).sum()
        return -0.5 * np.square(noise).sum(1) - 0.5 * self.n_targets * LOG_2_PI - log_det

    def _target(self, inputs: Array, rng: np.random.Generator) -> Array:
        noise = rng.normal(size=(len(inputs), self.n_targets)) @ self.factor.T
        return self.scale * (inputs @ self.weights + self.NOISE * noise)


class Heteroscedastic(_Conditional):
    """y = sin x2 + exp(.7 tanh x1) e: a width that varies by a factor of four."""

    name, n_inputs, n_targets = "heteroscedastic", 2, 1
    summary = "one target whose Gaussian noise grows fourfold with an input"

    def log_prob(self, target: Array, inputs: Array) -> Array:
        """Exact log density (n,)."""
        mean, log_width = self._moments(inputs)
        return -0.5 * ((target[:, 0] - mean) / np.exp(log_width)) ** 2 - 0.5 * LOG_2_PI - log_width

    def _target(self, inputs: Array, rng: np.random.Generator) -> Array:
        mean, log_width = self._moments(inputs)
        return (mean + np.exp(log_width) * rng.normal(size=len(inputs)))[:, None]

    @staticmethod
    def _moments(inputs: Array) -> tuple[Array, Array]:
        return np.sin(inputs[:, 1]), 0.7 * np.tanh(inputs[:, 0])


class TwoModes(_Conditional):
    """Two Gaussian modes of width .4 at x2 (1, -1) / 2 +- (1.5, 1); the upper one has probability 1 / (1 + exp -x1)."""

    name, n_inputs, n_targets = "two-modes", 2, 2
    summary = "two Gaussian modes whose places and weights depend on the inputs"
    WIDTH = 0.4
    HALF = np.array([1.5, 1.0])

    def log_prob(self, target: Array, inputs: Array) -> Array:
        """Exact log density (n,)."""
        mode = [self._log_gaussian(target, inputs, sign) for sign in (1, -1)]
        return np.logaddexp(log_expit(inputs[:, 0]) + mode[0], log_expit(-inputs[:, 0]) + mode[1])

    def _log_gaussian(self, target: Array, inputs: Array, sign: int) -> Array:
        residual = (target - self._middle(inputs) - sign * self.HALF) / self.WIDTH
        return -0.5 * np.square(residual).sum(1) - LOG_2_PI - 2 * np.log(self.WIDTH)

    def _target(self, inputs: Array, rng: np.random.Generator) -> Array:
        sign = np.where(rng.random(len(inputs)) < expit(inputs[:, 0]), 1.0, -1.0)[:, None]
        return self._middle(inputs) + sign * self.HALF + self.WIDTH * rng.normal(size=(len(inputs), 2))

    @staticmethod
    def _middle(inputs: Array) -> Array:
        return 0.5 * inputs[:, 1:2] * np.array([1.0, -1.0])


class Banana(_Conditional):
    """y1 = x / 2 + e1, y2 = y1^2 + .3 e2."""

    name, n_inputs, n_targets = "banana", 1, 2
    summary = "two targets, the second around the square of the first"
    WIDTH = 0.3

    def log_prob(self, target: Array, inputs: Array) -> Array:
        """Exact log density (n,)."""
        first = target[:, 0] - 0.5 * inputs[:, 0]
        second = (target[:, 1] - target[:, 0] ** 2) / self.WIDTH
        return -0.5 * (first**2 + second**2) - LOG_2_PI - np.log(self.WIDTH)

    def _target(self, inputs: Array, rng: np.random.Generator) -> Array:
        noise = rng.normal(size=(len(inputs), 2))
        first = 0.5 * inputs[:, 0] + noise[:, 0]
        return np.stack([first, first**2 + self.WIDTH * noise[:, 1]], axis=1)

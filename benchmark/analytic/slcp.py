"""SLCP: a simple likelihood with a complex posterior, integrated numerically and drawn from without a chain.

Given the widths and the correlation, the two means are Gaussian inside the prior's box, so that their integral is known
and three dimensions are left: |theta3|, |theta4| (in the logarithm) and theta5, by Gauss's rule in cells. The signs of
theta3 and theta4 are free, hence four equal modes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, owens_t

from benchmark.analytic.inference import LUECKMANN, accepted
from benchmark.analytic.problem import LOG_2_PI, Array, Problem

__all__ = ["SLCP"]

BOUND = 3.0
N_POINTS = 4
EXTRA_VARIANCE = 1e-6  # the benchmark's code adds it to both variances
_N_CELLS = 12  # a dimension, with two nodes of Gauss's rule each
_SAFETY = 1.5  # of the largest ratio of the posterior to its proposal, which is estimated
_N_ROUNDS = 300  # of rejection, before a draw of the means
_N_GRID = 4_000  # comes from a grid
_NODES = np.array([-1.0, 1.0]) / np.sqrt(3)


@dataclass(frozen=True, eq=False)
class _Data:
    """Mean (2,) and scatter matrix about it of the four points of a galaxy."""

    mean: Array
    scatter: Array

    @classmethod
    def of(cls, inputs: Array) -> _Data:
        points = inputs.reshape(N_POINTS, 2)
        centred = points - points.mean(axis=0)
        return cls(points.mean(axis=0), centred.T @ centred)


class SLCP(Problem):
    """theta ~ U(-3, 3)^5; four points x ~ N((theta1, theta2), S), S of widths theta3^2, theta4^2, rho = tanh theta5."""

    name, n_inputs, n_targets = "slcp", 8, 5
    summary = "mean, widths and correlation of four points: simple likelihood, complex posterior of four modes"
    reference, support, spread = LUECKMANN, (-BOUND, BOUND), 4.4

    def simulate(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Inputs (n, 8), x and y of each point in turn, and targets (n, 5)."""
        target = rng.uniform(-BOUND, BOUND, (n, 5))
        variance1, covariance, variance2 = _covariance(*target[:, 2:].T)
        noise = rng.normal(size=(n, N_POINTS, 2))
        x = np.sqrt(variance1)[:, None] * noise[:, :, 0]
        slope = covariance / variance1
        y = slope[:, None] * x + np.sqrt(variance2 - slope * covariance)[:, None] * noise[:, :, 1]
        return (np.stack([x, y], axis=2) + target[:, None, :2]).reshape(n, 2 * N_POINTS), target

    def log_prob(self, target: Array, inputs: Array) -> Array:
        """Exact log density (n,); 10 CPU-ms for the normalisation of each different row of inputs."""
        found = np.full(len(target), -np.inf)
        each, which = np.unique(inputs, axis=0, return_inverse=True)
        inside = (np.abs(target) <= BOUND).all(axis=1)
        for number, row in enumerate(each):
            rows = np.flatnonzero((which.ravel() == number) & inside)
            if len(rows):
                found[rows] = _log_joint(_Data.of(row), target[rows]) - _Cells(_Data.of(row)).log_total
        return found

    def draw_one(self, inputs: Array, n_draws: int, rng: np.random.Generator) -> Array:
        """Draws (n_draws, 5) for inputs (8,)."""
        data = _Data.of(inputs)
        shape = _Cells(data).draw(n_draws, rng)
        means = _draw_means(data, shape, rng)
        signs = rng.choice([-1.0, 1.0], size=(n_draws, 2))
        return np.concatenate([means, shape[:, :2] * signs, shape[:, 2:]], axis=1)


def _covariance(theta3: Array, theta4: Array, theta5: Array) -> tuple[Array, Array, Array]:
    """Variance of x, covariance, variance of y."""
    width1, width2 = np.square(theta3), np.square(theta4)
    return width1**2 + EXTRA_VARIANCE, np.tanh(theta5) * width1 * width2, width2**2 + EXTRA_VARIANCE


def _log_scatter(data: _Data, theta3: Array, theta4: Array, theta5: Array) -> Array:
    """Logarithm of |S|^(-3/2) exp(-tr(S^-1 W) / 2): the likelihood with the means integrated over the plane."""
    variance1, covariance, variance2 = _covariance(theta3, theta4, theta5)
    determinant = variance1 * variance2 - covariance**2
    (w11, w12), (_, w22) = data.scatter
    trace = (variance2 * w11 - 2 * covariance * w12 + variance1 * w22) / determinant
    return -0.5 * (N_POINTS - 1) * np.log(determinant) - 0.5 * trace


def _log_joint(data: _Data, target: Array) -> Array:
    """Log likelihood (m,) of targets (m, 5), up to the constant that `_Cells.log_total` leaves out too."""
    variance1, covariance, variance2 = _covariance(*target[:, 2:].T)
    determinant = variance1 * variance2 - covariance**2
    x, y = (target[:, :2] - data.mean).T
    chi2 = N_POINTS * (variance2 * x**2 - 2 * covariance * x * y + variance1 * y**2) / determinant
    return _log_scatter(data, *target[:, 2:].T) - LOG_2_PI - 0.5 * np.log(determinant / N_POINTS**2) - 0.5 * chi2


class _Cells:
    """The posterior of (|theta3|, |theta4|, theta5) of one galaxy in cells, means integrated out.

    ``log_total`` is the logarithm of its integral over all signs.
    """

    def __init__(self, data: _Data) -> None:
        self.data = data
        ranges = [_range_of_log_width(float(data.scatter[i, i])) for i in (0, 1)] + [(-BOUND, BOUND)]
        self.low = np.array([low for low, _ in ranges])
        self.step = np.array([(high - low) / _N_CELLS for low, high in ranges])
        middle = (np.arange(_N_CELLS) + 0.5)[:, None] + 0.5 * _NODES
        axes = [low + step * middle.ravel() for low, step in zip(self.low, self.step, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        log_density = self._log_density(grid).reshape((_N_CELLS, 2) * 3)
        self.top = float(log_density.max())
        self.mass = np.exp(log_density - self.top).mean(axis=(1, 3, 5)).ravel()
        log_volume = float(np.log(self.step).sum())
        self.log_total = float(np.log(self.mass.sum())) + self.top + log_volume + np.log(4)

    def draw(self, n_draws: int, rng: np.random.Generator) -> Array:
        """Draws (n_draws, 3), by rejection from the cells filled evenly."""
        share = self.mass / self.mass.sum()
        share = 0.98 * share + 0.02 / len(share)  # no corner is left out

        def place(n: int) -> tuple[Array, Array]:
            chosen = rng.choice(len(share), size=n, p=share)
            corner = np.stack(np.unravel_index(chosen, (_N_CELLS,) * 3), axis=1)
            point = self.low + self.step * (corner + rng.random((n, 3)))
            return point, np.exp(self._log_density(point) - self.top) / share[chosen]

        limit = _SAFETY * place(4_000)[1].max()

        def propose(n: int) -> tuple[Array, NDArray[np.bool_]]:
            point, ratio = place(n)
            return point, rng.random(n) * limit < ratio

        point = accepted(propose, n_draws, 3, "slcp")
        return np.concatenate([np.exp(point[:, :2]), point[:, 2:]], axis=1)

    def _log_density(self, point: Array) -> Array:
        """Log density (m,) at points (m, 3) of log |theta3|, log |theta4|, theta5."""
        theta = *np.exp(point[:, :2]).T, point[:, 2]
        with np.errstate(divide="ignore"):
            return _log_scatter(self.data, *theta) + point[:, :2].sum(axis=1) + np.log(_box_mass(self.data, *theta))


def _range_of_log_width(scatter: float) -> tuple[float, float]:
    """Where log |theta| of a column's width has all of its posterior but some 10^-6."""
    highest = np.log(BOUND)
    if scatter < 100 * EXTRA_VARIANCE:  # the width is below what the extra variance lets one see: flat down to 0
        return float(np.log(1e-4)), float(min(highest, 0.25 * np.log(100 * EXTRA_VARIANCE) + 2.5))
    centre = 0.25 * np.log(scatter)
    return float(min(centre, highest) - 1.1), float(min(highest, centre + 2.5))


def _box_mass(data: _Data, theta3: Array, theta4: Array, theta5: Array) -> Array:
    """Probability (m,) that means drawn from N(mean, S / 4) lie inside the prior's box."""
    variance1, covariance, variance2 = _covariance(theta3, theta4, theta5)
    sigma1, sigma2 = np.sqrt(variance1 / N_POINTS), np.sqrt(variance2 / N_POINTS)
    rho = covariance / np.sqrt(variance1 * variance2)
    low1, high1 = ((edge - data.mean[0]) / sigma1 for edge in (-BOUND, BOUND))
    low2, high2 = ((edge - data.mean[1]) / sigma2 for edge in (-BOUND, BOUND))
    mass = (
        _both_below(high1, high2, rho)
        - _both_below(low1, high2, rho)
        - _both_below(high1, low2, rho)
        + _both_below(low1, low2, rho)
    )
    return np.maximum(mass, 0.0)


def _both_below(h: Array, k: Array, rho: Array) -> Array:
    """P(X < h, Y < k) of a standard bivariate normal, by Owen's T (Owen 1956, eq. 3.1)."""
    root = np.sqrt(1 - rho**2)
    h, k = (np.where(np.abs(edge) < 1e-12, 1e-12, edge) for edge in (h, k))
    twice = owens_t(h, (k / h - rho) / root) + owens_t(k, (h / k - rho) / root)
    return 0.5 * (ndtr(h) + ndtr(k)) - twice - np.where(h * k < 0, 0.5, 0.0)


def _draw_means(data: _Data, shape: Array, rng: np.random.Generator) -> Array:
    """Means (m, 2) given (|theta3|, |theta4|, theta5) (m, 3), inside the prior's box.

    By rejection: the first is drawn where the second may lie in the box at all, to eight widths. Where hardly any is
    kept, as the box cuts off but the edge of a narrow ridge, the first comes from a fine grid instead.
    """
    variance1, covariance, variance2 = (v / N_POINTS for v in _covariance(*shape.T))
    sigma1, slope = np.sqrt(variance1), covariance / variance1
    sigma2 = np.sqrt(np.maximum(variance2 - slope * covariance, 1e-300))
    safe = np.where(np.abs(slope) > 1e-12, slope, 1e-12)
    ends = np.sort([(side * (BOUND + 8 * sigma2) - data.mean[1]) / safe + data.mean[0] for side in (-1, 1)], axis=0)
    low, high = (np.clip(end, -BOUND, BOUND) for end in ends)
    means, waiting = np.empty((len(shape), 2)), np.arange(len(shape))
    for _ in range(_N_ROUNDS):
        edges = (low[waiting] - data.mean[0]) / sigma1[waiting], (high[waiting] - data.mean[0]) / sigma1[waiting]
        first = data.mean[0] + sigma1[waiting] * _cut_normal(*edges, rng)
        centre = data.mean[1] + slope[waiting] * (first - data.mean[0])
        second = centre + sigma2[waiting] * rng.normal(size=len(waiting))
        good = (np.abs(second) <= BOUND) & (np.abs(first) <= BOUND)
        means[waiting[good]] = np.stack([first, second], axis=1)[good]
        waiting = waiting[~good]
        if not len(waiting):
            return means
    for row in waiting:
        step = (high[row] - low[row]) / _N_GRID
        grid = low[row] + step * (np.arange(_N_GRID) + 0.5)
        edges = _edges_of_second(data, grid, slope[row], sigma2[row])
        z = (grid - data.mean[0]) / sigma1[row]
        total = np.cumsum(np.exp(0.5 * np.square(z).min() - 0.5 * z**2) * _mass_between(*edges))
        first = grid[np.searchsorted(total, rng.random() * total[-1])] + step * (rng.random() - 0.5)
        edges = _edges_of_second(data, np.array([first]), slope[row], sigma2[row])
        centre = data.mean[1] + slope[row] * (first - data.mean[0])
        means[row] = first, np.clip(centre + sigma2[row] * _cut_normal(*edges, rng)[0], -BOUND, BOUND)
    return means


def _edges_of_second(data: _Data, first: Array, slope: float, sigma2: float) -> tuple[Array, Array]:
    """The box's edges of the second mean given the first (k,), in units of its width."""
    centre = data.mean[1] + slope * (first - data.mean[0])
    return (-BOUND - centre) / sigma2, (BOUND - centre) / sigma2


def _mass_between(low: Array, high: Array) -> Array:
    """Probability of a standard normal number between two edges, from the tail that loses no digits."""
    left, right = np.where(low > 0, -high, low), np.where(low > 0, -low, high)
    return ndtr(right) - ndtr(left)


def _cut_normal(low: Array, high: Array, rng: np.random.Generator) -> Array:
    """Standard normal numbers between two edges, from the tail that loses no digits."""
    flip = np.where(low > 0, -1.0, 1.0)
    left, right = np.where(low > 0, -high, low), np.where(low > 0, -low, high)
    a, b = ndtr(left), ndtr(right)
    return flip * np.clip(ndtri(a + (b - a) * rng.random(len(low))), left, right)

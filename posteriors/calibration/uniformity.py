"""Tests of ranks in [0, 1] against the uniform distribution, which every calibrated posterior gives.

PIT values, the credibilities of TARP and those of highest-density regions are such ranks, whence one set of tests
serves all diagnostics: Kolmogorov-Smirnov for shifts, the variance about 1/2 for widths, and the ECDF with a
simultaneous band for either, with a picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["RankECDF", "check_ranks", "ks_uniform", "rank_ecdf", "width_test", "width_test_power"]

Floats = NDArray[np.float64]

_MIN_GALAXIES = 10
_N_SIMULATED = 10_000
_SIMULATION_SEED = 20_211_118  # of the null distribution of the band, the same for all posteriors


@dataclass(frozen=True)
class RankECDF:
    """Empirical distribution of ranks with the band in which the whole of it lies for 95 % of calibrated posteriors.

    Attributes
    ----------
    level : (n_levels,) from 0 to 1.
    ecdf : (n_levels,) share of ranks at or below the level.
    low, high : (n_levels,) simultaneous 95 % band.
    p_value : share of calibrated posteriors whose ECDF strays as far as this one somewhere.
    """

    level: Floats
    ecdf: Floats
    low: Floats
    high: Floats
    p_value: float


def ks_uniform(values: ArrayLike) -> tuple[float, float]:
    """Kolmogorov-Smirnov distance of (n,) values from U(0, 1), and its exact p-value.

    References
    ----------
    Simard & L'Ecuyer 2011, doi:10.18637/jss.v039.i11, the exact distribution as scipy has it.
    """
    from scipy.stats import kstwo  # a second to import

    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    steps = np.arange(n + 1) / n
    distance = float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))
    return distance, float(kstwo.sf(distance, n))


def width_test(values: ArrayLike) -> tuple[float, float]:
    """Mean of (value - 1/2)^2 over (n,) values, relative to the 1/12 of U(0, 1), and its two-sided p-value.

    Above 1: the posterior is too narrow (or shifted); below 1: too wide. Under calibration the mean has variance
    1 / (180 n), and is normal from n = 50 on.
    """
    ranks = np.asarray(values, dtype=np.float64)
    ratio = 12 * float(np.square(ranks - 0.5).mean())
    return ratio, math.erfc(abs(ratio - 1) / 12 * math.sqrt(180 * len(ranks)) / math.sqrt(2))


def width_test_power(n: int, width: float = 0.9, level: float = 0.05) -> float:
    """Probability that `width_test` of n PIT values rejects a Gaussian posterior of the wrong width.

    Print it with a verdict: a test that would hardly have noticed says little by passing.

    Parameters
    ----------
    n : galaxies, at least 10.
    width : width of the posterior in units of the right one; positive.
    level : of the test.

    Raises
    ------
    ValueError
        For n < 10 and a width that is not positive.
    """
    if n < _MIN_GALAXIES or width <= 0:
        raise ValueError(f"n = {n}, width = {width}: at least {_MIN_GALAXIES} galaxies and a positive width are needed")
    # moments of (u - 1/2)^2 with u = Phi(x / width), x standard normal: by quadrature over its quantiles
    quantile = (np.arange(2_000) + 0.5) / 2_000
    normal = NormalDist()
    squares = np.array([(normal.cdf(normal.inv_cdf(q) / width) - 0.5) ** 2 for q in quantile])
    border = -normal.inv_cdf(level / 2) / math.sqrt(180 * n)
    mean, spread = float(squares.mean()) - 1 / 12, float(squares.std()) / math.sqrt(n)
    return normal.cdf((mean - border) / spread) + normal.cdf((-mean - border) / spread)


def rank_ecdf(values: ArrayLike, n_levels: int = 101) -> RankECDF:
    """ECDF of ranks (n,) with a simultaneous 95 % band.

    Parameters
    ----------
    values : (n,) in [0, 1], randomised where they come from few draws, as `posteriors.calibration.pit.pit` does.
    n_levels : levels at which the curve is compared.

    Raises
    ------
    ValueError
        For another shape, values outside [0, 1], fewer than 10 galaxies, n_levels < 3.

    Notes
    -----
    The band is pointwise binomial, widened until it holds 95 % of whole curves; how much is found from 10,000
    simulated sets of ranks (the simulation of Saeilynoja et al., not their recursion), so that the band's level is
    known to .2 %.

    References
    ----------
    Saeilynoja, Buerkner & Vehtari 2022, Graphical test for discrete uniformity, arXiv:2103.10522, sections 2.2 and 3.
    """
    ranks = check_ranks(values)
    if n_levels < 3:
        raise ValueError(f"n_levels = {n_levels}: at least 3 are needed")
    n, level = len(ranks), np.linspace(0, 1, n_levels)
    counts = np.searchsorted(np.sort(ranks), level, side="right")
    null = _null(n, n_levels)
    gamma = float(np.quantile(null.smallest, 0.05))
    found = float(null.tails(counts[1:-1]).min())
    low, high = null.counts_with_tails(gamma / 2)
    p_value = float((1 + (null.smallest <= 2 * found).sum()) / (1 + len(null.smallest)))
    return RankECDF(level, counts / n, low / n, high / n, p_value)


class _Null:
    """Calibrated curves: binomial tails of the counts near their expectation, and simulated whole curves."""

    def __init__(self, n: int, n_levels: int) -> None:
        from scipy.stats import binom  # a second to import

        level = np.linspace(0, 1, n_levels)[1:-1]
        n_counts = min(n + 1, 2 * math.ceil(5 * math.sqrt(n)) + 1)  # ten standard deviations either way
        self._n = n
        self._first = np.clip(np.rint(n * level).astype(np.int64) - n_counts // 2, 0, n + 1 - n_counts)
        count = self._first[:, None] + np.arange(n_counts)
        self._below: Floats = np.asarray(binom.cdf(count, n, level[:, None]))
        self._above: Floats = np.asarray(binom.sf(count - 1, n, level[:, None]))
        steps = np.full(n_levels - 1, 1 / (n_levels - 1))
        simulated = np.random.default_rng(_SIMULATION_SEED).multinomial(n, steps, size=_N_SIMULATED).cumsum(1)[:, :-1]
        self.smallest = 2 * self.tails(simulated).min(1)

    def tails(self, counts: NDArray[np.int64]) -> Floats:
        """Probability of counts (..., inner levels) as far out as these, on their side."""
        place = np.clip(counts - self._first, 0, self._below.shape[1] - 1)
        rows = np.arange(len(self._first))
        return np.minimum(self._below[rows, place], self._above[rows, place])

    def counts_with_tails(self, tail: float) -> tuple[Floats, Floats]:
        """Lowest and highest count at each level, ends included, whose tail is no less likely than this."""
        low = self._first + np.argmax(self._below >= tail, axis=1)
        high = self._first + self._above.shape[1] - 1 - np.argmax(self._above[:, ::-1] >= tail, axis=1)
        return np.array([0, *low, self._n], dtype=float), np.array([0, *high, self._n], dtype=float)


@lru_cache(maxsize=8)
def _null(n: int, n_levels: int) -> _Null:
    return _Null(n, n_levels)


def check_ranks(values: ArrayLike, name: str = "ranks") -> Floats:
    """Ranks (n,) as float64.

    Raises
    ------
    ValueError
        For another shape, values outside [0, 1], or fewer than 10 galaxies.
    """
    ranks = np.asarray(values, dtype=np.float64)
    if ranks.ndim != 1 or not ((ranks >= 0) & (ranks <= 1)).all():
        raise ValueError(f"{name} of shape {ranks.shape}: (n,) values in [0, 1] are needed, one target at a time")
    if len(ranks) < _MIN_GALAXIES:
        raise ValueError(f"{len(ranks)} galaxies: a test of calibration needs at least {_MIN_GALAXIES}")
    return ranks

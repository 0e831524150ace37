"""Calibration of each target by itself: PIT, its distance from uniform, and the coverage of central intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posteriors.calibration.uniformity import check_ranks, ks_uniform
from posteriors.scores.density import central_coverage, pit_values

__all__ = ["UniformityTest", "interval_coverage", "pit", "uniformity"]


@dataclass(frozen=True)
class UniformityTest:
    """Kolmogorov-Smirnov distance from the uniform distribution (0 is best), its 95 % interval and p-value.

    ``low`` and ``high`` bound the distance that infinitely many galaxies would show, by the band of Dvoretzky, Kiefer
    and Wolfowitz with Massart's constant (1990, doi:10.1214/aop/1176990746): distance -/+ sqrt(ln(2 / .05) / (2 n)). A
    bootstrap would be biased upwards.
    """

    distance: float
    low: float
    high: float
    p_value: float


def pit(draws: ArrayLike, target: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
    """Probability integral transform of each target, with randomised ties.

    Uniform on (0, 1) when the marginal posterior is calibrated; a U shape is too narrow a posterior, a hump too wide
    a one, a slope a bias.

    Parameters
    ----------
    draws : (n_draws, n, t) or (n_draws, n).
    target : (n, t) or (n,).
    seed : of the randomisation.

    Returns
    -------
    Array of the shape of ``target``.

    Raises
    ------
    ValueError
        For shapes that do not fit and values that are not finite.

    References
    ----------
    Dawid 1984, doi:10.2307/2981683; Gneiting, Balabdaoui & Raftery 2007, doi:10.1111/j.1467-9868.2007.00587.x.
    """
    return pit_values(target, draws, seed=seed)


def uniformity(pit: ArrayLike) -> UniformityTest:
    """Test (n,) PIT values of independent galaxies against U(0, 1).

    Raises
    ------
    ValueError
        For another shape, values outside [0, 1], or fewer than 10 galaxies.
    """
    values = check_ranks(pit, "pit")
    distance, p_value = ks_uniform(values)
    reach = math.sqrt(math.log(2 / 0.05) / (2 * len(values)))
    return UniformityTest(distance, max(0.0, distance - reach), min(1.0, distance + reach), p_value)


def interval_coverage(pit: ArrayLike, level: float) -> float:
    """Share of galaxies (n,) whose truth lies in the central interval of the given level; it should be the level.

    Raises
    ------
    ValueError
        As `uniformity`, and for a level not between 0 and 1.
    """
    return float(central_coverage(check_ranks(pit, "pit"), level).mean())

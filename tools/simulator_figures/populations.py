"""Relations that real galaxies are known to follow, and what is measured to compare with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc
from sklearn.mixture import GaussianMixture

__all__ = [
    "RED_SLOPE",
    "TwoSequences",
    "half_light_radius",
    "main_sequence",
    "shen2003_early",
    "shen2003_late",
    "two_sequences",
]

Array = NDArray[np.float64]

RED_SLOPE = 2.65
"""Change of observed g-r of old galaxies with z between 0 and .4: 9 Gyr at solar metallicity, docs/simulator.md."""


def shen2003_late(log10_mstar: Array) -> Array:
    """Median half-light radius of late types in kpc, of circles, z band (Shen et al. 2003, MNRAS 343, 978, eq. 18)."""
    mstar = 10.0 ** np.asarray(log10_mstar)
    return 0.10 * mstar**0.14 * (1 + mstar / 3.98e10) ** (0.39 - 0.14)


def shen2003_early(log10_mstar: Array) -> Array:
    """Median half-light radius of early types in kpc (Shen et al. 2003, eq. 17, with the factor of the erratum)."""
    return 2.88e-6 * (10.0 ** np.asarray(log10_mstar)) ** 0.56


def main_sequence(log10_mstar: Array) -> Array:
    """log10 sSFR / yr of star-forming galaxies at z ~ .1 (Salim et al. 2007, ApJS 173, 267)."""
    return -0.35 * (np.asarray(log10_mstar) - 10) - 9.83


def half_light_radius(share: Array, bulge: Array, disc: Array) -> Array:
    """Radius (n,) of the circle that holds half of the light of a bulge and a disc.

    Parameters
    ----------
    share : (n,) of the light in the bulge, 0 to 1.
    bulge, disc : (n,) half-light radii of a de Vaucouleurs and of an exponential profile, both round, in one unit.
    """

    def light(radius: Array) -> Array:
        de_vaucouleurs = gammainc(8, 7.669249 * (radius / bulge) ** 0.25)
        exponential = gammainc(2, 1.678347 * radius / disc)
        return share * de_vaucouleurs + (1 - share) * exponential

    low, high = np.minimum(bulge, disc) * 0.5, np.maximum(bulge, disc) * 2
    for _ in range(50):
        middle = np.sqrt(low * high)
        inside = light(middle) < 0.5
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.sqrt(low * high)


@dataclass(frozen=True)
class TwoSequences:
    """Two Gaussians in a colour: means, standard deviations, and the share of the blue one."""

    red: float
    red_width: float
    blue: float
    blue_width: float
    blue_share: float


def two_sequences(colour: Array) -> TwoSequences:
    """Red and blue sequence of (n,) colours by maximum likelihood (the model of Baldry et al. 2004, ApJ 600, 681)."""
    start = np.quantile(colour, (0.3, 0.85))[:, None]
    fit = GaussianMixture(2, means_init=start, tol=1e-6, max_iter=1000, random_state=0).fit(colour[:, None])
    blue, red = np.argsort(fit.means_[:, 0])
    width = np.sqrt(fit.covariances_[:, 0, 0])
    return TwoSequences(
        red=float(fit.means_[red, 0]),
        red_width=float(width[red]),
        blue=float(fit.means_[blue, 0]),
        blue_width=float(width[blue]),
        blue_share=float(fit.weights_[blue]),
    )

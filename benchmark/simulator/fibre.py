"""How much of a galaxy's light enters a fibre of 1.5 arcsec diameter.

Each component is a round de Vaucouleurs or exponential profile with the half-light radius of its image, sqrt(q) times
that along the major axis, q the axis ratio of a bulge of thickness .7 or a disc of thickness .2 at the galaxy's
inclination. Light that left at radius r and is blurred by a Gaussian lands within the fibre's radius R with the
probability that a non-central chi-squared variate with two degrees of freedom and (r / s)^2 stays below (R / s)^2;
the share is the mean over the profile. Seeing has a full width of 1.15 arcsec. Fibres sit on the centres and see more
bulge than disc.

DESI's fluxes are calibrated by stars (Guy et al. 2023, AJ 165, 144): shares are those of a galaxy over that of a star.

Changed against the prototype: it had 1 - 2^-((R / r_eff)^p) with r_eff^2 = r_e^2 + (.55 FWHM)^2, which is a quarter too
large for discs of 1.5 arcsec and twice too large at 4, and .78 for stars, which goes with better seeing.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ncx2

from benchmark.simulator.latents import Latents
from benchmark.simulator.photometry import MIN_BULGE_ARCSEC, kpc_per_arcsec

__all__ = ["FIBRE_RADIUS_ARCSEC", "SEEING_ARCSEC", "fibre_shares", "share_of_profile"]

Array = NDArray[np.float64]

FIBRE_RADIUS_ARCSEC = 0.75
SEEING_ARCSEC = 1.15  # full width at half maximum
THICKNESS = np.array([0.7, 0.2])  # bulge, disc
SERSIC = (4, 1)
_SERSIC_B = {1: 1.6783469900, 4: 7.6692494425}
_RADII = np.geomspace(0.02, 200.0, 160)  # arcsec: a bulge of .12 to the disc of a galaxy at z = .01 seen face-on


def fibre_shares(latents: Latents) -> Array:
    """Share (n, 2) of the light of bulge and disc that enters the fibre, by that of a star: 0 to 1."""
    scale = kpc_per_arcsec(latents.z)
    radius = np.stack([np.maximum(latents.bulge_kpc / scale, MIN_BULGE_ARCSEC), latents.disc_kpc / scale], axis=1)
    cos2 = latents.cos_inclination[:, None] ** 2
    ratio = np.sqrt(cos2 + THICKNESS**2 * (1 - cos2))
    log_radius = np.log(radius * np.sqrt(ratio))
    columns = [np.interp(log_radius[:, i], np.log(_RADII), _shares(sersic)) for i, sersic in enumerate(SERSIC)]
    return np.stack(columns, axis=1)


def share_of_profile(radius_arcsec: float, sersic: int) -> float:
    """Share of a round exponential (``sersic`` 1) or de Vaucouleurs (4) profile in the fibre, by that of a star.

    Parameters
    ----------
    radius_arcsec : half-light radius.
    sersic : index of the profile.

    References
    ----------
    Ciotti & Bertin 1999, A&A 352, 447 (the profile's constant b).
    """
    spread = SEEING_ARCSEC / np.sqrt(8 * np.log(2))
    reach = (FIBRE_RADIUS_ARCSEC / spread) ** 2
    radius = radius_arcsec * np.geomspace(1e-4, 25.0, 2000)
    light = np.exp(-_SERSIC_B[sersic] * (radius / radius_arcsec) ** (1 / sersic)) * radius**2  # in equal steps of ln r
    inside = np.sum(light * ncx2.cdf(reach, 2, (radius / spread) ** 2)) / np.sum(light)
    return float(inside / -np.expm1(-reach / 2))


@lru_cache(maxsize=2)
def _shares(sersic: int) -> Array:
    return np.array([share_of_profile(radius, sersic) for radius in _RADII])

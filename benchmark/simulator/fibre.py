"""How much of a galaxy's light enters a fibre of 1.5 arcsec diameter.

A component with half-light radius re on the sky, blurred by seeing, has half of its light within
r_eff = sqrt(re^2 + (.55 FWHM)^2), and within the fibre's radius R the share

    1 - 2^-((R / r_eff)^p),   p = .85 for a bulge, 1.25 for a disc,

an approximation to the curves of growth of de Vaucouleurs and exponential profiles. Seeing has a full width of 1.15
arcsec. DESI's fluxes are calibrated by stars (Guy et al. 2023, AJ 165, 144), of which a fibre is taken to receive .78:
spectra here are the galaxy's share over that of a star. Fibres sit on the centres and see more bulge than disc.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmark.simulator.latents import Latents
from benchmark.simulator.photometry import MIN_BULGE_ARCSEC, kpc_per_arcsec

__all__ = ["FIBRE_RADIUS_ARCSEC", "STAR_SHARE", "fibre_shares"]

Array = NDArray[np.float64]

FIBRE_RADIUS_ARCSEC = 0.75
SEEING_ARCSEC = 1.15
STAR_SHARE = 0.78
STEEPNESS = np.array([0.85, 1.25])  # bulge, disc


def fibre_shares(latents: Latents) -> Array:
    """Share (n, 2) of the light of bulge and disc that enters the fibre, 0 to 1, before scaling to that of a star."""
    scale = kpc_per_arcsec(latents.z)
    bulge = np.maximum(latents.bulge_kpc / scale, MIN_BULGE_ARCSEC)
    radius = np.stack([bulge, latents.disc_kpc / scale], axis=1)
    blurred = np.hypot(radius, 0.55 * SEEING_ARCSEC)
    return 1 - 2.0 ** -((FIBRE_RADIUS_ARCSEC / blurred) ** STEEPNESS)

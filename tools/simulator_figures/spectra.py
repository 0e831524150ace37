"""Numbers that are read off galaxy spectra: the break at 4000 A, signal to noise, and the class of emission lines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["abundance_sequence", "bpt_class", "dn4000", "kauffmann2003", "kewley2001", "median_snr"]

Array = NDArray[np.float64]

BLUE_SIDE, RED_SIDE = (3850.0, 3950.0), (4000.0, 4100.0)


def dn4000(wave_angstrom: Array, flux: Array, z: Array) -> Array:
    """Break at 4000 A, (n,): the mean of f_nu in 4000-4100 A over that in 3850-3950 A at rest.

    Parameters
    ----------
    wave_angstrom : (m,) observed, even.
    flux : (n, m) per Angstrom, any unit.
    z : (n,) redshifts.

    Returns
    -------
    NaN where a side lies outside of the spectrum or has no positive mean.

    References
    ----------
    Balogh et al. 1999 (ApJ 527, 54), the narrow definition, which SDSS uses (Kauffmann et al. 2003, MNRAS 341, 33).
    """
    means = []
    for low, high in (BLUE_SIDE, RED_SIDE):
        rest = wave_angstrom / (1 + z[:, None])
        inside = (rest >= low) & (rest < high)
        f_nu = np.sum(np.where(inside, flux * wave_angstrom**2, 0), axis=1) / np.maximum(inside.sum(axis=1), 1)
        covered = (rest[:, 0] <= low) & (rest[:, -1] >= high)
        means.append(np.where(covered & (f_nu > 0), f_nu, np.nan))
    return means[1] / means[0]


def median_snr(flux: Array, ivar: Array) -> Array:
    """Median over pixels (n,) of flux (n, m) times the root of its inverse variance (n, m), where that is positive."""
    return np.nanmedian(np.where(ivar > 0, flux * np.sqrt(ivar), np.nan), axis=1)


def kauffmann2003(log10_nii_halpha: Array) -> Array:
    """log10 [OIII]/Hb above which galaxies are not purely star-forming (MNRAS 346, 1055, eq. 1); -inf beyond .05."""
    x = np.asarray(log10_nii_halpha, dtype=np.float64)
    return np.where(x < 0.05, 0.61 / (np.minimum(x, 0.05 - 1e-9) - 0.05) + 1.3, -np.inf)


def kewley2001(log10_nii_halpha: Array) -> Array:
    """log10 [OIII]/Hb that starbursts do not exceed (Kewley et al. 2001, ApJ 556, 121, eq. 5); -inf beyond .47."""
    x = np.asarray(log10_nii_halpha, dtype=np.float64)
    return np.where(x < 0.47, 0.61 / (np.minimum(x, 0.47 - 1e-9) - 0.47) + 1.19, -np.inf)


def abundance_sequence(log10_nii_halpha: Array) -> Array:
    """log10 [OIII]/Hb on the ridge of star-forming SDSS galaxies (Kewley et al. 2013, ApJ 774, 100, z = 0)."""
    x = np.asarray(log10_nii_halpha, dtype=np.float64)
    return np.where(x < -0.08, 0.61 / (np.minimum(x, -0.08 - 1e-9) + 0.08) + 1.1, -np.inf)


def bpt_class(log10_nii_halpha: Array, log10_oiii_hbeta: Array) -> NDArray[np.int64]:
    """0 star-forming (below Kauffmann et al. 2003), 2 active (above Kewley et al. 2001), 1 in between: composite."""
    below = log10_oiii_hbeta < kauffmann2003(log10_nii_halpha)
    above = log10_oiii_hbeta > kewley2001(log10_nii_halpha)
    return np.where(below, 0, np.where(above, 2, 1)).astype(np.int64)

"""Which candidates there are, and which of them the survey keeps: a DESI Bright Galaxy Survey.

Galaxies are drawn from a stellar mass function times comoving volume, each mass out to the redshift at which even a
galaxy of an optimistic mass-to-light ratio (the envelope) leaves the survey; the magnitude cut then rejects. This
equals drawing from mass function times volume up to z = .6 as long as no galaxy is brighter than the envelope; those
that are get counted (`Proposal.beats_envelope`): at their mass, a few beyond the drawn redshifts are missing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmark.simulator import cosmology

__all__ = ["R_BRIGHT", "R_FAINT", "Proposal", "accept"]

Array = NDArray[np.float64]

R_BRIGHT = 19.5  # BGS Bright: all (Hahn et al. 2023, AJ 165, 253, arXiv:2208.08512)
R_FAINT = 20.175  # BGS Faint reaches further ...
FAINT_FRACTION = 0.35  # ... and has lower priority; its colour cut is not simulated

Z_MIN, Z_MAX = 0.01, 0.6
MASS_MIN, MASS_MAX = 8.0, 12.0
SUN_R_AB = 4.65  # Willmer 2018, ApJS 236, 47, table 3 (SDSS r)
ENVELOPE_MASS = np.array([8.0, 9.5, 10.5, 11.3, 12.0])
# solar, r band. The specification's prototype had (.25, .3, .5, .9, 1.3), which 6 % of the galaxies beat; these cost
# 1.8 times the candidates and under .1 % beat them
ENVELOPE_MASS_TO_LIGHT = np.array([0.10, 0.12, 0.18, 0.32, 0.60])


def mass_function(log10_mstar: Array) -> Array:
    """Galaxies per Mpc^3 and dex: double Schechter of Baldry et al. 2012 (MNRAS 421, 621, eq. 6 and fig. 13)."""
    x = 10.0 ** (log10_mstar - 10.66)
    return np.log(10) * np.exp(-x) * (3.96e-3 * x ** (1 - 0.35) + 0.79e-3 * x ** (1 - 1.47))


def envelope_absolute_magnitude(log10_mstar: Array) -> Array:
    """Rest r-band AB magnitude of the brightest galaxies of a stellar mass, as the draw takes them to be."""
    mass_to_light = np.interp(log10_mstar, ENVELOPE_MASS, ENVELOPE_MASS_TO_LIGHT)
    return SUN_R_AB - 2.5 * (log10_mstar - np.log10(mass_to_light))


class Proposal:
    """Mass function times volume within the envelope's reach, drawn by inverse distribution functions."""

    def __init__(self) -> None:
        self._mass = np.linspace(MASS_MIN, MASS_MAX, 4001)
        self._z = np.linspace(Z_MIN, Z_MAX, 5901)
        volume = cosmology.comoving_distance_mpc(self._z) ** 3
        self._volume = volume - volume[0]
        self._reach = np.interp(self._modulus_limit(self._mass), cosmology.distance_modulus(self._z), self._z)
        density = mass_function(self._mass) * np.interp(self._reach, self._z, self._volume)
        cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
        self._cumulative = cumulative / cumulative[-1]

    @staticmethod
    def _modulus_limit(log10_mstar: Array) -> Array:
        return R_FAINT - envelope_absolute_magnitude(log10_mstar)

    def draw(self, u_mass: Array, u_redshift: Array) -> tuple[Array, Array]:
        """log10 M* and z (n,) each, from numbers (n,) that are even in (0, 1)."""
        log10_mstar = np.interp(u_mass, self._cumulative, self._mass)
        volume = u_redshift * np.interp(np.interp(log10_mstar, self._mass, self._reach), self._z, self._volume)
        return log10_mstar, np.interp(volume, self._volume, self._z)

    def beats_envelope(self, log10_mstar: Array, z: Array, mag_r: Array) -> NDArray[np.bool_]:
        """True where a galaxy is brighter than the envelope at its mass and redshift, and z = .6 is not the limit."""
        limited = self._modulus_limit(log10_mstar) < cosmology.distance_modulus(np.array(Z_MAX))
        return limited & (mag_r < envelope_absolute_magnitude(log10_mstar) + cosmology.distance_modulus(z))


def accept(mag_r: Array, u_faint: Array) -> NDArray[np.bool_]:
    """The survey's cut on noise-free r: all down to 19.5, of the fainter ones to 20.175 a fixed share."""
    return (mag_r < R_BRIGHT) | ((mag_r < R_FAINT) & (u_faint < FAINT_FRACTION))

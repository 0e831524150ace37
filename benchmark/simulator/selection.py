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
from benchmark.simulator.flavours import SOUTH, Flavour

__all__ = ["Proposal", "accept"]

Array = NDArray[np.float64]

MASS_MIN, MASS_MAX = 8.0, 12.0
SUN_R_AB = 4.65  # Willmer 2018, ApJS 236, 47, table 3 (SDSS r)


def mass_function(log10_mstar: Array) -> Array:
    """Galaxies per Mpc^3 and dex: double Schechter of Baldry et al. 2012 (MNRAS 421, 621, eq. 6 and fig. 13)."""
    x = 10.0 ** (log10_mstar - 10.66)
    return np.log(10) * np.exp(-x) * (3.96e-3 * x ** (1 - 0.35) + 0.79e-3 * x ** (1 - 1.47))


def envelope_absolute_magnitude(log10_mstar: Array, flavour: Flavour = SOUTH) -> Array:
    """AB magnitude minus distance modulus of the brightest galaxies of a mass, as the draw has them at any z."""
    mass, mass_to_light_at = np.array(flavour.envelope).T
    mass_to_light = np.interp(log10_mstar, mass, mass_to_light_at)
    return SUN_R_AB - 2.5 * (log10_mstar - np.log10(mass_to_light))


class Proposal:
    """Mass function times volume within the envelope's reach, drawn by inverse distribution functions."""

    def __init__(self, flavour: Flavour = SOUTH) -> None:
        self._flavour = flavour
        self._mass = np.linspace(MASS_MIN, MASS_MAX, 4001)
        self._z = np.linspace(flavour.z_min, flavour.z_max, round((flavour.z_max - flavour.z_min) * 1e4) + 1)
        shells = np.diff(cosmology.comoving_distance_mpc(self._z) ** 3)
        middle = 0.5 * (self._z[1:] + self._z[:-1])
        self._volume = np.concatenate([[0.0], np.cumsum(shells * 10.0 ** (-flavour.density_dex_per_z * middle))])
        self._reach = np.interp(self._modulus_limit(self._mass), cosmology.distance_modulus(self._z), self._z)
        density = mass_function(self._mass) * np.interp(self._reach, self._z, self._volume)
        cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
        self._cumulative = cumulative / cumulative[-1]

    def _modulus_limit(self, log10_mstar: Array) -> Array:
        return self._flavour.faint_limit - envelope_absolute_magnitude(log10_mstar, self._flavour)

    def draw(self, u_mass: Array, u_redshift: Array) -> tuple[Array, Array]:
        """log10 M* and z (n,) each, from numbers (n,) that are even in (0, 1)."""
        log10_mstar = np.interp(u_mass, self._cumulative, self._mass)
        volume = u_redshift * np.interp(np.interp(log10_mstar, self._mass, self._reach), self._z, self._volume)
        return log10_mstar, np.interp(volume, self._volume, self._z)

    def beats_envelope(self, log10_mstar: Array, z: Array, mag: Array) -> NDArray[np.bool_]:
        """True where a galaxy is brighter than the envelope at its mass and redshift, and z_max is not the limit.

        ``mag`` (n,) is noise-free, in the selection band.
        """
        limited = self._modulus_limit(log10_mstar) < cosmology.distance_modulus(np.array(self._flavour.z_max))
        envelope = envelope_absolute_magnitude(log10_mstar, self._flavour)
        return limited & (mag < envelope + cosmology.distance_modulus(z))


def accept(mag: Array, u_faint: Array, flavour: Flavour = SOUTH) -> NDArray[np.bool_]:
    """The survey's cuts on noise-free magnitudes (n,) in the selection band; ``u_faint`` (n,) is even in (0, 1)."""
    kept = (mag < flavour.complete_limit) | ((mag < flavour.faint_limit) & (u_faint < flavour.faint_fraction))
    return kept if flavour.bright_limit is None else kept & (mag >= flavour.bright_limit)

"""Dust: two screens, one for the stars of each component and one more for stars still in their birth clouds.

The law is k(lambda) / k(V) of Calzetti et al. 2000 (ApJ 533, 682, eq. 4) times (lambda / 5500 A)^delta (Noll et al.
2009, A&A 507, 1793, without the 2175 A bump). The two screens are those of Charlot & Fall 2000 (ApJ 539, 718).

A disc of 10^10 Msun has A_V .4 face-on and .8 edge-on (.28 dex scatter); lines are behind 2.2 times as much (1 / .44
in Calzetti et al. 2000), 1.4 to 3 times from low to high mass, close to the attenuation of H-alpha in SDSS (Garn &
Best 2010, MNRAS 409, 421). The law's slope differs from galaxy to galaxy and is shallower where there is more dust
(Salim et al. 2018, ApJ 859, 11).

Changed against the prototype: A_V scattered by .42 dex, so that star-forming galaxies of one mass differed by a factor
of ten in mass-to-light ratio; lines had 1.8 times the stars' dust; quiescent galaxies now have a sixth of the dust of
star-forming ones, not .4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.simulator.latents import Block, Latents

__all__ = ["BIRTH_CLOUD_GYR", "Dust", "calzetti", "draw_dust"]

Array = NDArray[np.float64]

BIRTH_CLOUD_GYR = 0.01  # younger stars, and all lines, sit behind the second screen
V_ANGSTROM = 5500.0


def calzetti(wave_angstrom: Array) -> Array:
    """k(lambda) = A(lambda) / E(B-V) of starburst galaxies, R_V = 4.05, 1200 to 22000 A (Calzetti+ 2000, eq. 4)."""
    micron = wave_angstrom / 1e4
    blue = 2.659 * (-2.156 + 1.509 / micron - 0.198 / micron**2 + 0.011 / micron**3) + 4.05
    red = 2.659 * (-1.857 + 1.040 / micron) + 4.05
    return np.where(micron < 0.63, blue, red)


_K_V = float(calzetti(np.array(V_ANGSTROM)))


@dataclass(frozen=True, eq=False)
class Dust:
    """Screens of n galaxies.

    Attributes
    ----------
    a_v : (n, 2) attenuation in V of bulge and disc stars, magnitudes.
    a_v_birth : (n,) more of it in front of birth clouds and line-emitting gas.
    slope : (n,) delta of the law; negative is steeper than Calzetti's.
    """

    a_v: Array
    a_v_birth: Array
    slope: Array

    def curve(self, wave_angstrom: Array) -> Array:
        """A(lambda) / A_V of each galaxy, (n, m), at rest wavelengths (n, m) or (m,)."""
        return calzetti(wave_angstrom) / _K_V * (wave_angstrom / V_ANGSTROM) ** self.slope[:, None]


def draw_dust(block: Block, latents: Latents) -> Dust:
    """Screens of the block's candidates: more dust with mass and inclination, less in quiescent galaxies."""
    scatter = block.normal("dust", scatter=np.where(latents.quiescent, 0.20, 0.28))
    typical = np.where(latents.quiescent, 0.08, 0.50)
    a_v = np.minimum(typical * 10.0 ** (0.22 * np.clip(latents.log10_mstar - 10, -1.5, 0.8) + scatter), 3.0)
    disc = a_v * 0.75 * (1 + 1.1 * (1 - latents.cos_inclination) ** 1.5)
    clouds = block.normal("birth_cloud", 1.2 + 0.5 * np.clip(latents.log10_mstar - 10, -1.0, 1.0), 0.3)
    return Dust(
        a_v=np.stack([0.45 * a_v, disc], axis=1),
        a_v_birth=disc * np.clip(clouds, 0.2, 2.6),
        slope=np.clip(block.normal("dust_slope", -0.15, 0.35) + 0.25 * (disc - 0.5), -1.0, 0.5),
    )

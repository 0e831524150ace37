"""Where on the sky the galaxies are: evenly within rosettes like those of DESI's survey validation.

Positions carry no clustering: they depend on the candidate alone, not on mass, redshift or neighbours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmark.simulator.latents import Block

__all__ = ["ROSETTES", "ROSETTE_RADIUS_DEG", "draw_positions"]

Array = NDArray[np.float64]

ROSETTE_RADIUS_DEG = 1.45
ROSETTES = (
    np.array(  # ra, dec in degrees: the 20 of the One-Percent Survey (DESI Collaboration 2024, AJ 168, 58), rounded
        [
            *([150.1, 2.2], [179.6, 0.0], [183.1, 0.0], [189.9, 61.8], [194.8, 28.2]),
            *([210.0, 5.0], [215.5, 52.5], [217.8, 34.4], [216.3, -0.6], [219.8, -0.6]),
            *([218.1, 2.4], [242.8, 55.0], [241.1, 43.5], [245.9, 43.5], [252.5, 34.5]),
            *([269.7, 66.0], [194.8, 24.7], [212.8, -0.6], [269.7, 62.5], [236.1, 43.5]),
        ]
    )
)


def draw_positions(block: Block) -> tuple[Array, Array]:
    """Right ascension in [0, 360) and declination, degrees, (n,) each."""
    which = np.minimum((block.uniform("rosette") * len(ROSETTES)).astype(np.intp), len(ROSETTES) - 1)
    ra0, dec0 = np.radians(ROSETTES[which]).T
    cos_distance = 1 - block.uniform("sky_radius") * (1 - np.cos(np.radians(ROSETTE_RADIUS_DEG)))
    sin_distance = np.sqrt(1 - cos_distance**2)
    angle = 2 * np.pi * block.uniform("sky_angle")
    sin_dec = np.sin(dec0) * cos_distance + np.cos(dec0) * sin_distance * np.cos(angle)
    east = np.sin(angle) * sin_distance * np.cos(dec0)
    ra = ra0 + np.arctan2(east, cos_distance - np.sin(dec0) * sin_dec)
    return np.degrees(ra) % 360.0, np.degrees(np.arcsin(sin_dec))

"""Where the galaxies are: rosettes like those of DESI's survey validation, with groups in them.

Every rosette has a fixed list of groups (position, redshift, richness) that follows from the survey's seed alone.
Galaxies of dense environments join a group of their rosette near their own redshift, preferring rich ones, take its
redshift with a velocity, and lie around its centre. All others lie evenly. So nearby galaxies are correlated in
position, redshift and, as dense environments have more quiescent galaxies, in type, and a galaxy's position depends on
(seed, candidate number) alone, never on how many galaxies are asked for.

Choices: 12 groups a rosette; redshifts from a gamma distribution like the survey's own; richness w from a Pareto law of
index 1.5, at most 30; the group that maximises ln w - (dz / .01)^2 / 2 within |dz| < .03; projected radii
Gamma(1.5, .35 Mpc), as the outskirts of groups are included; velocities Gaussian with 300 w^(1/3) km/s, at most 800.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from benchmark.simulator.flavours import SOUTH, Flavour
from benchmark.simulator.latents import STREAMS, Block
from benchmark.simulator.photometry import ARCSEC_PER_RADIAN, kpc_per_arcsec

__all__ = ["FIELD", "GROUPS_PER_ROSETTE", "ROSETTES", "ROSETTE_RADIUS_DEG", "Places", "draw_places"]

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
GROUPS_PER_ROSETTE = 12
FIELD = 0  # group_id of galaxies in no group

Z_SHAPE = 3.2
RICHNESS_INDEX, MAX_RICHNESS = 1.5, 30.0
Z_REACH, Z_LIMIT_STEP = 0.01, 0.03
RADIUS_SHAPE, RADIUS_SCALE_KPC = 1.5, 350.0
VELOCITY_KM_S, MAX_VELOCITY_KM_S = 300.0, 800.0
C_KM_S = 299792.458

_GROUP_DRAWS = ("radius", "angle", "redshift", "richness")
_MEMBER_DRAWS = ("member_radius", "member_angle", "velocity")
_MEMBERS = 10**9  # candidate numbers of groups begin beyond those of galaxies


@dataclass(frozen=True, eq=False)
class Places:
    """Of n galaxies: ``ra``, ``dec`` degrees, ``z``, and ``group_id``, `FIELD` or 1 + 12 rosette + group."""

    ra: Array
    dec: Array
    z: Array
    group_id: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of a survey, (20, 12) each: position in degrees, redshift and richness."""

    ra: Array
    dec: Array
    z: Array
    richness: Array


def draw_places(seed: int, block: Block, z: Array, dense: NDArray[np.bool_], flavour: Flavour = SOUTH) -> Places:
    """Positions of the block's candidates; those in groups take their group's redshift, plus a velocity.

    Parameters
    ----------
    seed : the survey's.
    block : the candidates' numbers of the stream ``galaxy``.
    z : (n,) redshifts they would have in the field; dense : (n,) True where they may live in a group.
    flavour : whose groups and limits in redshift.
    """
    groups = _groups(seed, flavour.group_redshift_scale, flavour.z_min, flavour.z_max)
    member = Block.at(seed, block.candidate, stream=STREAMS["sky"], names=_MEMBER_DRAWS)
    rosette = np.minimum((block.uniform("rosette") * len(ROSETTES)).astype(np.intp), len(ROSETTES) - 1)
    step = groups.z[rosette] - z[:, None]
    appeal = np.log(groups.richness[rosette]) - 0.5 * (step / Z_REACH) ** 2
    which = np.argmax(np.where(np.abs(step) < Z_LIMIT_STEP, appeal, -np.inf), axis=1)
    chosen = rosette, which
    joins = dense & (np.abs(groups.z[chosen] - z) < Z_LIMIT_STEP)

    dispersion = np.minimum(VELOCITY_KM_S * np.cbrt(groups.richness[chosen]), MAX_VELOCITY_KM_S)
    moved = groups.z[chosen] + (1 + groups.z[chosen]) * member.normal("velocity", scatter=dispersion) / C_KM_S
    kpc = RADIUS_SCALE_KPC * gammaincinv(RADIUS_SHAPE, member.uniform("member_radius"))
    separation = kpc / kpc_per_arcsec(groups.z[chosen]) / ARCSEC_PER_RADIAN
    around = _displaced(groups.ra[chosen], groups.dec[chosen], separation, 2 * np.pi * member.uniform("member_angle"))
    alone = _within_rosette(rosette, block.uniform("sky_radius"), block.uniform("sky_angle"))
    return Places(
        ra=np.where(joins, around[0], alone[0]),
        dec=np.where(joins, around[1], alone[1]),
        z=np.where(joins, np.clip(moved, flavour.z_min, flavour.z_max), z),
        group_id=np.where(joins, 1 + rosette * GROUPS_PER_ROSETTE + which, FIELD).astype(np.int64),
    )


@lru_cache(maxsize=16)
def _groups(seed: int, z_scale: float, z_min: float, z_max: float) -> Groups:
    n = len(ROSETTES) * GROUPS_PER_ROSETTE
    block = Block(seed, _MEMBERS, n, stream=STREAMS["sky"], names=_GROUP_DRAWS)
    rosette = np.repeat(np.arange(len(ROSETTES)), GROUPS_PER_ROSETTE)
    ra, dec = _within_rosette(rosette, block.uniform("radius"), block.uniform("angle"))
    z = np.clip(z_scale * gammaincinv(Z_SHAPE, 0.99 * block.uniform("redshift")), z_min + 0.01, z_max - 0.02)
    richness = np.minimum(block.uniform("richness") ** (-1 / RICHNESS_INDEX), MAX_RICHNESS)
    shape = (len(ROSETTES), GROUPS_PER_ROSETTE)
    return Groups(ra.reshape(shape), dec.reshape(shape), z.reshape(shape), richness.reshape(shape))


def _within_rosette(rosette: NDArray[np.intp], u_radius: Array, u_angle: Array) -> tuple[Array, Array]:
    """Positions even over the caps of the rosettes."""
    cos_distance = 1 - u_radius * (1 - np.cos(np.radians(ROSETTE_RADIUS_DEG)))
    return _displaced(ROSETTES[rosette, 0], ROSETTES[rosette, 1], np.arccos(cos_distance), 2 * np.pi * u_angle)


def _displaced(ra: Array, dec: Array, separation: Array, angle: Array) -> tuple[Array, Array]:
    """Right ascension in [0, 360) and declination of points ``separation`` radians away, ``angle`` from north."""
    ra0, dec0 = np.radians(ra), np.radians(dec)
    sin_dec = np.sin(dec0) * np.cos(separation) + np.cos(dec0) * np.sin(separation) * np.cos(angle)
    east = np.sin(angle) * np.sin(separation) * np.cos(dec0)
    moved = ra0 + np.arctan2(east, np.cos(separation) - np.sin(dec0) * sin_dec)
    return np.degrees(moved) % 360.0, np.degrees(np.arcsin(np.clip(sin_dec, -1.0, 1.0)))

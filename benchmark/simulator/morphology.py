"""Shapes: what a galaxy's bulge, disc, arms, bar, knots and companion look like before light is put into them.

A disc is a circle of thickness q0 seen at the inclination that also sets its dust; a bulge is an oblate spheroid seen
at the same inclination. Numbers without a source are choices that make typical cutouts look like those of the Legacy
Surveys beside them:

- arms: 2 (60 %), 3 (15 %), 4 (10 %), 1 (5 %) or flocculent (10 %, drawn as 5 disturbed ones); pitch lognormal about 20
  degrees (.25 dex), 8 to 40; strength Beta(2, 2) times the disc's share, a quarter of it in quiescent galaxies;
- bars with probability .35 where the bulge has less than .6 of the mass: half length .5-1.2 scale lengths, axis ratio
  .3-.5, 5-20 % of the disc's light;
- 14 knots with 2-12 % of the young light, along the arms;
- companions with probability .04, .10 in groups: .15-.9 of the light at .8-2.5 effective radii, with a tail;
- thickness N(.2, .04) within .1-.35; intrinsic axis ratio of bulges U(.4, 1), which inclination makes .55-1 mostly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, expit, gammaincinv

from benchmark.simulator.candidates import Candidates
from benchmark.simulator.latents import STREAMS, Block
from benchmark.simulator.pack import TemplatePack
from benchmark.simulator.photometry import MIN_BULGE_ARCSEC, kpc_per_arcsec
from benchmark.simulator.sfh import AgeBins

__all__ = ["FLOCCULENT_ARMS", "N_KNOTS", "Morphology", "draw_morphology"]

Array = NDArray[np.float64]

N_KNOTS = 14
FLOCCULENT_ARMS = 5
SCALE_LENGTHS_PER_HALF_LIGHT = 1 / 1.6783469900166605  # of an exponential disc

_ARM_COUNTS = np.array([2, 3, 4, 1, FLOCCULENT_ARMS])
_ARM_CHANCES = np.array([0.60, 0.15, 0.10, 0.05, 0.10])
_KNOT_DRAWS = tuple(f"knot_{what}_{i}" for what in ("radius", "angle", "size", "flux") for i in range(N_KNOTS))
_DRAWS = (
    *("thickness", "bulge_flattening", "position_angle", "handedness", "arm_count", "arm_pitch", "arm_strength"),
    *("arm_phase", "lopsided", "lopsided_angle", "bar", "bar_length", "bar_ratio", "bar_share", "bar_angle"),
    *("knot_share", "merger", "merger_flux", "merger_distance", "merger_angle", "merger_ratio", "merger_turn"),
    *("young_share", *_KNOT_DRAWS),
)


@dataclass(frozen=True, eq=False)
class Morphology:
    """Shapes of n galaxies; lengths in arcseconds, angles in radians, (n,) unless said otherwise.

    Attributes
    ----------
    disc_scale : exponential scale length h; disc_ratio : apparent axis ratio.
    bulge_radius : half-light radius; bulge_ratio : apparent axis ratio.
    angle : position angle of the major axis, from +x to +y of the image.
    effective_radius : of the whole in r.
    bulge_to_total : share of the r-band light in the bulge.
    n_arms : 1 to 5; `FLOCCULENT_ARMS` means many short ones.
    arm_pitch, arm_strength (0 = none to 1), arm_phase, handedness (+1 or -1): of the spiral.
    lopsided, lopsided_angle : relative strength and direction of the disc's brighter side.
    bar_share : of the disc's light, 0 = no bar; bar_length : half length in h; bar_ratio, bar_angle : in the disc.
    lane_depth : of the dust lane of discs seen from the side, 0 to .7.
    young_share : (n, 3) of the disc's light in g, r, z that comes from young stars.
    knot_share : of the young light; knot_x, knot_y : (n, 14) place in the disc plane in h, major axis along x;
        knot_size : (n, 14) in h; knot_weight : (n, 14) sums to 1.
    merger_flux : of the companion by the galaxy's, 0 = no companion; merger_x, merger_y : its place in the image;
        merger_ratio, merger_turn : its axis ratio and position angle.
    """

    disc_scale: Array
    disc_ratio: Array
    bulge_radius: Array
    bulge_ratio: Array
    angle: Array
    effective_radius: Array
    bulge_to_total: Array
    n_arms: Array
    arm_pitch: Array
    arm_strength: Array
    arm_phase: Array
    handedness: Array
    lopsided: Array
    lopsided_angle: Array
    bar_share: Array
    bar_length: Array
    bar_ratio: Array
    bar_angle: Array
    lane_depth: Array
    young_share: Array
    knot_share: Array
    knot_x: Array
    knot_y: Array
    knot_size: Array
    knot_weight: Array
    merger_flux: Array
    merger_x: Array
    merger_y: Array
    merger_ratio: Array
    merger_turn: Array


def morphology_block(seed: int, candidate: NDArray[np.int64]) -> Block:
    """The random numbers of candidates for their shapes."""
    return Block.at(seed, candidate, stream=STREAMS["morphology"], names=_DRAWS)


def draw_morphology(drawn: Candidates, block: Block, pack: TemplatePack) -> Morphology:
    """Shapes of candidates; ``block`` is their `morphology_block`, reduced to the same candidates."""
    latents = drawn.latents
    scale = kpc_per_arcsec(latents.z)
    bulge_radius = np.maximum(latents.bulge_kpc / scale, MIN_BULGE_ARCSEC)
    disc_radius = latents.disc_kpc / scale
    r = pack.bands.index("r")
    bulge_to_total = drawn.stars[:, 0, r] / drawn.flux[:, r]
    effective = bulge_radius**bulge_to_total * disc_radius ** (1 - bulge_to_total)

    cos_i = latents.cos_inclination
    thickness = np.clip(block.normal("thickness", 0.2, 0.04), 0.1, 0.35)
    ratio = _projected(thickness, cos_i)
    star_forming = np.where(latents.quiescent, 0.25, 1.0)
    strength = betaincinv(2.0, 2.0, block.uniform("arm_strength")) * (1 - bulge_to_total) * star_forming
    merger = block.chance("merger", np.where(latents.dense, 0.10, 0.04))
    lopsided = np.abs(block.normal("lopsided", scatter=np.where(merger, 0.45, 0.12)))
    arms = _draw_arms(block)
    return Morphology(
        disc_scale=disc_radius * SCALE_LENGTHS_PER_HALF_LIGHT,
        disc_ratio=ratio,
        bulge_radius=bulge_radius,
        bulge_ratio=_projected(0.4 + 0.6 * block.uniform("bulge_flattening"), cos_i),
        angle=np.pi * block.uniform("position_angle"),
        effective_radius=effective,
        bulge_to_total=bulge_to_total,
        **arms,
        arm_strength=strength,
        lopsided=np.minimum(lopsided, 0.7),
        lopsided_angle=2 * np.pi * block.uniform("lopsided_angle"),
        **_draw_bar(block, latents.bulge_fraction),
        lane_depth=np.minimum(0.5 * drawn.dust.a_v[:, 1], 0.7) * expit((0.33 - ratio) / 0.03),
        young_share=_young_share(drawn, block, pack),
        **_draw_knots(block, arms),
        **_draw_companion(block, merger, effective),
    )


def _projected(intrinsic: Array, cos_inclination: Array) -> Array:
    """Apparent axis ratio of an oblate spheroid (Hubble 1926, ApJ 64, 321)."""
    return np.sqrt(cos_inclination**2 + intrinsic**2 * (1 - cos_inclination**2))


def _draw_arms(block: Block) -> dict[str, Array]:
    which = np.searchsorted(np.cumsum(_ARM_CHANCES)[:-1], block.uniform("arm_count"), side="right")
    pitch_degrees = np.clip(20 * 10.0 ** block.normal("arm_pitch", scatter=0.25), 8, 40)
    return {
        "n_arms": _ARM_COUNTS[which].astype(np.float64),
        "arm_pitch": np.radians(pitch_degrees),
        "arm_phase": 2 * np.pi * block.uniform("arm_phase"),
        "handedness": np.where(block.chance("handedness", 0.5), 1.0, -1.0),
    }


def _draw_bar(block: Block, bulge_fraction: Array) -> dict[str, Array]:
    has_bar = block.chance("bar", np.where(bulge_fraction < 0.6, 0.35, 0.0))
    return {
        "bar_share": has_bar * (0.05 + 0.15 * block.uniform("bar_share")),
        "bar_length": 0.5 + 0.7 * block.uniform("bar_length"),
        "bar_ratio": 0.3 + 0.2 * block.uniform("bar_ratio"),
        "bar_angle": np.pi * block.uniform("bar_angle"),
    }


def _young_share(drawn: Candidates, block: Block, pack: TemplatePack) -> Array:
    """(n, 3) share of the disc's light in young stars: .55 + .25 (log10 sSFR of the last 100 Myr + 10) in g, bluer."""
    bins = AgeBins(pack.age_gyr)
    per_bin = np.divide(bins.overlap_gyr(0.1), np.diff(bins.edges_gyr))
    rate = np.sum(drawn.history.formed.sum(axis=1) * per_bin, axis=1) / 1e8
    in_g = np.clip(0.55 + 0.25 * (np.log10(np.maximum(rate, 1e-14)) + 10), 0.0, 0.95)
    in_g = np.clip(in_g + block.normal("young_share", scatter=0.05) * (in_g > 0), 0.0, 0.95)
    return in_g[:, None] * np.array([1.0, 0.72, 0.5])


def _draw_knots(block: Block, arms: dict[str, Array]) -> dict[str, Array]:
    """Knots in the disc plane: radii as an exponential disc beyond .5 h, within .35 radian of an arm's ridge."""
    u = {what: _columns(block, f"knot_{what}") for what in ("radius", "angle", "size", "flux")}
    radius = 0.5 + gammaincinv(2.0, 0.02 + 0.93 * u["radius"])
    arm = np.floor(u["angle"] * arms["n_arms"][:, None])
    off_ridge = 0.7 * (u["angle"] * arms["n_arms"][:, None] - arm - 0.5)
    ridge = np.log(radius) / np.tan(arms["arm_pitch"])[:, None] + arms["arm_phase"][:, None]
    angle = arms["handedness"][:, None] * (ridge + 2 * np.pi * arm / arms["n_arms"][:, None] + off_ridge)
    weight = -np.log(u["flux"])
    return {
        "knot_share": 0.02 + 0.10 * block.uniform("knot_share"),
        "knot_x": radius * np.cos(angle),
        "knot_y": radius * np.sin(angle),
        "knot_size": 0.04 + 0.10 * u["size"],
        "knot_weight": weight / weight.sum(axis=1, keepdims=True),
    }


def _draw_companion(block: Block, merger: NDArray[np.bool_], effective_radius: Array) -> dict[str, Array]:
    distance = np.maximum((0.8 + 1.7 * block.uniform("merger_distance")) * effective_radius, 1.5)
    angle = 2 * np.pi * block.uniform("merger_angle")
    return {
        "merger_flux": merger * (0.15 + 0.75 * block.uniform("merger_flux")),
        "merger_x": distance * np.cos(angle),
        "merger_y": distance * np.sin(angle),
        "merger_ratio": 0.35 + 0.6 * block.uniform("merger_ratio"),
        "merger_turn": np.pi * block.uniform("merger_turn"),
    }


def _columns(block: Block, stem: str) -> Array:
    return np.stack([block.uniform(f"{stem}_{i}") for i in range(N_KNOTS)], axis=1)

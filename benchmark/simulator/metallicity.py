"""Stellar metallicity of bulge and disc, and its place between the template pack's nodes.

One value per component: [M/H] = log10(Z / Z_sun), Z_sun = .02 (PopStar's). The median follows the mass-metallicity
relation of Gallazzi et al. 2005 (MNRAS 362, 41, table 2). Near the grid's ends a soft limit replaces a clip, so that
galaxies do not pile up at one value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.simulator.latents import Block, Latents
from benchmark.simulator.pack import TemplatePack

__all__ = ["Metallicity", "draw_metallicity", "soft_limit"]

Array = NDArray[np.float64]

MEDIAN_MASS = np.array([8.0, 9.0, 9.5, 10.0, 10.5, 11.0, 11.5, 12.0])
MEDIAN_METALLICITY = np.array([-1.0, -0.72, -0.58, -0.36, -0.10, 0.06, 0.13, 0.15])
LOWEST, HIGHEST, SOFTNESS = -1.6, 0.38, 0.08


def soft_limit(x: Array, low: float = LOWEST, high: float = HIGHEST, softness: float = SOFTNESS) -> Array:
    """x between the limits, bent smoothly below ``high`` and above ``low``: high - s ln(1 + exp((high - x) / s))."""
    below = high - softness * np.logaddexp(0.0, (high - x) / softness)
    return low + softness * np.logaddexp(0.0, (below - low) / softness)


@dataclass(frozen=True, eq=False)
class Metallicity:
    """Metallicities of n galaxies.

    Attributes
    ----------
    component : (n, 2) [M/H] of bulge and disc.
    node_weights : (n, 2, n_metal) shares of the two bracketing template metallicities, linear in [M/H]; they sum to 1.
    mass_weighted : (n,) log10 Z of the whole, weighted by surviving mass (log10 of the mean Z, not the mean log10 Z).
    """

    component: Array
    node_weights: Array
    mass_weighted: Array


def draw_metallicity(block: Block, latents: Latents, pack: TemplatePack) -> Metallicity:
    """Metallicities of the block's candidates: scatter .20 dex a galaxy, bulge +.10 +- .05, disc -.06 +- .06."""
    median = np.interp(latents.log10_mstar, MEDIAN_MASS, MEDIAN_METALLICITY)
    galaxy = block.normal("metallicity", median, 0.20)
    bulge = galaxy + block.normal("metallicity_bulge", 0.10, 0.05)
    disc = galaxy + block.normal("metallicity_disc", -0.06, 0.06)
    component = soft_limit(np.stack([bulge, disc], axis=1))
    mean = latents.bulge_fraction * 10.0 ** component[:, 0] + (1 - latents.bulge_fraction) * 10.0 ** component[:, 1]
    return Metallicity(
        component=component,
        node_weights=_node_weights(component, np.log10(pack.metallicity / pack.z_sun)),
        mass_weighted=np.log10(pack.z_sun * mean),
    )


def _node_weights(metallicity: Array, nodes: Array) -> Array:
    """Shares (..., n_nodes) by which linear interpolation between the nodes gives ``metallicity`` (...)."""
    distance = metallicity[..., None] - nodes
    rising = np.ones_like(distance)
    rising[..., 1:] = np.clip(1 + distance[..., 1:] / np.diff(nodes), 0.0, 1.0)
    falling = np.ones_like(distance)
    falling[..., :-1] = np.clip(1 - distance[..., :-1] / np.diff(nodes), 0.0, 1.0)
    return np.minimum(rising, falling)

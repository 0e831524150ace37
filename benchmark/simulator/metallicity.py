"""Stellar metallicity of bulge and disc, and its place between the template pack's nodes.

One value per component: [M/H] = log10(Z / Z_sun), Z_sun = .02 (PopStar's). Medians follow the mass-metallicity relation
of Gallazzi et al. 2005 (MNRAS 362, 41, table 2), lowered by up to .09 above 10^10.5; quiescent galaxies are richer at
low mass, as in Peng et al. 2015 (Nature 521, 192, fig. 2), and poorer by .05-.07 than that table at high mass, where
templates of its metallicity are redder than the red sequence. At fixed mass quiescent galaxies differ less, and the
younger are richer (Gallazzi et al. 2006, MNRAS 370, 1106): age and metallicity then cancel in their colours, which
keeps the red sequence narrow (Worthey et al. 1995, ASP 86, 203). Near the grid's ends a soft limit replaces a clip, so
that galaxies do not pile up at one value.

Changed against the prototype: it had one median for all and .20 dex of scatter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.simulator.latents import Block, Latents
from benchmark.simulator.pack import TemplatePack

__all__ = ["Metallicity", "draw_metallicity", "soft_limit", "stellar_median"]

Array = NDArray[np.float64]

MEDIAN_MASS = np.array([8.0, 9.0, 9.5, 10.0, 10.5, 11.0, 11.5, 12.0])
FORMING_METALLICITY = np.array([-1.0, -0.72, -0.58, -0.36, -0.10, 0.06, 0.13, 0.15])
QUIESCENT_METALLICITY = np.array([-0.75, -0.52, -0.38, -0.22, -0.08, 0.01, 0.06, 0.08])
FORMING_SCATTER, QUIESCENT_SCATTER = 0.26, 0.12  # dex
YOUNGER_IS_RICHER = (0.10, 0.06)  # dex per standard deviation by which bulge and disc started later
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


def stellar_median(latents: Latents) -> Array:
    """Median [M/H] (n,) of galaxies of their mass and type."""
    forming = np.interp(latents.log10_mstar, MEDIAN_MASS, FORMING_METALLICITY)
    ended = np.interp(latents.log10_mstar, MEDIAN_MASS, QUIESCENT_METALLICITY)
    return np.where(latents.quiescent, ended, forming)


def draw_metallicity(block: Block, latents: Latents, pack: TemplatePack) -> Metallicity:
    """Metallicities of the block's candidates: bulge +.06 +- .04, disc -.06 +- .05 about the galaxy's."""
    scatter = np.where(latents.quiescent, QUIESCENT_SCATTER, FORMING_SCATTER)
    galaxy = block.normal("metallicity", stellar_median(latents), scatter)
    later = YOUNGER_IS_RICHER[0] * block.normal("bulge_start") + YOUNGER_IS_RICHER[1] * block.normal("disc_start")
    galaxy += latents.quiescent * later
    bulge = galaxy + block.normal("metallicity_bulge", 0.06, 0.04)
    disc = galaxy + block.normal("metallicity_disc", -0.06, 0.05)
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

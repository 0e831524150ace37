"""What decides a galaxy's cutout besides its light: shape, night sky, neighbours. No torch is needed for these.

Shapes and neighbours know the bands g, r and z; other bands are linear in wavelength between or beyond these, in the
share of young stars and in the magnitudes of neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmark.simulator.candidates import Candidates
from benchmark.simulator.conditions import Conditions, conditions_block, draw_conditions
from benchmark.simulator.morphology import Morphology, draw_morphology, morphology_block
from benchmark.simulator.neighbours import draw_neighbours, neighbour_block
from benchmark.simulator.pack import TemplatePack, seen_by

__all__ = ["Appearance", "draw_appearance"]

_GRZ = ("g", "r", "z")
NEIGHBOURHOOD_ARCSEC = 152 * 0.262  # a side of the square in which neighbours are drawn, whatever a cutout shows of it


@dataclass(frozen=True, eq=False)
class Appearance:
    """Of n galaxies: shapes, the conditions they are seen under, and neighbours as `draw_neighbours` gives them."""

    morphology: Morphology
    conditions: Conditions
    neighbours: dict[str, NDArray[np.float64]]


def draw_appearance(drawn: Candidates, pack: TemplatePack) -> Appearance:
    """The appearance of candidates, ascending in their numbers; each is the same in any selection."""
    pack = seen_by(pack, drawn.flavour)
    candidate = drawn.block.candidate
    shape, around = (block(drawn.seed, candidate) for block in (morphology_block, neighbour_block))
    sky = conditions_block(drawn.seed, candidate, drawn.flavour)
    morphology = draw_morphology(drawn, shape, pack)
    neighbours = draw_neighbours(around, drawn.latents.dense, NEIGHBOURHOOD_ARCSEC)
    if pack.bands != _GRZ:
        from_grz = _from_grz(pack)
        morphology = replace(morphology, young_share=np.clip(morphology.young_share @ from_grz, 0.0, 0.95))
        neighbours["flux"] = _flux_from_grz(neighbours["flux"], from_grz)
    return Appearance(morphology, draw_conditions(sky, drawn.flavour), neighbours)


def _from_grz(pack: TemplatePack) -> NDArray[np.float64]:
    """(3, bands): by these weights, values in g, r, z make those in the bands of a pack."""
    wave = np.array([pack.filters[band].pivot_angstrom for band in pack.bands])
    nodes = wave[[pack.bands.index(band) for band in _GRZ]]
    weights = np.zeros((3, len(wave)))
    for k, at in enumerate(wave):
        left = 0 if at < nodes[1] else 1
        share = (at - nodes[left]) / (nodes[left + 1] - nodes[left])
        weights[left : left + 2, k] = 1 - share, share
    return weights


def _flux_from_grz(flux: NDArray[np.float64], from_grz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fluxes (..., bands) that are linear in magnitude from those (..., 3) in g, r, z; 0 stays 0."""
    there = flux > 0
    return np.where(there.any(axis=-1, keepdims=True), np.exp(np.log(np.where(there, flux, 1.0)) @ from_grz), 0.0)

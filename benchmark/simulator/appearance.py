"""What decides a galaxy's cutout besides its light: shape, night sky, neighbours. No torch is needed for these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.simulator.candidates import Candidates
from benchmark.simulator.conditions import Conditions, conditions_block, draw_conditions
from benchmark.simulator.morphology import Morphology, draw_morphology, morphology_block
from benchmark.simulator.neighbours import draw_neighbours, neighbour_block
from benchmark.simulator.pack import TemplatePack, seen_by

__all__ = ["Appearance", "draw_appearance"]

NEIGHBOURHOOD_ARCSEC = 152 * 0.262  # a side of the square in which neighbours are drawn, whatever a cutout shows of it


@dataclass(frozen=True, eq=False)
class Appearance:
    """Of n galaxies: shapes, the conditions they are seen under, and neighbours as `draw_neighbours` gives them."""

    morphology: Morphology
    conditions: Conditions
    neighbours: dict[str, NDArray[np.float64]]


def draw_appearance(drawn: Candidates, pack: TemplatePack) -> Appearance:
    """The appearance of candidates, ascending in their numbers; each is the same in any selection."""
    candidate = drawn.block.candidate
    shape, around = (block(drawn.seed, candidate) for block in (morphology_block, neighbour_block))
    sky = conditions_block(drawn.seed, candidate, drawn.flavour)
    return Appearance(
        morphology=draw_morphology(drawn, shape, seen_by(pack, drawn.flavour)),
        conditions=draw_conditions(sky, drawn.flavour),
        neighbours=draw_neighbours(around, drawn.latents.dense, NEIGHBOURHOOD_ARCSEC),
    )

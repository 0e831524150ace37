"""What decides a galaxy's cutout besides its light: shape, night sky, neighbours. No torch is needed for these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.simulator.candidates import Candidates
from benchmark.simulator.conditions import PIXEL_SCALE_ARCSEC, Conditions, conditions_block, draw_conditions
from benchmark.simulator.morphology import Morphology, draw_morphology, morphology_block
from benchmark.simulator.neighbours import draw_neighbours, neighbour_block
from benchmark.simulator.pack import TemplatePack

__all__ = ["IMAGE_SIZE", "Appearance", "draw_appearance"]

IMAGE_SIZE = 152  # pixels


@dataclass(frozen=True, eq=False)
class Appearance:
    """Of n galaxies: shapes, the conditions they are seen under, and neighbours as `draw_neighbours` gives them."""

    morphology: Morphology
    conditions: Conditions
    neighbours: dict[str, NDArray[np.float64]]


def draw_appearance(drawn: Candidates, pack: TemplatePack) -> Appearance:
    """The appearance of candidates, ascending in their numbers; each is the same in any selection."""
    blocks = (morphology_block, conditions_block, neighbour_block)
    shape, sky, around = (block(drawn.seed, drawn.block.candidate) for block in blocks)
    return Appearance(
        morphology=draw_morphology(drawn, shape, pack),
        conditions=draw_conditions(sky, pack.bands),
        neighbours=draw_neighbours(around, drawn.latents.dense, IMAGE_SIZE * PIXEL_SCALE_ARCSEC),
    )

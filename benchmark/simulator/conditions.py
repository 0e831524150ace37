"""The night sky of each cutout: seeing and noise, scattered about the medians of the flavour.

Full widths at half maximum are lognormal with .07 common to the bands and .04 a band, noise with .10 common to all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.simulator.flavours import SOUTH, Flavour
from benchmark.simulator.latents import STREAMS, Block

__all__ = ["Conditions", "conditions_block", "draw_conditions"]

Array = NDArray[np.float64]

COMMON_SCATTER, BAND_SCATTER, NOISE_SCATTER = 0.07, 0.04, 0.10


@dataclass(frozen=True, eq=False)
class Conditions:
    """Of n cutouts: ``fwhm_arcsec`` (n, bands) of the point spread; ``sigma`` (n, bands) nanomaggies a pixel."""

    fwhm_arcsec: Array
    sigma: Array


def conditions_block(seed: int, candidate: NDArray[np.int64], flavour: Flavour = SOUTH) -> Block:
    """The random numbers of candidates for the conditions under which they are seen."""
    names = ("seeing", "noise", *(f"seeing_{band}" for band in flavour.band_names))
    return Block.at(seed, candidate, stream=flavour.stream(STREAMS["conditions"]), names=names)


def draw_conditions(block: Block, flavour: Flavour = SOUTH) -> Conditions:
    """Seeing and noise of the candidates of a `conditions_block`."""
    common = block.normal("seeing", scatter=COMMON_SCATTER)
    own = [block.normal(f"seeing_{band}", scatter=BAND_SCATTER) for band in flavour.band_names]
    seeing = [band.fwhm_arcsec * np.exp(common + scatter) for band, scatter in zip(flavour.bands, own, strict=True)]
    depth = np.exp(block.normal("noise", scatter=NOISE_SCATTER))
    sigma = np.array([band.pixel_sigma_nanomaggy for band in flavour.bands])
    return Conditions(np.stack(seeing, axis=1), depth[:, None] * sigma)

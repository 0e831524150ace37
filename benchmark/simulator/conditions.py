"""The night sky of each cutout: seeing and noise, as in the southern part of the Legacy Surveys (DECam).

Full widths at half maximum 1.30, 1.19, 1.11 arcsec in g, r, z (Dey et al. 2019, AJ 157, 168, table 4: medians 1.29,
1.18, 1.11), lognormal with .07 common to the bands and .04 a band; noise .0035, .0065, .017 nanomaggies a pixel of .262
arcsec, lognormal with .10, which are five-sigma depths of about 24.7, 23.9 and 23.0 for point sources.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.simulator.latents import STREAMS, Block

__all__ = ["FWHM_ARCSEC", "PIXEL_SCALE_ARCSEC", "SIGMA_NANOMAGGY", "Conditions", "conditions_block", "draw_conditions"]

Array = NDArray[np.float64]

PIXEL_SCALE_ARCSEC = 0.262
FWHM_ARCSEC = {"g": 1.30, "r": 1.19, "z": 1.11}
SIGMA_NANOMAGGY = {"g": 0.0035, "r": 0.0065, "z": 0.017}
COMMON_SCATTER, BAND_SCATTER, NOISE_SCATTER = 0.07, 0.04, 0.10

_DRAWS = ("seeing", "noise", "seeing_g", "seeing_r", "seeing_z")


@dataclass(frozen=True, eq=False)
class Conditions:
    """Of n cutouts: ``fwhm_arcsec`` (n, bands) of the point spread; ``sigma`` (n, bands) nanomaggies a pixel."""

    fwhm_arcsec: Array
    sigma: Array


def conditions_block(seed: int, candidate: NDArray[np.int64]) -> Block:
    """The random numbers of candidates for the conditions under which they are seen."""
    return Block.at(seed, candidate, stream=STREAMS["conditions"], names=_DRAWS)


def draw_conditions(block: Block, bands: tuple[str, ...]) -> Conditions:
    """Seeing and noise of the block's candidates."""
    common = block.normal("seeing", scatter=COMMON_SCATTER)
    seeing = [FWHM_ARCSEC[b] * np.exp(common + block.normal(f"seeing_{b}", scatter=BAND_SCATTER)) for b in bands]
    depth = np.exp(block.normal("noise", scatter=NOISE_SCATTER))
    return Conditions(np.stack(seeing, axis=1), depth[:, None] * np.array([SIGMA_NANOMAGGY[b] for b in bands]))

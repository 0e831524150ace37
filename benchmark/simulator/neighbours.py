"""What else is on a cutout: galaxies and stars that happen to lie near, as sums of round Gaussians.

Counts rise as 10^(.3 m) between r = 18 and 24; on average 3 a stamp of 40 arcsec, 5.5 in groups, one in five a star.
Galaxies get colours of the field (g-r = .9 +- .35, r-z = .1 + .55 (g-r) +- .12), sizes that shrink with magnitude, and,
as three Gaussians in a row, an elongation. Sizes and colours are choices made by eye.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

from benchmark.simulator.latents import STREAMS, Block

__all__ = ["N_NEIGHBOURS", "draw_neighbours", "neighbour_block"]

Array = NDArray[np.float64]

N_NEIGHBOURS = 8  # at most
MEAN_FIELD, MEAN_GROUP = 3.0, 5.5
BRIGHTEST, FAINTEST, SLOPE = 18.0, 24.0, 0.3
STAR_SHARE = 0.2
NEAREST_ARCSEC = 2.5

_WHAT = ("x", "y", "mag", "star", "gr", "rz", "size", "ratio", "angle")
_DRAWS = ("count", *(f"{what}_{i}" for what in _WHAT for i in range(N_NEIGHBOURS)))


def neighbour_block(seed: int, candidate: NDArray[np.int64]) -> Block:
    """The random numbers of candidates for what lies around them."""
    return Block.at(seed, candidate, stream=STREAMS["neighbours"], names=_DRAWS)


def draw_neighbours(block: Block, dense: NDArray[np.bool_], width_arcsec: float) -> dict[str, Array]:
    """Gaussians of the neighbours of n galaxies, three for each of `N_NEIGHBOURS` places, flux 0 where none is.

    Returns
    -------
    ``x``, ``y`` : (n, 3 * `N_NEIGHBOURS`) offsets in arcseconds; ``sigma`` : the same shape, arcseconds; ``flux`` :
    (n, 3 * `N_NEIGHBOURS`, 3) in g, r, z, nanomaggies.
    """

    def column(what: str, *, normal: bool = False) -> Array:
        draw = block.normal if normal else block.uniform
        return np.stack([draw(f"{what}_{i}") for i in range(N_NEIGHBOURS)], axis=1)

    count = np.asarray(poisson.ppf(block.uniform("count"), np.where(dense, MEAN_GROUP, MEAN_FIELD)))
    x, y = (width_arcsec * (column(axis) - 0.5) for axis in ("x", "y"))
    there = (np.arange(N_NEIGHBOURS) < count[:, None]) & (np.hypot(x, y) > NEAREST_ARCSEC)
    bright, faint = 10.0 ** (SLOPE * BRIGHTEST), 10.0 ** (SLOPE * FAINTEST)
    mag_r = np.log10(bright + column("mag") * (faint - bright)) / SLOPE
    star = column("star") < STAR_SHARE
    g_r = np.where(star, 0.3 + 1.2 * column("gr"), np.clip(0.9 + 0.35 * column("gr", normal=True), 0.2, 1.7))
    r_z = np.where(star, 0.6 * g_r - 0.1, 0.1 + 0.55 * g_r + 0.12 * column("rz", normal=True))
    mags = np.stack([mag_r + g_r, mag_r, mag_r - r_z], axis=-1)
    flux = there[..., None] * 10.0 ** (-0.4 * (mags - 22.5))

    radius = 0.55 * 10.0 ** (-0.08 * (mag_r - 22) + 0.15 * column("size", normal=True))
    sigma = np.where(star, 0.0, 0.85 * radius * (0.4 + 0.6 * column("ratio")))  # half of a Gaussian lies in 1.18 sigma
    stretch = np.sqrt(np.maximum((0.85 * radius) ** 2 - sigma**2, 0.0)) * ~star
    angle = np.pi * column("angle")
    # at -d, 0, d with weights 1, 2, 1 the variance along the row grows by d^2 / 2
    steps, shares = np.sqrt(2) * np.array([-1.0, 0.0, 1.0]), np.array([0.25, 0.5, 0.25])
    offset = stretch[..., None] * steps
    n = len(count)
    return {
        "x": (x[..., None] + offset * np.cos(angle)[..., None]).reshape(n, 3 * N_NEIGHBOURS),
        "y": (y[..., None] + offset * np.sin(angle)[..., None]).reshape(n, 3 * N_NEIGHBOURS),
        "sigma": np.repeat(sigma, 3, axis=1),
        "flux": (flux[:, :, None, :] * shares[:, None]).reshape(n, 3 * N_NEIGHBOURS, 3),
    }

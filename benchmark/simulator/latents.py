"""What nature decides for a candidate galaxy before any light is computed.

Randomness is counter-based: candidate number c of a survey reads the Philox blocks c B ... c B + B - 1 of the stream
keyed by the survey seed, B fixed. Every candidate so has its own numbers, whatever was drawn before and in whatever
chunks (Salmon et al. 2011, SC11, doi:10.1145/2063384.2063405).
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from benchmark.simulator.selection import Proposal

__all__ = ["DRAWS", "STREAMS", "Block", "Latents", "draw_latents"]

Array = NDArray[np.float64]

DRAWS: tuple[str, ...] = (
    *("mass", "redshift", "environment", "quiescent", "transition", "bulge_fraction", "inclination"),
    *("disc_start", "disc_tau", "transition_tau", "bulge_start", "bulge_delay", "bulge_tau"),
    *("recent_120myr", "recent_1gyr", "burst", "burst_mass", "burst_age", "residual"),
    *("metallicity", "metallicity_bulge", "metallicity_disc"),
    *("dust", "birth_cloud", "dust_slope"),
    *("oxygen", "nitrogen", "line_ratios", "agn", "agn_mix", "old_star_lines"),
    *("size_disc", "size_bulge", "faint"),
    *("label_age", "label_metallicity", "label_mass", "label_ssfr"),
    *("rosette", "sky_radius", "sky_angle"),
)
"""One number each, in this order. Appending beyond a multiple of four lengthens the block and changes every galaxy:
raise the survey's version then, or draw from another ``stream``."""

STREAMS: dict[str, int] = {
    "galaxy": 0,
    "morphology": 1,
    "pixels": 2,
    "votes": 3,
    "sky": 4,
    "spectrum": 5,
    "neighbours": 6,
    "conditions": 7,
    "catalogue": 8,
}
"""Purpose -> half of the generator's key: what is drawn for one purpose never moves what is drawn for another."""

_WORDS_PER_COUNTER = 4


# log10 Msun; log10 M by redshift; share
QUENCHING_MASS, QUENCHING_EVOLUTION, DENSE_QUENCHING = 10.68, 0.10, 0.40


class Block:
    """The random numbers of candidates ``first`` to ``first + n - 1``: one column for each name.

    Parameters
    ----------
    seed : the survey's, 0 <= seed < 2**64.
    first, n : candidate numbers, >= 0.
    stream : separates draws of other purposes from these, see `STREAMS`.
    names : of the columns; one tuple a stream, always the same.

    Attributes
    ----------
    candidate : (n,) their numbers.
    """

    def __init__(self, seed: int, first: int, n: int, *, stream: int = 0, names: tuple[str, ...] = DRAWS) -> None:
        blocks = -(-len(names) // _WORDS_PER_COUNTER)
        bits = np.random.Philox(key=(stream << 64) | seed, counter=first * blocks)
        raw = bits.random_raw(n * blocks * _WORDS_PER_COUNTER).reshape(n, blocks * _WORDS_PER_COUNTER)
        # 53 bits, centred in their cells: never 0 or 1, so that ndtri stays finite
        self._uniform = np.ascontiguousarray(((raw >> np.uint64(11)).astype(np.float64) + 0.5).T * 2.0**-53)
        self._column = {name: i for i, name in enumerate(names)}
        self.candidate = np.arange(first, first + n, dtype=np.int64)

    @classmethod
    def at(cls, seed: int, candidate: NDArray[np.int64], *, stream: int, names: tuple[str, ...]) -> Block:
        """The random numbers of any candidates, ascending; there may be none."""
        first, last = (int(candidate[0]), int(candidate[-1])) if len(candidate) else (0, -1)
        return cls(seed, first, last - first + 1, stream=stream, names=names).take(candidate - first)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Block:
        """The same numbers of some of the candidates."""
        chosen = copy(self)
        chosen._uniform, chosen.candidate = np.ascontiguousarray(self._uniform[:, rows]), self.candidate[rows]
        return chosen

    def uniform(self, name: str) -> Array:
        """(n,) even in (0, 1)."""
        return self._uniform[self._column[name]]

    def normal(self, name: str, mean: Array | float = 0.0, scatter: Array | float = 1.0) -> Array:
        """(n,) Gaussian by the inverse distribution function: one number in, one number out."""
        return mean + scatter * ndtri(self.uniform(name))

    def chance(self, name: str, probability: Array | float) -> NDArray[np.bool_]:
        """(n,) True with the given probability."""
        return self.uniform(name) < probability


@dataclass(frozen=True, eq=False)
class Latents:
    """Structure of n candidate galaxies; every array is (n,).

    Attributes
    ----------
    z : redshift, .01 to .6.
    log10_mstar : log10 of the surviving stellar mass / Msun, 8 to 12.
    dense : lives in a group.
    quiescent : star formation has ended; transition : it is ending (massive star-forming galaxies only).
    bulge_fraction : share of the surviving mass in the bulge, 0 to .98.
    cos_inclination : of the disc, 0 (edge-on) to 1.
    disc_kpc, bulge_kpc : half-light radii along the major axis.
    """

    z: Array
    log10_mstar: Array
    dense: NDArray[np.bool_]
    quiescent: NDArray[np.bool_]
    transition: NDArray[np.bool_]
    bulge_fraction: Array
    cos_inclination: Array
    disc_kpc: Array
    bulge_kpc: Array


def draw_latents(block: Block, proposal: Proposal) -> Latents:
    """Mass, redshift, type and structure of the block's candidates.

    Galaxies are quenched by mass and, independently, by their surroundings (Peng et al. 2010, ApJ 721, 193, in form);
    the two numbers, and the fractions of bulges and environments, are descriptive fits, not taken from one paper. The
    sizes are set so that half-light radii of whole galaxies follow Shen et al. 2003 (MNRAS 343, 978) at 10^9.5 to
    10^11.4; the prototype's bulges (.30 + .55 x) left ellipticals 30 % small.
    """
    log10_mstar, z = proposal.draw(block.uniform("mass"), block.uniform("redshift"))
    dense = block.chance("environment", 0.25 + 0.15 * np.clip(log10_mstar - 10.5, -0.5, 1.0))
    by_mass = 1 - np.exp(-(10.0 ** (log10_mstar - QUENCHING_MASS - QUENCHING_EVOLUTION * z)))
    quiescent = block.chance("quiescent", 1 - (1 - by_mass) * (1 - DENSE_QUENCHING * dense))
    transition = ~quiescent & (log10_mstar > 10.3) & block.chance("transition", 0.30)
    offset = log10_mstar - 10.3
    scatter = block.normal("bulge_fraction")
    bulge_fraction = np.where(
        quiescent,
        np.clip(0.62 + 0.10 * offset + 0.20 * scatter, 0.10, 0.98),
        np.clip(0.14 + 0.17 * offset + 0.12 * scatter, 0.0, 0.75),
    )
    log10_bulge_mass = log10_mstar + np.log10(np.maximum(bulge_fraction, 1e-3))
    disc = block.normal("size_disc", 0.62 + 0.22 * (log10_mstar - 10.2) - 0.1 * quiescent, 0.19)
    bulge = block.normal("size_bulge", 0.45 + 0.68 * (log10_bulge_mass - 10.5), 0.17)
    return Latents(
        z=z,
        log10_mstar=log10_mstar,
        dense=dense,
        quiescent=quiescent,
        transition=transition,
        bulge_fraction=bulge_fraction,
        cos_inclination=block.uniform("inclination"),
        disc_kpc=10.0**disc,
        bulge_kpc=10.0**bulge,
    )

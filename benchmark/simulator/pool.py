"""A pool of noise-free candidates: Monte-Carlo draws of the simulator's prior, from which posteriors are made.

The candidates are those that surveys are made of, without pixels, votes and noise. Each chunk of a pool is a universe
of its own, with its own groups of galaxies, under a seed beyond every seed a survey may have: no galaxy of a pool is in
any survey, and the prior is that of galaxies whose groups are not known.

Two devices make a pool go further, both exact up to what is said here:

- Half of the candidates are drawn nearer than galaxies are (volume raised to the third power); weights undo it. Of as
  many candidates twice as many enter a survey, and bright ones, which are rare, ten times as many.
- Candidates too faint or too bright by less than `MASS_WIDTH_DEX` / 2 in mass are kept: `reference` shifts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmark.contracts import GalaxybenchError, Progress, UsageError
from benchmark.simulator import labels, photometry, selection
from benchmark.simulator.candidates import Candidates, draw_candidates
from benchmark.simulator.flavours import Flavour, find_flavour
from benchmark.simulator.pack import TemplatePack, load_pack

__all__ = ["MASS_WIDTH_DEX", "Pool", "draw_pool"]

Array = NDArray[np.float64]

MASS_WIDTH_DEX = 0.2
FIRST_UNIVERSE = 2**63  # seeds of surveys end far below; the generator takes 64 bits
UNIVERSES_PER_SEED = 2**32
MAX_POOL_SEED = 2**31 - 1
CHUNK = 2048  # candidates of one universe


@dataclass(frozen=True, eq=False)
class Pool:
    """m galaxies of a flavour without noise.

    Attributes
    ----------
    flavour : through whose bands they are seen.
    n_candidates : from which the m were kept.
    seed : the pool's.
    flux : (m, n_bands) float32 nanomaggies, above 0.
    radius_arcsec : (m,) float32 half-light radii, on which errors depend.
    target : (m, n_targets) float32, columns as `labels.TARGETS`.
    weight : (m,) float32, prior by proposal density.
    """

    flavour: Flavour
    n_candidates: int
    seed: int
    flux: NDArray[np.float32]
    radius_arcsec: NDArray[np.float32]
    target: NDArray[np.float32]
    weight: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.weight)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the targets' columns."""
        return tuple(target.name for target in labels.TARGETS)

    def half(self, which: int) -> Pool:
        """Every other galaxy, ``which`` 0 or 1: two independent pools, to see how far apart their posteriors are."""
        rows = slice(which, None, 2)
        parts = {name: getattr(self, name)[rows] for name in _ARRAYS}
        return replace(self, n_candidates=self.n_candidates // 2, **parts)

    def side_by_side(self) -> Pool:
        """The same galaxies, alike ones next to each other in memory, where they are found twice as fast."""
        order = cKDTree(np.log(self.flux)).indices
        return replace(self, **{name: getattr(self, name)[order] for name in _ARRAYS})

    def state(self) -> dict[str, NDArray]:
        """Its arrays by name."""
        return {name: getattr(self, name) for name in _ARRAYS} | {
            "drawn": np.array([self.n_candidates, self.seed], dtype=np.int64)
        }

    @classmethod
    def from_state(cls, flavour: Flavour, state: Mapping[str, NDArray]) -> Pool:
        """The inverse of `state`."""
        n_candidates, seed = (int(number) for number in state["drawn"])
        return cls(flavour, n_candidates, seed, **{name: state[name] for name in _ARRAYS})


_ARRAYS = tuple(field.name for field in fields(Pool))[3:]


def draw_pool(
    n_candidates: int = 10**6, flavour: str | Flavour = "south", seed: int = 0, progress: Progress | None = None
) -> Pool:
    """Draw a pool; 10^6 candidates take some 35 CPU-seconds and leave a third of a million galaxies (20 MB).

    Parameters
    ----------
    n_candidates : at least 1; fewer candidates are a prefix of more.
    flavour : or its name, see `FLAVOURS`.
    seed : 0 to `MAX_POOL_SEED`; no pool shares a galaxy with a survey, whatever their seeds.
    progress : called with (candidates so far, n_candidates).

    Raises
    ------
    UsageError
        A number is out of range, or there is no such flavour.
    GalaxybenchError
        None of the candidates is bright enough for the flavour.
    """
    if not 1 <= n_candidates <= CHUNK * UNIVERSES_PER_SEED:
        raise UsageError(f"n_candidates={n_candidates}: a pool has at least 1 candidate; 10**6 are the default")
    if not 0 <= seed <= MAX_POOL_SEED:
        raise UsageError(f"seed={seed}: seeds of pools are 0 to {MAX_POOL_SEED}")
    seen = find_flavour(flavour) if isinstance(flavour, str) else flavour
    pack, nearer = load_pack(), _Nearer(seen)
    parts: list[dict[str, NDArray[np.float32]]] = []
    for first in range(0, n_candidates, CHUNK):
        universe = FIRST_UNIVERSE + seed * UNIVERSES_PER_SEED + first // CHUNK
        n = min(CHUNK, n_candidates - first)
        parts.append(_galaxies(draw_candidates(universe, 0, n, pack, seen, drawn_from=nearer), nearer, pack))
        if progress is not None:
            progress(first + n, n_candidates)
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in _ARRAYS}
    if not len(arrays["weight"]):
        raise GalaxybenchError(f"none of {n_candidates} candidates enters a survey: ask for more")
    return Pool(seen, n_candidates, seed, **arrays)


class _Nearer(selection.Proposal):
    """The proposal of candidates, half of them with their volume raised to the third power, and the weights for it."""

    def draw(self, u_mass: Array, u_redshift: Array) -> tuple[Array, Array]:
        return super().draw(u_mass, self._volume_share(u_redshift))

    @staticmethod
    def _volume_share(u: Array) -> Array:
        return np.where(u < 0.5, 2 * u, (2 * u - 1) ** 3)

    def weight(self, u_redshift: Array) -> Array:
        """Prior by proposal density, 0 to 2: the shares have density 1/2 + (share^(1/3))' / 2."""
        return 1 / (0.5 + self._volume_share(u_redshift) ** (-2 / 3) / 6)


def _galaxies(drawn: Candidates, nearer: _Nearer, pack: TemplatePack) -> dict[str, NDArray[np.float32]]:
    """What a pool keeps of a chunk: those that enter the survey once their mass is shifted by a part of the width."""
    shift = 1.25 * MASS_WIDTH_DEX  # magnitudes
    brightest, surest = drawn.mag_selection[:, None] + [-shift, 0.0, shift], np.full((len(drawn), 3), 1e-12)
    drawn = drawn.take(np.flatnonzero(selection.accept(brightest, surest, drawn.flavour).any(axis=1)))
    r = drawn.flavour.band_names.index("r")
    truth = labels.true_labels(drawn.latents, drawn.history, drawn.metallicity)
    fitted = labels.provabgs_labels(drawn.block, truth, drawn.mag_r)
    columns = {**truth, **fitted, "ssfr_astroclip": labels.ssfr_astroclip(fitted)}
    bulge_share = drawn.stars[:, 0, r] / drawn.stars[:, :, r].sum(axis=1)
    arrays = {
        "flux": drawn.flux,
        "radius_arcsec": photometry.effective_radius_arcsec(drawn.latents, bulge_share),
        "target": np.stack([columns[target.name] for target in labels.TARGETS], axis=1),
        "weight": nearer.weight(drawn.block.uniform("redshift")),
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}

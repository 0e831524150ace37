"""A simulated survey with what its catalogue does not tell: the truth behind each galaxy, made again from its id."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.data import Survey
from benchmark.simulator.appearance import draw_appearance
from benchmark.simulator.candidates import Candidates, draw_candidates
from benchmark.simulator.fibre import fibre_shares
from benchmark.simulator.lines import LINES
from benchmark.simulator.pack import load_pack
from benchmark.simulator.photometry import kpc_per_arcsec
from benchmark.simulator.spectra import WAVE_ANGSTROM, noiseless_spectra
from benchmark.simulator.survey import CANDIDATES_PER_SEED

from .populations import half_light_radius
from .spectra import dn4000

__all__ = ["Sample", "truth"]

CHUNK = 4096  # candidates at a time


@dataclass(frozen=True, eq=False)
class Sample:
    """A survey with its truth."""

    survey: Survey

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The catalogue, joined with `truth` by ``target_id``, and ``r, gr, rz`` for magnitude and colours."""
        catalogue = self.survey.catalogue
        joined = catalogue.merge(truth(catalogue["target_id"].to_numpy()), on="target_id", validate="one_to_one")
        g, r, z = (catalogue[f"mag_{band}"] for band in "grz")
        return joined.assign(r=r, gr=g - r, rz=r - z)


def truth(target_id: NDArray[np.int64]) -> pd.DataFrame:
    """What the simulator knows about the galaxies of one seed, one row a galaxy.

    ``quiescent``; ``bulge_to_total``, ``radius_kpc`` and ``radius_arcsec`` (half-light, of a circle) in r;
    ``fibre_mag`` r magnitude in the fibre, by the share of a star's light; ``dn4000`` of the spectrum in the fibre
    before noise; ``line_<name>`` luminosities in erg/s.
    """
    pack = load_pack()
    seed, candidate = int(target_id[0] // CANDIDATES_PER_SEED), target_id % CANDIDATES_PER_SEED
    rows = []
    for first in range(int(candidate.min()) // CHUNK * CHUNK, int(candidate.max()) + 1, CHUNK):
        numbers = candidate[(candidate >= first) & (candidate < first + CHUNK)]
        if len(numbers):
            drawn = draw_candidates(seed, first, CHUNK, pack).take(np.sort(numbers) - first)
            rows.append(_columns(drawn))
    return pd.concat(rows, ignore_index=True).assign(target_id=lambda t: t["candidate"] + seed * CANDIDATES_PER_SEED)


def _columns(drawn: Candidates) -> pd.DataFrame:
    pack = load_pack()
    shape, latents = draw_appearance(drawn, pack).morphology, drawn.latents
    r = pack.bands.index("r")
    flux = drawn.flux[:, r]
    share = drawn.stars[:, 0, r] / flux
    bulge = shape.bulge_radius * np.sqrt(shape.bulge_ratio)
    disc = shape.disc_scale * 1.678347 * np.sqrt(shape.disc_ratio)
    fibre = fibre_shares(latents)
    in_fibre = fibre[:, 0] * drawn.stars[:, 0, r] + fibre[:, 1] * (flux - drawn.stars[:, 0, r])
    return pd.DataFrame(
        {
            "candidate": drawn.block.candidate,
            "quiescent": latents.quiescent,
            "bulge_to_total": share,
            "radius_kpc": half_light_radius(share, bulge, disc) * kpc_per_arcsec(latents.z),
            "radius_arcsec": half_light_radius(share, bulge, disc),
            "fibre_mag": 22.5 - 2.5 * np.log10(in_fibre),
            "dn4000": dn4000(WAVE_ANGSTROM, noiseless_spectra(drawn, pack).astype(np.float64), latents.z),
            **{f"line_{name}": drawn.line_luminosity[:, k] for k, name in enumerate(LINES)},
        }
    )

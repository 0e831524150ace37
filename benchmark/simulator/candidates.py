"""Candidate galaxies: everything about them that is decided before pixels are made.

Images, spectra and votes of a galaxy start from here; a chunk of candidates is made again wherever it is needed, since
that costs less than to store or to send it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmark.simulator import lines, photometry, selection, sky
from benchmark.simulator.dust import Dust, draw_dust
from benchmark.simulator.flavours import SOUTH, Flavour
from benchmark.simulator.latents import Block, Latents, draw_latents
from benchmark.simulator.metallicity import Metallicity, draw_metallicity
from benchmark.simulator.pack import TemplatePack, seen_by
from benchmark.simulator.sfh import AgeBins, History, draw_history

__all__ = ["Candidates", "draw_candidates", "proposal"]

Array = NDArray[np.float64]
_Record = TypeVar("_Record", Latents, sky.Places, History, Metallicity, Dust)


@dataclass(frozen=True, eq=False)
class Candidates:
    """n candidate galaxies of one survey.

    Attributes
    ----------
    seed : the survey's.
    flavour : how they are seen.
    block : their random numbers of the stream ``galaxy``; ``block.candidate`` (n,) are their numbers.
    latents, history, metallicity, dust : their physics; ``latents.z`` is that of their group if they have one.
    places : where they are on the sky.
    line_luminosity : (n, 16) erg/s of the lines in `lines.LINES`, behind dust.
    stars : (n, 2, n_bands) noise-free flux of bulge and disc stars, nanomaggies.
    line_flux : (n, n_bands) what the lines add to the disc, nanomaggies.
    mag_r : (n,) noise-free total r magnitude, AB.
    mag_selection : (n,) the same in the band in which the survey selects.
    kept : (n,) True where the survey keeps the candidate.
    """

    seed: int
    flavour: Flavour
    block: Block
    latents: Latents
    places: sky.Places
    history: History
    metallicity: Metallicity
    dust: Dust
    line_luminosity: Array
    stars: Array
    line_flux: Array
    mag_r: Array
    mag_selection: Array
    kept: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.mag_r)

    @property
    def flux(self) -> Array:
        """(n, n_bands) noise-free total flux, nanomaggies."""
        return self.stars.sum(axis=1) + self.line_flux

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Candidates:
        """Some of the candidates: ``rows`` (n,) True or False, or row numbers."""
        return Candidates(
            seed=self.seed,
            flavour=self.flavour,
            block=self.block.take(rows),
            latents=_take(self.latents, rows),
            places=_take(self.places, rows),
            history=_take(self.history, rows),
            metallicity=_take(self.metallicity, rows),
            dust=_take(self.dust, rows),
            line_luminosity=self.line_luminosity[rows],
            stars=self.stars[rows],
            line_flux=self.line_flux[rows],
            mag_r=self.mag_r[rows],
            mag_selection=self.mag_selection[rows],
            kept=self.kept[rows],
        )


def draw_candidates(
    seed: int,
    first: int,
    n: int,
    pack: TemplatePack,
    flavour: Flavour = SOUTH,
    *,
    drawn_from: selection.Proposal | None = None,
) -> Candidates:
    """Candidates ``first`` to ``first + n - 1`` of the survey of a seed; each is the same in every such range.

    Parameters
    ----------
    seed : the survey's, >= 0.
    first, n : candidate numbers, >= 0.
    pack : the templates.
    flavour : how the candidates are drawn, seen and selected.
    drawn_from : masses and redshifts come from this, not from the flavour's own proposal.
    """
    pack = seen_by(pack, flavour)
    block = Block(seed, first, n)
    latents = draw_latents(block, drawn_from or proposal(flavour))
    places = sky.draw_places(seed, block, latents.z, latents.dense, flavour)
    latents = replace(latents, z=places.z)
    history = draw_history(block, latents, AgeBins(pack.age_gyr))
    metallicity = draw_metallicity(block, latents, pack)
    dust = draw_dust(block, latents)
    line_luminosity = lines.draw_lines(block, latents, history, metallicity, dust, _line_templates(pack))
    stars = photometry.stellar_fluxes(latents, history, metallicity, dust, photometry.band_tables(pack, flavour.z_max))
    line_flux = photometry.line_fluxes(latents.z, line_luminosity, pack)
    mag_r, mag_selection = (
        22.5 - 2.5 * np.log10(stars[:, :, band].sum(axis=1) + line_flux[:, band])
        for band in (pack.bands.index("r"), pack.bands.index(flavour.selection_band))
    )
    return Candidates(
        seed=seed,
        flavour=flavour,
        block=block,
        latents=latents,
        places=places,
        history=history,
        metallicity=metallicity,
        dust=dust,
        line_luminosity=line_luminosity,
        stars=stars,
        line_flux=line_flux,
        mag_r=mag_r,
        mag_selection=mag_selection,
        kept=selection.accept(mag_selection, block.uniform("faint"), flavour),
    )


@lru_cache(maxsize=16)
def proposal(flavour: Flavour = SOUTH) -> selection.Proposal:
    """What candidates of a flavour are drawn from, computed once in a process."""
    return selection.Proposal(flavour)


@lru_cache(maxsize=16)
def _line_templates(pack: TemplatePack) -> lines.LineTemplates:
    return lines.LineTemplates(pack)


def _take(record: _Record, rows: NDArray[np.bool_] | NDArray[np.intp]) -> _Record:
    return replace(record, **{field.name: getattr(record, field.name)[rows] for field in fields(record)})

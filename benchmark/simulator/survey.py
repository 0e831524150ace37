"""The simulated survey: candidates in, a catalogue and a survey folder out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError, Modality, Progress, Target, UsageError
from benchmark.data import ImageWriter, SpectrumWriter, Survey, SurveyInfo, hash_split, write_survey
from benchmark.data.writing import refuse_existing
from benchmark.simulator import building, cosmology, labels, photometry, sky
from benchmark.simulator.appearance import draw_appearance
from benchmark.simulator.candidates import draw_candidates, proposal
from benchmark.simulator.flavours import SOUTH, Flavour, find_flavour
from benchmark.simulator.pack import TemplatePack, load_pack
from benchmark.simulator.sfh import SFR_WINDOW_GYR
from benchmark.simulator.spectra import N_WAVE, WAVE_START, WAVE_STEP
from benchmark.simulator.votes import QUESTIONS, draw_votes

__all__ = [
    "MAX_GALAXIES",
    "MAX_SEED",
    "SURVEY_VERSION",
    "SimulatedCatalogue",
    "build_survey",
    "simulate",
]

SURVEY_VERSION = "3"
"""Raised whenever the same seed may give other galaxies; scores of different versions do not compare."""

CANDIDATES_PER_SEED = 10**9
MAX_SEED = 2**63 // CANDIDATES_PER_SEED - 1
MAX_GALAXIES = 10**8  # a sixth of the candidates is kept; beyond this their numbers could run out
MODALITIES: tuple[Modality, ...] = ("photometry", "image", "spectrum")
CHUNK = 2048  # candidates at a time; any value gives the same galaxies


@dataclass(frozen=True, eq=False)
class SimulatedCatalogue:
    """Galaxies in the order of their candidate numbers.

    Attributes
    ----------
    frame : one row a galaxy: ``target_id, split, ra, dec, group_id, mag_<band>, mag_err_<band>`` (AB), the targets,
        ``<target>_err`` of the fitted ones,
        ``psf_fwhm_arcsec_<band>, sky_sigma_nanomaggy_<band>`` of the cutout, and Galaxy Zoo votes
        where the flavour has them.
    targets : what the target columns are.
    facts : cosmology, constants, seed and counts, as they go into survey.toml.
    """

    frame: pd.DataFrame
    targets: tuple[Target, ...]
    facts: dict[str, str | int | float]


def simulate(
    n_galaxies: int, seed: int = 0, progress: Progress | None = None, *, flavour: str = "south"
) -> SimulatedCatalogue:
    """Simulate the first ``n_galaxies`` galaxies of the survey of a seed.

    A galaxy follows from (seed, candidate number) alone: fewer galaxies are a prefix of more.

    Parameters
    ----------
    n_galaxies : 1 to `MAX_GALAXIES`.
    seed : the survey's, 0 to `MAX_SEED`; ``target_id`` = seed * 10^9 + candidate number.
    progress : called with (galaxies so far, n_galaxies).
    flavour : a name of `FLAVOURS`.

    Raises
    ------
    UsageError
        ``n_galaxies`` or ``seed`` is out of range, or there is no such flavour.
    GalaxybenchError
        The template pack is missing or altered.
    """
    if not 1 <= n_galaxies <= MAX_GALAXIES:
        raise UsageError(f"n_galaxies={n_galaxies}: 1 to {MAX_GALAXIES} galaxies can be simulated")
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"seed={seed}: 0 to {MAX_SEED} are allowed, as target_id = seed * 10^9 + candidate number")
    pack, seen = load_pack(), find_flavour(flavour)
    chunks: list[dict[str, NDArray]] = []
    n_kept, n_candidates = 0, 0
    while n_kept < n_galaxies:
        if n_candidates + CHUNK > CANDIDATES_PER_SEED:
            raise GalaxybenchError(f"seed={seed} has candidates for {n_kept} galaxies, not {n_galaxies}; ask for fewer")
        chunk = simulate_candidates(seed, n_candidates, CHUNK, pack, seen)
        chunks.append(chunk)
        n_kept += len(chunk["candidate"])
        n_candidates += CHUNK
        if progress is not None:
            progress(min(n_kept, n_galaxies), n_galaxies)
    columns = {name: np.concatenate([c[name] for c in chunks])[:n_galaxies] for name in chunks[0]}
    n_candidates = int(columns["candidate"][-1]) + 1
    beats = columns.pop("beats_envelope")
    target_id = columns.pop("candidate") + seed * CANDIDATES_PER_SEED
    frame = pd.DataFrame({"target_id": target_id, "split": hash_split(target_id), **columns})
    facts = _facts(pack, seen, seed, frame, n_candidates, int(beats.sum()))
    return SimulatedCatalogue(frame, labels.TARGETS, facts)


def simulate_candidates(
    seed: int, first: int, n: int, pack: TemplatePack, flavour: Flavour = SOUTH
) -> dict[str, NDArray]:
    """Columns of those among candidates ``first`` to ``first + n - 1`` that the survey keeps, by name."""
    drawn = draw_candidates(seed, first, n, pack, flavour)
    drawn = drawn.take(drawn.kept)
    block, latents = drawn.block, drawn.latents
    bands = flavour.band_names
    r = bands.index("r")
    radius = photometry.effective_radius_arcsec(latents, drawn.stars[:, 0, r] / drawn.stars[:, :, r].sum(axis=1))
    noise = photometry.catalogue_block(seed, block.candidate, flavour)
    mag, mag_err = photometry.magnitudes(*photometry.observe(noise, drawn.flux, radius, flavour))
    truth = labels.true_labels(latents, drawn.history, drawn.metallicity)
    fitted = labels.provabgs_labels(block, truth, drawn.mag_r)
    appearance = draw_appearance(drawn, pack)
    conditions = appearance.conditions
    return {
        "candidate": block.candidate,
        "beats_envelope": proposal(flavour).beats_envelope(latents.log10_mstar, latents.z, drawn.mag_selection),
        "ra": drawn.places.ra,
        "dec": drawn.places.dec,
        "group_id": drawn.places.group_id,
        **{f"mag_{band}": mag[:, i] for i, band in enumerate(bands)},
        **{f"mag_err_{band}": mag_err[:, i] for i, band in enumerate(bands)},
        **truth,
        **fitted,
        "ssfr_astroclip": labels.ssfr_astroclip(fitted),
        **labels.provabgs_errors(truth, drawn.mag_r),
        **{f"psf_fwhm_arcsec_{band}": conditions.fwhm_arcsec[:, i] for i, band in enumerate(bands)},
        **{f"sky_sigma_nanomaggy_{band}": conditions.sigma[:, i] for i, band in enumerate(bands)},
        **(draw_votes(drawn, appearance) if flavour.votes else {}),
    }


def build_survey(
    folder: Path,
    n_galaxies: int = 4000,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    flavour: str = "south",
    modalities: Collection[Modality] = MODALITIES,
    n_workers: int | None = None,
) -> Survey:
    """Simulate a survey and write it as a survey folder.

    Images and spectra are made in parts of some hundred galaxies, kept beside the folder until all are there: a build
    that was interrupted goes on where it stopped.

    Parameters
    ----------
    folder, n_galaxies, seed : where to, and what, see `simulate`.
    progress : called with (galaxies whose pixels are there, n_galaxies).
    flavour : a name of `FLAVOURS`.
    modalities : of ``photometry``, ``image``, ``spectrum``; photometry is always there. Votes and the conditions of the
        cutouts come with the images; photometry alone is made in seconds.
    n_workers : processes, 0 for this one; None for one a core, at most 8, or for this one where few are asked for.

    Raises
    ------
    UsageError
        A number, flavour or modality is out of range, or the folder may not be written to.
    GalaxybenchError
        A worker died, or the folder cannot be written.
    """
    folder = Path(folder)
    refuse_existing(folder.absolute(), overwrite=False)
    if unknown := sorted(set(modalities) - set(MODALITIES)):
        raise UsageError(f"modalities names {unknown[0]!r}: allowed are {', '.join(MODALITIES)}")
    pixels = tuple(m for m in ("image", "spectrum") if m in modalities)
    seen = find_flavour(flavour)
    catalogue = simulate(n_galaxies, seed, None if pixels else progress, flavour=flavour)
    candidate = catalogue.frame["target_id"].to_numpy() - seed * CANDIDATES_PER_SEED
    with_image, with_spectrum = "image" in pixels, "spectrum" in pixels
    info = SurveyInfo(
        name=seen.survey,
        version=SURVEY_VERSION,
        targets=catalogue.targets,
        photometry_bands=seen.band_names,
        photometry_unit="mag_ab",
        image_bands=seen.band_names if with_image else (),
        pixel_scale_arcsec=seen.pixel_scale_arcsec if with_image else None,
        image_unit="nanomaggy" if with_image else None,
        wave_start_angstrom=WAVE_START if with_spectrum else None,
        wave_step_angstrom=WAVE_STEP if with_spectrum else None,
        n_wave=N_WAVE if with_spectrum else 0,
        split_rule="hash",
        licence="BSD-3-Clause (templates and filters: see the pack's NOTICE)",
        reference="galaxybench, docs/simulator.md",
        simulated=True,
        label_errors=labels.LABEL_ERRORS,
        votes=QUESTIONS if with_image and seen.votes else {},
        facts=catalogue.facts,
    )
    parts = building.Parts(folder, seen, SURVEY_VERSION, seed, pixels, candidate)
    parts.make(n_workers, progress)
    image_shape = (n_galaxies, len(seen.bands), seen.image_size, seen.image_size)
    survey = write_survey(
        folder,
        info,
        catalogue.frame if with_image else _without_images(catalogue.frame),
        images=ImageWriter(image_shape, np.float16, parts.fill_images) if with_image else None,
        spectra=SpectrumWriter((n_galaxies, N_WAVE), parts.fill_spectra) if with_spectrum else None,
    )
    parts.remove()
    return survey


def _without_images(frame: pd.DataFrame) -> pd.DataFrame:
    """The catalogue without what can be known from images only."""
    votes = {f"{question}_{answer}" for question, answers in QUESTIONS.items() for answer in (*answers, "total")}
    votes |= {f"{name}_debiased" for name in votes}
    conditions = ("psf_fwhm_arcsec_", "sky_sigma_nanomaggy_")
    return frame[[name for name in frame if name not in votes and not str(name).startswith(conditions)]]


def _facts(
    pack: TemplatePack, flavour: Flavour, seed: int, frame: pd.DataFrame, n_candidates: int, n_beats: int
) -> dict[str, str | int | float]:
    return {
        "flavour": flavour.name,
        "seed": seed,
        "n_galaxies": len(frame),
        "n_candidates": n_candidates,
        "n_brighter_than_envelope": n_beats,
        "n_missing_magnitudes": int(frame[[f"mag_{b}" for b in flavour.band_names]].isna().to_numpy().sum()),
        "n_in_groups": int((frame["group_id"] != sky.FIELD).sum()),
        "group_id": f"{sky.FIELD}: in no group",
        "cosmology": f"flat LCDM, H0 = {cosmology.H0} km/s/Mpc, Omega_m = {cosmology.OMEGA_M}",
        "imf": pack.imf,
        "z_sun": pack.z_sun,
        "stellar_mass": "surviving (stars and remnants)",
        "sfr_window_gyr": SFR_WINDOW_GYR,
        "selection": _selection(flavour),
        "pack_sha256": pack.sha256,
    }


def _selection(flavour: Flavour) -> str:
    """The cuts in words."""
    brightest = "" if flavour.bright_limit is None else f"{flavour.bright_limit} < "
    band = flavour.selection_band
    faint = f"{flavour.faint_fraction:.0%} of {band} < {flavour.faint_limit}; " if flavour.faint_fraction else ""
    return f"{brightest}{band} < {flavour.complete_limit}; {faint}z < {f'{flavour.z_max:g}'.lstrip('0')}"

"""Flavours: the same universe seen otherwise, reproducibly, and as deep and sharp as each says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.contracts import UsageError
from benchmark.data import check_survey, inputs
from benchmark.registry import SURVEYS, resolve
from benchmark.simulator import (
    FLAVOURS,
    SURVEY_VERSION,
    Band,
    Flavour,
    SimulatedCatalogue,
    build_survey,
    simulate,
    survey,
)
from benchmark.simulator.appearance import draw_appearance
from benchmark.simulator.candidates import Candidates, draw_candidates, proposal
from benchmark.simulator.exposure import noise_variance
from benchmark.simulator.flavours import SOUTH
from benchmark.simulator.images import noiseless_images, render_images
from benchmark.simulator.pack import TemplatePack, seen_by
from benchmark.simulator.photometry import flux_errors
from benchmark.simulator.spectra import WAVE_ANGSTROM, noiseless_spectra, simulate_spectra

NORTH, DEEP, FAINT = (FLAVOURS[name] for name in ("north", "deep", "faint"))
N_CANDIDATES = 3000


@pytest.fixture(scope="module")
def drawn(pack: TemplatePack) -> Mapping[str, Candidates]:
    """The first candidates of seed 6 in every flavour."""
    return {name: draw_candidates(6, 0, N_CANDIDATES, pack, flavour) for name, flavour in FLAVOURS.items()}


@pytest.fixture(scope="module")
def catalogues() -> Mapping[str, SimulatedCatalogue]:
    return {name: simulate(1000, seed=6, flavour=name) for name in FLAVOURS}


@pytest.mark.parametrize("name", [name for name in FLAVOURS if name != "south"])  # the south has tests of its own
@pytest.mark.parametrize("chunk", [41, 2048])
def test_galaxies_of_every_flavour_follow_from_seed_and_number(
    catalogues: Mapping[str, SimulatedCatalogue], monkeypatch: pytest.MonkeyPatch, name: str, chunk: int
) -> None:
    monkeypatch.setattr(survey, "CHUNK", chunk)
    again = simulate(60, seed=6, flavour=name).frame
    pd.testing.assert_frame_equal(again, catalogues[name].frame.head(60), check_exact=True)


@pytest.mark.parametrize("name", FLAVOURS)
def test_pixels_of_every_flavour_do_not_depend_on_company(
    drawn: Mapping[str, Candidates], pack: TemplatePack, name: str
) -> None:
    galaxies = drawn[name].take(np.flatnonzero(drawn[name].kept)[:20])
    alone = galaxies.take(np.array([18]))
    assert np.array_equal(render_images(alone, pack)[0], render_images(galaxies, pack)[18])
    assert np.array_equal(simulate_spectra(alone, pack)[0][0], simulate_spectra(galaxies, pack)[0][18])


@pytest.mark.parametrize("name", [name for name in FLAVOURS if name != "south"])
def test_a_survey_of_every_flavour_is_built_from_its_card(tmp_path: Path, name: str) -> None:
    card, flavour = next(card for card in SURVEYS if card.options.get("flavour") == name), FLAVOURS[name]
    built = resolve(card.build)(tmp_path / "one", n_galaxies=24, seed=2, **card.options)
    if name == "deep":  # workers are told of flavours in one way for all
        assert build_survey(tmp_path / "two", 24, 2, flavour=name, n_workers=2).digest == built.digest
    assert (built.info.name, built.info.version) == (card.name, card.version)
    assert built.modalities == card.modalities
    assert built.images is not None
    assert built.images.shape == (24, len(flavour.bands), flavour.image_size, flavour.image_size)
    assert built.info.pixel_scale_arcsec == flavour.pixel_scale_arcsec
    assert built.info.photometry_bands == built.info.image_bands == flavour.band_names
    assert (len(built.info.votes) > 0) == flavour.votes == (card.votes is not None)
    assert [finding for finding in check_survey(built) if finding.level == "error"] == []
    assert inputs(built, "image", built.rows()).shape == (24, 3, flavour.image_size, flavour.image_size)
    assert inputs(built, "photometry", built.rows()).shape == (24, len(flavour.bands))


def test_every_flavour_has_a_card_and_every_card_a_flavour() -> None:
    simulated = {card.name: card for card in SURVEYS if card.build == "benchmark.simulator:build_survey"}
    assert {card.options["flavour"] for card in simulated.values()} == set(FLAVOURS)
    for name, card in simulated.items():
        assert FLAVOURS[str(card.options["flavour"])].survey == name
        assert card.version == SURVEY_VERSION
    assert len({flavour.night for flavour in FLAVOURS.values()}) == len(FLAVOURS)


def test_the_north_sees_the_galaxies_of_the_south(drawn: Mapping[str, Candidates]) -> None:
    south, north = drawn["south"], drawn["north"]
    for field in ("z", "log10_mstar", "quiescent", "disc_kpc", "cos_inclination"):
        assert np.array_equal(getattr(south.latents, field), getattr(north.latents, field))
    assert np.array_equal(south.places.ra, north.places.ra)
    assert np.array_equal(south.history.formed, north.history.formed)
    assert np.array_equal(south.line_luminosity, north.line_luminosity)
    # noise-free colours differ by those of the filters, so only galaxies at the limit are not in both
    difference = south.mag_r - north.mag_r
    assert 0 < np.abs(difference).max() < 0.15
    assert np.mean(south.kept & north.kept) / np.mean(south.kept | north.kept) > 0.93


def test_north_and_south_share_shapes_but_no_noise(drawn: Mapping[str, Candidates], pack: TemplatePack) -> None:
    both = np.flatnonzero(drawn["south"].kept & drawn["north"].kept)[:12]
    south, north = (drawn[name].take(both) for name in ("south", "north"))
    shapes = [draw_appearance(each, pack) for each in (south, north)]
    for field in ("disc_scale", "arm_phase", "bar_share", "merger_flux", "knot_x"):
        assert np.array_equal(getattr(shapes[0].morphology, field), getattr(shapes[1].morphology, field))
    assert np.array_equal(shapes[0].neighbours["x"], shapes[1].neighbours["x"])
    pulls = [
        (render_images(each, pack, shape) - noiseless_images(each, shape))[:, :, :20, :20].ravel()
        for each, shape in zip((south, north), shapes)
    ]
    assert abs(np.corrcoef(pulls)[0, 1]) < 5 / np.sqrt(len(pulls[0]))
    clean = noiseless_spectra(south, pack)
    assert np.array_equal(clean, noiseless_spectra(north, pack))
    spectra = [(simulate_spectra(each, pack)[0] - clean)[:, 3000:4000] for each in (south, north)]
    inner = [np.diff(noise, axis=1).ravel() for noise in spectra]  # without the calibration error's slow part
    assert abs(np.corrcoef(inner)[0, 1]) < 5 / np.sqrt(len(inner[0]) / 2)


def test_the_north_is_half_a_magnitude_shallower_and_less_sharp() -> None:
    flux, radius = np.zeros((1, 3)), np.zeros(1)
    ratio = flux_errors(flux, radius, NORTH) / flux_errors(flux, radius, SOUTH)
    assert 2.5 * np.log10(ratio) == pytest.approx(0.5, abs=0.02)
    assert [band.fwhm_arcsec for band in NORTH.bands] == [1.6, 1.5, 1.0]
    for north, south in zip(NORTH.bands, SOUTH.bands):
        # at one depth of point sources the noise of a pixel goes as 1 / seeing
        depth = north.pixel_sigma_nanomaggy * north.fwhm_arcsec / (south.pixel_sigma_nanomaggy * south.fwhm_arcsec)
        assert 2.5 * np.log10(depth) == pytest.approx(0.5, abs=0.02)


def test_the_deep_survey_has_the_depth_that_it_names() -> None:
    depths = {"g": 26.6, "r": 26.2, "i": 26.2, "z": 25.3, "Y": 24.5}
    for band in DEEP.bands:
        core = band.fwhm_arcsec / np.sqrt(8 * np.log(2)) / DEEP.pixel_scale_arcsec
        noise = band.pixel_sigma_nanomaggy * np.sqrt(4 * np.pi) * core  # matched filter over a Gaussian
        assert 22.5 - 2.5 * np.log10(5 * noise) == pytest.approx(depths[band.name], abs=0.03)
        assert 1.0 < band.catalogue_sigma_nanomaggy / noise < 1.2


@pytest.mark.parametrize("name", FLAVOURS)
def test_cuts_and_redshifts_are_those_of_the_flavour(catalogues: Mapping[str, SimulatedCatalogue], name: str) -> None:
    flavour, catalogue = FLAVOURS[name], catalogues[name]
    magnitude = catalogue.frame[f"mag_{flavour.selection_band}"]
    assert magnitude.max() < flavour.faint_limit + 0.3  # the cut is on noise-free magnitudes
    if flavour.bright_limit is not None:
        assert magnitude.min() > flavour.bright_limit - 0.1
    assert catalogue.frame["z"].between(flavour.z_min, flavour.z_max).all()
    assert catalogue.frame["z"].max() > 0.85 * flavour.z_max
    assert catalogue.facts["n_missing_magnitudes"] == 0
    assert catalogue.facts["flavour"] == name


@pytest.mark.parametrize("name", FLAVOURS)
def test_under_a_thousandth_of_the_galaxies_beat_the_envelope(pack: TemplatePack, name: str) -> None:
    flavour, beats, kept = FLAVOURS[name], 0, 0
    for first in range(0, 32768, 4096):
        galaxies = draw_candidates(31, first, 4096, pack, flavour)
        galaxies = galaxies.take(galaxies.kept)
        mass, z = galaxies.latents.log10_mstar, galaxies.latents.z
        beats += proposal(flavour).beats_envelope(mass, z, galaxies.mag_selection).sum()
        kept += len(galaxies)
    assert beats < 1e-3 * kept + 2 * np.sqrt(1e-3 * kept)


def test_the_deep_survey_is_as_far_away_as_real_ones(catalogues: Mapping[str, SimulatedCatalogue]) -> None:
    z = catalogues["deep"].frame["z"]
    # zCOSMOS-bright, i < 22.5, classes 2 to 4; 2 % lie beyond z = 1, where it is incomplete
    assert np.quantile(z, (0.16, 0.5, 0.84)) == pytest.approx((0.27, 0.52, 0.80), abs=0.06)
    assert 0.02 < (z > 1).mean() < 0.1


def test_density_falls_with_redshift_as_the_flavour_says() -> None:
    u = (np.arange(200_000) + 0.5) / 200_000
    mass = np.full_like(u, 0.99999)  # the most massive galaxies are seen to the limit
    with_evolution, without = (proposal(replace(DEEP, density_dex_per_z=slope)).draw(mass, u)[1] for slope in (0.23, 0))
    edges = np.linspace(0.3, 1.5, 7)
    counts = [np.histogram(z, edges)[0] for z in (with_evolution, without)]
    slope = np.polyfit(0.5 * (edges[1:] + edges[:-1]), np.log10(counts[0] / counts[1]), 1)[0]
    assert slope == pytest.approx(-0.23, abs=0.005)


@pytest.mark.parametrize("name", ["north", "deep"])
def test_cutouts_hold_the_flux_of_the_catalogue(drawn: Mapping[str, Candidates], pack: TemplatePack, name: str) -> None:
    kept = drawn[name].take(np.flatnonzero(drawn[name].kept)[:400])
    appearance = draw_appearance(kept, pack)
    small = appearance.morphology.effective_radius < 1.0
    alone = ~np.any(appearance.neighbours["flux"] > 0, axis=(1, 2)) & (appearance.morphology.merger_flux == 0)
    chosen = kept.take(np.flatnonzero(small & alone)[:6])
    images = noiseless_images(chosen, draw_appearance(chosen, pack))
    assert len(chosen) >= 3
    assert images.sum(axis=(2, 3)) == pytest.approx(chosen.flux, rel=5e-3)  # wings of bulges leave the small stamps


def test_other_bands_lie_between_and_beyond_g_r_z(drawn: Mapping[str, Candidates], pack: TemplatePack) -> None:
    deep = drawn["deep"].take(np.arange(40))
    appearance = draw_appearance(deep, pack)
    young = appearance.morphology.young_share
    assert young.shape == (40, 5)
    assert np.all(np.diff(young, axis=1) <= 0)  # young stars are blue
    flux = appearance.neighbours["flux"]
    assert flux.shape[-1] == 5
    there = flux[flux[..., 0] > 0]
    i = -2.5 * np.log10(there[:, 2])
    r, z = -2.5 * np.log10(there[:, 1]), -2.5 * np.log10(there[:, 3])
    assert np.all((i - r) * (i - z) <= 1e-12)
    assert np.all(flux[flux[..., 0] == 0] == 0)


def test_spectra_reach_the_rest_frame_ultraviolet(drawn: Mapping[str, Candidates], pack: TemplatePack) -> None:
    deep = drawn["deep"]
    far = deep.take(np.argsort(-deep.latents.z)[:8][::-1].copy())
    far = far.take(np.argsort(far.block.candidate))
    clean = noiseless_spectra(far, pack, aperture="total")
    assert far.latents.z.min() > 1.2
    assert np.isfinite(clean).all()
    # the r band of the deep survey sees rest 2100 to 3260 A of galaxies at z = 1.2 to 1.5, steps of 20 A included
    r = seen_by(pack, DEEP).filters["r"].weights(WAVE_ANGSTROM) @ clean.T.astype(float) * 1e-17
    assert 2.5 * np.log10(r / far.flux[:, 1]) == pytest.approx(0, abs=0.003)


def test_long_exposures_have_less_noise_of_sky_and_source() -> None:
    flux, sky = np.array([[0.0, 5.0]], np.float32), np.full((1, 2), 1.0, np.float32)
    short = noise_variance(flux, sky, SOUTH)
    long = noise_variance(flux, sky * np.float32(DEEP.spectrum_noise), DEEP)
    assert long / short == pytest.approx(180 / 1000, rel=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": SOUTH.bands[:2]}, "bands g, r: must be g, r"),
        ({"bands": (*SOUTH.bands, SOUTH.bands[0])}, "each once"),
        ({"selection_band": "u"}, "selection_band=u"),
        ({"bright_limit": 20.0}, r"bright_limit=20\.0"),
        ({"faint_limit": 18.0}, r"faint_limit=18\.0"),
        ({"faint_fraction": 1.5}, r"faint_fraction=1\.5"),
        ({"z_max": 2.5}, r"z_max=2\.5"),
        ({"z_min": 0.0}, r"z_min=0\.0"),
        ({"density_dex_per_z": -1.0}, "density_dex_per_z"),
        ({"envelope": ((12.0, 0.1), (8.0, 0.2))}, "envelope"),
        ({"image_size": 63}, "image_size=63"),
        ({"pixel_scale_arcsec": 0.0}, "pixel_scale_arcsec"),
        ({"error_floor": -0.1}, "error_floor"),
        ({"spectrum_noise": 0.0}, "spectrum_noise"),
        ({"group_redshift_scale": 0.0}, "group_redshift_scale"),
        ({"night": 300}, "night=300"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_flavour_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(SOUTH, **change)  # type: ignore[arg-type]


def test_a_band_without_noise_is_refused() -> None:
    with pytest.raises(UsageError, match="band g: pixel_sigma_nanomaggy=0 must be above 0"):
        Band("g", "decam-g", 1.3, 0, 0.03)


def test_an_unknown_flavour_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="flavour 'west': known are south, north, deep, faint"):
        build_survey(tmp_path / "sim", 5, flavour="west")
    assert isinstance(SOUTH, Flavour)

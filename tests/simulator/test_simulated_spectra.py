"""Simulated spectra against what they were made from: lines, colours, distances, motions and noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.integrate import trapezoid

from benchmark.simulator import cosmology, exposure, fibre, kinematics, spectra
from benchmark.simulator.candidates import Candidates, draw_candidates
from benchmark.simulator.latents import STREAMS, Block
from benchmark.simulator.lines import L_SUN, LINES
from benchmark.simulator.pack import TemplatePack
from benchmark.simulator.photometry import MPC_CM, kpc_per_arcsec
from benchmark.simulator.spectra import N_WAVE, WAVE_ANGSTROM, noiseless_spectra, simulate_spectra

Spectra = np.ndarray


@pytest.fixture(scope="module")
def drawn(pack: TemplatePack) -> Candidates:
    """Some 400 galaxies that the survey keeps."""
    galaxies = draw_candidates(11, 0, 4096, pack)
    return galaxies.take(galaxies.kept)


@pytest.fixture(scope="module")
def total(drawn: Candidates, pack: TemplatePack) -> Spectra:
    return noiseless_spectra(drawn, pack, aperture="total")


@pytest.fixture(scope="module")
def observed(drawn: Candidates, pack: TemplatePack) -> tuple[Spectra, Spectra]:
    return simulate_spectra(drawn, pack)


def without_lines(drawn: Candidates) -> Candidates:
    return dataclasses.replace(drawn, line_luminosity=np.zeros_like(drawn.line_luminosity))


def with_dust(drawn: Candidates, a_v: float) -> Candidates:
    """The same galaxies without lines behind one screen of a_v magnitudes in V."""
    dust = dataclasses.replace(
        drawn.dust, a_v=np.full_like(drawn.dust.a_v, a_v), a_v_birth=np.zeros_like(drawn.dust.a_v_birth)
    )
    return dataclasses.replace(without_lines(drawn), dust=dust)


def dn4000(flux: Spectra, z: np.ndarray) -> np.ndarray:
    """Narrow 4000 A break (Balogh et al. 1999, ApJ 527, 54) from mean f_nu, up to 1.000 for the factor lambda^2."""
    rest = WAVE_ANGSTROM / (1 + z[:, None])
    f_nu = flux * WAVE_ANGSTROM**2
    blue, red = (rest > 3850) & (rest < 3950), (rest > 4000) & (rest < 4100)
    return (f_nu * red).sum(axis=1) / red.sum(axis=1) * blue.sum(axis=1) / (f_nu * blue).sum(axis=1)


def test_spectra_have_the_grid_of_desi_and_are_finite(observed: tuple[Spectra, Spectra], drawn: Candidates) -> None:
    flux, ivar = observed
    assert flux.shape == ivar.shape == (len(drawn), 7781)
    assert flux.dtype == ivar.dtype == np.float32
    assert WAVE_ANGSTROM[[0, -1]] == pytest.approx([3600.0, 9824.0])
    assert np.isfinite(flux).all()
    assert np.isfinite(ivar).all()
    assert (ivar > 0).all()


@pytest.mark.parametrize("band", ["g", "r"])
def test_the_whole_light_of_a_spectrum_has_the_magnitude_of_the_photometry(
    band: str, drawn: Candidates, total: Spectra, pack: TemplatePack
) -> None:
    nanomaggies = total @ (pack.filters[band].weights(WAVE_ANGSTROM) * 1e-17)
    difference = -2.5 * np.log10(nanomaggies / drawn.flux[:, pack.bands.index(band)])
    assert np.abs(difference).max() < 0.01  # 7e-4 in fact: dust at the middle of sixths of the bands


def test_energy_is_spread_over_the_sphere_of_the_luminosity_distance(drawn: Candidates, pack: TemplatePack) -> None:
    # integral of f dlambda times 4 pi d_L^2 is that of L over the same part of the rest frame: each lost (1 + z) shows
    some = with_dust(drawn.take(np.arange(20)), 0.0)
    flux = noiseless_spectra(some, pack, aperture="total")
    for i, z in enumerate(some.latents.z):
        distance_cm = float(cosmology.luminosity_distance_mpc(z)) * MPC_CM
        received = trapezoid(flux[i].astype(np.float64) * 1e-17, WAVE_ANGSTROM) * 4 * np.pi * distance_cm**2
        weights = (some.metallicity.node_weights[i][..., None] * some.history.formed[i][:, None, :]).sum(axis=0)
        emitted = np.tensordot(weights, pack.luminosity, axes=2) * 10.0 ** some.latents.log10_mstar[i]
        fine = np.linspace(3600 / (1 + z), 9824 / (1 + z), 40001)
        expected = trapezoid(np.interp(fine, pack.wave_angstrom, emitted), fine) * L_SUN
        assert received == pytest.approx(expected, rel=2e-3)  # motions move a little light over the ends


def isolated(name: str, drawn: Candidates) -> np.ndarray:
    """Rows whose line is well inside the spectrum and not merged with a neighbour by a wide dispersion."""
    z = drawn.latents.z
    seen = (LINES[name] * (1 + z) > 3700) & (LINES[name] * (1 + z) < 9700)
    return np.flatnonzero(seen & (drawn.latents.log10_mstar < 11))[:40]


@pytest.mark.parametrize("name", ["Hbeta", "OIII_5008", "OIII_4960", "HeI_5877", "Hdelta", "NeIII_3870", "SIII_9071"])
def test_a_line_has_its_flux_place_and_width(name: str, drawn: Candidates, pack: TemplatePack) -> None:
    rows = isolated(name, drawn)
    if name.startswith("SIII"):
        rows = np.flatnonzero(drawn.latents.z < 0.06)
    some = drawn.take(rows)
    z, index = some.latents.z, list(LINES).index(name)
    lines = noiseless_spectra(some, pack, aperture="total").astype(np.float64)
    lines -= noiseless_spectra(without_lines(some), pack, aperture="total")
    centre = LINES[name] * (1 + z[:, None])
    gas = kinematics.draw_kinematics(spectra.spectrum_block(some), some.latents).gas[:, None]
    sigma = np.hypot(gas / 299792.458 * centre, 0.78)
    near = lines * (np.abs(WAVE_ANGSTROM - centre) < 5.5 * sigma)
    flux = near.sum(axis=1) * 0.8
    distance_cm = cosmology.luminosity_distance_mpc(z) * MPC_CM
    expected = some.line_luminosity[:, index] / (4 * np.pi * distance_cm**2) / 1e-17
    assert len(rows) >= 5
    assert flux == pytest.approx(expected, rel=0.01)
    mean = (near * WAVE_ANGSTROM).sum(axis=1) / near.sum(axis=1)
    assert mean == pytest.approx(centre[:, 0], abs=0.05)  # a sixteenth of a pixel: float32 after a large continuum
    width = np.sqrt((near * (WAVE_ANGSTROM - mean[:, None]) ** 2).sum(axis=1) / near.sum(axis=1))
    assert width == pytest.approx(sigma[:, 0], rel=0.03)


def test_all_lines_together_have_their_flux_even_where_they_merge(drawn: Candidates, pack: TemplatePack) -> None:
    some = drawn.take(np.flatnonzero((drawn.latents.z > 0.05) & (drawn.latents.z < 0.3))[:40])
    z = some.latents.z[:, None]
    lines = noiseless_spectra(some, pack).astype(np.float64) - noiseless_spectra(without_lines(some), pack)
    place = np.array(list(LINES.values())) * (1 + z)
    inside = (place > 3700) & (place < 9700)
    share = fibre.fibre_shares(some.latents)[:, 1]
    distance_cm = cosmology.luminosity_distance_mpc(some.latents.z) * MPC_CM
    expected = (some.line_luminosity * inside).sum(axis=1) * share / (4 * np.pi * distance_cm**2) / 1e-17
    at_edge = ((place > 3540) & ~inside & (place < 9884)).any(axis=1)
    assert (lines.sum(axis=1) * 0.8)[~at_edge] == pytest.approx(expected[~at_edge], rel=0.01)


def test_age_raises_the_4000_angstrom_break(drawn: Candidates, pack: TemplatePack) -> None:
    some = with_dust(drawn.take(np.flatnonzero(drawn.latents.z < 0.5)[:8]), 0.0)
    solar = np.zeros_like(some.metallicity.node_weights)
    solar[..., list(pack.metallicity).index(0.02)] = 1.0
    some = dataclasses.replace(some, metallicity=dataclasses.replace(some.metallicity, node_weights=solar))
    breaks = []
    for age in (0.01, 0.1, 0.5, 1.0, 3.0, 10.0):
        formed = np.zeros_like(some.history.formed)
        formed[..., np.abs(pack.age_gyr - age).argmin()] = 1.0
        single = dataclasses.replace(some, history=dataclasses.replace(some.history, formed=formed))
        breaks.append(float(np.median(dn4000(noiseless_spectra(single, pack), some.latents.z))))
    assert np.all(np.diff(breaks) > 0)
    # solar metallicity, Kauffmann et al. 2003, MNRAS 341, 33, figure 2; the templates' break is .1-.25 stronger in old
    # stars (docs/simulator.md)
    assert breaks[0] == pytest.approx(1.0, abs=0.1)
    assert breaks[3] == pytest.approx(1.4, abs=0.15)
    assert breaks[5] == pytest.approx(2.0, abs=0.25)


def test_the_break_follows_age_over_the_population(drawn: Candidates, total: Spectra) -> None:
    rows = drawn.latents.z < 0.5
    breaks = dn4000(total, drawn.latents.z)
    assert np.corrcoef(breaks[rows], drawn.history.age_gyr[rows])[0, 1] > 0.6
    assert np.median(breaks[rows & drawn.latents.quiescent]) > np.median(breaks[rows & ~drawn.latents.quiescent]) + 0.2


def test_dust_dims_and_reddens_as_its_law_says(drawn: Candidates, pack: TemplatePack) -> None:
    some = drawn.take(np.arange(16))
    clear, dusty = (noiseless_spectra(with_dust(some, a_v), pack) for a_v in (0.0, 1.0))
    rest = WAVE_ANGSTROM / (1 + some.latents.z[:, None])
    expected = some.dust.curve(rest)
    dimming = -2.5 * np.log10(dusty / clear)
    # motions mix neighbouring wavelengths after the dust: largest beside the 4000 A break
    assert np.abs(dimming / expected - 1).max() < 0.02
    at_v = np.abs(rest - 5500).argmin(axis=1)
    assert dimming[np.arange(16), at_v] == pytest.approx(1.0, abs=0.002)
    assert np.all(dimming[:, 0] > dimming[:, -1])


def test_metals_deepen_absorption(drawn: Candidates, pack: TemplatePack) -> None:
    some = with_dust(drawn.take(np.flatnonzero(drawn.latents.quiescent & (drawn.latents.z < 0.4))[:16]), 0.0)
    contrast = []
    for metal in range(len(pack.metallicity)):
        weights = np.zeros_like(some.metallicity.node_weights)
        weights[..., metal] = 1.0
        of_metal = dataclasses.replace(some, metallicity=dataclasses.replace(some.metallicity, node_weights=weights))
        flux, rest = noiseless_spectra(of_metal, pack), WAVE_ANGSTROM / (1 + some.latents.z[:, None])
        line = ((rest > 5160) & (rest < 5193)) * flux  # Mg b and its sides, Worthey et al. 1994, ApJS 94, 687
        sides = (((rest > 5118) & (rest < 5143)) | ((rest > 5191) & (rest < 5206))) * flux
        contrast.append(np.median(line.sum(axis=1) / 33 / (sides.sum(axis=1) / 40)))
    assert np.all(np.diff(contrast) < 0)


def test_motions_widen_a_line_and_keep_its_flux() -> None:
    pixel_km_s, speeds = 69.03, np.array([45.0, 60.0, 100.0, 200.0, 380.0])
    line = np.zeros((5, 512), np.float32)
    line[:, 256] = 1.0
    widened = kinematics.broaden(line, speeds, pixel_km_s).astype(np.float64)
    assert widened.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    offset = np.arange(512) - 256
    width = np.sqrt((widened * offset**2).sum(axis=1)) * pixel_km_s
    expected = np.sqrt(np.maximum(speeds**2 - 60.0**2, 0))
    assert width[2:] == pytest.approx(expected[2:], rel=0.01)
    assert np.array_equal(widened[0].round(5), line[0])
    assert np.array_equal(widened[1].round(5), line[1])
    gaussian = np.exp(-0.5 * (offset * pixel_km_s / expected[4]) ** 2)
    assert widened[4] == pytest.approx(gaussian / gaussian.sum(), abs=1e-5)


def test_massive_and_bulged_galaxies_move_faster(drawn: Candidates) -> None:
    moves = kinematics.draw_kinematics(spectra.spectrum_block(drawn), drawn.latents)
    expected = 2.05 + 0.27 * (drawn.latents.log10_mstar - 10.5) + 0.12 * drawn.latents.bulge_fraction
    inside = (10**expected > 70) & (10**expected < 250)  # away from the limits at 45 and 380 km/s
    difference = (np.log10(moves.stars) - expected)[inside]
    assert difference.mean() == pytest.approx(0.0, abs=4 * 0.07 / np.sqrt(inside.sum()))
    assert difference.std() == pytest.approx(0.07, rel=0.15)
    assert moves.stars.min() >= 45
    assert moves.stars.max() <= 380
    assert np.median(moves.gas / moves.stars) == pytest.approx(10**-0.12, rel=0.06)


@pytest.mark.parametrize("radius", [0.3, 1.0, 3.0])
def test_the_fibre_catches_the_photons_that_land_in_it(radius: float) -> None:
    # an exponential disc seen face-on and a star, photon by photon, blurred by a Gaussian of 1.15 arcsec
    rng = np.random.default_rng(0)
    distance, angle = rng.gamma(2.0, radius / 1.67835, 400_000), rng.uniform(0, 2 * np.pi, 400_000)
    blur = rng.normal(0, 1.15 / 2.35482, (2, 400_000))
    inside = np.hypot(distance * np.cos(angle) + blur[0], distance * np.sin(angle) + blur[1]) < 0.75
    star = np.hypot(*blur) < 0.75
    scatter = np.sqrt(1 / inside.sum() + 1 / star.sum())
    assert fibre.share_of_profile(radius, 1) == pytest.approx(inside.mean() / star.mean(), rel=4 * scatter)


def test_a_point_source_is_caught_like_a_star_and_larger_ones_less() -> None:
    for sersic in (1, 4):
        assert fibre.share_of_profile(1e-3, sersic) == pytest.approx(1.0, abs=2e-3)
        sizes = [fibre.share_of_profile(radius, sersic) for radius in (0.1, 0.3, 1.0, 3.0, 10.0)]
        assert np.all(np.diff(sizes) < 0)


def test_edge_on_discs_give_more_of_their_light_to_the_fibre(drawn: Candidates) -> None:
    face, edge = (
        dataclasses.replace(drawn.latents, cos_inclination=np.full(len(drawn), cos_i)) for cos_i in (1.0, 0.05)
    )
    assert (fibre.fibre_shares(edge)[:, 1] > fibre.fibre_shares(face)[:, 1]).all()
    scale = kpc_per_arcsec(drawn.latents.z[3:4])
    alone = fibre.share_of_profile(float(drawn.latents.disc_kpc[3] / scale[0]), 1)
    assert fibre.fibre_shares(face)[3, 1] == pytest.approx(alone, rel=2e-3)  # linear between nodes 6 % apart


def test_fibre_magnitudes_are_about_one_fainter_than_total_ones(
    drawn: Candidates, total: Spectra, pack: TemplatePack
) -> None:
    weights = pack.filters["r"].weights(WAVE_ANGSTROM)
    fainter = -2.5 * np.log10((noiseless_spectra(drawn, pack) @ weights) / (total @ weights))
    assert 0.8 < np.median(fainter) < 1.4  # 1.0-1.4 in BGS (Hahn et al. 2023, AJ 165, 253)
    assert (fainter > 0).all()
    radius = drawn.latents.disc_kpc / kpc_per_arcsec(drawn.latents.z)
    assert np.corrcoef(fainter, np.log(radius))[0, 1] > 0.5


def test_the_signal_to_noise_of_magnitudes_is_that_of_the_survey(
    observed: tuple[Spectra, Spectra], drawn: Candidates
) -> None:
    per_pixel = np.median(observed[0] * np.sqrt(observed[1]), axis=1)
    for mag, expected in {18.5: 2.6, 19.0: 1.8, 19.5: 1.35, 20.0: 0.9}.items():
        near = np.abs(drawn.mag_r - mag) < 0.2
        # galaxies of one magnitude differ by a factor 1.5 (size, colour, sky), and there are 40 of them
        assert np.median(per_pixel[near]) == pytest.approx(expected, rel=0.25)


@pytest.fixture(scope="module")
def repeated(drawn: Candidates, pack: TemplatePack) -> tuple[Spectra, Spectra, Spectra, Spectra]:
    """One bright star-forming galaxy 600 times: true flux, flux and ivar before calibration, and its factors."""
    halpha = drawn.line_luminosity[:, list(LINES).index("Halpha")] / 10.0**drawn.latents.log10_mstar
    bright = int(np.argmax(np.where(drawn.mag_r < 18, halpha, 0)))
    clean = noiseless_spectra(drawn.take(np.array([bright])), pack)
    block = Block(5, 0, 600, stream=STREAMS["spectrum"], names=spectra._DRAWS)
    flux, ivar = exposure.expose(block, 5, np.repeat(clean, 600, axis=0), WAVE_ANGSTROM, pack.sky_lines)
    factor = exposure.calibration_factor(block, WAVE_ANGSTROM)
    return clean[0], flux / factor, ivar * factor**2, factor


def test_the_inverse_variance_is_that_of_the_noise(repeated: tuple[Spectra, ...], pack: TemplatePack) -> None:
    clean, flux, ivar, _ = repeated  # calibration undone in both
    chi = (flux - clean) * np.sqrt(ivar)
    assert chi.mean() == pytest.approx(0.0, abs=0.005)
    # flux that scatters below zero counts as zero in the variance: up to 2 % too large, chi up to 1 % too small
    assert chi.std() == pytest.approx(1.0, abs=0.015)
    # each galaxy by itself: sqrt(2 / 7781) = .016 by chance, .1 were the calibration's factor left in or taken out once
    assert (chi.astype(np.float64) ** 2).mean(axis=1).std() < 0.025
    regions = {
        "sky lines": pack.sky_lines > 2,
        "blue": WAVE_ANGSTROM < 4000,
        "red": WAVE_ANGSTROM > 9300,
        "emission lines": clean > 3 * np.median(clean),
    }
    for name, region in regions.items():
        assert region.sum() > 10, name
        # the neighbours' mean lowers the variance in the middle of a line and raises it beside
        tolerance = 0.06 if name == "emission lines" else 0.02
        assert chi[:, region].std() == pytest.approx(1.0, abs=tolerance), name
    assert np.abs(np.corrcoef(chi[:, ::200], rowvar=False) - np.eye(39)).max() < 5 / np.sqrt(600)


def test_the_inverse_variance_does_not_give_the_true_spectrum_away(
    repeated: tuple[Spectra, ...], pack: TemplatePack
) -> None:
    clean, _, ivar, _ = repeated
    block = Block(5, 0, 600, stream=STREAMS["spectrum"], names=spectra._DRAWS)
    sky = exposure.sky_sigma(block, WAVE_ANGSTROM, pack.sky_lines)
    read_off = (1 / ivar / sky - sky) / exposure.SOURCE_NOISE  # even by one who knows the sky exactly
    error = ((read_off - clean) / sky)[:, 1000:7000].std(axis=1)
    assert (error > 0.4).all()  # 1 / sqrt(4) = .5 of a pixel's noise, less where negative fluxes are cut


def test_sky_lines_raise_the_noise_and_stand_where_they_are_known(pack: TemplatePack) -> None:
    block = Block(5, 0, 600, stream=STREAMS["spectrum"], names=spectra._DRAWS)
    empty = np.zeros((600, N_WAVE), np.float32)
    scatter = exposure.expose(block, 5, empty, WAVE_ANGSTROM, pack.sky_lines)[0].std(axis=0)
    line, beside = np.abs(WAVE_ANGSTROM - 5578.9).argmin(), np.abs(WAVE_ANGSTROM - 5600).argmin()
    assert scatter[line] / scatter[beside] == pytest.approx(4.3, abs=0.6)
    for wave in (5578.9, 6302.0, 6365.5):  # [OI] of the night sky, vacuum (Osterbrock et al. 1996, PASP 108, 277)
        near = np.abs(WAVE_ANGSTROM - wave) < 15
        assert WAVE_ANGSTROM[near][pack.sky_lines[near].argmax()] == pytest.approx(wave, abs=0.9)
    assert (pack.sky_lines >= 0).all()
    assert pack.sky_lines[WAVE_ANGSTROM < 5000].max() < 0.2  # the forest begins in the red
    assert np.quantile(pack.sky_lines, 0.99) == pytest.approx(1.0, abs=0.01)


def test_the_calibration_is_off_by_a_few_per_cent_smoothly(repeated: tuple[Spectra, ...]) -> None:
    factor = repeated[3].astype(np.float64)
    assert factor.mean() == pytest.approx(1.0, abs=4 * 0.05 / np.sqrt(600))
    middle, red = np.abs(WAVE_ANGSTROM - 6700).argmin(), np.abs(WAVE_ANGSTROM - 9800).argmin()
    assert factor[:, middle].std() == pytest.approx(np.hypot(0.05, 0.02 * 0.33), rel=0.12)
    assert factor[:, red].std() == pytest.approx(np.sqrt(0.05**2 + 0.03**2 + (0.02 * 0.67) ** 2), rel=0.12)
    assert np.abs(np.diff(factor, axis=1)).max() < 1e-4


@pytest.mark.parametrize("rows", [[7], [7, 8, 9], [40, 7, 3], list(range(37)), list(range(20, 0, -1))])
def test_a_spectrum_is_the_same_in_any_company(
    rows: list[int], drawn: Candidates, observed: tuple[Spectra, Spectra], pack: TemplatePack
) -> None:
    for part, whole in zip(simulate_spectra(drawn.take(np.array(rows)), pack), observed, strict=True):
        assert np.array_equal(part, whole[rows])


def test_a_spectrum_follows_from_seed_and_candidate_number(drawn: Candidates, pack: TemplatePack) -> None:
    number = int(drawn.block.candidate[5])
    alone = simulate_spectra(draw_candidates(11, number, 1, pack), pack)[0]
    assert np.array_equal(alone, simulate_spectra(drawn.take(np.array([5])), pack)[0])
    other = simulate_spectra(draw_candidates(12, number, 1, pack), pack)[0]
    assert not np.isclose(alone, other, rtol=1e-3).all()


def test_no_two_galaxies_share_their_noise(drawn: Candidates) -> None:
    noise = exposure.pixel_noise(0, np.array([0, 1, 2, 10**9 - 1]), N_WAVE)
    apart = np.corrcoef(noise) - np.eye(4)
    assert np.abs(apart).max() < 5 / np.sqrt(N_WAVE)
    assert np.abs(np.corrcoef(noise[0, 1:], noise[1, :-1])[0, 1]) < 5 / np.sqrt(N_WAVE)
    assert noise.std() == pytest.approx(1.0, abs=5 / np.sqrt(2 * noise.size))
    assert np.array_equal(noise[1], exposure.pixel_noise(0, np.array([1]), N_WAVE)[0])
    assert not np.isin(noise[0], exposure.pixel_noise(1, np.array([0]), N_WAVE)).all()


def test_no_galaxies_have_no_spectra(drawn: Candidates, pack: TemplatePack) -> None:
    flux, ivar = simulate_spectra(drawn.take(np.array([], dtype=np.intp)), pack)
    assert flux.shape == ivar.shape == (0, N_WAVE)

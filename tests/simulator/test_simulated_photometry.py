"""Fluxes from the tables against full spectra integrated directly, and what dust, age and noise do to magnitudes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.integrate import trapezoid

from benchmark.simulator import cosmology, photometry
from benchmark.simulator.candidates import Candidates as Drawn
from benchmark.simulator.candidates import draw_candidates
from benchmark.simulator.dust import BIRTH_CLOUD_GYR, Dust
from benchmark.simulator.flavours import FLAVOURS, SOUTH
from benchmark.simulator.lines import L_SUN, LINES
from benchmark.simulator.pack import TemplatePack, seen_by
from benchmark.simulator.photometry import (
    band_tables,
    catalogue_block,
    line_fluxes,
    magnitudes,
    observe,
    stellar_fluxes,
)

if TYPE_CHECKING:
    from conftest import Candidates


def fluxes(candidates: Candidates, pack: TemplatePack, dust: Dust) -> np.ndarray:
    return stellar_fluxes(candidates.latents, candidates.history, candidates.metallicity, dust, band_tables(pack))


def spectrum(candidates: Candidates | Drawn, pack: TemplatePack, i: int, component: int) -> np.ndarray:
    """Rest-frame luminosity of a component in erg/s/A with dust at every wavelength, no tables."""
    mass = 10 ** candidates.latents.log10_mstar[i] * candidates.history.formed[i, component]
    weights = candidates.metallicity.node_weights[i, component][:, None] * mass
    curve = replace(candidates.dust, slope=candidates.dust.slope[i : i + 1]).curve(pack.wave_angstrom)[0]
    total = np.zeros_like(pack.wave_angstrom)
    for chosen, extra in ((pack.age_gyr < BIRTH_CLOUD_GYR, 1.0), (pack.age_gyr >= BIRTH_CLOUD_GYR, 0.0)):
        screen = candidates.dust.a_v[i, component] + extra * candidates.dust.a_v_birth[i]
        stars = np.einsum("ma,maw->w", weights[:, chosen], pack.luminosity[:, chosen].astype(float))
        total += stars * 10 ** (-0.4 * screen * curve)
    return total * L_SUN


@pytest.mark.parametrize("name", FLAVOURS)
def test_table_fluxes_equal_direct_integration_of_the_spectrum(name: str, pack: TemplatePack) -> None:
    candidates = draw_candidates(7, 0, 4000, pack, FLAVOURS[name])
    table, pack = candidates.stars, seen_by(pack, FLAVOURS[name])
    for i in range(0, 4000, 200 if name == "south" else 400):
        z = candidates.latents.z[i]
        distance_cm = float(cosmology.luminosity_distance_mpc(z)) * 3.0856775814913673e24
        for component in (0, 1):
            if candidates.latents.bulge_fraction[i] == 0 and component == 0:
                continue
            f_lambda = spectrum(candidates, pack, i, component) / (4 * np.pi * distance_cm**2 * (1 + z))
            for k, curve in enumerate(pack.filters.values()):
                fine = np.arange(curve.wave_angstrom[0], curve.wave_angstrom[-1], 0.5)
                response = np.interp(fine, curve.wave_angstrom, curve.response)
                photons = trapezoid(np.interp(fine, pack.wave_angstrom * (1 + z), f_lambda) * response * fine, fine)
                ab = 2.99792458e18 * trapezoid(response / fine, fine) * 3.631e-29
                # six sub-bands for the dust, dz = .004 between nodes, templates averaged over 4 pixels: .5 % at most
                assert table[i, component, k] == pytest.approx(photons / ab, rel=0.005)


def test_dust_dims_and_reddens(candidates: Candidates, pack: TemplatePack) -> None:
    dust = candidates.dust
    dusty = replace(dust, a_v=dust.a_v + 0.5)
    before, after = (fluxes(candidates, pack, d).sum(axis=1) for d in (dust, dusty))
    assert (after < before).all()
    dimming = -2.5 * np.log10(after / before)
    assert (dimming[:, 0] > dimming[:, 1]).all()
    assert (dimming[:, 1] > dimming[:, 2]).all()
    assert np.median(dimming[:, 1]) == pytest.approx(0.5, abs=0.15)  # r sees rest 4000-6400 A, about V


def test_birth_clouds_touch_young_stars_only(candidates: Candidates, pack: TemplatePack) -> None:
    thick = replace(candidates.dust, a_v_birth=np.full(4000, 30.0))
    none = replace(candidates.dust, a_v_birth=np.zeros(4000))
    left = fluxes(candidates, pack, thick)[:, 1] / fluxes(candidates, pack, none)[:, 1]  # of the discs' light
    assert (left <= 1).all()
    assert (left[:, 0] <= left[:, 2] + 1e-6).all()  # young stars are blue
    quiescent = candidates.latents.quiescent
    assert np.median(left[quiescent, 1]) > 0.95 > np.median(left[~quiescent, 1]) > 0.8


def test_emission_lines_fall_into_the_band_where_they_are_observed(pack: TemplatePack) -> None:
    luminosity = np.zeros((3, len(LINES)))
    luminosity[:, list(LINES).index("Halpha")] = 1e41
    flux = line_fluxes(np.array([0.02, 0.1, 0.35]), luminosity, pack)
    assert (flux[:, 0] == 0).all()
    assert flux[0, 1] > 0  # r at 6696 A
    assert flux[0, 2] == 0
    assert flux[2, 1] == 0
    assert flux[2, 2] > 0  # z at 8862 A


def test_a_line_adds_as_much_as_a_narrow_gaussian_in_the_spectrum(pack: TemplatePack) -> None:
    luminosity = np.zeros((1, len(LINES)))
    luminosity[0, list(LINES).index("Hbeta")] = 3e40
    z = np.array([0.2])
    observed = LINES["Hbeta"] * 1.2
    received = 3e40 / (4 * np.pi * (cosmology.luminosity_distance_mpc(z)[0] * 3.0856775814913673e24) ** 2)
    wave = np.arange(observed - 60, observed + 60, 0.25)
    f_lambda = received * np.exp(-0.5 * ((wave - observed) / 4) ** 2) / (4 * np.sqrt(2 * np.pi))
    expected = pack.filters["r"].weights(wave) @ f_lambda
    assert line_fluxes(z, luminosity, pack)[0, 1] == pytest.approx(expected, rel=0.01)  # the curve bends within 4 A


def test_the_noise_has_the_standard_deviation_that_is_reported() -> None:
    block, flux, radius = catalogue_block(3, np.arange(4000)), np.full((4000, 3), [0.5, 5.0, 50.0]), np.full(4000, 1.5)
    noisy, sigma = observe(block, flux, radius)
    expected = [np.hypot(s * np.sqrt(2), SOUTH.error_floor * f) for s, f in ((0.03, 0.5), (0.06, 5.0), (0.14, 50.0))]
    assert sigma[0] == pytest.approx(expected)
    pull = (noisy - flux) / sigma
    assert pull.mean(axis=0) == pytest.approx(0, abs=4 / np.sqrt(4000))
    assert pull.std(axis=0) == pytest.approx(1, abs=4 / np.sqrt(8000))
    assert np.abs(np.corrcoef(pull.T) - np.eye(3)).max() < 4 / np.sqrt(4000)


def test_magnitudes_are_missing_where_the_flux_is_not_positive() -> None:
    mag, error = magnitudes(np.array([[1.0, 0.0, -2.0, 100.0]]), np.full((1, 4), 0.1))
    assert mag[0] == pytest.approx([22.5, np.nan, np.nan, 17.5], nan_ok=True)
    assert error[0] == pytest.approx([0.108574, np.nan, np.nan, 0.00108574], rel=1e-5, nan_ok=True)


def test_larger_galaxies_are_noisier() -> None:
    block, flux = catalogue_block(3, np.arange(2)), np.full((2, 3), 5.0)
    _, sigma = observe(block, flux, np.array([0.5, 5.0]))
    assert (sigma[1] > sigma[0]).all()


def test_the_half_light_radius_lies_between_those_of_bulge_and_disc(candidates: Candidates) -> None:
    n = len(candidates.latents.z)
    disc, half, bulge = (photometry.effective_radius_arcsec(candidates.latents, np.full(n, s)) for s in (0.0, 0.5, 1.0))
    assert half == pytest.approx(np.sqrt(disc * bulge))
    assert (bulge >= photometry.MIN_BULGE_ARCSEC).all()
    z = candidates.latents.z
    kpc_per_arcsec = cosmology.luminosity_distance_mpc(z) / (1 + z) ** 2 / 206.264806
    assert disc * kpc_per_arcsec == pytest.approx(candidates.latents.disc_kpc)

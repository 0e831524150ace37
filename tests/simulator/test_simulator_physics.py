"""Cosmology, star-formation histories, metallicity, dust and lines against published or analytic values."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.integrate import quad

from benchmark.simulator import cosmology, lines
from benchmark.simulator.dust import Dust, calzetti
from benchmark.simulator.lines import LINES, LineTemplates, draw_lines
from benchmark.simulator.metallicity import HIGHEST, LOWEST, soft_limit
from benchmark.simulator.pack import TemplatePack
from benchmark.simulator.sfh import AgeBins, delayed_exponential, remaining_fraction

if TYPE_CHECKING:
    from conftest import Candidates


@pytest.mark.parametrize(
    ("z", "d_l_mpc", "age_gyr"),  # astropy 7 FlatLambdaCDM(H0=67.74, Om0=.3089, Tcmb0=0)
    [
        (0.01, 44.595140972634084, 13.65942325926174),
        (0.1, 475.34119051355304, 12.458883891622882),
        (0.3, 1601.4200030528104, 10.276885500165045),
        (0.6, 3634.9313991929043, 7.921977720085574),
        (1.5, 11199.033886754076, 4.2818533851633545),
    ],
)
def test_distances_and_ages_equal_those_of_astropy(z: float, d_l_mpc: float, age_gyr: float) -> None:
    assert cosmology.luminosity_distance_mpc(np.array(z)) == pytest.approx(d_l_mpc, rel=1e-6)
    assert cosmology.distance_modulus(np.array(z)) == pytest.approx(5 * np.log10(d_l_mpc) + 25, abs=1e-5)
    assert cosmology.age_gyr(np.array(z)) == pytest.approx(age_gyr, rel=1e-6)


def test_the_surviving_fraction_is_that_of_a_chabrier_population() -> None:
    # Behroozi et al. 2013 eq. 14; Bruzual & Charlot 2003 leave .56-.60 of the mass after 5-10 Gyr
    ages = np.array([0.0, 0.0014, 0.1, 1.0, 10.0])
    assert remaining_fraction(ages) == pytest.approx([1.0, 0.96534, 0.78587, 0.67137, 0.55630], abs=1e-5)


def test_a_delayed_exponential_puts_the_mass_where_quadrature_puts_it(pack: TemplatePack) -> None:
    bins = AgeBins(pack.age_gyr)
    duration, tau = 9.0, 2.5
    share = delayed_exponential(bins.edges_gyr, np.array([duration]), np.array([tau]))[0]

    def rate(age: float) -> float:
        since_start = duration - age
        return since_start * np.exp(-since_start / tau)

    edges = np.minimum(bins.edges_gyr, duration)
    whole = quad(rate, 0, duration)[0]
    expected = [quad(rate, lo, hi)[0] / whole for lo, hi in pairwise(edges)]
    assert share == pytest.approx(expected, rel=1e-9, abs=1e-14)


def test_the_age_bins_cover_time_once(pack: TemplatePack) -> None:
    bins = AgeBins(pack.age_gyr)
    assert bins.overlap_gyr(1.0).sum() == pytest.approx(1.0)
    assert np.all((bins.edges_gyr[:-1] < pack.age_gyr) & (pack.age_gyr < bins.edges_gyr[1:]))


def test_every_history_leaves_one_solar_mass_and_none_is_older_than_the_universe(
    candidates: Candidates, pack: TemplatePack
) -> None:
    bins, formed = AgeBins(pack.age_gyr), candidates.history.formed
    assert np.sum(formed * bins.remaining, axis=(1, 2)) == pytest.approx(1.0, rel=1e-12)
    assert (formed >= 0).all()
    bulge = np.sum(formed[:, 0] * bins.remaining, axis=1)
    assert bulge == pytest.approx(candidates.latents.bulge_fraction, abs=1e-12)
    assert (candidates.history.age_gyr < cosmology.age_gyr(candidates.latents.z)).all()


def test_specific_rates_equal_formed_mass_by_surviving_mass_by_hand(candidates: Candidates, pack: TemplatePack) -> None:
    # one galaxy worked by hand: bins wholly below 1 Gyr, and the part of the bin that holds 1 Gyr
    formed = candidates.history.formed[11].sum(axis=0)
    edges = AgeBins(pack.age_gyr).edges_gyr
    last = np.searchsorted(edges, 1.0) - 1
    part = (1.0 - edges[last]) / (edges[last + 1] - edges[last])
    expected = (formed[:last].sum() + part * formed[last]) / 1e9
    assert candidates.history.ssfr_per_yr[11] == pytest.approx(expected, rel=1e-12)


def test_quiescent_galaxies_are_older_and_form_fewer_stars(candidates: Candidates) -> None:
    quiescent = candidates.latents.quiescent
    age, rate = candidates.history.age_gyr, np.log10(candidates.history.ssfr_per_yr)
    assert np.median(age[quiescent]) > np.median(age[~quiescent]) + 1.5
    assert np.median(rate[quiescent]) < np.median(rate[~quiescent]) - 0.7
    assert rate.min() > -13.1  # the residual star formation is at least 1e-13 / yr


def test_the_soft_limit_keeps_the_middle_and_never_reaches_the_ends() -> None:
    x = np.linspace(-4, 3, 701)
    y = soft_limit(x)
    middle = (x > -1.1) & (x < -0.1)
    assert y[middle] == pytest.approx(x[middle], abs=0.003)
    inside = (x > -3) & (x < 2)  # further out float64 itself has no room left below the limits
    assert np.all(np.diff(y[inside]) > 0)
    assert y[inside].min() > LOWEST
    assert y[inside].max() < HIGHEST


def test_template_weights_reproduce_the_metallicity_they_stand_for(candidates: Candidates, pack: TemplatePack) -> None:
    weights, nodes = candidates.metallicity.node_weights, np.log10(pack.metallicity / pack.z_sun)
    assert weights.sum(axis=-1) == pytest.approx(1.0)
    assert weights.min() >= 0
    assert (np.count_nonzero(weights, axis=-1) <= 2).all()
    assert weights @ nodes == pytest.approx(candidates.metallicity.component)


def test_the_calzetti_law_has_its_published_values() -> None:
    # k(lambda) worked from eq. 4 of Calzetti et al. 2000 by hand calculator; R_V = 4.05 at V
    wave = np.array([1500.0, 2000.0, 3000.0, 4400.0, 5500.0, 7000.0, 10000.0, 22000.0])
    expected = [10.334, 8.873, 6.925, 5.060, 4.048, 3.063, 1.878, 0.369]
    assert calzetti(wave) == pytest.approx(expected, abs=1e-3)


def test_the_dust_curve_is_one_in_v_and_steeper_for_negative_slopes() -> None:
    dust = Dust(np.ones((3, 2)), np.ones(3), np.array([-0.5, 0.0, 0.3]))
    curve = dust.curve(np.array([2500.0, 5500.0, 9000.0]))
    assert curve[:, 1] == pytest.approx(1.0)
    assert curve[0, 0] > curve[1, 0] > curve[2, 0] > 1
    assert curve[0, 2] < curve[1, 2] < curve[2, 2] < 1


def test_discs_are_dustier_edge_on_and_quiescent_galaxies_are_cleaner(candidates: Candidates) -> None:
    a_v, latents = candidates.dust.a_v, candidates.latents
    disc = a_v[:, 1] / a_v[:, 0] * 0.45 / 0.75
    assert disc == pytest.approx(1 + 1.1 * (1 - latents.cos_inclination) ** 1.5)
    assert np.median(a_v[latents.quiescent, 1]) < np.median(a_v[~latents.quiescent, 1])


def test_hydrogen_lines_show_case_b_behind_the_dust(candidates: Candidates, pack: TemplatePack) -> None:
    c = candidates
    luminosity = draw_lines(c.block, c.latents, c.history, c.metallicity, c.dust, LineTemplates(pack))
    names = list(LINES)
    clean = Dust(c.dust.a_v * 0, c.dust.a_v_birth * 0, c.dust.slope)
    intrinsic = draw_lines(c.block, c.latents, c.history, c.metallicity, clean, LineTemplates(pack))
    ratio = intrinsic[:, names.index("Halpha")] / intrinsic[:, names.index("Hbeta")]
    assert ratio == pytest.approx(2.86)
    decrement = luminosity[:, names.index("Halpha")] / luminosity[:, names.index("Hbeta")]
    assert (decrement > 2.86).all()
    doublet = intrinsic[:, names.index("OIII_5008")] / intrinsic[:, names.index("OIII_4960")]
    assert doublet == pytest.approx(2.98)
    screen = c.dust.a_v[:, 1] + c.dust.a_v_birth
    expected = intrinsic[:, 10] * 10 ** (-0.4 * screen * c.dust.curve(lines.WAVES)[:, 10])
    assert luminosity[:, 10] == pytest.approx(expected)


def test_metal_lines_follow_the_gas_metallicity(candidates: Candidates, pack: TemplatePack) -> None:
    c = candidates
    luminosity = draw_lines(c.block, c.latents, c.history, c.metallicity, c.dust, LineTemplates(pack))
    names = list(LINES)
    nitrogen = np.log10(luminosity[:, names.index("NII_6585")] / luminosity[:, names.index("Halpha")])
    oxygen = np.log10(luminosity[:, names.index("OIII_5008")] / luminosity[:, names.index("Hbeta")])
    forming = ~c.latents.quiescent
    assert np.corrcoef(nitrogen[forming], c.metallicity.component[forming, 1])[0, 1] > 0.6
    assert np.corrcoef(oxygen[forming], c.metallicity.component[forming, 1])[0, 1] < -0.5

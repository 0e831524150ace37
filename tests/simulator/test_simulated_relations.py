"""Relations between properties of simulated galaxies, beside those of real ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import gammainc

from benchmark.simulator import cosmology
from benchmark.simulator.candidates import Candidates, draw_candidates
from benchmark.simulator.lines import LINES, _hii_ratios, oxygen_abundance
from benchmark.simulator.pack import TemplatePack

NAMES = list(LINES)


@pytest.fixture(scope="module")
def seen(pack: TemplatePack) -> Candidates:
    """Some 2,000 galaxies of the survey."""
    drawn = draw_candidates(31, 0, 24_000, pack)
    return drawn.take(drawn.kept)


def kauffmann(log10_nii_halpha: np.ndarray) -> np.ndarray:
    """log10 [OIII]/Hb above which galaxies do not only form stars: Kauffmann et al. 2003, MNRAS 346, 1055, eq. 1."""
    return np.where(log10_nii_halpha < 0, 0.61 / (np.minimum(log10_nii_halpha, 0.0) - 0.05) + 1.3, -np.inf)


def bpt(drawn: Candidates) -> tuple[np.ndarray, np.ndarray]:
    line = {name: drawn.line_luminosity[:, NAMES.index(name)] for name in NAMES}
    return np.log10(line["NII_6585"] / line["Halpha"]), np.log10(line["OIII_5008"] / line["Hbeta"])


def test_hii_regions_lie_below_the_demarcation_of_the_bpt_diagram(seen: Candidates) -> None:
    forming = seen.take(~seen.latents.quiescent)
    ratio = {k: np.log10(v) for k, v in _hii_ratios(forming.block, forming.latents, forming.metallicity).items()}
    assert np.mean(ratio["oiii_hbeta"] > kauffmann(ratio["nii_halpha"])) < 0.10
    for nii in (-0.5, -0.65, -0.8, -1.1):
        near = np.abs(ratio["nii_halpha"] - nii) < 0.08
        ridge = 0.61 / (nii + 0.08) + 1.1  # of SDSS: Kewley et al. 2013, ApJ 774, L10, eq. 3
        assert np.median(ratio["oiii_hbeta"][near]) == pytest.approx(ridge, abs=0.15), nii


def test_old_stars_and_nuclei_lift_galaxies_above_it(seen: Candidates) -> None:
    nii, oiii = bpt(seen)
    above = oiii > kauffmann(nii)
    quiescent = seen.latents.quiescent
    assert above[quiescent].mean() > 0.85
    assert 0.08 < above[~quiescent].mean() < 0.27  # a fifth of SDSS galaxies with strong lines are composite or active


def test_gas_is_richer_in_massive_galaxies_as_observed() -> None:
    # Tremonti-like flattening on the direct scale: Curti et al. 2020, MNRAS 491, 944, figure 2
    found = oxygen_abundance(np.array([8.0, 9.0, 10.0, 11.0]))
    assert found == pytest.approx([8.22, 8.50, 8.72, 8.79], abs=0.02)


@pytest.mark.parametrize("log10_mstar", [9.0, 9.5, 10.0, 10.5])
def test_star_forming_galaxies_lie_on_the_main_sequence(seen: Candidates, log10_mstar: float) -> None:
    latents = seen.latents
    near = ~latents.quiescent & ~latents.transition & (np.abs(latents.log10_mstar - log10_mstar) < 0.2)
    age = cosmology.age_gyr(np.median(latents.z[near]))
    # Speagle et al. 2014, ApJS 214, 15, eq. 28; theirs are rates of 100 Myr, and the cut in r prefers high rates
    expected = (0.84 - 0.026 * age) * log10_mstar - (6.51 - 0.11 * age) - log10_mstar
    rate = np.log10(seen.history.ssfr_per_yr[near])
    assert np.median(rate) == pytest.approx(expected, abs=0.17)
    assert 0.15 < np.subtract(*np.quantile(rate, [0.84, 0.16])) / 2 < 0.40  # .2-.35 dex of scatter


def test_the_red_sequence_is_narrow_and_of_the_observed_colour(seen: Candidates) -> None:
    latents = seen.latents
    colour = -2.5 * np.log10(seen.flux[:, 0] / seen.flux[:, 1])
    for z, observed in ((0.12, 0.93), (0.185, 1.14), (0.26, 1.39)):  # ridge of SDSS Stripe 82
        rows = latents.quiescent & (latents.log10_mstar > 10.4) & (np.abs(latents.z - z) < 0.035)
        trend = np.polyfit(latents.z[rows], colour[rows], 1)
        off = colour[rows] - np.polyval(trend, latents.z[rows])
        assert np.polyval(trend, z) == pytest.approx(observed, abs=0.14)  # .03 of it by the templates
        assert np.subtract(*np.quantile(off, [0.84, 0.16])) / 2 < 0.11


def test_more_massive_and_dense_galaxies_are_more_often_quiescent(pack: TemplatePack) -> None:
    latents = draw_candidates(32, 0, 20_000, pack).latents
    share = [latents.quiescent[np.abs(latents.log10_mstar - m) < 0.15].mean() for m in (9.5, 10.0, 10.5, 11.0)]
    assert np.all(np.diff(share) > 0.05)
    assert share[1] == pytest.approx(0.28, abs=0.10)  # Baldry et al. 2006, MNRAS 373, 469: a quarter, then five sixths
    assert share[3] == pytest.approx(0.86, abs=0.08)
    massive = np.abs(latents.log10_mstar - 10.3) < 0.3
    assert latents.quiescent[massive & latents.dense].mean() > latents.quiescent[massive & ~latents.dense].mean() + 0.1


@pytest.mark.parametrize(
    ("quiescent", "log10_mstar"), [(False, 9.5), (False, 10.0), (False, 10.6), (True, 10.5), (True, 11.0), (True, 11.3)]
)
def test_sizes_follow_those_of_sdss(seen: Candidates, quiescent: bool, log10_mstar: float) -> None:
    latents = seen.latents
    rows = np.flatnonzero((latents.quiescent == quiescent) & (np.abs(latents.log10_mstar - log10_mstar) < 0.2))[:60]
    share = seen.stars[rows, 0, 1] / seen.flux[rows, 1]
    radius = np.array(
        [_half_light(*sizes) for sizes in zip(share, latents.bulge_kpc[rows], latents.disc_kpc[rows], strict=True)]
    )
    cos2 = latents.cos_inclination[rows] ** 2
    ratio = np.sqrt(cos2 + 0.7**2 * (1 - cos2)) ** share * np.sqrt(cos2 + 0.2**2 * (1 - cos2)) ** (1 - share)
    mass = 10.0**log10_mstar  # Shen et al. 2003, MNRAS 343, 978: circular half-light radii in kpc
    late = 0.1 * mass**0.14 * (1 + mass / 3.98e10) ** 0.25
    expected = 2.88e-6 * mass**0.56 if quiescent else late
    # .2 dex of scatter: .026 in the median of 60; r band instead of z and no colour gradient: .05
    assert np.log10(np.median(radius * np.sqrt(ratio)) / expected) == pytest.approx(0.0, abs=0.12)


def _half_light(bulge_share: float, bulge_kpc: float, disc_kpc: float) -> float:
    """Radius that holds half of a de Vaucouleurs bulge and an exponential disc, both round."""

    def missing(radius: float) -> float:
        bulge = gammainc(8, 7.6692494 * (radius / bulge_kpc) ** 0.25)
        disc = gammainc(2, 1.6783470 * radius / disc_kpc)
        return bulge_share * bulge + (1 - bulge_share) * disc - 0.5

    return brentq(missing, 1e-3, 500.0)

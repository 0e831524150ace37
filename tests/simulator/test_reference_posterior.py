"""The reference posterior: exact where the exact one is known, calibrated on galaxies of the simulator itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest

from benchmark.contracts import UsageError
from benchmark.simulator import Pool, ReferenceDraws, draw_pool, labels, photometry, reference_posterior, simulate
from benchmark.simulator.candidates import draw_candidates
from benchmark.simulator.flavours import SOUTH, Flavour
from benchmark.simulator.labels import TARGETS
from benchmark.simulator.pack import load_pack
from benchmark.simulator.pool import FIRST_UNIVERSE
from benchmark.simulator.selection import mass_function
from benchmark.simulator.survey import MAX_SEED
from posteriors.calibration.tarp import expected_coverage

TRUTH = ["z", "log10_mstar", "ln_z_mw", "t_age_gyr", "log10_ssfr"]
NAMES = [target.name for target in TARGETS]


def _mags(flux):
    return 22.5 - 2.5 * np.log10(flux)


def _flat_flavour(sigma: float, floor: float = 0.0) -> Flavour:
    """Every galaxy is kept, errors do not grow with flux unless there is a floor."""
    bands = tuple(replace(band, catalogue_sigma_nanomaggy=sigma) for band in SOUTH.bands)
    return replace(SOUTH, bands=bands, complete_limit=40.0, faint_limit=40.0, error_floor=floor)


@pytest.fixture(scope="module")
def pool() -> Pool:
    return draw_pool(150_000)


def _simulated(n: int, flavour: Flavour = SOUTH, first_seed: int = 10**6, of_a_seed: int = 256):
    """Magnitudes (n, 3) and truths (n, 5) of galaxies of many surveys, so that no group dominates."""
    pack, mags, truths, n_kept = load_pack(), [], [], 0
    while n_kept < n:
        drawn = draw_candidates(first_seed + len(mags), 0, of_a_seed, pack, flavour)
        drawn = drawn.take(drawn.kept)
        bulge_share = drawn.stars[:, 0, 1] / drawn.stars[:, :, 1].sum(axis=1)
        radius = photometry.effective_radius_arcsec(drawn.latents, bulge_share)
        noise = photometry.catalogue_block(drawn.seed, drawn.block.candidate, flavour)
        mags.append(photometry.magnitudes(*photometry.observe(noise, drawn.flux, radius, flavour))[0])
        truth = labels.true_labels(drawn.latents, drawn.history, drawn.metallicity)
        truths.append(np.stack([truth[name] for name in TRUTH], axis=1))
        n_kept += len(drawn)
    return np.concatenate(mags)[:n], np.concatenate(truths)[:n]


@pytest.fixture(scope="module")
def galaxies() -> tuple[np.ndarray, np.ndarray]:
    return _simulated(800)


@pytest.fixture(scope="module")
def posterior(pool: Pool, galaxies: tuple[np.ndarray, np.ndarray]) -> ReferenceDraws:
    return reference_posterior(galaxies[0], pool=pool, n_draws=250)


def _pit_p(draws: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """p-value of a Kolmogorov-Smirnov test of each target's randomised ranks."""
    ranks = (draws < truth).sum(axis=0) + np.random.default_rng(3).random(truth.shape)
    pit = ranks / (len(draws) + 1)
    return np.array([kstest(pit[:, t], "uniform").pvalue for t in range(truth.shape[1])])


BASE, RESPONSE = np.array([40.0, 50.0, 60.0]), np.array([[1.0, 0.2], [0.5, -0.7], [0.1, 0.9]])


def _linear_problem(sigma: float) -> tuple[Pool, np.ndarray, np.ndarray]:
    """Two targets of unit Gaussian prior, fluxes linear in them with Gaussian errors: pool, observed fluxes, truths."""
    rng = np.random.default_rng(1)
    m = 30_000
    latent = rng.normal(size=(m, 2))
    target = np.zeros((m, len(TARGETS)), np.float32)
    target[:, [NAMES.index("z"), NAMES.index("t_age_gyr")]] = latent
    target[:, NAMES.index("log10_mstar")] = 10.0
    flux = (BASE + latent @ RESPONSE.T).astype(np.float32)
    pool = Pool(_flat_flavour(sigma), m, 0, flux, np.zeros(m, np.float32), target, np.ones(m, np.float32))
    truth = rng.normal(size=(300, 2))
    return pool, BASE + truth @ RESPONSE.T + sigma * rng.normal(size=(300, 3)), truth


def test_a_linear_gaussian_problem_has_its_analytic_posterior():
    sigma = 0.4
    pool, observed, _ = _linear_problem(sigma)
    observed = observed[:40]

    found = reference_posterior(_mags(observed), targets=["z", "t_age_gyr"], pool=pool, mass_width_dex=0.0)

    precision = np.eye(2) + RESPONSE.T @ RESPONSE / sigma**2
    mean = (observed - BASE) @ RESPONSE / sigma**2 @ np.linalg.inv(precision)
    spread = np.sqrt(np.diag(np.linalg.inv(precision)))
    error = spread / np.sqrt(found.ess)[:, None]
    assert found.ess.min() > 20
    assert np.abs((found.mean - mean) / error).max() < 4.5  # 80 numbers of unit variance
    assert np.mean(((found.mean - mean) / error) ** 2) < 1.6
    # (a standard deviation from n draws is good to 1 / sqrt(2 n))
    assert np.abs((found.spread / spread - 1) * np.sqrt(2 * found.ess)[:, None]).max() < 4.5
    assert np.allclose(found.draws.mean(axis=0), found.mean, atol=3 * spread.max() / np.sqrt(1000))


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_errors_of_a_wrong_size_are_found(factor):
    pool, observed, truth = _linear_problem(0.4)
    wrong = replace(pool, flavour=_flat_flavour(0.4 * factor))
    found = reference_posterior(_mags(observed), targets=["z", "t_age_gyr"], pool=wrong, mass_width_dex=0.0)
    p = _pit_p(found.draws, truth)
    assert p.min() > 0.01 if factor == 1 else p.min() < 1e-3


def test_shifted_masses_follow_the_mass_function():
    """Galaxies of one colour, whose brightness follows from mass alone: the posterior of mass is known on a grid."""
    rng = np.random.default_rng(2)
    m, colour = 20_000, np.array([10.0, 20.0, 30.0])
    mass = rng.uniform(10.0, 11.8, m)
    target = np.zeros((m, len(TARGETS)), np.float32)
    target[:, NAMES.index("log10_mstar")] = mass
    flux = (10.0 ** (mass[:, None] - 10) * colour).astype(np.float32)
    weight = mass_function(mass).astype(np.float32)
    pool = Pool(_flat_flavour(1.0, floor=0.05), m, 0, flux, np.zeros(m, np.float32), target, weight)
    grid = np.linspace(10, 11.8, 40_001)
    model = 10.0 ** (grid[:, None] - 10) * colour
    sigma = np.sqrt(1 + (0.05 * model) ** 2)
    truth = np.linspace(10.3, 11.5, 12)
    observed = 10.0 ** (truth[:, None] - 10) * colour * (1 + 0.05 * rng.normal(size=(12, 3)))

    found = reference_posterior(_mags(observed), targets=["log10_mstar"], pool=pool)

    for row in range(12):
        log_p = np.log(mass_function(grid)) - np.sum(0.5 * ((observed[row] - model) / sigma) ** 2 + np.log(sigma), 1)
        p = np.exp(log_p - log_p.max())
        mean = np.sum(p * grid) / p.sum()
        spread = np.sqrt(np.sum(p * (grid - mean) ** 2) / p.sum())
        assert found.ess[row] > 400
        assert abs(found.mean[row, 0] - mean) < 4 * spread / np.sqrt(found.ess[row])
        assert abs(found.spread[row, 0] / spread - 1) < 4 / np.sqrt(2 * found.ess[row])


def test_it_is_calibrated_on_galaxies_that_the_pool_has_not_seen(posterior, galaxies):
    # ranks among few effective draws scatter more than they should; which galaxies these are follows from photometry
    # alone, so that leaving them out keeps the others calibrated
    sure = posterior.ess > 40
    assert sure.mean() > 0.7
    truth, draws = galaxies[1][sure], posterior.draws[:, sure]
    assert (_pit_p(draws, truth) > 0.002).all()  # five tests: a false alarm in 1 %
    coverage = expected_coverage(draws, truth, n_bootstrap=2, seed=0)
    assert coverage.p_value > 0.005
    assert coverage.p_width > 0.005
    low, high = np.quantile(draws, (0.16, 0.84), axis=0)
    inside = ((truth > low) & (truth < high)).mean(axis=0)
    assert np.abs(inside - 0.68).max() < 4 * np.sqrt(0.68 * 0.32 / len(truth))


def test_it_reads_the_magnitudes_of_a_survey_as_they_are_made():
    frame = simulate(20, seed=10**6).frame
    mags, truth = _simulated(20, of_a_seed=2048)
    assert np.array_equal(frame[["mag_g", "mag_r", "mag_z"]], mags)
    assert np.array_equal(frame[TRUTH], truth)


def test_a_pool_with_a_biased_prior_or_calibration_is_found(pool, galaxies):
    mags, truth = galaxies
    nearer = replace(pool, weight=pool.weight * np.exp(-4 * pool.target[:, 0]))
    assert _pit_p(reference_posterior(mags, pool=nearer, n_draws=250).draws, truth)[0] < 1e-4
    redder = replace(pool, flux=pool.flux * np.array([0.95, 1.0, 1.05], np.float32))
    assert _pit_p(reference_posterior(mags, pool=redder, n_draws=250).draws, truth).min() < 1e-4


def test_a_galaxy_does_not_depend_on_the_others(pool, posterior, galaxies):
    order = np.random.default_rng(0).permutation(60)
    some = reference_posterior(galaxies[0][:60][order], pool=pool, n_draws=250)
    assert np.array_equal(some.draws, posterior.draws[:, :60][:, order])
    assert np.array_equal(some.ess, posterior.ess[:60][order])
    assert not np.array_equal(
        reference_posterior(galaxies[0][:5], pool=pool, n_draws=250, seed=1).draws, posterior.draws[:, :5]
    )


def test_standing_for_a_range_of_masses_gives_more_effective_draws_and_the_same_means(pool, posterior, galaxies):
    plain = reference_posterior(galaxies[0], pool=pool, n_draws=1, mass_width_dex=0.0)
    assert np.median(posterior.ess) > 5 * np.median(plain.ess)
    sure = plain.ess > 15
    error = posterior.spread[sure] * np.sqrt(1 / plain.ess[sure] + 1 / posterior.ess[sure])[:, None]
    pull = (plain.mean - posterior.mean)[sure] / error
    assert np.abs(pull.mean(axis=0)).max() < 6 / np.sqrt(sure.sum())  # they share galaxies of the pool
    assert (np.abs(pull) < 2).mean() > 0.93


def test_missing_magnitudes_widen_the_posterior(pool, posterior, galaxies):
    mags = galaxies[0][:100].copy()
    mags[:, 0] = np.nan
    without_g = reference_posterior(mags, pool=pool, n_draws=10)
    assert np.median(without_g.spread[:, 0] / posterior.spread[:100, 0]) > 1.2
    mags[:, [0, 2]] = np.nan
    only_r = reference_posterior(mags[:20], pool=pool, n_draws=10)
    assert np.median(only_r.spread[:, 0] / posterior.spread[:20, 0]) > 1.2


def test_a_galaxy_unlike_any_other_is_said_to_be_poorly_determined(pool):
    odd = reference_posterior([[15.0, 18.0, 14.0], [30.0, 30.0, 30.0]], pool=pool, n_draws=20)
    assert (odd.ess < 10).all()
    assert np.isfinite(odd.draws).all()
    assert odd.facts["n_ess_below_50"] == 2


def test_a_pool_has_the_prior_of_a_survey(pool, galaxies):
    """Weighted quantiles of redshift and mass of what the survey keeps of the pool, against the survey's galaxies."""
    mag_r = _mags(pool.flux[:, 1])
    weight = pool.weight * np.where(mag_r < 19.5, 1.0, np.where(mag_r < 20.175, 0.35, 0.0))
    for column in range(5):
        order = np.argsort(pool.target[:, column])
        cumulative = np.cumsum(weight[order]) / weight.sum()
        ranks = np.interp(galaxies[1][:, column], pool.target[order, column], cumulative)
        assert kstest(ranks, "uniform").pvalue > 1e-3  # five tests


def test_a_pool_is_a_prefix_of_a_larger_one_and_shares_no_seed_with_surveys():
    small, large = draw_pool(3000), draw_pool(5000)
    assert np.array_equal(large.flux[: len(small)], small.flux)
    assert len(large) > len(small) > 300
    assert not np.array_equal(draw_pool(3000, seed=1).flux[:100], small.flux[:100])
    assert FIRST_UNIVERSE > MAX_SEED
    again = Pool.from_state(SOUTH, small.state())
    assert again.n_candidates == 3000
    assert np.array_equal(again.target, small.target)
    assert len(small.half(0)) + len(small.half(1)) == len(small)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"photometry": [[20.0, 19.0]]}, r"\(1, 2\): must be \(n, 3\), magnitudes in g, r, z"),
        ({"photometry": [[np.nan] * 3]}, "row 0 of photometry has no magnitude"),
        ({"photometry": [[np.inf, 19.0, 19.0]]}, "1 infinite magnitudes"),
        ({"targets": ["mass"]}, "target 'mass': known are z, "),
        ({"n_draws": 0}, "n_draws=0: at least 1"),
        ({"mass_width_dex": 0.5}, "mass_width_dex=0.5: 0 to 0.2"),
    ],
)
def test_bad_arguments_are_refused(arguments, message, pool):
    with pytest.raises(UsageError, match=message):
        reference_posterior(**{"photometry": [[20.0, 19.0, 19.0]], "pool": pool, **arguments})


def test_a_pool_cannot_be_empty_or_of_an_unknown_flavour():
    with pytest.raises(UsageError, match="n_candidates=0"):
        draw_pool(0)
    with pytest.raises(UsageError, match="seeds of pools"):
        draw_pool(10, seed=-1)
    with pytest.raises(UsageError, match="flavour 'east'"):
        draw_pool(10, "east")

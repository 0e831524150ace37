"""Every diagnostic four ways: an exact posterior passes; narrow, wide and shifted ones fail; one that is wrong only for
faint galaxies is found in their bin and missed by the sample as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from posteriors.calibration.conditional import conditional_calibration, holm, quantile_bins
from posteriors.calibration.hpd import hpd_ranks
from posteriors.calibration.pit import pit
from posteriors.calibration.tarp import expected_coverage
from posteriors.calibration.uniformity import ks_uniform, rank_ecdf, width_test, width_test_power

N, N_DRAWS = 1_500, 150


@dataclass(frozen=True)
class Sample:
    """Draws (n_draws, n, 2), truths (n, 2), log densities of both, and magnitudes (n,)."""

    draws: np.ndarray
    target: np.ndarray
    draws_log_prob: np.ndarray
    target_log_prob: np.ndarray
    magnitude: np.ndarray


def make_sample(width: float = 1.0, shift: float = 0.0, faint: float = 1.0, n: int = N, seed: int = 0) -> Sample:
    """Gaussian posteriors in two targets; ``faint`` is the relative width for the faintest quarter, made up for by the
    bright so that the variance of all ranks is nearly right.
    """
    rng = np.random.default_rng(seed)
    magnitude = rng.uniform(15, 20, n)
    centre = rng.normal(size=(n, 2))
    target = centre + 0.5 * rng.normal(size=(n, 2))
    bright = 1.0 if faint == 1 else 1.18
    spread = 0.5 * width * np.where(magnitude > 18.75, faint, bright)[:, None]
    mean = centre + 0.5 * shift
    draws = mean + spread * rng.normal(size=(N_DRAWS, n, 2))
    log_prob = [stats.norm.logpdf(values, mean, spread).sum(-1) for values in (draws, target)]
    return Sample(draws, target, *log_prob, magnitude)


RANKS: dict[str, Callable[[Sample], np.ndarray]] = {
    "PIT": lambda sample: pit(sample.draws[..., 0], sample.target[:, 0]),
    "TARP": lambda sample: expected_coverage(sample.draws, sample.target, 1).ranks,
    "HPD": lambda sample: hpd_ranks(sample.target_log_prob, sample.draws_log_prob),
}


def smallest_p(ranks: np.ndarray) -> float:
    """Bonferroni over both tests."""
    return min(1.0, 2 * min(ks_uniform(ranks)[1], width_test(ranks)[1]))


@pytest.mark.parametrize("name", RANKS)
def test_an_exact_posterior_passes(name: str) -> None:
    ranks = RANKS[name](make_sample())
    assert smallest_p(ranks) > 0.01
    curve = rank_ecdf(ranks)
    assert curve.p_value > 0.01
    assert ((curve.low <= curve.ecdf) & (curve.ecdf <= curve.high)).all()


@pytest.mark.parametrize("wrong", [{"width": 0.8}, {"width": 1.25}, {"shift": 0.6}])
@pytest.mark.parametrize("name", RANKS)
def test_narrow_wide_and_shifted_posteriors_fail(name: str, wrong: dict[str, float]) -> None:
    ranks = RANKS[name](make_sample(**wrong))
    assert smallest_p(ranks) < 1e-3
    curve = rank_ecdf(ranks)
    assert curve.p_value < 1e-3
    assert ((curve.low > curve.ecdf) | (curve.ecdf > curve.high)).any()


@pytest.mark.parametrize("name", ["PIT", "TARP"])
def test_a_posterior_wrong_for_the_faint_only_is_found_in_their_bin_and_missed_by_the_whole(name: str) -> None:
    sample = make_sample(faint=0.62)
    ranks = RANKS[name](sample)
    assert smallest_p(ranks) > 0.01  # the sample as a whole looks right
    found = conditional_calibration(ranks, quantile_bins(sample.magnitude, 4))
    assert found.p_value < 1e-3
    faintest = found.bins[-1]
    assert faintest.p_adjusted < 1e-3
    assert faintest.high < 0.68  # too narrow
    assert conditional_calibration(RANKS[name](make_sample()), quantile_bins(sample.magnitude, 4)).p_value > 0.01


def test_highest_density_ranks_see_the_faint_in_their_bin_too() -> None:
    sample = make_sample(faint=0.62)
    found = conditional_calibration(hpd_ranks(sample.target_log_prob, sample.draws_log_prob), sample.magnitude > 18.75)
    assert found.bins[-1].label == "True"
    assert found.bins[-1].p_adjusted < 1e-6


def test_highest_density_ranks_are_one_minus_the_chi_square_tail_of_a_gaussian() -> None:
    sample = make_sample(n=60)
    many = np.random.default_rng(3).normal(size=(20_000, 2))
    log_prob = stats.norm.logpdf(many * 0.5, 0, 0.5).sum(-1)[:, None] + np.zeros(60)
    ranks = hpd_ranks(sample.target_log_prob, log_prob)
    distance = -2 * (sample.target_log_prob - 2 * stats.norm.logpdf(0, 0, 0.5))
    np.testing.assert_allclose(ranks, stats.chi2.cdf(distance, 2), atol=0.02)  # sd .0035 at 20,000 draws


def test_the_simultaneous_band_holds_nineteen_of_twenty_calibrated_curves() -> None:
    rng = np.random.default_rng(0)
    found = [rank_ecdf(rng.random(200)) for _ in range(1_000)]
    inside = [((one.low <= one.ecdf) & (one.ecdf <= one.high)).all() for one in found]
    # binomial sd of .007; counts are whole, so that the band holds somewhat more than it must
    assert 0.93 < np.mean(inside) < 0.98
    p_values = np.array([one.p_value for one in found])
    assert ((p_values > 0.05) == inside).mean() > 0.99
    assert 0.03 < (p_values < 0.05).mean() < 0.07


def test_the_band_of_many_galaxies_is_that_of_few_scaled() -> None:
    few, many = (rank_ecdf((np.arange(n) + 0.5) / n, n_levels=51) for n in (1_000, 100_000))
    ratio = (few.high - few.low)[5:-5] / (many.high - many.low)[5:-5]
    np.testing.assert_allclose(ratio, 10, rtol=0.1)  # counts of 1,000 galaxies are coarse


def test_the_variance_test_has_the_ratio_of_the_width_and_the_power_that_is_printed() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(2_000, 400))
    for width in (0.9, 1.0, 1.1):
        ranks = stats.norm.cdf(truth / width)
        tested = [width_test(row) for row in ranks]
        assert (np.mean([ratio for ratio, _ in tested]) > 1) == (width < 1) or width == 1
        # binomial sd of .011 for 2,000 repetitions, and the normal approximation at n = 400
        assert np.mean([p < 0.05 for _, p in tested]) == pytest.approx(width_test_power(400, width), abs=0.035)
    assert width_test_power(100_000, 0.9) == pytest.approx(1)
    assert width_test_power(400, 1.0) == pytest.approx(0.05, abs=1e-3)


def test_holm_adjusts_as_in_a_worked_example_and_never_below_the_p_value() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]
    assert holm([0.2]).tolist() == [0.2]


def test_holm_makes_false_claims_in_no_more_than_one_of_twenty_tables() -> None:
    rng = np.random.default_rng(0)
    tables = 0
    for _ in range(1_000):
        noise = 0.7 * rng.normal() + 0.71 * rng.normal(size=12)  # tests that depend on one another
        p = 2 * stats.norm.sf(np.abs(noise))
        p[:3] = 1e-6  # effects that exist
        tables += (holm(p)[3:] < 0.05).any()
    assert tables <= 50 + 2 * 7  # binomial sd of 7 at 1,000


def test_bins_too_small_are_left_out_and_counted() -> None:
    labels = np.repeat(["north", "south", ""], [40, 9, 11])
    found = conditional_calibration(np.random.default_rng(0).random(60), labels)
    assert [(one.label, one.n) for one in found.bins] == [("north", 40)]
    assert found.n_left_out == 20
    one = found.bins[0]
    assert one.low < one.coverage_68 < one.high
    assert one.p_adjusted >= min(one.p_value, one.p_width)


def test_quantile_bins_are_equal_and_leave_out_the_unknown() -> None:
    bins = quantile_bins([5.0, np.nan, 1.0, 2.0, 3.0, 4.0, 6.0, 7.0, 8.0], 4)
    assert bins.tolist() == [2, -1, 0, 0, 1, 1, 2, 3, 3]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rank_ecdf(np.full(5, 0.5)), "5 galaxies"),
        (lambda: rank_ecdf(np.full(50, 1.5)), "in"),
        (lambda: rank_ecdf(np.full(50, 0.5), n_levels=2), "n_levels = 2"),
        (lambda: width_test_power(5), "at least 10"),
        (lambda: width_test_power(50, 0), "positive width"),
        (lambda: holm([0.5, np.nan]), r"values in \[0, 1\]"),
        (lambda: quantile_bins([np.nan]), "finite values"),
        (lambda: conditional_calibration(np.full(20, 0.5), np.arange(20)), "use fewer bins"),
        (lambda: conditional_calibration(np.full(20, 0.5), np.arange(19)), "one bin a galaxy"),
        (lambda: hpd_ranks(np.zeros(3), np.zeros((5, 4))), r"\(n_draws, n\) are needed"),
        (lambda: hpd_ranks([np.nan], [[0.0]]), "NaN"),
    ],
)
def test_what_cannot_be_diagnosed_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()

"""Expected coverage: the tarp package, a known verdict for each kind of error, and the rate of false alarms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posteriors.calibration import tarp
from posteriors.calibration.tarp import expected_coverage, reference_spread
from posteriors.calibration.tarp_package import tarp_package_coverage


def make_posterior(
    n: int = 1_000, n_draws: int = 100, t: int = 3, width: float = 1.0, shift: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draws and truths on scales far from 1; width 1 and shift 0 (in posterior widths) are calibrated."""
    rng = np.random.default_rng(seed)
    centre, scale = rng.normal(size=(n, t)), np.array([1e-3, 1.0, 1e3, 1.0, 1.0])[:t]
    target = centre + 0.5 * rng.normal(size=(n, t))
    draws = centre + 0.5 * (shift + width * rng.normal(size=(n_draws, n, t)))
    return draws * scale + 7, target * scale + 7


@pytest.mark.parametrize("width", [1.0, 0.5])
def test_the_curve_is_that_of_the_tarp_package_on_the_same_references(width: float) -> None:
    draws, target = make_posterior(n=300, width=width)
    low, high = target.min(0), target.max(0)  # the package's box
    references = low + (high - low) * np.random.default_rng(1).random(target.shape)
    before = draws.copy(), target.copy(), references.copy()
    credibility, theirs = tarp_package_coverage(draws, target, references, n_levels=31)
    for given, kept in zip((draws, target, references), before, strict=True):
        np.testing.assert_array_equal(given, kept)
    inside = [(values - low) / (high - low) for values in (draws, target, references)]
    ours = expected_coverage(*inside[:2], 1, 0, inside[2], standardise=False)
    # the share of f below each of its bin edges but the last, which its histogram closes
    curve = [(ours.f < edge - 1e-12).mean() for edge in credibility[:-1]]
    np.testing.assert_allclose(curve, theirs[:-1], atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": np.zeros((30, 2))}, "truth has shape"),
        ({"references": np.zeros((29, 3))}, "both must be"),
        ({"target": np.zeros((30, 3))}, "column 0 has one value"),
        ({"n_levels": 1}, "n_levels = 1"),
    ],
)
def test_the_tarp_package_is_not_called_where_it_would_go_wrong(changes: dict, message: str) -> None:
    draws, target = make_posterior(n=30, n_draws=5)
    with pytest.raises(ValueError, match=message):
        tarp_package_coverage(**{"draws": draws, "target": target, "references": target, **changes})


@pytest.mark.parametrize("references", ["posterior", "uniform"])
def test_tarp_tells_a_calibrated_posterior_from_a_wrong_one(references) -> None:
    exact = expected_coverage(*make_posterior(), references=references)
    assert exact.p_value > 0.01
    assert exact.p_width > 0.01
    # pointwise 95 % band: sd of .016 at n = 1,000; a calibrated curve wanders out of it in few places
    inside = (exact.ecp_low <= exact.credibility) & (exact.credibility <= exact.ecp_high)
    assert inside.mean() > 0.6
    for width in (0.7, 1.4):
        assert expected_coverage(*make_posterior(width=width), references=references).p_width < 1e-4
    assert expected_coverage(*make_posterior(shift=0.6), references=references).p_value < 0.05


def test_the_variance_test_sees_a_narrow_posterior_that_ks_misses_at_small_n() -> None:
    ks, width = [], []
    for seed in range(40):
        found = expected_coverage(*make_posterior(n=400, width=0.9, seed=seed), n_bootstrap=1, seed=seed)
        ks.append(found.p_value < 0.05)
        width.append(found.p_width < 0.05)
    assert np.mean(width) > np.mean(ks) + 0.1  # .59-.71 against .25-.33 in larger runs
    assert np.mean(width) > 0.35


def test_the_sign_of_a_wrong_width_is_read_off_the_curve() -> None:
    narrow, wide = (expected_coverage(*make_posterior(width=width)) for width in (0.6, 1.6))
    quarter = 25
    assert narrow.ecp[quarter] > 0.25 > wide.ecp[quarter]
    assert narrow.ecp[75] < 0.75 < wide.ecp[75]


@pytest.mark.parametrize("references", ["posterior", "uniform"])
def test_calibrated_posteriors_are_rejected_at_the_nominal_rate(references) -> None:
    p_values = []
    for seed in range(300):
        found = expected_coverage(*make_posterior(n=100, n_draws=50, t=2, seed=seed), 1, seed, references)
        p_values.append((found.p_value, found.p_width))
    rate = (np.array(p_values) < 0.05).mean(0)
    # 15 of 300 expected at the 5 % level, binomial sd 3.8; four of them either way
    assert ((rate > 0.0) & (rate < 0.101)).all()


@pytest.mark.parametrize("n_draws", [1, 7])
def test_few_draws_and_ties_leave_the_ranks_uniform(n_draws: int) -> None:
    draws, target = make_posterior(n=2_000, n_draws=n_draws, t=1)
    assert expected_coverage(draws, target, 1).p_value > 0.01
    rounded = expected_coverage(np.round(draws * 1e3), np.round(target * 1e3), 1)
    assert rounded.p_value > 0.01
    assert rounded.p_width > 0.01


def test_the_curve_runs_from_zero_to_one_inside_its_band() -> None:
    found = expected_coverage(*make_posterior(n=50), n_levels=21)
    assert found.credibility.shape == found.ecp.shape == found.ecp_low.shape == (21,)
    assert (found.ecp[0], found.ecp[-1]) == (0.0, 1.0)
    assert (np.diff(found.ecp) >= 0).all()
    assert (found.ecp_low <= found.ecp + 0.05).all()
    assert (found.ecp_high >= found.ecp - 0.05).all()


def test_the_band_is_the_binomial_spread_of_the_share_of_galaxies() -> None:
    found = expected_coverage(*make_posterior(n=900), n_bootstrap=4_000)
    middle = 50
    spread = np.sqrt(found.ecp[middle] * (1 - found.ecp[middle]) / 900)
    # the ends of a 95 % band from 4,000 resamples are known to a few percent
    assert found.ecp_high[middle] - found.ecp_low[middle] == pytest.approx(2 * 1.96 * spread, rel=0.1)


def test_references_of_the_posterior_kind_are_other_galaxies_draws() -> None:
    owner = np.arange(12.0)
    draws = np.broadcast_to(owner[:, None], (9, 12, 1))  # every draw says whose it is
    for seed in range(30):
        points = tarp._draw_references(draws, "posterior", np.random.default_rng(seed))[:, 0]
        assert (points != owner).all()
        assert sorted(points) == list(owner)


def test_the_seed_decides_everything_and_inputs_stay_untouched() -> None:
    draws, target = make_posterior(n=60)
    before = draws.copy(), target.copy()
    first, second = expected_coverage(draws, target, seed=1), expected_coverage(torch.tensor(draws), target, seed=1)
    np.testing.assert_array_equal(first.ranks, second.ranks)
    np.testing.assert_array_equal(first.ecp_low, second.ecp_low)
    assert not np.array_equal(first.f, expected_coverage(draws, target, seed=2).f)
    np.testing.assert_array_equal(draws, before[0])
    np.testing.assert_array_equal(target, before[1])


def test_float32_draws_give_the_verdict_of_float64() -> None:
    draws, target = make_posterior()
    double, single = expected_coverage(draws, target, 1), expected_coverage(draws.astype(np.float32), target, 1)
    np.testing.assert_allclose(single.f, double.f, atol=0.02)


def test_units_do_not_matter_unless_asked_for() -> None:
    draws, target = make_posterior(n=200)
    scaled = expected_coverage(draws * [4.0, 0.25, 16.0] - 2, target * [4.0, 0.25, 16.0] - 2, 1)
    np.testing.assert_allclose(scaled.f, expected_coverage(draws, target, 1).f, atol=0.011)  # one draw of 100
    plain = expected_coverage(draws, target, 1, standardise=False)
    assert np.abs(plain.f - scaled.f).max() > 0.1


def test_the_spread_over_references_brackets_single_p_values() -> None:
    draws, target = make_posterior(n=300)
    spread = reference_spread(draws, target, n_references=40, seed=1)
    assert spread.p_value.shape == spread.p_width.shape == (40,)
    single = [expected_coverage(draws, target, 1, seed).p_value for seed in range(20)]
    low, high = np.quantile(spread.p_value, [0.05, 0.95])
    assert low < np.median(single) < high
    assert np.median(reference_spread(*make_posterior(width=0.7), n_references=5).p_width) < 1e-4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": np.zeros((12, 2))}, r"truth has shape \(12, 2\)"),
        ({"draws": np.full((5, 12, 3), np.nan)}, "NaN"),
        ({"draws": np.zeros((5, 9, 3)), "target": np.zeros((9, 3))}, "9 galaxies"),
        ({"references": "random"}, "allowed are 'posterior', 'uniform'"),
        ({"references": np.zeros((3, 3))}, r"references of shape \(3, 3\)"),
        ({"n_bootstrap": 0}, "n_bootstrap = 0"),
        ({"n_levels": 1}, "n_levels = 1"),
    ],
)
def test_what_cannot_be_tested_is_refused(changes: dict, message: str) -> None:
    draws, target = make_posterior(n=12, n_draws=5)
    with pytest.raises(ValueError, match=message):
        expected_coverage(**{"draws": draws, "target": target, **changes})

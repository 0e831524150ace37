"""Scores by hand, by scikit-learn, and by their closed forms for Gaussians."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score, root_mean_squared_error

from posteriors import scores
from posteriors.calibration.pit import interval_coverage, pit, uniformity


def test_point_scores_are_those_of_scikit_learn_and_of_a_hand_calculation() -> None:
    rng = np.random.default_rng(0)
    y, p = rng.normal(size=50), rng.normal(size=50)
    assert scores.r2(y, p) == pytest.approx(r2_score(y, p))
    assert scores.rmse(y, p) == pytest.approx(root_mean_squared_error(y, p))
    z, z_pred = [0.0, 1.0, 1.0, 3.0], [0.1, 1.0, 1.4, 1.0]  # dz = .1, 0, .2, -.5
    assert scores.bias(z, z_pred) == pytest.approx(0.05)
    assert scores.sigma_nmad(z, z_pred) == pytest.approx(1.4826 * 0.1)  # |dz - .05| = .05, .05, .15, .55
    assert scores.outlier_fraction(z, z_pred) == 0.5


def test_sigma_nmad_is_the_standard_deviation_of_a_gaussian_and_ignores_outliers_and_bias() -> None:
    rng = np.random.default_rng(0)
    z = rng.uniform(0, 1, 40_000)
    dz = 0.03 + 0.02 * rng.normal(size=40_000)
    dz[:400] = 5.0
    assert scores.sigma_nmad(z, z + dz * (1 + z)) == pytest.approx(0.02, rel=0.03)  # 1 % outliers widen it by 1.5 %
    assert scores.bias(z, z + dz * (1 + z)) == pytest.approx(0.03, abs=5e-4)
    assert scores.outlier_fraction(z, z + dz * (1 + z)) == pytest.approx(0.01)


@pytest.mark.parametrize("name", ["r2", "rmse", "sigma_nmad", "bias", "outlier_fraction"])
@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        ([0.1, 0.2], [0.1], r"shape \(2,\) and y_pred \(1,\)"),
        ([[0.1], [0.2]], [[0.1], [0.2]], "both must be"),
        ([0.1], [0.1], "1 galaxies"),
        ([0.1, np.nan], [0.1, 0.2], "y_true has 1 values"),
        ([0.1, 0.2], [0.1, np.inf], "y_pred has 1 values"),
    ],
)
def test_point_scores_refuse_what_has_no_score(name: str, y_true, y_pred, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(scores, name)(y_true, y_pred)


def test_scores_that_are_undefined_say_so() -> None:
    with pytest.raises(ValueError, match="no variance"):
        scores.r2([1.0, 1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="is this column a redshift"):
        scores.bias([-2.0, 1.0], [1.0, 2.0])


def test_crps_by_sorting_is_the_double_sum() -> None:
    rng = np.random.default_rng(0)
    y, draws = rng.normal(size=(6, 2)), rng.normal(size=(15, 6, 2))
    pairs = np.abs(draws[:, None] - draws[None]).mean((0, 1))
    expected = np.abs(draws - y).mean(0) - 0.5 * pairs
    np.testing.assert_allclose(scores.crps_per_galaxy(y, draws), expected)
    assert scores.crps(y, draws) == pytest.approx(expected.mean())
    np.testing.assert_allclose(scores.energy_score_per_galaxy(y[:, 0], draws[..., 0]), expected[:, 0])


def test_crps_of_many_draws_is_that_of_the_gaussian_they_come_from() -> None:
    rng = np.random.default_rng(0)
    y, draws = np.array([0.3, -1.5, 4.0]), rng.normal(size=(200_000, 1)) * np.ones(3)
    closed = y * (2 * stats.norm.cdf(y) - 1) + 2 * stats.norm.pdf(y) - 1 / math.sqrt(math.pi)
    np.testing.assert_allclose(scores.crps_per_galaxy(y, draws), closed, atol=0.01)  # sd .002 at 200,000 draws


def test_crps_of_one_draw_is_its_absolute_error_and_large_offsets_keep_their_digits() -> None:
    assert scores.crps([1.0, 2.0], [[1.5, 1.0]]) == pytest.approx(0.75)
    rng = np.random.default_rng(0)
    y, draws = rng.normal(size=20), rng.normal(size=(50, 20))
    assert scores.crps(y + 1e9, draws + 1e9) == pytest.approx(scores.crps(y, draws), rel=1e-5)


def test_the_energy_score_sees_a_wrong_correlation_that_crps_cannot() -> None:
    rng = np.random.default_rng(0)
    factor = np.linalg.cholesky([[1.0, 0.95], [0.95, 1.0]])
    y, right = rng.normal(size=(300, 2)) @ factor.T, rng.normal(size=(100, 300, 2)) @ factor.T
    wrong = rng.normal(size=(100, 300, 2))
    assert scores.energy_score(y, wrong) > scores.energy_score(y, right) + 0.02
    assert scores.crps(y, wrong) == pytest.approx(scores.crps(y, right), abs=0.01)


def test_negative_log_densities_of_a_mixture_of_members() -> None:
    log_prob = np.log([[0.2, 0.5], [0.4, 0.5]])
    np.testing.assert_allclose(scores.nll_mixture(log_prob), -np.log([0.3, 0.5]))
    np.testing.assert_allclose(scores.nll_member_mean(log_prob), -np.log(np.sqrt([0.08, 0.25])))
    np.testing.assert_allclose(scores.nll_mixture(log_prob, [0.5, 0.5]), scores.nll_mixture(log_prob), rtol=1e-14)
    np.testing.assert_array_equal(scores.nll_mixture(log_prob, [0, 1]), -log_prob[1])
    for wrong in ([1.0], [0.7, 0.7], [1.5, -0.5]):
        with pytest.raises(ValueError, match="2 shares >= 0 of sum 1"):
            scores.nll_mixture(log_prob, wrong)
    np.testing.assert_allclose(scores.nll_per_dim(log_prob, 2), scores.nll_member_mean(log_prob) / 2)
    assert np.isfinite(scores.nll_mixture([[-1e5], [-2e5]])).all()
    with pytest.raises(ValueError, match="n_targets = 0"):
        scores.nll_per_dim(log_prob, 0)
    with pytest.raises(ValueError, match="member_log_prob of shape"):
        scores.nll_mixture(log_prob[0])


def make_draws(width: float = 1.0, shift: float = 0.0, n: int = 2_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centre = rng.normal(size=n)
    return centre + shift + width * rng.normal(size=(100, n)), centre + rng.normal(size=n)


def test_pit_is_uniform_for_a_calibrated_posterior_and_for_no_other() -> None:
    exact = uniformity(pit(*make_draws()))
    assert exact.p_value > 0.01
    assert exact.distance == pytest.approx(stats.kstest(pit(*make_draws()), "uniform").statistic)
    for wrong in ({"width": 0.8}, {"width": 1.25}, {"shift": 0.2}):
        assert uniformity(pit(*make_draws(**wrong))).p_value < 1e-3


def test_pit_has_the_slope_of_a_bias_and_the_shape_of_a_width() -> None:
    assert pit(*make_draws(shift=0.5)).mean() < 0.45
    assert pit(*make_draws(width=0.5)).var() > 1 / 12 > pit(*make_draws(width=2.0)).var()


def test_central_intervals_cover_at_their_level_only_when_the_width_is_right() -> None:
    for level in (0.68, 0.95):
        # binomial sd of .010 at 2,000 galaxies
        assert interval_coverage(pit(*make_draws()), level) == pytest.approx(level, abs=0.03)
        assert interval_coverage(pit(*make_draws(width=0.6)), level) < level - 0.05
    assert interval_coverage(pit(*make_draws(width=1.6)), 0.68) > 0.75
    with pytest.raises(ValueError, match="level = 68"):
        interval_coverage(pit(*make_draws()), 68)


def test_ties_of_rounded_targets_leave_the_pit_uniform() -> None:
    draws, target = make_draws()
    assert uniformity(pit(np.round(draws), np.round(target))).p_value > 0.01
    np.testing.assert_array_equal(pit(draws, target, seed=3), pit(draws, target, seed=3))
    assert not np.array_equal(pit(draws, target, seed=3), pit(draws, target, seed=4))


def test_the_interval_of_the_pit_distance_holds_the_distance_of_many_galaxies() -> None:
    many = uniformity(pit(*make_draws(width=0.8, n=20_000))).distance
    few = uniformity(pit(*make_draws(width=0.8, n=200)))
    assert few.low <= many <= few.high
    assert few.high - few.distance == pytest.approx(math.sqrt(math.log(40) / 400))


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.zeros((20, 2)), "one target at a time"), (np.full(20, 1.5), "in"), (np.zeros(9), "at least 10")],
)
def test_uniformity_refuses_what_is_no_pit(values, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        uniformity(values)


def test_draws_that_do_not_fit_the_truths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"truth has shape \(3,\) and draws \(3, 5\)"):
        scores.crps(np.zeros(3), np.zeros((3, 5)))
    with pytest.raises(ValueError, match="draws have 1 values"):
        scores.crps(np.zeros(2), [[0.0, np.nan]])

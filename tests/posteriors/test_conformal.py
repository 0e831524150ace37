"""Conformal intervals hold their level for models that are wrong; recalibration mends the width of each target."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from posteriors.calibration.conformal import (
    conformal_by_pit,
    conformal_interval,
    conformal_quantiles,
    coverage_range,
    recalibrate_draws,
)
from posteriors.calibration.pit import pit
from posteriors.calibration.uniformity import ks_uniform, width_test
from posteriors.scores import cde_loss_per_galaxy, sharpness_per_galaxy


def make_draws(n: int, width: float = 1.0, shift: float = 0.0, seed: int = 0, t: int = 1) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(n, t))
    draws = centre + shift + width * rng.normal(size=(200, n, t))
    target = centre + rng.normal(size=(n, t))
    return (draws[..., 0], target[:, 0]) if t == 1 else (draws, target)


@pytest.mark.parametrize("level", [0.68, 0.95])
def test_split_conformal_intervals_cover_at_their_level_on_average_over_calibration_samples(level: float) -> None:
    covered = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        residual, new = rng.standard_t(2, 50), rng.standard_t(2, 200)  # no Gaussian, no finite variance
        low, high = conformal_interval(residual, np.zeros(200), level)
        covered.append(((low <= new) & (new <= high)).mean())
    # at least the level and at most 1/51 more; 300 samples know the mean to .004
    assert level - 0.012 < np.mean(covered) < level + 1 / 51 + 0.012
    lowest, highest = coverage_range(50, level)
    inside = np.mean([(lowest - 0.03 <= share <= highest + 0.03) for share in covered])
    assert inside > 0.93


def test_scaled_intervals_are_narrow_where_the_model_is_sure() -> None:
    rng = np.random.default_rng(0)
    spread = np.exp(rng.normal(size=4_000))
    error = spread * rng.normal(size=4_000)
    known, new = slice(0, 2_000), slice(2_000, None)
    low, high = conformal_interval(error[known], np.zeros(2_000), 0.9, scale=(spread[known], spread[new]))
    sure = spread[new] < 0.5
    for part in (sure, ~sure):
        assert ((low <= error[new]) & (error[new] <= high))[part].mean() == pytest.approx(0.9, abs=0.03)
    assert (high - low)[sure].mean() < 0.3 * (high - low)[~sure].mean()


@pytest.mark.parametrize("wrong", [{}, {"width": 0.5}, {"width": 2.0}, {"shift": 1.0}])
@pytest.mark.parametrize("level", [0.68, 0.95])
def test_conformalised_quantiles_cover_whatever_the_posterior(wrong: dict[str, float], level: float) -> None:
    calibration_draws, calibration_target = make_draws(1_000, **wrong)
    draws, target = make_draws(2_000, seed=1, **wrong)
    low, high = conformal_quantiles(calibration_draws, calibration_target, draws, level)
    covered = ((low <= target) & (target <= high)).mean()
    assert covered == pytest.approx(level, abs=0.05)  # sd .015 from each of both samples
    plain = np.quantile(draws, ((1 - level) / 2, (1 + level) / 2), axis=0)
    if wrong.get("width") == 0.5:
        assert ((plain[0] <= target) & (target <= plain[1])).mean() < level - 0.1


@pytest.mark.parametrize("wrong", [{"width": 0.6}, {"width": 1.6}, {"shift": 0.7}])
def test_recalibrated_draws_have_uniform_pit_on_new_galaxies(wrong: dict[str, float]) -> None:
    calibration_draws, calibration_target = make_draws(3_000, t=2, **wrong)
    draws, target = make_draws(1_500, t=2, seed=1, **wrong)
    mended = recalibrate_draws(calibration_draws, calibration_target, draws)
    for column in range(2):
        before, after = (pit(d[..., column], target[:, column]) for d in (draws, mended))
        assert width_test(before)[1] < 1e-3
        assert abs(width_test(after)[0] - 1) < 0.12  # beyond the outermost of 200 draws nothing can be mended
        assert ks_uniform(after)[0] < 0.06
    ordered = np.take_along_axis(mended, np.argsort(draws, axis=0), 0)
    assert (np.diff(ordered, axis=0) >= 0).all()  # ranks, and so the dependence between targets, are kept


def test_recalibration_leaves_a_right_posterior_nearly_as_it_is() -> None:
    draws, target = make_draws(4_000)
    mended = recalibrate_draws(draws, target, draws[:, :100])
    assert np.abs(mended - draws[:, :100]).mean() < 0.05


def test_sharpness_is_the_width_of_the_central_interval() -> None:
    draws = 3 * np.random.default_rng(0).normal(size=(40_000, 2))
    np.testing.assert_allclose(sharpness_per_galaxy(draws, 0.68), 2 * 3 * stats.norm.ppf(0.84), rtol=0.03)
    assert sharpness_per_galaxy(draws[..., None] * np.ones(3)).shape == (2, 3)


def test_the_cde_loss_is_lowest_for_the_true_density() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=4_000)
    loss = {}
    for width in (0.7, 1.0, 1.4):
        drawn = width * rng.normal(size=(400, 4_000))
        per_galaxy = cde_loss_per_galaxy(stats.norm.logpdf(truth, 0, width), stats.norm.logpdf(drawn, 0, width))
        loss[width] = per_galaxy.mean()
        # closed form: 1 / (2 width sqrt(pi)) - 2 N(0; 0, 1 + width^2)
        exact = 1 / (2 * width * np.pi**0.5) - 2 * stats.norm.pdf(0, 0, (1 + width**2) ** 0.5)
        assert loss[width] == pytest.approx(exact, abs=0.02)
    assert loss[1.0] < min(loss[0.7], loss[1.4])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conformal_interval(np.zeros(5), np.zeros(3), 0.95), "5 calibration galaxies.*at least 19"),
        (lambda: conformal_interval(np.zeros(50), np.zeros(3), 95), "level = 95"),
        (lambda: conformal_interval(np.zeros((5, 2)), np.zeros(3)), "residual of shape"),
        (lambda: conformal_interval(np.zeros(50), np.zeros(3), scale=(np.ones(50), np.zeros(3))), "positive"),
        (lambda: conformal_quantiles(np.zeros((9, 50)), np.zeros(50), np.full((9, 3), np.nan)), "finite"),
        (lambda: conformal_quantiles(np.zeros((9, 50)), np.zeros(50), np.zeros((9, 3)), 1.0), "level = 1.0"),
        (lambda: recalibrate_draws(np.zeros((9, 5)), np.zeros(5), np.zeros((9, 3))), "5 calibration galaxies"),
        (lambda: recalibrate_draws(np.zeros((9, 50, 2)), np.zeros((50, 2)), np.zeros((9, 3, 1))), "same targets"),
        (lambda: sharpness_per_galaxy(np.zeros(4)), "draws of shape"),
        (lambda: sharpness_per_galaxy(np.zeros((4, 2)), 2), "level = 2"),
        (lambda: cde_loss_per_galaxy([0.0], [[0.0, 1.0]]), "are needed"),
    ],
)
def test_what_has_no_interval_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("wrong", [{}, {"width": 0.5}, {"width": 2.0}, {"shift": 0.5}])
def test_conformal_intervals_by_pit_cover_whatever_the_posterior(wrong: dict[str, float]) -> None:
    known, new = make_draws(1_000, t=2, **wrong), make_draws(2_000, seed=1, t=2, **wrong)
    low, high = conformal_by_pit(pit(*known), new[0], 0.68)
    assert low.shape == high.shape == new[1].shape
    covered = ((low <= new[1]) & (new[1] <= high)).mean(0)
    # sd of .018 from both samples, and two draws of 200 more than needed
    np.testing.assert_allclose(covered, 0.685, atol=0.055)
    width = (high - low).mean() / (2 * 0.9945)
    expected = 1.0 if "shift" not in wrong else 1.13  # of N(-.5, 1), 68 % lie within 1.126 of 0
    assert width == pytest.approx(expected, rel=0.08)


def test_conformal_intervals_by_pit_hold_their_level_for_few_draws_and_few_galaxies() -> None:
    """In expectation over calibration samples, and never below it: 9 draws lie on a grid of tenths."""
    covered = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        ranks = pit(rng.normal(size=(9, 20)), rng.normal(size=20), seed=seed)
        draws, target = rng.normal(size=(9, 100)), rng.normal(size=100)
        low, high = conformal_by_pit(ranks, draws, 0.68)
        assert (low < high).all()
        covered.append(((low <= target) & (target <= high)).mean())
    assert 0.68 - 0.012 < np.mean(covered) < 0.68 + 1 / 21 + 2 / 10  # 400 samples know the mean to .006


def test_conformal_intervals_by_pit_have_no_end_where_draws_do_not_reach() -> None:
    outside = np.r_[np.zeros(20), np.ones(20)]
    low, high = conformal_by_pit(outside, np.random.default_rng(0).normal(size=(50, 3)), 0.68)
    assert np.isneginf(low).all()
    assert np.isposinf(high).all()
    for message, arguments in {
        "same targets": (np.zeros((20, 2)), np.zeros((50, 3))),
        "in \\[0, 1\\]": (np.full(20, 1.5), np.zeros((50, 3))),
        "need at least": (np.full(10, 0.5), np.zeros((50, 3)), 0.99),
    }.items():
        with pytest.raises(ValueError, match=message):
            conformal_by_pit(*arguments)

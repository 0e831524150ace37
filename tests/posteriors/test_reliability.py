"""Calibration of class probabilities: calibrated ones pass, over-confident, under-confident and shifted ones fail."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from posteriors.calibration.reliability import (
    bind_reliability,
    brier_decomposition,
    brier_excess_per_galaxy,
    calibration_p_value,
    reliability_bias,
    reliability_curve,
)
from posteriors.resampling.bootstrap import bootstrap_ci, shared_intervals

WRONG = {
    "over-confident": lambda logit: 2.0 * logit,
    "under-confident": lambda logit: 0.5 * logit,
    "shifted": lambda logit: logit + 0.7,
}


def forecast(n: int, claim=lambda logit: logit, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth and claimed probabilities (n, 2) where the true log odds are Gaussian."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 1.5, n)
    inside = rng.random(n) < 1 / (1 + np.exp(-logit))
    found = 1 / (1 + np.exp(-claim(logit)))
    return np.stack([~inside, inside], axis=1).astype(float), np.stack([1 - found, found], axis=1)


def of_three(n: int, sharper: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logit = rng.normal(size=(n, 3))
    true, found = (np.exp(f * logit) / np.exp(f * logit).sum(axis=1, keepdims=True) for f in (1.0, sharper))
    return np.eye(3)[(true.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)], found


def test_the_p_value_of_calibrated_probabilities_is_uniform() -> None:
    p = [calibration_p_value(*forecast(150, seed=seed), n_resamples=199, seed=seed) for seed in range(200)]
    # D of 200 uniform numbers is above .115 once in a hundred samples
    assert kstest(p, "uniform").statistic < 0.115


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_probabilities_are_told_from_calibrated_ones(kind: str) -> None:
    true, found = forecast(600, WRONG[kind])
    assert calibration_p_value(true, found, n_resamples=500) < 0.01
    assert brier_decomposition(true, found).reliability > 0.005
    excess = brier_excess_per_galaxy(true, found)
    error = excess.std() / np.sqrt(len(excess))
    if kind != "shifted":  # what a shift adds on one side it takes from the other
        assert excess.mean() * (1 if kind == "over-confident" else -1) > 3 * error
    right = forecast(600)
    assert calibration_p_value(*right, n_resamples=500) > 0.05
    assert abs(brier_decomposition(*right).reliability) < 0.002
    calm = brier_excess_per_galaxy(*right)
    assert abs(calm.mean()) < 3 * calm.std() / np.sqrt(len(calm))


def test_three_classes_are_judged_together() -> None:
    assert calibration_p_value(*of_three(600, 1.0, 1), n_resamples=500) > 0.05
    assert calibration_p_value(*of_three(600, 2.5, 1), n_resamples=500) < 0.01
    assert brier_excess_per_galaxy(*of_three(600, 2.5, 1)).mean() > 0.05


def test_the_terms_make_up_the_brier_score_and_are_murphy_s_where_probabilities_are_few() -> None:
    rng = np.random.default_rng(3)
    found = rng.choice([0.1, 0.3, 0.8], 3000)
    inside = (rng.random(3000) < found**1.3).astype(float)
    true, both = np.stack([1 - inside, inside], axis=1), np.stack([1 - found, found], axis=1)
    terms = brier_decomposition(true, both)
    brier = brier_score_loss(inside, found)
    assert terms.reliability - terms.resolution + terms.uncertainty + terms.within == pytest.approx(brier, rel=1e-12)
    assert terms.within == pytest.approx(0, abs=1e-12)
    # by hand, as Murphy 1973 has them, without the corrections of order 1 / n
    groups = [(value, inside[found == value]) for value in (0.1, 0.3, 0.8)]
    by_hand = sum(len(hits) * (value - hits.mean()) ** 2 for value, hits in groups) / 3000
    assert terms.reliability == pytest.approx(by_hand - reliability_bias(true, both), rel=1e-9)
    resolution = sum(len(hits) * (hits.mean() - inside.mean()) ** 2 for _, hits in groups) / 3000
    assert terms.resolution == pytest.approx(resolution, abs=0.001)
    assert terms.uncertainty == pytest.approx(inside.mean() * (1 - inside.mean()), abs=0.001)


def test_reliability_has_no_bias_and_its_interval_holds_the_truth() -> None:
    claim = WRONG["over-confident"]
    exact = brier_decomposition(*forecast(200_000, claim, seed=99)).reliability
    values, plain, held = [], [], 0
    for seed in range(120):
        true, found = forecast(250, claim, seed)
        bound = {"reliability": bind_reliability(true, found, np.ones(250, dtype=bool))}
        interval = shared_intervals(bound, n=250, n_resamples=300, seed=seed)["reliability"]
        bias = reliability_bias(true, found)
        assert interval.value == pytest.approx(brier_decomposition(true, found).reliability, abs=1e-12)
        held += interval.low - bias <= exact <= interval.high - bias
        values.append(interval.value)
        plain.append(interval.value + bias)
    error = np.std(values) / np.sqrt(120)
    assert abs(np.mean(values) - exact) < 3 * error
    assert np.mean(plain) - exact > 3 * error  # what the correction is for
    assert held >= 107  # binomial: 95 % of 120, less 3 sigma


def test_the_excess_is_the_statistic_of_spiegelhalter_and_can_be_resampled() -> None:
    true, found = forecast(200)
    excess = brier_excess_per_galaxy(true, found)
    y, p = true[:, 1], found[:, 1]
    np.testing.assert_allclose(excess, (y - p) * (1 - 2 * p), atol=1e-15)
    assert bootstrap_ci(lambda a, b: float(a.mean()), excess, excess, n_resamples=50).value == excess.mean()


def test_the_curve_equals_that_of_scikit_learn_and_holds_the_truth() -> None:
    true, found = forecast(1000)
    curve = reliability_curve(true[:, 1], found[:, 1])
    observed, claimed = calibration_curve(true[:, 1], found[:, 1], n_bins=10, strategy="quantile")
    # quantiles between two galaxies put one of a hundred into the next bin
    np.testing.assert_allclose(curve.claimed, claimed, atol=0.01)
    np.testing.assert_allclose(curve.observed, observed, atol=0.02)
    assert curve.n.sum() == 1000
    assert curve.n.tolist() == [100] * 10
    inside = (curve.low < curve.claimed) & (curve.claimed < curve.high)
    assert inside.sum() >= 8  # of ten intervals of 95 %


def test_equal_probabilities_share_a_bin_and_few_galaxies_have_one() -> None:
    votes = np.array([0.0] * 80 + [0.25] * 40 + [1.0] * 80)
    curve = reliability_curve(votes > 0.5, votes)
    assert curve.claimed.tolist() == [0.0, 0.25, 1.0]
    assert reliability_curve([0, 1, 1], [0.1, 0.5, 0.9]).n.tolist() == [3]
    constant = np.full((100, 2), 0.5)
    assert brier_decomposition(np.eye(2)[np.arange(100) % 2], constant).reliability == pytest.approx(-0.25 / 99)


@pytest.mark.parametrize(
    ("true", "found", "message"),
    [
        ([0, 1], [0.5], r"truth \(2,\) and probabilities \(1,\)"),
        ([0, 2], [0.5, 0.5], "truth must be 0 or 1"),
        ([0, 1], [0.5, 1.5], "probabilities from 0 to 1"),
        ([], [], "n at least 1"),
    ],
)
def test_what_is_no_probability_is_refused(true: list[float], found: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reliability_curve(true, found)

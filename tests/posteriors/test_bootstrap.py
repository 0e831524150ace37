"""Intervals: against scipy, the truth of their coverage, and each kind of score on shared resamples."""

from inspect import signature

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from posteriors import bootstrap_ci, paired_bootstrap
from posteriors.bootstrap import shared_intervals, shared_replicates, two_sided_p_value
from posteriors.scores import (
    POINT_SCORES,
    BoundScore,
    bias,
    mean_of_scores,
    mean_over_galaxies,
    outlier_fraction,
    r2,
    rmse,
    sigma_nmad,
)

FUNCTIONS = {"r2": r2, "rmse": rmse, "sigma_nmad": sigma_nmad, "bias": bias, "outlier_fraction": outlier_fraction}

# scipy renamed the argument in 1.15
RANDOM = "rng" if "rng" in signature(stats.bootstrap).parameters else "random_state"


def make_redshifts(
    n: int = 400, scatter: float = 0.08, seed: int = 0, tail: float = 3
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.05, 0.6, n)
    return z, z + scatter * rng.standard_t(tail, n)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_bound_score_gives_the_value_of_its_function(name: str) -> None:
    z, predicted = make_redshifts()
    interval = bootstrap_ci(name, z, predicted, n_resamples=50)
    assert interval.value == pytest.approx(FUNCTIONS[name](z, predicted), rel=1e-6)  # float32 products inside
    assert interval.low <= interval.value <= interval.high


@pytest.mark.parametrize("name", FUNCTIONS)
def test_replicates_equal_the_function_on_the_resampled_galaxies(name: str) -> None:
    z, predicted = make_redshifts(n=101)
    named = bootstrap_ci(name, z, predicted, n_resamples=200, seed=3)
    called = bootstrap_ci(FUNCTIONS[name], z, predicted, n_resamples=200, seed=3)
    assert (named.low, named.high) == pytest.approx((called.low, called.high), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", ["r2", "sigma_nmad"])
def test_the_interval_is_that_of_scipy(name: str) -> None:
    z, predicted = make_redshifts(n=300)
    ours = bootstrap_ci(name, z, predicted, n_resamples=4_000)
    theirs = stats.bootstrap(
        (z, predicted),
        FUNCTIONS[name],
        paired=True,
        vectorized=False,
        n_resamples=1_000,
        method="percentile",
        **{RANDOM: np.random.default_rng(1)},
    ).confidence_interval
    width = theirs.high - theirs.low
    # the ends of 1,000 resamples are known to about .07 of the width
    assert abs(ours.low - theirs.low) < 0.15 * width
    assert abs(ours.high - theirs.high) < 0.15 * width


@pytest.mark.parametrize("name", ["r2", "rmse", "bias", "sigma_nmad"])
def test_intervals_cover_the_truth_at_their_level(name: str) -> None:
    truth_z, truth_p = make_redshifts(n=400_000, seed=999, tail=30)
    truth = FUNCTIONS[name](truth_z, truth_p)
    hits = 0
    for repetition in range(200):
        interval = bootstrap_ci(
            name, *make_redshifts(n=200, seed=repetition, tail=30), n_resamples=300, seed=repetition
        )
        hits += interval.low <= truth <= interval.high
    # binomial sd of .015 at 200 repetitions; at n = 200 percentile intervals fall a percent or two short
    assert 0.88 <= hits / 200 <= 0.99


def test_r2_of_nearly_perfect_predictions_keeps_its_digits() -> None:
    rng = np.random.default_rng(0)
    z = 1e4 + rng.normal(size=500)
    predicted = z + 1e-6 * rng.normal(size=500)
    interval = bootstrap_ci("r2", z, predicted, n_resamples=500)
    called = bootstrap_ci(r2, z, predicted, n_resamples=500)
    assert 1 - interval.value == pytest.approx(1 - r2_score(z, predicted), rel=1e-3)  # 1 - R2 is 1e-12, eps 2e-16
    assert 1 - interval.low == pytest.approx(1 - called.low, rel=1e-3)
    assert 1 - interval.high == pytest.approx(1 - called.high, rel=1e-3)


def test_all_scores_of_a_call_share_their_resamples() -> None:
    z, predicted = make_redshifts()
    scores: dict[str, BoundScore] = {name: score.bind(z, predicted) for name, score in POINT_SCORES.items()}
    together = shared_intervals(scores, n=len(z), n_resamples=300, seed=5)
    for name in scores:
        alone = bootstrap_ci(name, z, predicted, n_resamples=300, seed=5)
        assert together[name].low == pytest.approx(alone.low, rel=1e-6, abs=1e-9)


def test_masked_galaxies_stay_in_the_resamples_but_not_in_the_score() -> None:
    z, predicted = make_redshifts(n=120)
    valid = np.random.default_rng(1).random(120) > 0.3
    spoiled = np.where(valid, predicted, np.nan)
    scores = {name: score.bind(z, spoiled, valid) for name, score in POINT_SCORES.items()}
    values, replicates = shared_replicates(scores, n=120, n_resamples=20, seed=2)
    index = np.random.default_rng(2).integers(0, 120, size=(20, 120))
    for name, function in FUNCTIONS.items():
        assert values[name] == pytest.approx(function(z[valid], predicted[valid]), rel=1e-6)
        for row, replicate in zip(index, replicates[name], strict=True):
            used = row[valid[row]]
            assert replicate == pytest.approx(function(z[used], predicted[used]), rel=1e-5, abs=1e-9)


def test_the_mean_over_targets_has_its_interval_on_the_same_resamples() -> None:
    z, predicted = make_redshifts()
    _, worse = make_redshifts(scatter=0.2, seed=1)
    scores: dict[object, BoundScore] = {
        0: POINT_SCORES["r2"].bind(z, predicted),
        1: POINT_SCORES["r2"].bind(z, worse),
        "mean": mean_of_scores([0, 1]),
    }
    values, replicates = shared_replicates(scores, n=len(z), n_resamples=100)
    assert values["mean"] == pytest.approx((r2(z, predicted) + r2(z, worse)) / 2, rel=1e-6)
    np.testing.assert_allclose(replicates["mean"], (replicates[0] + replicates[1]) / 2)


def test_the_mean_of_one_number_a_galaxy_has_the_interval_of_its_standard_error() -> None:
    rng = np.random.default_rng(0)
    nll = rng.normal(3.0, 1.0, 400)
    found = shared_intervals({"nll": mean_over_galaxies(nll)}, n=400, n_resamples=2_000)
    assert found["nll"].value == pytest.approx(nll.mean())
    # standard error of the mean: 1 / sqrt(400), the width is 2 x 1.96 of it; 2,000 resamples know it to 4 %
    assert found["nll"].high - found["nll"].low == pytest.approx(2 * 1.96 * nll.std() / 20, rel=0.1)


def test_a_perfect_prediction_has_a_perfect_interval() -> None:
    z, _ = make_redshifts()
    for name, best in {"r2": 1.0, "rmse": 0.0, "sigma_nmad": 0.0, "bias": 0.0, "outlier_fraction": 0.0}.items():
        interval = bootstrap_ci(name, z, z, n_resamples=50)
        assert (interval.value, interval.low, interval.high) == (best, best, best)


def test_a_pair_is_told_apart_where_its_separate_intervals_overlap() -> None:
    z, predicted = make_redshifts(n=300)
    slightly_worse = predicted + 0.02 * np.random.default_rng(7).normal(size=300)
    first, second = bootstrap_ci("rmse", z, predicted), bootstrap_ci("rmse", z, slightly_worse)
    pair = paired_bootstrap("rmse", z, slightly_worse, predicted)
    assert first.high > second.low
    assert pair.delta == pytest.approx(second.value - first.value, rel=1e-6)
    assert pair.low < pair.delta < pair.high
    assert pair.high - pair.low < 0.6 * (first.high - first.low)
    assert pair.p_value == paired_bootstrap("rmse", z, predicted, slightly_worse).p_value
    by_function = paired_bootstrap(rmse, z, slightly_worse, predicted, n_resamples=300)
    assert by_function.delta == pytest.approx(pair.delta, rel=1e-6)


def test_the_p_value_of_a_pair_counts_both_sides_and_is_never_zero() -> None:
    assert two_sided_p_value(np.ones(999)) == pytest.approx(2 / 1000)
    assert two_sided_p_value(np.zeros(10)) == 1.0
    assert two_sided_p_value([-1.0, 1.0, 1.0]) == 1.0


def test_equal_models_are_different_at_the_nominal_rate() -> None:
    rng = np.random.default_rng(0)
    rejected = 0
    for _ in range(200):
        y = rng.normal(size=150)
        pair = paired_bootstrap("rmse", y, y + rng.normal(size=150), y + rng.normal(size=150), n_resamples=400)
        rejected += pair.p_value < 0.05
    assert 2 <= rejected <= 24  # 10 expected, binomial sd 3.1, some excess of the percentile method at n = 150


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_resamples": 0}, "n_resamples = 0"),
        ({"y_true": [1.0], "y_pred": [1.0]}, "at least 2"),
        ({"y_pred": [1.0, np.nan, 2.0]}, "NaN"),
        ({"y_pred": [1.0, 2.0]}, "must be"),
        ({"y_true": [1.0, 1.0, 1.0]}, "constant"),
        ({"metric": "r3"}, "allowed are r2"),
    ],
)
def test_bad_input_is_refused_with_a_clear_message(changes: dict, message: str) -> None:
    arguments = {"metric": "r2", "y_true": [1.0, 2.0, 3.0], "y_pred": [1.0, 2.0, 2.0], "n_resamples": 10}
    with pytest.raises(ValueError, match=message):
        bootstrap_ci(**{**arguments, **changes})


def test_scores_bound_to_other_galaxies_or_unknown_keys_are_refused() -> None:
    z, predicted = make_redshifts()
    score = POINT_SCORES["r2"].bind(z, predicted)
    with pytest.raises(ValueError, match="bound to 400 galaxies, n = 399"):
        shared_intervals({"r2": score}, n=399)
    with pytest.raises(ValueError, match="made of"):
        shared_intervals({"r2": score, "mean": mean_of_scores(["r3"])}, n=400)


def test_named_density_scores_take_draws() -> None:
    rng = np.random.default_rng(0)
    y, draws = rng.normal(size=(60, 2)), rng.normal(size=(50, 60, 2))
    for name in ("crps", "energy_score"):
        interval = bootstrap_ci(name, y, draws, n_resamples=200)
        assert interval.low < interval.value < interval.high

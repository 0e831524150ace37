"""Intervals: against scipy, the truth of their coverage, and each kind of score on shared resamples."""

from dataclasses import astuple
from inspect import signature

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from posteriors import bootstrap_ci, paired_bootstrap
from posteriors.resampling.bootstrap import NAMED_SCORES, shared_intervals, shared_replicates, two_sided_p_value
from posteriors.resampling.replicates import cluster_codes
from posteriors.resampling.weights import weight_chunks
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
from posteriors.scores.classification import CLASS_SCORES

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


def test_scores_of_many_models_are_those_of_each_alone() -> None:
    models = [make_redshifts(scatter=0.02 * (1 + k), seed=0)[1] for k in range(40)]  # enough for the product of torch
    z, _ = make_redshifts()
    together = shared_intervals(
        {k: POINT_SCORES["r2"].bind(z, predicted) for k, predicted in enumerate(models)}, n=len(z), n_resamples=300
    )
    for k, predicted in enumerate(models):
        alone = bootstrap_ci("r2", z, predicted, n_resamples=300)
        # both products are float32 sums of 400 numbers of unit size: 1e-6 of a departure of a few per cent
        assert astuple(together[k])[:3] == pytest.approx(astuple(alone)[:3], rel=1e-6, abs=1e-8)


def test_masked_galaxies_stay_in_the_resamples_but_not_in_the_score() -> None:
    z, predicted = make_redshifts(n=120)
    valid = np.random.default_rng(1).random(120) > 0.3
    spoiled = np.where(valid, predicted, np.nan)
    scores = {name: score.bind(z, spoiled, valid) for name, score in POINT_SCORES.items()}
    values, replicates = shared_replicates(scores, n=120, n_resamples=20, seed=2)
    _, weights = next(weight_chunks(120, 20, 2))
    for name, function in FUNCTIONS.items():
        assert values[name] == pytest.approx(function(z[valid], predicted[valid]), rel=1e-6)
        for row, replicate in zip(weights, replicates[name], strict=True):
            used = np.repeat(np.flatnonzero(valid), row[valid].astype(int))
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


@pytest.mark.parametrize("name", ["r2", "rmse", "sigma_nmad", "bias"])
def test_the_bca_interval_is_that_of_scipy(name: str) -> None:
    z, predicted = make_redshifts(n=80)
    theirs = stats.bootstrap(
        (z, predicted),
        FUNCTIONS[name],
        paired=True,
        vectorized=False,
        n_resamples=2_000,
        method="BCa",
        **{RANDOM: np.random.default_rng(1)},
    ).confidence_interval
    ours = bootstrap_ci(name, z, predicted, n_resamples=4_000, method="bca")
    width = theirs.high - theirs.low
    # ends of 2,000 resamples, further out than .025 where the score is skewed: known to some .1 of the width
    assert abs(ours.low - theirs.low) < 0.2 * width
    assert abs(ours.high - theirs.high) < 0.2 * width


def test_bca_moves_the_interval_of_a_skewed_score_and_agrees_with_the_called_function() -> None:
    z, predicted = make_redshifts(n=40)
    plain, corrected = (bootstrap_ci("rmse", z, predicted, 2_000, method=m) for m in ("percentile", "bca"))
    called = bootstrap_ci(rmse, z, predicted, 2_000, method="bca")
    assert corrected.high > plain.high  # the rmse of few galaxies with heavy tails is too small more often than not
    assert (called.low, called.high) == pytest.approx((corrected.low, corrected.high), rel=1e-6)


def test_a_paired_delta_and_a_mean_over_targets_have_bca_intervals() -> None:
    z, predicted = make_redshifts(n=200)
    _, worse = make_redshifts(n=200, scatter=0.2, seed=1)
    named = paired_bootstrap("rmse", z, predicted, worse, 500, method="bca")
    called = paired_bootstrap(rmse, z, predicted, worse, 500, method="bca")
    assert (named.low, named.high) == pytest.approx((called.low, called.high), rel=1e-5)


def make_clusters(n_clusters: int = 60, size: int = 8, share: float = 0.7, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Truths, predictions whose errors have a part in common within clusters, and the clusters' labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_clusters), size)
    y = rng.normal(size=labels.size)
    error = np.sqrt(share) * rng.normal(size=n_clusters)[labels] + np.sqrt(1 - share) * rng.normal(size=labels.size)
    return y, y + 0.3 + error, labels * 10 - 7


def test_the_design_effect_is_that_of_the_intraclass_correlation() -> None:
    y, predicted, labels = make_clusters()
    error = predicted - y
    interval = shared_intervals({"mean": mean_over_galaxies(error)}, n=len(y), n_resamples=4_000, clusters=labels)[
        "mean"
    ]
    # Kish: 1 + (size - 1) rho = 5.9, where rho is known to some .06 from 60 clusters
    assert interval.design_effect == pytest.approx(1 + 7 * 0.7, rel=0.2)
    free = shared_intervals({"mean": mean_over_galaxies(error)}, n=len(y), n_resamples=4_000)["mean"]
    assert free.design_effect is None
    ratio = (interval.high - interval.low) / (free.high - free.low)
    assert ratio == pytest.approx(interval.design_effect**0.5, rel=0.1)


@pytest.mark.parametrize("method", ["percentile", "bca"])
@pytest.mark.parametrize("name", ["rmse", "sigma_nmad"])
def test_clusters_are_resampled_as_a_whole_by_name_and_by_function(name: str, method) -> None:
    y, predicted, labels = make_clusters()
    y, predicted = y + 20, predicted + 20
    named = bootstrap_ci(name, y, predicted, 300, clusters=labels, method=method)
    called = bootstrap_ci(FUNCTIONS[name], y, predicted, 300, clusters=labels, method=method)
    assert (named.low, named.high) == pytest.approx((called.low, called.high), rel=1e-5)
    assert named.design_effect == pytest.approx(called.design_effect, rel=1e-4)
    assert named.high - named.low > 1.3 * np.subtract(*astuple(bootstrap_ci(name, y, predicted, 300))[2:0:-1])


def test_galaxies_that_are_their_own_clusters_are_resampled_one_by_one() -> None:
    y, predicted, _ = make_clusters()
    alone = paired_bootstrap("r2", y, predicted, predicted * 0.9, 200, clusters=np.arange(len(y)))
    free = paired_bootstrap("r2", y, predicted, predicted * 0.9, 200)
    assert (alone.low, alone.high, alone.p_value) == pytest.approx((free.low, free.high, free.p_value), rel=1e-6)
    assert alone.design_effect == pytest.approx(1)


@pytest.mark.parametrize(
    ("clusters", "message"),
    [
        (np.zeros(3), "all galaxies are in"),
        (np.zeros(2), r"clusters of shape \(2,\)"),
        ([0.0, np.nan, 1.0], "1 labels that are NaN"),
    ],
)
def test_labels_that_make_no_clusters_are_refused(clusters, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cluster_codes(clusters, 3)


def test_every_named_score_has_an_interval_that_holds_its_value() -> None:
    rng = np.random.default_rng(0)
    y, draws = rng.normal(size=(80, 2)), rng.normal(size=(60, 80, 2))
    z, predicted = make_redshifts(n=80)
    classes = rng.integers(0, 3, (2, 80))
    for name in NAMED_SCORES:
        if name in POINT_SCORES:
            truth, given = z, predicted
        elif name in CLASS_SCORES:
            truth, given = classes
        else:
            truth, given = (y, rng.normal(size=(4, 80))) if name.startswith("nll") else (y, draws)
        for method in ("percentile", "bca"):
            found = bootstrap_ci(name, truth, given, n_resamples=300, method=method)
            assert found.low <= found.value <= found.high, name
    per_dim = bootstrap_ci("nll_per_dim", y, np.full((3, 80), -4.0), 10).value
    assert per_dim == pytest.approx(2.0)  # two targets


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_resamples": 0}, "n_resamples = 0"),
        ({"y_true": [1.0], "y_pred": [1.0]}, "at least 2"),
        ({"y_pred": [1.0, np.nan, 2.0]}, "NaN"),
        ({"y_pred": [1.0, 2.0]}, "must be"),
        ({"y_true": [1.0, 1.0, 1.0]}, "constant"),
        ({"metric": "r3"}, "allowed are r2"),
        ({"method": "BCa"}, "method 'BCa': allowed are 'percentile' and 'bca'"),
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

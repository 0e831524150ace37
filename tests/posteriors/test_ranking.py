"""Ranks from paired resamples: equal models tie, better ones stand apart, and chance is called a difference rarely."""

from __future__ import annotations

import numpy as np
import pytest

from posteriors.resampling.bootstrap import paired_bootstrap
from posteriors.resampling.ranking import Comparison, compare, join, rank_models
from posteriors.resampling.replicates import shared_replicates
from posteriors.scores.resampling import mean_over_galaxies

N = 300


def resampled(costs: np.ndarray, seed: int = 0, n_resamples: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Mean (m,) and replicates (m, B) of costs (m, n) a galaxy."""
    bound = {number: mean_over_galaxies(column) for number, column in enumerate(costs)}
    values, replicates = shared_replicates(bound, n=costs.shape[1], n_resamples=n_resamples, seed=seed)
    return np.array(list(values.values())), np.stack(list(replicates.values()))


def made(shifts: list[float], seed: int = 0, common: float = 1.0, own: float = 0.3) -> np.ndarray:
    """Costs (m, n) of models that find the same galaxies hard, and differ by a shift and noise of their own."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, common, N) + np.array(shifts)[:, None] + rng.normal(0, own, (len(shifts), N))


def test_equal_models_tie_and_a_better_one_stands_alone() -> None:
    costs = made([0.0, -0.5, 0.0, 0.0])
    costs[3] = costs[2]  # the same predictions
    value, replicates = resampled(costs)
    comparison = compare(value, replicates)
    assert comparison.p_value[2, 3] == 1.0
    ranks = rank_models(value, comparison)
    assert (ranks.low[1], ranks.high[1], ranks.tie_group[1]) == (1, 1, 1)
    for number in (0, 2, 3):
        assert (ranks.low[number], ranks.high[number], ranks.tie_group[number]) == (2, 4, 2)


def test_pairing_finds_what_the_intervals_of_two_models_hide() -> None:
    value, replicates = resampled(made([0.0, 0.1]))
    low, high = np.quantile(replicates, (0.025, 0.975), axis=1)
    assert low[1] < high[0]  # they overlap
    assert rank_models(value, compare(value, replicates)).tie_group.tolist() == [1, 2]


def test_the_p_value_is_that_of_counted_resamples_where_these_can_tell() -> None:
    for seed, shift in enumerate((0.0, 0.02, 0.04)):
        costs = made([0.0, shift], seed)
        value, replicates = resampled(costs, n_resamples=4000)
        ours = compare(value, replicates).p_value[0, 1]
        counted = paired_bootstrap(lambda y, p: float(p.mean()), costs[0], costs[0], costs[1], n_resamples=4000)
        # both are estimates: counts of 4,000 scatter by 8 % at p = .04, the standard deviation by 1 %
        assert ours == pytest.approx(counted.p_value, rel=0.25, abs=0.01)


def test_equal_models_are_told_apart_in_one_table_of_twenty_at_most() -> None:
    false = 0
    for seed in range(200):
        value, replicates = resampled(made([0.0] * 6, seed), seed)
        false += (rank_models(value, compare(value, replicates)).tie_group > 1).any()
    assert false <= 19  # binomial: 5 % of 200, and three sigma


def test_ranks_follow_models_in_any_order() -> None:
    costs = made([0.0, -0.5, 0.05, 1.0, 0.02])
    order = np.random.default_rng(1).permutation(5)
    one, other = (rank_models(value, compare(value, r)) for value, r in map(resampled, (costs, costs[order])))
    for name in ("low", "high", "tie_group"):
        np.testing.assert_array_equal(getattr(one, name)[order], getattr(other, name))


def test_a_tie_is_not_transitive_and_ranges_say_so() -> None:
    p = np.array([[np.nan, 0.5, 0.001], [0.5, np.nan, 0.5], [0.001, 0.5, np.nan]])
    cost = np.array([0.0, 1.0, 2.0])
    ranks = rank_models(cost, Comparison(cost[:, None] - cost, p))
    assert ranks.low.tolist() == [1, 1, 2]
    assert ranks.high.tolist() == [2, 3, 3]
    assert ranks.tie_group.tolist() == [1, 1, 2]


def test_pairs_that_were_not_compared_count_as_ties_and_do_not_cost_power() -> None:
    value, replicates = resampled(made([0.0, 0.5]))
    part = compare(value, replicates)
    whole = join([(np.array([0, 2]), part)], 3)
    assert np.isnan(whole.p_value[0, 1])
    ranks = rank_models(np.array([0.0, 0.2, 0.5]), whole)
    assert ranks.low.tolist() == [1, 1, 2]
    assert ranks.high.tolist() == [2, 3, 3]
    alone = join([], 2)
    assert rank_models(np.array([0.0, 1.0]), alone).tie_group.tolist() == [1, 1]


def test_resamples_without_a_score_are_left_out_of_their_pairs() -> None:
    value, replicates = resampled(made([0.0, -0.5, 0.0]))
    torn = replicates.copy()
    torn[2, :10] = np.nan
    whole, some = compare(value, replicates), compare(value, torn)
    assert some.p_value[0, 1] == pytest.approx(whole.p_value[0, 1], rel=1e-6)
    # ten of 600 resamples fewer: the standard deviation moves by a few percent at most, p with it
    assert some.p_value[0, 2] == pytest.approx(whole.p_value[0, 2], rel=0.2)

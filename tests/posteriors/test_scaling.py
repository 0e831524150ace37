"""Scalings: round trips, the share of each component, and columns without spread."""

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from posteriors.flows.limits import TargetLimits
from posteriors.flows.scaling import ContextScaling, TargetScaling


def test_targets_come_back_from_their_z_scores() -> None:
    target = np.random.default_rng(0).normal([1e4, -3.0], [1e-3, 50.0], (200, 2))
    scaling = TargetScaling.fit(target)
    scaled = scaling.forward(target)
    np.testing.assert_allclose(scaled.std(0), 1)
    np.testing.assert_allclose(scaling.inverse(scaled), target)
    assert scaling.log_jacobian == pytest.approx(np.log(target.std(0)).sum())


def test_a_context_of_few_columns_is_whitened_fully() -> None:
    rng = np.random.default_rng(0)
    context = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6)) * [1, 10, 100, 1, 1, 1e-3] + 5
    scaled = ContextScaling.principal_components(context, 64).forward(context)
    np.testing.assert_allclose(np.cov(scaled.T, bias=True), np.eye(6), atol=1e-4)  # float32 output


def test_later_components_fall_with_their_share_of_the_fourth() -> None:
    rng = np.random.default_rng(0)
    context = rng.normal(size=(2_000, 40)) @ rng.normal(size=(40, 40))
    scaled = ContextScaling.principal_components(context, 30).forward(context)
    spread = PCA().fit(context).singular_values_
    np.testing.assert_allclose(scaled.std(0), np.minimum(1, spread[:30] / spread[3]) ** 2, rtol=2e-3)


def test_columns_in_very_different_units_are_standardised_first() -> None:
    rng = np.random.default_rng(0)
    context = rng.normal(size=(2_000, 40)) @ rng.normal(size=(40, 40))
    units = np.r_[1e4, np.ones(39)]
    spread = PCA().fit(context / context.std(0)).singular_values_
    scaled = ContextScaling.principal_components(context * units, 30).forward(context * units)
    np.testing.assert_allclose(scaled.std(0), np.minimum(1, spread[:30] / spread[3]) ** 2, rtol=2e-3)


def test_a_row_far_away_neither_turns_the_components_nor_reaches_the_flow() -> None:
    rng = np.random.default_rng(0)
    context = rng.normal(size=(1_000, 20)) @ rng.normal(size=(20, 20))
    plain = ContextScaling.principal_components(context, 20).forward(context)
    wild = context.copy()
    wild[0] = 1e4 * rng.normal(size=20)
    scaled = ContextScaling.principal_components(wild, 20).forward(wild)
    assert np.abs(scaled).max() <= 6
    agreement = [abs(np.corrcoef(plain[1:, j], scaled[1:, j])[0, 1]) for j in range(3)]
    assert min(agreement) > 0.99


def test_no_value_of_gaussian_columns_is_cut_off() -> None:
    """Of 20,000 values one lies beyond 4 standard deviations; a target that is known well has it there, too."""
    context = np.random.default_rng(0).normal(size=(20_000, 3))
    scaling = ContextScaling.principal_components(context, 3)
    assert np.abs(scaling.forward(context)).max() > 4
    np.testing.assert_allclose(scaling.forward(context), (context - scaling.mean) @ scaling.matrix)


def test_columns_without_spread_carry_nothing_and_break_nothing() -> None:
    rng = np.random.default_rng(0)
    context = np.column_stack([rng.normal(size=100), np.full(100, 0.1, dtype=np.float32), rng.normal(size=100)])
    context = np.column_stack([context, context[:, 0] + context[:, 2]])  # collinear too
    scaling = ContextScaling.principal_components(context, 64)
    assert scaling.n_components == 2
    assert ContextScaling.principal_components(np.full((50, 3), 7.0), 64).forward(np.ones((2, 3))).tolist() == [
        [0],
        [0],
    ]
    assert ContextScaling.standardise_as_one(np.full((5, 3), 7.0)).forward(np.ones((2, 3))).tolist() == [[0] * 3] * 2
    standardised = ContextScaling.standardise(context).forward(context)
    assert np.isfinite(standardised).all()
    assert (standardised[:, 1] == 0).all()


def test_one_scale_for_all_columns_is_that_of_the_released_code() -> None:
    context = np.random.default_rng(0).normal([1.0, 100.0], [1.0, 3.0], (200, 2))
    scaled = ContextScaling.standardise_as_one(context).forward(context)
    np.testing.assert_allclose(scaled, (context - context.mean()) / context.std())


@pytest.mark.parametrize("limit", [(0.0, None), (None, 10.0), (0.0, 10.0), (None, None), None])
def test_limits_come_back_and_their_slope_is_that_of_finite_differences(limit) -> None:
    target = np.random.default_rng(0).uniform(0.5, 9.5, (300, 2))
    scaling = TargetScaling.fit(target, [limit, None])
    scaled = scaling.forward(target)
    np.testing.assert_allclose(scaling.inverse(scaled), target)
    np.testing.assert_allclose(scaled.std(0), 1)
    h = 1e-6
    slopes = (scaling.forward(target + h) - scaling.forward(target - h)) / (2 * h)
    np.testing.assert_allclose(scaling.log_slope(torch.from_numpy(scaled)), np.log(slopes).sum(1), atol=1e-6)


@pytest.mark.parametrize("limit", [(0.0, None), (None, 10.0)])
def test_a_limit_far_away_changes_nothing_and_one_nearby_bends_like_a_logarithm(limit) -> None:
    limits = TargetLimits.of([limit], np.array([1.25]))  # a reach of .1
    towards = 1.0 if limit[0] == 0.0 else -1.0  # 4 is 40 reaches of .1 away, 10^-6 is 10^-5 of one
    edge = limit[0] if limit[0] is not None else limit[1]
    far, near = np.array([[edge + 4 * towards]]), np.array([[edge + 1e-6 * towards], [edge + 2e-6 * towards]])
    np.testing.assert_allclose(limits.forward(far), far, rtol=1e-12)
    step = np.diff(limits.forward(near), axis=0).item() * towards
    assert step == pytest.approx(0.1 * math.log(2), rel=1e-4)  # a reach a factor e


def test_two_limits_bend_near_each_and_are_a_logit_where_their_reach_is_long() -> None:
    limits = TargetLimits.of([(-2.0, 3.0)], np.array([0.4]))  # a reach of .1
    middle = np.array([[0.0], [1.0]])  # 20 reaches from both
    np.testing.assert_allclose(limits.forward(middle), middle, rtol=0, atol=1e-9)
    for edge, inwards in ((-2.0, 1.0), (3.0, -1.0)):
        near = edge + inwards * np.array([[1e-6], [2e-6]])
        step = np.diff(limits.forward(near), axis=0).item() * inwards
        assert step == pytest.approx(0.1 * math.log(2), rel=1e-4)  # a reach a factor e
    wide = TargetLimits.of([(-2.0, 3.0)], np.array([4e4]))  # a reach 2,000 times the range
    values = np.linspace(-1.9, 2.9, 50)[:, None]
    free = wide.forward(values)
    logit = np.log((values + 2) / (3 - values))
    np.testing.assert_allclose((free - free[0]) / 1e4, logit - logit[0], atol=1e-3)  # the range over the reach is 5e-4


def test_draws_cannot_leave_the_limits_and_targets_beyond_them_are_refused() -> None:
    target = np.random.default_rng(0).uniform(1, 2, (50, 1))
    scaling = TargetScaling.fit(target, [(0.0, 3.0)])
    extreme = scaling.inverse(np.array([[-30.0], [0.0], [30.0]]))
    assert ((extreme >= 0) & (extreme <= 3)).all()
    assert np.isnan(scaling.forward(np.array([[3.5]]))).all()
    with pytest.raises(ValueError, match=r"column 0 has 1 values on or beyond its limits \(1.5, inf\)"):
        TargetScaling.fit(np.array([[1.5], [2.0], [3.0]]), [(1.5, None)])
    with pytest.raises(ValueError, match="2 limits: 1 are needed"):
        TargetLimits.of([None, None], np.ones(1))
    with pytest.raises(ValueError, match="the lower must be below the upper"):
        TargetLimits.of([(1.0, 1.0)], np.ones(1))

"""Scalings: round trips, the share of each component, and columns without spread."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from posteriors.scaling import ContextScaling, TargetScaling, member_components


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


def test_later_components_keep_their_share_of_the_sixteenth() -> None:
    rng = np.random.default_rng(0)
    context = rng.normal(size=(2_000, 40)) @ rng.normal(size=(40, 40))
    scaling = ContextScaling.principal_components(context, 30)
    spread = PCA().fit((context - context.mean(0)) / context.std(0)).singular_values_
    expected = np.minimum(1, spread[:30] / spread[15])
    np.testing.assert_allclose(scaling.forward(context).std(0), expected, rtol=1e-4)


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
    standardised = ContextScaling.standardise(context).forward(context)
    assert np.isfinite(standardised).all()
    assert (standardised[:, 1] == 0).all()


def test_members_see_from_sixteen_to_all_components() -> None:
    assert member_components(64, 4) == [16, 25, 40, 64]
    assert member_components(5, 3) == [5, 5, 5]
    assert member_components(64, 1) == [16]

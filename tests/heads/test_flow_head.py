"""The flow probe under a survey's limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmark.heads.flow import FlowHead

N = 300


def fitted(limits: list[tuple[float | None, float | None]], **options: Any) -> tuple[FlowHead, np.ndarray, np.ndarray]:
    """A target that piles up at 0, some of it exactly there, beside one without limits."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(N, 3)).astype(np.float32)
    first = np.maximum(0.0, 0.3 * rng.normal(size=N))
    target = np.column_stack([first, inputs[:, 0] + rng.normal(size=N)])
    head = FlowHead(members=2, epochs=4, **options)
    head.fit(inputs, target, validation=(inputs[:60], target[:60]), limits=limits, seed=0)
    return head, inputs, target


def test_draws_keep_within_a_surveys_limits_and_values_on_a_limit_have_a_density() -> None:
    for limits, inside in (([(0.0, 1.5), (None, None)], True), ([(None, None), (None, None)], False)):
        head, inputs, target = fitted(limits)
        draws = head.draw(inputs, n_draws=50, seed=0)
        assert draws.dtype == np.float32
        assert ((draws[:, :, 0] >= 0) & (draws[:, :, 0] <= 1.5)).all() == inside
        assert (draws[:, :, 1] < 0).any()
        assert np.isfinite(head.member_log_prob(target, inputs)).all()


def test_the_density_ends_a_thousandth_of_the_spread_beyond_a_limit() -> None:
    head, inputs, target = fitted([(0.0, None), (None, None)])
    spread = target[:, 0].std()
    for below, density in ((0.9e-3, True), (1.1e-3, False)):
        moved = target[:1].copy()
        moved[0, 0] = -below * spread
        assert np.isfinite(head.member_log_prob(moved, inputs[:1])).all() == density


def test_the_density_that_draws_come_from_has_equal_weights_unless_others_are_asked_for() -> None:
    found = {}
    for weights in ("uniform", "stacked"):
        head, inputs, target = fitted([(None, None)] * 2, weights=weights)
        found[weights] = head
        used = head.stacked_weights if weights == "stacked" else np.full(2, 0.5)
        mixture = np.log(used @ np.exp(head.member_log_prob(target, inputs)))
        np.testing.assert_allclose(head.log_prob(target, inputs), mixture, rtol=1e-9)
        assert head.facts()["stacked_weights"] == pytest.approx(head.stacked_weights, abs=1e-4)
    np.testing.assert_array_equal(found["uniform"].stacked_weights, found["stacked"].stacked_weights)
    assert abs(found["stacked"].stacked_weights[0] - 0.5) > 0.01


def test_training_targets_beyond_a_limit_are_refused() -> None:
    with pytest.raises(ValueError, match="on or beyond its limits"):
        fitted([(0.1, None), (None, None)])

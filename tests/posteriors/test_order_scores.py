"""Medians of resamples by bisection in cumulative counts: equal to numpy on the repeated values, whatever the data."""

from __future__ import annotations

import numpy as np
import pytest

from posteriors.resampling.weights import weight_chunks
from posteriors.scores.order import ORDER_STATISTICS, SortedValues

FUNCTIONS = {
    "median": np.median,
    "median_deviation": lambda values: np.median(np.abs(values - np.median(values))),
}


def make_values(kind: str, n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "normal":
        return 1e3 + rng.normal(size=n)
    if kind == "rounded":  # many equal values, and equal distances on both sides of the median
        return np.round(rng.normal(size=n), 1)
    if kind == "two groups":  # resampled medians jump across a gap
        return np.concatenate([rng.normal(-5, 1, n // 2), rng.normal(5, 1, n - n // 2)])
    if kind == "constant":
        return np.full(n, 0.3)
    return rng.standard_cauchy(n)


@pytest.mark.parametrize("statistic", FUNCTIONS)
@pytest.mark.parametrize("kind", ["normal", "rounded", "two groups", "constant", "cauchy"])
@pytest.mark.parametrize("n", [5, 60, 61, 3_000])
def test_resampled_medians_are_those_of_the_repeated_values(statistic: str, kind: str, n: int) -> None:
    values = make_values(kind, n)
    valid = np.random.default_rng(1).random(n) < 0.9 if n > 5 else np.ones(n, dtype=bool)
    ordered = SortedValues(values, valid, ORDER_STATISTICS[statistic])
    assert (ordered.cells.shape[1] > 0) == (n == 3_000)
    _, weights = next(weight_chunks(n, 40, 2))
    found = ordered.evaluate(weights, weights @ ordered.cells)
    for row, score in zip(weights, found, strict=True):
        repeated = np.repeat(values[valid], row[valid].astype(int))
        # distances are differences of values near 1,000: some 1e-13 of rounding
        assert score == pytest.approx(FUNCTIONS[statistic](repeated), rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("statistic", FUNCTIONS)
def test_answers_that_leave_their_window_are_found_all_the_same(statistic: str, monkeypatch) -> None:
    monkeypatch.setattr("posteriors.scores.order._REACH", 0.1)  # windows of a fifth of a standard deviation
    values = make_values("normal", 2_000)
    valid = np.ones(2_000, dtype=bool)
    ordered = SortedValues(values, valid, ORDER_STATISTICS[statistic])
    _, weights = next(weight_chunks(2_000, 60, 2))
    found = ordered.evaluate(weights, weights @ ordered.cells)
    expected = [FUNCTIONS[statistic](np.repeat(values, row.astype(int))) for row in weights]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("statistic", FUNCTIONS)
@pytest.mark.parametrize("kind", ["normal", "rounded", "cauchy"])
@pytest.mark.parametrize("n", [2, 3, 24, 25])
def test_leaving_one_galaxy_out_in_closed_form_is_leaving_it_out(statistic: str, kind: str, n: int) -> None:
    values = make_values(kind, n)
    places, without = SortedValues(values, np.ones(n, dtype=bool), ORDER_STATISTICS[statistic]).leave_one_out()
    expected = [FUNCTIONS[statistic](np.delete(values, place)) for place in places]
    np.testing.assert_allclose(without, expected, rtol=1e-9, atol=1e-11)


def test_a_resample_without_valid_galaxies_has_no_median() -> None:
    ordered = SortedValues(np.array([1.0, 2.0, 3.0]), np.array([True, True, False]), ORDER_STATISTICS["median"])
    weights = np.array([[0, 0, 3], [1, 0, 2]], dtype=np.float32)
    found = ordered.evaluate(weights, weights @ ordered.cells)
    assert np.isnan(found[0])
    assert found[1] == 1.0

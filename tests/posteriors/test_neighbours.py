"""Neighbours: scikit-learn as the oracle, ties, duplicates, and targets that miss values."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsRegressor, NearestNeighbors

from posteriors.neighbours import exact
from posteriors.neighbours.exact import Neighbours, nearest, neighbour_regression, weighted_mean


def make_rows(n: int = 500, n_queries: int = 60, d: int = 20, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(n, 3)), rng.normal(size=(n_queries, d))


@pytest.mark.parametrize("weights", ["distance", "uniform"])
@pytest.mark.parametrize("k", [1, 7, 64, 500])
def test_predictions_are_those_of_scikit_learn(k: int, weights) -> None:
    rows, target, queries = make_rows()
    queries[:5] = rows[:5]  # distance 0
    expected = KNeighborsRegressor(k, weights=weights, algorithm="brute").fit(rows, target).predict(queries)
    ours = neighbour_regression(rows, target, queries, k, weights)
    # scikit-learn's squared distances by products lose digits near 0: rows 0-4 there are 1e-7 from themselves
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_neighbours_and_distances_are_exact_far_from_the_origin() -> None:
    rows, _, queries = make_rows()
    rows, queries = rows * 1e-3 + 1e3, queries * 1e-3 + 1e3  # float32 products alone would see nothing but rounding
    found = nearest(rows, queries, 10)
    distance, index = NearestNeighbors(n_neighbors=10, algorithm="kd_tree").fit(rows).kneighbors(queries)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_allclose(found.distance, distance, rtol=1e-6)


def test_one_distant_row_does_not_cost_the_others_their_order() -> None:
    rows, _, queries = make_rows(d=2)
    rows[0] = 1e6  # float32 keeps no digit of the other rows' distances beside its square
    found = nearest(rows, queries, 5)
    index = NearestNeighbors(n_neighbors=5, algorithm="kd_tree").fit(rows).kneighbors(queries, return_distance=False)
    np.testing.assert_array_equal(found.index, index)


@pytest.mark.parametrize("kind", ["normal", "one direction", "unequal scales", "positive"])
def test_the_order_is_that_of_float64_for_crowded_embeddings(kind: str) -> None:
    # neighbours differ in the sixth digit: float32 alone puts many of them in the wrong order
    rng = np.random.default_rng(0)
    rows, queries = rng.normal(size=(2_000, 512)), rng.normal(size=(40, 512))
    if kind == "one direction":
        common = rng.normal(size=512)
        rows, queries = common + 0.01 * rows, common + 0.01 * queries
        rows[:5] = -common  # keeps the mean away from the crowd
    elif kind == "unequal scales":
        scale = np.exp(2 * rng.normal(size=512))
        rows, queries = rows * scale, queries * scale
    elif kind == "positive":
        rows, queries = np.abs(rows), np.abs(queries)
    found = nearest(rows, queries, 64)
    distance = np.sqrt(np.square(rows[None] - queries[:, None]).sum(2))
    expected = np.argsort(distance, axis=1, kind="stable")[:, :64]
    np.testing.assert_array_equal(found.index, expected)
    np.testing.assert_allclose(found.distance, np.take_along_axis(distance, expected, 1), rtol=5e-6)


def test_ties_go_to_the_lower_row_even_among_many_duplicates() -> None:
    rows = np.repeat([[0.0, 0.0], [1.0, 0.0]], 40, axis=0)
    found = nearest(rows, [[0.0, 0.0], [1.0, 0.0]], 30)
    np.testing.assert_array_equal(found.index, [np.arange(30), np.arange(40, 70)])
    assert (found.distance == 0).all()


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _, queries = make_rows()
    whole = nearest(rows, queries, 9)
    monkeypatch.setattr(exact, "_CHUNK_VALUES", 700)
    parts = nearest(rows, queries, 9)
    np.testing.assert_array_equal(whole.index, parts.index)
    np.testing.assert_array_equal(whole.distance, parts.distance)


def test_a_query_on_top_of_training_rows_takes_their_mean() -> None:
    found = Neighbours(np.array([[0, 1, 2]]), np.array([[0.0, 0.0, 1.0]]))
    assert weighted_mean([1.0, 3.0, 100.0], found) == pytest.approx([2.0])
    assert weighted_mean([1.0, 3.0, 5.0], found, "uniform") == pytest.approx([3.0])


def test_targets_with_missing_values_rest_on_k_neighbours_that_have_them() -> None:
    rows, target, queries = make_rows()
    rng = np.random.default_rng(1)
    target[rng.random(500) < 0.4, 0] = np.nan
    missing = rng.random(500) < 0.2
    target[missing, 1:] = np.nan
    ours = neighbour_regression(rows, target, queries, 8)
    for column in range(3):
        known = np.isfinite(target[:, column])
        oracle = KNeighborsRegressor(8, weights="distance").fit(rows[known], target[known, column])
        np.testing.assert_allclose(ours[:, column], oracle.predict(queries), atol=1e-6)


def test_targets_that_miss_the_same_rows_share_one_search(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, target, queries = make_rows()
    target[:9, 2] = np.nan
    calls = []
    monkeypatch.setattr(exact, "nearest", lambda *arguments: calls.append(0) or nearest(*arguments))
    neighbour_regression(rows, target, queries, 4)
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k = 0: 1 to 500"),
        ({"k": 501}, "has 500 values: at least k = 501"),
        ({"query": np.zeros((3, 19))}, "reference has 20 columns and query 19"),
        ({"query": np.full((3, 20), np.nan)}, "query has 60 values that are NaN"),
        ({"target": np.zeros((499, 3))}, r"target has shape \(499, 3\)"),
        ({"target": np.full((500, 2), np.inf)}, "1000 infinite values"),
        ({"target": np.zeros((500, 0))}, "no column"),
        ({"weights": "gaussian"}, "allowed are 'distance' and 'uniform'"),
    ],
)
def test_bad_input_is_refused(changes: dict, message: str) -> None:
    rows, target, queries = make_rows()
    arguments = {"reference": rows, "target": target, "query": queries, "k": 5, **changes}
    with pytest.raises(ValueError, match=message):
        neighbour_regression(**arguments)

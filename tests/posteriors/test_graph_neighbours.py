"""Neighbours by a graph: nearly all of the exact ones, and the recall that is stated is the one there is."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from posteriors.neighbours.exact import nearest, neighbour_regression
from posteriors.neighbours.graph import nearest_by_graph


def make_rows(n: int = 3_000, n_queries: int = 300, d: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows near a surface of six dimensions, as embeddings are."""
    rng = np.random.default_rng(seed)
    surface = rng.normal(size=(6, d))
    return tuple(50 + rng.normal(size=(m, 6)) @ surface + 0.1 * rng.normal(size=(m, d)) for m in (n, n_queries))


def recall_of(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.mean([np.isin(true, got).mean() for true, got in zip(exact, found, strict=True)]))


def test_nearly_all_neighbours_are_found_in_their_order() -> None:
    rows, queries = make_rows()
    found, exact = nearest_by_graph(rows, queries, 20), nearest(rows, queries, 20)
    assert exact.recall == 1
    assert found.recall > 0.98
    same = (found.index == exact.index).all(1)
    assert same.mean() > 0.8
    np.testing.assert_allclose(found.distance[same], exact.distance[same], rtol=1e-5)
    assert (np.diff(found.distance, axis=1) >= 0).all()


def test_the_stated_recall_is_that_of_all_queries_even_where_it_is_poor() -> None:
    rng = np.random.default_rng(0)
    rows, queries = rng.normal(size=(4_000, 64)), rng.normal(size=(400, 64))  # hard: no structure in 64 dimensions
    found = nearest_by_graph(rows, queries, 10, expansion=10, n_checked=200)
    true = recall_of(found.index, nearest(rows, queries, 10).index)
    assert true < 0.9
    assert found.recall == pytest.approx(true, abs=0.05)  # sd of .01 from 2,000 neighbours of 200 queries
    assert nearest_by_graph(rows, queries, 10, expansion=400).recall > found.recall + 0.1


def test_the_same_graph_is_built_every_time_and_rows_that_coincide_tie_by_row() -> None:
    rows, queries = make_rows(n=500, n_queries=20)
    rows[250:] = rows[:250]
    first, second = nearest_by_graph(rows, queries, 6), nearest_by_graph(rows, queries, 6)
    np.testing.assert_array_equal(first.index, second.index)
    pairs = first.index.reshape(20, 3, 2)
    assert (pairs[..., 1] - pairs[..., 0] == 250).mean() > 0.9


def test_targets_are_predicted_through_the_graph_as_through_the_exact_search() -> None:
    rows, queries = make_rows()
    target = np.sin(rows[:, :2])
    target[:30, 1] = np.nan
    by_graph = neighbour_regression(rows, target, queries, 16, search=partial(nearest_by_graph, n_checked=20))
    exact = neighbour_regression(rows, target, queries, 16)
    assert np.abs(by_graph - exact).mean() < 0.01
    assert not np.array_equal(by_graph, neighbour_regression(rows, target, queries, 8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k = 0"),
        ({"expansion": 0}, "expansion = 0"),
        ({"n_checked": 0}, "n_checked = 0"),
        ({"k": 501}, "k = 501"),
    ],
)
def test_what_cannot_be_searched_is_refused(changes: dict, message: str) -> None:
    rows, queries = make_rows(n=500, n_queries=5)
    with pytest.raises(ValueError, match=message):
        nearest_by_graph(rows, queries, **{"k": 5, **changes})

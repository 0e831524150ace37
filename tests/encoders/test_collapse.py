"""Collapse diagnostics against embeddings whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.training.collapse import alignment, collapsed, effective_rank, spread, uniformity


def _orthogonal(n: int, d: int, seed: int = 0) -> np.ndarray:
    """(n, d) with orthonormal columns of zero mean."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, d))
    return np.linalg.qr(rows - rows.mean(axis=0))[0]


def test_the_effective_rank_counts_equal_directions_whatever_the_offset() -> None:
    embedding = _orthogonal(300, 8)
    assert effective_rank(embedding) == pytest.approx(8.0, rel=1e-9)
    embedding[:, 5:] = 0.0
    assert effective_rank(embedding + 100.0) == pytest.approx(5.0, rel=1e-6)  # 100 / 0.06 costs three digits of 16


def test_the_effective_rank_of_unequal_directions_is_the_exponential_of_their_entropy() -> None:
    sizes = np.array([4.0, 2.0, 1.0, 1.0])
    share = sizes / 8
    expected = np.exp(-(share * np.log(share)).sum())
    assert effective_rank(_orthogonal(200, 4) * sizes) == pytest.approx(expected, rel=1e-9)


def test_uniformity_is_zero_for_one_point_and_that_of_a_sphere_for_a_sphere() -> None:
    assert uniformity(np.ones((50, 4))) == pytest.approx(0.0, abs=1e-9)
    normal = np.random.default_rng(0).normal(size=(2_000, 3))
    # on the sphere in 3 dimensions, |u - v|^2 is uniform on [0, 4]: the mean of exp(-2 s) over it is (1 - e^-8) / 8
    assert uniformity(normal) == pytest.approx(np.log((1 - np.exp(-8.0)) / 8.0), abs=0.03)  # 2,000 points
    wide = uniformity(np.random.default_rng(0).normal(size=(1_000, 128)))
    assert wide == pytest.approx(-3.9, abs=0.05)


def test_alignment_is_zero_for_equal_views_two_by_chance_and_four_for_opposite_ones() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 4_000, 64))
    assert alignment(first, 3.0 * first) == pytest.approx(0.0, abs=1e-12)
    assert alignment(first, second) == pytest.approx(2.0, abs=0.02)  # scatter 2/sqrt(64 * 4000) = 0.004
    assert alignment(first, -first) == pytest.approx(4.0)
    with pytest.raises(ValueError, match="must be the same galaxies"):
        alignment(first, second[:10])


def test_spread_is_scatter_over_size() -> None:
    rows = np.array([[10.0, 3.0], [10.0, -3.0]])
    assert spread(rows) == pytest.approx(3.0 / np.sqrt(109.0))
    assert spread(np.zeros((3, 2))) == 0.0


@pytest.mark.parametrize("offset", [0.0, 5.0, 100.0])
def test_an_embedding_of_several_directions_has_not_collapsed(offset: float) -> None:
    embedding = np.random.default_rng(2).normal(size=(400, 16)) + offset
    assert collapsed(embedding) == ""


def test_an_embedding_of_one_point_or_one_direction_has_collapsed() -> None:
    rng = np.random.default_rng(3)
    point = rng.normal(size=16) + 1e-6 * rng.normal(size=(400, 16))
    assert collapsed(point).startswith("all galaxies have nearly the same embedding")
    assert collapsed(np.ones((40, 16))).startswith("all galaxies have nearly the same embedding")
    line = rng.normal(size=(400, 1)) * rng.normal(size=16) + 1e-3 * rng.normal(size=(400, 16))
    assert collapsed(line).startswith("one direction holds nearly all")
    assert collapsed(rng.normal(size=(400, 1))) == ""  # one column cannot have more


def test_only_a_table_of_two_galaxies_or_more_is_judged() -> None:
    with pytest.raises(ValueError, match=r"embedding of shape \(1, 4\): must be"):
        effective_rank(np.ones((1, 4)))


def test_many_galaxies_are_thinned_without_moving_the_answer() -> None:
    embedding = np.random.default_rng(4).normal(size=(20_000, 5))
    assert effective_rank(embedding) == pytest.approx(5.0, abs=0.01)

"""Splits depend on ids alone and have the shares they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.data.splits import hash_split, hash_unit, split_digest, validation_from_train

IDS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40, unique=True)


def test_the_hash_is_splitmix64() -> None:
    # first outputs of SplitMix64 seeded with 0 (Vigna's reference code): its k-th output mixes k * golden gamma
    reference = np.array([0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F], dtype=np.uint64)
    states = (np.arange(3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).view(np.int64)
    np.testing.assert_array_equal(hash_unit(states), (reference >> np.uint64(11)).astype(float) / 2**53)


@given(IDS)
def test_a_galaxy_keeps_its_split_in_any_company(ids: list[int]) -> None:
    whole = dict(zip(ids, hash_split(np.array(ids)), strict=True))
    for galaxy in ids[::-1][:10]:
        assert hash_split(np.array([galaxy]))[0] == whole[galaxy]


@pytest.mark.parametrize("start", [0, 10**18, 39627000000000000])
def test_shares_are_70_10_20_within_binomial_bounds(start: int) -> None:
    n = 100_000
    names = hash_split(start + np.arange(n))
    for name, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        assert abs((names == name).sum() - n * share) < 4.5 * np.sqrt(n * share * (1 - share))  # 7e-6 two-sided


def test_validation_comes_out_of_train_alone() -> None:
    n = 80_000
    before = np.where(np.arange(n) % 5 == 0, "test", "train")
    after = validation_from_train(np.arange(n), before)
    np.testing.assert_array_equal(after == "test", before == "test")
    moved, of = (after == "validation").sum(), (before == "train").sum()
    assert abs(moved - of / 8) < 4.5 * np.sqrt(of * 7 / 64)


def test_the_split_digest_ignores_row_order_and_sees_one_moved_galaxy() -> None:
    ids = np.arange(50)
    names = hash_split(ids)
    order = np.random.default_rng(0).permutation(50)
    assert split_digest(ids, names) == split_digest(ids[order], names[order])
    moved = names.copy()
    moved[7] = "unlabelled"
    assert split_digest(ids, moved) != split_digest(ids, names)


def test_ids_as_floats_are_refused() -> None:
    with pytest.raises(TypeError, match="must be integers"):
        hash_split(np.array([1.5]))

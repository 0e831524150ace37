"""Masks of patches: shares, blocks and the draw."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.astrodino.block_masks import block_mask, block_masks


def test_half_of_the_images_are_masked_by_ascending_shares() -> None:
    masks = block_masks(64, 12, np.random.default_rng(0))
    assert masks.shape == (64, 144)
    n_masked = np.sort(masks.sum(1))
    assert (n_masked[:32] == 0).all()
    edges = np.linspace(0.1, 0.5, 33)
    # the i-th masked image asks for int(144 U(r_i, r_i+1)); blocks may leave a few of them unplaced
    wanted = [int(144 * edge) for edge in edges]
    assert (n_masked[32:] <= wanted[1:]).all()
    assert (n_masked[32:] >= np.array(wanted[:-1]) - 4).mean() > 0.9


def test_masks_have_the_mean_share_that_is_asked_for() -> None:
    rng = np.random.default_rng(1)
    share = np.concatenate([block_masks(32, 12, rng) for _ in range(50)]).mean()
    # half of the images by .3 on average; int() and unplaced patches take about one patch of 144
    assert share == pytest.approx(0.15, abs=0.006)


def test_which_images_are_masked_is_random() -> None:
    rng = np.random.default_rng(2)
    masked = np.mean([block_masks(10, 6, rng).any(1) for _ in range(400)], axis=0)
    assert np.abs(masked - 0.5).max() < 0.1  # 4 standard errors of 400 coins


def test_one_block_is_a_rectangle_of_moderate_aspect() -> None:
    rng, n_blocks = np.random.default_rng(3), 0
    for _ in range(300):
        mask = block_mask(12, 4, rng)  # room for a single block of 4 patches at most
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        n_blocks += mask.sum() == box
        assert mask.sum() <= 4
    assert n_blocks > 150  # others are two blocks, the first having been rounded down


def test_masks_come_in_blocks_not_in_single_patches() -> None:
    rng = np.random.default_rng(4)
    blocks = np.stack([block_mask(12, 40, rng) for _ in range(200)])
    scattered = rng.random(blocks.shape) < blocks.mean()

    def neighbours_agree(masks: np.ndarray) -> float:
        return (masks[:, 1:] == masks[:, :-1]).mean()

    assert neighbours_agree(blocks) > neighbours_agree(scattered) + 0.15


def test_draws_come_from_the_generator_and_small_grids_are_no_trap() -> None:
    first, again = (block_masks(8, 6, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (block_masks(8, 6, np.random.default_rng(6)) != first).any()
    for grid in (1, 2, 3):
        assert block_masks(8, grid, np.random.default_rng(7)).shape == (8, grid * grid)
    assert not block_masks(1, 6, np.random.default_rng(8)).any()  # half of one image is none
    with pytest.raises(ValueError, match="share 2, ratio"):
        block_masks(4, 6, np.random.default_rng(0), share=2)

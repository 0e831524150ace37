"""Pooled pixels and principal components: against numpy, scikit-learn and their own promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

import encoders
from encoders import ImagePCA, ImagePixels
from encoders.randomness import seeded_torch
from encoders.row_order import content_order


class Counted:
    """Images that are read in slices; remembers the longest."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._images, self.longest = images, 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self._images.shape

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        read = self._images[rows]
        self.longest = max(self.longest, len(read))
        return read


def images(n: int, side: int = 24, seed: int = 0) -> NDArray[np.float32]:
    """Galaxies of unequal size, brightness and colour on a noisy sky, in two bands."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((side, side)) - (side - 1) / 2
    size = rng.uniform(2, 6, (n, 1, 1, 1))
    flux = rng.uniform(0.2, 1.0, (n, 2, 1, 1))
    return (flux * np.exp(-(x**2 + y**2) / (2 * size**2)) + 0.01 * rng.normal(size=(n, 2, side, side))).astype(
        np.float32
    )


def test_public_names_are_importable_and_unknown_ones_are_told() -> None:
    for name in encoders.__all__:
        assert getattr(encoders, name).__name__ == name
    assert set(encoders.__all__) <= set(dir(encoders))
    with pytest.raises(AttributeError, match="module 'encoders' has no attribute 'Resnet'"):
        _ = encoders.Resnet


def test_pooled_pixels_are_means_of_blocks() -> None:
    stack = images(5, side=24)
    expected = stack.reshape(5, 2, 4, 6, 4, 6).mean(axis=(3, 5)).reshape(5, -1)
    # 1e-6: float32 sums of 36 pixels below 1
    np.testing.assert_allclose(ImagePixels(grid=4).embed(stack), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [ImagePixels, ImagePCA])
def test_an_encoder_reads_no_more_than_a_batch_at_a_time(make) -> None:
    stack, encoder = Counted(images(50)), make(batch_size=7)
    encoder.fit(stack, seed=0)
    encoder.embed(stack)
    assert 0 < stack.longest <= 7


def test_components_are_those_of_a_full_decomposition() -> None:
    stack, fresh = images(300), images(20, seed=1)
    encoder = ImagePCA(n_components=3, grid=8)
    encoder.fit(stack, seed=0)
    pixels = ImagePixels(grid=8)
    oracle = PCA(3, svd_solver="full").fit(pixels.embed(stack))
    expected = oracle.transform(pixels.embed(fresh))
    got = encoder.embed(fresh)
    signs = np.sign((got * expected).sum(axis=0))
    # 1 % of the spread: the solver is randomised, and these components stand well above the sky noise
    np.testing.assert_allclose(got * signs, expected, rtol=0, atol=0.01 * expected.std())


def test_a_drawn_subset_does_not_depend_on_file_order_or_batches_but_on_the_seed() -> None:
    stack, order = images(200), np.random.default_rng(0).permutation(200)

    def components(rows: NDArray, seed: int = 0, **options: int) -> NDArray:
        encoder = ImagePCA(n_components=2, grid=8, **{"max_rows": 50, **options})
        encoder.fit(rows, seed=seed)
        return encoder.state()["components"]

    plain = components(stack)
    np.testing.assert_array_equal(components(stack[order]), plain)
    np.testing.assert_array_equal(components(stack, batch_size=13), plain)
    assert np.abs(components(stack, seed=1) - plain).max() > 1e-4
    assert np.abs(components(stack, max_rows=200) - plain).max() > 1e-4


def test_there_are_no_more_components_than_galaxies_or_pixels() -> None:
    for n, grid, expected in ((3, 8, 3), (50, 1, 2)):
        encoder = ImagePCA(n_components=64, grid=grid)
        encoder.fit(images(n), seed=0)
        assert encoder.embed(images(5)).shape == (5, expected)


def test_states_that_belong_elsewhere_are_refused() -> None:
    fitted = ImagePCA(n_components=2, grid=8)
    fitted.fit(images(10), seed=0)
    with pytest.raises(ValueError, match="ImagePCA with grid 6 was given mean"):
        ImagePCA(grid=6).load_state(fitted.state())
    with pytest.raises(ValueError, match="its state is 'components' and 'mean'"):
        ImagePCA().load_state({"mean": np.zeros(3)})
    with pytest.raises(ValueError, match="ImagePixels has no weights"):
        ImagePixels().load_state(fitted.state())


def test_weights_are_needed_and_fit_their_bands() -> None:
    encoder = ImagePCA()
    with pytest.raises(ValueError, match="call fit or load_state first"):
        encoder.embed(images(2))
    assert encoder.state() == {}
    encoder.fit(images(9), seed=0)
    with pytest.raises(ValueError, match="was given 1 bands"):
        encoder.embed(images(2)[:, :1])


@pytest.mark.parametrize("make", [ImagePixels, ImagePCA])
def test_sizes_below_one_are_refused(make) -> None:
    with pytest.raises(ValueError, match="grid 0: must be at least 1"):
        make(grid=0)


def test_a_seeded_block_repeats_itself_and_puts_the_generator_back() -> None:
    before = torch.get_rng_state()
    draws = []
    for seed in (3, 3, 4):
        with seeded_torch(seed):
            draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_order_of_rows_by_content_is_a_seeded_shuffle_that_forgets_the_file() -> None:
    rows = np.random.default_rng(0).normal(size=(500, 3))
    shuffled = rows[np.random.default_rng(1).permutation(500)]
    np.testing.assert_array_equal(rows[content_order(rows, 7)], shuffled[content_order(shuffled, 7)])
    order = content_order(rows, 7)
    assert sorted(order) == list(range(500))
    assert (order != content_order(rows, 8)).mean() > 0.9
    # rank correlation of a random permutation of 500 has a spread of 1/sqrt(499) = .045
    assert abs(np.corrcoef(order, np.arange(500))[0, 1]) < 0.2

"""The learner behind the table of what spectra tell at a given redshift, against spectra whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from tools import rest_frame_information as tool

WAVE = 3600.0 + 0.8 * np.arange(7781)


def test_spectra_at_rest_stand_where_their_lines_belong_over_their_level() -> None:
    z = np.array([0.05, 0.3, 0.55])
    line = 5008.2 * (1 + z[:, None])
    flux = 3.0 + 60.0 * np.exp(-0.5 * ((WAVE - line) / 4) ** 2)
    ivar = np.where(np.abs(WAVE - 6000) < 30, 0.0, 4.0) * np.ones_like(flux)
    flux[ivar == 0] = 1e6  # what an invalid pixel holds must not matter
    shape, weight, level = tool.at_rest(flux, ivar, WAVE, z)
    middle = 10 ** (np.log10(3000) + tool.STEP_DEX * (np.arange(shape.shape[1]) + 0.5))
    # half a bin of .06 %, and half a line of 1.5 bins
    assert middle[shape.argmax(axis=1)] == pytest.approx(np.full(3, 5008.2), rel=1.5e-3)
    assert shape.max() < 30
    np.testing.assert_allclose(level, 3.5, rtol=0.1)  # the line adds a sixth in a window of 1200 A
    rest = WAVE[ivar[1] > 0] / 1.3
    known = ((rest > 3000) & (rest < middle[-1])).sum()
    assert (weight / level[:, None] ** 2).sum(axis=1)[1] == pytest.approx(4 * known, abs=4 * 4)  # of the last bin
    assert not weight[:, middle < 3600 / 1.55 - 2].any()
    assert not weight[0, middle < 3600 / 1.05 - 2].any()


def _noisy(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of three components with gaps, a third of ten times the noise; returns flux, ivar, coefficients."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(60, 3)))[0].T
    truth = rng.normal(size=(n, 3)) * (3.0, 2.0, 1.0)
    sigma = np.where(rng.random((n, 1)) < 1 / 3, 1.0, 0.1) * rng.lognormal(0, 0.5, (1, 60))
    seen = rng.random((n, 60)) > 0.2
    flux = 1 + truth @ axes + sigma * rng.normal(size=(n, 60))
    return np.where(seen, flux, 0.0), seen * sigma**-2, truth


def _left_over(coefficients: np.ndarray, truth: np.ndarray) -> float:
    """Share of the truth's variance that is not linear in the coefficients."""
    design = np.column_stack([np.ones(len(truth)), coefficients])
    left = truth - design @ np.linalg.lstsq(design, truth, rcond=None)[0]
    return float((left.var(axis=0) / truth.var(axis=0)).mean())


def test_components_that_weigh_the_noise_find_what_plain_ones_lose_in_gaps_and_noise() -> None:
    flux, ivar, truth = _noisy(900, 1)
    weighted = tool.noise_weighted_coefficients(flux, ivar, 600, 3)
    plain = tool.plain_coefficients(flux, ivar, 600, 3)
    assert weighted.shape == plain.shape == (900, 3)
    assert _left_over(weighted[600:], truth[600:]) < 0.35 * _left_over(plain[600:], truth[600:])
    # coefficients of the test rows do not depend on each other
    some = tool.noise_weighted_coefficients(flux[:650], ivar[:650], 600, 3)
    np.testing.assert_allclose(some, weighted[:650], rtol=1e-8, atol=1e-10)
    blind = tool.noise_weighted_coefficients(flux, ivar * (np.arange(900) < 800)[:, None], 600, 3)
    np.testing.assert_allclose(blind[800:], 0, atol=1e-6)  # the prior's mean, where nothing is known


def test_kernel_ridge_learns_a_smooth_function_and_reads_no_target_of_the_test_rows() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(900, 2))
    target = np.column_stack([np.sin(2 * features[:, 0]) + features[:, 1] ** 2, rng.normal(size=900)])
    noisy = target + rng.normal(0, [0.1, 0.0], (900, 2))
    found = tool.kernel_ridge(features, noisy, 700, 200)
    assert found.shape == (200, 2)
    assert np.var(found[:, 0] - target[700:, 0]) < 0.05 * np.var(target[700:, 0])
    assert np.corrcoef(found[:, 1], target[700:, 1])[0, 1] ** 2 < 0.05  # there is nothing to learn
    blind = noisy.copy()
    blind[700:] = np.nan
    np.testing.assert_array_equal(tool.kernel_ridge(features, blind, 700, 200), found)

"""Bulges and discs that a fit finds, against profiles computed on a fine grid and blurred by convolution."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import gammaincinv

from encoders.classical.handcrafted_fit import fit_bulge_disc

SIDE, FINE = 96, 3
PSF_SIGMA = 1.9


def sersic(index: float, radius: float, ratio: float, angle: float) -> NDArray:
    """A profile of unit flux in pixels, blurred by the two Gaussians of the fit."""
    b = gammaincinv(2 * index, 0.5)
    y, x = (np.indices((SIDE * FINE, SIDE * FINE)) - (SIDE * FINE - 1) / 2) / FINE
    along, across = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / ratio
    # the core of a de Vaucouleurs profile is softened by a third of a pixel: its cusp is below any grid
    light = np.exp(-b * (np.hypot(np.hypot(along, across), 0.3) / radius) ** (1 / index))
    light = sum(s * gaussian_filter(light, w * PSF_SIGMA * FINE) for s, w in ((0.85, 1.0), (0.15, 2.2)))
    light = light.reshape(SIDE, FINE, SIDE, FINE).sum(axis=(1, 3))
    return light / light.sum()


def fitted(bulge_share: float, noise: float = 1e-3, seed: int = 0):
    shares = np.array([0.7, 1.0, 1.2]) * bulge_share if bulge_share < 0.8 else np.full(3, bulge_share)
    bulge, disc = sersic(4, 5.0, 0.8, 0.4), sersic(1, 9.0, 0.45, 0.4)
    image = 20 * (shares[:, None, None] * bulge + (1 - shares)[:, None, None] * disc)
    image = image + np.random.default_rng(seed).normal(0, noise, image.shape)
    found = fit_bulge_disc(
        image[None].astype(np.float32), np.full((1, 3), noise, np.float32), np.array([7.0]), PSF_SIGMA
    )
    return shares, found


@pytest.mark.parametrize("bulge_share", [0.0, 0.3, 0.6, 1.0])
def test_shares_of_bulge_and_disc_are_found_in_every_band(bulge_share: float) -> None:
    shares, found = fitted(bulge_share)
    total = found.bulge + found.disc
    # wings of the bulge beyond the stamp, and five Gaussians for its profile, are a tenth of its light
    np.testing.assert_allclose(found.bulge[0] / total[0], shares, atol=0.13)
    np.testing.assert_allclose(total[0], 20, rtol=0.06)


def test_radii_and_axis_ratios_are_those_that_were_drawn() -> None:
    _, found = fitted(0.4)
    assert found.disc_radius[0] == pytest.approx(9.0 * np.sqrt(0.45), rel=0.1)
    assert found.disc_ratio[0] == pytest.approx(0.45, abs=0.06)
    assert found.bulge_radius[0] == pytest.approx(5.0 * np.sqrt(0.8), rel=0.35)


def test_what_is_not_a_bulge_and_a_disc_leaves_a_larger_misfit() -> None:
    image = 20 * sersic(1, 9.0, 0.8, 0.0)
    y, x = np.indices(image.shape) - (SIDE - 1) / 2
    arms = image * (1 + 0.8 * np.cos(2 * np.arctan2(y, x) - np.hypot(x, y)))
    sigma, start = np.full((2, 1), 1e-3, np.float32), np.full(2, 9.0)
    found = fit_bulge_disc(np.stack([image, arms])[:, None].astype(np.float32), sigma, start, PSF_SIGMA)
    assert found.misfit[1] > 2 * found.misfit[0]


def test_galaxies_are_fitted_by_themselves_whatever_is_beside_them_in_the_batch() -> None:
    images = np.stack([20 * sersic(1, radius, 0.6, 0.3) for radius in (4.0, 8.0)])[:, None].astype(np.float32)
    sigma, start = np.full((2, 1), 0.01, np.float32), np.array([4.0, 8.0])
    together = fit_bulge_disc(images, sigma, start, PSF_SIGMA)
    alone = fit_bulge_disc(images[1:], sigma[1:], start[1:], PSF_SIGMA)
    np.testing.assert_allclose(together.disc[1:], alone.disc, rtol=1e-3)  # float32 sums in another order
    np.testing.assert_allclose(together.disc_radius[1:], alone.disc_radius, rtol=1e-3)

"""Measurements of images against galaxies whose light is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from encoders import ImageHandFeatures
from encoders.classical.handcrafted import APERTURES
from encoders.classical.handcrafted_shapes import asymmetry, clumpiness, fourier_amplitudes, gini_m20, moments, pooled

SIDE = 152
Y, X = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
FLUX = np.array([10.0, 20.0, 40.0])  # nanomaggies: 20, 19.25, 18.49 mag
# columns of 3 bands
TOTAL, APERTURE, COLOURS, MATCHED, RADII = 0, slice(1, 6), slice(6, 16), slice(36, 38), slice(30, 34)
ELLIPTICITY, PER_BAND, WAVES, NEIGHBOURS = 38, 40, 52, 64
ASYMMETRY, CLUMPINESS, GINI, M20 = range(4)


def gaussian(sigma: float = 6.0, flat: float = 1.0, angle: float = 0.0, x: float = 0.0, y: float = 0.0) -> NDArray:
    """An elliptical Gaussian of unit flux."""
    along = (X - x) * np.cos(angle) + (Y - y) * np.sin(angle)
    across = (Y - y) * np.cos(angle) - (X - x) * np.sin(angle)
    light = np.exp(-0.5 * (along**2 + (across / flat) ** 2) / sigma**2)
    return light / light.sum()


def measured(light: NDArray, noise: float = 1e-5, flux: NDArray = FLUX, seed: int = 0) -> NDArray:
    image = flux[:, None, None] * light + np.random.default_rng(seed).normal(0, noise, (len(flux), SIDE, SIDE))
    return ImageHandFeatures().embed(image[None].astype(np.float32))[0]


def test_magnitudes_colours_and_radii_of_a_gaussian_are_the_analytic_ones() -> None:
    features = measured(gaussian(sigma=6.0))
    inside = 1 - np.exp(-0.5 * (np.array(APERTURES) * SIDE / 6.0) ** 2)
    expected = 22.5 - 2.5 * np.log10(FLUX[1] * inside)
    found = features[TOTAL] + features[APERTURE]
    # rings of whole pixels: half a pixel of radius is 8 % of the light at 3 pixels, 1 % from 12 pixels on
    np.testing.assert_allclose(found[2:], expected[2:], atol=0.05)
    np.testing.assert_allclose(found, expected, atol=0.25)
    for colours in (COLOURS, MATCHED):
        np.testing.assert_allclose(features[colours], 2.5 * np.log10(2), atol=5e-3)
    analytic = 6.0 * np.sqrt(-2 * np.log(1 - np.array([0.2, 0.5, 0.8, 0.9])))
    np.testing.assert_allclose(10 ** features[RADII], analytic, atol=0.6)  # pixels


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2])
@pytest.mark.parametrize("flat", [1.0, 0.6, 0.3])
def test_flattening_shows_in_the_ellipticity_whatever_the_angle(flat: float, angle: float) -> None:
    image = gaussian(sigma=8.0, flat=flat, angle=angle)[None, None]
    r50 = np.full((1, 1), 5.0)
    ellipticity, size, found = moments(image, r50)
    # the product of two Gaussians is one: 1 / a^2 = 1 / 8^2 + 1 / 7.5^2
    a2, b2 = (1 / (1 / (8.0 * axis) ** 2 + 1 / 7.5**2) for axis in (1.0, flat))
    assert ellipticity[0, 0] == pytest.approx((a2 - b2) / (a2 + b2), abs=1e-3)
    assert size[0, 0] == pytest.approx(a2 + b2, rel=1e-3)
    if flat < 1:
        assert found[0, 0] == pytest.approx(angle, abs=1e-3)


def test_an_inclined_galaxy_is_flatter_and_a_large_one_larger() -> None:
    flat = [measured(gaussian(flat=value))[ELLIPTICITY] for value in (1.0, 0.7, 0.4, 0.25)]
    assert (np.diff(flat) > 0.05).all()
    radii = [measured(gaussian(sigma=value))[RADII][1] for value in (3.0, 5.0, 9.0)]
    np.testing.assert_allclose(np.diff(radii), np.log10([5 / 3, 9 / 5]), atol=0.06)


def test_asymmetry_is_zero_for_symmetric_light_and_half_the_moved_light_otherwise() -> None:
    rng = np.random.default_rng(1)
    radius, noise = np.full((1, 1), 40.0), np.full((1, 1), 1e-4)
    sky = rng.normal(0, 1e-4, (1, 1, SIDE, SIDE))
    symmetric = gaussian(flat=0.5, angle=0.3) * 10
    assert asymmetry(symmetric + sky, noise, radius)[0, 0] == pytest.approx(0, abs=0.01)
    lopsided = symmetric + 2 * gaussian(sigma=2.0, x=15.0)
    # 2 of 12 units of light have nothing opposite: |I - I180| sums to 4, of 2 x 12
    assert asymmetry(lopsided + sky, noise, radius)[0, 0] == pytest.approx(4 / 24, abs=0.01)


def test_clumps_raise_clumpiness_and_noise_does_not() -> None:
    radius = np.full((1, 1), 30.0)
    rng = np.random.default_rng(2)
    smooth = 10 * gaussian(sigma=10.0)[None, None]
    clumpy = smooth + sum(0.3 * gaussian(1.0, x=x, y=y) for x, y in rng.normal(0, 8, (14, 2)))
    found = {
        name: clumpiness(image + rng.normal(0, sigma, image.shape), np.full((1, 1), sigma), radius)[0, 0]
        for name, image, sigma in (("quiet", smooth, 1e-5), ("noisy", smooth, 3e-3), ("clumpy", clumpy, 1e-5))
    }
    assert found["noisy"] == pytest.approx(found["quiet"], abs=0.03)
    assert found["clumpy"] > found["quiet"] + 0.05


def test_gini_and_m20_of_worked_examples() -> None:
    everywhere = np.full((1, 1), 100.0)
    even = np.ones((1, 1, 20, 20))
    assert gini_m20(even, everywhere)[0][0, 0] == pytest.approx(0, abs=1e-12)
    single = np.zeros((1, 1, 20, 20))
    single[0, 0, 3, 4] = 1.0
    assert gini_m20(single, everywhere)[0][0, 0] == pytest.approx(1)
    values = np.sort(np.random.default_rng(0).random(400))
    pairs = np.abs(values[:, None] - values).sum() / (2 * values.mean() * 400 * 399)  # the definition, eq. 5
    assert gini_m20(values.reshape(1, 1, 20, 20), everywhere)[0][0, 0] == pytest.approx(pairs)
    # a bright middle holds little of the second moment, a bright rim all of it
    concentrated = gini_m20(gaussian(4.0)[None, None], everywhere)[1][0, 0]
    rim = gini_m20((np.abs(np.hypot(X, Y) - 40) < 1)[None, None] + 0.01 * gaussian()[None, None], everywhere)[1][0, 0]
    assert concentrated < -1.5 < rim


@pytest.mark.parametrize("wave", [1, 2, 3, 4])
def test_waves_around_the_centre_are_found_at_their_number_and_strength(wave: int) -> None:
    turn = np.arctan2(Y, X)
    image = np.exp(-np.hypot(X, Y) / 15) * (1 + 0.4 * np.cos(wave * turn + 0.7))
    amplitude = fourier_amplitudes(image[None], np.array([12.0]), np.zeros(1), np.zeros(1))[0]
    expected = np.zeros((3, 4))
    expected[:, wave - 1] = 0.2  # a cosine is half of exp(i m phi) and half of its conjugate
    np.testing.assert_allclose(amplitude, expected, atol=0.01)  # rings of square pixels


def test_deprojection_takes_the_two_fold_wave_out_of_an_inclined_disc() -> None:
    flat, angle = 0.5, 0.6
    image = gaussian(sigma=10.0, flat=flat, angle=angle)[None]
    ellipticity = np.array([(1 - flat**2) / (1 + flat**2)])
    seen = fourier_amplitudes(image, np.array([8.0]), np.zeros(1), np.zeros(1))[0, :, 1]
    at_rest = fourier_amplitudes(image, np.array([8.0]), ellipticity, np.array([angle]))[0, :, 1]
    assert (at_rest < 0.04).all()  # the inner ring has 100 pixels
    assert seen[-1] > 0.2


def test_a_neighbour_changes_the_share_of_foreign_light_and_little_else() -> None:
    alone = measured(gaussian(sigma=5.0), noise=1e-3)
    beside = measured(gaussian(sigma=5.0) + 0.5 * gaussian(sigma=2.0, x=45.0, y=-30.0), noise=1e-3)
    assert alone[NEIGHBOURS] < 0.02
    assert beside[NEIGHBOURS] > 0.2
    assert np.abs(beside - alone)[TOTAL] < 0.02
    for columns in (COLOURS, MATCHED, RADII, slice(PER_BAND, WAVES)):
        np.testing.assert_allclose(beside[columns], alone[columns], atol=0.05)


def test_ten_times_the_flux_is_two_and_a_half_magnitudes_and_the_same_shape() -> None:
    light = gaussian(flat=0.6) + 0.2 * gaussian(sigma=2.0, x=5.0)
    faint, bright = measured(light, noise=1e-6), measured(light, noise=1e-5, flux=10 * FLUX)
    assert faint[TOTAL] - bright[TOTAL] == pytest.approx(2.5, abs=1e-3)
    np.testing.assert_allclose(faint[1:], bright[1:], atol=5e-3)


def test_a_constant_background_changes_nothing() -> None:
    image = (FLUX[:, None, None] * gaussian())[None].astype(np.float32)
    encoder = ImageHandFeatures()
    np.testing.assert_allclose(encoder.embed(image + np.float32(0.5)), encoder.embed(image), atol=5e-3)  # float32 of .5


def test_images_without_light_and_of_few_pixels_give_finite_numbers() -> None:
    for shape in ((3, 1, 9, 9), (3, 2, 1, 1), (3, 3, 5, 8), (2, 3, 152, 152)):
        for value in (0.0, 1.0, -1.0):
            features = ImageHandFeatures().embed(np.full(shape, value, dtype=np.float32))
            assert features.shape == (shape[0], 15 * shape[1] + 20)
            assert np.isfinite(features).all()


def test_means_of_two_by_two_pixels_leave_out_what_is_odd() -> None:
    image = np.arange(35.0).reshape(1, 1, 5, 7).astype(np.float32)
    expected = image[0, 0, :4, :6].reshape(2, 2, 3, 2).mean(axis=(1, 3))
    np.testing.assert_array_equal(pooled(image)[0, 0], expected)


def test_states_that_belong_elsewhere_and_sizes_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="ImageHandFeatures has no weights"):
        ImageHandFeatures().load_state({"mean": np.zeros(3)})
    with pytest.raises(ValueError, match="batch_size 0: must be at least 1"):
        ImageHandFeatures(batch_size=0)
    with pytest.raises(ValueError, match="psf_sigma 0: must be a positive number"):
        ImageHandFeatures(psf_sigma=0)

"""Views of galaxies: blur beside scipy, crops beside slices, draws beside the distributions they come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest, lognorm

from encoders.augment import STEIN_NOISE, STEIN_PSF, Augmentation, LogNormal, gaussian_bank, random_crops, rotated
from encoders.randomness import seeded_torch


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def galaxies(n: int, side: int = 40) -> torch.Tensor:
    with seeded_torch(0):
        return torch.rand(n, 3, side, side)


def constant(value: float) -> LogNormal:
    """A distribution with one value."""
    return LogNormal(0.0, 0.0, value)


def views(**options: object) -> Augmentation:
    defaults: dict = {"global_size": 36, "local_size": 12, "n_local": 2, "probabilities": (1.0, 1.0, 1.0)}
    return Augmentation(**{**defaults, "psf": STEIN_PSF, "noise": STEIN_NOISE, **options})


@pytest.mark.parametrize("sigma", [0.3, 1.1, 2.3, 9.0])
def test_the_bank_blurs_as_scipy_does(sigma: float) -> None:
    image = np.random.default_rng(0).normal(size=(20, 20))
    (matrix,) = gaussian_bank(20, [sigma]).double().numpy()
    # 1e-6: the matrices are float32; mirrors are followed over several image widths at sigma = 9
    expected = gaussian_filter(image, sigma, mode="reflect", truncate=4.0)
    np.testing.assert_allclose(matrix @ image @ matrix.T, expected, rtol=0, atol=1e-6)


def test_blur_keeps_the_flux_and_widens_by_the_drawn_sigma() -> None:
    star = torch.zeros(200, 3, 41, 41)
    star[..., 20, 20] = 1.0
    psf = LogNormal(0.5, 0.0, 1.5)
    augmentation = views(global_size=41, psf=[psf] * 3, noise=[constant(0.0)] * 3)
    sigma = augmentation._added(star, [psf] * 3, 1.0, generator(1))
    blurred = augmentation._blur(star, sigma, augmentation.bank_global).double()
    torch.testing.assert_close(blurred.sum((-1, -2)), torch.ones(200, 3).double(), rtol=0, atol=1e-5)  # float32 sums
    offset = torch.arange(41) - 20.0
    measured = (blurred.sum(-1) * offset.double() ** 2).sum(-1)
    small = (sigma > 0.7) & (sigma < 4)  # neither undersampled pixels nor a tail beyond the image
    assert small.sum() > 100
    # steps of this bank are 5 % in sigma, so half a step is 5 % in sigma squared; the cut at 4 sigma takes 0.1 to 1 %
    assert ((measured / sigma**2 - 1).abs()[small] < 0.07).all()
    assert torch.equal(blurred[sigma == 0], star.double()[sigma == 0])


def test_added_sigmas_take_one_draw_to_another_in_quadrature() -> None:
    image, augmentation = torch.zeros(4000, 3, 36, 36), views()
    added = augmentation._added(image, STEIN_PSF, 1.0, generator(2)).numpy()
    rng = np.random.default_rng(3)
    for band, fit in enumerate(STEIN_PSF):
        first, second = lognorm.rvs(fit.shape, fit.loc, fit.scale, size=(2, 4000), random_state=rng)
        expected = np.sqrt(np.maximum(second**2 - first**2, 0))
        assert (added[:, band] > 0).mean() == pytest.approx(0.5, abs=0.03)  # 4 standard errors of 4,000 coins
        assert kstest(added[:, band], expected).pvalue > 1e-3
    medians = [np.median(added[added[:, band] > 0, band]) for band in range(3)]
    np.testing.assert_allclose(medians, [1.12, 1.06, 1.04], atol=0.06)  # known of the published fits; 4 std. errors


def test_noise_has_the_drawn_standard_deviation() -> None:
    blank = torch.zeros(300, 3, 36, 36)
    grow = [LogNormal(0.0, 0.0, 0.0)] * 3
    augmentation = views(psf=grow, noise=STEIN_NOISE)
    noisy, _ = augmentation(blank, generator(4))
    spread = noisy.std((-1, -2))
    for band, fit in enumerate(STEIN_NOISE):
        touched = spread[:, band] > 0
        assert float(touched.float().mean()) == pytest.approx(0.5, abs=0.1)
        rng = np.random.default_rng(5)
        first, second = np.maximum(lognorm.rvs(fit.shape, fit.loc, fit.scale, size=(2, 4000), random_state=rng), 0)
        expected = np.sqrt(np.maximum(second**2 - first**2, 0))
        got = spread[touched, band].median()
        assert float(got) == pytest.approx(np.median(expected[expected > 0]), rel=0.1)


def test_probabilities_belong_to_the_three_kinds_of_views() -> None:
    image = galaxies(200)
    step = [LogNormal(1.0, 0.0, 1.0)] * 3

    def changed(probabilities: tuple[float, float, float]) -> list[float]:
        # noise only, on a blank image: a view that was touched is not blank
        augmentation = views(probabilities=probabilities, psf=[constant(0.0)] * 3, noise=step)
        seen, local = augmentation(torch.zeros_like(image), generator(6))
        return [float((part != 0).flatten(1).any(1).float().mean()) for part in (seen[:200], seen[200:], local)]

    # all three bands stay as they are with probability 1/8
    assert changed((1.0, 0.0, 0.0)) == [pytest.approx(7 / 8, abs=0.1), 0, 0]
    assert changed((0.0, 1.0, 0.0)) == [0, pytest.approx(7 / 8, abs=0.1), 0]
    assert changed((0.0, 0.0, 0.5)) == [0, 0, pytest.approx(7 / 16, abs=0.1)]


def test_crops_are_flipped_windows_and_every_place_is_equally_likely() -> None:
    side, size = 9, 6
    image = torch.arange(side * side, dtype=torch.float32).reshape(1, 1, side, side).repeat(4000, 1, 1, 1)
    crop = random_crops(image, size, generator(7))[:, 0]
    row, column = (crop // side, crop % side)
    assert torch.equal(row[:, :, :1].expand_as(row), row)
    assert torch.equal(column[:, :1].expand_as(column), column)
    for line in (row[:, :, 0], column[:, 0]):
        flipped = line[:, 0] > line[:, -1]
        assert float(flipped.float().mean()) == pytest.approx(0.5, abs=0.03)  # 4 standard errors
        start = line.min(1).values.long()
        assert torch.equal(line.sort(1).values.long(), start[:, None] + torch.arange(size))
        counts = torch.bincount(start, minlength=4)
        assert len(counts) == 4
        assert (counts / 4000 - 0.25).abs().max() < 0.03


def test_local_views_hold_the_centre_when_asked_to() -> None:
    image = torch.zeros(500, 3, 40, 40)
    image[..., 20, 20] = 1
    held = random_crops(image, 12, generator(8), contains_centre=True)
    assert (held.amax((-1, -2)) == 1).all()
    free = random_crops(image, 12, generator(8))
    assert float((free.amax((-1, -2)) == 1).float().mean()) == pytest.approx((12 / 29) ** 2, abs=0.08)
    with pytest.raises(ValueError, match="crops of 41 pixels from images of 40 x 40"):
        random_crops(image, 41, generator(8))


def test_a_rotation_turns_about_the_centre() -> None:
    y, x = torch.meshgrid(torch.arange(41) - 20.0, torch.arange(41) - 20.0, indexing="ij")
    image = torch.exp(-(x**2 / 24 + y**2 / 6))[None, None].repeat(50, 1, 1, 1)
    turned = rotated(image, generator(9))[:, 0]
    # bilinear interpolation moves sums by about a per cent
    torch.testing.assert_close(turned.sum((-1, -2)), image[:, 0].sum((-1, -2)), rtol=0.02, atol=0)
    second = torch.stack([(turned * q).sum((-1, -2)) / turned.sum((-1, -2)) for q in (x * x, y * y, x * y)])
    angle = 0.5 * torch.atan2(2 * second[2], second[0] - second[1])
    assert angle.std() > 0.5  # uniform over pi has .91
    size = torch.sqrt(second[0] + second[1])
    assert size.std() / size.mean() < 0.02


def test_pictures_are_cropped_and_flipped_only() -> None:
    image = galaxies(20)
    seen, local = views(psf=(), noise=())(image, generator(10))
    values = {round(float(v), 6) for v in image.flatten()}
    assert {round(float(v), 6) for v in seen.flatten()[::97]} <= values
    assert seen.shape == (40, 3, 36, 36)
    assert local.shape == (40, 3, 12, 12)


def test_views_come_from_the_generator_alone_and_leave_the_input_as_it_was() -> None:
    image = galaxies(6)
    before = image.clone()
    first, again, other = (views()(image, generator(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert not torch.equal(first[0], other[0])
    assert torch.equal(image, before)
    with pytest.raises(ValueError, match="each must be from 0 to 1"):
        views(probabilities=(1.0, 2.0, 0.0))
    with pytest.raises(ValueError, match="one of each a band"):
        views(noise=STEIN_NOISE[:2])

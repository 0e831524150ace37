"""Brightness and colours as channels: the formula, bright and faint pixels, pictures, and a training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from encoders.astrodino.encoder import AstroDINOEncoder
from encoders.reading.images import ImageFacts
from encoders.reading.stretch import ImageNorm, bright_and_colours

NOISE = torch.tensor([0.002, 0.003, 0.008])


class Stack:
    """Images that know what they are."""

    def __init__(self, images: np.ndarray, facts: ImageFacts | None) -> None:
        self.images, self.facts, self.shape = images, facts, images.shape

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return self.images[rows]


def test_channels_are_the_mean_and_the_neighbouring_differences_of_stretched_bands() -> None:
    flux = np.random.default_rng(0).normal(0, 0.5, (2, 3, 4, 5)).astype(np.float32)
    g, r, z = np.moveaxis(np.arcsinh(flux.astype(float) / (30 * NOISE.double().numpy()[:, None, None])), 1, 0)
    expected = np.stack([(g + r + z) / 3, g - r, r - z], axis=1)
    # 1e-5: float32 numbers up to 4
    np.testing.assert_allclose(bright_and_colours(torch.from_numpy(flux), NOISE), expected, rtol=0, atol=1e-5)


def test_colours_of_bright_pixels_do_not_know_the_brightness_and_those_of_the_sky_are_small() -> None:
    colour = torch.tensor([1.0, 3.0, 5.0])[:, None, None]
    bright, brighter = (bright_and_colours(flux * colour, NOISE).flatten() for flux in (torch.tensor(10.0), 1000.0))
    assert brighter[0] - bright[0] == pytest.approx(np.log(100), abs=1e-4)
    # 1e-4: asinh(x) - log(2 x) is 1 / (4 x^2), at most 1e-5 from x = 160 on
    np.testing.assert_allclose(brighter[1:], bright[1:], rtol=0, atol=1e-4)
    sky = bright_and_colours(NOISE[:, None, None] * torch.ones(3, 1, 1), NOISE)
    assert float(sky.abs().max()) < 0.034  # one noise is 1 / 30
    other = bright_and_colours(torch.tensor(10.0) * colour.flip(0), NOISE).flatten()
    assert float((other - bright)[1:].abs().min()) > 1


@pytest.mark.parametrize("bands", [1, 5])
def test_pictures_are_not_stretched_again_and_any_number_of_bands_will_do(bands: int) -> None:
    picture = torch.rand(2, bands, 4, 4, generator=torch.Generator().manual_seed(0))
    norm = ImageNorm("colours", None, mean=[0.0] * bands, std=[1.0] * bands, noise=[1e-6] * bands)
    shown = norm(picture)
    assert shown.shape == picture.shape
    torch.testing.assert_close(shown[:, 0], picture.mean(1))
    torch.testing.assert_close(shown[:, 1:], (picture[:, :-1] - picture[:, 1:]) / 2)


@pytest.mark.parametrize("facts", [ImageFacts("nanomaggy", ("g", "r", "z"), 0.262), None], ids=["flux", "pictures"])
def test_channels_of_the_training_galaxies_have_mean_zero_and_a_spread_of_one_or_half(facts: ImageFacts | None) -> None:
    rng = np.random.default_rng(0)
    y, x = np.indices((24, 24)) - 11.5
    peak = 10 ** rng.normal(0, 0.3, (60, 3, 1, 1)) * [[[0.2]], [[0.4]], [[0.9]]]
    images = (peak * np.exp(-(x**2 + y**2) / 18) + 0.01 * rng.normal(size=(60, 3, 24, 24))).astype(np.float32)
    encoder = AstroDINOEncoder(
        image_side=24,
        field_side=24,
        global_crop=24,
        local_crop=12,
        patch_size=12,
        dim=12,
        depth=1,
        image_norm="colours",
    )
    encoder.fit(Stack(images, facts), seed=0)
    norm = encoder.objective.norm
    if facts:
        np.testing.assert_allclose(norm.noise, 0.01, rtol=0.1)  # 36 pixels of 60 galaxies
    shown = norm(torch.from_numpy(images.astype(np.float16).astype(np.float32)))
    # 1e-4: constants in float32, channels whose mean is up to three times their spread
    np.testing.assert_allclose(shown.mean((0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(shown.std((0, 2, 3), correction=0), [1, 0.5, 0.5], rtol=1e-4)

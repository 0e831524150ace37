"""AstroDINO as an encoder: sizes that fit the images, training, fluxes and pictures, its random twin, its table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmark.cards.astrodino import CARDS
from encoders import RandomViT
from encoders.astrodino.encoder import AstroDINOEncoder, crop_sizes
from encoders.astrodino.sizes import architecture
from encoders.augment import STEIN_NOISE, STEIN_PSF
from encoders.reading.image_reader import image_centres, survey_images
from encoders.reading.images import ImageFacts
from encoders.reading.prepared_galaxies import PreparedGalaxies
from encoders.reading.stretch import asinh_rgb

GRZ = ImageFacts("nanomaggy", ("g", "r", "z"), 0.262)
SMOKE = dict(CARDS[0].options["smoke"])
TINY: dict[str, Any] = {
    "image_side": 24, "field_side": 24, "global_crop": 18, "local_crop": 12, "patch_size": 6, "dim": 24, "depth": 2,
    "n_heads": 3, "head_hidden": 32, "head_bottleneck": 12, "n_prototypes": 64, "n_local": 2, "batch_size": 16,
    "learning_rate": 2e-3, "clip": 3.0, "teacher_momentum": 0.9, "image_norm": "rgb_zscore",
    "temperature_ramp": 0.5,
}  # fmt: skip


class Stack:
    """Images that know what they are."""

    def __init__(self, images: NDArray[np.float32], facts: ImageFacts | None = GRZ) -> None:
        self.images, self.facts = images, facts

    @property
    def shape(self) -> tuple[int, ...]:
        return self.images.shape

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        return self.images[rows]


def galaxies(n: int, side: int = 48, bands: int = 3, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Nanomaggies a pixel of blobs, and their log flux and colour (n, 2)."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((side, side)) - (side - 1) / 2
    size, truth = rng.uniform(2, 4, (n, 1, 1, 1)), rng.normal(size=(n, 2))
    flux = 0.1 * 10 ** (0.3 * truth[:, :1] + 0.15 * truth[:, 1:] * np.linspace(-1, 1, bands))
    image = flux[:, :, None, None] * np.exp(-(x**2 + y**2) / (2 * size**2))
    return (image + 0.01 * rng.normal(size=(n, bands, side, side))).astype(np.float32), truth


def linear_r2(train: NDArray, truth: NDArray, test: NDArray, test_truth: NDArray) -> float:
    """R2 of a ridge regression, mean over targets."""
    mean, spread = train.mean(0), train.std(0) + 1e-9
    x, t = (train - mean) / spread, (test - mean) / spread
    weight = np.linalg.solve(x.T @ x + 5 * np.eye(x.shape[1]), x.T @ (truth - truth.mean(0)))
    error = ((t @ weight + truth.mean(0) - test_truth) ** 2).mean(0)
    return float((1 - error / test_truth.var(0)).mean())


def neighbours_r2(train: NDArray, truth: NDArray, test: NDArray, test_truth: NDArray) -> float:
    """R2 of the mean of the 10 nearest standardised training rows, mean over targets."""
    mean, spread = train.mean(0), train.std(0) + 1e-9
    distance = ((((test - mean) / spread)[:, None] - ((train - mean) / spread)[None]) ** 2).sum(-1)
    predicted = truth[np.argsort(distance, axis=1)[:, :10]].mean(1)
    return float((1 - ((predicted - test_truth) ** 2).mean(0) / test_truth.var(0)).mean())


def test_a_short_training_beats_the_random_twin() -> None:
    images, truth = galaxies(600)
    twin, trained = RandomViT(**TINY), AstroDINOEncoder(**TINY, n_steps=150)
    scores = []
    for encoder in (twin, trained):
        encoder.fit(Stack(images[:450]), seed=0)
        embedding = encoder.embed(Stack(images))
        scores.append(neighbours_r2(embedding[:450], truth[:450], embedding[450:], truth[450:]))
    assert scores[1] > scores[0] + 0.05
    assert scores[1] > 0.1
    assert trained.history.rows[-1]["effective_rank"] > 3


def test_the_twin_is_the_network_before_the_first_step() -> None:
    images, _ = galaxies(40)
    twin, untrained = RandomViT(**TINY), AstroDINOEncoder(**TINY, n_steps=0)
    frozen = AstroDINOEncoder(**{**TINY, "learning_rate": 0.0}, n_steps=2)
    for encoder in (twin, untrained, frozen):
        encoder.fit(Stack(images), seed=3)
    expected = twin.embed(Stack(images))
    np.testing.assert_array_equal(untrained.embed(Stack(images)), expected)
    # 1e-5: statistics of the sky are summed in another order
    np.testing.assert_allclose(frozen.embed(Stack(images)), expected, rtol=0, atol=1e-5)
    assert twin.name == "RandomViT"
    for preset in ("smoke", "laptop"):
        trained, random = (card.options[preset] for card in CARDS)
        assert {key: trained[key] for key in random} == random


@pytest.mark.parametrize("preset", ["smoke", "laptop", "paper"])
@pytest.mark.parametrize("recipe", ["paper", "code"])
def test_recipes_keep_the_published_losses_at_every_size(preset: str, recipe: str) -> None:
    """AstroCLIP's centring and KoLeo of weight 0.1, whatever the losses of the preset are."""
    encoder = AstroDINOEncoder(**{**CARDS[0].options[preset], **CARDS[0].recipes[recipe]})  # type: ignore[arg-type]
    assert encoder._losses.balance == "centre"
    assert encoder._losses.koleo_weight == 0.1


def test_a_training_is_the_same_for_a_seed_and_any_order_of_the_file() -> None:
    images, _ = galaxies(60)
    order = np.random.default_rng(1).permutation(60)
    embeddings = []
    for rows, seed in ((images, 0), (images[order], 0), (images, 1)):
        encoder = AstroDINOEncoder(**TINY, n_steps=6)
        encoder.fit(Stack(rows), seed=seed)
        embeddings.append(encoder.embed(Stack(images)))
    np.testing.assert_allclose(embeddings[1], embeddings[0], rtol=0, atol=1e-5)  # sums over the sky, as above
    assert np.abs(embeddings[2] - embeddings[0]).max() > 1e-2


def test_each_galaxy_is_embedded_by_itself() -> None:
    images, _ = galaxies(30)
    encoder = AstroDINOEncoder(**TINY, n_steps=4)
    encoder.fit(Stack(images), seed=0)
    expected, order = encoder.embed(Stack(images)), np.random.default_rng(2).permutation(30)
    np.testing.assert_allclose(encoder.embed(Stack(images[order])), expected[order], rtol=0, atol=1e-5)
    one_by_one = AstroDINOEncoder(**TINY, embed_batch_size=1)
    one_by_one.load_state(encoder.state())
    np.testing.assert_allclose(one_by_one.embed(Stack(images)), expected, rtol=0, atol=1e-5)
    assert encoder.embed(Stack(images[:0])).shape == (0, 24)


def test_flux_is_stretched_and_pictures_are_not() -> None:
    images, _ = galaxies(40)
    pictures = np.clip(images * 2 + 0.3, 0, 1)
    flux, display = AstroDINOEncoder(**TINY, n_steps=2), AstroDINOEncoder(**TINY, n_steps=2)
    flux.fit(Stack(images), seed=0)
    display.fit(Stack(pictures, None), seed=0)
    assert flux.objective.augmentation.psf
    assert flux.objective.norm.scales == (6.0, 3.4, 2.2)
    assert display.objective.augmentation.psf == ()
    assert display.objective.norm.scales is None
    for encoder, stack in ((flux, Stack(images)), (display, Stack(pictures, None))):
        encoder.embed(stack)
    assert flux.facts()["image_unit"] == "nanomaggy"
    assert "out_of_domain" not in flux.facts()
    assert "pictures instead of fluxes" in str(display.facts()["out_of_domain"])
    flux.embed(Stack(pictures, None))  # weights of fluxes on pictures: possible, and said to be out of domain
    assert "out_of_domain" in flux.facts()


def test_images_that_were_stretched_before_have_the_same_embedding() -> None:
    images, _ = galaxies(20, side=24)  # no binning: it does not commute with a stretch
    encoder = AstroDINOEncoder(**{**TINY, "image_norm": "rgb"}, n_steps=0)
    encoder.fit(Stack(images), seed=0)
    shown = asinh_rgb(torch.from_numpy(images.astype(np.float16).astype(np.float32))).numpy()
    # .01: a picture is rounded to float16 again, 5e-4 of a number up to 1, and a LayerNorm divides by a small spread
    np.testing.assert_allclose(encoder.embed(Stack(shown, None)), encoder.embed(Stack(images)), rtol=0, atol=0.01)


def test_blur_and_noise_follow_pixel_scale_binning_and_sky() -> None:
    images, _ = galaxies(40, side=48)
    encoder = AstroDINOEncoder(**TINY, n_steps=2, noise_fits="legacy")
    encoder.fit(Stack(images, ImageFacts("nanomaggy", ("g", "r", "z"), 0.131)), seed=0)
    for band in range(3):
        psf, noise = encoder.objective.augmentation.psf[band], encoder.objective.augmentation.noise[band]
        assert psf.median == pytest.approx(STEIN_PSF[band].median)  # pixels of half the size, two of them averaged
        assert noise.median == pytest.approx(STEIN_NOISE[band].median / 2)
    encoder = AstroDINOEncoder(**TINY, n_steps=2)
    encoder.fit(Stack(images), seed=0)
    for fit in encoder.objective.augmentation.noise:
        # .01 a pixel, averaged over 4; corners of 9 pixels know it to 24 % each, the median of 40 galaxies to 5 %
        assert fit.median == pytest.approx(0.005, rel=0.15)


def test_other_bands_need_their_stretch_and_have_the_conditions_of_the_nearest_known_band() -> None:
    images, _ = galaxies(40, side=64, bands=5)
    facts = ImageFacts("nanomaggy", ("g", "r", "i", "z", "Y"), 0.168, (9.0, 6.0, 5.0, 4.0, 3.0))
    encoder = AstroDINOEncoder(**TINY, n_steps=2)
    encoder.fit(Stack(images, facts), seed=0)
    assert encoder.embed(Stack(images, facts)).shape == (40, 24)
    shapes = [fit.shape for fit in encoder.objective.augmentation.psf]
    assert shapes == [STEIN_PSF[place].shape for place in (0, 1, 1, 2, 2)]
    plain = ImageFacts("nanomaggy", ("g", "r", "i", "z", "Y"), 0.168)
    three = AstroDINOEncoder(**TINY, n_steps=2)
    three.fit(Stack(images, plain), seed=0)
    assert three.objective.model.config.in_channels == 3
    other = AstroDINOEncoder(**TINY, n_steps=0)
    other.fit(Stack(images[:, [0, 1, 3]]), seed=0)
    three.objective.model.teacher.load_state_dict(other.objective.model.teacher.state_dict())
    with pytest.raises(ValueError, match="nanomaggies in u, v, w: the colour stretch is defined for g, r, z"):
        AstroDINOEncoder(**TINY).fit(Stack(images[:, :3], ImageFacts("nanomaggy", ("u", "v", "w"))), seed=0)
    with pytest.raises(ValueError, match="was given 5 bands: it has weights for 3"):
        three.embed(Stack(images, None))


@pytest.mark.parametrize(
    ("side", "expected"), [(152, (144, 60)), (144, (144, 60)), (64, (60, 24)), (26, (24, 12)), (9, (12, 12))]
)
def test_crops_shrink_with_the_images(side: int, expected: tuple[int, int]) -> None:
    assert crop_sizes(side, 144, 60, 12) == expected


@pytest.mark.parametrize("side", [9, 26, 64, 100, 256])
def test_images_of_any_size_are_read_and_weights_move_between_sizes(side: int) -> None:
    images, _ = galaxies(20, side=side)
    encoder = AstroDINOEncoder(**TINY, n_steps=2)
    encoder.fit(Stack(images), seed=0)
    assert np.isfinite(encoder.embed(Stack(images))).all()
    other, loaded = galaxies(5, side=48)[0], AstroDINOEncoder(**TINY)
    loaded.load_state(encoder.state())
    np.testing.assert_array_equal(loaded.embed(Stack(other)), encoder.embed(Stack(other)))


def whole(stack: Stack) -> PreparedGalaxies:
    return PreparedGalaxies(stack, image_centres(stack, 1, 48, "AstroDINO"), keep=False)


def test_the_sky_is_measured_and_the_order_comes_from_content() -> None:
    images, _ = galaxies(200)
    images[:, :, 5:20, 5:20] += np.random.default_rng(0).uniform(0, 3, (200, 1, 1, 1)).astype(np.float32)  # neighbours
    read = whole(Stack(images))
    sky, order = survey_images(read, lambda flux: flux)
    rounded = images.astype(np.float16).astype(np.float64)
    np.testing.assert_allclose(sky.mean, rounded.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(sky.std, rounded.std((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(sky.noise, 0.01, rtol=0.05)  # 144 pixels of 200 galaxies
    shuffle = np.random.default_rng(1).permutation(200)
    _, again = survey_images(whole(Stack(images[shuffle])), lambda flux: flux)
    np.testing.assert_array_equal(shuffle[again], order)


@pytest.mark.parametrize(
    "change",
    [
        {"aug_p": "code"}, {"noise_fits": "legacy"}, {"image_norm": "zscore"}, {"rotate": True}, {"n_local": 3},
        {"local_contains_centre": True}, {"warmup": 0.5}, {"frozen": 1.0}, {"lr_scaling": "sqrt"}, {"drop_path": 0.5},
        {"separate_heads": True}, {"balance": "sinkhorn"}, {"ibot_weight": 0.0}, {"koleo_weight": 1.0},
        {"student_temperature": 0.2}, {"teacher_temperature": 0.01}, {"final_teacher_temperature": 0.1},
        {"temperature_ramp": 1.0}, {"teacher_momentum": 0.5}, {"layer_decay": 0.5}, {"patch_lr_scale": 0.1},
        {"n_prototypes": 32}, {"head_hidden": 16}, {"head_bottleneck": 6}, {"layer_scale": 0.5}, {"depth": 1},
        {"n_heads": 2}, {"global_crop": 12}, {"local_crop": 6}, {"patch_size": 3}, {"field_side": 20},
        {"image_side": 48}, {"image_norm": "colours"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_each_option_has_a_visible_effect(change: dict[str, Any]) -> None:
    stack = Stack(galaxies(16)[0])
    embeddings = []
    for options in ({}, change):
        encoder = AstroDINOEncoder(**{**TINY, **options}, n_steps=4)
        encoder.fit(stack, seed=0)
        embeddings.append(encoder.embed(stack))
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-4


def test_impossible_options_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="aug_p 'both': must be paper or code"):
        AstroDINOEncoder(aug_p="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="image_norm 'log': must be rgb or"):
        AstroDINOEncoder(image_norm="log")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="= 36, 80, 76, 76: must ascend"):
        AstroDINOEncoder(global_crop=80)
    with pytest.raises(ValueError, match="has no weights yet: call fit or load_state first"):
        AstroDINOEncoder().embed(Stack(galaxies(2)[0]))


def test_the_table_of_sizes_repeats_the_published_ones_at_paper_size() -> None:
    rows = {item: (ours, paper, code) for item, ours, paper, code in architecture(CARDS[0].options["paper"])}
    assert rows["parameters of the backbone"] == ("302,954,496", "307M", "302,954,496")
    assert rows["parameters of the heads"][0] == "23,662,848"
    code = {**CARDS[0].options["paper"], **CARDS[0].recipes["code"]}
    for item, ours, _, theirs in architecture(code):
        assert ours == theirs or not theirs or item == "crops", item
    small = {item: ours for item, ours, _, _ in architecture(CARDS[0].options["smoke"])}
    encoder = AstroDINOEncoder(**{**SMOKE, "n_steps": 0})
    encoder.fit(Stack(galaxies(20, side=152)[0]), seed=0)
    backbone = encoder.objective.model.teacher.backbone
    assert small["parameters of the backbone"] == f"{sum(p.numel() for p in backbone.parameters()):,}"

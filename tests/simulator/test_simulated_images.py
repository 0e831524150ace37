"""Cutouts: determinism, flux, noise, and that each latent moves the data the way physics says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from benchmark.simulator import images
from benchmark.simulator.appearance import Appearance, draw_appearance
from benchmark.simulator.candidates import Candidates, draw_candidates
from benchmark.simulator.flavours import SOUTH
from benchmark.simulator.images import add_noise, noiseless_images, render_images
from benchmark.simulator.pack import TemplatePack
from benchmark.simulator.photometry import band_tables, stellar_fluxes

IMAGE_SIZE, PIXEL_SCALE_ARCSEC = SOUTH.image_size, SOUTH.pixel_scale_arcsec
OFFSET = (np.arange(IMAGE_SIZE) - (IMAGE_SIZE - 1) / 2) * PIXEL_SCALE_ARCSEC


@pytest.fixture(scope="module")
def galaxies(pack: TemplatePack) -> Candidates:
    drawn = draw_candidates(11, 0, 700, pack)
    return drawn.take(drawn.kept)


@pytest.fixture(scope="module")
def appearance(galaxies: Candidates, pack: TemplatePack) -> Appearance:
    return draw_appearance(galaxies, pack)


@pytest.fixture(scope="module")
def observed(galaxies: Candidates, appearance: Appearance, pack: TemplatePack) -> np.ndarray:
    return render_images(galaxies, pack, appearance)


def alone(appearance: Appearance, **shape: object) -> Appearance:
    """The same galaxies without neighbours, companions and lopsidedness, and with a changed shape."""
    n = len(appearance.morphology.angle)
    around = {**appearance.neighbours, "flux": np.zeros_like(appearance.neighbours["flux"])}
    calm = {"merger_flux": np.zeros(n), "lopsided": np.zeros(n)}
    return replace(
        appearance,
        neighbours=around,
        morphology=replace(appearance.morphology, **{**calm, **shape}),  # type: ignore[arg-type]
    )


def pick(appearance: Appearance, rows: np.ndarray) -> Appearance:
    return Appearance(
        replace(appearance.morphology, **{k: v[rows] for k, v in vars(appearance.morphology).items()}),
        replace(appearance.conditions, **{k: v[rows] for k, v in vars(appearance.conditions).items()}),
        {k: v[rows] for k, v in appearance.neighbours.items()},
    )


def spread(image: np.ndarray) -> np.ndarray:
    """Second moments (2, 2) of images (n, h, w) under a Gaussian weight of 3 arcsec, arcsec^2."""
    weight = np.exp(-0.5 * (OFFSET[:, None] ** 2 + OFFSET[None, :] ** 2) / 9)
    light = image * weight
    total = light.sum(axis=(1, 2))
    xx = (light * OFFSET[None, None, :] ** 2).sum(axis=(1, 2)) / total
    yy = (light * OFFSET[None, :, None] ** 2).sum(axis=(1, 2)) / total
    xy = (light * OFFSET[None, None, :] * OFFSET[None, :, None]).sum(axis=(1, 2)) / total
    return np.stack([np.stack([xx, xy], axis=-1), np.stack([xy, yy], axis=-1)], axis=-1)


def roundness(image: np.ndarray) -> np.ndarray:
    low, high = np.linalg.eigvalsh(spread(image)).T
    return np.sqrt(low / high)


@pytest.mark.parametrize("batch", [1, 7])
def test_images_are_the_same_for_any_batch_and_any_company(
    galaxies: Candidates, observed: np.ndarray, pack: TemplatePack, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(images, "BATCH", batch)
    rows = np.array([0, 3, 4, 5, 11, 12, 30])
    assert np.array_equal(render_images(galaxies.take(rows), pack), observed[rows])


def test_noise_belongs_to_the_galaxy() -> None:
    blank = np.zeros((3, 32, 32), np.float32)
    first, again, other = blank.copy(), blank.copy(), blank.copy()
    for image, seed, candidate in ((first, 1, 5), (again, 1, 5), (other, 1, 6)):
        add_noise(image, np.full(3, 0.01), seed, candidate)
    assert np.array_equal(first, again)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(first.size)


def test_images_carry_the_flux_of_the_catalogue_to_a_thousandth(galaxies: Candidates, appearance: Appearance) -> None:
    shape = appearance.morphology
    # galaxies that fit: at 20 arcsec a de Vaucouleurs profile of 1 arcsec has lost 1e-4, a disc of 1.4 less
    fits = np.flatnonzero((shape.bulge_radius < 1.0) & (shape.disc_scale < 1.4))
    assert len(fits) > 25
    rendered = noiseless_images(galaxies.take(fits), alone(pick(appearance, fits)))
    assert rendered.dtype == np.float32
    assert rendered.sum(axis=(2, 3), dtype=np.float64) == pytest.approx(galaxies.flux[fits], rel=1e-3)
    stored = rendered.astype(np.float16)
    assert stored.sum(axis=(2, 3), dtype=np.float64) == pytest.approx(galaxies.flux[fits], rel=1e-3)


def test_companions_add_the_light_they_say(galaxies: Candidates, appearance: Appearance) -> None:
    small = np.flatnonzero(appearance.morphology.effective_radius < 1.0)[:8]
    one = alone(pick(appearance, small))
    both = replace(one, morphology=replace(one.morphology, merger_flux=np.full(len(small), 0.5)))
    some = galaxies.take(small)
    ratio = noiseless_images(some, both).sum(axis=(2, 3)) / noiseless_images(some, one).sum(axis=(2, 3))
    assert ratio == pytest.approx(1.5, abs=0.01)


def test_noise_is_as_declared_and_white(galaxies: Candidates, appearance: Appearance, observed: np.ndarray) -> None:
    clean = noiseless_images(galaxies, appearance)
    sigma = appearance.conditions.sigma[..., None, None]
    pull = (observed - clean) / np.sqrt(sigma * (sigma + 0.08 * np.maximum(clean, 0)))
    n = pull[:, 0].size
    assert pull.mean(axis=(0, 2, 3)) == pytest.approx(0, abs=4 / np.sqrt(n))
    assert pull.std(axis=(0, 2, 3)) == pytest.approx(1, abs=4 / np.sqrt(2 * n))
    power = np.abs(np.fft.rfft2(pull)) ** 2 / IMAGE_SIZE**2
    frequency = np.hypot(np.fft.fftfreq(IMAGE_SIZE)[:, None], np.fft.rfftfreq(IMAGE_SIZE)[None, :])
    for low in np.arange(0.0, 0.5, 0.1):
        ring = (frequency > low) & (frequency <= low + 0.1)
        count = ring.sum() * len(galaxies)  # each power is exponential about 1
        assert power[..., ring].mean(axis=(0, 2)) == pytest.approx(1, abs=5 / np.sqrt(count)), low
    corners = observed[:, :, :8, :8]  # mostly empty sky: the level that a user measures
    measured = 1.4826 * np.median(np.abs(corners - np.median(corners, axis=(2, 3), keepdims=True)), axis=(2, 3))
    assert np.median(measured / appearance.conditions.sigma) == pytest.approx(1.0, abs=0.05)


def test_seeing_and_depth_scatter_about_those_of_the_survey(appearance: Appearance) -> None:
    conditions = appearance.conditions
    n = len(conditions.sigma)
    fwhm, sigma = zip(*((band.fwhm_arcsec, band.pixel_sigma_nanomaggy) for band in SOUTH.bands))
    assert np.median(conditions.fwhm_arcsec, axis=0) == pytest.approx(fwhm, rel=5 * 0.08 / n**0.5)
    assert np.median(conditions.sigma, axis=0) == pytest.approx(sigma, rel=7 * 0.1 / n**0.5)


def test_inclination_shortens_the_axis_ratio(galaxies: Candidates, pack: TemplatePack) -> None:
    ratios, shapes = [], []
    for cos_inclination in (1.0, 0.6, 0.3, 0.0):
        tilted = replace(
            galaxies, latents=replace(galaxies.latents, cos_inclination=np.full(len(galaxies), cos_inclination))
        )
        found = draw_appearance(tilted, pack)
        ratios.append(found.morphology.disc_ratio)
        shapes.append(roundness(noiseless_images(tilted.take(np.arange(12)), alone(pick(found, np.arange(12))))[:, 1]))
    assert ratios[0] == pytest.approx(1.0)
    assert (ratios[3] < 0.36).all()
    assert (np.diff(ratios, axis=0) < 0).all()
    assert (np.diff(shapes, axis=0) < 0).mean() > 0.9  # bars and arms may stand against the tilt
    assert np.median(shapes[3]) < np.median(shapes[0]) - 0.1


def test_larger_galaxies_have_lower_surface_brightness(galaxies: Candidates, appearance: Appearance) -> None:
    rows = np.arange(12)
    plain = alone(pick(appearance, rows))
    shape = plain.morphology
    doubled = alone(plain, disc_scale=2 * shape.disc_scale, bulge_radius=2 * shape.bulge_radius)
    small, large = (noiseless_images(galaxies.take(rows), a)[:, 1] for a in (plain, doubled))
    assert (large.max(axis=(1, 2)) < small.max(axis=(1, 2))).all()
    assert (np.trace(spread(large), axis1=1, axis2=2) > np.trace(spread(small), axis1=1, axis2=2)).all()


def test_seeing_blurs(galaxies: Candidates, appearance: Appearance) -> None:
    rows = np.arange(12)
    sharp = alone(pick(appearance, rows))
    blurred = replace(sharp, conditions=replace(sharp.conditions, fwhm_arcsec=1.6 * sharp.conditions.fwhm_arcsec))
    before, after = (noiseless_images(galaxies.take(rows), a)[:, 1] for a in (sharp, blurred))
    assert (after.max(axis=(1, 2)) < before.max(axis=(1, 2))).all()
    assert (np.trace(spread(after), axis1=1, axis2=2) > np.trace(spread(before), axis1=1, axis2=2)).all()


def test_dust_reddens_images(galaxies: Candidates, appearance: Appearance, pack: TemplatePack) -> None:
    dust = replace(galaxies.dust, a_v=galaxies.dust.a_v + 0.5)
    stars = stellar_fluxes(galaxies.latents, galaxies.history, galaxies.metallicity, dust, band_tables(pack))
    rows = np.arange(12)
    shape = alone(pick(appearance, rows))
    colour = []
    for some in (galaxies, replace(galaxies, stars=stars)):
        centre = noiseless_images(some.take(rows), shape)[:, :, 68:84, 68:84].sum(axis=(2, 3))
        colour.append(-2.5 * np.log10(centre[:, 0] / centre[:, 2]))
    assert (colour[1] > colour[0] + 0.1).all()


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        ({"bar_share": 0.2}, lambda image: -roundness(image)),  # a bar stretches a round disc's centre
        ({"arm_strength": 1.0}, lambda image: np.abs(image - image[:, ::-1]).sum(axis=(1, 2))),  # arms break mirrors
        ({"lopsided": 0.6}, lambda image: np.abs(image - image[:, ::-1, ::-1]).sum(axis=(1, 2))),
    ],
    ids=["bar", "arms", "lopsided"],
)
def test_structure_shows(
    galaxies: Candidates,
    appearance: Appearance,
    change: dict[str, float],
    moved: Callable[[np.ndarray], np.ndarray],
) -> None:
    rows = np.flatnonzero(appearance.morphology.bulge_to_total < 0.4)[:8]
    n = len(rows)
    round_disc = {"disc_ratio": np.ones(n), "disc_scale": np.full(n, 1.8), "n_arms": np.full(n, 2.0)}
    none = {"bar_share": np.zeros(n), "arm_strength": np.zeros(n), "knot_share": np.zeros(n), "lane_depth": np.zeros(n)}
    plain = alone(pick(appearance, rows), **round_disc, **none)
    changed = alone(plain, **{name: np.full(n, value) for name, value in change.items()})
    before, after = (moved(noiseless_images(galaxies.take(rows), a)[:, 1].astype(np.float64)) for a in (plain, changed))
    assert (after > before).all()


def test_the_population_of_shapes_is_as_described(pack: TemplatePack) -> None:
    drawn = draw_candidates(5, 0, 12000, pack)
    drawn = drawn.take(drawn.kept)
    shape, latents = draw_appearance(drawn, pack).morphology, drawn.latents
    n = len(drawn)
    in_groups = shape.merger_flux[latents.dense] > 0
    assert np.mean(in_groups) == pytest.approx(0.10, abs=4 * 0.3 / np.sqrt(in_groups.size))
    assert np.mean(shape.merger_flux[~latents.dense] > 0) == pytest.approx(0.04, abs=4 * 0.2 / np.sqrt(n))
    discs = latents.bulge_fraction < 0.6
    assert np.mean(shape.bar_share[discs] > 0) == pytest.approx(0.35, abs=4 * 0.48 / np.sqrt(discs.sum()))
    assert (shape.bar_share[~discs] == 0).all()
    counts = np.array([np.mean(shape.n_arms == k) for k in (2, 3, 4, 1, 5)])
    assert counts == pytest.approx([0.60, 0.15, 0.10, 0.05, 0.10], abs=4 * 0.5 / np.sqrt(n))
    assert np.degrees(shape.arm_pitch).min() >= 8 - 1e-9
    assert np.degrees(shape.arm_pitch).max() <= 40 + 1e-9
    assert shape.knot_weight.sum(axis=1) == pytest.approx(1.0)
    assert (shape.young_share >= 0).all()
    assert (shape.young_share <= 0.95).all()
    assert (
        np.median(shape.young_share[~latents.quiescent, 0]) > np.median(shape.young_share[latents.quiescent, 0]) + 0.3
    )
    # medians of the size-mass relation at 10.5: about 3.5-5 kpc for discs (Shen et al. 2003; van der Wel et al. 2014)
    middle = np.abs(latents.log10_mstar - 10.5) < 0.15
    assert 3.0 < np.median(latents.disc_kpc[middle & ~latents.quiescent]) < 6.0

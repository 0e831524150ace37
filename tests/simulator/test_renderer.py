"""Rendered light against analytic profiles and an independent convolution in pixel space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve
from scipy.special import gammainc

from benchmark.simulator import renderer
from benchmark.simulator.renderer import PSF_SHARES, PSF_WIDTHS, Blobs, Discs, Ellipses, psf_sigma_per_fwhm, render

SIZE = 96
PSF_SIGMA = 1.8


def ellipses(flux: float = 0.0, radius: float = 2.0, ratio: float = 1.0, angle: float = 0.0, **at: float) -> Ellipses:
    values = {"radius": radius, "ratio": ratio, "angle": angle, "x": 0.0, "y": 0.0, **at}
    return Ellipses(flux=torch.tensor([[flux]]), **{name: torch.tensor([value]) for name, value in values.items()})


def discs(old: float = 0.0, young: float = 0.0, **changes: float) -> Discs:
    plain = {
        "scale": 4.0,
        "ratio": 0.6,
        "angle": 0.4,
        "n_arms": 2.0,
        "arm_pitch": 0.35,
        "arm_strength": 0.0,
        "arm_phase": 0.3,
        "handedness": 1.0,
        "lopsided": 0.0,
        "lopsided_angle": 0.0,
        "bar_share": 0.0,
        "bar_length": 0.8,
        "bar_ratio": 0.4,
        "bar_angle": 0.5,
        "lane_depth": 0.0,
    }
    shape = {name: torch.tensor([value]) for name, value in {**plain, **changes}.items()}
    return Discs(old=torch.tensor([[old]]), young=torch.tensor([[young]]), **shape)


def blobs(flux: float = 0.0, x: float = 0.0, y: float = 0.0, sigma: float = 1.0) -> Blobs:
    place = {name: torch.tensor([[value]]) for name, value in (("x", x), ("y", y), ("sigma", sigma))}
    return Blobs(**place, flux=torch.tensor([[[flux]]]))


def drawn(
    bulge: Ellipses | None = None,
    disc: Discs | None = None,
    companion: Ellipses | None = None,
    blob: Blobs | None = None,
    *,
    size: int = SIZE,
    psf: float = PSF_SIGMA,
) -> np.ndarray:
    """One band of one galaxy, (size, size)."""
    parts = (bulge or ellipses(), disc or discs(), companion or ellipses(), blob or blobs())
    return render(*parts, torch.tensor([[psf]]), size)[0, 0].double().numpy()


def distance(size: int, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    offset = np.arange(size) - (size - 1) / 2
    return np.hypot(offset[None, :] - x, offset[:, None] - y)


def psf_image(size: int, sigma: float, step: float = 1.0) -> np.ndarray:
    r = distance(size) * step
    parts = zip(PSF_SHARES, PSF_WIDTHS)
    return sum(s * np.exp(-0.5 * (r / (w * sigma)) ** 2) / (2 * np.pi * (w * sigma) ** 2) * step**2 for s, w in parts)


@pytest.mark.parametrize(
    ("profile", "n", "b", "reach", "tolerance"),
    # Hogg & Lang 2013 truncate their profiles smoothly from 7 (deV) and 3 (exp) radii on; six or eight Gaussians ripple
    # by 1-3 % before
    [("dev", 4.0, 7.66925, 4.0, 0.04), ("exp", 1.0, 1.67835, 2.4, 0.015)],
)
def test_the_mixtures_follow_their_profiles(profile: str, n: float, b: float, reach: float, tolerance: float) -> None:
    share, variance = (np.array(values) for values in renderer.PROFILES[profile])
    r = np.geomspace(0.1, reach, 40)[:, None]
    mixture = np.sum(share / share.sum() / (2 * np.pi * variance) * np.exp(-0.5 * r**2 / variance), axis=1)
    sersic = np.exp(-b * (r[:, 0] ** (1 / n) - 1))
    ratio = mixture / sersic
    assert ratio / np.median(ratio) == pytest.approx(1, abs=tolerance)
    inside = np.sum(share / share.sum() * (1 - np.exp(-0.5 / variance)))
    assert inside == pytest.approx(0.5, abs=0.03)  # the mixtures are truncated, so a little more than half


def test_a_point_source_is_the_psf_with_the_width_that_was_asked_for() -> None:
    fwhm = 4.6
    sigma = psf_sigma_per_fwhm() * fwhm
    image = drawn(ellipses(flux=1.0, radius=1e-3), size=97 - 1, psf=sigma)
    assert image == pytest.approx(psf_image(96, sigma), abs=2e-6)
    fine = psf_image(2001, sigma, step=0.01)
    across = fine[1000]
    assert 0.01 * np.sum(across > 0.5 * across.max()) == pytest.approx(fwhm, abs=0.02)


@pytest.mark.parametrize(("scale", "ratio"), [(4.0, 0.9), (3.0, 0.35), (6.0, 0.15)])
def test_a_smooth_disc_equals_a_convolution_on_a_finer_grid(scale: float, ratio: float) -> None:
    found = drawn(disc=discs(old=3.0, scale=scale, ratio=ratio))
    fine = 5  # samples a pixel
    offset = (np.arange(SIZE * fine) - (SIZE * fine - 1) / 2) / fine
    x, y = np.meshgrid(offset, offset)
    major, minor = x * np.cos(0.4) + y * np.sin(0.4), y * np.cos(0.4) - x * np.sin(0.4)
    widened = [np.sqrt(length**2 + renderer.MIN_WIDTH**2) for length in (scale, scale * ratio)]
    light = np.exp(-np.hypot(major / widened[0], minor / widened[1]))
    light *= 3.0 / (2 * np.pi * widened[0] * widened[1] * fine**2)
    smooth = fftconvolve(light, psf_image(61 * fine, PSF_SIGMA, step=1 / fine), mode="same")
    # the PSF includes the pixel: the finer grid is read at pixel centres, which lie on its samples as `fine` is odd
    expected = smooth[fine // 2 :: fine, fine // 2 :: fine] * fine**2
    assert found == pytest.approx(expected, abs=0.01 * expected.max())  # 1 pixel sampling of the cusp
    assert found.sum() == pytest.approx(3.0, rel=1e-3)


def test_half_of_a_bulge_lies_within_its_half_light_radius() -> None:
    image = drawn(ellipses(flux=1.0, radius=8.0), size=256, psf=0.8)
    inside = image[distance(256) < 8.0].sum()
    assert inside == pytest.approx(0.5, abs=0.03)  # blurring moves .01 outward, the truncated mixture .02 inward
    edge = drawn(disc=discs(old=1.0, scale=8.0 / 1.678, ratio=1.0), size=256, psf=0.8)
    assert edge[distance(256) < 8.0].sum() == pytest.approx(gammainc(2, 1.678), abs=0.02)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"arm_strength": 0.9},
        {"arm_strength": 0.7, "n_arms": 5.0},
        {"bar_share": 0.2},
        {"lane_depth": 0.7, "ratio": 0.2},
        {"lopsided": 0.6},
        {"ratio": 0.12, "scale": 1.0},
    ],
)
def test_structure_moves_light_and_keeps_its_sum(changes: dict[str, float]) -> None:
    image = drawn(disc=discs(old=2.0, young=1.0, **changes))
    assert image.sum() == pytest.approx(3.0, rel=1e-3)
    assert image.min() > -1e-6


def test_a_disc_larger_than_the_stamp_loses_what_lies_outside() -> None:
    scale = 30.0
    image = drawn(disc=discs(old=1.0, scale=scale, ratio=1.0))
    offset = np.arange(-600, 600)
    plane = np.exp(-np.hypot(*np.meshgrid(offset, offset)) / scale) / (2 * np.pi * scale**2)
    inside = plane[600 - SIZE // 2 : 600 + SIZE // 2, 600 - SIZE // 2 : 600 + SIZE // 2].sum()
    assert inside < 0.8
    assert image.sum() == pytest.approx(inside, abs=0.01)  # the seeing mixes the edge of the padded grid


def test_blobs_and_companions_are_where_they_should_be_and_as_bright() -> None:
    image = drawn(blob=blobs(flux=2.0, x=10.0, y=-6.0, sigma=1.5))
    x, y = np.meshgrid(np.arange(SIZE) - (SIZE - 1) / 2, np.arange(SIZE) - (SIZE - 1) / 2)
    assert image.sum() == pytest.approx(2.0, rel=1e-4)
    assert [(image * x).sum() / 2, (image * y).sum() / 2] == pytest.approx([10.0, -6.0], abs=0.01)
    near = drawn(companion=ellipses(flux=1.5, radius=3.0, ratio=0.5, angle=0.7, x=-9.0, y=4.0))
    assert near.sum() == pytest.approx(1.5, rel=1e-3)
    assert [(near * x).sum() / 1.5, (near * y).sum() / 1.5] == pytest.approx([-9.0, 4.0], abs=0.05)


def test_arms_wind_with_the_pitch_that_was_asked_for() -> None:
    pitch = 0.4
    image = drawn(disc=discs(young=1.0, scale=10.0, ratio=1.0, angle=0.0, arm_strength=1.0, arm_pitch=pitch), psf=0.8)
    offset = np.arange(SIZE) - (SIZE - 1) / 2
    angle = np.arctan2(offset[:, None], offset[None, :])
    radii = np.array([10.0, 14.0, 18.0, 22.0])
    phase = []
    for radius in radii:
        ring = np.abs(distance(SIZE) - radius) < 1.0
        phase.append(np.angle(np.sum(image[ring] * np.exp(2j * angle[ring]))) / 2)
    turn = np.unwrap(np.array(phase), period=np.pi)
    slope = np.polyfit(np.log(radii), turn, 1)[0]
    assert slope == pytest.approx(1 / np.tan(pitch), rel=0.05)
    whirl = discs(young=1.0, scale=10.0, ratio=1.0, angle=0.0, arm_strength=1.0)
    mirrored = drawn(disc=replace(whirl, handedness=torch.tensor([-1.0])), psf=0.8)
    assert mirrored == pytest.approx(drawn(disc=whirl, psf=0.8)[::-1], abs=1e-6)

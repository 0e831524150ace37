"""What models see: magnitudes untouched, images in [0, 1] by the published stretch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from benchmark.contracts import UsageError
from benchmark.data import inputs, rgb_stretch, write_survey


def test_the_stretch_gives_the_numbers_of_the_published_code() -> None:
    # AstroCLIP's to_rgb on .05 sin(.9 t + .1) + .04; first six, sum and norm of the (20, 20, 3) output
    t = np.arange(3 * 20 * 20)
    pixels = (0.05 * np.sin(0.9 * t + 0.1) + 0.04).astype(np.float32).reshape(3, 20, 20)
    out = np.moveaxis(rgb_stretch(pixels), 0, -1)
    first = [0.1083256, 0.7114772, 0.6599148, 0.0166262, 0.4436412, 1.0]
    np.testing.assert_allclose(out.ravel()[:6], first, atol=1e-5)  # printed to 7 digits, float32
    x = out.astype(np.float64).ravel()
    # other float32 kernels move sums by up to 2e-6 of the norm
    tolerance = 1e-5 + 2e-6 * 18.841444
    assert x.sum() == pytest.approx(518.20654, abs=tolerance)
    assert np.linalg.norm(x) == pytest.approx(18.841444, abs=tolerance)
    assert (x * np.cos(0.3 * np.arange(x.size))).sum() == pytest.approx(-22.1312, abs=tolerance + 5e-5)


def test_an_empty_sky_is_black_and_finite() -> None:
    out = rgb_stretch(np.full((2, 3, 4, 4), -1.0))
    assert (out == 0).all()


def test_photometry_is_the_catalogue_in_float32_with_missing_bands(tmp_path, info, catalogue, images) -> None:
    catalogue.loc[5, "mag_r"] = np.nan
    survey = write_survey(tmp_path / "s", info, catalogue, images=images)
    rows = survey.rows("test")[::-1]
    view = inputs(survey, "photometry", rows)
    expected = survey.catalogue[["mag_g", "mag_r", "mag_z"]].to_numpy(np.float32)
    assert view.shape == (len(rows), 3)
    np.testing.assert_array_equal(view[:], expected[rows])
    np.testing.assert_array_equal(view[np.array([3, 0])], expected[rows[[3, 0]]])
    assert np.isnan(inputs(survey, "photometry", survey.rows())[:]).sum() == 1


def test_images_are_stretched_row_by_row_when_asked_for(survey) -> None:
    rows = survey.rows("train")
    view = inputs(survey, "image", rows)
    assert view.shape == (len(rows), 3, 8, 6)
    assert len(view) == len(rows)
    whole = view[:]
    assert whole.dtype == np.float32
    assert whole.min() >= 0
    assert whole.max() <= 1
    np.testing.assert_array_equal(view[np.array([4, 1])], whole[[4, 1]])
    np.testing.assert_array_equal(whole, rgb_stretch(np.asarray(survey.images)[rows]))


def test_display_images_are_divided_by_255(tmp_path, info, catalogue) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 3, 4, 4), dtype=np.uint8)
    display = dataclasses.replace(info, image_unit="display_uint8", image_bands=("i", "r", "g"))
    survey = write_survey(tmp_path / "s", display, catalogue, images=pixels)
    seen = inputs(survey, "image", survey.rows())[:]
    reference = np.stack([np.asarray(Image.fromarray(row.transpose(1, 2, 0))) for row in survey.images]) / 255
    np.testing.assert_allclose(seen.transpose(0, 2, 3, 1), reference, rtol=1e-7)  # one float32 rounding


def test_what_a_survey_lacks_is_refused_by_name(tmp_path, info, catalogue, images) -> None:
    bare = dataclasses.replace(info, image_bands=(), image_unit=None)
    survey = write_survey(tmp_path / "bare", bare, catalogue)
    with pytest.raises(UsageError, match="survey toy has no image: it has photometry"):
        inputs(survey, "image", survey.rows())
    other = write_survey(
        tmp_path / "s", dataclasses.replace(info, image_bands=("g", "r", "i")), catalogue, images=images
    )
    with pytest.raises(UsageError, match="nanomaggies in g, r, i: the colour stretch is defined for g, r, z"):
        inputs(other, "image", other.rows())

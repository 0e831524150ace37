"""AstroDINO on real images: fluxes of the Legacy Survey, pictures of rings, which it flags."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.cards.astrodino import CARDS
from benchmark.data import Survey, import_survey
from benchmark.data.flux import flux_images
from encoders import AstroDINOEncoder

SPECS = Path(__file__).parents[2] / "configs" / "surveys"
pytestmark = pytest.mark.real_data


def imported(name: str, tmp_path: Path, real_data: Path) -> Survey:
    return import_survey(SPECS / f"{name}.toml", tmp_path / name, data_dir=real_data)[0]


def smoke(**changes: int) -> AstroDINOEncoder:
    return AstroDINOEncoder(**{**CARDS[0].options["smoke"], **changes})  # type: ignore[arg-type]


def test_cubes_of_the_legacy_survey_are_read_as_fluxes(tmp_path: Path, real_data: Path) -> None:
    survey = imported("legacysurvey_fits", tmp_path, real_data)
    cubes = flux_images(survey, survey.rows())
    encoder = smoke(n_steps=3, batch_size=2)
    encoder.fit(cubes, seed=0)
    embedding = encoder.embed(cubes)
    assert np.isfinite(embedding).all()
    assert np.abs(embedding[0] - embedding[1]).max() > 0.01
    assert encoder.facts()["image_unit"] == "nanomaggy"
    assert "out_of_domain" not in encoder.facts()
    assert len(encoder.objective.augmentation.psf) == 3


def test_pictures_of_rings_are_read_as_pictures_and_flagged(tmp_path: Path, real_data: Path) -> None:
    survey = imported("gz_rings", tmp_path, real_data)
    pictures = flux_images(survey, survey.rows()[:64])
    encoder = smoke(n_steps=3)
    encoder.fit(pictures, seed=0)
    embedding = encoder.embed(pictures)
    assert np.isfinite(embedding).all()
    assert embedding.std(axis=0).min() > 0
    assert encoder.facts()["image_unit"] == "display"
    assert "pictures instead of fluxes" in str(encoder.facts()["out_of_domain"])
    assert encoder.objective.augmentation.psf == ()

"""Images as fluxes, and the models that are given them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.artefacts import read_embedding
from benchmark.config import RunConfig
from benchmark.contracts import UsageError
from benchmark.data import Survey, SurveyInfo, write_survey
from benchmark.data.flux import flux_images
from benchmark.evaluation import evaluate, survey_facts
from benchmark.plan import plan_models
from benchmark.registry import HEADS, MODELS, TASKS, resolve
from encoders import ImageHandFeatures
from encoders.reading.images import ImageFacts

# imports that leave traces are made here, so that no test is blamed for them
for address in (MODELS["ImageHandFeatures"].factory, HEADS["knn"].factory, TASKS["redshift"].score):
    resolve(address)


def test_flux_is_what_is_stored_in_the_order_of_the_rows(survey: Survey, images: np.ndarray) -> None:
    rows = np.array([5, 2, 9])
    view = flux_images(survey, rows)
    assert view.shape == (3, *images.shape[1:])
    np.testing.assert_array_equal(view[:], np.asarray(survey.images)[rows])
    np.testing.assert_array_equal(view[np.array([2, 0])], np.asarray(survey.images)[[9, 5]])
    assert view.facts == ImageFacts(
        "nanomaggy", survey.info.image_bands, survey.info.pixel_scale_arcsec, survey.info.image_stretch
    )


def test_pictures_are_divided_by_255_and_a_survey_without_images_is_told(
    info: SurveyInfo, catalogue: pd.DataFrame, images: np.ndarray, tmp_path: Path
) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, images.shape, dtype=np.uint8)
    shown = write_survey(
        tmp_path / "shown", replace(info, image_unit="display_uint8"), catalogue.copy(), images=pictures
    )
    np.testing.assert_allclose(flux_images(shown, np.arange(4))[:], np.asarray(shown.images)[:4] / 255, atol=1e-7)
    assert flux_images(shown, np.arange(4)).facts is None
    blind = write_survey(
        tmp_path / "blind",
        replace(info, image_bands=(), image_unit=None, pixel_scale_arcsec=None),
        catalogue.copy(),
    )
    with pytest.raises(UsageError, match="has no image: choose a model"):
        flux_images(blind, np.arange(4))


def test_a_model_whose_card_asks_for_flux_is_given_flux(survey: Survey, tmp_path: Path) -> None:
    evaluate(
        "ImageHandFeatures", survey.folder, tasks=["redshift"], probes=["knn"], config=RunConfig("smoke"), out=tmp_path
    )
    (path,) = (tmp_path / "embeddings").glob("*.parquet")
    target_id, embedding = read_embedding(path)
    rows = survey.rows("train", "validation", "test")
    np.testing.assert_array_equal(target_id, survey.target_id[rows])
    expected = ImageHandFeatures().embed(np.asarray(survey.images)[rows].astype(np.float32))
    np.testing.assert_allclose(embedding, expected, atol=1e-5)


def test_which_images_a_model_is_given_enters_its_keys_unless_they_are_the_usual_ones(survey: Survey) -> None:
    facts = survey_facts(survey)

    def keys(images: str) -> set[str]:
        card = replace(MODELS["ImagePixels"], images=images)  # type: ignore[arg-type]
        made = plan_models(facts, [card], list(TASKS), list(HEADS), RunConfig("smoke"))
        assert all(("images" in cell.settings["model"]) == (images == "flux") for cell in made.cells)
        return {cell.key for cell in made.cells}

    assert not keys("flux") & keys("display")

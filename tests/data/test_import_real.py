"""The shipped specs on the real files: bit for bit what pandas and pillow read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmark.data import check_survey, describe, hash_split, import_survey, inputs

SPECS = Path(__file__).parents[2] / "configs" / "surveys"
pytestmark = pytest.mark.real_data


def test_stripe82_is_the_source_file_bit_for_bit(tmp_path: Path, real_data: Path) -> None:
    survey, report = import_survey(SPECS / "stripe82.toml", tmp_path / "s", data_dir=real_data)
    path = real_data / "photoz_catalogues" / "stripe82_galaxies.csv.gz"
    source = pd.read_csv(path, dtype=str).map(float)  # older pandas' own parser is off by one bit now and then
    assert report.rows_read == report.n_galaxies == len(source) == 33_410
    np.testing.assert_array_equal(survey.target_id, np.arange(len(source)))
    for ours, theirs in {"z": "z", **{f"mag_{b}": f"MAG_AUTO_{b.upper()}" for b in "griz"}}.items():
        np.testing.assert_array_equal(survey.catalogue[ours], source[theirs])
    np.testing.assert_array_equal(survey.split, hash_split(np.arange(len(source))))
    assert survey.modalities == ("photometry",)
    assert inputs(survey, "photometry", survey.rows("test")).shape == (survey.counts()["test"], 4)
    assert {finding.code for finding in check_survey(survey)} == {
        "positions_absent",
        "images_absent",
        "spectra_absent",
    }


def test_sdss_cutouts_are_the_decoded_jpegs_with_the_sources_split(tmp_path: Path, real_data: Path) -> None:
    survey, report = import_survey(SPECS / "sdss_metallicity.toml", tmp_path / "s", data_dir=real_data)
    base = real_data / "sdss_images_metallicity"
    sources = {
        split: pd.read_csv(base / "catalogs" / f"{split}.csv", dtype=str).assign(
            objID=lambda table: table["objID"].map(int), oh_p50=lambda table: table["oh_p50"].map(float)
        )
        for split in ("train", "test")
    }
    assert [source.rows_kept for source in report.sources] == [400, 100]
    assert "12.5 %" in survey.info.split_rule
    both = pd.concat(sources.values()).sort_values("objID")
    np.testing.assert_array_equal(survey.target_id, both["objID"])  # 19 digits: floats would have merged some
    np.testing.assert_array_equal(survey.catalogue["oh_p50"], both["oh_p50"])
    assert survey.images is not None
    for row in range(0, 500, 7):
        galaxy = survey.target_id[row]
        of = "test" if galaxy in set(sources["test"]["objID"]) else "train"
        assert (survey.split[row] == "test") == (of == "test")
        pixels = np.asarray(Image.open(base / of / f"{galaxy}.jpg"))
        np.testing.assert_array_equal(survey.images[row], pixels.transpose(2, 0, 1))
    counts = survey.counts()
    assert counts["test"] == 100
    assert counts["train"] + counts["validation"] == 400
    assert abs(counts["validation"] - 50) < 4.5 * np.sqrt(400 * 7 / 64)  # binomial, p = 1/8
    description = describe(survey)
    assert description["photometry"] is None
    assert description["images"]["shape"] == [500, 3, 128, 128]
    assert [f for f in description["findings"] if f["level"] != "info"] == []


def test_names_hash_to_ids_that_lead_back_to_them(tmp_path: Path, real_data: Path) -> None:
    survey, report = import_survey(SPECS / "gz_rings.toml", tmp_path / "s", data_dir=real_data)
    source = pd.read_csv(real_data / "gz_decals_rings" / "labels.csv").set_index("id_str")
    assert report.n_galaxies + sum(report.dropped.values()) == len(source)
    assert (survey.target_id > 0).all()
    assert survey.catalogue["source_id"].is_unique
    np.testing.assert_array_equal(survey.catalogue["ring"], source.loc[survey.catalogue["source_id"], "ring"])
    name = survey.catalogue["source_id"][5]
    pixels = np.asarray(Image.open(real_data / "gz_decals_rings" / "images" / f"{name}.jpg"))
    assert survey.images is not None
    np.testing.assert_array_equal(survey.images[5], pixels.transpose(2, 0, 1))

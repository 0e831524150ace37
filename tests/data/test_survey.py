"""Survey folders: what is written is read back, whole or not at all."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.contracts import GalaxybenchError, Target, UsageError
from benchmark.data import ImageWriter, Survey, SurveyInfo, hash_split, load_survey, write_survey


def test_a_survey_is_read_back_as_it_was_written_sorted_by_id(survey, info, catalogue, images) -> None:
    opened = load_survey(survey.folder)
    order = np.argsort(catalogue["target_id"].to_numpy())
    expected = catalogue.iloc[order].reset_index(drop=True)
    pd.testing.assert_frame_equal(opened.catalogue[list(expected.columns)], expected)
    np.testing.assert_array_equal(opened.images, images[order])
    for name in ("name", "version", "targets", "photometry_bands", "pixel_scale_arcsec", "licence", "facts"):
        assert getattr(opened.info, name) == getattr(info, name)
    assert opened.modalities == ("photometry", "image")
    assert opened.n_galaxies == len(catalogue) == sum(opened.counts().values())
    np.testing.assert_array_equal(opened.split, hash_split(expected["target_id"]))


def test_rows_and_targets_follow_ids_and_keep_missing_values(survey) -> None:
    rows = survey.rows("test", "train")
    assert (np.diff(survey.target_id[rows]) > 0).all()
    assert set(survey.split[rows]) == {"train", "test"}
    assert len(survey.rows()) == survey.n_galaxies
    values = survey.target(["log10_mstar", "z"], survey.rows())
    np.testing.assert_array_equal(values[:, 1], survey.catalogue["z"])
    assert np.isnan(values[:, 0]).sum() == 2
    assert survey.target([], rows).shape == (len(rows), 0)
    assert [target.name for target in survey.numeric_targets] == ["z", "log10_mstar"]
    assert survey.joint_targets == survey.ranked_targets == (survey.target_info("z"),)


def test_unknown_splits_and_targets_are_refused(survey) -> None:
    with pytest.raises(UsageError, match="'dev': allowed are train, validation, test, unlabelled"):
        survey.rows("dev")
    with pytest.raises(UsageError, match="'mass' is not in survey toy: it has z, log10_mstar"):
        survey.target(["mass"], survey.rows())


def test_the_digest_ignores_row_order_and_licence_but_sees_values_and_units(tmp_path, info, catalogue, images) -> None:
    def digest(name: str, info: SurveyInfo, table: pd.DataFrame, pixels: np.ndarray) -> str:
        return write_survey(tmp_path / name, info, table, images=pixels).digest

    order = np.random.default_rng(0).permutation(len(catalogue))
    first = digest("a", info, catalogue, images)
    assert digest("b", dataclasses.replace(info, licence="x"), catalogue.iloc[order], images[order]) == first
    changed = catalogue.copy()
    changed.loc[0, "z"] = np.nextafter(changed.loc[0, "z"], 2)
    other_unit = dataclasses.replace(info.targets[1], unit="dex(kg)")
    pixels = images.copy()
    pixels[0, 0, 0, 0] += 1
    assert len({
        first,
        digest("c", info, changed, images),
        digest("d", dataclasses.replace(info, targets=(info.targets[0], other_unit)), catalogue, images),
        digest("e", info, catalogue, pixels),
    }) == 4  # fmt: skip


def test_images_can_be_made_while_they_are_written(tmp_path, info, catalogue, images) -> None:
    by_id = dict(zip(catalogue["target_id"], images, strict=True))

    def fill(array: np.ndarray, target_id: np.ndarray) -> None:
        for row, galaxy in enumerate(target_id):
            array[row] = by_id[galaxy]

    made = write_survey(tmp_path / "s", info, catalogue, images=ImageWriter(images.shape, "float16", fill))
    np.testing.assert_array_equal(made.images, images[np.argsort(catalogue["target_id"])].astype(np.float16))


def test_a_write_that_fails_leaves_nothing_and_keeps_the_old_survey(survey, info, catalogue, images) -> None:
    def fail(array: np.ndarray, target_id: np.ndarray) -> None:
        raise RuntimeError("no light")

    with pytest.raises(RuntimeError, match="no light"):
        write_survey(survey.folder, info, catalogue, images=ImageWriter(images.shape, "float32", fail), overwrite=True)
    assert [entry.name for entry in survey.folder.parent.iterdir()] == ["toy"]
    assert load_survey(survey.folder).digest == survey.digest


def test_an_existing_survey_is_replaced_only_when_asked(survey, info, catalogue, images) -> None:
    with pytest.raises(UsageError, match="already holds a survey"):
        write_survey(survey.folder, info, catalogue, images=images)
    fewer = write_survey(survey.folder, info, catalogue[:20], images=images[:20], overwrite=True)
    assert fewer.n_galaxies == 20
    assert [entry.name for entry in survey.folder.parent.iterdir()] == ["toy"]
    (survey.folder / "my_notes.txt").write_text("keep me")
    with pytest.raises(UsageError, match=r"holds my_notes\.txt, which is no part of a survey"):
        write_survey(survey.folder, info, catalogue, images=images, overwrite=True)
    assert (survey.folder / "my_notes.txt").exists()


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path, info, catalogue, images) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GalaxybenchError, match="cannot be written"):
        write_survey(tmp_path / "file" / "survey", info, catalogue, images=images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="z"), "no column 'z', a target"),
        (lambda t: t.drop(columns="mag_r"), "no column 'mag_r', the photometry of band r"),
        (lambda t: t.drop(columns="target_id"), "no column 'target_id'"),
        (lambda t: t.assign(target_id=t["target_id"].astype(float)), "float64: must be integers"),
        (lambda t: t.assign(target_id=np.uint64(2**63 + 1) + np.arange(60, dtype=np.uint64)), "does not fit int64"),
        (lambda t: t.assign(target_id=[7, 7, *range(58)]), r"must be unique: 7 \(1 in all\)"),
        (lambda t: t.assign(split="dev"), r"split has dev \(1 in all\)"),
        (lambda t: t.assign(z=np.inf), r"'z' is infinite .*\(60 in all\): use NaN"),
        (lambda t: t.assign(z="low"), "'z' has dtype .*: must be numbers"),
        (lambda t: t.assign(extra=[[1]] * 60), "'extra' has dtype object: must be numbers or text"),
        (lambda t: t[:0], "0 rows"),
    ],
)
def test_catalogues_that_do_not_fit_are_refused(tmp_path, info, catalogue, images, change, message) -> None:
    with pytest.raises(GalaxybenchError, match=message):
        write_survey(tmp_path / "s", info, change(catalogue), images=images)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (None, "no images were given"),
        (np.zeros((59, 3, 8, 8), np.float32), r"shape \(59, 3, 8, 8\): 60 galaxies in 3 image_bands"),
        (np.zeros((60, 3, 8), np.float32), "need \\(n, bands, height, width\\)"),
        (np.zeros((60, 3, 8, 8), np.uint8), "dtype uint8: nanomaggy needs float16 or float32"),
    ],
)
def test_images_that_do_not_fit_are_refused(tmp_path, info, catalogue, pixels, message) -> None:
    with pytest.raises(GalaxybenchError, match=message):
        write_survey(tmp_path / "s", info, catalogue, images=pixels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "survey name '': must be letters"),
        ({"name": "../up"}, "must be letters"),
        ({"targets": (Target("z"), Target("z"))}, "names 'z' twice"),
        ({"targets": (Target("split"),)}, "'split': must not be"),
        ({"targets": (Target("mag_r"),)}, "'mag_r': must not be"),
        ({"photometry_unit": "nanomaggy"}, "stores mag_ab"),
        ({"image_unit": "adu"}, "'adu': images are in nanomaggy or display_uint8"),
        ({"image_bands": ()}, "image_bands is empty"),
        ({"pixel_scale_arcsec": -1.0}, "positive number"),
    ],
)
def test_facts_that_make_no_sense_are_refused(info, change, message) -> None:
    with pytest.raises(GalaxybenchError, match=message):
        dataclasses.replace(info, **change)


def _truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: _truncate(f / "catalogue.parquet"), r"catalogue\.parquet was altered or truncated"),
        (lambda f: _truncate(f / "images.npy"), r"images\.npy is truncated"),
        (lambda f: (f / "images.npy").unlink(), r"images\.npy is missing"),
        (lambda f: (f / "catalogue.parquet").unlink(), r"catalogue\.parquet is missing"),
        (lambda f: np.save(f / "images.npy", np.zeros((3, 3, 4, 4), np.float32)), r"shape \(3, 3, 4, 4\)"),
        (lambda f: np.save(f / "images.npy", np.zeros((60, 3, 4, 4), np.int32)), "dtype int32"),
        (lambda f: _edit(f / "survey.toml", "licence", "license"), "unknown key 'license' .did you mean 'licence'"),
        (lambda f: _edit(f / "survey.toml", "format = 1", "format = 9"), "format = 9"),
        (lambda f: _edit(f / "survey.toml", 'name = "toy"', "name = 3"), "name = 3: must be str"),
        (lambda f: _edit(f / "survey.toml", "[counts]", "[counts"), "not valid TOML"),
        (lambda f: _edit(f / "survey.toml", "split_digest", "#"), "'split_digest' is missing"),
        (
            lambda f: _edit(f / "survey.toml", 'log_base = "10"', 'log_base = "2"'),
            "log_base = '2'; allowed: 10, e, none",
        ),
        (lambda f: (f / "survey.toml").unlink(), r"no survey\.toml"),
    ],
)
def test_damaged_folders_are_refused_with_the_file_and_what_to_do(survey, damage, message) -> None:
    damage(survey.folder)
    with pytest.raises(GalaxybenchError, match=message) as caught:
        load_survey(survey.folder)
    assert "\n" not in str(caught.value)


def test_counts_that_were_edited_are_found_when_the_catalogue_is_read(survey) -> None:
    test = survey.counts()["test"]
    _edit(survey.folder / "survey.toml", f'"test" = {test}', f'"test" = {test + 1}')
    _edit(
        survey.folder / "survey.toml",
        f'"train" = {survey.counts()["train"]}',
        f'"train" = {survey.counts()["train"] - 1}',
    )
    with pytest.raises(GalaxybenchError, match=r"survey\.toml says"):
        _ = load_survey(survey.folder).catalogue


def test_a_place_without_a_survey_is_a_usage_error(tmp_path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        load_survey(tmp_path / "nowhere")


def test_opening_a_survey_imports_neither_torch_nor_pandas(survey: Survey) -> None:
    code = (
        f"import sys; from benchmark.data import load_survey; s = load_survey({str(survey.folder)!r});"
        "s.digest, s.counts(), s.modalities; print([m for m in ('torch', 'pandas', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

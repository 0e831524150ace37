"""Checks find what was planted, name the galaxies, and say what does not apply."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.contracts import Finding, Target
from benchmark.data import Survey, SurveyInfo, check_survey, describe, describe_text, hash_split, write_survey

N_GALAXIES = 600


@pytest.fixture
def clean() -> pd.DataFrame:
    """Photometry, redshifts and masses in which nothing is wrong."""
    rng = np.random.default_rng(8)
    table = pd.DataFrame({"target_id": np.arange(N_GALAXIES)})
    table["z"] = rng.uniform(0.01, 0.8, N_GALAXIES)
    table["log10_mstar"] = rng.normal(10.5, 0.5, N_GALAXIES)
    for band in "gr":
        table[f"mag_{band}"] = rng.normal(19, 1.2, N_GALAXIES)
    table["ra"], table["dec"] = rng.uniform(0, 360, N_GALAXIES), rng.uniform(-80, 80, N_GALAXIES)
    table["split"] = hash_split(table["target_id"])
    return table


def survey_of(folder: Path, table: pd.DataFrame, images: np.ndarray | None = None, **facts) -> Survey:
    targets = (Target("z"), Target("log10_mstar", log_base="10"))
    given = {"targets": targets, "photometry_bands": ("g", "r"), **facts}
    if images is not None:
        given |= {"image_bands": ("g",), "image_unit": "nanomaggy"}
    return write_survey(folder / "s", SurveyInfo(name="toy", version="1", **given), table, images=images)


def found(survey: Survey) -> dict[str, Finding]:
    findings = {finding.code: finding for finding in check_survey(survey)}
    assert all(f"``{code}``" in (check_survey.__doc__ or "") for code in findings), "a code that is not documented"
    return findings


def test_a_clean_survey_has_nothing_but_what_does_not_apply(tmp_path, clean) -> None:
    findings = check_survey(survey_of(tmp_path, clean))
    assert [(finding.level, finding.code) for finding in findings] == [
        ("info", "images_absent"),
        ("info", "spectra_absent"),
    ]


def test_a_survey_without_positions_photometry_or_targets_says_so(tmp_path, clean) -> None:
    bare = clean[["target_id", "z"]]
    codes = found(survey_of(tmp_path, bare, targets=(Target("z"),), photometry_bands=()))
    assert set(codes) == {"photometry_absent", "positions_absent", "images_absent", "spectra_absent", "rows_unchecked"}
    assert all(finding.level == "info" for finding in codes.values())
    empty = found(survey_of(tmp_path / "e", bare[["target_id"]], targets=(), photometry_bands=()))
    assert empty["targets_absent"].level == "warning"


PLANTS = {
    "nanomaggies": ({"mag_g": lambda t: 10 ** (0.4 * (22.5 - t["mag_g"]))}, "mag_is_flux", "error", None),
    "maggies": ({"mag_g": lambda t: 10 ** (-0.4 * t["mag_g"])}, "mag_is_flux", "error", None),
    "absolute magnitudes": ({"mag_g": lambda t: t["mag_g"] - 40}, "mag_range", "error", None),
    "km/s": ({"z": lambda t: t["z"] * 299792.458}, "target_unit", "error", None),
    "one failed redshift": ({"z": lambda t: t["z"].where(t.index != 5, -0.5)}, "target_unit", "warning", 1),
    "linear mass": ({"log10_mstar": lambda t: 10 ** t["log10_mstar"]}, "target_unit", "error", N_GALAXIES),
    "natural log of mass": ({"log10_mstar": lambda t: t["log10_mstar"] * np.log(10)}, "target_unit", "error", None),
    "sentinel in a target": ({"z": lambda t: t["z"].where(t.index > 2, -99.0)}, "sentinel", "error", 3),
    "sentinel in a magnitude": ({"mag_r": lambda t: t["mag_r"].where(t.index > 1, 99.99)}, "sentinel", "error", 2),
    "sentinel elsewhere": ({"extra": lambda t: np.where(t.index > 1, 1.5, -999.0)}, "sentinel", "warning", 2),
    "a few missing": ({"mag_g": lambda t: t["mag_g"].where(t.index > 5)}, "missing", "info", 6),
    "most missing": ({"mag_g": lambda t: t["mag_g"].where(t.index > 400)}, "missing", "warning", 401),
    "all missing": ({"mag_g": np.nan}, "missing", "error", N_GALAXIES),
    "constant": ({"log10_mstar": 10.0}, "constant", "error", N_GALAXIES),
    "dec in hours of angle": ({"dec": lambda t: t["dec"] * 3}, "position_range", "error", None),
    "split by hand": ({"split": lambda t: np.where(t.index % 2, "train", "test")}, "split_rule", "warning", None),
}


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_fault_is_found_with_its_level_and_count(tmp_path, clean, name) -> None:
    changes, code, level, n = PLANTS[name]
    finding = found(survey_of(tmp_path, clean.assign(**changes)))[code]
    assert finding.level == level
    assert n is None or finding.n == n
    assert finding.examples
    assert set(finding.examples) <= set(map(str, clean["target_id"]))


def test_values_outside_a_targets_own_limits_are_errors(tmp_path, clean) -> None:
    targets = (Target("z", low=0.0, high=0.5),)
    finding = found(survey_of(tmp_path, clean, targets=targets))["target_range"]
    assert (finding.level, finding.n) == ("error", int((clean["z"] > 0.5).sum()))


def test_99_volunteers_are_a_count_and_minus_99_is_not(tmp_path, clean) -> None:
    votes = {"bar": ("yes", "no")}
    columns = {"bar_yes": 99.0, "bar_no": np.arange(N_GALAXIES) % 7 + 0.0}
    table = clean.assign(**columns, bar_total=lambda t: t["bar_yes"] + t["bar_no"])
    assert "sentinel" not in found(survey_of(tmp_path / "a", table, votes=votes))
    table.loc[3, "bar_no"] = -99.0
    assert found(survey_of(tmp_path / "b", table, votes=votes))["sentinel"].examples == ("3",)


def test_99_is_a_number_where_98_and_100_are_and_no_value_where_they_are_not(tmp_path, clean) -> None:
    groups = np.arange(N_GALAXIES) % 10 + 95
    assert "sentinel" not in found(survey_of(tmp_path / "a", clean.assign(group=groups)))
    alone = np.where(groups == 98, 95, groups)
    assert found(survey_of(tmp_path / "b", clean.assign(group=alone)))["sentinel"].n == (alone == 99).sum()


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_an_absent_split_is_an_error_and_a_tiny_one_a_warning(tmp_path, clean, split) -> None:
    others = clean[clean["split"] != split]
    assert found(survey_of(tmp_path / "a", others))["split_missing"].level == "error"
    few = pd.concat([others, clean[clean["split"] == split][:7]])
    finding = found(survey_of(tmp_path / "b", few))["split_small"]
    assert (finding.level, finding.n) == ("warning", 7)


def _twins(table: pd.DataFrame, across: bool, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of training galaxies and of as many galaxies in test (or else in train) to make equal to them."""
    train = np.flatnonzero(table["split"] == "train")
    other = np.flatnonzero(table["split"] == "test") if across else train[n:]
    return train[:n], other[:n]


@pytest.mark.parametrize("what", ["row", "position", "image"])
@pytest.mark.parametrize(("across", "n", "level"), [(True, 40, "error"), (True, 1, "warning"), (False, 40, "warning")])
def test_repeats_are_found_and_are_leaks_across_splits(tmp_path, clean, what, across, n, level) -> None:
    source, copy = _twins(clean, across, n)
    images = np.random.default_rng(1).normal(size=(N_GALAXIES, 1, 3, 3)).astype(np.float32)
    columns = {"row": ["z", "log10_mstar", "mag_g", "mag_r"], "position": ["ra", "dec"], "image": []}[what]
    clean.loc[copy, columns] = clean.loc[source, columns].to_numpy()
    if what == "position":
        clean.loc[copy, "dec"] += 0.3 / 3600  # arcsec: the same galaxy, measured again
    if what == "image":
        images[copy] = images[source]
    codes = found(survey_of(tmp_path, clean, images))
    code = f"{what}_leak" if across else f"{what}_repeat"
    assert [(name, f.level, f.n) for name, f in codes.items()] == [(code, level, 2 * n), ("spectra_absent", "info", 0)]


def test_debiased_shares_are_missing_only_where_the_question_was_asked(tmp_path, clean) -> None:
    clean["bar_yes"], clean["bar_no"] = np.arange(N_GALAXIES) % 2, np.arange(N_GALAXIES) % 3
    clean["bar_total"] = clean["bar_yes"] + clean["bar_no"]
    clean["bar_yes_debiased"] = (clean["bar_yes"] / clean["bar_total"]).where(clean["bar_total"] > 0)
    votes = {"bar": ("yes", "no")}
    assert "missing" not in found(survey_of(tmp_path / "a", clean, votes=votes))
    asked = int(np.flatnonzero(clean["bar_total"])[3])
    clean.loc[asked, "bar_yes_debiased"] = np.nan
    missing = found(survey_of(tmp_path / "b", clean, votes=votes))["missing"]
    assert (missing.n, missing.examples) == (1, (str(asked),))


def test_a_leak_is_found_among_three_copies_whatever_their_order(tmp_path, clean) -> None:
    rows = [*np.flatnonzero(clean["split"] == "train")[[3, 9]], np.flatnonzero(clean["split"] == "test")[4]]
    for name in ("z", "log10_mstar", "mag_g", "mag_r"):
        clean.loc[rows, name] = 1.0 + clean.loc[rows[0], name] * 0
    codes = found(survey_of(tmp_path, clean))
    assert set(codes["row_leak"].examples) == set(map(str, clean["target_id"][rows]))


def test_rows_without_values_are_no_repeats(tmp_path, clean) -> None:
    clean.loc[:9, ["z", "log10_mstar", "mag_g", "mag_r"]] = np.nan
    assert not {"row_leak", "row_repeat"} & set(found(survey_of(tmp_path, clean)))


def test_positions_across_the_meridian_and_at_the_pole_are_near(tmp_path, clean) -> None:
    clean.loc[[0, 1], "ra"] = [359.99999, 0.00001]
    clean.loc[[0, 1], "dec"] = 0.0
    clean.loc[[2, 3], "ra"] = [10.0, 190.0]
    clean.loc[[2, 3], "dec"] = 90.0 - 0.2 / 3600
    codes = found(survey_of(tmp_path, clean))
    examples = {e for code, f in codes.items() if code.startswith("position") for e in f.examples}
    assert examples == {"0", "1", "2", "3"}


def test_empty_and_broken_and_altered_images_are_found(tmp_path, clean) -> None:
    images = np.random.default_rng(1).normal(size=(N_GALAXIES, 1, 3, 3)).astype(np.float32)
    images[[4, 300]] = 0
    images[5, 0, 1, 1] = np.nan
    survey = survey_of(tmp_path, clean, images)
    codes = found(survey)
    assert codes["image_empty"].examples == ("4", "300")  # and two empty ones are no copies of each other
    assert codes["image_not_finite"].examples == ("5",)
    assert set(codes) == {"image_empty", "image_not_finite", "spectra_absent"}
    images[7] = 3
    np.save(survey.folder / "images.npy", images)
    assert "image_altered" in found(survey)


def test_findings_come_errors_first(tmp_path, clean) -> None:
    table = clean.assign(z=lambda t: t["z"].where(t.index > 2, -99.0), extra=-999.0)
    levels = [finding.level for finding in check_survey(survey_of(tmp_path, table))]
    assert levels == sorted(levels, key=["error", "warning", "info"].index)
    assert levels[0] == "error"
    assert levels[-1] == "info"


def test_a_description_is_json_and_holds_ranges_counts_and_findings(tmp_path, clean) -> None:
    clean.loc[:3, "log10_mstar"] = np.nan
    survey = survey_of(tmp_path, clean, facts={"area_deg2": 3.5}, licence="CC-BY")
    description = json.loads(json.dumps(describe(survey), allow_nan=False))
    z, mass = description["targets"]
    assert (z["n"], mass["n"], mass["n_missing"]) == (N_GALAXIES, N_GALAXIES - 4, 4)
    assert z["quantiles"]["0.5"] == pytest.approx(np.median(clean["z"]), rel=1e-12)
    assert (z["min"], z["max"]) == (clean["z"].min(), clean["z"].max())
    assert sum(description["counts"].values()) == N_GALAXIES
    assert description["images"] is None
    assert [f["code"] for f in description["findings"]] == ["missing", "images_absent", "spectra_absent"]
    text = describe_text(description)
    for part in ("toy (version 1)", "600 galaxies: ", "mag_g: ", "log10_mstar: ", "4 missing", "info    images_absent"):
        assert part in text


def test_a_target_without_any_value_is_described_not_hidden(tmp_path, clean) -> None:
    description = describe(survey_of(tmp_path, clean.assign(log10_mstar=np.nan)), findings=[])
    assert description["targets"][1]["min"] is None
    assert "log10_mstar: all missing" in describe_text(description)
    assert "findings: none" in describe_text(description)


def test_unlabelled_galaxies_may_repeat_training_ones(tmp_path, clean) -> None:
    clean.loc[clean["split"] == "validation", "split"] = np.where(
        np.arange((clean["split"] == "validation").sum()) % 2, "validation", "unlabelled"
    )
    unlabelled = np.flatnonzero(clean["split"] == "unlabelled")[0]
    train = np.flatnonzero(clean["split"] == "train")[0]
    names = ["z", "log10_mstar", "mag_g", "mag_r"]
    clean.loc[unlabelled, names] = clean.loc[train, names].to_numpy()
    survey = survey_of(tmp_path, clean)
    assert found(survey)["row_repeat"].n == 2
    assert "split_rule" not in found(survey)
    assert dataclasses.asdict(found(survey)["row_repeat"])["level"] == "warning"

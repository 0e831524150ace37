"""The page of a survey: what it holds stands there, text from files stays text, and it sits among its scores."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from benchmark.contracts import Target, UsageError
from benchmark.data import Survey, SurveyInfo, describe, describe_text, write_survey
from benchmark.data.inspection.pictures import drawings
from benchmark.report import write_page, write_survey_page

HOSTILE = "</title><script>alert(1)</script> \" onload='alert(2)' --> $x_{1}$ é"
N = 120


class Parsed(HTMLParser):
    """Elements with their attributes, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def sources(self) -> list[str]:
        return [str(attributes["src"]) for tag, attributes in self.elements if tag == "img"]


def made(folder: Path, text: str = "plain", name: str = "small") -> Survey:
    """Galaxies with everything a survey can have; ``text`` stands wherever a file may bring text."""
    rng = np.random.default_rng(4)
    table = pd.DataFrame({"target_id": np.arange(N) + 7 * 10**15, "source_id": [f"{text} {i}" for i in range(N)]})
    table["z"], table["ring"] = rng.uniform(0.1, 0.5, N), (np.arange(N) % 3 == 0).astype(float)
    table.loc[:5, "z"] = np.nan
    table.loc[9, "z"] = -3.0
    table["mag_g"], table["mag_err_g"] = rng.normal(20, 1, N), 0.1
    table["ra"], table["dec"] = rng.uniform(10, 20, N), rng.uniform(-5, 5, N)
    table.loc[1, ["ra", "dec"]] = table.loc[0, ["ra", "dec"]].to_numpy()
    targets = (
        Target("z", provenance=text, low=0.0),
        Target("ring", joint=False, low=0, high=1, classes=("none" + text.replace("=", ""), "ring")),
    )
    facts: dict[str, Any] = {"licence": text, "reference": text, "photometry_bands": ("g",), "image_bands": ("g",)}
    facts |= {"wave_start_angstrom": 4000.0, "wave_step_angstrom": 4.0, "n_wave": 500, "image_unit": "display_uint8"}
    flux = rng.normal(5, 1, (N, 500)).astype(np.float32)
    images = rng.integers(0, 255, (N, 1, 24, 24)).astype(np.uint8)
    info = SurveyInfo(name, "1", targets, **facts)
    return write_survey(folder, info, table, images=images, spectra=(flux, np.ones_like(flux)))


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return made(tmp_path_factory.mktemp("made") / "s")


@pytest.fixture(scope="module")
def page(survey: Survey, tmp_path_factory: pytest.TempPathFactory) -> Parsed:
    path = tmp_path_factory.mktemp("page") / "survey.html"
    write_survey_page(survey, path)
    return Parsed(path.read_text())


def test_facts_findings_splits_columns_and_pictures_stand_on_the_page(page: Parsed, survey: Survey) -> None:
    it = describe(survey)
    for finding in it["findings"]:
        assert finding["message"] in page.text
    assert {"target_range", "target_unit", "missing"} <= {finding["code"] for finding in it["findings"]}
    assert any(code in page.text for code in ("position_leak", "position_repeat"))
    for split, n in it["counts"].items():
        assert re.search(rf"{split}\s*{n}\s*{n / N:.1%}", page.text)
    for name in ("z", "ring", "mag_g"):
        assert name in page.text
    assert "5.00%" in page.text  # six redshifts of 120 are missing
    assert "10.9" in page.text  # 1.0857 / .1: signal to noise of g
    assert "median 5, 90 %" in page.text or "median 4.9" in page.text or "median 5.0" in page.text
    assert len(page.sources()) == 4
    alts = [attributes["alt"] for tag, attributes in page.elements if tag == "img"]
    assert all(alts)
    labels = [str(attributes["aria-label"]) for tag, attributes in page.elements if attributes.get("class") == "bars"]
    assert any(label.startswith("histogram of ring from -0.5 to 1.5: 80, 40") for label in labels)


def test_the_page_loads_nothing_and_runs_nothing(page: Parsed) -> None:
    policy = [attributes["content"] for tag, attributes in page.elements if "http-equiv" in attributes]
    assert "default-src 'none'" in str(policy[0])
    assert not [tag for tag, _ in page.elements if tag == "script"]
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag
        for name in ("src", "href"):
            assert re.match(r"data:|#", attributes.get(name) or "#")


def test_errors_of_labels_stand_beside_their_target_and_only_where_there_are_any(tmp_path: Path, page: Parsed) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"target_id": np.arange(N), "z": rng.normal(1, 0.2, N), "mass": rng.normal(10, 1, N)})
    table["z_err"] = 0.05
    table.loc[0, "z_err"] = np.nan
    info = SurveyInfo("e", "1", (Target("z"), Target("mass")), label_errors=("z",))
    survey = write_survey(tmp_path / "s", info, table)
    write_survey_page(survey, tmp_path / "page.html")
    text = Parsed((tmp_path / "page.html").read_text()).text
    (noise, nothing) = (target["label_noise"] for target in describe(survey, [])["targets"])
    assert nothing is None
    assert f"0.05 ({0.05 / noise['scatter']:.2g} of the scatter), 1 without" in text
    assert f"{noise['r2_ceiling']:.3f}" in text
    assert "z (errors)" in text
    assert "median label error" in text
    assert "label error" not in page.text


def test_text_from_files_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "survey.html"
    hostile = made(tmp_path / "s", HOSTILE)
    write_survey_page(hostile, path)
    found = Parsed(path.read_text())
    assert not [tag for tag, _ in found.elements if tag == "script"]
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    assert found.text.count("<script>alert(1)</script>") >= 3  # licence, reference, provenance: shown, not run
    for source in found.sources():
        drawn = base64.b64decode(source.partition("base64,")[2]).decode()
        tree = ElementTree.fromstring(drawn)  # a name must not end a comment or an element
        assert not [element for element in tree.iter() if str(element.tag).endswith("script")]


def test_control_characters_of_names_do_not_reach_the_terminal(survey: Survey) -> None:
    it = describe(survey, findings=[])
    it["targets"][0]["provenance"] = "red\x1b[31m and bell\x07"
    text = describe_text(it)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "red�[31m" in text


def test_classes_are_counted_by_name_and_magnitudes_have_a_signal_to_noise(survey: Survey) -> None:
    it = describe(survey, findings=[])
    assert it["targets"][1]["histogram"] == {"edges": [-0.5, 0.5, 1.5], "counts": [80, 40]}
    assert it["photometry"]["bands"]["g"]["snr"] == pytest.approx(2.5 / np.log(10) / 0.1)
    text = describe_text(it)
    assert "80 noneplain, 40 ring" in text
    assert "signal to noise 10.9" in text


def test_pictures_are_drawn_of_what_is_there_and_of_the_same_galaxies_for_a_seed(survey: Survey) -> None:
    assert list(drawings(survey)) == ["galaxies", "spectra", "targets", "sky"]
    for name in ("galaxies", "spectra"):
        one, same, other = (drawings(survey, seed=seed)[name].draw.keywords["rows"].tolist() for seed in (1, 1, 2))
        assert one == same
        assert one != other
        assert len(set(one)) == (25 if name == "galaxies" else 6)


def scored(maker: Any, survey: Survey) -> Path:
    maker.add_model("Sharp", tasks=["redshift"])
    for record in maker.store.records():
        record["survey"] |= {"digest": survey.digest, "name": survey.info.name}
        maker.write(record)
    return maker.store.folder


def test_a_survey_stands_among_its_scores_and_one_of_other_scores_is_refused(
    make_store: Callable[..., Any], survey: Survey, tmp_path: Path
) -> None:
    folder = scored(make_store(survey="small"), survey)
    write_page(folder, tmp_path / "page.html", [survey])
    found = Parsed((tmp_path / "page.html").read_text())
    assert any(attributes.get("id") == "part-1-galaxies" for _, attributes in found.elements)
    assert "galaxies within 0.5 arcsec of another" in found.text
    write_page(folder, tmp_path / "plain.html")
    assert "galaxies within" not in (tmp_path / "plain.html").read_text()
    other = dataclasses.replace(survey, info=dataclasses.replace(survey.info, version="2"))
    with pytest.raises(UsageError, match=r"survey 'small' in .* has digest .*: the scores are of"):
        write_page(folder, tmp_path / "page.html", [other])

"""The page: complete, inert, self-contained, and made even where a cell failed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from benchmark.board import leaderboard
from benchmark.contracts import GalaxybenchError, UsageError
from benchmark.report import write_page

HOSTILE = "</script><img src=x onerror=alert(1)>"
MAX_BYTES = 3_000_000


class Parsed(HTMLParser):
    """Elements with their attributes, and the text of each kind of element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def board(self) -> list[dict[str, object]]:
        data = [
            text
            for attributes, text in zip(self.attributes("script"), self.texts["script"], strict=True)
            if attributes.get("type") == "application/json"
        ]
        return json.loads(data[0])["rows"]


@pytest.fixture(scope="module")
def html(small_page: Path) -> str:
    return small_page.read_text()


@pytest.fixture(scope="module")
def page(html: str) -> Parsed:
    return Parsed(html)


def test_every_row_of_the_board_stands_on_the_page(page: Parsed, small_store: Path) -> None:
    rows = leaderboard(small_store)
    fields = ("model", "probe", "task", "target", "metric", "value", "ci_low", "ci_high", "n", "floor", "status")

    def plain(found: list[dict[str, object]]) -> list[str]:
        return sorted(json.dumps([row[name] for name in fields]) for row in found)

    assert len(rows) > 50
    assert plain(page.board) == plain(rows)


def test_tables_show_value_interval_and_floor_of_the_headline(page: Parsed, small_store: Path) -> None:
    cells = " ".join(page.texts["td"])
    floors = page.texts["tfoot"]
    for row in leaderboard(small_store, task="redshift"):
        if row["status"] == "done" and row["metric"] == "r2":
            assert f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]" in " ".join(cells.split())
            assert any(f"{abs(row['floor']):.3f}" in floor for floor in floors)


def test_failed_and_skipped_cells_stand_with_their_reasons(page: Parsed) -> None:
    failed = [text for text in page.texts["tr"] if "Broken" in text]
    assert len(failed) == 1
    assert "which did not end well: embedding has <NaN> & co" in failed[0]
    assert any("Absent" in text and "the survey has no spectrum" in text for text in page.texts["li"])
    counts = " ".join(" ".join(page.texts["li"]).split())
    assert "15 cells done" in counts  # three models: two predictions and three scores each
    assert "1 cell failed" in counts
    assert "1 cell skipped" in counts  # the score behind the failure; what does not apply is no cell


def test_every_model_has_panels_in_words_too(page: Parsed) -> None:
    alts = [str(attributes["alt"]) for attributes in page.attributes("img")]
    assert all(alt.strip() for alt in alts)
    for model in ("Sharp", "Blurred", "Middling"):
        assert any(alt.startswith("Predicted against true redshift") and model in alt for alt in alts)
        assert any(alt.startswith("Expected coverage") and model in alt for alt in alts)
        assert any(alt.startswith("Histograms of the PIT") and model in alt for alt in alts)


def test_nothing_is_loaded_and_only_hashed_code_runs(page: Parsed, html: str) -> None:
    policy = next(
        str(found["content"])
        for found in page.attributes("meta")
        if found.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    code = {"style": page.texts["style"]}
    code["script"] = [
        text
        for attributes, text in zip(page.attributes("script"), page.texts["script"], strict=True)
        if "type" not in attributes
    ]
    for kind, (text,) in code.items():
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag
        for name in ("src", "href"):
            assert re.match(r"data:|#", attributes.get(name) or "#"), (tag, attributes)


def test_a_hostile_model_name_stays_text(make_store: Callable[..., Any], tmp_path: Path) -> None:
    maker = make_store()
    maker.add_model(HOSTILE, tasks=["redshift", "properties"])
    maker.write(maker.cell("score", HOSTILE + "2", "knn", "redshift", status="failed", reason=HOSTILE))
    write_page(maker.store.folder, tmp_path / "page.html")
    page = Parsed((tmp_path / "page.html").read_text())
    assert [found for found in page.attributes("img") if not str(found["src"]).startswith("data:")] == []
    assert len(page.attributes("script")) == 2
    assert any(text.startswith(HOSTILE) for text in page.texts["th"])
    assert {row["model"] for row in page.board} == {HOSTILE, HOSTILE + "2"}


@pytest.mark.parametrize("harm", ["deleted", "altered"])
def test_a_missing_or_altered_artefact_leaves_a_stated_gap(
    make_store: Callable[..., Any], tmp_path: Path, harm: str
) -> None:
    maker = make_store()
    for number, model in enumerate(("Whole", "Harmed")):
        maker.add_model(model, seed=number, tasks=["redshift", "posterior"])
    for path in maker.store.path("outputs", "").glob("predict-harmed-*"):
        if harm == "deleted":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-1] + b"\0\0")
    write_page(maker.store.folder, tmp_path / "page.html")
    page = Parsed((tmp_path / "page.html").read_text())
    gaps = [text for text in page.texts["p"] if "not shown" in text]
    assert len(gaps) == 2  # redshift and calibration
    assert all("Harmed" in gap and "is missing or was altered" in gap for gap in gaps)
    alts = " ".join(str(found["alt"]) for found in page.attributes("img"))
    assert "test galaxies, Whole (supervised)" in alts
    assert "test galaxies, Harmed (supervised)" not in alts


def test_a_simulated_survey_is_marked_and_another_is_not(
    make_store: Callable[..., Any], tmp_path: Path, html: str
) -> None:
    assert "simulated galaxies, not observed ones" in html
    maker = make_store(survey="stripe82")
    maker.add_model("Sharp", tasks=["redshift"])
    write_page(maker.store.folder, tmp_path / "page.html")
    assert "simulated" not in (tmp_path / "page.html").read_text()


def test_surveys_in_one_store_keep_to_themselves(make_store: Callable[..., Any], tmp_path: Path) -> None:
    maker = make_store(survey="stripe82")
    maker.add_model("Sharp", tasks=["redshift", "properties"])
    make_store(survey="simulated").add_model("Blurred", 0.2, tasks=["redshift", "properties"])
    write_page(maker.store.folder, tmp_path / "page.html")
    page = Parsed((tmp_path / "page.html").read_text())
    boards = [
        text
        for attributes, text in zip(page.attributes("table"), page.texts["table"], strict=True)
        if attributes.get("class") == "board"
    ]
    assert len(boards) == 4
    assert all(("Sharp" in text) != ("Blurred" in text) for text in boards)


def test_a_store_of_failures_alone_still_makes_a_page(make_store: Callable[..., Any], tmp_path: Path) -> None:
    maker = make_store()
    maker.write(maker.cell("score", "Broken", "knn", "redshift", status="crashed", reason="the worker died (signal 9)"))
    write_page(maker.store.folder, tmp_path / "page.html")
    page = Parsed((tmp_path / "page.html").read_text())
    assert any("crashed: the worker died (signal 9)" in text for text in page.texts["td"])
    assert page.attributes("img") == []


def test_a_second_page_is_the_same_and_matplotlib_is_left_as_it_was(
    small_store: Path, tmp_path: Path, html: str
) -> None:
    before = dict(matplotlib.rcParams.copy())
    write_page(small_store, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == html
    assert dict(matplotlib.rcParams.copy()) == before


def test_a_page_of_a_normal_store_stays_below_three_megabytes(html: str) -> None:
    # fifteen pictures of panels and three of intervals are in it; a run of all models has about sixty
    assert len(html.encode()) * 60 / 18 < MAX_BYTES


def test_a_folder_without_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a results folder"):
        write_page(tmp_path / "nothing", tmp_path / "page.html")
    (tmp_path / "records").mkdir()
    with pytest.raises(UsageError, match="holds no scores yet"):
        write_page(tmp_path, tmp_path / "page.html")


def test_a_place_that_cannot_be_written_is_one_clear_error(make_store: Callable[..., Any], tmp_path: Path) -> None:
    maker = make_store()
    maker.write(maker.cell("score", "Broken", "knn", "redshift", status="failed", reason="no"))
    folder = maker.store.folder
    with pytest.raises(GalaxybenchError, match=r"cannot write .*No such file.*choose another folder"):
        write_page(folder, tmp_path / "nowhere" / "page.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(GalaxybenchError, match=r"cannot write .*folder\.html"):
        write_page(folder, tmp_path / "folder.html")
    assert list(tmp_path.glob(".*")) == []  # no temporary file is left


def test_the_report_imports_neither_torch_nor_pyplot() -> None:
    code = (
        "import sys, benchmark.report; print([name for name in ('torch', 'matplotlib.pyplot') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

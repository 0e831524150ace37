"""The board: rows made from records, seeds joined, the newest record wins, failures stand on it, formats parse back."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark import leaderboard
from benchmark.board import FORMATS, ROW_FIELDS, render
from benchmark.board.tables import board_notes
from benchmark.contracts import GalaxybenchError, UsageError
from benchmark.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "out")
    made.prepare()
    return made


def score(value: float | None, metric: str = "r2", target: str = "z", n: int = 98) -> dict[str, Any]:
    low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
    return {"metric": metric, "target": target, "value": value, "ci_low": low, "ci_high": high, "n": n, "floor": -0.01}


def put(store: Store, model: str, *scores: dict[str, Any], name: str = "", **changes: Any) -> None:
    record = {
        "schema_version": 1,
        "key": "k",
        "name": name or f"score-{model}-{changes.get('probe')}-{changes.get('seed', 0)}",
        "kind": "score",
        "status": "done",
        "reason": "",
        "model": {"name": model},
        "modality": "photometry",
        "probe": "knn",
        "task": {"name": "redshift", "version": 1},
        "survey": {"name": "toy", "version": "1", "digest": "d"},
        "preset": "smoke",
        "recipe": "default",
        "seed": 0,
        "contamination": None,
        "config": {"model": {"name": model}, "n_labels": None, "ranked": ["z"]},
        "n_labels": 270,
        "scores": list(scores),
        "created": "2026-01-01T00:00:00+00:00",
    }
    store.write_record(str(record["name"]), record | changes)


def test_a_row_has_the_fields_of_the_public_surface(store: Store) -> None:
    put(store, "A", score(0.5))
    (row,) = leaderboard(store.folder)
    assert tuple(row) == ROW_FIELDS
    expected = {
        "survey": "toy",
        "model": "A",
        "modality": "photometry",
        "probe": "knn",
        "recipe": "default",
        "preset": "smoke",
        "n_labels": 270,
        "task": "redshift",
        "task_version": 1,
        "target": "z",
        "condition": None,
        "metric": "r2",
        "better": "higher",
        "value": 0.5,
        "ci_low": 0.4,
        "ci_high": 0.6,
        "n": 98,
        "seed_spread": None,
        "floor": -0.01,
        "status": "done",
        "error": None,
        "contamination": None,
        "published": [],
    }
    assert {name: row[name] for name in expected} == expected


def test_rows_are_sorted_best_first_whatever_better_means(store: Store) -> None:
    for number, model in enumerate("ABC"):
        values = {"r2": 0.1 * number, "sigma_nmad": 0.1 * number, "bias": (-0.3, 0.1, 0.2)[number]}
        put(store, model, *(score(value, metric) for metric, value in values.items()))
    put(store, "D", score(None), score(None, "sigma_nmad"), score(None, "bias"))
    rows = leaderboard(store.folder)
    order = {
        metric: "".join(row["model"] for row in rows if row["metric"] == metric)
        for metric in ("r2", "sigma_nmad", "bias")
    }
    assert order == {"r2": "CBAD", "sigma_nmad": "ABCD", "bias": "BCAD"}  # a score that is missing stands last


def test_coverage_is_best_where_it_is_nominal(store: Store) -> None:
    for model, value in (("A", 0.99), ("B", 0.70), ("C", 0.50)):
        put(store, model, score(value, "coverage_68"), task={"name": "posterior", "version": 1})
    assert [row["model"] for row in leaderboard(store.folder)] == ["B", "C", "A"]


def test_seeds_are_one_row_with_their_spread(store: Store) -> None:
    values = [0.5, 0.6, 0.4, 0.55]
    for seed, value in reversed(list(enumerate(values))):
        put(store, "A", score(value), score(0.1, "bias"), seed=seed)
    rows = {row["metric"]: row for row in leaderboard(store.folder)}
    assert set(rows) == {"r2", "bias"}
    assert rows["r2"]["value"] == 0.5  # of the first seed, and so is the interval
    assert rows["r2"]["ci_low"] == pytest.approx(0.4)
    assert rows["r2"]["seed_spread"] == pytest.approx(np.std(values, ddof=1))
    assert rows["bias"]["seed_spread"] == pytest.approx(0)


def test_the_newest_record_of_a_cell_wins(store: Store) -> None:
    for day, value in ((2, 0.2), (3, 0.3), (1, 0.1)):
        put(store, "A", score(value), name=f"of-day-{4 - day}", created=f"2026-01-0{day}T00:00:00+00:00")
    (row,) = leaderboard(store.folder)
    assert row["value"] == 0.3


def test_a_failure_that_was_overcome_leaves_the_board(store: Store) -> None:
    put(store, "A", name="old", status="failed", reason="no weights", created="2026-01-01T00:00:00+00:00")
    put(store, "A", score(0.3), name="new", created="2026-01-02T00:00:00+00:00")
    assert [row["status"] for row in leaderboard(store.folder)] == ["done"]


def test_sizes_probes_presets_and_recipes_are_rows_of_their_own(store: Store) -> None:
    put(store, "A", score(0.1), name="a")
    put(store, "A", score(0.2), name="b", probe="linear")
    put(store, "A", score(0.3), name="c", preset="laptop")
    put(store, "A", score(0.4), name="d", recipe="paper")
    put(store, "A", score(0.5), name="e", n_labels=100, config={"model": {"name": "A"}, "n_labels": 100})
    put(store, "A", score(0.6), name="f", survey={"name": "other", "version": "1", "digest": "e"})
    assert sorted(row["value"] for row in leaderboard(store.folder)) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


@pytest.mark.parametrize("status", ["failed", "crashed", "timeout", "skipped"])
def test_a_cell_that_did_not_end_well_stands_on_the_board_with_its_reason(store: Store, status: str) -> None:
    put(store, "Good", score(0.3))
    put(store, "Bad", status=status, reason="the model | has\nno weights")
    last = leaderboard(store.folder)[-1]
    assert (last["model"], last["status"], last["error"]) == ("Bad", status, "the model | has\nno weights")
    assert last["value"] is last["metric"] is last["target"] is None
    for style in FORMATS:
        text = render(leaderboard(store.folder), style)
        assert "Bad" in text
        assert status in text
        assert "no weights" in text


def test_a_model_that_does_not_apply_is_told_apart_from_one_that_failed(store: Store) -> None:
    put(store, "Images", status="skipped", reason="survey 'toy' has no image", probe=None)
    assert "does not apply: Images: redshift: survey 'toy' has no image" in render(leaderboard(store.folder), "table")


def test_a_reason_is_told_once_however_many_models_it_concerns() -> None:
    row = {
        "survey": "toy",
        "status": "skipped",
        "probe": None,
        "task": "redshift",
        "error": "survey 'toy' has no image",
    }
    few = [{**row, "model": name} for name in "AB"]
    assert board_notes([*few, *few]) == ["does not apply: A, B: redshift: survey 'toy' has no image"]
    other = {**row, "model": "C", "error": "it is too large"}
    assert board_notes([other, *({**row, "model": name} for name in "ABDE")]) == [
        "does not apply: 4 models: redshift: survey 'toy' has no image",
        "does not apply: C: redshift: it is too large",
    ]


def test_json_and_csv_parse_back_to_the_rows(store: Store) -> None:
    put(store, "A", score(0.123456789012345), score(None, "bias"))
    put(store, 'B, "quoted"', status="failed", reason="two\nlines, and a comma")
    rows = leaderboard(store.folder)
    assert json.loads(render(rows, "json")) == rows
    parsed = list(csv.DictReader(io.StringIO(render(rows, "csv"))))
    assert [list(line) for line in parsed] == [list(ROW_FIELDS)] * 3
    for line, row in zip(parsed, rows, strict=True):
        assert line["model"] == row["model"]
        assert line["error"] == (row["error"] or "")
        assert (float(line["value"]) if line["value"] else None) == row["value"]  # every digit
        assert json.loads(line["published"]) == row["published"]


def test_markdown_tables_are_rectangular_and_show_value_interval_and_floor(store: Store) -> None:
    put(store, "A|B", score(0.5), score(0.02, "sigma_nmad"))
    put(store, "C", score(math.pi / 10))
    lines = render(leaderboard(store.folder), "markdown").splitlines()
    table = [line.replace("\\|", "/") for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert any("A/B" in line and "0.500 [0.400, 0.600]" in line and "270" in line for line in table)
    assert any("C" in line and "0.314" in line for line in table)
    assert any("floor" in line and "-0.010" in line for line in table)


def test_the_table_orders_models_by_the_headline(store: Store) -> None:
    for model, value in (("Worse", 0.1), ("Best", 0.9), ("Middle", 0.5)):
        put(store, model, score(value), score(0.01, "bias"))
    text = render(leaderboard(store.folder), "table")
    assert text.index("Best") < text.index("Middle") < text.index("Worse") < text.index("floor")
    assert all(len(line) <= 160 for line in text.splitlines())


def test_rows_can_be_chosen_by_task_and_by_modality(store: Store) -> None:
    put(store, "A", score(0.1))
    put(store, "B", score(0.2), modality="image")
    put(store, "C", score(0.3, "crps"), task={"name": "posterior", "version": 1})
    assert {row["model"] for row in leaderboard(store.folder, task="Redshift")} == {"A", "B"}
    assert {row["model"] for row in leaderboard(store.folder, modality="image")} == {"B"}
    with pytest.raises(UsageError, match="unknown task 'redshif': did you mean redshift"):
        leaderboard(store.folder, task="redshif")
    with pytest.raises(UsageError, match="--modality 'radio': no row has it; there are image, photometry"):
        leaderboard(store.folder, modality="radio")


def test_an_unknown_format_names_those_there_are(store: Store) -> None:
    with pytest.raises(UsageError, match="--format 'pdf': must be one of table, json, csv, markdown"):
        render([], "pdf")


def test_an_empty_store_is_an_empty_board_in_every_format(store: Store) -> None:
    assert leaderboard(store.folder) == []
    assert json.loads(render([], "json")) == []
    assert render([], "csv").split(",") == list(ROW_FIELDS)
    assert render([], "table") == render([], "markdown") == ""


def test_a_record_that_cannot_be_read_is_named(store: Store) -> None:
    put(store, "A", score(0.1))
    store.path("records", "torn.json").write_text('{"half": ')
    with pytest.raises(GalaxybenchError, match=r"torn\.json: not a readable record"):
        leaderboard(store.folder)

"""Tables of the page: numbers as text, axes that one bad value does not squeeze, the best first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.board import leaderboard
from benchmark.registry import METRICS, TASKS
from benchmark.report.contents import read_contents
from benchmark.report.tables import absent_notes, number, plot_range, task_tables


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.46789, "0.468"),
        (-0.5, "−0.500"),
        (0.0, "0.000"),
        (0.00025, "0.0003"),
        (3e-9, "<0.0001"),
        (-3e-9, "−0.0000"),
        (-1234.56, "−1,234.6"),
        (3.2e7, "3.20e+07"),
        (None, "–"),
    ],
)
def test_numbers_are_short_and_keep_their_sign(value: float | None, text: str) -> None:
    assert number(value) == text


def test_an_axis_holds_values_and_marks_but_not_a_value_far_from_the_rest() -> None:
    low, high = plot_range([0.3, 0.4, 0.5, 0.6, None, 0.7], [0.0])
    assert low < 0.0 < 0.7 < high < 0.8
    assert plot_range([0.3, 0.4, 0.5, 0.6, 0.7, -50.0])[0] > 0
    assert plot_range([]) == (0.0, 1.0)
    low, high = plot_range([0.2])
    assert low < 0.2 < high


def test_lines_are_ordered_by_the_headline_and_glyphs_follow_the_values(small_store: Path) -> None:
    (part,) = read_contents(small_store).parts
    for card in (TASKS[name] for name in {row["task"] for row in part.rows}):
        table = task_tables(part, card.name)[0]
        assert table.headline is not None
        column = table.columns[table.headline]
        assert (column.metric, column.target) == card.headline
        values = [line.cells[table.headline].sort for line in table.lines]
        assert len(values) == 3
        best_first = sorted((value for value in values if value is not None), reverse=column.first == "descending")
        assert values == best_first
        for place in range(len(table.columns)):
            rows = [(line.cells[place].glyph, line.cells[place].value.replace("−", "-")) for line in table.lines]
            shown = sorted((float(text.strip("<")), glyph.value) for glyph, text in rows if glyph)
            assert np.all(np.diff([at for _, at in shown]) >= -0.01)  # the text is rounded to three decimals
            assert all(0 <= (glyph.low or 0) <= glyph.value <= (glyph.high or 1) <= 1 for glyph, _ in rows if glyph)


def test_bias_is_sorted_and_marked_by_its_distance_from_zero(small_store: Path) -> None:
    (part,) = read_contents(small_store).parts
    table = task_tables(part, "redshift")[0]
    place = [column.metric for column in table.columns].index("bias")
    assert table.columns[place].mark_label == "zero"
    biases = {row["model"]: row["value"] for row in leaderboard(small_store) if row["metric"] == "bias"}
    for line in table.lines:
        assert line.cells[place].sort == abs(biases[line.model])


def test_coverage_is_sorted_by_its_distance_from_the_nominal_level(small_store: Path) -> None:
    (part,) = read_contents(small_store).parts
    table = task_tables(part, "posterior")[0]
    place = [(column.metric, column.target) for column in table.columns].index(("coverage_68", "mean"))
    assert table.columns[place].mark_label == f"nominal {METRICS['coverage_68'].nominal}"
    coverage = {
        row["model"]: row["value"]
        for row in leaderboard(small_store)
        if (row["metric"], row["target"]) == ("coverage_68", "mean")
    }
    for line in table.lines:
        assert line.cells[place].sort == pytest.approx(abs(coverage[line.model] - 0.68))


def test_what_does_not_apply_is_a_note_and_no_failure(small_store: Path) -> None:
    (part,) = read_contents(small_store).parts
    assert absent_notes(part) == [("Absent", "redshift", "the survey has no spectrum")]
    failures = task_tables(part, "redshift")[0].failures
    assert [(failure.model, failure.probe, failure.status) for failure in failures] == [("Broken", "knn", "skipped")]

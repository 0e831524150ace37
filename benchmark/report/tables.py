"""Tables of the page: the terminal's board with a glyph of the interval beside every number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.board.tables import all_tied, rank_text
from benchmark.contracts import MetricCard
from benchmark.registry import METRICS, TASKS
from benchmark.report.contents import Part, Row

__all__ = [
    "Cell",
    "Column",
    "Failure",
    "Glyph",
    "Line",
    "Table",
    "absent_notes",
    "constant_notes",
    "number",
    "plot_range",
    "task_tables",
]

_JOINED = ("joint", "mean")
_IQR_REACH = 3.0  # a value further than this from the quartiles is drawn at the border, as in a box plot's far outliers


@dataclass(frozen=True)
class Glyph:
    """Dot, whiskers and mark as positions between 0 and 1; None where there is nothing to draw."""

    value: float
    low: float | None
    high: float | None
    mark: float | None


@dataclass(frozen=True)
class Cell:
    """One score: its text, the number it is sorted by (None: last), and its glyph."""

    value: str
    interval: str
    n: int | None
    sort: float | None
    glyph: Glyph | None


@dataclass(frozen=True)
class Column:
    """One score of a table: metric and target, and the direction in which the best comes first."""

    metric: str
    target: str
    summary: str
    first: str
    floor: str
    mark_label: str


@dataclass(frozen=True)
class Line:
    """One model and probe with its cells, one a column.

    ``rank`` is what the headline's pairs of models allow, such as ``1-3``, ``tie_group`` its group, from 1.
    """

    model: str
    modality: str
    probe: str
    labels: str
    n: str
    cells: tuple[Cell, ...]
    rank: str = "-"
    rank_low: int | None = None
    tie_group: int | None = None


@dataclass(frozen=True)
class Failure:
    """A cell of the board that did not end well, and why."""

    model: str
    probe: str
    status: str
    reason: str


@dataclass(frozen=True)
class Table:
    """Scores of one task that stand side by side.

    Attributes
    ----------
    headline : the column by which the lines are ordered, None if it is absent.
    names_targets : whether the columns have several targets, so that each has to name its own.
    is_ranked : whether models were compared in the headline.
    is_noise : whether no two of them can be told apart in it.
    """

    task: str
    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    failures: tuple[Failure, ...]
    headline: int | None
    names_targets: bool
    is_ranked: bool = False
    is_noise: bool = False


def number(value: float | None) -> str:
    """A score as text: three decimals, fewer for large numbers, a fourth or a bound for small ones."""
    if value is None:
        return "–"
    size = abs(value)
    if size >= 1e6:
        text = f"{size:.2e}"
    elif size >= 100:
        text = f"{size:,.1f}"
    elif size >= 0.001 or size == 0:
        text = f"{size:.3f}"
    elif size >= 0.0001:
        text = f"{size:.4f}"
    else:
        return "<0.0001" if value > 0 else "−0.0000"
    return f"−{text}" if value < 0 else text


def plot_range(values: Iterable[float | None], marks: Iterable[float | None] = ()) -> tuple[float, float]:
    """Limits (low, high) of an axis that shows the bulk of values and every mark, with a margin of 6 %.

    A single value far from the others (a linear probe gone wild) must not squeeze them: values beyond three
    interquartile ranges from the quartiles do not widen the range.
    """
    known = np.array([value for value in values if value is not None])
    if known.size > 4:
        first, third = np.quantile(known, (0.25, 0.75))
        reach = _IQR_REACH * (third - first)
        inside = known[(known >= first - reach) & (known <= third + reach)]
        known = inside if inside.size else known
    shown = [*known.tolist(), *(mark for mark in marks if mark is not None)]
    if not shown:
        return 0.0, 1.0
    low, high = min(shown), max(shown)
    margin = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    return low - margin, high + margin


def task_tables(part: Part, task: str) -> list[Table]:
    """The table of the scores by which models are ordered, and one of the labels shown beside them, if any."""
    rows = [row for row in part.rows if row["task"] == task and row["status"] == "done"]
    failures = tuple(
        Failure(row["model"], str(row["probe"] or "–"), row["status"], str(row["error"] or "no reason was recorded"))
        for row in part.rows
        if row["task"] == task and row["status"] != "done" and not _does_not_apply(row)
    )
    headline = part.headline(task)
    main, others = _columns(rows, task, headline)
    tables = [_table(rows, task, headline, main, failures)] if main or failures else []
    if others:
        tables.append(_table(rows, task, headline, others, ()))
    return tables


def absent_notes(part: Part) -> list[tuple[str, str, str]]:
    """(model, tasks, reason) of what does not apply to the survey; one entry a model and reason."""
    tasks: dict[tuple[str, str], list[str]] = {}
    for row in part.rows:
        if _does_not_apply(row):
            tasks.setdefault((row["model"], str(row["error"])), []).append(row["task"])
    return [(model, ", ".join(sorted(names)), reason) for (model, reason), names in sorted(tasks.items())]


def constant_notes(part: Part, task: str) -> list[tuple[str, str, str]]:
    """(model, probe, questions or targets) for which one class is predicted whatever the galaxy looks like."""
    found = []
    for record in part.of_task(task):
        judged = record["details"].get("questions") or record["details"].get("targets") or {}
        names = [name for name, entry in judged.items() if entry.get("constant")]
        if names:
            found.append((record["model"]["name"], str(record["probe"]), ", ".join(names)))
    return found


def _does_not_apply(row: Row) -> bool:
    return row["status"] == "skipped" and row["probe"] is None


def _columns(
    rows: Sequence[Row], task: str, headline: tuple[str, str]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(metric, target) of the ranked scores and of the others, in the order of the terminal's board.

    Where scores are joined over targets only the headline's metric stands target by target; the list of all scores
    has the rest.
    """
    order = {name: place for place, name in enumerate(TASKS[task].metrics)}
    ranked = {row["target"]: bool(row["ranked"]) for row in rows}
    present = dict.fromkeys((row["metric"], row["target"]) for row in rows if row["condition"] is None)
    joined = [column for column in present if column[1] in _JOINED]
    single = [column for column in present if column[1] not in _JOINED]
    if joined and len({target for _, target in single}) > 1:
        single = [column for column in single if column[0] == headline[0]]
    joined.sort(key=lambda column: (column != headline, order[column[0]]))
    single.sort(key=lambda column: (column[1], order[column[0]]))
    return joined + [c for c in single if ranked[c[1]]], [c for c in single if not ranked[c[1]]]


def _table(
    rows: Sequence[Row],
    task: str,
    headline: tuple[str, str],
    chosen: Sequence[tuple[str, str]],
    failures: tuple[Failure, ...],
) -> Table:
    scores: dict[tuple[Any, ...], dict[tuple[str, str], Row]] = {}
    for row in rows:
        if (row["metric"], row["target"]) in chosen and row["condition"] is None:
            who = (row["model"], row["modality"], row["probe"], row["n_labels"])
            scores.setdefault(who, {})[row["metric"], row["target"]] = row
    columns = tuple(_column(name, [found[name] for found in scores.values() if name in found]) for name in chosen)
    ranges = [_glyph_range([found.get(name) for found in scores.values()]) for name in chosen]
    lines = []
    for (model, modality, probe, n_labels), found in scores.items():
        cells = tuple(_cell(found.get(name), limits) for name, limits in zip(chosen, ranges, strict=True))
        labels = "–" if n_labels is None else f"{n_labels:,}"
        head = found.get(headline)
        known = head is not None and head["rank_low"] is not None
        ranks = (rank_text(head), head["rank_low"], head["tie_group"]) if head is not None and known else ()
        lines.append(Line(model, str(modality or "–"), str(probe or "–"), labels, _span(cells), cells, *ranks))
    leading = chosen.index(headline) if headline in chosen else None
    is_ranked = leading is not None and any(line.rank_low is not None for line in lines)
    is_noise = is_ranked and all_tied(found.get(headline) for found in scores.values()) is not None
    if leading is not None:
        lines.sort(key=lambda line: _best_first(line.cells[leading], columns[leading]))
    several = len({target for _, target in chosen} - {"joint"}) > 1
    ranked = leading is not None or not chosen
    title = f"{task}: {'ranked scores' if ranked else 'further labels, not ranked'}"
    return Table(task, title, columns, tuple(lines), failures, leading, several, is_ranked, is_noise)


def _best_first(cell: Cell, column: Column) -> float:
    if cell.sort is None:
        return math.inf
    return -cell.sort if column.first == "descending" else cell.sort


def _column(name: tuple[str, str], rows: Sequence[Row]) -> Column:
    card = METRICS[name[0]]
    floor = next((row["floor"] for row in rows if row["floor"] is not None), None)
    first = "descending" if card.better == "higher" else "ascending"
    mark = {"nominal": f"nominal {card.nominal}", "zero": "zero"}.get(card.better, "floor")
    return Column(*name, card.summary, first, number(floor), mark)


def _cell(row: Row | None, limits: tuple[float, float]) -> Cell:
    if row is None or row["value"] is None:
        return Cell("–", "", None, None, None)
    card, value = METRICS[row["metric"]], row["value"]
    sort = abs(value - (card.nominal or 0.0)) if card.better in ("zero", "nominal") else value
    known = row["ci_low"] is not None and row["ci_high"] is not None
    interval = f"[{number(row['ci_low'])}, {number(row['ci_high'])}]" if known else ""
    ends = (row["ci_low"], row["ci_high"]) if known else (None, None)
    places = (_place(value, limits), *(_place(end, limits) for end in (*ends, _mark(row, card))))
    glyph = Glyph(places[0] or 0.0, *places[1:])
    return Cell(number(value), interval, row["n"], sort, glyph)


def _mark(row: Row, card: MetricCard) -> float | None:
    """What a value is to be compared with: the nominal level, zero, or the floor."""
    floor: float | None = row["floor"]
    return {"nominal": card.nominal, "zero": 0.0}.get(card.better, floor)


def _glyph_range(rows: Sequence[Row | None]) -> tuple[float, float]:
    known = [row for row in rows if row is not None and row["value"] is not None]
    ends = [row[end] for row in known for end in ("value", "ci_low", "ci_high")]
    return plot_range(ends, {_mark(row, METRICS[row["metric"]]) for row in known})


def _place(value: float | None, limits: tuple[float, float]) -> float | None:
    if value is None:
        return None
    return round(min(1.0, max(0.0, (value - limits[0]) / (limits[1] - limits[0]))), 4)


def _span(cells: Iterable[Cell]) -> str:
    counts = sorted({cell.n for cell in cells if cell.n is not None})
    if not counts:
        return "–"
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"

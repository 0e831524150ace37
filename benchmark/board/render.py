"""Rows of the board as text: tables for people, JSON and CSV for machines, Markdown for papers and issues."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmark.board.aggregate import ROW_FIELDS
from benchmark.contracts import UsageError
from benchmark.registry import METRICS, TASKS

__all__ = ["FORMATS", "render"]

Row = Mapping[str, Any]


def render(rows: Sequence[Row], style: str, width: int = 160) -> str:
    """The board in one of `FORMATS`.

    Parameters
    ----------
    rows : rows of `benchmark.leaderboard`.
    style : ``table``, ``json``, ``csv`` or ``markdown``.
    width : characters a line of the table may have.
    """
    if style not in FORMATS:
        raise UsageError(f"--format '{style}': must be one of {', '.join(FORMATS)}")
    return FORMATS[style](rows) if style != "table" else _table(rows, width)


def _json(rows: Sequence[Row]) -> str:
    return json.dumps(list(rows), indent=1, allow_nan=False)


def _csv(rows: Sequence[Row]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ROW_FIELDS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "published": json.dumps(row["published"])})
    return stream.getvalue().rstrip("\n")


def _markdown(rows: Sequence[Row]) -> str:
    lines: list[str] = []
    for title, header, body in _task_tables(rows):
        names = [name.replace("\n", " ") for name in header]
        table = [names, ["---"] * len(names), *body]
        lines += [f"### {title}", ""]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table]
        lines += [""]
    return "\n".join(lines + [f"- {note}" for note in _notes(rows)]).rstrip("\n")


def _table(rows: Sequence[Row], width: int = 160) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=io.StringIO(), width=width, no_color=True, highlight=False)
    for title, header, body in _task_tables(rows):
        table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for number, name in enumerate(header):
            table.add_column(Text(name), justify="left" if number < 2 else "right", overflow="fold")
        for line in body:
            table.add_row(*(Text(cell) for cell in line))
        console.print(table)
    for note in _notes(rows):
        console.print(Text(note))
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip("\n").splitlines())


FORMATS: dict[str, Callable[[Sequence[Row]], str]] = {
    "table": _table,
    "json": _json,
    "csv": _csv,
    "markdown": _markdown,
}
"""Printable shapes of the board."""


def _task_tables(rows: Sequence[Row]) -> list[tuple[str, list[str], list[list[str]]]]:
    """(title, header, lines): a line a model and probe, a column a score, a few columns a table."""
    tables = []
    done = [row for row in rows if row["status"] == "done"]
    for group in dict.fromkeys(tuple(row[name] for name in _GROUP) for row in done):
        here = [row for row in done if tuple(row[name] for name in _GROUP) == group]
        survey, preset, recipe, task = group
        lines: dict[tuple[str, ...], dict[tuple[str, str], Row]] = {}
        for row in here:
            who = (str(row["model"]), str(row["probe"]), str(row["n_labels"] if row["n_labels"] is not None else "-"))
            lines.setdefault(who, {})[row["metric"], row["target"]] = row
        best = sorted(lines.items(), key=lambda item: _headline(item[1], task))
        for columns in _column_groups(here, task):
            n = sorted({row["n"] for row in here if (row["metric"], row["target"]) in columns})
            size = f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"
            header = ["model", "probe", "labels", *("\n".join(_column_name(column)) for column in columns)]
            body = [[*who, *(_cell(scores.get(column)) for column in columns)] for who, scores in best]
            body.append(["floor", "", "", *(_floor(lines.values(), column) for column in columns)])
            tables.append((f"{task} on {survey} ({preset}, {recipe}; test {size}; 95 % intervals)", header, body))
    return tables


_GROUP = ("survey", "preset", "recipe", "task")
_WIDEST = 6  # scores side by side that fit on a line


def _column_groups(rows: Sequence[Row], task: str) -> list[list[tuple[str, str]]]:
    """The scores that are shown, in tables of at most six: the headline first, ranked targets, then others.

    Where scores are joined over targets only the headline's metric is shown target by target: the page and the
    machine-readable formats have everything.
    """
    card = TASKS[task]
    metrics = {name: number for number, name in enumerate(card.metrics)}
    targets = {row["target"]: number for number, row in enumerate(sorted(rows, key=lambda row: not row["ranked"]))}
    ranked = {row["target"]: row["ranked"] for row in rows}
    present = {(row["metric"], row["target"]) for row in rows}
    joined = {column for column in present if column[1] in ("joint", "mean")}
    if joined and len({target for _, target in present - joined}) > 1:
        present = joined | {column for column in present if column[0] == card.headline[0]}
    first = sorted(joined & present, key=lambda column: (column != card.headline, metrics[column[0]]))
    rest = sorted(present - joined, key=lambda column: (not ranked[column[1]], targets[column[1]], metrics[column[0]]))
    main = first + [column for column in rest if ranked[column[1]]]
    others = [column for column in rest if not ranked[column[1]]]
    return [part[start : start + _WIDEST] for part in (main, others) for start in range(0, len(part), _WIDEST)]


def _floor(lines: Iterable[Mapping[tuple[str, str], Row]], column: tuple[str, str]) -> str:
    return next((_number(scores[column]["floor"]) for scores in lines if column in scores), "-")


def _headline(scores: Mapping[tuple[str, str], Row], task: str) -> tuple[bool, float]:
    row = scores.get(TASKS[task].headline)
    if row is None or row["value"] is None:
        return True, 0.0
    return False, -row["value"] if METRICS[row["metric"]].better == "higher" else row["value"]


def _column_name(column: tuple[str, str]) -> tuple[str, ...]:
    metric, target = column
    return (metric,) if target in ("joint", "z") else (metric, target)


def _cell(row: Row | None) -> str:
    if row is None or row["value"] is None:
        return "-"
    if row["ci_low"] is None:
        return _number(row["value"])
    return f"{_number(row['value'])} [{_number(row['ci_low'])}, {_number(row['ci_high'])}]"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if abs(value) >= 0.001 or value == 0 else f"{value:.0e}"


def _notes(rows: Sequence[Row]) -> list[str]:
    """What is not on the board, and why; rows of one model with one reason are one line."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row["status"] != "done":
            who = row["model"] if row["probe"] is None else f"{row['model']} ({row['probe']})"
            reasons.setdefault((row["status"], who, str(row["error"])), []).append(str(row["task"]))
    return [
        f"{'does not apply' if status == 'skipped' else status}: {who}: {', '.join(tasks)}: {reason}"
        for (status, who, reason), tasks in sorted(reasons.items())
    ]

"""Rows of the board as text: tables for people, JSON and CSV for machines, Markdown for papers and issues."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from benchmark.board.aggregate import ROW_FIELDS
from benchmark.board.tables import board_notes, board_tables
from benchmark.contracts import UsageError

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
    for table in board_tables(rows):
        content = [table.header, ["---"] * len(table.header), *table.lines]
        lines += [f"### {table.title}", ""]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in content]
        lines += [""]
    return "\n".join(lines + [f"- {note}" for note in board_notes(rows)]).rstrip("\n")


_NAMES_WIDTH, _SCORE_WIDTH = 43, 17  # characters of the model, probe, labels and rank columns, and of a score


def _table(rows: Sequence[Row], width: int = 160) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    stream = io.StringIO()
    console = Console(file=stream, width=width, no_color=True, highlight=False)
    for content in board_tables(rows, max((width - _NAMES_WIDTH) // _SCORE_WIDTH, 1)):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for number, name in enumerate(content.header):
            justify: Literal["left", "right"] = "left" if number < 2 else "right"
            table.add_column(Text(name.replace(" ", "\n")), justify=justify, overflow="fold")
        for line in content.lines:
            table.add_row(*(Text(cell.replace(" [", "\n[")) for cell in line))
        console.print(Text(content.title))
        console.print(table)
    for note in board_notes(rows):
        console.print(Text(note))
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip("\n").splitlines())


FORMATS: dict[str, Callable[[Sequence[Row]], str]] = {
    "table": _table,
    "json": _json,
    "csv": _csv,
    "markdown": _markdown,
}
"""Printable shapes of the board."""

"""The board as tables for reading: a line a model and probe, a column a score, a few columns a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.registry import METRICS, TASKS

__all__ = ["BoardTable", "all_tied", "board_notes", "board_tables", "format_number", "rank_text"]

Row = Mapping[str, Any]
Column = tuple[str, str]  # metric, target

_ITS_SURVEY = "{survey}"
_MOST_NAMED = 3  # models in a line of what is not on the board
_CEILINGS = {"r2_ceiling": "r2", "nll_ceiling": "nll_mixture"}
_GROUP = ("survey", "preset", "recipe", "task")


@dataclass(frozen=True)
class BoardTable:
    """One table of the board; every cell is text."""

    title: str
    header: list[str]
    lines: list[list[str]]


def board_tables(rows: Sequence[Row], n_columns: int = 1_000) -> list[BoardTable]:
    """Tables of the scores that are done, a task after the other, best model first, the floor below, and what the
    errors of the labels let a score reach, where these are known.

    Where scores are joined over targets (``joint``, ``mean``) only the headline's metric is shown target by target:
    the page and the machine-readable formats have everything.

    Parameters
    ----------
    rows : rows of `benchmark.leaderboard`.
    n_columns : scores side by side before a further table is begun.
    """
    tables = []
    done = [row for row in rows if row["status"] == "done" and not _is_resampled(row)]
    ceilings = [row for row in rows if row["status"] == "done" and row["metric"] in _CEILINGS]
    for group in dict.fromkeys(tuple(row[name] for name in _GROUP) for row in done):
        here = [row for row in done if tuple(row[name] for name in _GROUP) == group]
        for columns in _column_groups(here, group[3], n_columns):
            tables.append(_table(here, group, columns, _ceilings(ceilings, group)))
    return tables


def board_notes(rows: Sequence[Row]) -> list[str]:
    """What is not on the board, and why: a line a reason, whatever the surveys; more than three models are counted."""
    reasons: dict[tuple[str, str, str], tuple[dict[str, None], dict[str, None]]] = {}
    for row in rows:
        if row["status"] != "done":
            who = row["model"] if row["probe"] is None else f"{row['model']} ({row['probe']})"
            what = "does not apply" if row["status"] == "skipped" and row["probe"] is None else row["status"]
            reason = str(row["error"]).replace(f"survey '{row['survey']}'", _ITS_SURVEY)
            tasks, surveys = reasons.setdefault((what, who, reason), ({}, {}))
            tasks[str(row["task"])] = surveys[str(row["survey"])] = None
    models: dict[tuple[str, str, str], list[str]] = {}
    for (what, who, reason), (tasks, surveys) in sorted(reasons.items()):
        text = reason.replace(_ITS_SURVEY, _surveys(list(surveys)))
        models.setdefault((what, ", ".join(tasks), text), []).append(who)
    return [
        f"{what}: {', '.join(who) if len(who) <= _MOST_NAMED else f'{len(who)} models'}: {tasks}: {text}"
        for (what, tasks, text), who in models.items()
    ]


def _surveys(names: Sequence[str]) -> str:
    return f"survey '{names[0]}'" if len(names) == 1 else f"each of {len(names)} surveys"


def format_number(value: float | None) -> str:
    """Three decimals, or one digit with its power of ten where these would be 0.000 (below 1e-6 they are)."""
    if value is None:
        return "-"
    if abs(value) < 1e-6:
        return "0.000"
    return f"{value:.3f}" if abs(value) >= 0.001 else f"{value:.0e}"


def rank_text(row: Row | None) -> str:
    """The ranks that a score may have, such as ``1-3``; a dash where models were not compared."""
    if row is None or row["rank_low"] is None:
        return "-"
    low, high = row["rank_low"], row["rank_high"]
    return str(low) if low == high else f"{low}-{high}"


def all_tied(rows: Iterable[Row | None]) -> Row | None:
    """One of several ranked scores of which none differs from any other beyond chance; None where some do."""
    ranked = [row for row in rows if row is not None and row["rank_low"] is not None]
    groups = {(row["task"], row["n_labels"], row["condition"]) for row in ranked}
    if len(ranked) < 2 or len(groups) > 1:
        return None
    tied = all((row["rank_low"], row["rank_high"]) == (1, len(ranked)) for row in ranked)
    return ranked[0] if tied else None


def _is_resampled(row: Row) -> bool:
    """Whether a score is against labels drawn anew: the machine-readable formats have it."""
    return "labels=resampled" in str(row["condition"]).split(", ")


def _ceilings(rows: Iterable[Row], group: tuple[Any, ...]) -> dict[Column, float]:
    """What label noise lets a score reach, by the score's column."""
    return {
        (_CEILINGS[row["metric"]], row["target"]): row["value"]
        for row in rows
        if tuple(row[name] for name in _GROUP) == group
    }


def _table(
    rows: Sequence[Row], group: tuple[Any, ...], columns: Sequence[Column], ceilings: Mapping[Column, float]
) -> BoardTable:
    survey, preset, recipe, task = group
    scores: dict[tuple[str, str, str], dict[Column, Row]] = {}
    whole: dict[tuple[str, str, str], dict[Column, Row]] = {}
    beside: dict[tuple[str, str, str], tuple[str, str, str]] = {}
    for row in rows:
        labels = "-" if row["n_labels"] is None else str(row["n_labels"])
        probe = row["probe"] if row["condition"] is None else f"{row['probe']}, {row['condition']}"
        line = scores.setdefault((row["model"], probe, labels), {})
        line[row["metric"], row["target"]] = row
        beside[row["model"], probe, labels] = (row["model"], row["probe"], labels)
        whole.setdefault(beside[row["model"], probe, labels], line)
    # scores under a condition, without the headline of their own, stand below those of the whole
    by_rank = sorted(
        scores.items(),
        key=lambda item: _rank(item[1] if _headline(item[1], task) else whole[beside[item[0]]], task),
    )
    heads = [_headline(found, task) for _, found in by_rank]
    has_ranks = any(row is not None and row["rank_low"] is not None for row in heads)
    names = ["rank"] if has_ranks else []
    lines = [
        [*who, *(rank_text(row) for _ in names), *(_cell(found.get(column)) for column in columns)]
        for (who, found), row in zip(by_rank, heads, strict=True)
    ]
    blank = ["", "", *("" for _ in names)]
    lines.append(["floor", *blank, *(_floor(scores.values(), column) for column in columns)])
    if not ceilings.keys().isdisjoint(columns):
        lines.append(["label noise", *blank, *(format_number(ceilings.get(column)) for column in columns)])
    n = sorted({row["n"] for row in rows if (row["metric"], row["target"]) in columns})
    size = f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"
    title = f"{task} on {survey} ({preset}, {recipe}; test {size}; 95 % intervals)"
    if head := all_tied(heads):
        title += f"; no two models can be told apart by {_column_name((head['metric'], head['target']))}"
    return BoardTable(title, ["model", "probe", "labels", *names, *map(_column_name, columns)], lines)


def _column_groups(rows: Sequence[Row], task: str, n_columns: int) -> list[list[Column]]:
    card = TASKS[task]
    metrics = {name: number for number, name in enumerate(card.metrics)}
    ranked = {row["target"]: row["ranked"] for row in rows}
    present = {(row["metric"], row["target"]) for row in rows}
    joined = {column for column in present if column[1] in ("joint", "mean")}
    if joined and len({target for _, target in present - joined}) > 1:
        present = joined | {column for column in present if column[0] == card.headline[0]}
    first = sorted(joined & present, key=lambda column: (column != card.headline, metrics[column[0]]))
    rest = sorted(present - joined, key=lambda column: (column[1] != "z", column[1], metrics[column[0]]))
    main = first + [column for column in rest if ranked[column[1]]]
    others = [column for column in rest if not ranked[column[1]]]
    return [part[start : start + n_columns] for part in (main, others) for start in range(0, len(part), n_columns)]


def _headline(scores: Mapping[Column, Row], task: str) -> Row | None:
    metric, target = TASKS[task].headline
    return scores.get((metric, target)) or next((row for (name, _), row in scores.items() if name == metric), None)


def _rank(scores: Mapping[Column, Row], task: str) -> tuple[bool, float]:
    row = _headline(scores, task)
    if row is None or row["value"] is None:
        return True, 0.0
    return False, -row["value"] if METRICS[row["metric"]].better == "higher" else row["value"]


def _floor(lines: Iterable[Mapping[Column, Row]], column: Column) -> str:
    return next((format_number(scores[column]["floor"]) for scores in lines if column in scores), "-")


def _column_name(column: Column) -> str:
    metric, target = column
    return metric if target == "joint" else f"{metric} {target}"


def _cell(row: Row | None) -> str:
    if row is None or row["value"] is None:
        return "-"
    if row["ci_low"] is None:
        return format_number(row["value"])
    return f"{format_number(row['value'])} [{format_number(row['ci_low'])}, {format_number(row['ci_high'])}]"

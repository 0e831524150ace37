"""What the page shows of a results store: the cells that count, and the parts of the board they belong to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.board import leaderboard
from benchmark.board.current import current_records
from benchmark.contracts import UsageError
from benchmark.data.schema import SPLITS
from benchmark.registry import TASKS
from benchmark.store import Store, load_records

__all__ = ["Contents", "Part", "read_contents"]

Record = Mapping[str, Any]
Row = Mapping[str, Any]

_PART = ("survey", "preset", "recipe")


@dataclass(frozen=True)
class Part:
    """One survey, preset and recipe: scores that may stand in one table.

    Attributes
    ----------
    survey, preset, recipe : what all of it has in common.
    rows : rows of the board, the best first.
    records : score records behind them, of the first probe seed.
    behind : every record that these rest on, with them.
    """

    survey: str
    preset: str
    recipe: str
    rows: tuple[Row, ...]
    records: tuple[Record, ...]
    behind: tuple[Record, ...] = ()

    @property
    def is_simulated(self) -> bool:
        """Whether the records say so of the survey."""
        return any(record["survey"].get("simulated", False) for record in self.records)

    @property
    def facts(self) -> dict[str, str]:
        """What the records tell of the survey: its version, its digest and how many galaxies were used."""
        surveys = [record["survey"] for record in self.records]
        labels = {row["n_labels"] for row in self.rows} - {None}
        tested = {row["n"] for row in self.rows} - {None}
        found = {
            "survey version": ", ".join(sorted({str(survey["version"]) for survey in surveys})),
            "survey digest": ", ".join(sorted({str(survey["digest"])[:12] for survey in surveys})),
            "training galaxies with labels": _span(labels),
            "test galaxies": _span(tested),
            "galaxies": "; ".join(
                sorted({_split_sizes(survey["n_per_split"]) for survey in surveys if survey.get("n_per_split")})
            ),
            "preset": self.preset,
            "recipe": self.recipe,
        }
        return {name: text for name, text in found.items() if text}

    def headline(self, task: str) -> tuple[str, str]:
        """(metric, target) by which a task is ordered; the first ranked target where there is no mean over several."""
        metric, target = TASKS[task].headline
        rows = [row for row in self.rows if (row["task"], row["metric"]) == (task, metric)]
        targets = dict.fromkeys(row["target"] for row in sorted(rows, key=lambda row: not row["ranked"]))
        return metric, target if target in targets else next(iter(targets), target)

    def of_task(self, task: str) -> list[Record]:
        """Score records of a task that are done, the best by its headline first."""
        headline = (task, *self.headline(task))
        places: dict[tuple[Any, ...], int] = {}
        for place, row in enumerate(self.rows):
            if (row["task"], row["metric"], row["target"]) == headline:
                places.setdefault((row["model"], row["probe"], row["n_labels"]), place)
        found = [record for record in self.records if record["task"]["name"] == task and record["status"] == "done"]
        last = len(self.rows)
        return sorted(found, key=lambda r: places.get((r["model"]["name"], r["probe"], r["n_labels"]), last))


@dataclass(frozen=True)
class Contents:
    """A results store as the page sees it.

    Attributes
    ----------
    parts : what can be compared with each other.
    n_cells : status -> number of cells behind the board, those that do not apply left out.
    provenance : facts about code and packages, a line each.
    newest : date and time of the newest record, ISO 8601.
    """

    parts: tuple[Part, ...]
    n_cells: dict[str, int]
    provenance: dict[str, str]
    newest: str


def read_contents(out: Path) -> Contents:
    """Read the board and the records behind it.

    Raises
    ------
    UsageError
        If the folder holds no score records.
    GalaxybenchError
        If a record cannot be read.
    """
    cells = {record["name"]: record for record in load_records(out, kind=None)}
    scores = current_records((record for record in cells.values() if record["kind"] == "score"), Store(out).last_run())
    if not scores:
        raise UsageError(f"{out}: holds no scores yet; run models with --out {out} first")
    behind = list(_with_needs(scores, cells))
    rows = [
        row if row["status"] == "done" else {**row, "error": _cause(row["error"], cells)} for row in leaderboard(out)
    ]
    keys = dict.fromkeys(tuple(row[name] for name in _PART) for row in rows)
    parts = []
    for survey, preset, recipe in sorted(keys):
        key = (survey, preset, recipe)
        here = tuple(row for row in rows if tuple(row[name] for name in _PART) == key)
        first = tuple(_first_seed(record for record in scores if _part_of(record) == key))
        parts.append(Part(*key, here, first, tuple(_with_needs(first, cells))))
    statuses = Counter(str(record["status"]) for record in behind if not _is_absent(record))
    return Contents(tuple(parts), dict(statuses), _provenance(behind), max(str(record["created"]) for record in behind))


def _with_needs(scores: Iterable[Record], cells: Mapping[str, Record]) -> Iterable[Record]:
    """The score records and every cell they rest on, each once."""
    waiting, seen = [str(record["name"]) for record in scores], set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in cells:
            continue
        seen.add(name)
        yield cells[name]
        waiting += cells[name]["needs"]


def _cause(reason: str | None, cells: Mapping[str, Record]) -> str | None:
    """A reason that names another cell ("needs X, which did not end well") with that cell's own reason added."""
    for word in (reason or "").replace(",", " ").split():
        if word in cells and cells[word]["reason"]:
            return f"{reason}: {_cause(cells[word]['reason'], cells)}"
    return reason


def _first_seed(records: Iterable[Record]) -> Iterable[Record]:
    first: dict[tuple[Any, ...], Record] = {}
    for record in sorted(records, key=lambda record: record["seed"] or 0):
        what = (record["model"]["name"], record["probe"], record["task"]["name"], record["n_labels"])
        first.setdefault(what, record)
    return first.values()


def _part_of(record: Record) -> tuple[Any, ...]:
    return (record["survey"]["name"], record["preset"], record["recipe"])


def _is_absent(record: Record) -> bool:
    """A record that says that a task does not apply, rather than that a cell was skipped for another's failure."""
    return record["status"] == "skipped" and record["probe"] is None


def _provenance(records: Sequence[Record]) -> dict[str, str]:
    made = [record["provenance"] for record in records]
    facts = {
        "commit": sorted({str(entry["git_commit"])[:10] for entry in made if entry.get("git_commit")}),
        "packages": sorted({f"{name} {version}" for entry in made for name, version in entry["packages"].items()}),
        "Python": sorted({str(entry["python"]) for entry in made}),
        "device": sorted({f"{entry['device']}, {entry['dtype']}" for entry in made}),
    }
    return {name: "; ".join(found) for name, found in facts.items() if found}


def _split_sizes(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[split]:,} {split}" for split in SPLITS if counts.get(split))


def _span(numbers: Collection[int]) -> str:
    if not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"

"""From records to rows: one row a model, probe, task, target and metric. Reads the store and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.board.current import current_records
from benchmark.board.significance import Place, cached_ranks
from benchmark.contracts import UsageError
from benchmark.registry import METRICS, TASKS
from benchmark.store import Store, load_records

__all__ = ["ROW_FIELDS", "leaderboard"]

ROW_FIELDS = (
    "survey",
    "model",
    "modality",
    "probe",
    "recipe",
    "preset",
    "n_labels",
    "task",
    "task_version",
    "target",
    "condition",
    "metric",
    "better",
    "value",
    "ci_low",
    "ci_high",
    "n",
    "rank_low",
    "rank_high",
    "tie_group",
    "seed_spread",
    "floor",
    "status",
    "error",
    "contamination",
    "published",
    "ranked",
)
"""The fields of a row, in the order of the CSV; everything before ``metric`` with it is the row's key."""

_RANKS = ("rank_low", "rank_high", "tie_group")
_KEY = ROW_FIELDS[: ROW_FIELDS.index("metric") + 1]


def leaderboard(out: str | Path, *, task: str | None = None, modality: str | None = None) -> list[dict[str, Any]]:
    """Rows of the board of a results store.

    Parameters
    ----------
    out : results folder of a run.
    task, modality : keep only these rows.

    Returns
    -------
    rows : dictionaries with `ROW_FIELDS`, sorted by task, target, metric and value, the best first. A cell that did
        not end well is one row with ``metric``, ``target`` and ``value`` None, its ``status`` and its ``error``.
        Probe seeds are joined: ``value`` and its interval are those of the first seed, ``seed_spread`` is the
        standard deviation over seeds. ``ranked`` tells targets by which models are ordered from labels that are shown
        beside them. ``rank_low``, ``rank_high`` and ``tie_group`` are those of `benchmark.board.significance`, over all
        rows of the store, whatever is kept here. Fields that are not computed are None.

    Raises
    ------
    UsageError
        If the folder holds no records, or the task or modality is unknown.
    GalaxybenchError
        If a record cannot be read.
    """
    wanted = TASKS[task].name if task else None
    store = Store(Path(out))
    records = current_records(load_records(out), store.last_run())
    every = _rows(records, cached_ranks(store, records))
    if modality is not None and modality not in {row["modality"] for row in every}:
        known = sorted({str(row["modality"]) for row in every})
        raise UsageError(f"--modality '{modality}': no row has it; there are {', '.join(known)}")
    rows = [row for row in every if wanted in (None, row["task"]) and modality in (None, row["modality"])]
    return sorted(rows, key=_order)


def _rows(records: Iterable[Mapping[str, Any]], ranks: Mapping[Place, tuple[int, int, int]]) -> list[dict[str, Any]]:
    by_key: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for record in sorted(records, key=lambda record: record["seed"] or 0):
        for row in _record_rows(record, ranks):
            by_key.setdefault(tuple(row[name] for name in _KEY), []).append(row)
    return [_join_seeds(rows) for rows in by_key.values()]


def _record_rows(record: Mapping[str, Any], ranks: Mapping[Place, tuple[int, int, int]]) -> Iterable[dict[str, Any]]:
    common = dict.fromkeys(ROW_FIELDS) | {
        "survey": record["survey"]["name"],
        "model": record["model"]["name"],
        "modality": record["modality"],
        "probe": record["probe"],
        "recipe": record["recipe"],
        "preset": record["preset"],
        "n_labels": record["n_labels"],
        "task": record["task"]["name"],
        "task_version": record["task"]["version"],
        "status": record["status"],
        "error": record["reason"] or None,
        "contamination": record["contamination"],
        "published": [],
    }
    inputs = record["config"].get("inputs")  # a probe that sees the embedding otherwise is another row
    common["condition"] = f"inputs={inputs}" if inputs else None
    if record["status"] != "done":
        yield common
    joined = {"joint", "mean", *record["config"].get("ranked", ())}
    for score in record["scores"]:
        better = METRICS[score["metric"]].better
        condition = ", ".join(part for part in (common["condition"], score.get("condition")) if part) or None
        facts: dict[str, Any] = {"condition": condition, "better": better, "ranked": score["target"] in joined}
        if not score.get("condition"):
            place = (record["name"], score["metric"], score["target"])
            facts |= dict(zip(_RANKS, ranks.get(place, (None, None, None)), strict=True))
        yield common | score | facts


def _join_seeds(rows: list[dict[str, Any]]) -> dict[str, Any]:
    values = [row["value"] for row in rows if row["value"] is not None]
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return rows[0] | {"seed_spread": spread}


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    missing = row["value"] is None
    value = 0.0 if missing else float(row["value"])
    if not missing:
        card = METRICS[row["metric"]]
        best_first = {
            "higher": -value,
            "lower": value,
            "zero": abs(value),
            "nominal": abs(value - (card.nominal or 0)),
        }
        value = best_first[card.better]
    names = tuple(str(row[name] or "") for name in ("task", "target", "metric"))
    return (row["status"] != "done", *names, missing, value, row["model"], str(row["probe"]))

"""What a record holds before its cell has run: the facts of the plan and where the numbers will come from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from benchmark.provenance import provenance
from benchmark.store import SCHEMA_VERSION

__all__ = ["base_record"]


def base_record(cell: Mapping[str, Any], status: str = "failed", reason: str = "") -> dict[str, Any]:
    """The record of a cell before anything is known of it; also what stands for one that crashed or was skipped."""
    labels, settings = cell["labels"], cell["settings"]
    return {
        "schema_version": SCHEMA_VERSION,
        "key": cell["key"],
        "name": cell["name"],
        "kind": cell["kind"],
        "needs": list(cell["needs"]),
        "status": status,
        "reason": reason,
        "model": {**settings["model"], "name": labels["model"]},
        "modality": labels.get("modality"),
        "probe": labels.get("probe"),
        "task": {"name": labels["task"], "version": labels["task_version"]} if "task" in labels else None,
        "survey": cell["survey"],
        "split_digest": None,
        "preset": labels["preset"],
        "recipe": labels["recipe"],
        "seed": labels.get("seed"),
        "contamination": labels.get("contamination"),
        "config": dict(settings),
        "n_labels": None,
        "n_dropped": {},
        "scores": [],
        "details": {},
        "artefacts": [],
        "provenance": provenance(),
        "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }

"""Which records of a store stand on the board: those of the last run, and what earlier runs say beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["current_records"]

Record = Mapping[str, Any]


def current_records(records: Iterable[Record], last_run: Iterable[str] = ()) -> list[Record]:
    """One record for every place on the board.

    A store may hold several records for one place: the survey was built anew, a model or a task has a new version, a
    file was scored under the same name. A record that the last run asked for comes first, cached or not; then the
    newest. Records of another content of a survey than the first one's are left out: their galaxies differ.

    Parameters
    ----------
    records : score records of a store.
    last_run : names of the cells of the last run.
    """
    asked = frozenset(last_run)
    digests: dict[str, str] = {}
    places: dict[tuple[Any, ...], Record] = {}
    ranked = sorted(records, key=lambda record: (record["name"] in asked, record["created"]), reverse=True)
    for record in ranked:
        survey = record["survey"]
        if digests.setdefault(survey["name"], survey["digest"]) == survey["digest"]:
            places.setdefault(_place(record), record)
    return list(places.values())


def _place(record: Record) -> tuple[Any, ...]:
    config = record["config"]
    return (
        record["survey"]["name"],
        record["model"]["name"],
        record["probe"],
        record["task"]["name"],
        record["seed"],
        record["preset"],
        record["recipe"],
        config.get("n_labels"),
        config.get("inputs"),
    )

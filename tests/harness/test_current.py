"""Which records stand on the board when a store holds several for one place."""

from __future__ import annotations

from typing import Any

from benchmark.board.current import current_records


def record(name: str, created: int, digest: str = "a", **more: Any) -> dict[str, Any]:
    made = {"model": {"name": "M"}, "probe": "knn", "task": {"name": "redshift", "version": 1}, "seed": 0}
    made |= {"preset": "smoke", "recipe": "default", "config": {"n_labels": None, "inputs": None}}
    return made | {"name": name, "created": f"2026-01-{created:02d}", "survey": {"name": "s", "digest": digest}} | more


def names(records: list[Any]) -> list[str]:
    return sorted(found["name"] for found in records)


def test_the_newest_record_wins_where_no_run_is_noted() -> None:
    assert names(current_records([record("new", 2), record("old", 1)])) == ["new"]


def test_what_the_last_run_asked_for_wins_over_what_is_newer() -> None:
    assert names(current_records([record("new", 2), record("old", 1)], ["old"])) == ["old"]


def test_another_content_of_a_survey_is_left_out_even_where_its_place_is_free() -> None:
    other_galaxies = record("other", 3, digest="b", model={"name": "N"})
    records = [other_galaxies, record("first", 1)]
    assert names(current_records(records)) == ["other"]
    assert names(current_records(records, ["first"])) == ["first"]


def test_seeds_labels_and_inputs_have_places_of_their_own() -> None:
    records = [
        record("a", 1),
        record("b", 1, seed=1),
        record("c", 1, config={"n_labels": 50, "inputs": None}),
        record("d", 1, config={"n_labels": None, "inputs": "l2"}),
        record("e", 1, preset="laptop"),
    ]
    assert names(current_records(records)) == list("abcde")

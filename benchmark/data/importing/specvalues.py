"""Keys of an import spec checked one by one: what is unknown, missing or of the wrong kind is named with its table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmark.contracts import GalaxybenchError
from benchmark.data.infofile import refuse_unknown_keys

__all__ = ["Kinds", "check_table", "choose", "text_list", "text_values"]

Kinds = Mapping[str, type | tuple[type, ...]]


def check_table(table: Any, keys: Kinds, where: str, required: tuple[str, ...] = ()) -> None:
    """Raise unless ``table`` holds only allowed keys of the allowed kinds, and all required ones.

    Raises
    ------
    GalaxybenchError
        On the first fault.
    """
    if not isinstance(table, dict):
        raise GalaxybenchError(f"{where} = {table!r}: must be a table with {', '.join(keys)}")
    refuse_unknown_keys(table, keys, where)
    for key, value in table.items():
        found = keys[key]
        kinds = found if isinstance(found, tuple) else (found,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            names = " or ".join(kind.__name__ for kind in kinds)
            raise GalaxybenchError(f"{where}: {key} = {value!r}: must be {names}")
    for key in required:
        if key not in table:
            raise GalaxybenchError(f"{where}: key {key!r} is missing")


def choose(table: Mapping[str, Any], key: str, allowed: tuple[str, ...], where: str) -> None:
    """Raise unless a key's value, if given, is one of some words.

    Raises
    ------
    GalaxybenchError
        Otherwise.
    """
    if key in table and table[key] not in allowed:
        raise GalaxybenchError(f"{where}: {key} = {table[key]!r}; allowed: {', '.join(allowed)}")


def text_values(table: Mapping[str, Any], where: str) -> None:
    """Raise unless every value of a table is the name of a column.

    Raises
    ------
    GalaxybenchError
        Otherwise.
    """
    for key, value in table.items():
        if not isinstance(value, str):
            raise GalaxybenchError(f"{where}.{key} = {value!r}: must be the name of a column")


def text_list(value: Any, where: str) -> tuple[str, ...]:
    """Return one name or a list of names as a tuple.

    Raises
    ------
    GalaxybenchError
        If there is none, or one is no text.
    """
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise GalaxybenchError(f"{where} = {value!r}: must be a name or a list of names")
    return tuple(names)

"""What an import spec says: TOML read strictly into frozen dataclasses."""

from __future__ import annotations

import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmark.contracts import GalaxybenchError, Target, UsageError
from benchmark.data.infofile import parse_target, refuse_unknown_keys
from benchmark.data.keep import filter_columns
from benchmark.data.schema import SPLITS

__all__ = ["DEBIASED", "ImageSpec", "ImportSpec", "SourceSpec", "read_spec"]

PHOTOMETRY_UNITS = ("mag_ab", "nanomaggy")
FIXED_SPLITS = ("hash", *SPLITS)
DEBIASED = "_debiased"


@dataclass(frozen=True)
class ImageSpec:
    """Where a source's cutouts lie.

    Attributes
    ----------
    folder : below the data folder.
    name : file name of a galaxy; ``{target_id}``, ``{source_id}`` and columns of the source stand for its values.
    bands : the band of each channel, in the file's order (red, green, blue for a colour JPEG).
    pixel_scale_arcsec : arcseconds a pixel.
    bad : what a missing, unreadable or wrong-sized image does: ``refuse`` the import or ``drop`` the galaxy.
    """

    folder: str
    name: str
    bands: tuple[str, ...]
    pixel_scale_arcsec: float | None = None
    bad: Literal["refuse", "drop"] = "refuse"

    @property
    def fields(self) -> tuple[str, ...]:
        """Names in braces in ``name``."""
        return tuple(name for _, name, _, _ in string.Formatter().parse(self.name) if name is not None)


@dataclass(frozen=True)
class SourceSpec:
    """One table of a spec: where it lies and which of its columns are what.

    Attributes
    ----------
    path, format : file below the data folder; the format follows from its name unless given.
    id : column of integers, or ``row``; None where ``id_hash`` is set.
    id_hash : column of text from which ids are made.
    role : ``append`` adds galaxies, ``join`` adds columns by id; the first source always begins the catalogue.
    split : ``hash``, one split for the whole source, or a column.
    ra, dec : columns in degrees.
    keep : row filter over the source's columns.
    photometry, photometry_error : band -> column, in ``photometry_unit``.
    targets : column of each target.
    target_facts : the targets.
    votes : ``<question>_<answer>`` -> column of counts, ``<question>_<answer>_debiased`` -> column of fractions.
    images : cutouts.
    """

    path: str
    id: str | None = None
    id_hash: str | None = None
    format: str | None = None
    role: Literal["join", "append"] = "join"
    split: str = "hash"
    ra: str | None = None
    dec: str | None = None
    keep: str | None = None
    photometry: Mapping[str, str] = field(default_factory=dict)
    photometry_error: Mapping[str, str] = field(default_factory=dict)
    photometry_unit: Literal["mag_ab", "nanomaggy"] = "mag_ab"
    targets: Mapping[str, str] = field(default_factory=dict)
    target_facts: tuple[Target, ...] = ()
    votes: Mapping[str, str] = field(default_factory=dict)
    images: ImageSpec | None = None


@dataclass(frozen=True)
class ImportSpec:
    """How a survey folder is made from files of others.

    Attributes
    ----------
    path : the spec's file.
    name, version, licence, reference : facts of the survey.
    missing : numbers that mean "no value".
    sources : tables, in order.
    """

    path: Path
    name: str
    sources: tuple[SourceSpec, ...]
    version: str = "1"
    licence: str = ""
    reference: str = ""
    missing: tuple[float, ...] = ()


TOP_KEYS: dict[str, type] = {
    "name": str,
    "version": str,
    "licence": str,
    "reference": str,
    "missing": list,
    "source": list,
}
SOURCE_KEYS: dict[str, type | tuple[type, ...]] = {
    "path": str,
    "format": str,
    "id": (str, dict),
    "role": str,
    "split": str,
    "ra": str,
    "dec": str,
    "keep": str,
    "photometry": dict,
    "photometry_error": dict,
    "photometry_unit": str,
    "targets": dict,
    "votes": dict,
    "images": dict,
}
IMAGE_KEYS: dict[str, type | tuple[type, ...]] = {
    "folder": str,
    "name": str,
    "bands": list,
    "pixel_scale_arcsec": (int, float),
    "bad": str,
}


def read_spec(path: str | Path) -> ImportSpec:
    """Read an import spec.

    Raises
    ------
    UsageError
        If there is no such file.
    GalaxybenchError
        If it is no TOML, a key is unknown or missing, or a value is not allowed; the message names table and key.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path} does not exist: give the path of an import spec (.toml)")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GalaxybenchError(f"{path} is not valid TOML ({error})") from error
    _check(table, TOP_KEYS, str(path), required=("name", "source"))
    missing = table.get("missing", [])
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in missing):
        raise GalaxybenchError(f"{path}: missing = {missing}: must be numbers")
    if not table["source"]:
        raise GalaxybenchError(f"{path}: no [[source]]: name at least one table")
    sources = tuple(_source(entry, f"{path}: source {n}", n) for n, entry in enumerate(table.pop("source"), start=1))
    return ImportSpec(path, sources=sources, **{**table, "missing": tuple(float(value) for value in missing)})


def _check(table: Any, keys: Mapping[str, type | tuple[type, ...]], where: str, required: tuple[str, ...] = ()) -> None:
    if not isinstance(table, dict):
        raise GalaxybenchError(f"{where} = {table!r}: must be a table with {', '.join(keys)}")
    refuse_unknown_keys(table, keys, where)
    for key, value in table.items():
        kinds = keys[key] if isinstance(keys[key], tuple) else (keys[key],)
        if not isinstance(value, kinds) or isinstance(value, bool):
            names = " or ".join(kind.__name__ for kind in kinds)  # type: ignore[union-attr]
            raise GalaxybenchError(f"{where}: {key} = {value!r}: must be {names}")
    for key in required:
        if key not in table:
            raise GalaxybenchError(f"{where}: key {key!r} is missing")


def _source(table: Any, where: str, number: int) -> SourceSpec:
    _check(table, SOURCE_KEYS, where, required=("path", "id"))
    source = dict(table)
    source["role"] = source.get("role", "append" if number == 1 else "join")
    _choose(source, "role", ("join", "append"), where)
    _choose(source, "photometry_unit", PHOTOMETRY_UNITS, where)
    for key in ("photometry", "photometry_error", "votes"):
        _text_values(source.get(key, {}), f"{where}: {key}")
    _check_ids(source, where)
    if source["role"] == "join" and number > 1 and source.get("split", "hash") in SPLITS:
        raise GalaxybenchError(
            f"{where}: split = {source['split']!r}: a joined source may only name a column of splits"
        )
    if ("ra" in source) != ("dec" in source):
        raise GalaxybenchError(f"{where}: give both ra and dec, or neither")
    for band in source.get("photometry_error", {}):
        if band not in source.get("photometry", {}):
            raise GalaxybenchError(f"{where}: photometry_error names band {band!r} that photometry lacks")
    for key in source.get("votes", {}):
        question, _, answer = key.removesuffix(DEBIASED).partition("_")
        if not question or not answer or "_" in answer:
            raise GalaxybenchError(
                f"{where}: votes: {key!r}: must read question_answer with one underscore between them"
            )
    if "keep" in source:
        filter_columns(source["keep"])
    source["targets"], source["target_facts"] = _targets(source.get("targets", {}), f"{where}: targets")
    if "images" in source:
        source["images"] = _images(source["images"], f"{where}: images")
    return SourceSpec(**source)


def _choose(table: Mapping[str, Any], key: str, allowed: tuple[str, ...], where: str) -> None:
    if key in table and table[key] not in allowed:
        raise GalaxybenchError(f"{where}: {key} = {table[key]!r}; allowed: {', '.join(allowed)}")


def _text_values(table: Mapping[str, Any], where: str) -> None:
    for key, value in table.items():
        if not isinstance(value, str):
            raise GalaxybenchError(f"{where}.{key} = {value!r}: must be the name of a column")


def _check_ids(source: dict[str, Any], where: str) -> None:
    if isinstance(source["id"], dict):
        _check(source["id"], {"hash": str}, f"{where}: id", required=("hash",))
        source["id_hash"] = source.pop("id")["hash"]
    elif source["id"] == "row" and source["role"] == "join":
        raise GalaxybenchError(
            f"{where}: id = 'row': a joined source needs ids of its own; tables are joined by id only"
        )


def _targets(table: Mapping[str, Any], where: str) -> tuple[dict[str, str], tuple[Target, ...]]:
    columns: dict[str, str] = {}
    facts: list[Target] = []
    for name, value in table.items():
        entry = {"column": value} if isinstance(value, str) else value
        if not isinstance(entry, dict) or not isinstance(entry.get("column"), str):
            raise GalaxybenchError(f"{where}.{name} = {value!r}: must be a column, or a table with column = ...")
        if "name" in entry:
            raise GalaxybenchError(f"{where}.{name}: unknown key 'name': the target is called {name!r} already")
        columns[name] = entry["column"]
        rest = {key: fact for key, fact in entry.items() if key != "column"}
        facts.append(parse_target({"name": name, **rest}, f"{where}.{name}"))
    return columns, tuple(facts)


def _images(table: Mapping[str, Any], where: str) -> ImageSpec:
    _check(table, IMAGE_KEYS, where, required=("folder", "name", "bands"))
    _choose(table, "bad", ("refuse", "drop"), where)
    if not table["bands"] or not all(isinstance(band, str) for band in table["bands"]):
        raise GalaxybenchError(f"{where}: bands = {table['bands']}: must name the band of each channel")
    try:
        parts = list(string.Formatter().parse(table["name"]))
    except ValueError as error:
        raise GalaxybenchError(f"{where}: name = {table['name']!r} ({error})") from error
    fields = [(name, form, conversion) for _, name, form, conversion in parts if name is not None]
    if not fields or any(not name.isidentifier() or form or conversion for name, form, conversion in fields):
        raise GalaxybenchError(
            f"{where}: name = {table['name']!r}: must hold plain names in braces, "
            "e.g. {target_id}.jpg or {source_id}.png"
        )
    return ImageSpec(**{**table, "bands": tuple(table["bands"])})

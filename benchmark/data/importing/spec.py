"""What an import spec says: TOML read strictly into frozen dataclasses."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from benchmark.contracts import GalaxybenchError, Target, UsageError
from benchmark.data.importing.formula import formula_columns
from benchmark.data.importing.keep import filter_columns
from benchmark.data.importing.pixelspec import ImageSpec, SpectrumSpec, parse_images, parse_spectra
from benchmark.data.importing.specvalues import Kinds, check_table, choose, text_list, text_values
from benchmark.data.infofile import parse_target
from benchmark.data.schema import SPLITS

__all__ = ["DEBIASED", "ImportSpec", "MatchSpec", "SourceSpec", "read_spec"]

PhotometryUnit = Literal["mag_ab", "nanomaggy", "microjansky", "millijansky"]
PHOTOMETRY_UNITS: tuple[str, ...] = get_args(PhotometryUnit)
PHOTOMETRY_EXTRAS = ("photometry_error", "photometry_ivar", "photometry_transmission")
FIXED_SPLITS = ("hash", *SPLITS)
DEBIASED = "_debiased"


@dataclass(frozen=True)
class MatchSpec:
    """Rows of a source are joined to the galaxies by position instead of by id.

    Attributes
    ----------
    ra, dec : columns of the source, degrees.
    radius_arcsec : largest separation.
    """

    ra: str
    dec: str
    radius_arcsec: float


@dataclass(frozen=True)
class SourceSpec:
    """One table of a spec: where it lies and which of its columns are what.

    Attributes
    ----------
    path, format : file below the data folder, or several by a pattern with ``*``; the format follows from the name
        unless given.
    table : extension, group or split of the file, or several by a pattern with ``*``; rows of all are put together.
    id : column of integers, or ``row``; None where ``id_hash`` or ``match`` is set.
    match : join by position.
    columns : name -> formula over columns of the file; the names serve wherever a column does.
    id_hash : column of text from which ids are made.
    role : ``append`` adds galaxies, ``join`` adds columns by id; the first source always begins the catalogue.
    split : ``hash``, one split for the whole source, or a column.
    ra, dec : columns in degrees.
    keep : row filters over the source's columns; a row must pass all.
    photometry, photometry_error : band -> column, in ``photometry_unit``.
    photometry_ivar : band -> column of inverse variances of the fluxes, instead of errors.
    photometry_transmission : band -> column of the share of light that passes the Galaxy's dust; corrected for.
    targets : column of each target.
    target_facts : the targets.
    errors : target -> column of one-sigma errors.
    draws : target -> formula that gives the draws of its posterior for each row.
    votes : ``<question>_<answer>`` -> column of counts, ``<question>_<answer>_debiased`` -> column of fractions.
    images : cutouts.
    spectra : spectra.
    """

    path: str
    id: str | None = None
    match: MatchSpec | None = None
    table: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    id_hash: str | None = None
    format: str | None = None
    role: Literal["join", "append"] = "join"
    split: str = "hash"
    ra: str | None = None
    dec: str | None = None
    keep: tuple[str, ...] = ()
    photometry: Mapping[str, str] = field(default_factory=dict)
    photometry_error: Mapping[str, str] = field(default_factory=dict)
    photometry_ivar: Mapping[str, str] = field(default_factory=dict)
    photometry_transmission: Mapping[str, str] = field(default_factory=dict)
    photometry_unit: PhotometryUnit = "mag_ab"
    targets: Mapping[str, str] = field(default_factory=dict)
    target_facts: tuple[Target, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)
    draws: Mapping[str, str] = field(default_factory=dict)
    votes: Mapping[str, str] = field(default_factory=dict)
    images: ImageSpec | None = None
    spectra: SpectrumSpec | None = None


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


TOP_KEYS: Kinds = {
    "name": str,
    "version": str,
    "licence": str,
    "reference": str,
    "missing": list,
    "source": list,
}
SOURCE_KEYS: Kinds = {
    "path": str,
    "format": str,
    "table": (str, int),
    "id": (str, dict),
    "match": dict,
    "columns": dict,
    "role": str,
    "split": str,
    "ra": str,
    "dec": str,
    "keep": (str, list),
    "photometry": dict,
    "photometry_error": dict,
    "photometry_ivar": dict,
    "photometry_transmission": dict,
    "photometry_unit": str,
    "targets": dict,
    "errors": dict,
    "draws": dict,
    "votes": dict,
    "images": dict,
    "spectra": dict,
}
MATCH_KEYS: Kinds = {"ra": str, "dec": str, "radius_arcsec": (int, float)}


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
    check_table(table, TOP_KEYS, str(path), required=("name", "source"))
    missing = table.get("missing", [])
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in missing):
        raise GalaxybenchError(f"{path}: missing = {missing}: must be numbers")
    if not table["source"]:
        raise GalaxybenchError(f"{path}: no [[source]]: name at least one table")
    sources = tuple(_source(entry, f"{path}: source {n}", n) for n, entry in enumerate(table.pop("source"), start=1))
    return ImportSpec(path, sources=sources, **{**table, "missing": tuple(float(value) for value in missing)})


def _source(table: Any, where: str, number: int) -> SourceSpec:
    check_table(table, SOURCE_KEYS, where, required=("path",))
    source = dict(table)
    source["role"] = source.get("role", "append" if number == 1 else "join")
    choose(source, "role", ("join", "append"), where)
    choose(source, "photometry_unit", PHOTOMETRY_UNITS, where)
    for key in ("photometry", *PHOTOMETRY_EXTRAS, "errors", "draws", "votes", "columns"):
        text_values(source.get(key, {}), f"{where}: {key}")
    _check_ids(source, where, number)
    if "table" in source:
        source["table"] = str(source["table"])
    for name, formula in source.get("columns", {}).items():
        if set(formula_columns(formula)) & set(source["columns"]):
            raise GalaxybenchError(f"{where}: columns.{name} = {formula!r}: formulas read columns of the file only")
    if source["role"] == "join" and number > 1 and source.get("split", "hash") in SPLITS:
        raise GalaxybenchError(
            f"{where}: split = {source['split']!r}: a joined source may only name a column of splits"
        )
    if ("ra" in source) != ("dec" in source):
        raise GalaxybenchError(f"{where}: give both ra and dec, or neither")
    _check_photometry(source, where)
    for key in source.get("votes", {}):
        question, _, answer = key.removesuffix(DEBIASED).partition("_")
        if not question or not answer or "_" in answer:
            raise GalaxybenchError(
                f"{where}: votes: {key!r}: must read question_answer with one underscore between them"
            )
    if "keep" in source:
        source["keep"] = text_list(source["keep"], f"{where}: keep")
        for condition in source["keep"]:
            filter_columns(condition)
    source["targets"], source["target_facts"] = _targets(source.get("targets", {}), f"{where}: targets")
    for key in ("errors", "draws"):
        for name, column in source.get(key, {}).items():
            if name not in source["targets"]:
                known = ", ".join(source["targets"]) or "none"
                raise GalaxybenchError(f"{where}: {key} names {name!r}: targets of this source are {known}")
            if key == "draws":
                formula_columns(column)
    if "images" in source:
        source["images"] = parse_images(source["images"], f"{where}: images")
    if "spectra" in source:
        source["spectra"] = parse_spectra(source["spectra"], f"{where}: spectra")
    return SourceSpec(**source)


def _check_photometry(source: Mapping[str, Any], where: str) -> None:
    for key in PHOTOMETRY_EXTRAS:
        for band in source.get(key, {}):
            if band not in source.get("photometry", {}):
                raise GalaxybenchError(f"{where}: {key} names band {band!r} that photometry lacks")
    both = set(source.get("photometry_error", {})) & set(source.get("photometry_ivar", {}))
    if both:
        raise GalaxybenchError(f"{where}: band {min(both)!r} has photometry_error and photometry_ivar: give one")
    if source.get("photometry_ivar") and source.get("photometry_unit", "mag_ab") == "mag_ab":
        raise GalaxybenchError(f"{where}: photometry_ivar belongs to fluxes: set photometry_unit, or give errors")


def _check_ids(source: dict[str, Any], where: str, number: int) -> None:
    if ("id" in source) == ("match" in source):
        raise GalaxybenchError(f"{where}: key 'id' is missing" if "id" not in source else f"{where}: give id or match")
    if "match" in source:
        check_table(source["match"], MATCH_KEYS, f"{where}: match", required=tuple(MATCH_KEYS))
        source["match"] = MatchSpec(**source["match"])
        if number == 1 or source["role"] != "join":
            raise GalaxybenchError(f"{where}: match joins to galaxies of earlier sources: it needs role = 'join'")
    elif isinstance(source["id"], dict):
        check_table(source["id"], {"hash": str}, f"{where}: id", required=("hash",))
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

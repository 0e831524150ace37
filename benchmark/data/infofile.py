"""``survey.toml``: the facts of a survey on disk, read and written strictly."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from benchmark.contracts import GalaxybenchError, Target
from benchmark.data.schema import FORMAT, LOG_BASES, SPLITS, SurveyInfo, refuse_classes

__all__ = ["INFO_FILE", "TARGET_TYPES", "parse_target", "read_info", "refuse_unknown_keys", "write_info"]

INFO_FILE = "survey.toml"


def refuse_unknown_keys(given: Iterable[str], allowed: Iterable[str], where: str) -> None:
    """Raise where a key is not allowed, with the nearest allowed one.

    Parameters
    ----------
    given, allowed : the keys.
    where : file and table, for the message.

    Raises
    ------
    GalaxybenchError
        On the first unknown key.
    """
    known = tuple(allowed)
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise GalaxybenchError(f"{where}: unknown key {key!r}{hint}; allowed: {', '.join(known)}")


TARGET_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "unit": (str,),
    "log_base": (str,),
    "provenance": (str,),
    "description": (str,),
    "ranked": (bool,),
    "joint": (bool,),
    "low": (int, float),
    "high": (int, float),
    "classes": (list,),
}


def parse_target(table: Mapping[str, Any], where: str) -> Target:
    """Return the target that a TOML table describes.

    Raises
    ------
    GalaxybenchError
        On an unknown key, a wrong type, an unknown log base, or classes that are no names.
    """
    refuse_unknown_keys(table, TARGET_TYPES, where)
    for key, value in table.items():
        _refuse_type(value, TARGET_TYPES[key], f"{where}: {key}")
    if "name" not in table:
        raise GalaxybenchError(f"{where}: a target without name; add name = ...")
    if table.get("log_base", "none") not in LOG_BASES:
        raise GalaxybenchError(f"{where}: log_base = {table['log_base']!r}; allowed: {', '.join(LOG_BASES)}")
    limits = {key: float(table[key]) for key in ("low", "high") if key in table}
    if "classes" not in table:
        return Target(**{**table, **limits})
    classes = tuple(table["classes"])
    refuse_classes(table["name"], classes, where)
    return Target(**{**table, "joint": False, "low": 0.0, "high": len(classes) - 1.0, "classes": classes})


def _refuse_type(value: object, types: tuple[type, ...], where: str) -> None:
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        names = " or ".join(kind.__name__ for kind in types)
        raise GalaxybenchError(f"{where} = {value!r}: must be {names}")


INFO_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "version": (str,),
    "targets": (list,),
    "photometry_bands": (list,),
    "photometry_unit": (str,),
    "image_bands": (list,),
    "pixel_scale_arcsec": (int, float),
    "image_unit": (str,),
    "image_stretch": (list,),
    "wave_start_angstrom": (int, float),
    "wave_step_angstrom": (int, float),
    "n_wave": (int,),
    "split_rule": (str,),
    "licence": (str,),
    "reference": (str,),
    "simulated": (bool,),
    "label_errors": (list,),
    "label_draws": (list,),
    "votes": (dict,),
    "facts": (dict,),
    "files": (dict,),
    "counts": (dict,),
    "catalogue_digest": (str,),
    "split_digest": (str,),
    "label_digest": (str,),
}


def read_info(path: Path) -> SurveyInfo:
    """Read a ``survey.toml``.

    Raises
    ------
    GalaxybenchError
        If the file is no TOML, has an unknown or missing key, or a value of the wrong type.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GalaxybenchError(f"{path} is not valid TOML ({error}): import or build the survey again") from error
    except OSError as error:
        raise GalaxybenchError(f"{path} cannot be read ({error.strerror})") from error
    version = table.pop("format", None)
    if version != FORMAT:
        raise GalaxybenchError(f"{path}: format = {version!r}; this version reads format = {FORMAT}: build it again")
    refuse_unknown_keys(table, INFO_TYPES, str(path))
    for key, value in table.items():
        _refuse_type(value, INFO_TYPES[key], f"{path}: {key}")
    for key in ("name", "version", "targets", "files", "counts", "catalogue_digest", "split_digest"):
        if key not in table:
            raise GalaxybenchError(f"{path}: key {key!r} is missing: import or build the survey again")
    return SurveyInfo(**{key: _from_toml(key, value, path) for key, value in table.items()})


def _from_toml(key: str, value: Any, path: Path) -> Any:
    where = f"{path}: {key}"
    if key == "targets":
        for table in value:
            _refuse_type(table, (dict,), where)
        return tuple(parse_target(table, f"{where} {table.get('name', '')}".rstrip()) for table in value)
    if key in ("photometry_bands", "image_bands", "label_errors", "label_draws"):
        for name in value:
            _refuse_type(name, (str,), where)
        return tuple(value)
    if key == "image_stretch":
        for scale in value:
            _refuse_type(scale, (int, float), where)
        return tuple(float(scale) for scale in value)
    if key == "votes":
        for question, answers in value.items():
            _refuse_type(answers, (list,), f"{where}.{question}")
        return {question: tuple(answers) for question, answers in value.items()}
    if key == "files":
        for name, digest in value.items():
            if not (isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest)):
                raise GalaxybenchError(f"{where}.{name} = {digest!r}: must be a sha256 in hex")
    if key == "counts":
        refuse_unknown_keys(value, SPLITS, where)
        for name, count in value.items():
            _refuse_type(count, (int,), f"{where}.{name}")
    if key == "facts":
        for name, fact in value.items():
            _refuse_type(fact, (str, int, float, bool), f"{where}.{name}")
    return value


def write_info(path: Path, info: SurveyInfo) -> None:
    """Write ``survey.toml``; `read_info` gives the same facts back.

    Raises
    ------
    GalaxybenchError
        If a fact is not text, a number or a truth value.
    """
    plain = {entry.name: getattr(info, entry.name) for entry in fields(SurveyInfo)}
    tables = {key: plain.pop(key) for key in ("targets", "votes", "facts", "files", "counts")}
    lines = [f"format = {FORMAT}"]
    lines += [f"{key} = {_toml(value)}" for key, value in plain.items() if value is not None]
    for target in tables.pop("targets"):
        lines += ["", "[[targets]]"]
        lines += [f"{key} = {_toml(value)}" for key, value in asdict(target).items() if value not in (None, ())]
    if not info.targets:
        lines.insert(1, "targets = []")
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        lines += [f"{_toml(str(key))} = {_toml(value)}" for key, value in table.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: object) -> str:
    """Return a TOML value; Python's float text is TOML's, JSON's strings are TOML's but for DEL."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(entry) for entry in value)}]"
    raise GalaxybenchError(f"{value!r} ({type(value).__name__}): survey.toml holds text, numbers and truth values")

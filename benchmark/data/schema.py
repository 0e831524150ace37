"""What a survey says about itself: ``survey.toml``, read and written strictly."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from benchmark.contracts import GalaxybenchError, Target

__all__ = ["INFO_FILE", "SPLITS", "SurveyInfo", "parse_target", "read_info", "refuse_unknown_keys", "write_info"]

INFO_FILE = "survey.toml"
FORMAT = 1
SPLITS = ("train", "validation", "test", "unlabelled")
RESERVED_COLUMNS = ("target_id", "source_id", "split", "ra", "dec")
PHOTOMETRY_UNITS = ("mag_ab",)
IMAGE_UNITS = ("nanomaggy", "display_uint8")
LOG_BASES = ("10", "e", "none")

Fact = str | int | float | bool


@dataclass(frozen=True)
class SurveyInfo:
    """All facts about a survey that are not one row a galaxy; maps one to one to ``survey.toml``.

    Attributes
    ----------
    name, version : what the survey is called in records and on the board.
    targets : the physical quantities that may be predicted; each is a column of the catalogue.
    photometry_bands : bands with a ``mag_<band>`` column, in the order in which models see them.
    photometry_unit : ``mag_ab``: AB magnitudes, NaN = missing.
    image_bands : the band of each channel of ``images.npy``, in its order.
    pixel_scale_arcsec : arcseconds a pixel.
    image_unit : ``nanomaggy`` (float16 or float32 a pixel) or ``display_uint8`` (0-255 of a JPEG or PNG).
    split_rule : how train, validation and test were made: ``hash``, or a sentence.
    licence, reference : the data's terms and where they come from.
    simulated : True where the galaxies were made by a program.
    votes : question -> answers; columns ``<question>_<answer>`` and ``<question>_total`` count volunteers.
    facts : anything else worth writing down.
    files : file name -> sha256, filled on write.
    counts : split -> number of galaxies, filled on write.
    catalogue_digest, split_digest : sha256 of the catalogue's values and of ids with splits, filled on write.

    Raises
    ------
    GalaxybenchError
        If a unit, name or band is not allowed.
    """

    name: str
    version: str
    targets: tuple[Target, ...]
    photometry_bands: tuple[str, ...] = ()
    photometry_unit: str = "mag_ab"
    image_bands: tuple[str, ...] = ()
    pixel_scale_arcsec: float | None = None
    image_unit: str | None = None
    split_rule: str = "hash"
    licence: str = ""
    reference: str = ""
    simulated: bool = False
    votes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    catalogue_digest: str = ""
    split_digest: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", self.name):
            raise GalaxybenchError(
                f"survey name {self.name!r}: must be letters, digits and . _ + - (it becomes part of file names)"
            )
        _refuse_repeats("targets", [target.name for target in self.targets])
        _refuse_repeats("photometry_bands", self.photometry_bands)
        _refuse_repeats("image_bands", self.image_bands)
        for target in self.targets:
            if target.name in RESERVED_COLUMNS or not target.name.strip():
                raise GalaxybenchError(
                    f"target name {target.name!r}: must not be empty or one of {', '.join(RESERVED_COLUMNS)}; rename it"
                )
        if self.photometry_unit not in PHOTOMETRY_UNITS:
            raise GalaxybenchError(
                f"photometry_unit = {self.photometry_unit!r}: a survey folder stores {', '.join(PHOTOMETRY_UNITS)}; "
                "convert fluxes first"
            )
        if self.image_bands and self.image_unit not in IMAGE_UNITS:
            raise GalaxybenchError(f"image_unit = {self.image_unit!r}: images are in {' or '.join(IMAGE_UNITS)}")
        if not self.image_bands and self.image_unit is not None:
            raise GalaxybenchError(f"image_unit = {self.image_unit!r} but image_bands is empty: name the bands")
        scale = self.pixel_scale_arcsec
        if scale is not None and not (math.isfinite(scale) and scale > 0):
            raise GalaxybenchError(f"pixel_scale_arcsec = {scale}: must be a positive number of arcseconds")

    @property
    def n_galaxies(self) -> int:
        """Rows of the catalogue."""
        return sum(self.counts.values())

    @property
    def vote_columns(self) -> tuple[str, ...]:
        """Columns with counts of volunteers, totals included."""
        return tuple(
            f"{question}_{answer}" for question, answers in self.votes.items() for answer in (*answers, "total")
        )

    @property
    def digest(self) -> str:
        """sha256 of what may move a score: values, units, limits and roles; not of licence, reference or facts."""
        content = {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "targets": [
                {key: value for key, value in asdict(target).items() if key not in ("description", "provenance")}
                for target in self.targets
            ],
            "photometry": [list(self.photometry_bands), self.photometry_unit],
            "images": [list(self.image_bands), self.pixel_scale_arcsec, self.image_unit, self.files.get("images.npy")],
            "votes": {question: list(answers) for question, answers in self.votes.items()},
            "catalogue": self.catalogue_digest,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _refuse_repeats(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise GalaxybenchError(f"{what} names {name!r} twice: name each once")
        seen.add(name)


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
}


def parse_target(table: Mapping[str, Any], where: str) -> Target:
    """Return the target that a TOML table describes.

    Raises
    ------
    GalaxybenchError
        On an unknown key, a wrong type or an unknown log base.
    """
    refuse_unknown_keys(table, TARGET_TYPES, where)
    for key, value in table.items():
        _refuse_type(value, TARGET_TYPES[key], f"{where}: {key}")
    if "name" not in table:
        raise GalaxybenchError(f"{where}: a target without name; add name = ...")
    if table.get("log_base", "none") not in LOG_BASES:
        raise GalaxybenchError(f"{where}: log_base = {table['log_base']!r}; allowed: {', '.join(LOG_BASES)}")
    limits = {key: float(table[key]) for key in ("low", "high") if key in table}
    return Target(**{**table, **limits})


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
    "split_rule": (str,),
    "licence": (str,),
    "reference": (str,),
    "simulated": (bool,),
    "votes": (dict,),
    "facts": (dict,),
    "files": (dict,),
    "counts": (dict,),
    "catalogue_digest": (str,),
    "split_digest": (str,),
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
    if key in ("photometry_bands", "image_bands"):
        for band in value:
            _refuse_type(band, (str,), where)
        return tuple(value)
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
        lines += [f"{key} = {_toml(value)}" for key, value in asdict(target).items() if value is not None]
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

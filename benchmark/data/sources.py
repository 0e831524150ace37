"""One source of an import: its rows as galaxies with ids, positions, magnitudes, targets and votes."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError, UsageError
from benchmark.data.keep import filter_columns, filter_rows
from benchmark.data.schema import SPLITS
from benchmark.data.spec import DEBIASED, FIXED_SPLITS, SourceSpec
from benchmark.data.tables import ColumnKind, integer_ids, named, read_columns, reader_of

__all__ = ["SourcePart", "hash_ids", "inside", "read_source"]

MAG_ZERO_POINT = 22.5  # AB magnitude of one nanomaggy
IMAGE_COLUMN = "image file"  # a space keeps it apart from every catalogue column


@dataclass
class SourcePart:
    """Rows of one source.

    Attributes
    ----------
    table : ``target_id`` and the columns that the source brings; images as a column of paths, `IMAGE_COLUMN`.
    n_read : rows of the file.
    dropped : reason -> rows.
    notes : what else was done to values.
    """

    table: pd.DataFrame
    n_read: int
    dropped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def inside(root: Path, relative: str, where: str) -> Path:
    """Return a path of a spec below the data folder; absolute ones stand as they are.

    Raises
    ------
    GalaxybenchError
        If a relative path climbs out of the data folder.
    """
    if os.path.isabs(relative):
        return Path(relative)
    if os.path.normpath(relative).split(os.sep)[0] == os.pardir:
        raise GalaxybenchError(f"{where} = {relative!r} leaves the data folder {root}: name a path below it")
    return root / os.path.normpath(relative)


def hash_ids(texts: pd.Series, where: str) -> NDArray[np.int64]:
    """Return a positive 63-bit id for each text: the first 8 bytes of its SHA-256, without the sign.

    Raises
    ------
    GalaxybenchError
        If a text is missing, or two different texts have the same id (about 1e-7 likely for 1e6 of them).
    """
    if texts.isna().any() or (texts == "").any():
        raise GalaxybenchError(
            f"{where}: {int((texts.isna() | (texts == '')).sum())} rows have no name to make ids from"
        )
    digests = (hashlib.sha256(str(text).encode()).digest() for text in texts)
    ids = np.array([int.from_bytes(digest[:8], "big") >> 1 for digest in digests], dtype=np.int64)
    if len(np.unique(ids)) != texts.nunique():
        raise GalaxybenchError(f"{where}: two names hash to one id; give integer ids instead")
    return ids


def read_source(source: SourceSpec, root: Path, missing: tuple[float, ...], where: str) -> SourcePart:
    """Read the named columns of one source and apply its row filter, sentinels and units.

    Parameters
    ----------
    source : the table of the spec.
    root : the data folder.
    missing : numbers that mean "no value".
    where : spec and source, for messages.

    Raises
    ------
    UsageError
        If the file does not exist or its format is not read.
    GalaxybenchError
        If a column is missing, ids are repeated or no integers, a split is unknown, or a value is no number.
    """
    path = inside(root, source.path, f"{where}: path")
    if not path.exists():
        raise UsageError(f"{path} does not exist: give the data folder by --data DIR or $GALAXYBENCH_REAL_DATA")
    raw = _read_raw(source, path, where)
    ids = np.arange(raw.n_rows) if source.id == "row" else _ids(source, raw, path)
    part = SourcePart(pd.DataFrame({"target_id": ids}), n_read=raw.n_rows)
    if source.id_hash is not None:
        part.table["source_id"] = raw.text[source.id_hash].astype(str)
    for name, column in _value_columns(source).items():
        part.table[name] = _without_sentinels(raw.number[column].to_numpy(), missing)
    part.table["split"] = _splits(source, raw, path)
    if source.images is not None:
        part.table[IMAGE_COLUMN] = _image_paths(source, raw, part.table, root, where)
    if source.keep is not None:
        kept = filter_rows(source.keep, {name: raw.any[name] for name in filter_columns(source.keep)}, raw.n_rows)
        part.dropped[f"keep = {source.keep}"] = int((~kept).sum())
        part.table = part.table[kept].reset_index(drop=True)
    repeated = part.table["target_id"][part.table["target_id"].duplicated()].unique()
    if len(repeated):
        raise GalaxybenchError(f"{path}: ids {named(repeated)} appear more than once; filter with keep, or repair it")
    _convert_photometry(source, part)
    _count_votes(source, part)
    return part


@dataclass(frozen=True)
class _Raw:
    """Columns of a file by what they are read as; one column may be read as several kinds."""

    n_rows: int
    text: pd.DataFrame
    number: pd.DataFrame
    any: pd.DataFrame


def _value_columns(source: SourceSpec) -> dict[str, str]:
    """Catalogue column -> column of the source, of everything that is a number."""
    return {
        **{name: column for name, column in (("ra", source.ra), ("dec", source.dec)) if column is not None},
        **source.targets,
        **{f"mag_{band}": column for band, column in source.photometry.items()},
        **{f"mag_err_{band}": column for band, column in source.photometry_error.items()},
        **source.votes,
    }


def _read_raw(source: SourceSpec, path: Path, where: str) -> _Raw:
    texts = [source.id if source.id != "row" else None, source.id_hash]
    if source.split not in FIXED_SPLITS:
        texts.append(source.split)
    if source.images is not None:
        texts += [name for name in source.images.fields if name not in ("target_id", "source_id")]
    wanted: dict[ColumnKind, list[str]] = {
        "text": [name for name in dict.fromkeys(texts) if name is not None],
        "number": list(dict.fromkeys(_value_columns(source).values())),
        "any": list(filter_columns(source.keep)) if source.keep is not None else [],
    }
    reader = reader_of(path, source.format)
    read = {kind: read_columns(path, dict.fromkeys(names, kind), reader) for kind, names in wanted.items() if names}
    if not read:
        raise GalaxybenchError(f"{where}: names no column of {path}; add targets, photometry, votes or an id")
    n_rows = len(next(iter(read.values())))
    return _Raw(n_rows, **{kind: read.get(kind, pd.DataFrame(index=range(n_rows))) for kind in wanted})


def _ids(source: SourceSpec, raw: _Raw, path: Path) -> NDArray[np.int64]:
    if source.id_hash is not None:
        return hash_ids(raw.text[source.id_hash], f"{path}: column {source.id_hash!r}")
    return integer_ids(raw.text[source.id], f"{path}: column {source.id!r}")


def _without_sentinels(values: NDArray[np.float64], missing: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the values with NaN for sentinels, also where the file holds them in single precision."""
    marks = {mark for value in missing for mark in (value, float(np.float32(value)))}
    return np.where(np.isin(values, sorted(marks)), np.nan, values) if marks else values.copy()


def _splits(source: SourceSpec, raw: _Raw, path: Path) -> NDArray:
    """Return the split of each row; None where ids decide."""
    if source.split in FIXED_SPLITS:
        return np.full(raw.n_rows, None if source.split == "hash" else source.split, dtype=object)
    values = raw.text[source.split].fillna("").astype(str).to_numpy(dtype=object)
    unknown = sorted(set(values) - set(SPLITS))
    if unknown:
        raise GalaxybenchError(
            f"{path}: column {source.split!r} has {named(map(repr, unknown))}: splits are {', '.join(SPLITS)}"
        )
    return values


def _image_paths(source: SourceSpec, raw: _Raw, table: pd.DataFrame, root: Path, where: str) -> list[str]:
    assert source.images is not None  # asked by the caller
    fields = source.images.fields
    if "source_id" in fields and source.id_hash is None:
        raise GalaxybenchError(
            f"{where}: images: {{source_id}} exists only with id = {{hash = ...}}; use {{target_id}}"
        )
    folder = inside(root, source.images.folder, f"{where}: images: folder")
    columns: Mapping[str, list[str]] = {
        name: (table[name] if name in ("target_id", "source_id") else raw.text[name]).astype(str).tolist()
        for name in fields
    }
    names = [source.images.name.format_map(dict(zip(fields, values))) for values in zip(*columns.values())]
    for galaxy, name in zip(table["target_id"], names):
        inside(folder, name, f"{where}: image of {galaxy}")
        if os.path.isabs(name):
            raise GalaxybenchError(f"{where}: image of {galaxy} = {name!r} leaves its folder {folder}")
    return [str(folder / name) for name in names]


def _convert_photometry(source: SourceSpec, part: SourcePart) -> None:
    """Turn nanomaggies into AB magnitudes, m = 22.5 - 2.5 log10 f, and errors by error propagation."""
    if source.photometry_unit != "nanomaggy":
        return
    for band in source.photometry:
        flux = part.table[f"mag_{band}"].to_numpy()
        dark = flux <= 0
        if dark.any():
            part.notes.append(f"{band}: {int(dark.sum())} fluxes of zero or less have no magnitude: missing")
        flux = np.where(dark, np.nan, flux)
        part.table[f"mag_{band}"] = MAG_ZERO_POINT - 2.5 * np.log10(flux)
        if band in source.photometry_error:
            part.table[f"mag_err_{band}"] = 2.5 / np.log(10) * part.table[f"mag_err_{band}"] / flux


def _count_votes(source: SourceSpec, part: SourcePart) -> None:
    """Add ``<question>_total``, the sum over the question's answers, where the source brings none."""
    answers: dict[str, list[str]] = {}
    for key in source.votes:
        if not key.endswith((DEBIASED, "_total")):
            answers.setdefault(key.partition("_")[0], []).append(key)
    for question, columns in answers.items():
        if f"{question}_total" not in source.votes:
            part.table[f"{question}_total"] = part.table[columns].sum(axis=1, min_count=1)

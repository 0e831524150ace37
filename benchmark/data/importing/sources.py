"""One source of an import: its rows as galaxies with ids, positions, magnitudes, targets and votes."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError, Target
from benchmark.data.classes import class_numbers
from benchmark.data.importing.cutouts import ImageSource
from benchmark.data.importing.draws import DrawSource
from benchmark.data.importing.keep import filter_columns, filter_rows
from benchmark.data.importing.photometry import convert_photometry
from benchmark.data.importing.pixelspec import fields_of
from benchmark.data.importing.rows import StackedRows
from benchmark.data.importing.sourcefiles import RawColumns, inside, read_pieces, source_files
from benchmark.data.importing.spec import DEBIASED, FIXED_SPLITS, SourceSpec
from benchmark.data.importing.spectra import SpectrumSource
from benchmark.data.schema import SPLITS
from benchmark.data.tables import ColumnKind, TableFile, integer_ids, named, reader_of

__all__ = ["DRAW_ROW", "IMAGE_ROW", "MATCH_DEC", "MATCH_RA", "SPECTRUM_ROW", "SourcePart", "hash_ids", "read_source"]

# a space keeps these apart from every catalogue column
IMAGE_ROW, SPECTRUM_ROW, DRAW_ROW = "image row", "spectrum row", "draw row"
MATCH_RA, MATCH_DEC = "match ra", "match dec"


@dataclass
class SourcePart:
    """Rows of one source.

    Attributes
    ----------
    table : ``target_id`` (but where rows are matched by position) and the columns that the source brings; `IMAGE_ROW`,
        `SPECTRUM_ROW` and `DRAW_ROW` are rows of its images, spectra and label draws.
    n_read : rows of the files.
    dropped : reason -> rows.
    notes : what else was done to values.
    images, spectra, draws : where their arrays lie.
    """

    table: pd.DataFrame
    n_read: int
    dropped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    images: ImageSource | None = None
    spectra: SpectrumSource | None = None
    draws: DrawSource | None = None


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
    """Read the named columns of one source and apply its row filters, sentinels and units.

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
        If a column is missing or has no value, ids are repeated or no integers, a split is unknown, or a value is no
        number.
    """
    files = source_files(source, root, where)
    raw = read_pieces(source, files, _wanted(source), where)
    label = str(files[0]) if len(files) == 1 else f"{inside(root, source.path, where)} ({len(files)} tables)"
    part = SourcePart(_numbers(source, raw, missing, label), n_read=raw.n_rows)
    part.table["split"] = _splits(source, raw, label)
    _add_pixels(source, part, raw, files, root, where)
    if source.draws:
        part.table[DRAW_ROW] = np.arange(raw.n_rows)
        part.draws = DrawSource.of(source, files, raw.lengths, missing, label)
    _apply_filters(source, part, raw)
    if source.match is None:
        ids = part.table["target_id"]
        repeated = ids[ids.duplicated()].unique()
        if len(repeated):
            raise GalaxybenchError(
                f"{label}: ids {named(repeated)} appear more than once; filter with keep, or repair it"
            )
    _refuse_empty_columns(source, part, label)
    _clean_errors(source, part)
    convert_photometry(source, part.table, part.notes, label)
    _count_votes(source, part)
    return part


def _value_columns(source: SourceSpec) -> dict[str, str]:
    """Catalogue column -> column of the source, of everything that is a number."""
    match = source.match
    return {
        **{name: column for name, column in (("ra", source.ra), ("dec", source.dec)) if column is not None},
        **({MATCH_RA: match.ra, MATCH_DEC: match.dec} if match is not None else {}),
        **source.targets,
        **{f"{name}_err": column for name, column in source.errors.items()},
        **{f"mag_{band}": column for band, column in source.photometry.items()},
        **{f"mag_err_{band}": column for band, column in source.photometry_error.items()},
        **{f"mag_err_{band}": column for band, column in source.photometry_ivar.items()},
        **{f"transmission {band}": column for band, column in source.photometry_transmission.items()},
        **source.votes,
    }


def _wanted(source: SourceSpec) -> dict[ColumnKind, list[str]]:
    """Columns of the source by what they are read as; one may be read as several kinds."""
    texts: list[str] = [source.id] if source.id not in (None, "row") else []
    texts += _hash_fields(source)
    if source.split not in FIXED_SPLITS:
        texts.append(source.split)
    for pixels in (source.images, source.spectra):
        if pixels is not None:
            texts += [name for name in pixels.fields if name not in ("target_id", "source_id")]
    filtered = [name for condition in source.keep for name in filter_columns(condition)]
    classed = _classed(source)
    filtered += [source.targets[name] for name in classed]
    numbers = [column for name, column in _value_columns(source).items() if name not in classed]
    wanted: dict[ColumnKind, list[str]] = {"text": texts, "number": numbers, "any": filtered}
    return {kind: list(dict.fromkeys(names)) for kind, names in wanted.items()}


def _classed(source: SourceSpec) -> dict[str, Target]:
    """Targets with classes, whose columns may hold the names of these."""
    return {target.name: target for target in source.target_facts if target.classes}


def _hash_fields(source: SourceSpec) -> list[str]:
    """Columns from which ids are hashed: one, or those in braces."""
    return list(fields_of(source.id_hash) or (source.id_hash,)) if source.id_hash is not None else []


def _numbers(source: SourceSpec, raw: RawColumns, missing: tuple[float, ...], label: str) -> pd.DataFrame:
    table: dict[str, NDArray | pd.Series] = {}
    if source.id_hash is not None:
        names = raw.text[source.id_hash] if source.id_hash in raw.text else _formatted(source.id_hash, raw.text)
        table["target_id"] = hash_ids(names, f"{label}: column {source.id_hash!r}")
        table["source_id"] = names.astype(str)
    elif source.id == "row":
        table["target_id"] = np.arange(raw.n_rows)
    elif source.id is not None:
        table["target_id"] = integer_ids(raw.text[source.id], f"{label}: column {source.id!r}")
    classed = _classed(source)
    for name, column in _value_columns(source).items():
        if name in classed:
            values = class_numbers(raw.any[column], classed[name], f"{label}: column {column!r}")
        else:
            values = raw.number[column].to_numpy()
        table[name] = _without_sentinels(values, missing)
    return pd.DataFrame(table, index=range(raw.n_rows))


def _formatted(pattern: str, columns: Mapping[str, Iterable] | pd.DataFrame) -> pd.Series:
    """A text for each row, from a pattern with columns in braces."""
    fields = fields_of(pattern)
    values = zip(*(pd.Series(columns[name]).astype(str).tolist() for name in fields))
    return pd.Series([pattern.format_map(dict(zip(fields, row))) for row in values], dtype=object)


def _apply_filters(source: SourceSpec, part: SourcePart, raw: RawColumns) -> None:
    kept = np.ones(raw.n_rows, dtype=bool)
    for condition in source.keep:
        passed = filter_rows(condition, {name: raw.any[name] for name in filter_columns(condition)}, raw.n_rows)
        part.dropped[f"keep = {condition}"] += int((kept & ~passed).sum())
        kept &= passed
    if not kept.all():
        part.table = part.table[kept].reset_index(drop=True)


def _refuse_empty_columns(source: SourceSpec, part: SourcePart, label: str) -> None:
    for name, column in _value_columns(source).items():
        if len(part.table) and part.table[name].isna().all():
            raise GalaxybenchError(
                f"{label}: column {column!r} has no value in any of {len(part.table)} rows: "
                "check the column, keep and missing, or leave it out"
            )


def _without_sentinels(values: NDArray[np.float64], missing: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the values with NaN for sentinels, also where the file holds them in single precision."""
    marks = {mark for value in missing for mark in (value, float(np.float32(value)))}
    return np.where(np.isin(values, sorted(marks)), np.nan, values) if marks else values.copy()


def _splits(source: SourceSpec, raw: RawColumns, label: str) -> NDArray:
    """Return the split of each row; None where ids decide."""
    if source.split in FIXED_SPLITS:
        return np.full(raw.n_rows, None if source.split == "hash" else source.split, dtype=object)
    values = raw.text[source.split].fillna("").astype(str).to_numpy(dtype=object)
    unknown = sorted(set(values) - set(SPLITS))
    if unknown:
        raise GalaxybenchError(
            f"{label}: column {source.split!r} has {named(map(repr, unknown))}: splits are {', '.join(SPLITS)}"
        )
    return values


def _add_pixels(
    source: SourceSpec, part: SourcePart, raw: RawColumns, files: list[TableFile], root: Path, where: str
) -> None:
    """Say where the images and spectra of each row lie."""
    reader = reader_of(files[0].path, source.format).name
    if source.images is not None:
        part.table[IMAGE_ROW] = np.arange(raw.n_rows)
        images = source.images
        if images.column is None:
            names = _file_names(source, raw, part.table, root, images.folder or "", images.name or "", where, "image")
            part.images = ImageSource(images, names=names)
        elif images.file is None:
            part.images = ImageSource(images, arrays=StackedRows(files, raw.lengths, images.column, reader))
        else:
            path = inside(root, images.file, f"{where}: images: file")
            beside = StackedRows([TableFile(path)], [raw.n_rows], images.column, reader_of(path).name)
            part.images = ImageSource(images, arrays=beside)
    if source.spectra is not None:
        part.table[SPECTRUM_ROW] = np.arange(raw.n_rows)
        spectra = source.spectra
        if spectra.name is not None:
            names = _file_names(source, raw, part.table, root, spectra.folder or "", spectra.name, where, "spectrum")
            part.spectra = SpectrumSource(spectra, where, names=names)
        else:
            arrays = {name: StackedRows(files, raw.lengths, name, reader) for name in spectra.columns}
            part.spectra = SpectrumSource(spectra, str(inside(root, source.path, where)), arrays=arrays)


def _file_names(
    source: SourceSpec, raw: RawColumns, table: pd.DataFrame, root: Path, folder: str, name: str, where: str, what: str
) -> list[str]:
    """The file of each row's image or spectrum."""
    fields = fields_of(name)
    if "source_id" in fields and source.id_hash is None:
        raise GalaxybenchError(
            f"{where}: {what}s: {{source_id}} exists only with id = {{hash = ...}}; use {{target_id}}"
        )
    place = inside(root, folder, f"{where}: {what}s: folder")
    columns = {field: table[field] if field in ("target_id", "source_id") else raw.text[field] for field in fields}
    names = _formatted(name, columns)
    labels = table.get("target_id", names)
    for galaxy, file in zip(labels, names):
        inside(place, file, f"{where}: {what} of {galaxy}")
        if os.path.isabs(file):
            raise GalaxybenchError(f"{where}: {what} of {galaxy} = {file!r} leaves its folder {place}")
    return [str(place / file) for file in names]


def _clean_errors(source: SourceSpec, part: SourcePart) -> None:
    """Errors that are none, such as the 0 or -1 of a fit that failed, become missing and are counted."""
    for name in source.errors:
        error = part.table[f"{name}_err"]
        wrong = (error <= 0) | np.isinf(error)
        if wrong.any():
            part.notes.append(f"{name}: {int(wrong.sum())} errors of zero or less, or infinite: missing")
            part.table[f"{name}_err"] = error.mask(wrong)


def _count_votes(source: SourceSpec, part: SourcePart) -> None:
    """Add ``<question>_total``, the sum over the question's answers, where the source brings none."""
    answers: dict[str, list[str]] = {}
    for key in source.votes:
        if not key.endswith((DEBIASED, "_total")):
            answers.setdefault(key.partition("_")[0], []).append(key)
    for question, columns in answers.items():
        if f"{question}_total" not in source.votes:
            part.table[f"{question}_total"] = part.table[columns].sum(axis=1, min_count=1)

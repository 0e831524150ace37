"""The files and tables of a source, and its columns over all of them."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError, UsageError
from benchmark.data.importing.formula import evaluate, formula_columns
from benchmark.data.importing.spec import SourceSpec
from benchmark.data.tables import (
    ColumnKind,
    TableFile,
    TableReader,
    listed,
    read_columns,
    reader_of,
    refuse_unknown_columns,
    row_array,
)

__all__ = ["RawColumns", "inside", "read_pieces", "source_files"]

WILD = re.compile(r"[*?\[]")
ROWS_AT_ONCE = 1024  # of an array column that a formula reads
OF_THE_FILE = ("file", "stem")  # every row's file name, where its table has no such column


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


@dataclass(frozen=True)
class RawColumns:
    """Columns of all tables of a source by what they are read as.

    Attributes
    ----------
    lengths : rows of each table.
    text, number, any : the columns.
    """

    lengths: tuple[int, ...]
    text: pd.DataFrame
    number: pd.DataFrame
    any: pd.DataFrame

    @property
    def n_rows(self) -> int:
        """Rows of all tables."""
        return sum(self.lengths)


def source_files(source: SourceSpec, root: Path, where: str) -> list[TableFile]:
    """Return the tables that ``path`` and ``table`` name, files by name, tables in the order of the file.

    Raises
    ------
    UsageError
        If there is no such file, or its format is not read.
    GalaxybenchError
        If the path leaves the data folder, or no table has such a name.
    """
    path = inside(root, source.path, f"{where}: path")
    hint = "give the data folder by --data DIR or $GALAXYBENCH_REAL_DATA"
    if WILD.search(source.path) and not path.exists():
        if os.path.isabs(source.path):
            raise GalaxybenchError(f"{where}: path = {source.path!r}: a pattern must be relative to the data folder")
        paths = sorted(root.glob(source.path))
        if not paths:
            raise UsageError(f"{path}: no file has such a name; {hint}")
    else:
        paths = [path]
        if not path.exists():
            raise UsageError(f"{path} does not exist: {hint}")
    return [file for found in paths for file in _tables(found, source, where)]


def _tables(path: Path, source: SourceSpec, where: str) -> list[TableFile]:
    if source.table is None:
        return [TableFile(path)]
    reader = reader_of(path, source.format)
    if reader.tables is None:
        raise GalaxybenchError(f"{where}: table = {source.table!r}: {reader.name} files are one table; leave it out")
    if not WILD.search(source.table):
        return [TableFile(path, source.table)]
    present = reader.tables(path)
    chosen = [name for name in present if fnmatch.fnmatchcase(name, source.table)]
    if not chosen:
        raise GalaxybenchError(f"{path} has no table like {source.table!r}; tables: {listed(present)}")
    return [TableFile(path, name) for name in sorted(chosen, key=_natural)]


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key by which group 10 comes after group 9."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part]


def read_pieces(
    source: SourceSpec, files: list[TableFile], wanted: Mapping[ColumnKind, list[str]], where: str
) -> RawColumns:
    """Read columns of every table of a source and put them together.

    Parameters
    ----------
    source, files : the source and its tables.
    wanted : kind -> columns of the tables, computed ones among them.
    where : for messages.

    Raises
    ------
    GalaxybenchError
        If a column is missing or has the wrong kind of values, or a file cannot be read.
    """
    pieces = [_read_piece(source, file, wanted, where) for file in files]
    lengths = tuple(n_rows for n_rows, _ in pieces)
    frames: dict[str, pd.DataFrame] = {}
    for kind, names in wanted.items():
        parts = [columns[kind] for _, columns in pieces]
        whole = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
        frames[kind] = whole if names else pd.DataFrame(index=range(sum(lengths)))
    return RawColumns(lengths, **frames)


def _read_piece(
    source: SourceSpec, file: TableFile, wanted: Mapping[ColumnKind, list[str]], where: str
) -> tuple[int, dict[str, pd.DataFrame]]:
    reader = reader_of(file.path, source.format)
    present = reader.columns(file)
    frames: dict[str, pd.DataFrame] = {}
    own: dict[str, list[str]] = {}
    for kind, names in wanted.items():
        own[kind] = [name for name in names if name in OF_THE_FILE and name not in present]
        stored = [name for name in names if name not in source.columns and name not in own[kind]]
        if stored:
            frames[kind] = read_columns(file, dict.fromkeys(stored, kind), reader)
    computed = [name for name in source.columns if any(name in names for names in wanted.values())]
    formulas = {name: _computed(source.columns[name], file, reader, present) for name in computed}
    lengths = {len(frame) for frame in frames.values()} | {len(values) for values in formulas.values()}
    if not lengths and present and any(own.values()):
        lengths = {len(reader.read(file, {present[0]: "any"}))}
    if not lengths:
        raise GalaxybenchError(f"{where}: names no column of {file}; add targets, photometry, votes or an id")
    n_rows = lengths.pop()
    for kind, names in wanted.items():
        frame = frames.get(kind, pd.DataFrame(index=range(n_rows)))
        for name in names:
            if name in formulas:
                frame[name] = formulas[name]
            elif name in own[kind]:
                frame[name] = file.path.name if name == "file" else file.path.name.partition(".")[0]
        frames[kind] = frame[names]
    return n_rows, frames


def _computed(formula: str, file: TableFile, reader: TableReader, present: tuple[str, ...]) -> NDArray[np.float64]:
    """The values of one computed column; arrays are read a part of the rows at a time."""
    columns = formula_columns(formula)
    refuse_unknown_columns(file, columns, present, caseless=reader.caseless)
    scalars: dict[str, ColumnKind] = {name: "number" for name, is_array in columns.items() if not is_array}
    read = read_columns(file, scalars, reader) if scalars else pd.DataFrame()
    table = {name: read[name].to_numpy() for name in scalars}
    arrays = {name: row_array(file, name, reader) for name, is_array in columns.items() if is_array}
    try:
        n_rows = len(next(iter(arrays.values()))) if arrays else len(read)
        parts = []
        for start in range(0, n_rows, ROWS_AT_ONCE if arrays else max(n_rows, 1)):
            rows = range(start, min(start + (ROWS_AT_ONCE if arrays else n_rows), n_rows))
            chunk = {name: values[rows.start : rows.stop] for name, values in table.items()}
            for name, array in arrays.items():
                chunk[name] = _stacked([array.row(row) for row in rows], f"{file}: column {name!r}")
            parts.append(evaluate(formula, chunk))
        return np.concatenate(parts) if parts else np.empty(0)
    finally:
        for array in arrays.values():
            array.close()


def _stacked(rows: list[NDArray], where: str) -> NDArray[np.float64]:
    shapes = {row.shape for row in rows}
    if len(shapes) > 1 or rows[0].dtype.kind not in "fiub":
        raise GalaxybenchError(f"{where} has arrays of shapes {sorted(shapes)}: a formula needs numbers of one shape")
    return np.stack(rows).astype(np.float64)

"""Tables of galaxies in any format that is read: which columns there are, and some of them as typed columns.

A format is one file in ``benchmark/data/readers`` with a `TableReader` named ``READER``; the folder is scanned.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError, UsageError
from benchmark.registry import Registry

__all__ = ["READERS", "ColumnKind", "TableReader", "integer_ids", "named", "read_columns", "reader_of"]

ColumnKind = Literal["text", "number", "any"]
EXAMPLES = 5
LARGEST_ID = np.iinfo(np.int64).max


@dataclass(frozen=True)
class TableReader:
    """How one format is read.

    Attributes
    ----------
    name : what ``format = `` calls it.
    suffixes : lower-case ends of file names that choose it; ``/`` stands for a folder.
    columns : names of the columns of a file, in its order.
    read : some columns of a file by what they are to be: ``text`` (ids among them: digits survive, missing is None),
        ``number`` (float64, missing is NaN) or ``any`` (numbers where every value is one, else text).
    vectors : a column with one vector a row, as (n, d); None where the format has no such columns.
    """

    name: str
    suffixes: tuple[str, ...]
    columns: Callable[[Path], tuple[str, ...]]
    read: Callable[[Path, Mapping[str, ColumnKind]], pd.DataFrame]
    vectors: Callable[[Path, str], NDArray] | None = None


READERS: Registry[TableReader] = Registry("format", "benchmark.data.readers", "READER")


def reader_of(path: Path, format_name: str | None = None) -> TableReader:
    """Return the reader of a file, by name or else by the end of its name.

    Raises
    ------
    UsageError
        If the file does not exist or no reader knows the format.
    """
    if not path.exists():
        raise UsageError(f"{path} does not exist: check the path and the data folder")
    if format_name is not None:
        known = [reader.name for reader in READERS]
        if format_name not in known:
            raise UsageError(f"{path}: format {format_name!r} is not read; formats: {', '.join(known)}")
        return READERS[format_name]
    for reader in READERS:
        if any((path.is_dir() and end == "/") or path.name.lower().endswith(end) for end in reader.suffixes):
            return reader
    known = [f"{reader.name} ({', '.join(reader.suffixes)})" for reader in READERS]
    raise UsageError(f"{path}: no reader for this kind of file; formats: {', '.join(known)}")


def read_columns(path: Path, kinds: Mapping[str, ColumnKind], reader: TableReader) -> pd.DataFrame:
    """Return some columns of a file, after checking that they are there once.

    Raises
    ------
    GalaxybenchError
        If a column is missing or doubled, or the file cannot be read.
    """
    present = reader.columns(path)
    for name in kinds:
        if name not in present:
            near = difflib.get_close_matches(name, present, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise GalaxybenchError(f"{path} has no column {name!r}{hint}; columns: {listed(present)}")
        if present.count(name) > 1:
            raise GalaxybenchError(f"{path} has column {name!r} {present.count(name)} times: rename all but one")
    return reader.read(path, kinds)


def listed(names: Iterable[str], most: int = 40) -> str:
    """Return names for a message, cut where there are very many."""
    entries = list(names)
    return ", ".join(entries[:most]) + (f", ... ({len(entries)} in all)" if len(entries) > most else "")


def named(values: Iterable[object]) -> str:
    """Return the first values and the count, for messages: ``3, 5, 9 (3 in all)``."""
    entries = [str(value) for value in values]
    dots = ", ..." if len(entries) > EXAMPLES else ""
    return f"{', '.join(entries[:EXAMPLES])}{dots} ({len(entries)} in all)"


def integer_ids(column: pd.Series | NDArray, where: str) -> NDArray[np.int64]:
    """Return ids as int64, never through a float.

    Parameters
    ----------
    column : integers or text.
    where : file and column, for the message.

    Raises
    ------
    GalaxybenchError
        If an id is missing, no integer, written as a float (it may have lost digits) or too large for int64.
    """
    if pd.api.types.is_integer_dtype(column.dtype) and not pd.isna(column).any():
        values = np.asarray(column)
        if values.dtype.kind == "u" and values.size and values.max() > LARGEST_ID:
            raise GalaxybenchError(f"{where}: id {values.max()} does not fit int64; hash the ids instead")
        return values.astype(np.int64)
    if pd.api.types.is_float_dtype(column.dtype):
        raise GalaxybenchError(
            f"{where}: ids are floats ({column.dtype}), which lose digits above 2^53; store them as integers or text"
        )
    texts = ["" if pd.isna(value) else str(value).strip() for value in column]
    wrong = [(row, text) for row, text in enumerate(texts) if not re.fullmatch(r"[+-]?[0-9]{1,19}", text)]
    if wrong:
        rows = named(f"{text!r} in row {row}" for row, text in wrong)
        raise GalaxybenchError(f"{where}: {rows} must be whole numbers; floats lose digits, other names can be hashed")
    try:
        return np.array([int(text) for text in texts], dtype=np.int64)
    except OverflowError as error:
        raise GalaxybenchError(f"{where}: an id does not fit int64; hash the ids instead") from error

"""Tables of galaxies in any format that is read: which columns there are, and some of them as typed columns.

A format is one file in ``benchmark/data/readers`` with a `TableReader` named ``READER``; the folder is scanned.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError, UsageError
from benchmark.registry import Registry

__all__ = [
    "READERS",
    "ColumnKind",
    "RowArray",
    "TableFile",
    "TableReader",
    "integer_ids",
    "named",
    "read_columns",
    "reader_of",
    "refuse_unknown_columns",
    "row_array",
    "typed_column",
]

ColumnKind = Literal["text", "number", "any"]
EXAMPLES = 5
LARGEST_ID = np.iinfo(np.int64).max


@dataclass(frozen=True)
class TableFile:
    """A file, and which of its tables is meant: a FITS extension, an HDF5 group; None where it holds one."""

    path: Path
    table: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.table is None else f"{self.path} [{self.table}]"


class RowArray(Protocol):
    """A column with an array a row, read one row at a time.

    ``whole`` is the column itself where it has one axis: a grid that all rows share, or a file that is one galaxy.
    """

    def __len__(self) -> int: ...

    @property
    def row_shape(self) -> tuple[int, ...] | None:
        """Shape of every row; None where rows differ."""
        ...

    @property
    def whole(self) -> NDArray | None: ...

    def row(self, index: int) -> NDArray: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class TableReader:
    """How one format is read.

    Attributes
    ----------
    name : what ``format = `` calls it.
    suffixes : lower-case ends of file names that choose it; ``/`` stands for a folder.
    columns : names of the columns of a table, in its order.
    read : some columns of a table by what they are to be: ``text`` (ids among them: digits survive, missing is None),
        ``number`` (float64, missing is NaN) or ``any`` (numbers where every value is one, else text).
    rows : a column with an array a row, opened; None where the format has no such columns.
    vectors : a column with one vector a row, read at once as (n, d); None where reading its rows is as good.
    tables : names of the tables of a file, in its order; None where a file is one table.
    claims : whether a folder is of this format; None where the name tells.
    caseless : names of columns that differ in upper and lower case only are the same, as FITS has it.
    """

    name: str
    suffixes: tuple[str, ...]
    columns: Callable[[TableFile], tuple[str, ...]]
    read: Callable[[TableFile, Mapping[str, ColumnKind]], pd.DataFrame]
    rows: Callable[[TableFile, str], RowArray] | None = None
    vectors: Callable[[TableFile, str], NDArray] | None = None
    tables: Callable[[Path], tuple[str, ...]] | None = None
    claims: Callable[[Path], bool] | None = None
    caseless: bool = False


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
        if path.is_dir() and "/" in reader.suffixes:
            if reader.claims is None or reader.claims(path):
                return reader
        elif any(path.name.lower().endswith(end) for end in reader.suffixes):
            return reader
    known = [f"{reader.name} ({', '.join(reader.suffixes)})" for reader in READERS]
    raise UsageError(f"{path}: no reader for this kind of file; formats: {', '.join(known)}")


def read_columns(file: TableFile, kinds: Mapping[str, ColumnKind], reader: TableReader) -> pd.DataFrame:
    """Return some columns of a table, after checking that they are there once.

    Raises
    ------
    GalaxybenchError
        If a column is missing or doubled, or the file cannot be read.
    """
    refuse_unknown_columns(file, kinds, reader.columns(file), caseless=reader.caseless)
    return reader.read(file, kinds)


def refuse_unknown_columns(
    file: TableFile, wanted: Iterable[str], present: tuple[str, ...], *, caseless: bool = False
) -> None:
    """Raise where a column is missing or doubled, with the nearest name; ``caseless`` as in `TableReader`.

    Raises
    ------
    GalaxybenchError
        On the first such column.
    """
    known = [name.lower() for name in present] if caseless else list(present)
    for given in wanted:
        name = given.lower() if caseless else given
        if name not in known:
            near = difflib.get_close_matches(given, present, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise GalaxybenchError(f"{file} has no column {given!r}{hint}; columns: {listed(present)}")
        if known.count(name) > 1:
            raise GalaxybenchError(f"{file} has column {given!r} {known.count(name)} times: rename all but one")


def row_array(file: TableFile, name: str, reader: TableReader) -> RowArray:
    """Open a column with an array a row.

    Raises
    ------
    GalaxybenchError
        If the format has no such columns, or the file has no column of that name.
    """
    if reader.rows is None:
        raise GalaxybenchError(f"{file}: {reader.name} has no arrays: column {name!r} cannot hold pixels")
    return reader.rows(file, name)


def typed_column(
    values: NDArray, kind: ColumnKind, where: str, missing: NDArray[np.bool_] | None = None
) -> NDArray | pd.Series:
    """Return a column of a binary file as text, number or either, in the machine's byte order.

    Parameters
    ----------
    values : (n,) or (n, 1).
    kind : what it is to be.
    where : file and column, for the message.
    missing : (n,) True where the file says that there is no value.

    Raises
    ------
    GalaxybenchError
        If the column holds arrays, floats where text or ids are asked for, or no numbers where they are.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise GalaxybenchError(
            f"{where} has an array of shape {values.shape[1:]} a row: take one by columns = {{name = 'column[0]'}}"
        )
    gaps = missing if missing is not None and missing.any() else None
    if values.dtype.kind in "SUO":
        if kind == "number":
            raise GalaxybenchError(f"{where} holds text ({values.dtype}): must be numbers")
        texts = pd.Series([_text(value, where) for value in values], dtype=object)
        return texts if gaps is None else texts.mask(gaps)
    if values.dtype.kind not in "biuf":
        raise GalaxybenchError(f"{where} has type {values.dtype}: must be numbers or text")
    native = values.astype(values.dtype.newbyteorder("="))
    if kind == "text":
        if native.dtype.kind == "f":
            raise GalaxybenchError(
                f"{where} holds floats ({native.dtype}), which lose digits above 2^53; store integers or text"
            )
        return native if gaps is None else pd.Series(native.astype(str), dtype=object).mask(gaps)
    if kind == "any" and gaps is None:
        return native
    numbers = native.astype(np.float64)
    return numbers if gaps is None else np.where(gaps, np.nan, numbers)


def _text(value: object, where: str) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8").rstrip()
        except UnicodeDecodeError as error:
            raise GalaxybenchError(f"{where} holds bytes that are no text ({value[:20]!r})") from error
    if isinstance(value, str):
        return value.rstrip()
    raise GalaxybenchError(
        f"{where} holds {type(value).__name__} objects: must be numbers or text; objects are not read"
    )


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

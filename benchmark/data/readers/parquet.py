"""Parquet tables, also with arrays in list columns and with fields of structs, named ``spectrum.flux``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError
from benchmark.data.arrow import column_names, field_of, outer_column, row_value, typed
from benchmark.data.tables import ColumnKind, TableFile, TableReader, refuse_unknown_columns

__all__ = ["READER"]


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _columns(file: TableFile) -> tuple[str, ...]:
    with _open(file.path) as stream:
        # pandas writes its row numbers as a column of their own where they are not 0, 1, 2, ...
        names = column_names(stream.schema_arrow)
        return tuple(name for name in names if not re.fullmatch(r"__index_level_\d+__", name))


def _read(file: TableFile, kinds: Mapping[str, ColumnKind]) -> pd.DataFrame:
    columns = {name: typed(_load(file.path, name), kind, f"{file}: column {name!r}") for name, kind in kinds.items()}
    return pd.DataFrame(columns)


def _load(path: Path, name: str, group: int | None = None) -> pa.ChunkedArray:
    """One column, of the whole file or of one row group."""
    with _open(path) as file:
        try:
            # the leaf alone where Parquet knows it by this name; a list of structs is read with all of its fields
            leaves = [file.schema.column(leaf).path for leaf in range(len(file.schema))]
            known = any(leaf == name or leaf.startswith(f"{name}.") for leaf in leaves)
            wanted = name if known else outer_column(file.schema_arrow.names, name)
            table = file.read(columns=[wanted]) if group is None else file.read_row_group(group, columns=[wanted])
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error
    return field_of(table, name)


def _vectors(file: TableFile, name: str) -> NDArray:
    path = file.path
    column = _load(path, name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # pyarrow before 19 gives back no array where there were no rows
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    of = pa.types
    if not (of.is_list(column.type) or of.is_large_list(column.type) or of.is_fixed_size_list(column.type)):
        raise GalaxybenchError(f"{path}: column {name!r} has type {column.type}: must be a list of numbers a row")
    lengths = np.unique(pc.list_value_length(column).to_numpy(zero_copy_only=False))
    if column.null_count or len(lengths) != 1:
        raise GalaxybenchError(f"{path}: column {name!r} must hold vectors of one length, none missing")
    values = column.flatten()
    if not (of.is_floating(values.type) or of.is_integer(values.type)):
        raise GalaxybenchError(f"{path}: column {name!r} holds {values.type}: must be numbers")
    return values.to_numpy(zero_copy_only=False).reshape(len(column), int(lengths[0]))


class _ParquetRows:
    """A list column; the row group of the last row that was asked for stays in memory."""

    row_shape = None
    whole = None

    def __init__(self, file: TableFile, name: str) -> None:
        refuse_unknown_columns(file, (name,), _columns(file))
        self._file, self._name = file, name
        with _open(file.path) as stream:
            sizes = [stream.metadata.row_group(group).num_rows for group in range(stream.metadata.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._group, self._column = -1, pa.chunked_array([], pa.null())

    def __len__(self) -> int:
        return int(self._starts[-1])

    def row(self, index: int) -> NDArray:
        group = int(np.searchsorted(self._starts, index, side="right")) - 1
        if group != self._group:
            self._group, self._column = group, _load(self._file.path, self._name, group)
        where = f"{self._file}: column {self._name!r}, row {index}"
        return row_value(self._column, index - int(self._starts[group]), where)

    def close(self) -> None:
        self._group, self._column = -1, pa.chunked_array([], pa.null())


def _unreadable(path: Path, error: Exception) -> GalaxybenchError:
    reason = str(error).splitlines()[0]
    return GalaxybenchError(f"{path} cannot be read as Parquet ({reason}): it may be truncated; fetch it again")


READER = TableReader("parquet", (".parquet", ".pq"), _columns, _read, _ParquetRows, _vectors)

"""Parquet tables, also with one vector a row in a list column."""

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
from benchmark.data.tables import ColumnKind, TableReader

__all__ = ["READER"]


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _columns(path: Path) -> tuple[str, ...]:
    with _open(path) as file:
        # pandas writes its row numbers as a column of their own where they are not 0, 1, 2, ...
        return tuple(name for name in file.schema_arrow.names if not re.fullmatch(r"__index_level_\d+__", name))


def _read(path: Path, kinds: Mapping[str, ColumnKind]) -> pd.DataFrame:
    table = _load(path, list(kinds))
    columns = {name: _typed(table[name], kind, f"{path}: column {name!r}") for name, kind in kinds.items()}
    return pd.DataFrame(columns, index=range(len(table)))


def _load(path: Path, names: list[str]) -> pa.Table:
    with _open(path) as file:
        try:
            return file.read(columns=names)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error


def _typed(column: pa.ChunkedArray, kind: ColumnKind, where: str) -> pd.Series:
    of = pa.types
    if of.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    text = of.is_string(column.type) or of.is_large_string(column.type)
    number = of.is_integer(column.type) or of.is_floating(column.type) or of.is_boolean(column.type)
    if kind == "number" and number:
        return pc.cast(column, pa.float64(), safe=False).to_pandas()
    if kind == "any" and (text or number):
        return column.to_pandas()
    if kind == "text" and (text or of.is_integer(column.type)):
        return column.to_pandas() if text or column.null_count == 0 else pc.cast(column, pa.string()).to_pandas()
    if kind == "text" and of.is_floating(column.type):
        raise GalaxybenchError(
            f"{where} holds floats ({column.type}), which lose digits above 2^53; store integers or text"
        )
    raise GalaxybenchError(f"{where} has type {column.type}: must be {'numbers' if kind == 'number' else 'text'}")


def _vectors(path: Path, name: str) -> NDArray:
    column = _load(path, [name])[name].combine_chunks()
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


def _unreadable(path: Path, error: Exception) -> GalaxybenchError:
    reason = str(error).splitlines()[0]
    return GalaxybenchError(f"{path} cannot be read as Parquet ({reason}): it may be truncated; fetch it again")


READER = TableReader("parquet", (".parquet", ".pq"), _columns, _read, _vectors)

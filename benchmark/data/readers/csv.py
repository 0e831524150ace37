"""CSV tables, plain or gzipped: a header line, then a row a galaxy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from benchmark.contracts import GalaxybenchError
from benchmark.data.tables import ColumnKind, TableFile, TableReader

__all__ = ["READER"]

# one thread: only then does the parser name the row of a bad value
_READ = pcsv.ReadOptions(use_threads=False)


def _columns(file: TableFile) -> tuple[str, ...]:
    path = file.path
    try:
        with pcsv.open_csv(path, read_options=_READ) as stream:
            return tuple(stream.schema.names)
    except (pa.ArrowException, OSError, EOFError) as error:
        raise _unreadable(path, error) from error


def _read(file: TableFile, kinds: Mapping[str, ColumnKind]) -> pd.DataFrame:
    path = file.path
    types = {name: pa.float64() if kind == "number" else pa.string() for name, kind in kinds.items()}
    convert = pcsv.ConvertOptions(column_types=types, include_columns=list(kinds), strings_can_be_null=True)
    try:
        table = pcsv.read_csv(path, read_options=_READ, convert_options=convert)
    except (pa.ArrowException, OSError, EOFError) as error:
        raise _unreadable(path, error) from error
    columns: dict[str, pd.Series] = {}
    for name, kind in kinds.items():
        column = _numbers_if_all_are(table[name]) if kind == "any" else table[name]
        columns[name] = column.to_pandas()
    return pd.DataFrame(columns, index=range(len(table)))


def _numbers_if_all_are(column: pa.ChunkedArray) -> pa.ChunkedArray:
    for kind in (pa.int64(), pa.float64()):
        try:
            return pc.cast(column, kind)
        except pa.ArrowInvalid:
            continue
    return column


def _unreadable(path: Path, error: Exception) -> GalaxybenchError:
    reason = str(error).splitlines()[0]
    return GalaxybenchError(f"{path} cannot be read as CSV ({reason}): it may be truncated; repair or fetch it again")


READER = TableReader("csv", (".csv", ".csv.gz"), _columns, _read)

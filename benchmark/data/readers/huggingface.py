"""Folders that HuggingFace's ``datasets`` saved: Arrow streams listed in ``state.json``; read without that library.

A folder of several splits (``dataset_dict.json``) has one table a split: choose it by ``table = "train"``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError
from benchmark.data.arrow import column_names, field_of, row_value, typed
from benchmark.data.tables import ColumnKind, TableFile, TableReader, listed, refuse_unknown_columns

__all__ = ["READER"]

STATE, SPLITS = "state.json", "dataset_dict.json"


def _claims(path: Path) -> bool:
    return (path / STATE).is_file() or (path / SPLITS).is_file()


def _json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GalaxybenchError(f"{path} cannot be read as JSON ({error}): fetch the data set again") from error
    if not isinstance(content, dict):
        raise GalaxybenchError(f"{path} holds no table of facts: fetch the data set again")
    return content


def _tables(path: Path) -> tuple[str, ...]:
    if not (path / SPLITS).is_file():
        return ()
    names = _json(path / SPLITS).get("splits", [])
    if not isinstance(names, list) or any(Path(str(name)).name != name or name in ("", "..") for name in names):
        raise GalaxybenchError(f"{path / SPLITS}: splits = {names!r}: must be names of folders in it")
    return tuple(names)


def _opened(file: TableFile) -> pa.Table:
    """The table, memory-mapped."""
    folder = file.path
    splits = _tables(folder)
    if splits and file.table is None:
        raise GalaxybenchError(f"{folder} has splits {listed(splits)}: choose one by table = ...")
    if file.table is not None:
        if file.table not in splits:
            raise GalaxybenchError(f"{folder} has no split {file.table!r}; splits: {listed(splits) or 'none'}")
        folder = folder / file.table
    state = _json(folder / STATE)
    if state.get("_indices_data_files"):
        raise GalaxybenchError(f"{folder} keeps a selection apart from its rows: save it after flatten_indices()")
    parts = []
    for entry in state.get("_data_files", []):
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or Path(name).name != name:
            raise GalaxybenchError(f"{folder / STATE} names {name!r}: must be the name of a file in the folder")
        try:
            parts.append(pa.ipc.open_stream(pa.memory_map(str(folder / name))).read_all())
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise GalaxybenchError(f"{folder / name} cannot be read as Arrow ({reason}): fetch it again") from error
    if not parts:
        raise GalaxybenchError(f"{folder / STATE} names no data files: fetch the data set again")
    return pa.concat_tables(parts)


def _columns(file: TableFile) -> tuple[str, ...]:
    return column_names(_opened(file).schema)


def _read(file: TableFile, kinds: Mapping[str, ColumnKind]) -> pd.DataFrame:
    table = _opened(file)
    return pd.DataFrame(
        {name: typed(field_of(table, name), kind, f"{file}: column {name!r}") for name, kind in kinds.items()}
    )


class _ArrowRows:
    """A list or picture column of the memory-mapped table."""

    row_shape = None
    whole = None

    def __init__(self, file: TableFile, name: str) -> None:
        table = _opened(file)
        refuse_unknown_columns(file, (name,), column_names(table.schema))
        self._where, self._column = f"{file}: column {name!r}", field_of(table, name)

    def __len__(self) -> int:
        return len(self._column)

    def row(self, index: int) -> NDArray:
        return row_value(self._column, index, f"{self._where}, row {index}")

    def close(self) -> None:
        self._column = pa.chunked_array([], pa.null())


READER = TableReader("huggingface", ("/",), _columns, _read, _ArrowRows, tables=_tables, claims=_claims)

"""HDF5: datasets of one group as columns, or a dataset of records; arrays are read row by row.

Links that leave the file are never followed: external links, external raw data and virtual datasets are refused. Rows
are read one at a time: h5py's selection by a list of rows is 88 times slower.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError
from benchmark.data.tables import ColumnKind, TableFile, TableReader, refuse_unknown_columns, typed_column

__all__ = ["READER"]


ASTROPY_META = "__table_column_meta__"  # what astropy writes beside a table of records


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> GalaxybenchError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return GalaxybenchError(f"{path} cannot be read as HDF5 ({reason}): it may be truncated; fetch it again")


def _walk(group: h5py.Group, path: Path, prefix: str = "") -> Iterator[tuple[str, h5py.Dataset]]:
    """Every dataset below a group with its name; only hard links are followed, so there are no rings and no exits."""
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise GalaxybenchError(
                f"{path}: {group.name.rstrip('/')}/{name} is a link to another file ({link.filename}): "
                "links that leave the file are not followed; copy the data into it"
            )
        if isinstance(link, h5py.SoftLink):
            continue
        entry = group[name]
        if isinstance(entry, h5py.Dataset):
            _refuse_foreign_data(entry, path)
            yield prefix + name, entry
        elif isinstance(entry, h5py.Group):
            yield from _walk(entry, path, f"{prefix}{name}/")


def _refuse_foreign_data(dataset: h5py.Dataset, path: Path) -> None:
    if dataset.external or dataset.is_virtual:
        raise GalaxybenchError(
            f"{path}: dataset {dataset.name} keeps its values in another file: such data are not read; copy them in"
        )


def _datasets(file: h5py.File, source: TableFile) -> dict[str, Any]:
    """Column -> dataset, or field of records, of the group or dataset that is meant."""
    entry: Any = file
    if source.table is not None:
        known = dict(_walk(file, source.path))
        groups = {"/".join(name.split("/")[:depth]) for name in known for depth in range(1, name.count("/") + 1)}
        name = source.table.strip("/")
        if name not in known and name not in groups:
            raise GalaxybenchError(
                f"{source.path} has no table {source.table!r}; it has {', '.join(sorted(groups | set(known)))}"
            )
        entry = file[name]
    if isinstance(entry, h5py.Dataset):
        if entry.dtype.names is None:
            raise GalaxybenchError(f"{source}: a dataset without named fields is no table; name its group")
        return {field: (entry, field) for field in entry.dtype.names}
    found: dict[str, Any] = {}
    inside = {name: dataset for name, dataset in _walk(entry, source.path) if not name.endswith(ASTROPY_META)}
    if len(inside) == 1 and (only := next(iter(inside.values()))).dtype.names is not None:
        return {field: (only, field) for field in only.dtype.names}
    for name, dataset in inside.items():
        if dataset.dtype.names is not None:
            found |= {f"{name}/{field}": (dataset, field) for field in dataset.dtype.names}
        elif dataset.ndim:
            found[name] = dataset
    return found


def _columns(source: TableFile) -> tuple[str, ...]:
    with _opened(source.path) as file:
        return tuple(_datasets(file, source))


def _read(source: TableFile, kinds: Mapping[str, ColumnKind]) -> pd.DataFrame:
    with _opened(source.path) as file:
        datasets = _datasets(file, source)
        table: dict[str, Any] = {}
        for name, kind in kinds.items():
            table[name] = typed_column(_values(datasets[name]), kind, f"{source}: column {name!r}")
        lengths = {name: len(column) for name, column in table.items()}
        if len(set(lengths.values())) > 1:
            raise GalaxybenchError(f"{source}: columns of different lengths {lengths}: a table has one row a galaxy")
        return pd.DataFrame(table)


def _values(column: Any) -> NDArray:
    if isinstance(column, tuple):
        dataset, field = column
        return np.asarray(dataset.fields(field)[()])
    kind = h5py.check_string_dtype(column.dtype)
    return np.asarray(column.asstr()[()] if kind is not None and column.dtype.kind == "O" else column[()])


class _Hdf5Rows:
    """A dataset, one row of its first axis at a time."""

    def __init__(self, source: TableFile, name: str) -> None:
        self._source, self._name = source, name
        with _opened(source.path) as file:
            datasets = _datasets(file, source)
            refuse_unknown_columns(source, (name,), tuple(datasets))
            column = datasets[name]
            self._field = column[1] if isinstance(column, tuple) else None
            dataset = column[0] if isinstance(column, tuple) else column
            self._path_inside = dataset.name
            inner = dataset.dtype[self._field].shape if self._field is not None else ()
            self._shape = (*dataset.shape, *inner)
        self._file = h5py.File(source.path, "r")
        self._dataset = self._file[self._path_inside]

    def __len__(self) -> int:
        return self._shape[0]

    @property
    def row_shape(self) -> tuple[int, ...] | None:
        return None if self._dataset.dtype.kind == "O" else self._shape[1:]

    @property
    def whole(self) -> NDArray | None:
        return _native(self._dataset[()] if self._field is None else self._records()) if len(self._shape) == 1 else None

    def _records(self) -> NDArray:
        return np.asarray(self._dataset.fields(self._field)[()])

    def row(self, index: int) -> NDArray:
        try:
            values = self._dataset[index]
        except (OSError, RuntimeError, ValueError) as error:
            raise _unreadable(self._source.path, error) from error
        return _native(values if self._field is None else values[self._field])

    def close(self) -> None:
        self._file.close()


def _native(values: Any) -> NDArray:
    array = np.asarray(values)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _tables(path: Path) -> tuple[str, ...]:
    """Groups that hold datasets, and datasets of records, by the numbers and letters of their names."""
    with _opened(path) as file:
        names: dict[str, None] = {}
        for name, dataset in _walk(file, path):
            if dataset.dtype.names is not None:
                names[name] = None
            elif "/" in name:
                names[name.rpartition("/")[0]] = None
        return tuple(names)


READER = TableReader("hdf5", (".hdf5", ".h5", ".hdf", ".he5"), _columns, _read, _Hdf5Rows, tables=_tables)

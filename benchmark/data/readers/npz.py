"""NPZ: named arrays whose first axis is the row; never unpickled. An array is read whole when it is used."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError
from benchmark.data.tables import ColumnKind, TableFile, TableReader, refuse_unknown_columns, typed_column

__all__ = ["READER", "read_member"]


def _columns(file: TableFile) -> tuple[str, ...]:
    try:
        with zipfile.ZipFile(file.path) as archive:
            return tuple(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))
    except (OSError, zipfile.BadZipFile) as error:
        raise _unreadable(file.path, error) from error


def read_member(path: Path, name: str) -> NDArray:
    """Return one array of an NPZ file.

    Raises
    ------
    GalaxybenchError
        If the file is truncated, or the array holds objects.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> GalaxybenchError:
    return GalaxybenchError(f"{path} cannot be read as NPZ ({error}): truncated, or it holds objects")


def _read(file: TableFile, kinds: Mapping[str, ColumnKind]) -> pd.DataFrame:
    columns = {
        name: typed_column(np.atleast_1d(read_member(file.path, name)), kind, f"{file}: column {name!r}")
        for name, kind in kinds.items()
    }
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise GalaxybenchError(f"{file}: arrays of different lengths {lengths}: a table has one row a galaxy")
    return pd.DataFrame(columns)


class _NpzRows:
    """An array of an NPZ file by rows of its first axis."""

    def __init__(self, file: TableFile, name: str) -> None:
        refuse_unknown_columns(file, (name,), _columns(file))
        self._file, self._name = file, name

    @cached_property
    def _array(self) -> NDArray:
        array = np.atleast_1d(read_member(self._file.path, self._name))
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def __len__(self) -> int:
        return len(self._array)

    @property
    def row_shape(self) -> tuple[int, ...] | None:
        return self._array.shape[1:]

    @property
    def whole(self) -> NDArray | None:
        return self._array if self._array.ndim == 1 else None

    def row(self, index: int) -> NDArray:
        return self._array[index]

    def close(self) -> None:
        self.__dict__.pop("_array", None)


READER = TableReader("npz", (".npz",), _columns, _read, _NpzRows)

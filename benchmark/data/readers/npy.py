"""NPY: one array, memory-mapped; its only column is called ``array``, or its fields are columns. Never unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError
from benchmark.data.tables import ColumnKind, TableFile, TableReader, refuse_unknown_columns, typed_column

__all__ = ["READER"]

COLUMN = "array"


def _opened(file: TableFile) -> NDArray:
    try:
        array = np.lib.format.open_memmap(file.path, mode="r")
    except (ValueError, OSError, EOFError) as error:
        raise GalaxybenchError(
            f"{file.path} cannot be read as NPY ({error}): truncated, or it holds objects"
        ) from error
    if not array.ndim:
        raise GalaxybenchError(f"{file.path} holds a single number: must be an array with one row a galaxy")
    return array


def _columns(file: TableFile) -> tuple[str, ...]:
    return _opened(file).dtype.names or (COLUMN,)


def _read(file: TableFile, kinds: Mapping[str, ColumnKind]) -> pd.DataFrame:
    array = _opened(file)
    return pd.DataFrame(
        {
            name: typed_column(np.asarray(_field(array, name)), kind, f"{file}: column {name!r}")
            for name, kind in kinds.items()
        },
        index=range(len(array)),
    )


def _field(array: NDArray, name: str) -> Any:
    return array[name] if array.dtype.names else array


class _NpyRows:
    """The array, or one of its fields, by rows of its first axis."""

    def __init__(self, file: TableFile, name: str) -> None:
        refuse_unknown_columns(file, (name,), _columns(file))
        self._array = _field(_opened(file), name)

    def __len__(self) -> int:
        return len(self._array)

    @property
    def row_shape(self) -> tuple[int, ...] | None:
        return self._array.shape[1:]

    @property
    def whole(self) -> NDArray | None:
        return self._native(self._array) if self._array.ndim == 1 else None

    def row(self, index: int) -> NDArray:
        return self._native(self._array[index])

    @staticmethod
    def _native(values: NDArray) -> NDArray:
        return np.asarray(values, dtype=values.dtype.newbyteorder("="))

    def close(self) -> None:
        return None


READER = TableReader("npy", (".npy",), _columns, _read, _NpyRows)

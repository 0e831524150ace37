"""Columns of Arrow tables, on disk as Parquet or as the files of HuggingFace's datasets, as numbers, text or arrays."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from benchmark.contracts import GalaxybenchError
from benchmark.data.tables import ColumnKind

__all__ = ["column_names", "field_of", "outer_column", "row_value", "typed"]


def column_names(schema: pa.Schema) -> tuple[str, ...]:
    """Names of the columns, and of the fields of structs as ``column.field``."""
    return tuple(name for field in schema for name in _names(field.name, _storage(field.type)))


def _names(name: str, kind: pa.DataType) -> list[str]:
    inner = kind
    while _is_list(inner):
        inner = _storage(inner.value_type)
    if not pa.types.is_struct(inner):
        return [name]
    fields = [inner.field(number) for number in range(inner.num_fields)]
    return [name, *(deeper for field in fields for deeper in _names(f"{name}.{field.name}", _storage(field.type)))]


def _storage(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.ExtensionType) else kind


def _is_list(kind: pa.DataType) -> bool:
    of = pa.types
    return of.is_list(kind) or of.is_large_list(kind) or of.is_fixed_size_list(kind)


def outer_column(columns: Sequence[str], name: str) -> str:
    """The column in which a field ``column.field`` lies; a column's own name may hold dots."""
    outer = name
    while outer not in columns:
        if "." not in outer:
            raise KeyError(name)
        outer = outer.rpartition(".")[0]
    return outer


def field_of(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column, or the field of a struct that ``column.field`` names, through lists of structs too."""
    outer = outer_column(table.column_names, name)
    column, rest = table[outer], name[len(outer) + 1 :]
    if not rest:
        return column
    chunks = [_inner(_unwrapped(chunk), rest.split(".")) for chunk in column.chunks]
    return pa.chunked_array(chunks) if chunks else pa.chunked_array([], pa.null())


def _unwrapped(array: pa.Array) -> pa.Array:
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _inner(array: pa.Array, names: list[str]) -> pa.Array:
    if not names:
        return array
    if pa.types.is_struct(array.type):
        return _inner(_unwrapped(pc.struct_field(array, names[0])), names[1:])
    if pa.types.is_fixed_size_list(array.type):
        return pa.FixedSizeListArray.from_arrays(_inner(_unwrapped(array.flatten()), names), array.type.list_size)
    kind = pa.LargeListArray if pa.types.is_large_list(array.type) else pa.ListArray
    offsets = pc.subtract(array.offsets, array.offsets[0])
    return kind.from_arrays(offsets, _inner(_unwrapped(array.flatten()), names))


def typed(column: pa.ChunkedArray, kind: ColumnKind, where: str) -> pd.Series:
    """A column as text, number or either.

    Raises
    ------
    GalaxybenchError
        If it holds lists or structs, floats where text or ids are asked for, or text where numbers are.
    """
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


def row_value(column: pa.ChunkedArray, index: int, where: str) -> NDArray:
    """The array of one row: nested lists of one length at each depth, or an encoded picture (bands, height, width).

    Raises
    ------
    GalaxybenchError
        If the row is missing, ragged, holds no numbers, or its picture does not decode.
    """
    value = _unwrapped(_slice(column, index))
    if value.null_count:
        raise GalaxybenchError(f"{where} is missing")
    if pa.types.is_struct(value.type) and value.type.get_field_index("bytes") >= 0:
        return _picture(value[0].as_py()["bytes"], where)
    if pa.types.is_binary(value.type) or pa.types.is_large_binary(value.type):
        return _picture(value[0].as_py(), where)
    shape: list[int] = []
    while _is_list(value.type):
        lengths = np.unique(pc.list_value_length(value).to_numpy(zero_copy_only=False))
        if len(lengths) > 1:
            raise GalaxybenchError(f"{where} holds lists of {lengths.min():g} to {lengths.max():g}: no array")
        shape.append(int(lengths[0]) if len(lengths) else 0)
        value = _unwrapped(value.flatten())
    of = pa.types
    if not (of.is_floating(value.type) or of.is_integer(value.type) or of.is_boolean(value.type)):
        raise GalaxybenchError(f"{where} holds {value.type}: must be arrays of numbers")
    return np.asarray(value.to_numpy(zero_copy_only=False)).reshape(shape)


def _slice(column: pa.ChunkedArray, index: int) -> pa.Array:
    """One row as an array of length 1, without copying the others."""
    for chunk in column.chunks:
        if index < len(chunk):
            return chunk.slice(index, 1)
        index -= len(chunk)
    raise IndexError(index)


def _picture(content: Any, where: str) -> NDArray[np.uint8]:
    if not isinstance(content, bytes):
        raise GalaxybenchError(f"{where} holds no picture but a name of one: embed the pictures in the data set")
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode not in ("L", "RGB"):
                raise GalaxybenchError(f"{where} has mode {image.mode}: images are 8-bit L or RGB")
            pixels = np.asarray(image, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise GalaxybenchError(f"{where} cannot be decoded ({error})") from error
    return np.moveaxis(pixels.reshape(*pixels.shape[:2], -1), -1, 0)

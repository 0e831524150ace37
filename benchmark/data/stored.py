"""Arrays of a survey folder: one ``.npy`` file, or from 10^5 rows on several, a shard of some 2 GB each.

A shard holds consecutive rows; ``images-00000.npy`` begins with the first galaxy. Both forms are read alike.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from benchmark.contracts import GalaxybenchError

__all__ = ["ShardedArray", "create_array", "files_of", "let_go", "open_array", "open_files", "shard_rows"]

SHARDS_FROM = 100_000  # rows
SHARD_BYTES = 2 * 1024**3
_SHARD = re.compile(r"-\d{5}\.npy")


class ShardedArray:
    """Rows of several arrays, one after the other, read and written as if they were one memory-mapped array.

    The first index may be a number, a slice, an array of row numbers or of truth values; further ones numbers or
    slices. What is returned was copied, but for a number and for a slice that lies in one shard.

    Parameters
    ----------
    parts : arrays of one type that differ in their first axis only.

    Raises
    ------
    ValueError
        If they do not fit together.
    """

    def __init__(self, parts: Sequence[NDArray]) -> None:
        if not parts or len({(part.shape[1:], part.dtype) for part in parts}) > 1:
            raise ValueError("shards must have one type and one shape a row")
        self.parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in parts])
        self.shape: tuple[int, ...] = (int(self._ends[-1]), *parts[0].shape[1:])
        self.dtype: np.dtype = parts[0].dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray]:
        return (row for part in self.parts for row in part)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        if copy is False:
            raise ValueError("rows of several files cannot be one array without a copy")
        return np.concatenate(self.parts).astype(dtype or self.dtype, copy=False)

    def __getitem__(self, key: Any) -> NDArray:
        first, rest = self._split(key)
        if isinstance(first, int | np.integer):
            shard, row = self._place(np.array([first]))
            return self.parts[shard[0]][(row[0], *rest)]
        rows = self._rows(first)
        shard, inside = self._place(rows)
        if isinstance(first, slice) and first.step in (None, 1) and len(rows) and shard[0] == shard[-1]:
            return self.parts[shard[0]][(slice(inside[0], inside[-1] + 1), *rest)]
        shape = self.parts[0][(np.zeros(0, dtype=np.int64), *rest)].shape[1:]
        found = np.empty((len(rows), *shape), dtype=self.dtype)
        for number in np.unique(shard):
            at = np.flatnonzero(shard == number)
            found[at] = self.parts[number][(inside[at], *rest)]
        return found

    def __setitem__(self, key: Any, values: Any) -> None:
        first, rest = self._split(key)
        if isinstance(first, int | np.integer):
            shard, row = self._place(np.array([first]))
            self.parts[shard[0]][(row[0], *rest)] = values
            return
        rows = self._rows(first)
        shard, inside = self._place(rows)
        given = np.broadcast_to(values, (len(rows), *np.shape(values)[1:])) if np.ndim(values) else None
        for number in np.unique(shard):
            at = np.flatnonzero(shard == number)
            self.parts[number][(inside[at], *rest)] = values if given is None else given[at]

    def flush(self) -> None:
        """Write what was changed to the files."""
        for part in self.parts:
            if isinstance(part, np.memmap):
                part.flush()

    def _split(self, key: Any) -> tuple[Any, tuple[Any, ...]]:
        first, rest = (key[0], tuple(key[1:])) if isinstance(key, tuple) else (key, ())
        if not all(isinstance(part, int | np.integer | slice) for part in rest):
            raise TypeError("further axes of a sharded array are indexed by numbers and slices")
        return slice(None) if first is Ellipsis and not rest else first, rest

    def _rows(self, first: Any) -> NDArray[np.int64]:
        if isinstance(first, slice):
            return np.arange(*first.indices(len(self)), dtype=np.int64)
        rows = np.asarray(first)
        if rows.dtype == np.bool_:
            if rows.shape != (len(self),):
                raise IndexError(f"{rows.shape} truth values for {len(self)} rows")
            return np.flatnonzero(rows)
        if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
            raise TypeError("rows of a sharded array are a number, a slice or a list of numbers or truth values")
        return rows.astype(np.int64)

    def _place(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Shard and row in it."""
        if rows.size and not (-len(self) <= rows.min() and rows.max() < len(self)):
            raise IndexError(f"row {rows.min()} or {rows.max()} is none of {len(self)}")
        rows = np.where(rows < 0, rows + len(self), rows)
        shard = np.searchsorted(self._ends, rows, side="right")
        return shard, rows - np.concatenate([[0], self._ends])[shard]


def shard_rows(shape: Sequence[int], dtype: DTypeLike) -> int | None:
    """Rows of a shard of an array, None where it is kept in one file."""
    if shape[0] < SHARDS_FROM:
        return None
    return max(1, int(SHARD_BYTES // max(1, np.dtype(dtype).itemsize * int(np.prod(shape[1:], dtype=np.int64)))))


def create_array(path: Path, dtype: DTypeLike, shape: Sequence[int]) -> tuple[NDArray, tuple[str, ...], bool]:
    """Make an array of zeros at ``path``, or beside it in shards; one of that shape that is there already is kept.

    Returns
    -------
    array, names, kept : memory-mapped and writable; the names of its files; whether all of them were there.
    """
    rows = shard_rows(shape, dtype)
    if rows is None:
        array, kept = _created(path, dtype, shape)
        return array, (path.name,), kept
    parts, names, all_kept = [], [], True
    for number, start in enumerate(range(0, shape[0], rows)):
        names.append(f"{path.stem}-{number:05d}.npy")
        n = min(rows, shape[0] - start)
        part, kept = _created(path.with_name(names[-1]), dtype, (n, *shape[1:]))
        parts.append(part)
        all_kept &= kept
    return _as_array(parts), tuple(names), all_kept


def _created(path: Path, dtype: DTypeLike, shape: Sequence[int]) -> tuple[np.memmap, bool]:
    if path.exists():
        try:
            there = np.lib.format.open_memmap(path, mode="r+")
            if there.shape == tuple(shape) and there.dtype == np.dtype(dtype):
                return there, True
        except (ValueError, OSError, EOFError):
            path.unlink()  # begun and cut off
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=tuple(shape)), False


def files_of(name: str, files: Iterable[str]) -> tuple[str, ...]:
    """Names of the files of an array, in order; the array's own name where it is one file or absent."""
    stem = name.removesuffix(".npy")
    shards = sorted(file for file in files if file.startswith(stem) and _SHARD.fullmatch(file[len(stem) :]))
    return tuple(shards) or (name,)


def open_array(folder: Path, name: str, files: Mapping[str, str]) -> NDArray:
    """Open an array of a survey folder, memory-mapped and read-only.

    Parameters
    ----------
    folder : the survey's.
    name : of the array, ``images.npy``.
    files : names of the survey's files.

    Raises
    ------
    GalaxybenchError
        If a file is truncated or no array, or shards are missing or do not fit together.
    """
    names = files_of(name, files)
    if names != (name,) and names != tuple(f"{Path(name).stem}-{number:05d}.npy" for number in range(len(names))):
        raise GalaxybenchError(f"{folder}: shards of {name} are not numbered 0 to {len(names) - 1}: build it again")
    return open_files([folder / file for file in names])


def open_files(paths: Sequence[Path], mode: str = "r") -> NDArray:
    """Open an array of one file, or of the shards of several.

    Raises
    ------
    GalaxybenchError
        If a file is truncated or no array, or shards do not fit together.
    """
    parts = []
    for path in paths:
        try:
            parts.append(np.lib.format.open_memmap(path, mode=mode))
        except (ValueError, OSError, EOFError) as error:
            raise GalaxybenchError(f"{path} is truncated or no array ({error}): build the survey again") from error
    try:
        return parts[0] if len(parts) == 1 else _as_array(parts)
    except ValueError as error:
        raise GalaxybenchError(f"{paths[0]} and its shards do not fit together ({error}): build it again") from error


def _as_array(parts: Sequence[NDArray]) -> NDArray:
    return cast("NDArray", ShardedArray(parts))  # serves as one wherever rows are read or written


def let_go(array: NDArray) -> None:
    """Take a memory map's pages out of this process (not out of the file): its size stays bounded."""
    for part in getattr(array, "parts", (array,)):
        mapping = getattr(part, "_mmap", None)
        if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapping.madvise(mmap.MADV_DONTNEED)

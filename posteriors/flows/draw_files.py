"""Draws written to a file a block of galaxies at a time, so that a survey's draws need not stand in memory."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

__all__ = ["FORMATS", "write_draws"]

_Blocks = Iterator[NDArray[np.float32]]
_ROW_GROUP = 1_000  # galaxies at most
_GROUP_VALUES = 2_000_000  # of a row group, 8 MB, unless one galaxy has more


class _Writer(Protocol):
    def __call__(
        self, path: Path, blocks: _Blocks, ids: NDArray[np.int64], names: tuple[str, ...], n_draws: int
    ) -> None: ...


def write_draws(path: Path, blocks: _Blocks, *, ids: NDArray[np.int64], names: tuple[str, ...], n_draws: int) -> None:
    """Write draws as NPZ or Parquet, by the file's suffix; it appears under its name only when it is complete.

    NPZ: ``target_id`` (n,), ``draws`` (n, n_draws, t) and ``targets`` (t,). Parquet: a row a galaxy with ``target_id``
    and, for each target, the list of its draws. Either way the draws of a galaxy, (n_draws, t), are what corner takes.

    Parameters
    ----------
    blocks : draws (block, n_draws, t) of successive galaxies, n in all.
    ids : (n,) integers that name the galaxies.
    names : of the t targets.

    Raises
    ------
    ValueError
        If the suffix is neither ``.npz`` nor ``.parquet``.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"{path}: draws are written as {' or '.join(FORMATS)}; give the file such a suffix")
    with _completed(path) as partial:
        FORMATS[path.suffix](partial, blocks, ids, names, n_draws)


def _write_npz(path: Path, blocks: _Blocks, ids: NDArray[np.int64], names: tuple[str, ...], n_draws: int) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(ids), n_draws, len(names))}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, values in (("target_id", ids), ("targets", np.array(names))):
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, values, allow_pickle=False)
        with archive.open("draws.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_2_0(member, header)
            for block in blocks:
                member.write(np.ascontiguousarray(block, dtype="<f4").data)


def _write_parquet(path: Path, blocks: _Blocks, ids: NDArray[np.int64], names: tuple[str, ...], n_draws: int) -> None:
    columns = [pa.field(name, pa.list_(pa.float32(), n_draws)) for name in names]
    schema = pa.schema([pa.field("target_id", pa.int64()), *columns])
    # draws hardly repeat: a dictionary of them makes the file larger and takes most of the time. Their bytes, sorted by
    # place, compress to some three quarters, without loss.
    split = [f"{name}.list.element" for name in names]
    options = {"use_dictionary": False, "use_byte_stream_split": split, "compression": "zstd"}
    size = max(1, min(_ROW_GROUP, _GROUP_VALUES // (n_draws * len(names))))
    with pq.ParquetWriter(path, schema, **options) as writer:
        done = 0
        for block in _regroup(blocks, size):
            flat = [np.ascontiguousarray(block[:, :, column]).reshape(-1) for column in range(len(names))]
            lists = [pa.FixedSizeListArray.from_arrays(pa.array(values), n_draws) for values in flat]
            writer.write_table(pa.table([pa.array(ids[done : done + len(block)]), *lists], schema=schema))
            done += len(block)


FORMATS: dict[str, _Writer] = {".npz": _write_npz, ".parquet": _write_parquet}


def _regroup(blocks: _Blocks, size: int) -> _Blocks:
    """Blocks of ``size`` galaxies or somewhat fewer; a Parquet file of many tiny row groups is slow to read."""
    waiting: list[NDArray[np.float32]] = []
    n_waiting = 0
    for block in blocks:
        for start in range(0, len(block), size):
            part = block[start : start + size]
            if n_waiting + len(part) > size:
                yield np.concatenate(waiting)
                waiting, n_waiting = [], 0
            waiting.append(part)
            n_waiting += len(part)
    if waiting:
        yield np.concatenate(waiting)


@contextmanager
def _completed(path: Path) -> Iterator[Path]:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

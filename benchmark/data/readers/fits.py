"""FITS: tables (binary and ASCII), images with a row a galaxy beside them, and cutouts of one galaxy.

A file with several tables needs ``table = `` in the spec, the name or number of an extension; an image extension whose
first axis is as long as the table serves as a column of arrays, as in DESI's coadds (``FIBERMAP`` and ``B_FLUX``).
Names of columns and extensions are those of the standard (4.0, section 7.2.1): upper and lower case are the same.
"""

from __future__ import annotations

import contextlib
import gzip
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError
from benchmark.data.tables import ColumnKind, TableFile, TableReader, listed, typed_column

__all__ = ["READER", "read_cube"]

TABLES = (fits.BinTableHDU, fits.TableHDU)
PIXELS = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)
FAULTS = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, VerifyError)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Astropy's complaints about a file as one line; its warnings about odd headers are of no use to a reader."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            yield
    except FAULTS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise GalaxybenchError(
            f"{path} cannot be read as FITS ({reason}): it may be truncated; fetch it again"
        ) from error


@lru_cache(maxsize=256)
def _decompress(path: Path, changed: int, size: int) -> None:
    """Read a compressed file to its end, once: astropy passes over what is cut off."""
    with gzip.open(path) as stream:
        while stream.read(1 << 20):
            pass


def _opened(path: Path) -> fits.HDUList:
    """Open a file whose every extension is there to its last byte."""
    with _reading(path):
        if path.suffix.lower() == ".gz":
            _decompress(path, path.stat().st_mtime_ns, path.stat().st_size)
        hdus = fits.open(path, mode="readonly", memmap=True, lazy_load_hdus=False)
        if path.suffix.lower() != ".gz":
            size = path.stat().st_size
            for number, hdu in enumerate(hdus):
                facts = hdu.fileinfo()
                end = facts["datLoc"] + facts["datSpan"]
                if end > size:
                    hdus.close()
                    raise OSError(f"extension {number} {hdu.name!r} ends at byte {end}, the file at {size}")
            if (size - end) % 2880:  # the beginning of an extension that astropy passes over
                hdus.close()
                raise OSError(f"{size - end} bytes after the last whole extension")
    return hdus


def _chosen(hdus: fits.HDUList, file: TableFile) -> Any:
    """The table that is meant."""
    if file.table is None:
        tables = [hdu for hdu in hdus if isinstance(hdu, TABLES)]
        if len(tables) == 1:
            return tables[0]
        names = listed(hdu.name or str(number) for number, hdu in enumerate(hdus) if isinstance(hdu, TABLES))
        raise GalaxybenchError(f"{file.path} has {len(tables)} tables ({names or 'none'}): choose one by table = ...")
    found = _extension(hdus, file.table)
    if found is None or not isinstance(found, TABLES):
        names = listed(hdu.name or str(number) for number, hdu in enumerate(hdus))
        raise GalaxybenchError(f"{file.path} has no table {file.table!r}; extensions: {names}")
    return found


def _extension(hdus: fits.HDUList, name: str) -> Any:
    if name.isdigit():
        return hdus[int(name)] if int(name) < len(hdus) else None
    return next((hdu for hdu in hdus if hdu.name.lower() == name.lower()), None)


def _tables(path: Path) -> tuple[str, ...]:
    hdus = _opened(path)
    try:
        return tuple(hdu.name or str(number) for number, hdu in enumerate(hdus) if isinstance(hdu, TABLES))
    finally:
        hdus.close()


def _columns(file: TableFile) -> tuple[str, ...]:
    hdus = _opened(file.path)
    try:
        with _reading(file.path):
            return tuple(_chosen(hdus, file).columns.names)
    finally:
        hdus.close()


def _read(file: TableFile, kinds: Mapping[str, ColumnKind]) -> pd.DataFrame:
    hdus = _opened(file.path)
    try:
        with _reading(file.path):
            hdu = _chosen(hdus, file)
            table: dict[str, Any] = {}
            for name, kind in kinds.items():
                values, missing = _column(hdu, name)
                table[name] = typed_column(values, kind, f"{file}: column {name!r}", missing)
            return pd.DataFrame(table, index=range(len(hdu.data)))
    finally:
        hdus.close()


def _column(hdu: Any, name: str) -> tuple[NDArray, NDArray[np.bool_] | None]:
    """Values of a column, and where the header says that there are none (TNULL, blank numbers of an ASCII table)."""
    column = hdu.columns[name]  # whatever the case
    name = column.name
    values = np.asarray(hdu.data[name])
    null = column.null
    if isinstance(hdu, fits.TableHDU):
        if values.dtype.kind not in "biuf":
            return values, None
        raw = np.char.strip(np.asarray(hdu.data.view(np.ndarray)[name]).astype("S"))
        marks = [b"", *([str(null).strip().encode()] if null not in (None, "") else [])]
        return values, np.isin(raw, marks)
    if null in (None, "") or values.dtype.kind not in "iu":
        return values, None
    return values, values == int(null)


class _FitsRows:
    """A column of arrays of a table, or an image extension beside it."""

    def __init__(self, file: TableFile, name: str) -> None:
        self._file, self._name = file, name
        self._hdus = _opened(file.path)
        with _reading(file.path):
            self._image, self._shape = self._find()

    def _find(self) -> tuple[Any, tuple[int, ...]]:
        tables = [hdu for hdu in self._hdus if isinstance(hdu, TABLES)]
        table = _chosen(self._hdus, self._file) if self._file.table is not None or len(tables) == 1 else None
        if table is not None and self._name.lower() in (name.lower() for name in table.columns.names):
            self._values = table.data[self._name]
            return None, self._values.shape
        found = _extension(self._hdus, self._name)
        if found is None or not isinstance(found, PIXELS) or not found.shape:
            names = [*(table.columns.names if table is not None else ()), *(hdu.name for hdu in self._hdus)]
            raise GalaxybenchError(f"{self._file} has no column or image {self._name!r}; it has {listed(names)}")
        return found, tuple(found.shape)

    def __len__(self) -> int:
        return self._shape[0]

    @property
    def row_shape(self) -> tuple[int, ...] | None:
        return self._shape[1:]

    @property
    def whole(self) -> NDArray | None:
        if len(self._shape) != 1:
            return None
        with _reading(self._file.path):
            return _native(self._values if self._image is None else self._image.data)

    def row(self, index: int) -> NDArray:
        with _reading(self._file.path):
            return _native(self._values[index] if self._image is None else self._image.section[index])

    def close(self) -> None:
        self._hdus.close()


def _native(values: Any) -> NDArray:
    array = np.array(values)
    return array.astype(array.dtype.newbyteorder("="))


def read_cube(path: Path) -> NDArray:
    """Return the first image of a FITS file, axes as numpy has them: (bands, height, width) or (height, width).

    Raises
    ------
    GalaxybenchError
        If the file is missing or truncated, or holds no image.
    """
    if not path.is_file():
        raise GalaxybenchError(f"{path} is missing")
    hdus = _opened(path)
    try:
        with _reading(path):
            for hdu in hdus:
                if isinstance(hdu, PIXELS) and hdu.data is not None:
                    return _native(hdu.data)
        raise GalaxybenchError(f"{path} holds no image")
    finally:
        hdus.close()


READER = TableReader(
    "fits", (".fits", ".fit", ".fits.gz", ".fits.fz"), _columns, _read, _FitsRows, tables=_tables, caseless=True
)
READER = TableReader(
    "fits",
    (".fits", ".fit", ".fits.gz", ".fits.fz"),
    _columns,
    _read,
    _FitsRows,
    tables=_tables,
    caseless=True,
)

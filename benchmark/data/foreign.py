"""Files made elsewhere - embeddings, predictions, draws - read strictly and joined to a survey by id."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError, UsageError
from benchmark.data.survey import Survey
from benchmark.data.tables import (
    TableFile,
    TableReader,
    integer_ids,
    listed,
    named,
    read_columns,
    reader_of,
    row_array,
)
from benchmark.facts import class_columns

__all__ = ["Content", "ForeignTable", "check", "read_draws", "read_embeddings", "read_predictions", "read_result"]

Content = Literal["embeddings", "predictions", "draws"]


@dataclass(frozen=True)
class ForeignTable:
    """One foreign file: a row a galaxy, ids unique, values finite everywhere.

    Attributes
    ----------
    path : for messages.
    target_id : (m,) ids.
    names : names of the t targets; empty for embeddings.
    values : embeddings (m, d) float32, predictions (m, t) float64, draws (m, n_draws, t) float32.
    """

    path: Path
    target_id: NDArray[np.int64]
    names: tuple[str, ...]
    values: NDArray

    def __post_init__(self) -> None:
        if not len(self.target_id):
            raise GalaxybenchError(f"{self.path} has no rows")
        if len(self.values) != len(self.target_id):
            raise GalaxybenchError(
                f"{self.path}: {len(self.target_id)} target_id but values of shape {self.values.shape}: "
                "must have a row a galaxy"
            )
        ids, counts = np.unique(self.target_id, return_counts=True)
        if (counts > 1).any():
            raise GalaxybenchError(f"{self.path}: duplicate target_id {named(ids[counts > 1])}; keep one row of each")
        bad = ~np.isfinite(self.values).reshape(len(self.values), -1).all(axis=1)
        if bad.any():
            raise GalaxybenchError(
                f"{self.path}: NaN or infinite values for target_id {named(self.target_id[bad])}; "
                "every row must be finite"
            )

    def for_survey(self, survey: Survey) -> NDArray:
        """Return the values of every galaxy of train, validation and test, in the order of the survey's rows.

        Raises
        ------
        GalaxybenchError
            If an id is unknown to the survey or a galaxy is missing.
        """
        return self._of(survey, survey.rows("train", "validation", "test"), "train, validation and test")

    def for_test(self, survey: Survey, names: Sequence[str]) -> NDArray:
        """Return the values of every test galaxy, in the order of the survey's rows, for some targets in this order.

        Raises
        ------
        GalaxybenchError
            If an id is unknown to the survey, a test galaxy is missing, or a target is not in the file.
        """
        for name in names:
            if name not in self.names:
                raise GalaxybenchError(f"{self.path} has no target {name!r}: it has {listed(self.names)}")
        values = self._of(survey, survey.rows("test"), "test")
        return values[..., [self.names.index(name) for name in names]]

    def _of(self, survey: Survey, rows: NDArray[np.int64], splits: str) -> NDArray:
        unknown = ~np.isin(self.target_id, survey.target_id)
        if unknown.any():
            raise GalaxybenchError(
                f"{self.path}: target_id {named(self.target_id[unknown])} unknown to survey {survey.info.name}; "
                "is it the same survey and version?"
            )
        wanted = survey.target_id[rows]
        missing = ~np.isin(wanted, self.target_id)
        if missing.any():
            raise GalaxybenchError(
                f"{self.path}: no row for target_id {named(wanted[missing])} of {splits}; every galaxy needs one"
            )
        order = np.argsort(self.target_id)
        return self.values[order[np.searchsorted(self.target_id, wanted, sorter=order)]]


def read_embeddings(path: str | Path) -> ForeignTable:
    """Read embeddings: ``target_id`` and ``embedding`` (n, d), or columns ``e0`` to ``e{d-1}``.

    Raises
    ------
    UsageError
        If the file does not exist or its format is not read.
    GalaxybenchError
        If columns are missing, ids are repeated, floats or no integers, or a value is not finite.
    """
    path = Path(path)
    if _is_npz(path):
        arrays = _npz(path, ("target_id", "embedding"))
        values = _numbers(arrays["embedding"], path, "embedding", n_axes=2)
        return ForeignTable(path, _npz_ids(arrays, path), (), _single(values))
    reader, file = reader_of(path), TableFile(path)
    columns = reader.columns(file)
    if "embedding" in columns and reader.rows is not None:
        ids = read_columns(file, {"target_id": "text"}, reader)["target_id"]
        values = _vectors(file, reader)
    else:
        numbered = sorted(int(name[1:]) for name in columns if re.fullmatch(r"e(0|[1-9][0-9]*)", name))
        if not numbered or numbered != list(range(len(numbered))):
            found = f"e0 to e{numbered[-1]} with gaps" if numbered else listed(columns)
            raise GalaxybenchError(
                f"{path}: embeddings need a column embedding (a list a row) or columns e0, e1, ...: found {found}"
            )
        names = [f"e{number}" for number in numbered]
        table = read_columns(file, {"target_id": "text", **dict.fromkeys(names, "number")}, reader)
        ids, values = table["target_id"], table[names].to_numpy()
    return ForeignTable(path, integer_ids(ids, f"{path}: target_id"), (), _single(values))


def read_predictions(path: str | Path) -> ForeignTable:
    """Read predictions: ``target_id`` and one column per target.

    Raises
    ------
    UsageError
        If the file does not exist or its format is not read.
    GalaxybenchError
        If columns are missing, ids are repeated, floats or no integers, or a value is not finite.
    """
    path = Path(path)
    if _is_npz(path):
        arrays = _npz(path, ("target_id",))
        names = tuple(name for name in arrays if name != "target_id")
        _refuse_no_targets(names, path)
        columns = [_numbers(arrays[name], path, name, n_axes=1) for name in names]
        lengths = {len(column) for column in columns}
        if len(lengths) > 1:
            raise GalaxybenchError(f"{path}: columns of {sorted(lengths)} rows; all must have one row a galaxy")
        return ForeignTable(path, _npz_ids(arrays, path), names, np.stack(columns, axis=1).astype(np.float64))
    reader, file = reader_of(path), TableFile(path)
    names = tuple(name for name in reader.columns(file) if name != "target_id")
    _refuse_no_targets(names, path)
    table = read_columns(file, {"target_id": "text", **dict.fromkeys(names, "number")}, reader)
    ids = integer_ids(table["target_id"], f"{path}: target_id")
    return ForeignTable(path, ids, names, table[list(names)].to_numpy(dtype=np.float64))


def read_draws(path: str | Path) -> ForeignTable:
    """Read draws: NPZ with ``target_id``, ``draws`` (n, n_draws, n_targets) and ``targets`` (names).

    Raises
    ------
    UsageError
        If the file does not exist or is no NPZ.
    GalaxybenchError
        If an array is missing or has the wrong shape, ids are repeated or floats, or a value is not finite.
    """
    path = Path(path)
    if not _is_npz(path):
        raise UsageError(f"{path}: draws are read from .npz with target_id, draws (n, n_draws, n_targets) and targets")
    arrays = _npz(path, ("target_id", "draws", "targets"))
    names = arrays["targets"]
    if names.dtype.kind not in "US" or names.ndim != 1:
        raise GalaxybenchError(f"{path}: targets has dtype {names.dtype}, shape {names.shape}: must be names, (t,)")
    draws = _numbers(arrays["draws"], path, "draws", n_axes=3)
    if draws.shape[2] != len(names) or draws.shape[1] < 2:
        raise GalaxybenchError(
            f"{path}: draws has shape {draws.shape} for {len(names)} targets: must be (n, n_draws, n_targets) "
            "with 2 or more draws"
        )
    return ForeignTable(path, _npz_ids(arrays, path), tuple(names.astype(np.str_).tolist()), _single(draws))


_READERS = {"embeddings": read_embeddings, "predictions": read_predictions, "draws": read_draws}


def check(path: str | Path, content: Content, survey: Survey) -> tuple[str, ...]:
    """Read and join a file once, so that a bad one is refused before anything runs; return its targets.

    Raises
    ------
    UsageError
        If the file or its format is unknown.
    GalaxybenchError
        If the file does not fit the survey; the message names the first ids and the count.
    """
    table = _READERS[content](path)
    if content == "embeddings":
        table.for_survey(survey)
        return ()
    known = [name for target in survey.info.targets for name in class_columns(target) or (target.name,)]
    for name in table.names:
        if name not in known:
            raise GalaxybenchError(f"{path}: {name!r} is no target of survey {survey.info.name}: {listed(known)}")
    for target in survey.info.targets:
        columns = class_columns(target)
        if 0 < len(set(columns) & set(table.names)) < len(columns):
            raise GalaxybenchError(
                f"{path}: some classes of {target.name!r} only: give probabilities as {listed(columns)}"
            )
    if len(set(table.names)) != len(table.names):
        raise GalaxybenchError(f"{path}: targets {listed(table.names)} name one twice; name each once")
    table.for_test(survey, table.names)
    return table.names


def read_result(
    path: str | Path, content: Literal["predictions", "draws"], survey: Survey, names: Sequence[str]
) -> Any:
    """Return what a file says of the test galaxies, for some targets in this order.

    Parameters
    ----------
    path, content : the file and what it holds.
    survey : joined by id.
    names : targets.

    Returns
    -------
    Predictions (n_test, t) float64; or ``{"draws": (n_draws, n, t) float32}`` of the n test galaxies that have every
    one of these targets.

    Raises
    ------
    GalaxybenchError
        If the file does not fit the survey.
    """
    values = _READERS[content](path).for_test(survey, names)
    if content == "predictions":
        return values
    complete = np.isfinite(survey.target(names, survey.rows("test"))).all(axis=1)
    return {"draws": np.ascontiguousarray(values[complete].transpose(1, 0, 2))}


def _vectors(file: TableFile, reader: TableReader) -> NDArray:
    """The embedding of every row, (n, d)."""
    if reader.vectors is not None:
        return reader.vectors(file, "embedding")
    rows = row_array(file, "embedding", reader)
    try:
        if rows.row_shape is None or len(rows.row_shape) != 1:
            raise GalaxybenchError(f"{file}: embedding has rows of shape {rows.row_shape}: must be one vector a row")
        values = np.empty((len(rows), *rows.row_shape), dtype=np.float32)
        for index in range(len(rows)):
            row = rows.row(index)
            if row.dtype.kind not in "fiu":
                raise GalaxybenchError(f"{file}: embedding has dtype {row.dtype}: must be numbers")
            values[index] = row
        return values
    finally:
        rows.close()


def _is_npz(path: Path) -> bool:
    return path.suffix.lower() == ".npz"


def _npz(path: Path, needed: Sequence[str]) -> dict[str, NDArray]:
    if not path.is_file():
        raise UsageError(f"{path} does not exist: check the path")
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            names = [entry for entry in archive.namelist() if entry.endswith(".npy")]
            arrays = {entry.removesuffix(".npy"): _npy(archive, entry) for entry in names}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise GalaxybenchError(f"{path} cannot be read as NPZ ({error}): truncated, or it holds objects") from error
    for name in needed:
        if name not in arrays:
            raise GalaxybenchError(f"{path} has no array {name!r}: it has {listed(arrays)}")
    return arrays


def _npy(archive: zipfile.ZipFile, entry: str) -> NDArray:
    with archive.open(entry) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _npz_ids(arrays: dict[str, NDArray], path: Path) -> NDArray[np.int64]:
    ids = arrays["target_id"]
    if ids.ndim != 1:
        raise GalaxybenchError(f"{path}: target_id has shape {ids.shape}: must be (n,)")
    return integer_ids(ids, f"{path}: target_id")


def _numbers(values: NDArray, path: Path, name: str, *, n_axes: int) -> NDArray:
    if values.dtype.kind not in "fiu" or values.ndim != n_axes:
        raise GalaxybenchError(
            f"{path}: {name} has dtype {values.dtype} and shape {values.shape}: must be numbers with {n_axes} axes"
        )
    return values


def _single(values: NDArray) -> NDArray[np.float32]:
    """Return float32; what is too large becomes infinite and is refused with the rest."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _refuse_no_targets(names: Sequence[str], path: Path) -> None:
    if not names:
        raise GalaxybenchError(f"{path}: predictions need one column per target beside target_id")

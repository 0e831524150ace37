"""Write a survey folder whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import DTypeLike, NDArray

from benchmark.contracts import GalaxybenchError, UsageError
from benchmark.data.catalogue import CATALOGUE_FILE, catalogue_digest, normalise_catalogue, write_catalogue
from benchmark.data.infofile import INFO_FILE, write_info
from benchmark.data.schema import SPLITS, SurveyInfo
from benchmark.data.scratch import Scratch
from benchmark.data.splits import split_digest
from benchmark.data.stored import create_array, files_of, let_go
from benchmark.data.survey import (
    ARRAY_FILES,
    DRAWS_FILE,
    IMAGE_FILE,
    INDEX_FILE,
    IVAR_FILE,
    SPECTRA_FILE,
    Survey,
    load_survey,
)
from benchmark.data.writers import (
    DrawWriter,
    ImageWriter,
    SpectrumContent,
    SpectrumWriter,
    refuse_draws,
    refuse_images,
    refuse_spectra,
)
from benchmark.store import file_sha256

__all__ = ["refuse_existing", "write_survey"]

ROWS_AT_ONCE = 256
SURVEY_FILES = (INFO_FILE, CATALOGUE_FILE, INDEX_FILE, *ARRAY_FILES)


@dataclass(frozen=True)
class _Array:
    """Files of one shape that are filled together."""

    names: tuple[str, ...]
    dtype: DTypeLike
    shape: tuple[int, ...]
    content: Callable[..., None] | tuple[NDArray, ...]


def _arrays(
    info: SurveyInfo,
    n: int,
    images: NDArray | ImageWriter | None,
    spectra: SpectrumContent | None,
    label_draws: NDArray | DrawWriter | None,
) -> Iterator[_Array]:
    """What is written beside the catalogue."""
    if images is not None:
        content = images.fill if isinstance(images, ImageWriter) else (images,)
        yield _Array((IMAGE_FILE,), images.dtype, tuple(images.shape), content)
    if spectra is not None:
        both = spectra.fill if isinstance(spectra, SpectrumWriter) else spectra
        yield _Array((SPECTRA_FILE, IVAR_FILE), np.float32, (n, info.n_wave), both)
    if label_draws is not None:
        drawn = label_draws.fill if isinstance(label_draws, DrawWriter) else (label_draws,)
        yield _Array((DRAWS_FILE,), np.float32, tuple(label_draws.shape), drawn)


def write_survey(
    folder: str | Path,
    info: SurveyInfo,
    catalogue: pd.DataFrame,
    *,
    images: NDArray | ImageWriter | None = None,
    spectra: SpectrumContent | None = None,
    label_draws: NDArray | DrawWriter | None = None,
    overwrite: bool = False,
    scratch: Scratch | None = None,
) -> Survey:
    """Write a survey folder: into a hidden sibling first, then renamed, so that no half survey is ever left.

    Parameters
    ----------
    folder : where to; its parents are made.
    info : the survey's facts; ``files``, ``counts`` and digests are filled in here.
    catalogue : one row a galaxy, any order; stored sorted by ``target_id``.
    images : (n, bands, height, width) with rows as in ``catalogue``, or an `ImageWriter`.
    spectra : flux and ivar, (n, n_wave) each with rows as in ``catalogue``, stored as float32, or a `SpectrumWriter`.
    label_draws : posterior draws of the labels (n, n_draws, t), rows as in ``catalogue``, targets as in
        ``info.label_draws``, NaN where a galaxy has none; or a `DrawWriter`.
    overwrite : replace an existing survey folder; a folder with other files in it is never touched.
    scratch : the hidden folder in which it is written first; by default one that does not outlive this call.

    Raises
    ------
    UsageError
        If the folder exists and may not be replaced.
    GalaxybenchError
        If catalogue, images or spectra do not fit ``info``, or the folder cannot be written.
    """
    target = Path(folder).absolute()
    refuse_existing(target, overwrite=overwrite)
    table = normalise_catalogue(catalogue, info)
    refuse_images(images, info, len(table))
    refuse_spectra(spectra, info, len(table))
    refuse_draws(label_draws, info, len(table))
    try:
        with scratch or Scratch(target) as place:
            order = np.argsort(catalogue["target_id"].to_numpy(), kind="stable")
            _write_files(place, info, table, _arrays(info, len(table), images, spectra, label_draws), order=order)
            place.swap()
    except OSError as error:
        raise GalaxybenchError(f"{target} cannot be written ({error.strerror or error}): choose another") from error
    return load_survey(target)


def refuse_existing(folder: Path, *, overwrite: bool) -> None:
    """Raise where writing a survey to ``folder`` would destroy something.

    Raises
    ------
    UsageError
        If the folder exists, unless it is empty, or is a survey folder and ``overwrite`` is set.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir() or folder.is_symlink():
        raise UsageError(f"{folder} exists and is not a folder: choose another place for the survey")
    entries = sorted(entry.name for entry in folder.iterdir())
    if not entries:
        return
    shards = [file for name in ARRAY_FILES for file in files_of(name, entries)]
    foreign = [name for name in entries if name not in (*SURVEY_FILES, *shards)]
    if foreign or INFO_FILE not in entries:
        what = foreign[0] if foreign else entries[0]
        raise UsageError(f"{folder} exists and holds {what}, which is no part of a survey: choose another folder")
    if not overwrite:
        raise UsageError(f"{folder} already holds a survey: choose another folder, or delete this one first")


def _write_files(
    scratch: Scratch, info: SurveyInfo, table: pd.DataFrame, arrays: Iterable[_Array], *, order: NDArray[np.intp]
) -> None:
    folder, ids = scratch.folder, table["target_id"].to_numpy()
    write_catalogue(folder / CATALOGUE_FILE, table)
    names = [CATALOGUE_FILE]
    places: dict[str, list[int]] = {}
    for entry in arrays:
        stored = []
        for name in entry.names:
            array, files, kept = create_array(folder / name, entry.dtype, entry.shape)
            if not kept:
                scratch.journal(entry.names[0]).forget()
            stored.append(array)
            names += files
            if len(files) > 1:
                places[Path(entry.names[0]).stem] = [len(part) for part in getattr(array, "parts", ())]
        if callable(entry.content):
            entry.content(*stored, ids)
        else:
            for given, array in zip(entry.content, stored, strict=True):
                _copy(given, array, order)
        for array in stored:
            array.flush()  # type: ignore[attr-defined]  # memory-mapped
    if places:
        _write_index(folder / INDEX_FILE, ids, places)
        names.append(INDEX_FILE)
    _write_facts(folder, info, table, names)


def _write_index(path: Path, target_id: NDArray[np.int64], lengths: Mapping[str, Sequence[int]]) -> None:
    """Write where each galaxy lies: ``target_id``, and of each array ``<array>_shard`` and ``<array>_row``, as Parquet.

    Parameters
    ----------
    path : of the file.
    target_id : (n,) ids, ascending.
    lengths : array -> rows of its shards.
    """
    columns: dict[str, NDArray] = {"target_id": target_id}
    for name, rows in lengths.items():
        columns[f"{name}_shard"] = np.repeat(np.arange(len(rows), dtype=np.int32), rows)
        columns[f"{name}_row"] = np.concatenate([np.arange(n, dtype=np.int64) for n in rows])
    pq.write_table(pa.table(columns), path, compression="zstd")


def _copy(given: NDArray, stored: NDArray, order: NDArray[np.intp]) -> None:
    for start in range(0, len(order), ROWS_AT_ONCE):
        stored[start : start + ROWS_AT_ONCE] = given[order[start : start + ROWS_AT_ONCE]]
        let_go(stored)


def _label_digest(info: SurveyInfo, table: pd.DataFrame, files: Mapping[str, str]) -> str:
    """sha256 of the errors and draws of labels; empty without any."""
    if not info.label_errors and not info.label_draws:
        return ""
    errors = catalogue_digest(table[["target_id", *info.error_columns]])
    draws = [files.get(name, "") for name in files_of(DRAWS_FILE, files)]
    content = [list(info.label_errors), list(info.label_draws), errors, draws]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _write_facts(scratch: Path, info: SurveyInfo, table: pd.DataFrame, names: list[str]) -> None:
    counts = table["split"].value_counts()
    files = {name: file_sha256(scratch / name) for name in names}
    errors = list(info.error_columns)
    filled = dataclasses.replace(
        info,
        files=files,
        counts={name: int(counts.get(name, 0)) for name in SPLITS},
        catalogue_digest=catalogue_digest(table.drop(columns=errors)),
        split_digest=split_digest(table["target_id"], table["split"]),
        label_digest=_label_digest(info, table, files),
    )
    write_info(scratch / INFO_FILE, filled)
    for name in (*names, INFO_FILE):
        with (scratch / name).open("rb") as stream:
            os.fsync(stream.fileno())

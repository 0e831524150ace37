"""Write a survey folder whole or not at all."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike, NDArray

from benchmark.contracts import GalaxybenchError, UsageError
from benchmark.data.catalogue import CATALOGUE_FILE, catalogue_digest, normalise_catalogue, write_catalogue
from benchmark.data.infofile import INFO_FILE, write_info
from benchmark.data.schema import SPLITS, SurveyInfo
from benchmark.data.splits import split_digest
from benchmark.data.survey import (
    IMAGE_DTYPES,
    IMAGE_FILE,
    IVAR_FILE,
    SPECTRA_FILE,
    Survey,
    load_survey,
)
from benchmark.store import file_sha256

__all__ = ["ImageWriter", "SpectrumWriter", "refuse_existing", "write_survey"]

ROWS_AT_ONCE = 256
SURVEY_FILES = (INFO_FILE, CATALOGUE_FILE, IMAGE_FILE, SPECTRA_FILE, IVAR_FILE)


@dataclass(frozen=True)
class ImageWriter:
    """Images that are made while they are written, so that memory stays bounded.

    Attributes
    ----------
    shape : (n, bands, height, width).
    dtype : of the file.
    fill : called once as ``fill(array, target_id)``: writes row i of the memory-mapped array for galaxy
        ``target_id[i]``; ids come ascending.
    """

    shape: tuple[int, int, int, int]
    dtype: DTypeLike
    fill: Callable[[NDArray, NDArray[np.int64]], None]


@dataclass(frozen=True)
class SpectrumWriter:
    """Spectra that are made while they are written, so that memory stays bounded.

    Attributes
    ----------
    shape : (n, n_wave).
    fill : called once as ``fill(flux, ivar, target_id)``: writes row i of both memory-mapped float32 arrays for galaxy
        ``target_id[i]``; ids come ascending.
    """

    shape: tuple[int, int]
    fill: Callable[[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]], None]


Spectra = SpectrumWriter | tuple[NDArray, NDArray]


def write_survey(
    folder: str | Path,
    info: SurveyInfo,
    catalogue: pd.DataFrame,
    *,
    images: NDArray | ImageWriter | None = None,
    spectra: Spectra | None = None,
    overwrite: bool = False,
) -> Survey:
    """Write a survey folder: into a hidden sibling first, then renamed, so that no half survey is ever left.

    Parameters
    ----------
    folder : where to; its parents are made.
    info : the survey's facts; ``files``, ``counts`` and digests are filled in here.
    catalogue : one row a galaxy, any order; stored sorted by ``target_id``.
    images : (n, bands, height, width) with rows as in ``catalogue``, or an `ImageWriter`.
    spectra : flux and ivar, (n, n_wave) each with rows as in ``catalogue``, stored as float32, or a `SpectrumWriter`.
    overwrite : replace an existing survey folder; a folder with other files in it is never touched.

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
    _refuse_images(images, info, len(table))
    _refuse_spectra(spectra, info, len(table))
    scratch = target.parent / f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.partial"
    try:
        scratch.mkdir(parents=True)
        try:
            order = np.argsort(catalogue["target_id"].to_numpy(), kind="stable")
            _write_files(scratch, info, table, images, spectra, order=order)
            _swap(scratch, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
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
    foreign = [name for name in entries if name not in SURVEY_FILES]
    if foreign or INFO_FILE not in entries:
        what = foreign[0] if foreign else entries[0]
        raise UsageError(f"{folder} exists and holds {what}, which is no part of a survey: choose another folder")
    if not overwrite:
        raise UsageError(f"{folder} already holds a survey: choose another folder, or delete this one first")


def _refuse_images(images: NDArray | ImageWriter | None, info: SurveyInfo, n_galaxies: int) -> None:
    if images is None:
        if info.image_bands:
            raise GalaxybenchError(f"image_bands = {', '.join(info.image_bands)} but no images were given")
        return
    expected = (n_galaxies, len(info.image_bands))
    if not info.image_bands or len(images.shape) != 4 or images.shape[:2] != expected:
        raise GalaxybenchError(
            f"images have shape {tuple(images.shape)}: {n_galaxies} galaxies in {len(info.image_bands)} image_bands "
            "need (n, bands, height, width)"
        )
    allowed = IMAGE_DTYPES[str(info.image_unit)]
    if np.dtype(images.dtype).name not in allowed:
        raise GalaxybenchError(f"images have dtype {images.dtype}: {info.image_unit} needs {' or '.join(allowed)}")


def _refuse_spectra(spectra: Spectra | None, info: SurveyInfo, n_galaxies: int) -> None:
    if spectra is None:
        if info.n_wave:
            raise GalaxybenchError(f"n_wave = {info.n_wave} but no spectra were given")
        return
    expected = (n_galaxies, info.n_wave)
    parts = {"spectra": spectra} if isinstance(spectra, SpectrumWriter) else {"flux": spectra[0], "ivar": spectra[1]}
    for name, part in parts.items():
        if not info.n_wave or tuple(part.shape) != expected:
            raise GalaxybenchError(
                f"{name} of shape {tuple(part.shape)}: {n_galaxies} galaxies with n_wave = {info.n_wave} "
                "need (n, n_wave)"
            )
    if not isinstance(spectra, SpectrumWriter) and any(np.dtype(part.dtype).kind != "f" for part in spectra):
        raise GalaxybenchError(f"spectra have dtypes {spectra[0].dtype}, {spectra[1].dtype}: floats are stored")


def _write_files(
    scratch: Path,
    info: SurveyInfo,
    table: pd.DataFrame,
    images: NDArray | ImageWriter | None,
    spectra: Spectra | None,
    *,
    order: NDArray[np.intp],
) -> None:
    write_catalogue(scratch / CATALOGUE_FILE, table)
    names, ids = [CATALOGUE_FILE], table["target_id"].to_numpy()
    if images is not None:
        stored = _created(scratch / IMAGE_FILE, images.dtype, images.shape)
        if isinstance(images, ImageWriter):
            images.fill(stored, ids)
        else:
            _copy(images, stored, order)
        stored.flush()
        names.append(IMAGE_FILE)
    if spectra is not None:
        shape = (len(table), info.n_wave)
        flux, ivar = (_created(scratch / name, np.float32, shape) for name in (SPECTRA_FILE, IVAR_FILE))
        if isinstance(spectra, SpectrumWriter):
            spectra.fill(flux, ivar, ids)
        else:
            _copy(spectra[0], flux, order)
            _copy(spectra[1], ivar, order)
        flux.flush()
        ivar.flush()
        names += [SPECTRA_FILE, IVAR_FILE]
    _write_facts(scratch, info, table, names)


def _created(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap:
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=tuple(shape))


def _copy(given: NDArray, stored: NDArray, order: NDArray[np.intp]) -> None:
    for start in range(0, len(order), ROWS_AT_ONCE):
        stored[start : start + ROWS_AT_ONCE] = given[order[start : start + ROWS_AT_ONCE]]


def _write_facts(scratch: Path, info: SurveyInfo, table: pd.DataFrame, names: list[str]) -> None:
    counts = table["split"].value_counts()
    filled = dataclasses.replace(
        info,
        files={name: file_sha256(scratch / name) for name in names},
        counts={name: int(counts.get(name, 0)) for name in SPLITS},
        catalogue_digest=catalogue_digest(table),
        split_digest=split_digest(table["target_id"], table["split"]),
    )
    write_info(scratch / INFO_FILE, filled)
    for name in (*names, INFO_FILE):
        with (scratch / name).open("rb") as stream:
            os.fsync(stream.fileno())


def _swap(scratch: Path, target: Path) -> None:
    """Put the finished folder in its place; an older survey goes only once the new one stands."""
    if not target.exists():
        scratch.rename(target)
        return
    old = scratch.with_suffix(".old")
    target.rename(old)
    try:
        scratch.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)

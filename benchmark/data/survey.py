"""A survey folder, opened: facts at once, the catalogue, images and spectra when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError, Modality, Target, UsageError
from benchmark.data.infofile import INFO_FILE, read_info
from benchmark.data.schema import SPLITS, SurveyInfo
from benchmark.data.stored import files_of, open_array
from benchmark.store import file_sha256

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ARRAY_FILES",
    "DRAWS_FILE",
    "IMAGE_FILE",
    "INDEX_FILE",
    "IVAR_FILE",
    "SPECTRA_FILE",
    "Survey",
    "load_survey",
]

IMAGE_FILE = "images.npy"
SPECTRA_FILE = "spectra.npy"
IVAR_FILE = "spectra_ivar.npy"
DRAWS_FILE = "label_draws.npy"
ARRAY_FILES = (IMAGE_FILE, SPECTRA_FILE, IVAR_FILE, DRAWS_FILE)
INDEX_FILE = "index.parquet"
CATALOGUE_FILE = "catalogue.parquet"
IMAGE_DTYPES = {"nanomaggy": ("float16", "float32"), "display_uint8": ("uint8",)}


@dataclass(frozen=True)
class Survey:
    """One survey folder: rows are galaxies, sorted by ``target_id`` in the catalogue and in every array.

    Attributes
    ----------
    folder : where it lies.
    info : ``survey.toml``.
    """

    folder: Path
    info: SurveyInfo

    @cached_property
    def catalogue(self) -> pd.DataFrame:
        """One row a galaxy, sorted by ``target_id``; NaN = missing."""
        from benchmark.data.catalogue import read_catalogue  # pandas costs .7 s of start-up: plans do without

        return read_catalogue(self.folder / CATALOGUE_FILE, self.info)

    @property
    def target_id(self) -> NDArray[np.int64]:
        """(n,) ids, ascending."""
        return self.catalogue["target_id"].to_numpy(dtype=np.int64)

    @property
    def split(self) -> NDArray[np.str_]:
        """(n,) of train, validation, test or unlabelled."""
        return self.catalogue["split"].to_numpy(dtype="U10")

    @property
    def n_galaxies(self) -> int:
        """Rows of the catalogue."""
        return self.info.n_galaxies

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What a model can read here: ``photometry``, ``image``, ``spectrum``."""
        present: list[Modality] = []
        if self.info.photometry_bands:
            present.append("photometry")
        if self.info.image_bands:
            present.append("image")
        if self.info.n_wave:
            present.append("spectrum")
        return tuple(present)

    @cached_property
    def images(self) -> NDArray | None:
        """(n, bands, height, width) as stored, memory-mapped and read-only; None where the survey has none."""
        return _open_images(self.folder, self.info) if self.info.image_bands else None

    @cached_property
    def spectra(self) -> NDArray[np.float32] | None:
        """(n, n_wave) flux densities, 1e-17 erg/s/cm2/A, memory-mapped and read-only; None where there are none."""
        return _open_spectra(self.folder, SPECTRA_FILE, self.info) if self.info.n_wave else None

    @cached_property
    def spectra_ivar(self) -> NDArray[np.float32] | None:
        """(n, n_wave) inverse variances of `spectra`, 0 = invalid; None where there are none."""
        return _open_spectra(self.folder, IVAR_FILE, self.info) if self.info.n_wave else None

    @cached_property
    def label_draws(self) -> NDArray[np.float32] | None:
        """(n, n_draws, t) posterior draws of ``info.label_draws``, memory-mapped and read-only; None without any."""
        return _open_draws(self.folder, self.info) if self.info.label_draws else None

    @property
    def wave_angstrom(self) -> NDArray[np.float64] | None:
        """(n_wave,) observed wavelength of each pixel, vacuum; None without spectra."""
        start, step = self.info.wave_start_angstrom, self.info.wave_step_angstrom
        if start is None or step is None:
            return None
        return start + step * np.arange(self.info.n_wave, dtype=np.float64)

    @property
    def digest(self) -> str:
        """sha256 of the survey's content: what may move a score."""
        return self.info.digest

    @property
    def split_digest(self) -> str:
        """sha256 of ids with their splits."""
        return self.info.split_digest

    @property
    def label_digest(self) -> str:
        """sha256 of errors and draws of labels; empty without any. They add scores and move none."""
        return self.info.label_digest

    @property
    def joint_targets(self) -> tuple[Target, ...]:
        """The default targets, over which a posterior is joint; a density over classes makes no sense."""
        return tuple(target for target in self.info.targets if target.joint and not target.classes)

    @property
    def ranked_targets(self) -> tuple[Target, ...]:
        """The targets by which models are ordered."""
        return tuple(target for target in self.info.targets if target.ranked)

    @property
    def numeric_targets(self) -> tuple[Target, ...]:
        """All targets; each is a column of numbers."""
        return self.info.targets

    def target_info(self, name: str) -> Target:
        """Return the facts about one target.

        Raises
        ------
        UsageError
            If the survey has no such target.
        """
        for target in self.info.targets:
            if target.name == name:
                return target
        known = ", ".join(target.name for target in self.info.targets) or "none"
        raise UsageError(f"target {name!r} is not in survey {self.info.name}: it has {known}")

    def rows(self, *splits: str) -> NDArray[np.int64]:
        """Return the row numbers of some splits, ascending in ``target_id``; of all galaxies without an argument.

        Raises
        ------
        UsageError
            If a split is not train, validation, test or unlabelled.
        """
        for name in splits:
            if name not in SPLITS:
                raise UsageError(f"split {name!r}: allowed are {', '.join(SPLITS)}")
        if not splits:
            return np.arange(self.n_galaxies, dtype=np.int64)
        return np.flatnonzero(np.isin(self.split, splits)).astype(np.int64)

    def target(self, names: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (len(rows), len(names)) values in the targets' units, NaN where missing.

        Raises
        ------
        UsageError
            If the survey has no such target.
        """
        for name in names:
            self.target_info(name)
        columns = [self.catalogue[name].to_numpy(dtype=np.float64)[rows] for name in names]
        return np.stack(columns, axis=1) if columns else np.empty((len(rows), 0))

    def counts(self) -> dict[str, int]:
        """Return the number of galaxies of each split, all four named."""
        return {name: int(self.info.counts.get(name, 0)) for name in SPLITS}


def load_survey(path: str | Path) -> Survey:
    """Open a survey folder after light checks: its facts, the catalogue's sha256, the arrays' headers and lengths.

    The sha256 of images and spectra takes as long as reading them, so `check_survey` verifies it.

    Raises
    ------
    UsageError
        If there is no survey folder.
    GalaxybenchError
        If a file is missing, altered, truncated or does not fit ``survey.toml``.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a survey folder: there is no such folder; build or import one first")
    if not (folder / INFO_FILE).is_file():
        raise UsageError(f"{folder} is not a survey folder: it has no {INFO_FILE}; build or import one first")
    info = read_info(folder / INFO_FILE)
    expected = _expected_files(info)
    for name in expected:
        if name not in info.files:
            raise GalaxybenchError(f"{folder / INFO_FILE}: files names no {name}: import or build the survey again")
    for name in info.files:
        if name not in expected:
            raise GalaxybenchError(f"{folder / INFO_FILE}: files names {name!r}; expected: {', '.join(expected)}")
        if not (folder / name).is_file():
            raise GalaxybenchError(f"{folder / name} is missing: import or build the survey again")
    for name in (CATALOGUE_FILE, INDEX_FILE):
        if name in expected and file_sha256(folder / name) != info.files[name]:
            raise GalaxybenchError(
                f"{folder / name} was altered or truncated (its sha256 is not the one in {INFO_FILE}): "
                "import or build the survey again"
            )
    survey = Survey(folder, info)
    _ = survey.images, survey.spectra, survey.spectra_ivar, survey.label_draws  # headers and lengths
    return survey


def _expected_files(info: SurveyInfo) -> list[str]:
    arrays = [IMAGE_FILE] if info.image_bands else []
    arrays += [SPECTRA_FILE, IVAR_FILE] if info.n_wave else []
    arrays += [DRAWS_FILE] if info.label_draws else []
    found = [files_of(name, info.files) for name in arrays]
    index = [INDEX_FILE] if any(len(names) > 1 for names in found) else []
    return [CATALOGUE_FILE, *index, *(name for names in found for name in names)]


def _open_images(folder: Path, info: SurveyInfo) -> NDArray:
    path = folder / IMAGE_FILE
    images = open_array(folder, IMAGE_FILE, info.files)
    if images.ndim != 4 or images.shape[:2] != (info.n_galaxies, len(info.image_bands)):
        raise GalaxybenchError(
            f"{path} has shape {images.shape}: survey.toml says {info.n_galaxies} galaxies in "
            f"{len(info.image_bands)} bands, (n, bands, height, width); import or build the survey again"
        )
    allowed = IMAGE_DTYPES[str(info.image_unit)]
    if images.dtype.name not in allowed:
        raise GalaxybenchError(f"{path} has dtype {images.dtype}: {info.image_unit} images are {' or '.join(allowed)}")
    return images


def _open_spectra(folder: Path, name: str, info: SurveyInfo) -> NDArray[np.float32]:
    path = folder / name
    spectra = open_array(folder, name, info.files)
    if spectra.shape != (info.n_galaxies, info.n_wave) or spectra.dtype != np.float32:
        raise GalaxybenchError(
            f"{path} has shape {spectra.shape} and dtype {spectra.dtype}: survey.toml says {info.n_galaxies} galaxies "
            f"of {info.n_wave} pixels, float32; import or build the survey again"
        )
    return spectra


def _open_draws(folder: Path, info: SurveyInfo) -> NDArray[np.float32]:
    draws = open_array(folder, DRAWS_FILE, info.files)
    expected = (info.n_galaxies, len(info.label_draws))
    if draws.ndim != 3 or (draws.shape[0], draws.shape[2]) != expected or draws.dtype != np.float32:
        raise GalaxybenchError(
            f"{folder / DRAWS_FILE} has shape {draws.shape} and dtype {draws.dtype}: survey.toml says {expected[0]} "
            f"galaxies with draws of {expected[1]} targets, float32; import or build the survey again"
        )
    return draws

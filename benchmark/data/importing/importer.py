"""Make a survey folder from files of others, as an import spec says."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.contracts import GalaxybenchError, Progress, Target, UsageError
from benchmark.data.importing.assembling import OWNERS, decide_splits, put_together
from benchmark.data.importing.cutouts import ImageSource
from benchmark.data.importing.draws import DrawSource
from benchmark.data.importing.label_arrays import LabelDraws, draw_sources
from benchmark.data.importing.pixels import Images, Spectra, image_sources, spectrum_sources
from benchmark.data.importing.sources import SourcePart, read_source
from benchmark.data.importing.spec import DEBIASED, ImportSpec, read_spec
from benchmark.data.importing.spectra import SpectrumSource
from benchmark.data.importing.verdicts import Verdicts, file_state
from benchmark.data.schema import SurveyInfo
from benchmark.data.scratch import Scratch
from benchmark.data.survey import Survey
from benchmark.data.writing import refuse_existing, write_survey

__all__ = ["DATA_VARIABLE", "ImportReport", "SourceReport", "import_survey", "plan_import"]

DATA_VARIABLE = "GALAXYBENCH_REAL_DATA"


@dataclass(frozen=True)
class SourceReport:
    """What became of the rows of one source."""

    path: str
    rows_read: int
    rows_kept: int
    dropped: dict[str, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes
    ----------
    sources : one report a source, in the spec's order.
    n_galaxies : galaxies of the survey.
    dropped : reason -> galaxies dropped after the sources were put together.
    split_rule : how the splits were made.
    """

    sources: tuple[SourceReport, ...]
    n_galaxies: int
    dropped: dict[str, int]
    split_rule: str

    @property
    def rows_read(self) -> int:
        """Rows of all files."""
        return sum(source.rows_read for source in self.sources)

    def text(self) -> str:
        """Return the report as lines for people."""
        lines = []
        for source in self.sources:
            reasons = "".join(f"; {n} dropped: {why}" for why, n in source.dropped.items())
            lines.append(f"{source.path}: {source.rows_read} rows read, {source.rows_kept} kept{reasons}")
            lines += [f"  {note}" for note in source.notes]
        lines += [f"{n} galaxies dropped: {why}" for why, n in self.dropped.items()]
        return "\n".join([*lines, f"{self.n_galaxies} galaxies; split: {self.split_rule}"])


def import_survey(
    spec_path: str | Path,
    folder: str | Path,
    *,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    announce: Callable[[str], None] | None = None,
    workers: int = 1,
    overwrite: bool = False,
) -> tuple[Survey, ImportReport]:
    """Import the survey that a spec describes into a survey folder.

    Only the named columns are held in memory; images are read one at a time, straight into the file.

    Parameters
    ----------
    spec_path : TOML, see docs/surveys.md.
    folder : the survey folder to write.
    data_dir : where relative paths of the spec start; else ``$GALAXYBENCH_REAL_DATA``, else the spec's own folder.
    progress : called with (images or spectra done, in all).
    announce : called with one line that says what will be written, before anything is.
    workers : processes that read images; more than one start the interpreter anew, so scripts need a main guard.
    overwrite : replace an existing survey folder.

    Returns
    -------
    survey, report

    Raises
    ------
    UsageError
        If the spec or a file does not exist, or the folder may not be written to.
    GalaxybenchError
        If spec, tables and images do not fit together; the message names file, column and galaxies.
    """
    target = Path(folder).absolute()
    refuse_existing(target, overwrite=overwrite)
    with Verdicts(target) as verdicts:
        prepared = _prepare(read_spec(spec_path), data_dir, verdicts)
        if announce is not None:
            announce(prepared.text())
        _refuse_full_disk(target, prepared.n_bytes)
        scratch = Scratch(target, prepared.key)
        table, images, spectra = prepared.table, prepared.images, prepared.spectra
        survey = write_survey(
            folder,
            prepared.info,
            prepared.catalogue,
            images=None if images is None else images.writer(table, prepared.image_shape, progress, workers, scratch),
            spectra=None if spectra is None else spectra.writer(table, progress, scratch),
            label_draws=None if prepared.draws is None else prepared.draws.writer(table, scratch),
            overwrite=overwrite,
            scratch=scratch,
        )
    return survey, prepared.report


def plan_import(spec_path: str | Path, *, data_dir: str | Path | None = None) -> str:
    """Return what an import would write, and what it would drop, as lines for people; nothing is written.

    Raises
    ------
    UsageError, GalaxybenchError
        As `import_survey`, but for images and spectra that are only found to be bad when they are read.
    """
    prepared = _prepare(read_spec(spec_path), data_dir, Verdicts())
    return f"{prepared.report.text()}\n{prepared.text()}"


_Source = ImageSource | SpectrumSource | DrawSource


def _key(table: pd.DataFrame, sources: Sequence[_Source], *more: object) -> str:
    """16 hexadecimal digits of galaxies, files (by size and date, cutouts by the date of their folder) and code."""
    digest = hashlib.sha256(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
    for source in sources:
        for path in source.places:
            digest.update(repr((str(path), file_state(path))).encode())
        for name in source.names or ():
            digest.update(name.encode() + b"\0")
    digest.update(repr(([source.spec for source in sources], *more)).encode())
    for module in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(module.read_bytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class _Prepared:
    """An import before anything is written: the galaxies, and where their pixels lie."""

    info: SurveyInfo
    table: pd.DataFrame
    images: Images | None
    image_shape: tuple[int, int, int]
    spectra: Spectra | None
    draws: LabelDraws | None
    report: ImportReport

    @property
    def catalogue(self) -> pd.DataFrame:
        return self.table.drop(columns=[name for owner in OWNERS for name in owner], errors="ignore")

    @property
    def key(self) -> str | None:
        """Of all that determines the pixels, by which an import that was cut off is known; None where it has none."""
        if self.images is None and self.spectra is None and self.draws is None:
            return None
        sources: list[_Source] = []
        for arrays in (self.images, self.spectra, self.draws):
            sources += arrays.sources.values() if arrays is not None else ()
        return _key(self.table, sources, self.image_shape, self.spectra.grid if self.spectra else None)

    def _arrays(self) -> dict[str, tuple[tuple[int, ...], str, int]]:
        """Name -> (shape, dtype, bytes) of the arrays to be written."""
        shapes: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
        n = len(self.table)
        if self.images is not None:
            shapes["images"] = (n, *self.image_shape), np.dtype(self.images.dtype)
        if self.spectra is not None:
            shapes |= dict.fromkeys(("spectra", "ivar"), ((n, self.spectra.grid.n), np.dtype(np.float32)))
        if self.draws is not None:
            draws = (n, self.draws.n_draws, len(self.draws.targets))
            shapes["draws of labels"] = draws, np.dtype(np.float32)
        return {
            name: (shape, dtype.name, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
            for name, (shape, dtype) in shapes.items()
        }

    @property
    def n_bytes(self) -> int:
        """Size of the folder, the catalogue uncompressed."""
        return int(self.catalogue.memory_usage(deep=False).sum()) + sum(n for _, _, n in self._arrays().values())

    def text(self) -> str:
        parts = [f"catalogue of {len(self.table)} galaxies with {self.catalogue.shape[1]} columns"]
        for name, (shape, dtype, n_bytes) in self._arrays().items():
            parts.append(f"{name} {' x '.join(map(str, shape))} {dtype} ({n_bytes / 1e6:.1f} MB)")
        return f"to write: {', '.join(parts)}; {self.n_bytes / 1e6:.1f} MB in all"


def _prepare(spec: ImportSpec, data_dir: str | Path | None, verdicts: Verdicts) -> _Prepared:
    """Read the tables and look where the pixels lie."""
    root = _data_root(spec, data_dir)
    parts = [
        read_source(source, root, spec.missing, f"{spec.path}: source {number}")
        for number, source in enumerate(spec.sources, start=1)
    ]
    table = put_together(spec, parts)
    table["split"], split_rule = decide_splits(spec, table)
    dropped: Counter[str] = Counter()
    sources = [pixels for part in parts for pixels in (part.images, part.spectra) if pixels is not None]
    if any(source.decides for source in sources):
        verdicts.open(_key(table, sources))
    images, shape = image_sources(spec, parts), (0, 0, 0)
    if images is not None:
        table, shape = images.check(table, dropped, verdicts)
    spectra = spectrum_sources(spec, parts, table)
    if spectra is not None:
        table = spectra.check(table, dropped, verdicts)
    draws = draw_sources(spec, parts, table)
    stretch = images.stretch(table, verdicts) if images is not None else ()
    drawn = draws.targets if draws is not None else ()
    info = replace(_info(spec, images, spectra, split_rule), image_stretch=stretch, label_draws=drawn)
    reports = tuple(_report(source.path, part) for source, part in zip(spec.sources, parts, strict=True))
    report = ImportReport(reports, len(table), dict(dropped), split_rule)
    return _Prepared(info, table, images, shape, spectra, draws, report)


def _refuse_full_disk(folder: Path, n_bytes: int) -> None:
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if n_bytes > free:
        raise GalaxybenchError(
            f"{folder} needs {n_bytes / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: choose another disk, or crop"
        )


def _data_root(spec: ImportSpec, data_dir: str | Path | None) -> Path:
    named_root = data_dir or os.environ.get(DATA_VARIABLE)
    root = Path(named_root) if named_root else spec.path.parent
    if not root.is_dir():
        raise UsageError(f"data folder {root} does not exist: give --data DIR or set ${DATA_VARIABLE}")
    return root


def _report(path: str, part: SourcePart) -> SourceReport:
    dropped = {why: n for why, n in part.dropped.items() if n}
    return SourceReport(path, part.n_read, part.n_read - sum(dropped.values()), dropped, tuple(part.notes))


def _info(spec: ImportSpec, images: Images | None, spectra: Spectra | None, split_rule: str) -> SurveyInfo:
    targets: dict[str, Target] = {}
    bands: dict[str, None] = {}
    errors: dict[str, None] = {}
    votes: dict[str, dict[str, None]] = {}
    for number, source in enumerate(spec.sources, start=1):
        for target in source.target_facts:
            if targets.setdefault(target.name, target) != target:
                raise GalaxybenchError(
                    f"{spec.path}: source {number}: target {target.name!r} has other facts than before"
                )
        bands |= dict.fromkeys(source.photometry)
        errors |= dict.fromkeys(source.errors)
        for key in source.votes:
            question, _, answer = key.partition("_")
            if not key.endswith((DEBIASED, "_total")):
                votes.setdefault(question, {})[answer] = None
    info = SurveyInfo(
        name=spec.name,
        version=spec.version,
        targets=tuple(targets.values()),
        photometry_bands=tuple(bands),
        split_rule=split_rule,
        label_errors=tuple(errors),
        licence=spec.licence,
        reference=spec.reference,
        votes={question: tuple(answers) for question, answers in votes.items()},
    )
    if spectra is not None:
        grid = spectra.grid
        info = replace(info, wave_start_angstrom=grid.start, wave_step_angstrom=grid.step, n_wave=grid.n)
    if images is None:
        return info
    return replace(info, image_bands=images.bands, image_unit=images.unit, pixel_scale_arcsec=images.pixel_scale_arcsec)

"""Make a survey folder from files of others, as an import spec says."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.contracts import GalaxybenchError, Progress, Target, UsageError
from benchmark.data.assembling import IMAGE_SOURCE, SPECTRUM_SOURCE, decide_splits, put_together
from benchmark.data.pixels import Images, Spectra, image_sources, spectrum_sources
from benchmark.data.schema import SurveyInfo
from benchmark.data.sources import IMAGE_ROW, SPECTRUM_ROW, SourcePart, read_source
from benchmark.data.spec import DEBIASED, ImportSpec, read_spec
from benchmark.data.survey import Survey
from benchmark.data.writing import refuse_existing, write_survey

__all__ = ["DATA_VARIABLE", "ImportReport", "SourceReport", "import_survey"]

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
    overwrite: bool = False,
) -> tuple[Survey, ImportReport]:
    """Import the survey that a spec describes into a survey folder.

    Only the named columns are held in memory; images are read one at a time, straight into the file.

    Parameters
    ----------
    spec_path : TOML, see docs/surveys.md.
    folder : the survey folder to write.
    data_dir : where relative paths of the spec start; else ``$GALAXYBENCH_REAL_DATA``, else the spec's own folder.
    progress : called with (images done, images in all).
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
    spec = read_spec(spec_path)
    refuse_existing(Path(folder).absolute(), overwrite=overwrite)
    root = _data_root(spec, data_dir)
    parts = [
        read_source(source, root, spec.missing, f"{spec.path}: source {number}")
        for number, source in enumerate(spec.sources, start=1)
    ]
    table = put_together(spec, parts)
    table["split"], split_rule = decide_splits(spec, table)
    dropped: Counter[str] = Counter()
    images, spectra, image_writer, spectrum_writer = image_sources(spec, parts), None, None, None
    if images is not None:
        table, shape = images.check(table, dropped)
    spectra = spectrum_sources(spec, parts, table)
    if spectra is not None:
        table = spectra.check(table, dropped)
        spectrum_writer = spectra.writer(table, progress)
    if images is not None:
        image_writer = images.writer(table, shape, progress)
    catalogue = table.drop(columns=[IMAGE_ROW, IMAGE_SOURCE, SPECTRUM_ROW, SPECTRUM_SOURCE], errors="ignore")
    survey = write_survey(
        folder,
        _info(spec, images, spectra, split_rule),
        catalogue,
        images=image_writer,
        spectra=spectrum_writer,
        overwrite=overwrite,
    )
    reports = tuple(_report(source.path, part) for source, part in zip(spec.sources, parts, strict=True))
    return survey, ImportReport(reports, survey.n_galaxies, dict(dropped), split_rule)


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
    votes: dict[str, dict[str, None]] = {}
    for number, source in enumerate(spec.sources, start=1):
        for target in source.target_facts:
            if targets.setdefault(target.name, target) != target:
                raise GalaxybenchError(
                    f"{spec.path}: source {number}: target {target.name!r} has other facts than before"
                )
        bands |= dict.fromkeys(source.photometry)
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

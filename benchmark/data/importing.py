"""Make a survey folder from files of others, as an import spec says."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError, Progress, Target, UsageError
from benchmark.data.readers.images import image_shape, read_image
from benchmark.data.schema import SurveyInfo
from benchmark.data.sources import IMAGE_COLUMN, SourcePart, read_source
from benchmark.data.spec import DEBIASED, ImageSpec, ImportSpec, read_spec
from benchmark.data.splits import hash_split, validation_from_train
from benchmark.data.survey import Survey
from benchmark.data.tables import named
from benchmark.data.writing import ImageWriter, refuse_existing, write_survey

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
    table = _put_together(spec, parts)
    table["split"], split_rule = _decide_splits(spec, table)
    dropped: Counter[str] = Counter()
    images, writer = _image_spec(spec), None
    if images is not None:
        table, shape = _check_images(table, images, dropped)
        writer = _image_writer(table, shape, progress)
    catalogue = table.drop(columns=IMAGE_COLUMN, errors="ignore")
    survey = write_survey(folder, _info(spec, images, split_rule), catalogue, images=writer, overwrite=overwrite)
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


def _put_together(spec: ImportSpec, parts: list[SourcePart]) -> pd.DataFrame:
    """Append and join the sources by id, in the spec's order."""
    table = parts[0].table
    for number, (source, part) in enumerate(zip(spec.sources[1:], parts[1:], strict=True), start=2):
        where = f"{spec.path}: source {number} ({source.path})"
        shared = np.intersect1d(table["target_id"], part.table["target_id"])
        if source.role == "append":
            if len(shared):
                raise GalaxybenchError(f"{where}: ids {named(shared)} are in an earlier source too; use role = 'join'")
            table = pd.concat([table, part.table], ignore_index=True)
            continue
        if source.split == "hash":
            part.table = part.table.drop(columns="split")
        else:
            table = table.drop(columns="split")
        doubled = [name for name in part.table.columns if name != "target_id" and name in table]
        if doubled:
            raise GalaxybenchError(f"{where}: brings {', '.join(doubled)}, which an earlier source has; name it once")
        part.dropped["not in the catalogue it is joined to"] += len(part.table) - len(shared)
        part.notes.append(f"{len(shared)} of {len(table)} galaxies matched")
        table = table.merge(part.table, on="target_id", how="left", validate="one_to_one")
    return table


def _decide_splits(spec: ImportSpec, table: pd.DataFrame) -> tuple[NDArray, str]:
    """Return the split of each galaxy and the rule in words."""
    ids, given = table["target_id"].to_numpy(), table["split"]
    by_hash = given.isna().to_numpy()
    brought = sorted({source.split for source in spec.sources if source.split != "hash"})
    if not brought:
        return hash_split(ids), "hash"
    whole = all(source.split == "hash" for source in spec.sources if source.role == "append")
    if by_hash.any() and whole:
        raise GalaxybenchError(f"{spec.path}: no split for ids {named(ids[by_hash])}: the joined source lacks them")
    split = given.fillna("").to_numpy(dtype="U10")
    rule = f"from the source ({', '.join(brought)})"
    if "validation" not in split and "train" in split:
        split = validation_from_train(ids, split)
        rule += "; validation is 12.5 % of train, by hash of target_id"
    if by_hash.any():
        split[by_hash] = hash_split(ids[by_hash])
        rule += "; hash of target_id for the other sources"
    return split, rule


def _image_spec(spec: ImportSpec) -> ImageSpec | None:
    found = [source.images for source in spec.sources if source.images is not None]
    for images in found[1:]:
        if (images.bands, images.pixel_scale_arcsec) != (found[0].bands, found[0].pixel_scale_arcsec):
            raise GalaxybenchError(f"{spec.path}: images of the sources differ in bands or pixel_scale_arcsec")
    if len({images.bad for images in found}) > 1:
        raise GalaxybenchError(f"{spec.path}: images of the sources differ in bad: choose refuse or drop for all")
    return found[0] if found else None


def _check_images(
    table: pd.DataFrame, images: ImageSpec, dropped: Counter[str]
) -> tuple[pd.DataFrame, tuple[int, int, int]]:
    """Return the galaxies with good images and their (channels, height, width), the most common one."""
    shapes: dict[int, tuple[int, int, int]] = {}
    reasons: dict[int, str] = {}
    for galaxy, path in zip(table["target_id"], table[IMAGE_COLUMN]):
        try:
            if not isinstance(path, str):
                raise GalaxybenchError("no source names its image")
            shape = image_shape(Path(path))  # a header; the pixels are decoded once, while they are written,
            if images.bad == "drop":  # unless it must be known now which do not decode
                read_image(Path(path))
            shapes[galaxy] = shape
        except GalaxybenchError as error:
            reasons[galaxy] = str(error)
    if not shapes:
        raise GalaxybenchError(f"no image can be read: {next(iter(reasons.values()))}; check folder and name")
    usual = Counter(shapes.values()).most_common(1)[0][0]
    if usual[0] != len(images.bands):
        raise GalaxybenchError(f"images have {usual[0]} channels: bands names {', '.join(images.bands)}")
    for galaxy, shape in shapes.items():
        if shape != usual:
            reasons[galaxy] = f"wrong size {shape}, most are {usual}"
    if reasons and images.bad == "refuse":
        raise _bad_images(reasons)
    if reasons:
        dropped["missing, unreadable or wrong-sized image"] = len(reasons)
    return table[~table["target_id"].isin(list(reasons))].reset_index(drop=True), usual


def _bad_images(reasons: dict[int, str]) -> GalaxybenchError:
    listed = "; ".join(f"{galaxy}: {reason}" for galaxy, reason in list(reasons.items())[:3])
    return GalaxybenchError(
        f"{len(reasons)} galaxies have no good image ({listed}): repair them, or set bad = 'drop' in images"
    )


def _image_writer(table: pd.DataFrame, shape: tuple[int, int, int], progress: Progress | None) -> ImageWriter:
    paths = dict(zip(table["target_id"], table[IMAGE_COLUMN]))

    def fill(array: NDArray, target_id: NDArray[np.int64]) -> None:
        reasons: dict[int, str] = {}
        for row, galaxy in enumerate(target_id):
            try:
                array[row] = read_image(Path(paths[galaxy]))
            except GalaxybenchError as error:
                reasons[int(galaxy)] = str(error)
            if progress is not None:
                progress(row + 1, len(target_id))
        if reasons:
            raise _bad_images(reasons)

    return ImageWriter((len(table), *shape), np.uint8, fill)


def _info(spec: ImportSpec, images: ImageSpec | None, split_rule: str) -> SurveyInfo:
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
    if images is None:
        return info
    return replace(
        info, image_bands=images.bands, image_unit="display_uint8", pixel_scale_arcsec=images.pixel_scale_arcsec
    )

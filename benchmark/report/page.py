"""The page itself: a template filled and written in one step, with a policy that lets it load nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from benchmark.contracts import MetricCard, TaskCard, UsageError
from benchmark.data.survey import Survey
from benchmark.registry import METRICS, SURVEYS, TASKS
from benchmark.report import ceilings, class_panels, panels, training_panels
from benchmark.report.contents import Contents, Part, read_contents
from benchmark.report.galaxies import Galaxies, galaxies_of
from benchmark.report.tables import Table, absent_notes, constant_notes, task_tables
from benchmark.store import Store, atomic_write

__all__ = ["write_page", "write_survey_page"]

_INTERVALS = {
    "galaxies": "bootstrap over test galaxies",
    "references": "range over other random reference points of the test",
    "band": "distribution-free band (Massart 1990)",
}
_BETTER = {"higher": "higher is better", "lower": "lower is better", "zero": "closest to 0 is best"}
_ROW_FIELDS = (
    *("survey", "preset", "recipe", "model", "modality", "probe", "n_labels", "task", "target", "condition", "metric"),
    *("value", "ci_low", "ci_high", "n", "rank_low", "rank_high", "tie_group"),
    *("floor", "seed_spread", "status", "error", "contamination"),
)


@dataclass(frozen=True)
class _TaskSection:
    card: TaskCard
    tables: list[Table]
    picture: panels.Picture | None
    constant: list[tuple[str, str, str]]


@dataclass(frozen=True)
class _PartSection:
    part: Part
    summary: str
    tasks: list[_TaskSection]
    redshift: list[Any]
    calibration: list[Any]
    classes: list[class_panels.ClassCalibration]
    ceilings: list[ceilings.Ceiling]
    ceiling_gaps: list[panels.Gap]
    trainings: list[Any]
    collapsed: list[tuple[str, str]]
    absent: list[tuple[str, str, str]]
    galaxies: Galaxies | None


def write_page(out: Path, path: Path, surveys: Sequence[Survey] = ()) -> None:
    """Write the board of a results store, redshift panels and calibration as one offline HTML file.

    Parameters
    ----------
    out : results folder of a run. What failed in it, and artefacts that are missing or were altered, are stated on the
        page.
    path : the file to write, in a folder that exists; replaced in one step.
    surveys : whose galaxies are described too, among their scores.

    Raises
    ------
    UsageError
        If the folder holds no scores, or none of one of the surveys.
    GalaxybenchError
        If a record cannot be read or the file cannot be written.
    """
    html = _page(read_contents(Path(out)), Store(Path(out)), surveys)
    atomic_write(Path(path), lambda temporary: temporary.write_text(html, encoding="utf-8", errors="replace"))


def write_survey_page(survey: Survey, path: Path, description: Mapping[str, Any] | None = None) -> None:
    """Write facts, findings, distributions and pictures of a survey as one offline HTML file.

    Parameters
    ----------
    survey : the survey.
    path : the file to write, in a folder that exists; replaced in one step.
    description : of `benchmark.data.describe`, where it is at hand.

    Raises
    ------
    GalaxybenchError
        If the file cannot be written.
    """
    style = _template("page.css")
    page = _environment().get_template("survey.html.j2")
    html = page.render(policy=_policy(style, ""), style=style, galaxies=galaxies_of(survey, description))
    atomic_write(Path(path), lambda temporary: temporary.write_text(html, encoding="utf-8", errors="replace"))


def _environment() -> Environment:
    return Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_template),
    )


def _page(contents: Contents, store: Store, surveys: Sequence[Survey]) -> str:
    style, script = (_template(name) for name in ("page.css", "page.js"))
    galaxies = _galaxies_by_digest(contents, surveys)
    sections = [_part_section(part, store, galaxies) for part in contents.parts]
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            policy=_policy(style, script),
            style=style,
            script=script,
            contents=contents,
            sections=sections,
            metrics=_metrics(contents),
            rows=[{name: row[name] for name in _ROW_FIELDS} for part in contents.parts for row in part.rows],
            fields=_ROW_FIELDS,
        )
    )


def _galaxies_by_digest(contents: Contents, surveys: Sequence[Survey]) -> dict[str, Galaxies]:
    known = {record["survey"]["digest"] for part in contents.parts for record in part.records}
    for survey in surveys:
        if survey.digest not in known:
            raise UsageError(
                f"survey '{survey.info.name}' in {survey.folder} has digest {survey.digest[:12]}: the scores are of "
                f"{', '.join(sorted(digest[:12] for digest in known))}; give the folder that they were made from"
            )
    return {survey.digest: galaxies_of(survey) for survey in surveys}


def _part_section(part: Part, store: Store, galaxies: Mapping[str, Galaxies]) -> _PartSection:
    tasks = []
    for card in TASKS:
        tables = task_tables(part, card.name)
        if tables:
            tasks.append(
                _TaskSection(card, tables, panels.headline_picture(part, card.name), constant_notes(part, card.name))
            )
    return _PartSection(
        part,
        next((card.summary for card in SURVEYS if card.name == part.survey), ""),
        tasks,
        panels.redshift_panels(part, store),
        panels.calibration_panels(part, store),
        class_panels.class_panels(part),
        *ceilings.ceiling_panels(part, store),
        training_panels.training_panels(part, store),
        training_panels.collapsed_embeddings(part),
        absent_notes(part),
        next((galaxies[d] for d in (record["survey"]["digest"] for record in part.records) if d in galaxies), None),
    )


def _metrics(contents: Contents) -> list[tuple[MetricCard, str, str]]:
    """(card, better, interval) in words of every metric on the page, in the order of the tasks."""
    present = {row["metric"] for part in contents.parts for row in part.rows}
    names = dict.fromkeys(name for card in TASKS for name in card.metrics if name in present)
    return [
        (card, _BETTER.get(card.better, f"closest to {card.nominal} is best"), _INTERVALS[card.interval])
        for card in (METRICS[name] for name in names)
    ]


def _policy(style: str, script: str) -> str:
    """Content security policy: nothing is loaded, and only these two texts style and run."""
    return "; ".join(
        (
            "default-src 'none'",
            "img-src data:",
            f"style-src 'sha256-{_digest(style)}'",
            f"script-src 'sha256-{_digest(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _template(name: str) -> str:
    return files("benchmark.report").joinpath("templates", name).read_text(encoding="utf-8")

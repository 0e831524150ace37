"""``survey build|import|describe``: survey folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.progress import progress_bar, say

__all__ = ["app"]

app = typer.Typer(help="Build, import and describe survey folders.", rich_markup_mode=None)


@app.command("build")
def build(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A named survey, see 'list surveys'.")],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    n: Annotated[int, typer.Option("--n", help="Number of galaxies.")] = 4_000,
    seed: Annotated[int, typer.Option(help="Seed of the survey.")] = 0,
) -> int:
    """Build a simulated survey; of a set of surveys each in a folder of its own below."""
    from benchmark.registry import SURVEYS, resolve

    asked = SURVEYS[name]
    for card in [SURVEYS[member] for member in asked.members] or [asked]:
        folder = out / card.name if asked.members else out
        with progress_bar(f"building {card.name}") as progress:
            survey = resolve(card.build)(folder, n_galaxies=n, seed=seed, progress=progress, **card.options)
        say(f"{folder}: {survey.n_galaxies} galaxies, digest {survey.digest[:12]}")
    return 0


@app.command("import")
def import_(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.toml", help="What to read and how, see docs/surveys.md.")],
    out: Annotated[Path, typer.Option(help="The survey folder to make.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Where relative paths start. Default: $GALAXYBENCH_REAL_DATA, else the spec's folder."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the survey folder if it exists.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that read images.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")] = False,
) -> int:
    """Import tables, images and spectra into a survey folder."""
    from benchmark.data import import_survey
    from benchmark.data.importing.importer import plan_import

    if dry_run:
        typer.echo(plan_import(spec, data_dir=data))
        return 0
    with progress_bar("importing") as progress:
        survey, report = import_survey(
            spec, data_dir=data, folder=out, progress=progress, announce=say, workers=workers, overwrite=overwrite
        )
    say(report.text())
    say(f"{out}: {survey.n_galaxies} galaxies, digest {survey.digest[:12]}")
    return 0


@app.command("describe")
def describe(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A survey folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    pictures: Annotated[
        Path | None, typer.Option(help="Draw 25 galaxies, 6 spectra, targets and sky into this folder.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write facts, findings and pictures as one offline page.")] = None,
) -> int:
    """Describe a survey folder: modalities, targets, counts, splits, findings."""
    from benchmark.data import describe, describe_text, load_survey

    survey = load_survey(folder)
    facts = describe(survey)
    if pictures is not None:
        from benchmark.data.inspection.pictures import draw_survey

        for path in draw_survey(survey, pictures):
            say(str(path))
    if html is not None:
        from benchmark.report import write_survey_page

        write_survey_page(survey, html, facts)
        say(f"wrote {html}")
    typer.echo(json.dumps(facts, indent=1, allow_nan=False) if as_json else describe_text(facts))
    return 0

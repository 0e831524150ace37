"""``score``, ``leaderboard`` and ``report``: files made elsewhere, the board and its page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.progress import progress_bar, say
from benchmark.cli.run import config_of, execute_with_bar, summarise
from benchmark.config import store_folder
from benchmark.contracts import UsageError

if TYPE_CHECKING:
    from benchmark.data.foreign import Content

__all__ = ["leaderboard", "report", "score"]

_DEFAULT_OUT = store_folder("simulated", "laptop")


def leaderboard(
    out: Annotated[Path, typer.Option(help="Results store of a run.")] = _DEFAULT_OUT,
    style: Annotated[str, typer.Option("--format", help="table, json, csv or markdown.")] = "table",
    task: Annotated[str | None, typer.Option(help="Only this task.")] = None,
    modality: Annotated[str | None, typer.Option(help="Only models that read this.")] = None,
) -> int:
    """Print the leaderboard of a results store."""
    from benchmark import board

    typer.echo(board.render(board.leaderboard(out, task=task, modality=modality), style))
    return 0


def report(
    out: Annotated[Path, typer.Option(help="Results store of a run.")] = _DEFAULT_OUT,
    html: Annotated[Path | None, typer.Option(help="The page to write. Default: OUT/report.html.")] = None,
    survey: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="A survey folder whose galaxies are described too.")
    ] = None,
) -> int:
    """Write the board, redshift panels and coverage curves as one self-contained offline page."""
    from benchmark.data import load_survey
    from benchmark.report import write_page

    path = html or out / "report.html"
    write_page(out, path, [load_survey(folder) for folder in survey or ()])
    say(f"wrote {path}")
    return 0


def score(
    survey: Annotated[str, typer.Option(help="A named survey or a survey folder.")],
    name: Annotated[str, typer.Option(help="The name of the row on the board.")],
    embeddings: Annotated[Path | None, typer.Option(help="target_id and embedding, or e0, e1, ...")] = None,
    predictions: Annotated[Path | None, typer.Option(help="target_id and one column a target.")] = None,
    draws: Annotated[Path | None, typer.Option(help="NPZ with target_id, draws (n, n_draws, t), targets.")] = None,
    out: Annotated[Path | None, typer.Option(help="Results store. Default: runs/SURVEY-PRESET.")] = None,
    preset: Annotated[str, typer.Option(help="Sizes: smoke, laptop or paper.")] = "laptop",
    modality: Annotated[str | None, typer.Option(help="What the model reads, for the board.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of probes and bootstrap.")] = 0,
    n_galaxies: Annotated[int | None, typer.Option(help="Size of a named survey.")] = None,
    workers: Annotated[int, typer.Option(help="Worker processes; 0: none.")] = 2,
) -> int:
    """Judge a file made elsewhere: embeddings, predictions or draws, joined to the survey by target_id."""
    from benchmark.board import leaderboard as rows_of
    from benchmark.board import render
    from benchmark.evaluation import Execution, execute, open_survey, plan_foreign
    from benchmark.store import Store

    files: dict[Content, Path | None] = {"embeddings": embeddings, "predictions": predictions, "draws": draws}
    given = {content: path for content, path in files.items() if path is not None}
    if len(given) != 1:
        raise UsageError(f"{len(given)} files given: give one of --embeddings, --predictions or --draws")
    ((content, path),) = given.items()
    config = config_of(preset, "default", seed)
    with progress_bar("building the survey") as progress:
        opened = open_survey(survey, preset, n_galaxies, progress)
    plan = plan_foreign(opened, name, content, path, config, modality)
    store = Store(out or store_folder(opened.info.name, preset))
    summary = execute_with_bar(plan, store, opened, Execution(n_workers=workers), execute)
    typer.echo(render([row for row in rows_of(store.folder) if row["model"] == name], "table"))
    summarise(summary, store)
    return 0 if summary.ok else 1

"""``run``: models x tasks on a survey, the main job."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.progress import cell_bars, progress_bar, say
from benchmark.config import store_folder
from benchmark.contracts import UsageError

if TYPE_CHECKING:
    from benchmark.evaluation import Execution, RunSummary
    from benchmark.plan import Plan
    from benchmark.store import Store

__all__ = ["config_of", "load_plugins", "parse_duration", "run", "summarise"]


def run(
    models: Annotated[str, typer.Argument(metavar="all|MODEL[,MODEL...]", help="Models to run.")],
    survey: Annotated[
        str, typer.Option(help="A named survey (or a set of them), built on first use, or a survey folder.")
    ] = "simulated",
    tasks: Annotated[str | None, typer.Option(metavar="TASK[,TASK...]", help="Default: all that apply.")] = None,
    probes: Annotated[str | None, typer.Option(metavar="PROBE[,PROBE...]", help="Default: all that apply.")] = None,
    preset: Annotated[str, typer.Option(help="Sizes and epochs: smoke, laptop or paper.")] = "laptop",
    recipe: Annotated[str, typer.Option(help="default (ours), paper (as it says) or code (as released).")] = "default",
    out: Annotated[Path | None, typer.Option(help="Results store. Default: runs/SURVEY-PRESET.")] = None,
    seed: Annotated[int, typer.Option(help="First seed of probes and bootstrap.")] = 0,
    seeds: Annotated[int, typer.Option(help="Number of probe seeds.")] = 1,
    n_labels: Annotated[int | None, typer.Option(help="Training galaxies a probe may see. Default: all.")] = None,
    inputs: Annotated[
        str | None, typer.Option(help="How knn, linear and mlp see an embedding: raw, standardised or l2.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes. Default: one a core; 0: none.")] = None,
    budget: Annotated[str | None, typer.Option(metavar="10min", help="Start no cell after this time.")] = None,
    cell_timeout: Annotated[str | None, typer.Option(metavar="30min", help="End a cell that takes longer.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Do cells again that are done.")] = False,
    only_cached: Annotated[bool, typer.Option("--only-cached", help="Run nothing, show what is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    plugin: Annotated[list[Path] | None, typer.Option(help="A file that registers models or tasks.")] = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL=FILE",
            help="Weights a model takes instead of being trained; it then stands on the board as MODEL@ and the first "
            "eight digits of the file's sha256.",
        ),
    ] = None,
    n_galaxies: Annotated[int | None, typer.Option(help="Size of a named survey.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the board or the plan as JSON.")] = False,
) -> int:
    """Run models on a survey and print the leaderboard.

    What is done is kept: run again to go on, or to see the board.
    """
    from benchmark.evaluation import Execution, choose, surveys_of
    from benchmark.models import named_checkpoints

    config = config_of(preset, recipe, seed, seeds, n_labels, inputs)
    sources = load_plugins(plugin or [])
    execution = Execution(
        n_workers=_n_workers(workers),
        plugins=tuple(map(str, plugin or [])),
        force=force,
        cell_timeout_s=parse_duration("--cell-timeout", cell_timeout),
        budget_s=0.0 if only_cached else parse_duration("--budget", budget),
    )
    cards, task_cards, heads, supervised = choose(_names(models) or [], _names(tasks), _names(probes))
    named_checkpoints(checkpoint or [], cards)  # a bad file ends here, before a survey is built
    title, names = surveys_of(survey)

    def plan_of(facts: Any) -> tuple[Plan, Store]:
        from benchmark.plan import plan_models
        from benchmark.store import Store

        weights = named_checkpoints(checkpoint or [], cards, facts.digest)
        plan = plan_models(
            facts, cards, task_cards, heads, config, supervised=supervised, sources=sources, checkpoints=weights
        )
        return plan, Store(out or store_folder(title or facts.name, config.preset))

    if dry_run:
        texts = [_foreseen(name, config.preset, n_galaxies, plan_of, execution, as_json) for name in names]
        typer.echo("[" + ",\n".join(texts) + "]" if as_json and title else "\n".join(texts))
        return 0
    summary, store = _run_surveys(names, config.preset, n_galaxies, plan_of, execution)
    _print_board(store, as_json)
    summarise(summary, store)
    return 0 if summary.ok else 1


def _foreseen(name: str, preset: str, n_galaxies: int | None, plan_of: Any, execution: Execution, as_json: bool) -> str:
    """What would be done on one survey, which is not built for it."""
    from benchmark.evaluation import find_survey, foreseen_facts, open_survey, survey_facts

    _, to_build, size = find_survey(name, preset, n_galaxies)
    facts = foreseen_facts(to_build, size) if to_build else survey_facts(open_survey(name, preset, n_galaxies))
    build_s = to_build.seconds_per_galaxy * size if to_build else 0.0
    plan, store = plan_of(facts)
    return _plan_text(plan, store, execution, build_s, as_json)


def _run_surveys(
    names: Sequence[str], preset: str, n_galaxies: int | None, plan_of: Any, execution: Execution
) -> tuple[RunSummary, Store]:
    """One survey after another into one store; the budget is that of all together."""
    from dataclasses import replace

    from benchmark.evaluation import RunSummary, execute, open_survey, survey_facts

    began, summary = time.monotonic(), RunSummary()
    for name in names:
        with progress_bar("building the survey") as progress:
            opened = open_survey(name, preset, n_galaxies, progress)
        plan, store = plan_of(survey_facts(opened))
        if execution.budget_s is not None:
            execution = replace(execution, budget_s=max(execution.budget_s - (time.monotonic() - began), 0.0))
            began = time.monotonic()
        execute_with_bar(plan, store, opened, execution, partial(execute, earlier=summary))
    return summary, store


def config_of(
    preset: str, recipe: str, seed: int = 0, seeds: int = 1, n_labels: int | None = None, inputs: str | None = None
) -> Any:
    """The run configuration that options describe."""
    from benchmark.config import RunConfig

    return RunConfig(preset, recipe, seed, seeds, n_labels, inputs)  # type: ignore[arg-type]


def load_plugins(paths: Sequence[Path]) -> dict[str, str]:
    """Load plugin files; returns model name -> sha256 of the file that registered it."""
    from benchmark.registry import PLUGIN_SOURCES, load_plugin

    for path in paths:
        load_plugin(path)
    return dict(PLUGIN_SOURCES)


def parse_duration(option: str, text: str | None) -> float | None:
    """Seconds in ``90``, ``90s``, ``10min`` or ``2h``; None stays None."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h)?", text.strip())
    if match is None:
        raise UsageError(f"{option} '{text}': must be a number with s, min or h, such as 10min")
    return float(match[1]) * {"s": 1, "min": 60, "h": 3600, None: 1}[match[2]]


def execute_with_bar(plan: Plan, store: Store, survey: Any, execution: Any, execute: Any) -> RunSummary:
    """Carry out a plan with a bar over its cells, and a line for every cell that does not end well."""
    from benchmark.engine import Advanced, Outcome

    with cell_bars() as bars:
        n_done = 0

        def listen(event: Any) -> None:
            nonlocal n_done
            if isinstance(event, Advanced) and bars:
                bars.advanced(event.id, event.done, event.total)
            if isinstance(event, Outcome):
                n_done += 1
                if bars:
                    bars.ended(event.id, n_done, len(plan.cells))
                if event.status not in ("done", "not started"):
                    say(f"{event.status}: {event.id}: {event.reason}")

        return execute(plan, store, survey, execution, listen)


def summarise(summary: RunSummary, store: Store) -> None:
    """One line on stderr: what was done and where it lies."""
    counts = [f"{len(names)} {status}" for status, names in sorted(summary.ended.items())]
    say(f"{store.folder}: {len(summary.cached)} cells cached, {', '.join(counts) or 'nothing to do'}")


def _n_workers(workers: int | None) -> int:
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers < 0:
        raise UsageError(f"--workers {workers}: must be 0 (no worker processes) or more")
    return workers


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError(f"'{text}': give one or more names, separated by commas")
    return names


def _print_board(store: Store, as_json: bool) -> None:
    from benchmark.board import leaderboard, render

    typer.echo(render(leaderboard(store.folder), "json" if as_json else "table"))


def _plan_text(plan: Plan, store: Store, execution: Execution, build_s: float, as_json: bool) -> str:
    import json

    from benchmark.evaluation import pending_cells

    pending, n_workers = pending_cells(plan, store, execution.force), execution.n_workers
    names = {cell.name for cell in pending}
    minutes = (build_s + sum(cell.seconds for cell in pending) / max(n_workers, 1)) / 60
    memory_gb = 0.7 * max(n_workers, 1) + 2e-5 * plan.survey.n_galaxies  # torch and scikit-learn a worker, then draws
    if as_json:
        cells = [
            {"name": cell.name, "kind": cell.kind, "cached": cell.name not in names, "estimated_s": cell.seconds}
            for cell in plan.cells
        ]
        absent = [vars(entry) for entry in plan.not_applicable]
        facts = {"cells": cells, "not_applicable": absent, "estimated_min": minutes, "estimated_gb": memory_gb}
        return json.dumps(facts | {"survey_to_build": build_s > 0}, indent=1)
    lines = [f"to do  survey  {plan.survey.name}, {plan.survey.n_galaxies} galaxies"] if build_s else []
    lines += [f"{'cached' if cell.name not in names else 'to do':7}{cell.kind:8}{cell.name}" for cell in plan.cells]
    lines += sorted({f"does not apply: {entry.model}: {entry.task}: {entry.reason}" for entry in plan.not_applicable})
    lines.append(
        f"{len(plan.cells)} cells on '{plan.survey.name}': "
        f"{len(pending)} to do, {len(plan.cells) - len(pending)} cached; "
        f"about {minutes:.1f} min with {n_workers} workers, {memory_gb:.1f} GB of memory; results in {store.folder}"
    )
    return "\n".join(lines)

"""``list``, ``show`` and ``check``: what there is, the facts about it, and whether a model keeps its promises."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.contracts import UsageError
from benchmark.registry import HEADS, METRICS, MODELS, SURVEYS, TASKS, Registry

__all__ = ["check", "list_entries", "show"]

_REGISTRIES: dict[str, Registry[Any]] = {
    "models": MODELS,
    "tasks": TASKS,
    "metrics": METRICS,
    "surveys": SURVEYS,
    "probes": HEADS,
}


def list_entries(
    what: Annotated[str, typer.Argument(metavar="models|tasks|metrics|surveys|probes", help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="All facts, as JSON.")] = False,
    plugin: Annotated[list[Path] | None, typer.Option(help="A file that registers models or tasks.")] = None,
) -> int:
    """List what there is, a line each."""
    from benchmark.cli.run import load_plugins

    load_plugins(plugin or [])
    if what not in _REGISTRIES:
        raise UsageError(f"list {what}: must be one of {', '.join(_REGISTRIES)}")
    entries = list(_REGISTRIES[what])
    if as_json:
        typer.echo(json.dumps([_facts(entry) for entry in entries], indent=1))
        return 0
    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        typer.echo(f"{entry.name:{width}}  {entry.summary}")
    return 0


def show(
    name: Annotated[str, typer.Argument(metavar="MODEL|TASK|SURVEY", help="Also a probe or a metric.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    plugin: Annotated[list[Path] | None, typer.Option(help="A file that registers models or tasks.")] = None,
) -> int:
    """Show the card of a model, task, survey, probe or metric."""
    from benchmark.cli.run import load_plugins

    load_plugins(plugin or [])
    entry = _entry(name)
    if as_json:
        typer.echo(json.dumps(_facts(entry), indent=1))
        return 0
    for field, value in _facts(entry).items():
        if value not in ("", None, [], {}):
            typer.echo(f"{field:20}{_plain(value)}")
    return 0


def check(
    model: Annotated[str, typer.Argument(help="Name of a model.")],
    plugin: Annotated[list[Path] | None, typer.Option(help="A file that registers the model.")] = None,
    preset: Annotated[str, typer.Option(help="Sizes: smoke, laptop or paper.")] = "smoke",
) -> int:
    """Try a model on mock galaxies: shapes, NaN, determinism, batch size and row order."""
    from benchmark.cli.run import load_plugins
    from benchmark.conformance import check_model

    load_plugins(plugin or [])
    results = check_model(MODELS[model], preset)
    for result in results:
        typer.echo(f"{'ok  ' if result.ok else 'FAIL'} {result.name}{': ' + result.message if result.message else ''}")
    return 0 if all(result.ok for result in results) else 1


def _entry(name: str) -> Any:
    for registry in _REGISTRIES.values():
        if name.lower() in {entry.name.lower() for entry in registry}:
            return registry[name]
    every = [entry.name for registry in _REGISTRIES.values() for entry in registry]
    import difflib

    near = difflib.get_close_matches(name, every, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "see: list models, list tasks, list surveys"
    raise UsageError(f"unknown name '{name}': {hint}")


def _facts(entry: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(entry).items() if not callable(value)}


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return str(value)

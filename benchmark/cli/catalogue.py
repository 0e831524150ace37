"""``list``, ``show`` and ``check``: what there is, the facts about it, and whether a model keeps its promises."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.contracts import UsageError
from benchmark.registry import HEADS, METRICS, MODELS, SURVEYS, TASKS, Registry, resolve

__all__ = ["check", "list_entries", "show"]

_WIDTH, _MARGIN = 120, 20
_COLUMNS = ("item", "ours", "paper", "code")
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
    preset: Annotated[str, typer.Option(help="Of the architecture that is shown beside the published one.")] = "laptop",
    recipe: Annotated[str, typer.Option(help="Likewise: default, paper or code.")] = "default",
    plugin: Annotated[list[Path] | None, typer.Option(help="A file that registers models or tasks.")] = None,
) -> int:
    """Show the card of a model, task, survey, probe or metric; of a model also its architecture, where published."""
    from benchmark.cli.run import config_of, load_plugins

    load_plugins(plugin or [])
    config = config_of(preset, recipe)
    entry = _entry(name)
    rows = _architecture(entry, config)
    facts = _facts(entry) | ({"architecture_rows": [dict(zip(_COLUMNS, row)) for row in rows]} if rows else {})
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
        return 0
    for field, value in _facts(entry).items():
        if value not in ("", None, [], (), {}) and (field != "knows" or entry.kind == "reference"):
            typer.echo(_block(field, value))
    if rows:
        typer.echo(f"\narchitecture and training, preset {preset}, recipe {recipe}\n{_aligned([_COLUMNS, *rows])}")
    return 0


def check(
    model: Annotated[str, typer.Argument(help="Name of a model.")],
    plugin: Annotated[list[Path] | None, typer.Option(help="A file that registers the model.")] = None,
    preset: Annotated[str, typer.Option(help="Sizes: smoke, laptop or paper.")] = "smoke",
    checkpoint: Annotated[
        str | None, typer.Option(metavar="[MODEL=]FILE", help="Check the model with these weights.")
    ] = None,
) -> int:
    """Try a model on mock galaxies: shapes, NaN, determinism, batch size, row order and collapse."""
    from benchmark.cli.pretraining import checkpoint_of
    from benchmark.cli.run import load_plugins
    from benchmark.conformance import check_model

    load_plugins(plugin or [])
    card = MODELS[model]
    results = check_model(card, preset, checkpoint_of(card, checkpoint))
    for result in results:
        typer.echo(f"{'ok  ' if result.ok else 'FAIL'} {result.name}{': ' + result.message if result.message else ''}")
    return 0 if all(result.ok for result in results) else 1


def _architecture(entry: Any, config: Any) -> list[tuple[str, ...]]:
    """Rows (item, ours, paper, code) of a model that names a function for them; none of other entries."""
    from benchmark.models import resolved_options

    address = getattr(entry, "architecture", "")
    if not address:
        return []
    rows = resolve(address)(resolved_options(entry.options, entry.recipes, config))
    return [tuple(str(field) for field in row) for row in rows]


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ("  ".join(f"{text:{width}}" for text, width in zip(row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


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


def _block(field: str, value: Any) -> str:
    """A field of a card for people: presets, recipes and references a paragraph each, wrapped under each other."""
    if isinstance(value, dict) and all(isinstance(item, dict) for item in value.values()):
        paragraphs = [f"{key}: {_plain(item)}" for key, item in value.items()]
    elif field == "references":
        paragraphs = [f"{ref['authors']} {ref['year']}. {ref['title']}. {ref['identifier']}" for ref in value]
    else:
        paragraphs = [_plain(value)]
    wrapped = [line for text in paragraphs for line in _wrap(text)]
    return textwrap.indent("\n".join(wrapped), " " * _MARGIN).replace(" " * _MARGIN, f"{field:{_MARGIN}}", 1)


def _wrap(text: str) -> list[str]:
    """Lines of a paragraph, all but the first further in."""
    return textwrap.wrap(text, _WIDTH - _MARGIN, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item if isinstance(item, tuple) else _plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return str(value)

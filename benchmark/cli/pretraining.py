"""``pretrain`` and ``embed``: an encoder's weights in a file, and what it says of a survey's galaxies."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.progress import progress_bar, progress_bars, progress_lines, say
from benchmark.cli.run import config_of, load_plugins

if TYPE_CHECKING:
    from benchmark.contracts import ModelCard
    from benchmark.models import Checkpoint

__all__ = ["checkpoint_of", "embed", "pretrain"]


def pretrain(
    model: Annotated[str, typer.Argument(help="An encoder that learns, see 'list models'.")],
    survey: Annotated[str, typer.Option(help="A named survey, built on first use, or a survey folder.")],
    out: Annotated[Path, typer.Option(metavar="FILE.safetensors", help="The file of weights to write.")],
    preset: Annotated[str, typer.Option(help="Sizes and epochs: smoke, laptop or paper.")] = "laptop",
    recipe: Annotated[str, typer.Option(help="default (ours), paper (as it says) or code (as released).")] = "default",
    seed: Annotated[int, typer.Option(help="Seed of weights, order and draws.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training that was stopped.")] = False,
    plugin: Annotated[list[Path] | None, typer.Option(help="A file that registers models.")] = None,
    n_galaxies: Annotated[int | None, typer.Option(help="Size of a named survey.")] = None,
) -> int:
    """Train an encoder on the training and unlabelled galaxies of a survey and write its weights.

    Beside FILE stand its training curve (.csv, .svg) and, until it is done, its state (.partial). Under torchrun the
    processes train together.
    """
    from benchmark.evaluation import open_survey
    from benchmark.models import model_facts
    from benchmark.pretraining import joined_processes, require_new_file, require_trainable
    from benchmark.pretraining import pretrain as train_into
    from benchmark.registry import MODELS

    sources = load_plugins(plugin or [])
    config = config_of(preset, recipe, seed)
    card = MODELS[model]
    require_trainable(card)
    require_new_file(out, ".safetensors")
    facts = model_facts(card, config, sources.get(card.name))
    with joined_processes() as group:
        with _bar(f"building {survey}", group.is_first) as progress:
            opened = group.first_then_others(lambda: open_survey(survey, preset, n_galaxies, progress))
        labels = {"preset": preset, "recipe": recipe}
        with _bar(f"training {card.name}", group.is_first) as progress:
            found = train_into(facts, opened, out, labels, seed=seed, resume=resume, group=group, progress=progress)
        if group.is_first:
            say(f"{out}: {card.name} trained on survey '{opened.info.name}'{_course(found)}")
    return 0


def embed(
    model: Annotated[str, typer.Argument(help="An encoder, see 'list models'.")],
    survey: Annotated[str, typer.Option(help="A named survey, built on first use, or a survey folder.")],
    out: Annotated[Path, typer.Option(metavar="FILE.parquet", help="The file to write: target_id and embedding.")],
    checkpoint: Annotated[
        str | None, typer.Option(metavar="[MODEL=]FILE", help="Use these weights. Default: train it first.")
    ] = None,
    preset: Annotated[str, typer.Option(help="Sizes and epochs: smoke, laptop or paper.")] = "laptop",
    recipe: Annotated[str, typer.Option(help="default (ours), paper (as it says) or code (as released).")] = "default",
    plugin: Annotated[list[Path] | None, typer.Option(help="A file that registers models.")] = None,
    n_galaxies: Annotated[int | None, typer.Option(help="Size of a named survey.")] = None,
) -> int:
    """Embed every galaxy of a survey, test galaxies too, into a file that 'score --embeddings' reads.

    A command that was killed goes on where it stopped when it is given again; until then what is done stands beside
    FILE (.partial).
    """
    from benchmark.contracts import UsageError
    from benchmark.evaluation import open_survey
    from benchmark.models import model_facts
    from benchmark.pretraining import embed as embed_into
    from benchmark.pretraining import require_new_file
    from benchmark.registry import MODELS

    sources = load_plugins(plugin or [])
    config = config_of(preset, recipe)
    card = MODELS[model]
    if card.kind != "encoder":
        raise UsageError(f"{card.name} is {card.kind}: only encoders have an embedding")
    require_new_file(out, ".parquet")
    weights = checkpoint_of(card, checkpoint)
    with progress_bar("building the survey") as progress:
        opened = open_survey(survey, preset, n_galaxies, progress)
    facts = model_facts(card, config, sources.get(card.name), weights)
    with progress_bars(f"training {card.name}", f"embedding with {card.name}") as (training, embedding):
        found = embed_into(facts, opened, out, weights=weights, training=training, embedding=embedding)
    collapsed = f"; collapsed: {found['collapsed']}" if found.get("collapsed") else ""
    rank = f", effective rank {found['effective_rank']:.1f}" if "effective_rank" in found else ""
    say(f"{out}: {opened.n_galaxies} galaxies, {found['embed_dim']} numbers each{rank}{collapsed}")
    return 0


def checkpoint_of(card: ModelCard, text: str | None) -> Checkpoint | None:
    """The weights that a command about one model was given, as FILE or MODEL=FILE."""
    from benchmark.models import named_checkpoints, open_checkpoint

    if text is None:
        return None
    if "=" in text and not Path(text).exists():
        return named_checkpoints([text], [card])[card.name]
    return open_checkpoint(card, Path(text))


@contextlib.contextmanager
def _bar(label: str, shown: bool) -> Any:
    """A bar in a terminal, a line now and then elsewhere; nothing in all processes but the first."""
    if not shown:
        yield _silent
    elif sys.stderr.isatty():
        with progress_bar(label) as progress:
            yield progress
    else:
        yield progress_lines(label)


def _silent(done: int, total: int) -> None:
    pass


def _course(found: dict[str, Any]) -> str:
    if not found.get("n_steps"):
        return ""
    level = "its loss has levelled off" if found["converged"] else "its loss has not levelled off"
    return f", {found['n_steps']} steps; {level}"

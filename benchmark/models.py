"""What a record holds of a model: its card, resolved for a preset and a recipe, and the weights it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.config import RunConfig
from benchmark.contracts import GalaxybenchError, ModelCard, UsageError
from benchmark.registry import MODELS
from benchmark.store import file_sha256
from benchmark.weights import is_official, read_header

__all__ = ["Checkpoint", "board_name", "model_facts", "named_checkpoints", "open_checkpoint", "resolved_options"]


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights that an encoder takes instead of being trained.

    Attributes
    ----------
    path, sha256 : of the file.
    options : with which the model is built, as the file says.
    contamination : what is known against the file's training set, empty where it is that of the survey.
    """

    path: str
    sha256: str
    options: Mapping[str, Any]
    contamination: str = ""


def resolved_options(
    presets: Mapping[str, Mapping[str, object]], recipes: Mapping[str, Mapping[str, object]], config: RunConfig
) -> dict[str, object]:
    """Keyword arguments of a factory: those of the preset, and over them those of the recipe."""
    return {**presets.get(config.preset, {}), **recipes.get(config.recipe, {})}


def board_name(card: ModelCard, weights: Checkpoint | None = None) -> str:
    """Under which name records and the board know a model: its own, with given weights ``AstroDINO@1a2b3c4d``.

    The eight digits are the first of the file's sha256: a model as it is trained in a run, and the same model with the
    weights of one file or another, are different models to whoever reads the board.
    """
    return f"{card.name}@{weights.sha256[:8]}" if weights else card.name


def model_facts(
    card: ModelCard, config: RunConfig, source: str | None = None, weights: Checkpoint | None = None
) -> dict[str, Any]:
    """All that determines a model, as it stands in records and enters keys.

    Parameters
    ----------
    card : the model.
    config : preset and recipe.
    source : sha256 of the plugin file the model came from.
    weights : what the model takes instead of being trained; it is built with the options of the file.
    """
    facts: dict[str, Any] = {
        "name": card.name,
        "revision": card.revision,
        "factory": card.factory,
        "kind": card.kind,
        "fitted": card.fitted,
        "modality": card.modality,
        "options": resolved_options(card.options, card.recipes, config),
    }
    if card.images != "display":
        facts["images"] = card.images
    if source:
        facts["source_sha256"] = source
    return facts | ({"checkpoint": weights.sha256, "options": dict(weights.options)} if weights else {})


def named_checkpoints(
    texts: Sequence[str], cards: Sequence[ModelCard], survey_digest: str = ""
) -> dict[str, Checkpoint]:
    """Files given as ``MODEL=FILE``, opened, by the model's name.

    Raises
    ------
    UsageError
        If a text is not of this form, or a model is unknown, not among ``cards``, or named twice.
    """
    found: dict[str, Checkpoint] = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if not separator or not name or not path:
            raise UsageError(f"--checkpoint {text}: must be MODEL=FILE")
        card = MODELS[name]
        if card not in cards:
            raise UsageError(f"--checkpoint {text}: {card.name} is not among the models of this command")
        if card.name in found:
            raise UsageError(f"--checkpoint {text}: {card.name} has weights already; give one file a model")
        found[card.name] = open_checkpoint(card, Path(path), survey_digest)
    return found


def open_checkpoint(card: ModelCard, path: Path, survey_digest: str = "") -> Checkpoint:
    """What a file of weights is to a model; of our own files nothing but the header is read.

    Parameters
    ----------
    card : the model.
    path : what ``pretrain`` or a run wrote, or released weights of AstroDINO or SpecFormer (``.ckpt``).
    survey_digest : of the survey that is to be embedded.

    Raises
    ------
    UsageError
        If the model takes no weights, or the file does not exist, is another model's or of another revision.
    GalaxybenchError
        If the file cannot be read, is no file of weights, or was cut.
    """
    if card.kind != "encoder":
        raise UsageError(f"--checkpoint {card.name}={path}: {card.name} is {card.kind}: only encoders take weights")
    if not path.is_file():
        raise UsageError(f"{path}: does not exist; give a file that 'pretrain' wrote, or released weights (.ckpt)")
    if is_official(path):
        return _open_official(card, path)
    facts = read_header(path).facts
    lacking = [name for name in ("name", "revision", "options") if name not in facts]
    if lacking:
        raise UsageError(f"{path}: does not say its {' and '.join(lacking)}: give weights that 'pretrain' wrote")
    if facts["name"] != card.name:
        raise UsageError(f"{path}: holds weights of {facts['name']}, not of {card.name}; give them to {facts['name']}")
    if facts["revision"] != card.revision:
        raise UsageError(
            f"{path}: was made by revision {facts['revision']} of {card.name}, this is revision {card.revision}: its "
            "numbers would differ; train it again"
        )
    trained_on = facts.get("trained_on") or {}
    contamination = ""
    if not survey_digest or trained_on.get("digest") != survey_digest:
        name = trained_on.get("survey")
        contamination = f"trained on survey {name}, which may share galaxies" if name else "training set unknown"
    return Checkpoint(str(path.resolve()), file_sha256(path), facts["options"], contamination)


def _open_official(card: ModelCard, path: Path) -> Checkpoint:
    from encoders.official import read_official  # brings torch, which a plan without such a file does not need

    try:
        found = read_official(path)
    except ValueError as error:
        raise GalaxybenchError(str(error)) from error
    if found.model != card.name:
        raise UsageError(f"{path}: holds weights of {found.model}, not of {card.name}; give them to {found.model}")
    return Checkpoint(str(path.resolve()), file_sha256(path), dict(found.options), "released weights")

"""Which cells a run consists of: train, embed, predict, score, each with a key made from the content behind it.

A cell's key is a hash over everything that determines its result: the survey's digest, the model's facts and options,
the probe's, the seed, the task's version, and the keys of the cells it needs. Equal keys mean equal results, so what
a results folder holds already is not done again. This module imports neither torch nor pandas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmark.config import N_RESAMPLES, PRESETS, RunConfig
from benchmark.contracts import SIMULATOR, HeadCard, Labels, ModelCard, Probe, TaskCard
from benchmark.facts import SurveyFacts
from benchmark.models import Checkpoint, board_name, model_facts, resolved_options
from benchmark.registry import METRICS, MODELS
from benchmark.store import SCHEMA_VERSION, content_key

__all__ = ["Cell", "ForeignFile", "NotApplicable", "Plan", "SurveyFacts", "plan_file", "plan_models"]

CellKind = Literal["train", "embed", "predict", "score"]

_REFERENCE_SECONDS = {SIMULATOR: 35.0}  # for the 10^6 candidates of a pool
_ENCODER_SEED = 0  # an encoder is one model whatever the probe's seed: --seed and --seeds vary probes


@dataclass(frozen=True)
class ForeignFile:
    """A file of embeddings, predictions or draws made elsewhere."""

    path: str
    sha256: str
    content: Literal["embeddings", "predictions", "draws"]
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One step of the way.

    Attributes
    ----------
    name : readable and unique, ends in the key; names the record and the artefacts.
    settings : all that determines the result, as it stands in the record under ``config``.
    needs : names of the cells whose artefacts it reads, the one it reads from first.
    labels : what the board says of the cell: model, modality, probe, recipe, preset, task, ...
    seconds : rough estimate of its duration on one core.
    """

    kind: CellKind
    name: str
    key: str
    settings: Mapping[str, Any]
    needs: tuple[str, ...]
    labels: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class NotApplicable:
    """A model and a task that the survey gives nothing to work on, and why."""

    model: str
    modality: str | None
    task: str
    task_version: int
    reason: str


@dataclass(frozen=True)
class Plan:
    """Cells in an order in which every cell stands behind the cells it needs."""

    survey: SurveyFacts
    config: RunConfig
    cells: tuple[Cell, ...]
    not_applicable: tuple[NotApplicable, ...] = ()


@dataclass
class _Builder:
    survey: SurveyFacts
    config: RunConfig
    cells: dict[str, Cell] = field(default_factory=dict)

    def add(
        self, kind: CellKind, settings: dict[str, Any], labels: Mapping[str, Any], needs: Sequence[Cell], seconds: float
    ) -> Cell:
        content = {
            "schema_version": SCHEMA_VERSION,
            "kind": kind,
            "survey": self.survey.digest,
            "preset": self.config.preset,
            "recipe": self.config.recipe,
            "needs": [cell.key for cell in needs],
            **settings,
        }
        key = content_key(content)
        parts = (kind, labels["model"], labels.get("probe"), labels.get("task"), key)
        name = "-".join(_plain(str(part)) for part in parts if part)
        board = {"preset": self.config.preset, "recipe": self.config.recipe, **labels}
        cell = Cell(kind, name, key, settings, tuple(cell.name for cell in needs), board, seconds)
        return self.cells.setdefault(name, cell)


def plan_models(
    survey: SurveyFacts,
    models: Iterable[ModelCard],
    tasks: Sequence[TaskCard],
    heads: Sequence[HeadCard],
    config: RunConfig,
    *,
    supervised: bool = True,
    sources: Mapping[str, str] | None = None,
    checkpoints: Mapping[str, Checkpoint] | None = None,
) -> Plan:
    """Cells of models x probes x tasks on a survey, and what does not apply.

    Parameters
    ----------
    survey : facts of the survey.
    models, tasks, heads : what to run; a model takes the probes that its card names.
    config : preset, recipe, seeds and options.
    supervised : whether what models give by themselves is wanted: predictions of supervised ones, the reference.
    sources : model name -> sha256 of the plugin file it came from.
    checkpoints : model name -> weights it takes instead of being trained.
    """
    builder = _Builder(survey, config)
    absent: list[NotApplicable] = []
    for card in models:
        lacking = _lacking(card, survey)
        weights = (checkpoints or {}).get(card.name)
        name = board_name(card, weights)
        for task in tasks:
            if reason := _absence(card, task, survey, lacking):
                absent.append(NotApplicable(name, card.modality, task.name, task.version, reason))
        if lacking:
            continue
        facts = model_facts(card, config, (sources or {}).get(card.name), weights)
        more = {"model": name} | ({"contamination": weights.contamination} if weights and weights.contamination else {})
        embedding = _embedding_cell(builder, card, facts, weights) if card.kind == "encoder" else None
        for probe in card.probes:
            if probe == "reference" and supervised:
                _add_reference(builder, card, facts, tasks)
            elif probe == "supervised" and supervised:
                own = [task for task in tasks if card.classifies or task.labels != "classes"]
                _add_probe(builder, card.modality, facts, None, None, own)
            elif head := next((head for head in heads if head.name == probe), None):
                _add_probe(builder, card.modality, facts, head, embedding, tasks, more)
    # the longest first among equals in depth, so that the last cell to end is a short one
    depth = {"train": 0, "embed": 1, "predict": 2, "score": 3}
    cells = sorted(builder.cells.values(), key=lambda cell: (depth[cell.kind], -cell.seconds))
    return Plan(survey, config, tuple(cells), tuple(absent))


def plan_file(
    survey: SurveyFacts,
    name: str,
    modality: str | None,
    file: ForeignFile,
    tasks: Sequence[TaskCard],
    heads: Sequence[HeadCard],
    config: RunConfig,
) -> Plan:
    """Cells that judge a file made elsewhere; it enters at the seam of its content."""
    builder = _Builder(survey, config)
    facts = {"name": name, "file": {"sha256": file.sha256, "content": file.content}}
    labels: dict[str, Any] = {"model": name, "modality": modality, "contamination": "training set unknown"}
    if file.content == "embeddings":
        embedding = builder.add("embed", {"model": facts}, labels | {"path": file.path}, (), 1)
        for head in heads:
            _add_probe(builder, modality, facts, head, embedding, tasks, labels)
    else:
        needs = "predictions" if file.content == "predictions" else "posterior"
        labels = labels | {"probe": "external", "seed": config.seed, "path": file.path}
        kinds: tuple[Labels, ...] = ("targets", "classes")
        for kind in kinds:
            known = {target.name for target in survey.labels(kind)}
            settings: dict[str, Any] = {"model": facts, "targets": [n for n in file.targets if n in known]}
            settings |= {"produces": needs} | ({} if kind == "targets" else {"labels": kind})
            settings |= _label_noise(survey, kind, settings["targets"])
            if settings["targets"]:
                predicted = builder.add("predict", settings, labels, (), 1)
                wanted = [task for task in tasks if task.labels == kind]
                _add_scores(builder, predicted, needs, wanted, settings["targets"])
    return Plan(survey, config, tuple(builder.cells.values()))


def _embedding_cell(builder: _Builder, card: ModelCard, facts: dict[str, Any], weights: Checkpoint | None) -> Cell:
    labels = {"model": board_name(card, weights), "modality": card.modality}
    settings = {"model": facts, "seed": _ENCODER_SEED}
    size = builder.survey.n_galaxies / 1_000
    if weights:
        return builder.add("embed", settings, labels | {"path": weights.path}, (), 1 + 2 * size)
    train_s = card.train_seconds.get(builder.config.preset, 2 + 3 * size)
    needs = [builder.add("train", settings, labels, (), train_s)] if card.fitted else []
    return builder.add("embed", settings, labels, needs, 1 + 2 * size)


def _add_reference(builder: _Builder, card: ModelCard, facts: dict[str, Any], tasks: Sequence[TaskCard]) -> None:
    """Predictions and a posterior of a model that learns nothing from the survey, and the scores of each."""
    wanted = [task for task in tasks if task.labels == "targets"]
    for produces in ("predictions", "posterior"):
        if any(task.needs == produces and not task.against for task in wanted):
            for seed in builder.config.seeds:
                cell = _reference_cell(builder, card, facts, produces, seed)
                _add_scores(builder, cell, produces, wanted, cell.settings["targets"])


def _reference_cell(builder: _Builder, card: ModelCard, facts: dict[str, Any], produces: str, seed: int) -> Cell:
    """What a model gives that knows the simulator, after the cell that prepares it."""
    labels = {"model": card.name, "modality": card.modality}
    flavour = {"model": facts, "seed": _ENCODER_SEED, "flavour": builder.survey.flavour}
    prepared = builder.add("train", flavour, labels, (), _REFERENCE_SECONDS.get(card.knows, 1.0))
    known = builder.survey.labels("targets")
    names = [target.name for target in known if produces == "predictions" or target.joint]
    settings = {"model": facts, "targets": names, "produces": produces, "n_labels": None, "seed": seed}
    settings |= _label_noise(builder.survey, "targets", names)
    if produces == "posterior":
        settings["n_draws"] = PRESETS[builder.config.preset].n_draws
    seconds = 1 + builder.survey.n_galaxies / 500
    return builder.add("predict", settings, labels | {"probe": "reference", "seed": seed}, (prepared,), seconds)


def _add_probe(
    builder: _Builder,
    modality: str | None,
    facts: dict[str, Any],
    head: HeadCard | None,
    embedding: Cell | None,
    tasks: Sequence[TaskCard],
    more_labels: Mapping[str, Any] | None = None,
) -> None:
    """Predictions or a posterior by one probe (None: the model itself), and the scores of each."""
    kinds: tuple[Labels, ...] = ("targets", "votes", "classes")
    for labels in kinds:
        wanted = [task for task in tasks if task.labels == labels]
        _add_fits(builder, modality, facts, head, embedding, wanted, labels, more_labels)


def _add_fits(
    builder: _Builder,
    modality: str | None,
    facts: dict[str, Any],
    head: HeadCard | None,
    embedding: Cell | None,
    tasks: Sequence[TaskCard],
    learned: Labels,
    more_labels: Mapping[str, Any] | None,
) -> None:
    """The fits of one probe to one kind of labels, for every seed, and the scores of each by ``tasks``."""
    config, targets = builder.config, builder.survey.labels(learned)
    produces = head.produces if head else "predictions"
    names = [target.name for target in targets if produces == "predictions" or target.joint]
    if not names or not any(task.needs == produces and task.targets(targets) for task in tasks):
        return
    settings: dict[str, Any] = {"model": facts, "targets": names, "produces": produces, "n_labels": config.n_labels}
    if learned != "targets":
        settings["labels"] = learned
    settings |= _label_noise(builder.survey, learned, names)
    if learned == "classes":
        settings["n_classes"] = [len(target.classes) for target in builder.survey.targets if target.classes]
    if head:
        options = resolved_options(head.options, head.recipes, config)
        if config.inputs and head.produces == "predictions":
            options["inputs"] = settings["inputs"] = config.inputs
        settings["probe"] = {"name": head.name, "factory": head.factory, "version": head.version, "options": options}
    if produces == "posterior":
        settings["n_draws"] = PRESETS[config.preset].n_draws
    probe: Probe = head.name if head else "supervised"
    for seed in config.seeds:
        labels = {"model": facts["name"], "modality": modality, "probe": probe, "seed": seed, **(more_labels or {})}
        predicted = builder.add(
            "predict",
            settings | {"seed": seed},
            labels,
            (embedding,) if embedding else (),
            _predict_seconds(produces, builder.survey.n_galaxies),
        )
        _add_scores(builder, predicted, produces, tasks, names)


def _add_scores(
    builder: _Builder, predicted: Cell, produces: str, tasks: Sequence[TaskCard], available: Sequence[str]
) -> None:
    for task in tasks:
        labels_known = builder.survey.labels(task.labels)
        names = [name for name in task.targets(labels_known) if name in available]
        reference = _reference_for(builder, task, predicted)
        if task.needs != produces or not names or (task.against and reference is None):
            continue
        settings = {
            "model": predicted.settings["model"],
            "probe": predicted.settings.get("probe"),
            "n_labels": predicted.settings.get("n_labels"),
            "inputs": predicted.settings.get("inputs"),
            "targets": names,
            "ranked": builder.survey.ranked(task.labels, names),
            "task": {"name": task.name, "version": task.version, "score": task.score},
            "metrics": {name: METRICS[name].version for name in task.metrics},
            "n_resamples": N_RESAMPLES,
            "bootstrap_seed": bootstrap_seed(task, builder.survey.digest, builder.config.seed),
        }
        labels = {**predicted.labels, "task": task.name, "task_version": task.version}
        needs = (predicted, reference) if reference else (predicted,)
        builder.add("score", settings, labels, needs, 2 + 2 * builder.survey.n_galaxies / 4_000)


def _label_noise(survey: SurveyFacts, kind: Labels, names: Sequence[str]) -> dict[str, str]:
    """What a fit's test labels may be drawn anew from, where any of them has errors."""
    known = kind == "targets" and survey.label_digest and not set(names).isdisjoint(survey.uncertain)
    return {"label_noise": survey.label_digest} if known else {}


def _reference_for(builder: _Builder, task: TaskCard, judged: Cell) -> Cell | None:
    """The posterior that a task holds another against; None where they do not know the same."""
    if not task.against:
        return None
    card = MODELS[task.against]
    comparable = judged.labels["model"] != card.name and judged.labels["modality"] == card.modality
    if not comparable or _lacking(card, builder.survey):
        return None
    return _reference_cell(builder, card, model_facts(card, builder.config), "posterior", builder.config.seed)


def bootstrap_seed(task: TaskCard, survey_digest: str, seed: int) -> int:
    """The seed of a task's resamples on a survey: the same for every model, so that differences are paired."""
    return int(content_key([task.name, task.version, survey_digest, seed])[:8], 16)


def _absence(card: ModelCard, task: TaskCard, survey: SurveyFacts, lacking: str) -> str:
    """Why a model has no score on a task; empty where it can have one."""
    if lacking or not task.targets(survey.labels(task.labels)):
        return f"survey '{survey.name}' {lacking or task.reason}"
    if card.kind == "reference" and task.labels != "targets":
        return f"{card.name} knows physical targets only, no {task.labels}"
    if card.kind == "supervised" and task.labels == "classes" and not card.classifies:
        return f"{card.name} predicts numbers, no probabilities of classes"
    if not task.against:
        return ""
    if card.name == (reference := MODELS[task.against]).name:
        return "the others are judged against it"
    if lacking := _lacking(reference, survey):
        return f"survey '{survey.name}' {lacking}"
    read = "nothing" if card.modality == "none" else card.modality
    same = card.modality == reference.modality
    return "" if same else f"{reference.name} knows {reference.modality} alone, this model reads {read}"


def _lacking(card: ModelCard, survey: SurveyFacts) -> str:
    """Why a model can make nothing of a survey; empty where it can."""
    parts = () if card.modality == "none" else card.modality.split("+")
    if absent := " and ".join(part for part in parts if part not in survey.modalities):
        return f"has no {absent}"
    if card.kind == "reference" and not (survey.flavour and survey.builder == card.knows):
        if card.knows == SIMULATOR:
            return "was not made by this version of the simulator, which alone knows its prior and errors"
        return f"is none of those whose posterior {card.name} knows"
    return ""


def _predict_seconds(produces: str, n_galaxies: int) -> float:
    return (8 + 4 * n_galaxies / 1_000) if produces == "posterior" else (1 + n_galaxies / 1_000)


def _plain(text: str) -> str:
    """Letters, digits and dots only: a model's name becomes part of a file's name."""
    return "".join(letter if letter.isalnum() or letter in "._" else "_" for letter in text.lower()).strip(".")

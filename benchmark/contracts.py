"""The seams of the suite: what a survey target, a model, a head and a card look like to the harness.

Everything here is light: the standard library and type hints, no torch, no pandas. The libraries ``encoders``,
``baselines`` and ``posteriors`` satisfy these protocols without importing them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from benchmark.protocols import (
    Encoder,
    ExactModel,
    InputArray,
    PosteriorHead,
    Progress,
    ReferenceModel,
    Regressor,
    SupervisedModel,
    TrainedEncoder,
    TrainingHistory,
)

__all__ = [
    "SIMULATOR",
    "Encoder",
    "ExactModel",
    "Finding",
    "GalaxybenchError",
    "HeadCard",
    "ImageUnit",
    "InputArray",
    "Labels",
    "MetricCard",
    "Modality",
    "ModelCard",
    "PosteriorHead",
    "Probe",
    "Progress",
    "Reference",
    "ReferenceModel",
    "Regressor",
    "Score",
    "Split",
    "SupervisedModel",
    "SurveyCard",
    "Target",
    "TaskCard",
    "TooFewGalaxies",
    "TrainedEncoder",
    "TrainingHistory",
    "UsageError",
]

Modality = Literal["photometry", "image", "spectrum", "image+spectrum", "none"]
Split = Literal["train", "validation", "test", "unlabelled"]
ImageUnit = Literal["display", "flux"]
Labels = Literal["targets", "votes", "classes"]
Probe = Literal["knn", "linear", "mlp", "flow", "supervised", "reference"]

SIMULATOR = "benchmark.simulator:build_survey"
"""What builds the simulated surveys, as their cards name it."""


class GalaxybenchError(Exception):
    """The work failed for a reason that one or two lines can say: exit code 1.

    The message names what was given, what is allowed and what to do.
    """


class UsageError(GalaxybenchError):
    """What was asked for does not exist or does not fit together: exit code 2."""


class TooFewGalaxies(GalaxybenchError):
    """A survey or preset holds too few galaxies for a task to say anything: no score, and no failure either."""


@dataclass(frozen=True)
class Target:
    """One physical quantity of a survey's catalogue.

    Attributes
    ----------
    name : catalogue column, e.g. ``z`` or ``log10_mstar``.
    unit : unit of the number, ``""`` where dimensionless; a logarithm says what of, e.g. ``dex(Msun)``.
    log_base : ``"10"``, ``"e"`` or ``"none"``.
    provenance : where the number comes from, e.g. ``simulator truth`` or ``SDSS DR8 galSpec``.
    description : one line for people.
    ranked : enters the mean over targets by which models are ordered.
    joint : belongs to the default targets, over which the posterior task is joint.
    low, high : hard physical limits, None where there is none.
    classes : names of the classes that the numbers 0, 1, ... stand for; empty where the numbers are a quantity.
    """

    name: str
    unit: str = ""
    log_base: Literal["10", "e", "none"] = "none"
    provenance: str = ""
    description: str = ""
    ranked: bool = True
    joint: bool = True
    low: float | None = None
    high: float | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One thing a check saw in a survey.

    ``level`` is ``error`` (no trustworthy score can be made), ``warning`` (scores are possible, look first) or
    ``info``; ``code`` is stable for machines; ``n`` counts the galaxies concerned, ``examples`` names the first.
    """

    level: Literal["error", "warning", "info"]
    code: str
    message: str
    n: int = 0
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reference:
    """Where a model, method or survey comes from."""

    authors: str
    year: int
    title: str
    identifier: str  # "arXiv:2310.03024", a DOI or an address


@dataclass(frozen=True)
class ModelCard:
    """All facts about a model of the board; the network itself is named, never imported, by the card.

    Attributes
    ----------
    name : name on the board and on the command line.
    modality : what the model reads.
    factory : ``"module:attribute"`` of a callable that returns an `Encoder` (``kind="encoder"``), a
        `SupervisedModel` (``kind="supervised"``) or a `ReferenceModel` (``kind="reference"``); called with the keyword
        arguments of ``options[preset]``.
    kind : ``encoder`` (gives an embedding, every head is tried on it), ``supervised`` (predicts by itself) or
        ``reference`` (knows how galaxies were simulated and learns nothing: the ceiling of its modality).
    probes : the probes that apply.
    summary : one line.
    revision : raised whenever the numbers of the model may move; enters every key.
    knows : of a ``reference``: the ``build`` of those surveys whose posterior it knows, as their cards name it.
    classifies : a supervised model whose factory also takes ``n_classes``, see `Regressor`.
    fitted : the encoder learns from training and unlabelled galaxies (False: no ``train`` cell).
    images : what a model that reads images is given: colours stretched to [0, 1] (``display``), or nanomaggies
        (``flux``; on a survey that has only pictures, these divided by 255).
    options : preset or ``recipe`` name -> keyword arguments of the factory; ``recipes`` holds overrides by recipe.
    train_seconds : preset -> rough CPU seconds of the training on one core, for plans; where a preset is not named, a
        few seconds for every thousand galaxies are foreseen.
    architecture : ``"module:function"`` of a function that takes the resolved options and returns rows
        ``(item, ours, published paper, published code)``, for ``show``; empty where nothing is published.
    references, licence, training_data, notes : for ``show``.
    """

    name: str
    modality: Modality
    factory: str
    kind: Literal["encoder", "supervised", "reference"]
    probes: tuple[Probe, ...]
    summary: str
    revision: int = 1
    fitted: bool = False
    classifies: bool = False
    knows: str = SIMULATOR
    images: ImageUnit = "display"
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    recipes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    train_seconds: Mapping[str, float] = field(default_factory=dict)
    architecture: str = ""
    references: tuple[Reference, ...] = ()
    licence: str = "BSD-3-Clause"
    training_data: str = "none"
    notes: str = ""


@dataclass(frozen=True)
class HeadCard:
    """All facts about a probe: what turns an embedding into predictions or draws."""

    name: Probe
    factory: str
    produces: Literal["predictions", "posterior"]
    summary: str
    version: int = 1
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    recipes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


@dataclass(frozen=True)
class MetricCard:
    """All facts about a metric of the board.

    ``better`` is ``higher``, ``lower``, ``zero`` (closest to 0) or ``nominal`` (closest to ``nominal``). ``interval``
    says where the 95 % interval comes from: ``galaxies`` (bootstrap over them), ``references`` (other random choices of
    a test, for p-values, whose bootstrap over galaxies would be meaningless) or ``band`` (a distribution-free band,
    for largest distances, whose bootstrap is biased).
    """

    name: str
    better: Literal["higher", "lower", "zero", "nominal"]
    summary: str
    unit: str = ""
    nominal: float | None = None
    interval: Literal["galaxies", "references", "band"] = "galaxies"
    version: int = 1


@dataclass(frozen=True)
class Score:
    """One number of a record, with its 95 % interval, the number of galaxies and the floor.

    ``floor`` is the score, on the same galaxies, of a prediction that knows only the training targets.
    """

    metric: str
    target: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    floor: float | None
    condition: str | None = None


@dataclass(frozen=True)
class TaskCard:
    """All facts about a task: which galaxies and targets, which artefact, which metrics.

    ``score`` is ``"module:attribute"`` of a function ``(evidence, *, seed, n_resamples) -> (scores, details)``;
    ``targets`` maps a survey's facts to the names that are scored, an empty tuple where the task does not apply.
    ``headline`` is the (metric, target) by which the board is sorted. ``labels`` says what the probes learn for it:
    the survey's ``targets``; or ``votes``, the shares of volunteers' answers, given to ``targets`` as one `Target` for
    each ``<question>_<answer>``; or ``classes``, one `Target` for each ``<target>=<class>``. ``against`` names a model
    of kind ``reference``: the task judges the posteriors of its modality, where it applies, and ``score`` gets its
    posterior of the same galaxies as ``reference=``. ``comparable`` is ``"module:attribute"`` of a function
    ``(evidence, ranked=) -> {(metric, target): bound score}``, by which models are compared on the same resamples;
    empty where they are not.
    """

    name: str
    version: int
    needs: Literal["predictions", "posterior"]
    metrics: tuple[str, ...]
    score: str
    targets: Callable[[tuple[Target, ...]], tuple[str, ...]]
    reason: str
    headline: tuple[str, str]
    summary: str
    labels: Labels = "targets"
    against: str = ""
    comparable: str = ""


@dataclass(frozen=True)
class SurveyCard:
    """A survey that has a name and is built on first use.

    Attributes
    ----------
    build : ``"module:attribute"`` of a function ``(folder, n_galaxies=, seed=, progress=, **options)``.
    targets : ``"module:attribute"`` of its targets, a tuple of `Target`, or of a function that gives them for
        ``**options``.
    modalities : what it holds.
    seconds_per_galaxy : rough building time on one core, for plans.
    votes : ``"module:attribute"`` of its questions and answers, as `SurveyInfo.votes`; None without votes.
    version : raised whenever its galaxies change.
    options : what ``build`` is called with besides.
    members : names of the surveys that this one stands for; a run takes them one after another, and it is not built
        itself. Empty for a survey.
    """

    name: str
    build: str
    targets: str
    modalities: tuple[Modality, ...]
    summary: str
    version: str
    seconds_per_galaxy: float
    votes: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    licence: str = "BSD-3-Clause"
    references: tuple[Reference, ...] = ()
    members: tuple[str, ...] = ()

"""From a survey and models to a filled results store: opens the survey, plans, runs what is not done yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.config import PRESETS, RunConfig, store_folder
from benchmark.contracts import GalaxybenchError, HeadCard, ModelCard, Progress, SurveyCard, TaskCard, UsageError
from benchmark.data import Survey, load_survey
from benchmark.engine import Advanced, Job, Outcome, Started, run_jobs
from benchmark.plan import Cell, ForeignFile, NotApplicable, Plan, SurveyFacts, plan_file, plan_models
from benchmark.records import base_record
from benchmark.registry import HEADS, MODELS, PLUGIN_SOURCES, SURVEYS, TASKS, resolve
from benchmark.store import Store, content_key, file_sha256, load_records

if TYPE_CHECKING:
    from benchmark.data.foreign import Content

__all__ = [
    "Execution",
    "RunSummary",
    "choose",
    "evaluate",
    "execute",
    "find_survey",
    "foreseen_facts",
    "named_survey_folder",
    "open_survey",
    "pending_cells",
    "plan_foreign",
    "survey_facts",
    "surveys_of",
]


@dataclass(frozen=True)
class Execution:
    """How a plan is carried out; none of it changes a number.

    Attributes
    ----------
    n_workers : worker processes, 0 for this process.
    plugins : files that register models or tasks; the workers load them too.
    force : do cells again that are done.
    cell_timeout_s : seconds a cell may take.
    budget_s : seconds after which no further cell is started.
    """

    n_workers: int = 0
    plugins: tuple[str, ...] = ()
    force: bool = False
    cell_timeout_s: float | None = None
    budget_s: float | None = None


@dataclass
class RunSummary:
    """What a run came to: names of cells by how they ended, and the reasons of those that did not end well.

    ``asked`` are all cells and gaps of its board, cached ones too.
    """

    asked: list[str] = field(default_factory=list)
    cached: list[str] = field(default_factory=list)
    ended: dict[str, list[str]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no cell failed, crashed or ran out of time; none is skipped for a failure without that failure."""
        return not set(self.ended) - {"done", "skipped", "not started"}

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.ended.setdefault(outcome.status, []).append(outcome.id)
        if outcome.reason:
            self.reasons[outcome.id] = outcome.reason


_OWN = ("supervised", "reference")  # what models give by themselves; no head stands for it

Listener = Callable[[Started | Advanced | Outcome], None]


def choose(
    models: Sequence[str] = ("all",), tasks: Sequence[str] | None = None, probes: Sequence[str] | None = None
) -> tuple[list[ModelCard], list[TaskCard], list[HeadCard], bool]:
    """Cards by name, near misses suggested; the flag says whether models' own predictions are wanted too.

    ``probes`` may hold ``supervised`` or ``reference``, for which no head stands: either keeps what models give by
    themselves.
    """
    cards = list(MODELS) if [name.lower() for name in models] == ["all"] else [MODELS[name] for name in models]
    task_cards = [TASKS[name] for name in tasks] if tasks else list(TASKS)
    if probes is None:
        return cards, task_cards, list(HEADS), True
    heads = [HEADS[name] for name in probes if name.lower() not in _OWN]
    return cards, task_cards, heads, any(name.lower() in _OWN for name in probes)


def named_survey_folder(card: SurveyCard, n_galaxies: int, seed: int = 0) -> Path:
    """Where a named survey of this size is built, below the working folder."""
    return Path("surveys") / f"{card.name}-v{card.version}-n{n_galaxies}-seed{seed}"


def surveys_of(name: str) -> tuple[str, tuple[str, ...]]:
    """The name of a set of surveys and its members; of anything else an empty name and what was given."""
    sets = {card.name.lower(): card for card in SURVEYS if card.members}
    if name.lower() not in sets or (Path(name) / "survey.toml").is_file():
        return "", (name,)
    return sets[name.lower()].name, sets[name.lower()].members


def find_survey(name: str, preset: str, n_galaxies: int | None = None) -> tuple[Path, SurveyCard | None, int]:
    """Where a survey lies or will be built: its folder, its card if it is to be built, and its size then.

    Parameters
    ----------
    name : a registered name such as ``simulated``, or the path of a survey folder.
    preset : gives the size of a named survey unless ``n_galaxies`` does.
    n_galaxies : size of a named survey.
    """
    folder = Path(name)
    if (folder / "survey.toml").is_file():
        if n_galaxies is not None:
            raise UsageError(f"--n-galaxies {n_galaxies}: only for named surveys, {folder} is a survey folder")
        return folder, None, 0
    if folder.is_dir() or "/" in name:
        raise UsageError(f"--survey {name}: no survey.toml there; give a survey folder or one of {_names(SURVEYS)}")
    card = SURVEYS[name]
    if card.members:
        raise UsageError(f"--survey {name}: stands for several surveys; name one of {', '.join(card.members)}")
    size = n_galaxies if n_galaxies is not None else PRESETS[preset].n_galaxies
    place = named_survey_folder(card, size)
    return place, None if (place / "survey.toml").is_file() else card, size


def open_survey(name: str, preset: str, n_galaxies: int | None = None, progress: Progress | None = None) -> Survey:
    """Load a survey folder, or a named survey, which is built on first use; arguments as `find_survey`.

    ``progress`` is called with (done, total) while the survey is built.
    """
    folder, card, size = find_survey(name, preset, n_galaxies)
    if card is not None:
        resolve(card.build)(folder, n_galaxies=size, seed=0, progress=progress, **card.options)
    return load_survey(folder)


def foreseen_facts(card: SurveyCard, n_galaxies: int) -> SurveyFacts:
    """Facts of a named survey that is not built yet, for a plan of what would be done."""
    votes = resolve(card.votes) if card.votes else {}
    found = resolve(card.targets)
    targets = found(**card.options) if callable(found) else found
    flavour, builder = _origin(card.name, card.version)
    known = card.name, card.version, "", card.modalities, targets, n_galaxies, votes, flavour
    return SurveyFacts(*known, builder=builder)


def survey_facts(survey: Survey) -> SurveyFacts:
    """What a plan needs to know of a survey."""
    info, targets = survey.info, survey.numeric_targets
    flavour, builder = _origin(info.name, info.version) if info.simulated else ("", "")
    uncertain = (*info.label_errors, *info.label_draws)
    known = info.name, info.version, survey.digest, survey.modalities, targets, survey.n_galaxies, info.votes, flavour
    return SurveyFacts(*known, builder=builder, uncertain=uncertain, label_digest=info.label_digest)


def _origin(name: str, version: str) -> tuple[str, str]:
    """The flavour in which this version of a builder makes surveys of a name, and the builder; empty for others."""
    for card in SURVEYS:
        if (card.name, card.version) == (name, version) and not card.members:
            return str(card.options.get("flavour", "south")), card.build
    return "", ""


def plan_foreign(
    survey: Survey,
    name: str,
    content: Content,
    path: Path,
    config: RunConfig,
    modality: str | None = None,
) -> Plan:
    """Plan the scoring of a file made elsewhere, after reading and joining it once, so that a bad one ends here."""
    from benchmark.data import foreign  # brings pandas, which planning models does not need

    if any(card.name.lower() == name.lower() for card in MODELS):
        raise UsageError(f"--name '{name}': is a model of the suite; choose another name for your file's row")
    names = foreign.check(path, content, survey)
    if content == "draws":
        joint = tuple(target.name for target in survey.joint_targets)
        if not set(joint) <= set(names):
            raise GalaxybenchError(
                f"{path}: draws of {', '.join(names)}: a posterior on survey '{survey.info.name}' is scored jointly "
                f"over {', '.join(joint)}; draw all of these"
            )
        names = joint  # further targets are left aside
    file = ForeignFile(str(path.resolve()), file_sha256(path), content, names)
    return plan_file(survey_facts(survey), name, modality, file, list(TASKS), list(HEADS), config)


def pending_cells(plan: Plan, store: Store, force: bool = False) -> list[Cell]:
    """Cells that have to run: scores that are not done, and what they need that is not there."""
    by_name = {cell.name: cell for cell in plan.cells}
    wanted = [cell for cell in plan.cells if cell.kind == "score"]
    pending: dict[str, Cell] = {}
    while wanted:
        cell = wanted.pop()
        if cell.name not in pending and (force or not store.is_done(cell.name)):
            pending[cell.name] = cell
            wanted += [by_name[name] for name in cell.needs]
    return [cell for cell in plan.cells if cell.name in pending]


def execute(
    plan: Plan,
    store: Store,
    survey: Survey,
    execution: Execution,
    listener: Listener | None = None,
    earlier: RunSummary | None = None,
) -> RunSummary:
    """Run the pending cells of a plan; every cell that ends leaves a record, whatever its end.

    ``earlier`` is what the same run did on other surveys; it is added to.
    """
    store.prepare()
    summary = earlier or RunSummary()
    summary.asked += [_record_absent(entry, plan, store) for entry in plan.not_applicable]
    summary.asked += [cell.name for cell in plan.cells]
    store.write_last_run(summary.asked)
    pending = pending_cells(plan, store, execution.force)
    summary.cached += [cell.name for cell in plan.cells if cell not in pending]
    cells = {cell.name: _cell_payload(cell, plan.survey) for cell in pending}
    deadline = None if execution.budget_s is None else time.monotonic() + execution.budget_s
    events = run_jobs(
        list(_jobs(pending, cells, store, survey, execution)),
        "benchmark.runner:run_cell",
        n_workers=execution.n_workers,
        timeout_s=execution.cell_timeout_s,
        deadline=deadline,
        watch=listener,
    )
    for found in events:
        event = found
        if isinstance(found, Outcome):
            event = _as_recorded(found, store)
            summary.add(event)
            if found.status in ("crashed", "timeout", "skipped"):
                store.write_record(found.id, base_record(cells[found.id], found.status, found.reason))
        if listener:
            listener(event)
    return summary


def _as_recorded(outcome: Outcome, store: Store) -> Outcome:
    """A cell that gave no result as its own record calls it: ``skipped`` where there are too few galaxies."""
    record = store.read_record(outcome.id) if outcome.status == "failed" else None
    return outcome if record is None or record["status"] != "skipped" else replace(outcome, status="skipped")


def evaluate(
    models: str | Sequence[str] = "all",
    survey: str | Path = "simulated",
    *,
    tasks: Sequence[str] | None = None,
    probes: Sequence[str] | None = None,
    config: RunConfig | None = None,
    out: str | Path | None = None,
    n_galaxies: int | None = None,
    n_workers: int = 0,
) -> list[dict[str, Any]]:
    """Run models on a survey from Python and return the score records of the store.

    Parameters
    ----------
    models : ``"all"``, a name or several; models registered in this process too where ``n_workers`` is 0.
    survey : a named survey, a set of them, or a survey folder.
    tasks, probes : names; None for all that apply.
    config : preset, recipe, seeds and options.
    out : results store, by default ``runs/SURVEY-PRESET``.
    n_galaxies : size of a named survey.
    n_workers : worker processes; 0 runs in this process.

    Returns
    -------
    records : as `load_records` gives them; a failed cell is a record with its reason, not an exception.
    """
    config = config or RunConfig()
    cards, task_cards, heads, own = choose([models] if isinstance(models, str) else models, tasks, probes)
    title, names = surveys_of(str(survey))
    summary = RunSummary()
    for name in names:
        opened = open_survey(name, config.preset, n_galaxies)
        facts = survey_facts(opened)
        plan = plan_models(facts, cards, task_cards, heads, config, supervised=own, sources=PLUGIN_SOURCES)
        store = Store(Path(out) if out else store_folder(title or facts.name, config.preset))
        execute(plan, store, opened, Execution(n_workers=n_workers), earlier=summary)
    return load_records(store.folder)


def _jobs(
    pending: Sequence[Cell], cells: Mapping[str, Any], store: Store, survey: Survey, execution: Execution
) -> Iterator[Job]:
    common = {
        "out": str(store.folder.resolve()),
        "survey": str(survey.folder.resolve()),
        "plugins": [str(Path(path).resolve()) for path in execution.plugins],
    }
    for cell in pending:
        yield Job(cell.name, {**common, "cell": cells[cell.name]}, frozenset(cell.needs))


def _cell_payload(cell: Cell, survey: SurveyFacts) -> dict[str, Any]:
    facts = {"name": survey.name, "version": survey.version, "digest": survey.digest}
    return {**asdict(cell), "survey": facts, "survey_digest": survey.digest}


def _record_absent(absent: NotApplicable, plan: Plan, store: Store) -> str:
    """Leave a record that says why a model has no score on a task here; returns its name."""
    content = {"model": absent.model, "task": absent.task, "survey": plan.survey.digest, "config": asdict(plan.config)}
    key = content_key(content)
    name = f"skipped-{absent.model.lower()}-{absent.task}-{key}"
    if store.read_record(name) is not None:
        return name
    labels = {
        "model": absent.model,
        "modality": absent.modality,
        "task": absent.task,
        "task_version": absent.task_version,
        "preset": plan.config.preset,
        "recipe": plan.config.recipe,
    }
    cell = Cell("score", name, key, {"model": {"name": absent.model}}, (), labels, 0)
    store.write_record(name, base_record(_cell_payload(cell, plan.survey), "skipped", absent.reason))
    return name


def _names(registry: Any) -> str:
    names = [entry.name for entry in registry]
    if not names:
        raise GalaxybenchError("no survey is registered: the installation is incomplete")
    return ", ".join(names)

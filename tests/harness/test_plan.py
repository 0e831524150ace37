"""The plan: which cells there are, and that a cell's key moves with what determines its result and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmark.config import PRESETS, Preset, RunConfig
from benchmark.contracts import HeadCard, ModelCard, Target, TaskCard, UsageError
from benchmark.plan import ForeignFile, Plan, SurveyFacts, plan_file, plan_models
from benchmark.registry import METRICS
from benchmark.registry import MODELS as BOARD

Z, MASS, SFR = Target("z"), Target("log10_mstar"), Target("log10_sfr", joint=False, ranked=False)
SURVEY = SurveyFacts("toy", "1", "digest", ("photometry",), (Z, MASS, SFR), 1000)

MODELS = (
    ModelCard("Floor", "none", "m:Floor", "supervised", ("supervised", "flow"), "s", options={"laptop": {"size": 1}}),
    ModelCard("Pixels", "image", "m:Pixels", "encoder", ("knn", "flow"), "s"),
    ModelCard(
        "Colours",
        "photometry",
        "m:Colours",
        "encoder",
        ("knn", "linear", "flow"),
        "s",
        fitted=True,
        options={"laptop": {"dim": 8}, "smoke": {"dim": 2}},
        recipes={"paper": {"dim": 16}},
    ),
)
HEADS = (
    HeadCard("flow", "h:Flow", "posterior", "s", options={"laptop": {"members": 4}}),
    HeadCard("knn", "h:KNN", "predictions", "s", options={"laptop": {"k": 64}}),
    HeadCard("linear", "h:Linear", "predictions", "s"),
)


def _redshift(targets: tuple[Target, ...]) -> tuple[str, ...]:
    return tuple(target.name for target in targets if target.name == "z")


def _joint(targets: tuple[Target, ...]) -> tuple[str, ...]:
    return tuple(target.name for target in targets if target.joint)


def _all(targets: tuple[Target, ...]) -> tuple[str, ...]:
    return tuple(target.name for target in targets)


TASKS = (
    TaskCard("redshift", 1, "predictions", ("r2", "bias"), "t:z", _redshift, "has no redshift", ("r2", "z"), "s"),
    TaskCard("properties", 1, "predictions", ("r2",), "t:p", _all, "has no target", ("r2", "mean"), "s"),
    TaskCard("posterior", 1, "posterior", ("crps",), "t:d", _joint, "has no default targets", ("crps", "joint"), "s"),
)


def plan(
    survey: SurveyFacts = SURVEY,
    models: tuple[ModelCard, ...] = MODELS,
    tasks: tuple[TaskCard, ...] = TASKS,
    heads: tuple[HeadCard, ...] = HEADS,
    sources: dict[str, str] | None = None,
    **config: object,
) -> Plan:
    return plan_models(survey, models, tasks, heads, RunConfig(**config), sources=sources)  # type: ignore[arg-type]


def step(kind: str, model: str, probe: str | None = None, task: str | None = None, seed: int | None = None) -> str:
    return " ".join(str(part) for part in (kind, model, probe, task, seed) if part is not None)


def keys(made: Plan) -> dict[str, str]:
    """Key of each cell by what it is, seeds left out."""
    named = {
        step(cell.kind, cell.labels["model"], cell.labels.get("probe"), cell.labels.get("task")): cell.key
        for cell in made.cells
    }
    assert len(named) == len(made.cells)
    return named


def moved(other: Plan, base: Plan | None = None) -> set[str]:
    before, after = keys(base or plan()), keys(other)
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def cells_of(*words: str) -> set[str]:
    """Cells of the plan that have one of these words in their name."""
    return {name for name in keys(plan()) if set(name.split()) & set(words)}


ALL = set(keys(plan()))
DOWNSTREAM_OF_EMBEDDING = cells_of("Colours") - {"train Colours"}
PROBES = cells_of("predict", "score")
POINT_PROBES = {name for name in PROBES if "flow" not in name.split()}


def card(position: int, **changes: object) -> tuple[ModelCard, ...]:
    return tuple(replace(one, **changes) if number == position else one for number, one in enumerate(MODELS))  # type: ignore[arg-type]


def head(position: int, **changes: object) -> tuple[HeadCard, ...]:
    return tuple(replace(one, **changes) if number == position else one for number, one in enumerate(HEADS))  # type: ignore[arg-type]


def task(position: int, **changes: object) -> tuple[TaskCard, ...]:
    return tuple(replace(one, **changes) if number == position else one for number, one in enumerate(TASKS))  # type: ignore[arg-type]


def test_a_plan_holds_the_way_from_weights_to_scores() -> None:
    assert {
        "train Colours",
        "embed Colours",
        "predict Colours knn",
        "predict Colours linear",
        "predict Colours flow",
        "predict Floor supervised",
        "predict Floor flow",
        "score Colours knn redshift",
        "score Colours knn properties",
        "score Colours linear redshift",
        "score Colours linear properties",
        "score Colours flow posterior",
        "score Floor supervised redshift",
        "score Floor supervised properties",
        "score Floor flow posterior",
    } == ALL


def test_every_cell_stands_behind_the_cells_it_needs() -> None:
    seen: set[str] = set()
    for cell in plan().cells:
        assert set(cell.needs) <= seen
        assert cell.name not in seen
        assert cell.name.endswith(cell.key)
        seen.add(cell.name)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (lambda: plan(preset="smoke"), ALL),
        (lambda: plan(recipe="paper"), ALL),
        (lambda: plan(seed=1), PROBES),
        (lambda: plan(n_labels=100), PROBES),
        (lambda: plan(inputs="l2"), {name for name in POINT_PROBES if "supervised" not in name.split()}),
        (lambda: plan(survey=replace(SURVEY, digest="other")), ALL),
        (lambda: plan(survey=replace(SURVEY, name="renamed", version="2", n_galaxies=7)), set()),
        (lambda: plan(models=card(2, revision=2)), cells_of("Colours")),
        (lambda: plan(models=card(2, options={"laptop": {"dim": 9}})), cells_of("Colours")),
        (lambda: plan(models=card(2, options={"laptop": {"dim": 8}, "smoke": {"dim": 3}})), set()),
        (lambda: plan(models=card(2, recipes={"paper": {"dim": 17}})), set()),
        (lambda: plan(models=card(2, factory="m:Other")), cells_of("Colours")),
        (lambda: plan(models=card(2, summary="other words", notes="n", licence="MIT")), set()),
        (lambda: plan(models=card(0, revision=2)), cells_of("Floor")),
        (lambda: plan(models=card(1, revision=2)), set()),
        (lambda: plan(sources={"Colours": "sha"}), cells_of("Colours")),
        (lambda: plan(heads=head(1, version=2)), cells_of("knn")),
        (lambda: plan(heads=head(1, options={"laptop": {"k": 32}})), cells_of("knn")),
        (lambda: plan(heads=head(0, options={"laptop": {"members": 5}})), cells_of("flow")),
        (lambda: plan(tasks=task(0, version=2)), cells_of("redshift")),
        (lambda: plan(tasks=task(0, metrics=("r2",))), cells_of("redshift")),
        (lambda: plan(tasks=task(0, summary="other words", reason="r")), set()),
        (lambda: plan(models=MODELS[::-1], heads=HEADS[::-1], tasks=TASKS[::-1]), set()),
    ],
    ids=[
        "preset",
        "recipe",
        "seed",
        "n_labels",
        "inputs",
        "survey digest",
        "survey name",
        "card revision",
        "options",
        "options of another preset",
        "options of another recipe",
        "factory",
        "words on a card",
        "revision of a model without embedding",
        "revision of a model that does not apply",
        "plugin file",
        "head version",
        "head options",
        "flow options",
        "task version",
        "task metrics",
        "words on a task",
        "order of the cards",
    ],
)
def test_a_key_moves_with_what_determines_the_result_and_with_nothing_else(
    other: Callable[[], Plan], expected: set[str]
) -> None:
    assert moved(other()) == expected


def test_the_version_of_a_metric_moves_the_scores_that_hold_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = plan()
    entries = {entry.name: entry for entry in METRICS}
    monkeypatch.setattr(METRICS, "_entries", entries | {"bias": replace(entries["bias"], version=2)})
    assert moved(plan(), before) == cells_of("redshift")


def test_the_number_of_draws_moves_the_posteriors_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = plan()
    monkeypatch.setitem(PRESETS, "laptop", Preset("laptop", n_galaxies=4_000, n_draws=77))
    assert moved(plan(), before) == cells_of("flow")


def test_an_encoder_is_trained_once_whatever_the_seed_of_the_probes() -> None:
    one, more = plan(seed=3), plan(seed=3, n_seeds=3)
    count = {kind: [cell.kind for cell in more.cells].count(kind) for kind in ("train", "embed", "predict", "score")}
    assert count == {"train": 1, "embed": 1, "predict": 3 * 5, "score": 3 * 8}
    # further seeds leave the first one's cells as they are: its bootstrap has the run's first seed
    assert {cell.name for cell in one.cells} <= {cell.name for cell in more.cells}


def test_adding_a_model_or_a_task_changes_no_key() -> None:
    whole = {cell.name for cell in plan().cells}
    assert {cell.name for cell in plan(models=MODELS[:1]).cells} < whole
    assert {cell.name for cell in plan(tasks=TASKS[1:]).cells} < whole
    assert {cell.name for cell in plan(heads=HEADS[:2]).cells} < whole


def test_models_are_compared_on_the_same_resamples() -> None:
    seeds = {}
    for cell in plan().cells:
        if cell.kind == "score":
            seeds.setdefault(cell.labels["task"], set()).add(cell.settings["bootstrap_seed"])
    assert {name: len(found) for name, found in seeds.items()} == {"redshift": 1, "properties": 1, "posterior": 1}
    assert len(set.union(*seeds.values())) == 3


def test_what_a_survey_does_not_support_is_listed_with_the_reason() -> None:
    absent = {(entry.model, entry.task): entry.reason for entry in plan().not_applicable}
    reason = "survey 'toy' has no image"
    assert absent == {("Pixels", name): reason for name in ("redshift", "properties", "posterior")}
    without_z = replace(SURVEY, targets=(SFR,))
    absent = {(entry.model, entry.task): entry.reason for entry in plan(survey=without_z).not_applicable}
    assert absent["Floor", "redshift"] == "survey 'toy' has no redshift"
    assert absent["Floor", "posterior"] == "survey 'toy' has no default targets"
    assert ("Floor", "properties") not in absent
    assert {cell.labels.get("task") for cell in plan(survey=without_z).cells} == {None, "properties"}


def test_a_survey_without_targets_gives_a_plan_without_probes() -> None:
    made = plan(survey=replace(SURVEY, targets=()))
    assert not [cell for cell in made.cells if cell.kind in ("predict", "score")]
    assert len(made.not_applicable) == 9


def test_two_surveys_and_two_plans_never_share_a_name_by_accident() -> None:
    names = [cell.name for digest in ("a", "b") for cell in plan(survey=replace(SURVEY, digest=digest)).cells]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["A/../../B", "a b", "Ünïcode", ".hidden", "a|b"])
def test_a_name_of_a_model_makes_a_plain_file_name(name: str) -> None:
    for cell in plan(models=card(2, name=name)).cells:
        assert "/" not in cell.name
        assert " " not in cell.name
        assert not cell.name.startswith(".")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("predictions", {"predict Mine external", "score Mine external redshift", "score Mine external properties"}),
        ("draws", {"predict Mine external", "score Mine external posterior"}),
        (
            "embeddings",
            {
                "embed Mine",
                "predict Mine knn",
                "predict Mine linear",
                "predict Mine flow",
                "score Mine knn redshift",
                "score Mine knn properties",
                "score Mine linear redshift",
                "score Mine linear properties",
                "score Mine flow posterior",
            },
        ),
    ],
)
def test_a_file_enters_at_the_seam_of_its_content(content: str, expected: set[str]) -> None:
    names = ("z", "log10_mstar") if content == "draws" else ("z", "log10_sfr")
    file = ForeignFile("/f", "sha", content, () if content == "embeddings" else names)  # type: ignore[arg-type]
    made = plan_file(SURVEY, "Mine", "photometry", file, TASKS, HEADS, RunConfig())
    assert set(keys(made)) == expected
    assert {cell.labels["contamination"] for cell in made.cells} == {"training set unknown"}
    same_bytes = plan_file(SURVEY, "Mine", "photometry", replace(file, path="/elsewhere"), TASKS, HEADS, RunConfig())
    assert keys(same_bytes) == keys(made)
    other_bytes = plan_file(SURVEY, "Mine", "photometry", replace(file, sha256="x"), TASKS, HEADS, RunConfig())
    assert not set(keys(made).values()) & set(keys(other_bytes).values())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"preset": "huge"}, "--preset 'huge': must be one of smoke, laptop, paper"),
        ({"recipe": "mine"}, "--recipe 'mine': must be one of default, paper, code"),
        ({"inputs": "log"}, "--inputs 'log': must be one of raw, standardised, l2"),
        ({"seed": -1}, "--seed -1: must be from 0"),
        ({"n_seeds": 0}, "--seeds 0: must be at least 1"),
        ({"n_labels": 5}, "--n-labels 5: must be at least 10"),
    ],
)
def test_a_setting_that_is_not_allowed_is_bad_usage(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RunConfig(**given)  # type: ignore[arg-type]


CEILING = ModelCard(
    "Ceiling", "photometry", "m:Ceiling", "reference", ("reference",), "s", options={"laptop": {"n": 9}}
)


def test_a_reference_is_prepared_once_and_gives_predictions_and_a_posterior_without_labels() -> None:
    simulated = replace(SURVEY, flavour="south")
    made = plan_models(simulated, [CEILING], TASKS, HEADS, RunConfig(n_labels=100))
    by_kind = {kind: [cell for cell in made.cells if cell.kind == kind] for kind in ("train", "predict", "score")}
    (prepared,) = by_kind["train"]
    assert prepared.settings["flavour"] == "south"
    assert [cell.needs for cell in by_kind["predict"]] == [(prepared.name,)] * 2
    assert {cell.settings["produces"] for cell in by_kind["predict"]} == {"predictions", "posterior"}
    assert {cell.settings["n_labels"] for cell in by_kind["predict"]} == {None}
    assert {cell.labels["task"] for cell in by_kind["score"]} == {"redshift", "properties", "posterior"}
    assert {cell.labels["probe"] for cell in by_kind["score"]} == {"reference"}
    other = plan_models(replace(SURVEY, flavour="deep"), [CEILING], TASKS, HEADS, RunConfig())
    assert {cell.key for cell in other.cells}.isdisjoint(cell.key for cell in made.cells)


def test_a_reference_does_not_apply_where_the_simulator_is_not_known() -> None:
    made = plan_models(SURVEY, [CEILING], TASKS, HEADS, RunConfig())
    assert made.cells == ()
    assert {entry.task for entry in made.not_applicable} == {"redshift", "properties", "posterior"}
    assert all("was not made by this version of the simulator" in entry.reason for entry in made.not_applicable)
    assert not plan_models(
        replace(SURVEY, flavour="south"), [CEILING], TASKS, HEADS, RunConfig(), supervised=False
    ).cells


AGAINST = TaskCard(
    "against", 1, "posterior", ("crps",), "t:a", _joint, "has no default targets", ("crps", "mean"), "s",
    against="ReferencePosterior",
)  # fmt: skip


def test_a_task_against_the_reference_takes_along_the_reference_of_the_same_galaxies() -> None:
    simulated = replace(SURVEY, flavour="south")
    made = plan_models(simulated, MODELS, [AGAINST], HEADS, RunConfig())
    by_name = {cell.name: cell for cell in made.cells}
    (judged,) = (cell for cell in made.cells if cell.kind == "score")
    assert judged.labels["model"] == "Colours"
    own, reference = (by_name[name] for name in judged.needs)
    assert (own.labels["model"], reference.labels["model"]) == ("Colours", "ReferencePosterior")
    assert reference.settings["produces"] == "posterior"
    assert by_name[reference.needs[0]].kind == "train"
    # Floor reads nothing and Pixels, which the survey lacks, images
    assert {entry.model: entry.reason for entry in made.not_applicable} == {
        "Floor": "ReferencePosterior knows photometry alone, this model reads nothing",
        "Pixels": "survey 'toy' has no image",
    }
    whole = plan_models(simulated, [*MODELS, BOARD["ReferencePosterior"]], [*TASKS, AGAINST], HEADS, RunConfig())
    assert {reference.key, judged.key} <= {cell.key for cell in whole.cells}  # prepared once for both
    assert "the others are judged against it" in {entry.reason for entry in whole.not_applicable}


def test_a_file_of_draws_is_judged_against_the_reference_if_it_is_said_to_be_from_photometry() -> None:
    simulated, file = replace(SURVEY, flavour="south"), ForeignFile("/d", "abc", "draws", ("z", "log10_mstar"))
    counts = {
        modality: len(plan_file(simulated, "Mine", modality, file, [AGAINST], HEADS, RunConfig()).cells)
        for modality in ("photometry", "image", None)
    }
    assert counts == {"photometry": 4, "image": 1, None: 1}
    assert len(plan_file(SURVEY, "Mine", "photometry", file, [AGAINST], HEADS, RunConfig()).cells) == 1

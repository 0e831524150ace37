"""Analytic problems as surveys: built like any other, judged against their exact posterior."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark import evaluate
from benchmark.analytic import PROBLEMS, SURVEY_VERSION, build_survey, targets_of
from benchmark.analytic.exact import ExactPosterior
from benchmark.analytic.survey import inputs_of_magnitudes, magnitudes_of_inputs
from benchmark.artefacts import Posterior
from benchmark.cli.main import main
from benchmark.config import RunConfig
from benchmark.contracts import ExactModel, GalaxybenchError, UsageError
from benchmark.data import Survey, inputs
from benchmark.data.inspection.checks import check_survey
from benchmark.evaluation import find_survey, foreseen_facts, open_survey, survey_facts, surveys_of
from benchmark.registry import SURVEYS, resolve

MEMBERS = [card for card in SURVEYS if card.name.startswith("analytic-")]
Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return build_survey(tmp_path_factory.mktemp("surveys") / "correlated5", 1_200, flavour="correlated5")


@pytest.fixture(scope="module")
def records(survey: Survey, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Records]]:
    """The smoke preset with our flow and with the released, elementwise one."""
    out = tmp_path_factory.mktemp("runs") / "out"
    tasks, found = ["posterior", "validity"], {}
    for recipe in ("default", "code"):
        config = RunConfig(preset="smoke", recipe=recipe)  # type: ignore[arg-type]
        models = ["ExactPosterior", "PhotometryMLP"]
        every = evaluate(models, survey.folder, tasks=tasks, config=config, out=out)
        found[recipe] = [record for record in every if record["recipe"] == recipe]
    return out, found


def scores(records: Records, model: str, task: str) -> dict[tuple[str, str], dict[str, Any]]:
    (record,) = [r for r in records if (r["model"]["name"], r["task"]["name"]) == (model, task) and r["scores"]]
    return {(score["metric"], score["target"]): score for score in record["scores"]}


@pytest.mark.parametrize("card", MEMBERS, ids=[card.name for card in MEMBERS])
def test_every_survey_of_the_set_is_sound_and_is_what_its_card_says(card: Any, tmp_path: Path) -> None:
    built = resolve(card.build)(tmp_path / "one", n_galaxies=400, seed=3, **card.options)
    assert (built.info.name, built.info.version, built.modalities) == (card.name, card.version, card.modalities)
    assert card.version == SURVEY_VERSION
    assert built.info.simulated
    assert "no light" in str(built.info.facts["magnitudes"])
    assert [finding for finding in check_survey(built) if finding.level == "error"] == []
    problem = PROBLEMS[str(card.options["flavour"])]
    assert problem.summary in card.summary
    facts, foreseen = survey_facts(built), foreseen_facts(card, 400)
    assert replace(facts, digest="") == foreseen
    assert facts.flavour == problem.name
    assert len(facts.targets) == problem.n_targets
    assert all(17 < np.median(built.catalogue[f"mag_{band}"]) < 23 for band in built.info.photometry_bands)


def test_a_galaxy_follows_from_seed_and_number_alone(tmp_path: Path) -> None:
    few, many, other = (
        build_survey(tmp_path / f"{n}-{seed}", n, seed, flavour="slcp").catalogue
        for n, seed in ((700, 5), (1_300, 5), (700, 6))
    )
    pd.testing.assert_frame_equal(few, many[:700])
    assert few["target_id"][3] == 5 * 10**9 + 3
    assert (few["mag_x1"] != other["mag_x1"]).all()


def test_what_cannot_be_built_is_refused(tmp_path: Path) -> None:
    for n, seed, message in ((0, 0, "n_galaxies=0"), (10, -1, "seed=-1")):
        with pytest.raises(UsageError, match=message):
            build_survey(tmp_path / "one", n, seed, flavour="banana")
    with pytest.raises(UsageError, match="problem 'moons'"):
        build_survey(tmp_path / "one", 10, flavour="moons")


@pytest.mark.parametrize("name", ["two-moons", "slcp", "gaussian-linear"])
def test_inputs_survive_the_float32_of_magnitudes(name: str) -> None:
    problem = PROBLEMS[name]
    given, target = problem.simulate(60, np.random.default_rng(0))
    back = inputs_of_magnitudes(problem, magnitudes_of_inputs(problem, given).astype(np.float32))
    np.testing.assert_allclose(back, given, atol=1e-5)
    moved = problem.log_prob(target, back) - problem.log_prob(target, given)
    assert np.abs(moved).max() < 0.01  # nats


def test_the_exact_posterior_is_judged_as_a_posterior_and_is_calibrated(
    records: tuple[Path, dict[str, Records]], survey: Survey
) -> None:
    exact = scores(records[1]["default"], "ExactPosterior", "posterior")
    truth = survey.target([t.name for t in survey.numeric_targets], survey.rows("test"))
    given = inputs_of_magnitudes(PROBLEMS["correlated5"], inputs(survey, "photometry", survey.rows("test"))[:])
    nll = -PROBLEMS["correlated5"].log_prob(truth, given).mean()
    assert exact["nll_mixture", "joint"]["value"] == pytest.approx(nll, abs=1e-6)
    assert exact["tarp_p", "joint"]["value"] > 1e-3
    spread = survey.target([t.name for t in survey.numeric_targets], survey.rows("train")).std(axis=0)
    per_dim = (nll - np.log(spread).sum()) / 5
    assert exact["nll_per_dim", "joint"]["value"] == pytest.approx(per_dim, abs=1e-6)


def test_a_fitted_posterior_has_its_distance_from_the_truth(records: tuple[Path, dict[str, Records]]) -> None:
    found, exact = (scores(records[1]["default"], model, task) for model, task in (
        ("PhotometryMLP", "validity"), ("ExactPosterior", "posterior")))  # fmt: skip
    gap, ours = found["nll_gap", "joint"], scores(records[1]["default"], "PhotometryMLP", "posterior")
    difference = ours["nll_mixture", "joint"]["value"] - exact["nll_mixture", "joint"]["value"]
    assert gap["value"] == pytest.approx(difference, abs=1e-5)
    assert 0 < gap["ci_low"] < gap["value"] < gap["ci_high"] < 1.5 < gap["floor"]
    accuracy = found["c2st", "joint"]
    assert 0.45 < accuracy["ci_low"] < accuracy["value"] < accuracy["ci_high"] < accuracy["floor"]
    assert (gap["n"], accuracy["n"]) == (ours["nll_mixture", "joint"]["n"], 16)


def test_an_elementwise_flow_is_far_from_correlated_posteriors(records: tuple[Path, dict[str, Records]]) -> None:
    """A product of marginals lacks 2 log(1 / (1 - .95^2)) = 4.66 nats of correlated noise, and networks see it."""
    ours, released = (scores(records[1][recipe], "PhotometryMLP", "validity") for recipe in ("default", "code"))
    assert released["nll_gap", "joint"]["ci_low"] > 4.6 > ours["nll_gap", "joint"]["ci_high"]
    assert released["c2st", "joint"]["ci_low"] > 0.9 > ours["c2st", "joint"]["ci_high"]


def test_draws_made_elsewhere_are_judged_by_c2st_alone(
    survey: Survey, records: tuple[Path, dict[str, Records]], tmp_path: Path
) -> None:
    """Exact draws of another seed pass."""
    exact = next((records[0] / "outputs").glob("predict-exactposterior*.npz"))
    found = Posterior.read(exact)
    problem, rows = PROBLEMS["correlated5"], survey.rows("test")
    draws = problem.draw(inputs_of_magnitudes(problem, inputs(survey, "photometry", rows)[:]), 250, 77)
    file = tmp_path / "right.npz"
    np.savez(file, target_id=found.target_id, draws=draws.transpose(1, 0, 2), targets=np.array(found.names))
    options = ["--name", "right", "--draws", str(file), "--modality", "photometry", "--preset", "smoke"]
    out = tmp_path / "out"
    assert main(["score", "--survey", str(survey.folder), "--out", str(out), *options, "--workers", "0"]) == 0
    (made,) = [json.loads(path.read_text()) for path in (out / "records").glob("score-*validity*")]
    assert [score["metric"] for score in made["scores"]] == ["c2st"]
    assert abs(made["scores"][0]["value"] - 0.5) < 0.04  # sixteen galaxies, 250 draws


def test_the_set_stands_for_its_surveys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    title, names = surveys_of("Analytic")
    assert title == "analytic"
    assert sorted(names) == sorted(card.name for card in MEMBERS)
    assert surveys_of("simulated") == ("", ("simulated",))
    with pytest.raises(UsageError, match="--survey analytic: stands for several surveys; name one of analytic-gau"):
        find_survey("analytic", "smoke")
    few = SURVEYS["analytic"]
    monkeypatch.setitem(SURVEYS._scanned(), "analytic", replace(few, members=("analytic-banana", "analytic-gaussian1")))
    config = RunConfig(preset="smoke")
    made = evaluate("ExactPosterior", "analytic", tasks=["posterior"], config=config, n_galaxies=400)
    assert {record["survey"]["name"] for record in made} == {"analytic-banana", "analytic-gaussian1"}
    assert (tmp_path / "runs" / "analytic-smoke" / "records").is_dir()
    asked = json.loads((tmp_path / "runs" / "analytic-smoke" / "last_run.json").read_text())
    assert {record["name"] for record in made} <= set(asked)  # of both surveys, so that the board shows both
    assert open_survey("analytic-banana", "smoke", 400).n_galaxies == 400


def test_the_command_line_runs_and_builds_the_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    few = replace(SURVEYS["analytic"], members=("analytic-two-modes", "analytic-gaussian1"))
    monkeypatch.setitem(SURVEYS._scanned(), "analytic", few)
    options = ["--survey", "analytic", "--preset", "smoke", "--n-galaxies", "400", "--tasks", "posterior,validity"]
    assert main(["run", "all", *options, "--dry-run", "--json"]) == 0
    foreseen = json.loads(capsys.readouterr().out)
    assert [plan["survey_to_build"] for plan in foreseen] == [True, True]
    assert main(["run", "ExactPosterior,ImagePCA", *options, "--workers", "0"]) == 0
    board = capsys.readouterr().out
    for name in few.members:
        assert f"posterior on {name} (smoke, default; test n = " in board
    assert "does not apply: ImagePCA: posterior, validity: each of 2 surveys has no image" in board
    assert main(["survey", "build", "analytic", "--out", "built", "--n", "50"]) == 0
    assert sorted(path.name for path in (tmp_path / "built").iterdir()) == sorted(few.members)


def test_the_exact_posterior_knows_its_problem_and_nothing_else() -> None:
    model = ExactPosterior(10)
    assert isinstance(model, ExactModel)
    rows = np.full((3, 2), 20.0, np.float32)
    with pytest.raises(GalaxybenchError, match="no problem yet: call prepare first"):
        model.draw(rows, ["theta1", "theta2"], n_draws=5, seed=0)
    model.prepare("two-modes", seed=0)
    assert [target.name for target in targets_of("two-modes")] == ["theta1", "theta2"]
    assert model.predict(rows, ["theta1", "theta2"], seed=0).shape == (3, 2)
    for names in (["theta1"], ["theta2", "theta1"], ["z"]):
        with pytest.raises(GalaxybenchError, match="all and in this order"):
            model.predict(rows, names, seed=0)
    rows[1, 0] = np.nan
    with pytest.raises(GalaxybenchError, match="none of which may be missing"):
        model.draw(rows, ["theta1", "theta2"], n_draws=5, seed=0)

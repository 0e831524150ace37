"""The reference posterior as a row of the board."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark import evaluate, leaderboard
from benchmark.artefacts import Posterior
from benchmark.cli.main import main
from benchmark.config import RunConfig
from benchmark.contracts import GalaxybenchError
from benchmark.data import Survey
from benchmark.evaluation import foreseen_facts, survey_facts
from benchmark.registry import SURVEYS
from benchmark.simulator import build_survey
from benchmark.simulator.ceiling import ReferencePosterior

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return build_survey(tmp_path_factory.mktemp("surveys") / "simulated", 450, 7, modalities=("photometry",))


@pytest.fixture(scope="module")
def records(survey: Survey, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Records]:
    out = tmp_path_factory.mktemp("runs") / "out"
    config = RunConfig(preset="smoke")
    models = ["ReferencePosterior", "PhotometryMLP", "Constant"]
    return out, evaluate(models, survey.folder, probes=["reference", "flow"], config=config, out=out)


def _scores(records: Records, model: str, task: str) -> dict[tuple[str, str], dict[str, Any]]:
    (record,) = [r for r in records if r["model"]["name"] == model and r["task"]["name"] == task and r["scores"]]
    return {(score["metric"], score["target"]): score for score in record["scores"]}


def test_it_is_scored_as_predictions_and_as_a_posterior_from_no_label(records: tuple[Path, Records]) -> None:
    ours = [r for r in records[1] if r["model"]["name"] == "ReferencePosterior" and r["status"] == "done"]
    assert {r["task"]["name"] for r in ours} == {"redshift", "properties", "posterior"}
    assert {r["probe"] for r in ours} == {"reference"}
    assert {r["n_labels"] for r in ours} == {None}


def test_it_is_far_above_the_floor_and_calibrated(records: tuple[Path, Records]) -> None:
    properties, posterior = (_scores(records[1], "ReferencePosterior", task) for task in ("properties", "posterior"))
    assert properties["r2", "mean"]["value"] > 0.45
    assert properties["r2", "log10_mstar_provabgs"]["value"] > 0.45
    assert posterior["crps", "z"]["value"] < 0.75 * posterior["crps", "z"]["floor"]
    assert posterior["tarp_p", "joint"]["value"] > 0.001
    low, high = (posterior["coverage_68", "mean"][end] for end in ("ci_low", "ci_high"))
    assert low - 0.06 < 0.68 < high + 0.06  # 90 galaxies, and few effective draws in the smoke preset
    assert ("nll_mixture", "joint") not in posterior  # no joint density is claimed from draws


def test_the_record_says_how_well_the_posterior_is_determined(records: tuple[Path, Records]) -> None:
    made = [json.loads(path.read_text()) for path in (records[0] / "records").glob("predict-referenceposterior*")]
    assert {record["config"]["produces"] for record in made} == {"predictions", "posterior"}
    for record in made:
        assert record["details"]["n_candidates"] == 100_000
        assert 30 < record["details"]["ess_50"] < 150
        assert record["details"]["n_ess_below_50"] > 0
    (draws,) = [p for p in (records[0] / "outputs").iterdir() if p.suffix == ".npz" and "reference" in p.name]
    read = Posterior.read(draws)
    assert read.ess is not None
    assert read.ess.shape == read.target_id.shape
    assert read.select(["z"]).ess is read.ess


def test_a_photometry_posterior_is_judged_against_it(records: tuple[Path, Records]) -> None:
    found = _scores(records[1], "PhotometryMLP", "reference")
    assert found["nll_gap", "mean"]["value"] < 0.7 * found["nll_gap", "mean"]["floor"]
    assert 0 < found["reference_ks", "mean"]["value"] < 0.7 * found["reference_ks", "mean"]["floor"]
    assert found["crps_gap", "z"]["floor"] > 0
    assert found["nll_gap", "mean"]["n"] < 100
    absent = {r["model"]["name"]: r["reason"] for r in records[1] if r["task"]["name"] == "reference" and r["reason"]}
    assert absent == {
        "Constant": "ReferencePosterior knows photometry alone, this model reads nothing",
        "ReferencePosterior": "the others are judged against it",
    }


def test_too_few_determined_galaxies_are_no_failure_and_no_score(
    survey: Survey, records: tuple[Path, Records], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = shutil.copytree(records[0], tmp_path / "out")
    (judged,) = (out / "records").glob("score-photometrymlp-flow-reference-*.json")
    judged.unlink()
    line = ["run", "PhotometryMLP", "--survey", str(survey.folder), "--preset", "smoke", "--probes", "flow"]
    line += ["--tasks", "reference", "--out", str(out), "--workers", "0"]
    with monkeypatch.context() as patch:
        patch.setattr("benchmark.tasks.reference.LEAST_ESS", 10**6)
        assert main(line) == 0
    printed = capsys.readouterr()
    assert "1 skipped" in printed.err
    assert "skipped: PhotometryMLP (flow): reference: 0 of " in printed.out
    (row,) = [row for row in leaderboard(out, task="reference") if row["model"] == "PhotometryMLP"]
    assert (row["status"], row["metric"], row["value"]) == ("skipped", None, None)
    assert "at least 20 are needed; use a larger preset" in row["error"]
    assert main(line) == 0  # judged again once that is possible
    assert json.loads(judged.read_text())["status"] == "done"


def test_it_is_for_surveys_of_this_version_of_the_simulator_only(survey: Survey, tiny: Survey) -> None:
    assert survey_facts(survey).flavour == "south"
    assert survey_facts(tiny).flavour == ""
    older = Survey(survey.folder, replace(survey.info, version="0"))
    assert survey_facts(older).flavour == ""
    real = Survey(survey.folder, replace(survey.info, simulated=False))
    assert survey_facts(real).flavour == ""
    assert foreseen_facts(SURVEYS["simulated"], 1000).flavour == "south"


def test_a_model_that_has_no_pool_says_so() -> None:
    with pytest.raises(GalaxybenchError, match="no pool yet: call prepare first"):
        ReferencePosterior(1000).draw(np.zeros((2, 3), np.float32), ["z"], n_draws=5, seed=0)

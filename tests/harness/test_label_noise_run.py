"""Errors of labels through a whole run: which cells they concern, and what stands on the board."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_survey import TARGETS, tiny_catalogue

from benchmark import evaluate, load_records
from benchmark.board import leaderboard, render
from benchmark.cli.main import main
from benchmark.config import RunConfig
from benchmark.data import Survey, SurveyInfo, write_survey
from benchmark.evaluation import survey_facts
from benchmark.plan import Plan, plan_models
from benchmark.registry import HEADS, MODELS, TASKS

SMOKE = RunConfig(preset="smoke")
ERRORS = {"z": 0.05, "log10_mstar": 0.2}
RESAMPLED = "labels=resampled"


def write(folder: Path, factor: float = 1.0, names: tuple[str, ...] = tuple(ERRORS)) -> Survey:
    table = tiny_catalogue()
    for name in names:
        table[f"{name}_err"] = factor * ERRORS[name]
    info = SurveyInfo("tiny", "1", TARGETS, photometry_bands=("g", "r", "z"), label_errors=names)
    return write_survey(folder, info, table)


def keys(survey: Survey) -> dict[str, str]:
    models = [MODELS["GradientBoosting"], MODELS["PhotometryMLP"]]
    plan: Plan = plan_models(survey_facts(survey), models, list(TASKS), list(HEADS), SMOKE)
    return {cell.name.removesuffix(cell.key): cell.key for cell in plan.cells}


def test_errors_of_labels_move_the_keys_of_what_is_held_against_them_alone(tmp_path: Path) -> None:
    bare, one, two = write(tmp_path / "a", names=()), write(tmp_path / "b"), write(tmp_path / "c", 2.0)
    assert bare.digest == one.digest == two.digest
    found = [keys(survey) for survey in (bare, one, two)]
    moved = {name for name, key in found[0].items() if len({key, found[1][name], found[2][name]}) == 3}
    same = {name for name, key in found[0].items() if len({key, found[1][name], found[2][name]}) == 1}
    assert moved | same == set(found[0])
    assert all(name.startswith(("predict", "score")) for name in moved)
    assert {name for name in found[0] if name.startswith(("train", "embed"))} <= same
    unjoined = keys(write(tmp_path / "d", names=("log10_mstar",)))
    assert unjoined.keys() == found[0].keys()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noise")
    survey = write(folder / "survey")
    models = ["Constant", "GradientBoosting"]
    evaluate(models, survey.folder, tasks=["redshift", "properties", "posterior"], config=SMOKE, out=folder / "run")
    return folder / "run"


def test_the_board_has_scores_on_labels_drawn_anew_and_the_ceilings(out: Path) -> None:
    assert all(record["status"] == "done" for record in load_records(out))
    rows = {
        (row["model"], row["probe"], row["task"], row["metric"], row["target"], row["condition"]): row
        for row in leaderboard(out)
    }
    test = tiny_catalogue()
    values = {name: [row["value"] for key, row in rows.items() if key[3:5] == name] for name in
              (("r2_ceiling", "z"), ("r2_ceiling", "log10_mstar"), ("nll_ceiling", "joint"))}  # fmt: skip
    for (metric, target), found in values.items():
        assert len(found) >= 1
        assert np.ptp(found) < 1e-9, f"every model has the same {metric}"
        if metric == "r2_ceiling":
            # the labels' variance in a test split of 98 is that of all to some 15 %
            expected = 1 - ERRORS[target] ** 2 / test[target].var()
            assert found[0] == pytest.approx(expected, abs=0.1)
    entropy = sum(np.log(error * np.sqrt(2 * np.pi * np.e)) for error in ERRORS.values())
    assert values["nll_ceiling", "joint"][0] == pytest.approx(entropy, rel=1e-12)
    task = "GradientBoosting", "supervised", "redshift"
    assert rows[*task, "r2", "z", RESAMPLED]["value"] < rows[*task, "r2", "z", None]["value"]
    flow = "Constant", "flow", "posterior"
    on_labels, anew = (rows[*flow, "nll_mixture", "joint", condition]["value"] for condition in (None, RESAMPLED))
    assert on_labels < anew < on_labels + 1.5
    # log10_sfr has no errors, and with it the mean over the ranked targets has no ceiling
    assert not [key for key in rows if key[4] in ("log10_sfr", "mean") and key[5]]


def test_the_printed_board_has_a_line_for_the_noise_of_labels(out: Path) -> None:
    rows = leaderboard(out)
    text = render(rows, "table")
    assert text.count("label noise") == 3  # redshift, properties, posterior
    for style in ("table", "markdown"):
        assert "resampled" not in render(rows, style)
    assert sum(row["condition"] == RESAMPLED for row in json.loads(render(rows, "json"))) > 10
    without = [row for row in rows if row["condition"] is None]
    main = [line for line in render(rows, "markdown").splitlines() if "label noise" not in line]
    assert main == render(without, "markdown").splitlines()


def test_a_file_to_score_is_held_against_labels_drawn_anew_too(out: Path, tmp_path: Path) -> None:
    table = tiny_catalogue()[["target_id", "z", "log10_mstar"]]
    table.to_csv(tmp_path / "p.csv", index=False)
    line = [
        "score",
        "--survey",
        str(out.parent / "survey"),
        "--name",
        "Labels",
        "--predictions",
        str(tmp_path / "p.csv"),
    ]
    assert main([*line, "--out", str(tmp_path / "run"), "--preset", "smoke", "--workers", "0"]) == 0
    rows = [row for row in leaderboard(tmp_path / "run", task="redshift") if row["metric"].startswith("r2")]
    found = {(row["metric"], row["condition"]): row["value"] for row in rows}
    # the labels themselves pass the ceiling, which is that of the truth behind them
    assert found["r2", None] == 1.0 > found["r2_ceiling", RESAMPLED] > found["r2", RESAMPLED] - 0.05


def test_a_probe_that_sees_other_inputs_keeps_its_condition_beside_that_of_labels(out: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(out, tmp_path / "run"))
    (path,) = (folder / "records").glob("score-gradientboosting-supervised-redshift-*.json")
    record = json.loads(path.read_text())
    record["config"]["inputs"] = "raw"
    path.write_text(json.dumps(record))
    rows = leaderboard(folder, task="redshift")
    found = {row["condition"] for row in rows if row["model"] == "GradientBoosting"}
    assert found == {"inputs=raw", f"inputs=raw, {RESAMPLED}"}
    assert render(rows, "table").count("label noise") == 1

"""Runs that are repeated, disturbed or killed: nothing is done twice, nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_survey import PLUGINS, CommandLine, cli_environment

from benchmark import leaderboard, load_records
from benchmark.cli.main import main
from benchmark.data import Survey

SPIES = PLUGINS / "spying_models.py"


def line(survey: Survey, out: Path, models: str, *more: object) -> list[str]:
    options = ["--survey", survey.folder, "--preset", "smoke", "--out", out, "--plugin", SPIES]
    return ["run", models, *map(str, options), *map(str, more)]


def score_files(out: Path) -> list[Path]:
    return sorted((out / "records").glob("score-*.json"))


def stamps(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "records").iterdir()}


@pytest.fixture(scope="module")
def finished(tiny: Survey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a supervised model, an encoder that is trained, and the floor."""
    out = tmp_path_factory.mktemp("finished") / "out"
    arguments = line(tiny, out, "Constant,SpyEncoder,Sleeping", "--probes", "knn,linear,supervised", "--workers", "0")
    done = subprocess.run(
        [sys.executable, "-m", "benchmark", *arguments],
        capture_output=True,
        text=True,
        env=cli_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """The finished run, to be disturbed; file times are kept."""
    out = tmp_path / "out"
    subprocess.run(["cp", "-a", str(finished), str(out)], check=True)
    return out


ARGUMENTS = ("--probes", "knn,linear,supervised", "--workers", "0")
MODELS = "Constant,SpyEncoder,Sleeping"


def test_a_second_run_does_no_work(tiny: Survey, copy: Path, command_line: CommandLine) -> None:
    before, board = stamps(copy), leaderboard(copy)
    again = command_line(*line(tiny, copy, MODELS, *ARGUMENTS, "--json"))
    assert again.returncode == 0, again.stderr
    assert "14 cells cached, nothing to do" in again.stderr
    assert stamps(copy) == before
    assert json.loads(again.stdout) == board


@pytest.mark.usefixtures("registries")
def test_an_artefact_between_finished_cells_may_be_deleted(
    tiny: Survey, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stamps(copy)
    for folder in ("outputs", "embeddings", "models"):
        for path in (copy / folder).iterdir():
            path.unlink()
    assert main(line(tiny, copy, MODELS, *ARGUMENTS)) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert stamps(copy) == before


@pytest.mark.usefixtures("registries")
def test_a_score_that_was_deleted_is_done_again_and_nothing_else(
    tiny: Survey, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, board = stamps(copy), leaderboard(copy)
    victim = score_files(copy)[3]
    victim.unlink()
    assert main(line(tiny, copy, MODELS, *ARGUMENTS)) == 0
    assert "13 cells cached, 1 done" in capsys.readouterr().err
    after = stamps(copy)
    assert {name for name in after if after[name] != before[name]} == {victim.name}
    assert_same_board(leaderboard(copy), board)


@pytest.mark.usefixtures("registries")
def test_a_score_and_its_way_are_done_again_where_both_are_gone(
    tiny: Survey, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = leaderboard(copy)
    (victim,) = [path for path in score_files(copy) if path.name.startswith("score-spyencoder-linear-redshift")]
    record = json.loads(victim.read_text())
    victim.unlink()
    (needed,) = [entry for entry in load_records(copy, "predict") if entry["name"] in record["needs"]]
    (copy / needed["artefacts"][0]["path"]).unlink()
    (embedding,) = (copy / "embeddings").iterdir()
    embedding.write_bytes(embedding.read_bytes()[:100])  # cut short
    assert main(line(tiny, copy, MODELS, *ARGUMENTS)) == 0
    # the weights are there: embed, predict and score are done again, the other scores stay
    assert "11 cells cached, 3 done" in capsys.readouterr().err
    assert_same_board(leaderboard(copy), board)


@pytest.mark.usefixtures("registries")
def test_force_does_everything_again_with_the_same_result(
    tiny: Survey, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = leaderboard(copy)
    assert main(line(tiny, copy, "Constant,SpyEncoder", *ARGUMENTS, "--force")) == 0
    assert "0 cells cached, 11 done" in capsys.readouterr().err
    assert_same_board(leaderboard(copy), board)


@pytest.mark.usefixtures("registries")
def test_workers_and_this_process_give_the_same_numbers(tiny: Survey, finished: Path, tmp_path: Path) -> None:
    assert main(line(tiny, tmp_path / "out", MODELS, *ARGUMENTS[:2], "--workers", "2")) == 0
    assert_same_board(leaderboard(tmp_path / "out"), leaderboard(finished))


@pytest.mark.usefixtures("registries")
def test_a_changed_setting_adds_cells_and_keeps_the_others(
    tiny: Survey, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    n_rows = len(leaderboard(copy))
    assert main(line(tiny, copy, "SpyEncoder", *ARGUMENTS, "--n-labels", "50")) == 0
    assert "2 cells cached, 6 done" in capsys.readouterr().err  # train and embed do not depend on the labels
    rows = leaderboard(copy)
    assert len(rows) == n_rows + len([row for row in rows if row["n_labels"] == 50])


@pytest.mark.usefixtures("registries")
def test_only_cached_runs_nothing(tiny: Survey, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score_files(copy)[0].unlink()
    before = stamps(copy)
    main(line(tiny, copy, MODELS, *ARGUMENTS, "--only-cached"))
    assert "1 not started" in capsys.readouterr().err
    assert stamps(copy) == before


@pytest.mark.usefixtures("registries")
def test_a_dry_run_writes_nothing(tiny: Survey, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line(tiny, tmp_path / "out", "Constant", "--dry-run", "--json")) == 0
    plan = json.loads(capsys.readouterr().out)
    assert {cell["kind"] for cell in plan["cells"]} == {"predict", "score"}
    assert not any(cell["cached"] for cell in plan["cells"])
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("registries")
def test_a_failed_cell_is_tried_again_and_the_exit_code_says_so(
    tiny: Survey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = line(tiny, tmp_path / "out", "Raising,Constant", "--tasks", "redshift", *ARGUMENTS)
    for _ in range(2):
        assert main(arguments) == 1
        printed = capsys.readouterr()
        assert "failed: predict-raising-supervised-" in printed.err
        assert "ZeroDivisionError: three galaxies among none" in printed.err
        rows = leaderboard(tmp_path / "out")
        assert {(row["model"], row["status"]) for row in rows} == {("Constant", "done"), ("Raising", "skipped")}
    assert "2 cells cached, 1 failed, 1 skipped" in printed.err


@pytest.mark.usefixtures("registries")
def test_a_model_that_kills_its_worker_is_on_the_board_as_such(tiny: Survey, tmp_path: Path) -> None:
    arguments = line(tiny, tmp_path / "out", "Dying,Constant", "--tasks", "redshift", "--probes", "supervised")
    assert main([*arguments, "--workers", "2"]) == 1
    (crashed,) = [record for record in load_records(tmp_path / "out", "predict") if record["status"] == "crashed"]
    assert crashed["model"]["name"] == "Dying"
    assert "the worker died twice" in crashed["reason"]
    assert {row["model"] for row in leaderboard(tmp_path / "out") if row["status"] == "done"} == {"Constant"}


@pytest.mark.parametrize("whole_group", [True, False], ids=["group", "parent"])
def test_a_run_that_is_killed_goes_on_to_the_same_board(
    whole_group: bool, tiny: Survey, finished: Path, tmp_path: Path, command_line: CommandLine
) -> None:
    out = tmp_path / "out"
    arguments = line(tiny, out, MODELS, *ARGUMENTS[:2], "--workers", "2")
    with subprocess.Popen(
        [sys.executable, "-m", "benchmark", *arguments],
        env=cli_environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as run:
        until = time.monotonic() + 120
        while len(list((out / "records").glob("[!.]*.json"))) < 4:
            assert time.monotonic() < until, "no record in two minutes"
            time.sleep(0.01)
        if whole_group:
            os.killpg(run.pid, signal.SIGKILL)
        else:
            run.kill()
    n_before = len(load_records(out, None))
    again = command_line(*arguments, "--json")
    assert again.returncode == 0, again.stderr
    assert n_before < 14
    expected = json.dumps(leaderboard(finished), indent=1)
    assert again.stdout == expected + "\n"
    assert sorted(os.listdir(out / "records")) == sorted(os.listdir(finished / "records"))
    assert without_clock(out) == without_clock(finished)
    assert not list(out.glob("*/.*.tmp*"))


def without_clock(out: Path) -> list[dict[str, Any]]:
    """Every record less what differs between two runs that agree."""
    clock = ("timings", "memory", "created", "artefacts", "provenance")  # the last names the commit
    return [{name: value for name, value in record.items() if name not in clock} for record in load_records(out, None)]


def assert_same_board(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    """Equal rows; 1e-6: resamples are summed in float32, whose rounding depends on the threads of this process."""
    assert len(one) == len(other)
    for row, twin in zip(one, other, strict=True):
        assert row == {
            name: pytest.approx(value, rel=1e-6, abs=1e-6) if isinstance(value, float) else value
            for name, value in twin.items()
        }

"""The command line: exit codes, what goes to stdout and what to stderr, JSON that parses."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_survey import cli_environment

from benchmark.board import ROW_FIELDS
from benchmark.cli import main as program
from benchmark.cli.main import main
from benchmark.cli.run import parse_duration
from benchmark.contracts import GalaxybenchError, UsageError
from benchmark.data import Survey

COMMANDS = ["run", "list", "show", "check", "pretrain", "embed", "score", "leaderboard", "report"]
COMMANDS += ["survey", "survey build", "survey import", "survey describe"]

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """The program in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(map(str, arguments)))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def run_constant(call: Call, tiny: Survey, tmp_path: Path) -> Call:
    """The cheapest run there is, in this process."""

    def run(*more: object) -> tuple[int, str, str]:
        options = ("--survey", tiny.folder, "--preset", "smoke", "--out", tmp_path / "out", "--workers", 0)
        return call("run", "Constant", *options, "--tasks", "redshift", *more)

    return run


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_has_help(command: str, call: Call) -> None:
    code, out, err = call(*command.split(), "--help")
    assert code == 0
    assert err == ""
    assert out.startswith(f"Usage: galaxybench {command}".rstrip())
    assert "--help" in out


def test_the_program_without_arguments_shows_its_help(call: Call) -> None:
    assert call() == call("--help")


@pytest.mark.parametrize(
    ("arguments", "code"), [(["list", "surveys"], 0), (["show", "nothing"], 2), (["leaderboard", "--out", "no"], 2)]
)
def test_the_program_runs_as_a_module(arguments: list[str], code: int, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "benchmark", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env=cli_environment(), check=False)
    assert done.returncode == code, done.stderr
    assert bool(done.stdout) == (code == 0)
    assert len(done.stderr.splitlines()) == (code != 0)


def test_the_console_script_is_the_same_program() -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="galaxybench")
    assert script.load() is main


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run"],
        ["run", "all", "--nope"],
        ["run", "all", "--seeds", "many"],
        ["run", "all", "--seeds", "0"],
        ["run", "all", "--preset", "huge"],
        ["run", "all", "--recipe", "mine"],
        ["run", "all", "--inputs", "log"],
        ["run", "all", "--budget", "soon"],
        ["run", "all", "--workers", "-1"],
        ["run", ","],
        ["run", "all", "--tasks", "redshfit"],
        ["run", "all", "--probes", "forest"],
        ["run", "Constnat"],
        ["run", "all", "--survey", "simulatd"],
        ["run", "all", "--survey", "no/such/folder"],
        ["run", "all", "--plugin", "nowhere.py"],
        ["list", "galaxies"],
        ["show", "Constnat"],
        ["check", "Constnat"],
        ["check", "Constant", "--preset", "huge"],
        ["show", "Constant", "--preset", "huge"],
        ["run", "all", "--checkpoint", "ImagePCA"],
        ["run", "Constant", "--checkpoint", "ImagePCA=w.safetensors"],
        ["run", "Constant", "--checkpoint", "Constant=w.safetensors"],
        ["check", "ImagePCA", "--checkpoint", "SpectrumPCA=w.safetensors"],
        ["pretrain", "ImagePCA", "--survey", "simulated"],
        ["pretrain", "Constant", "--survey", "simulated", "--out", "w.safetensors"],
        ["pretrain", "ImagePixels", "--survey", "simulated", "--out", "w.safetensors"],
        ["pretrain", "ImagePCA", "--survey", "simulated", "--out", "w.pt"],
        ["pretrain", "ImagePCA", "--survey", "simulated", "--out", "no/such/folder/w.safetensors"],
        ["embed", "Constant", "--survey", "simulated", "--out", "e.parquet"],
        ["embed", "ImagePCA", "--survey", "simulated", "--out", "e.csv"],
        ["leaderboard", "--out", "no/such/folder"],
        ["report", "--out", "no/such/folder"],
        ["score", "--survey", "simulated"],
        ["score", "--survey", "simulated", "--name", "Mine"],
        ["survey"],
        ["survey", "build", "simulatd", "--out", "s"],
        ["survey", "describe", "no/such/folder"],
        ["survey", "import", "no-such.toml", "--out", "s"],
    ],
    ids=" ".join,
)
def test_bad_usage_is_exit_code_2_and_one_line(
    arguments: list[str], call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []  # nothing was begun


def test_a_failure_is_exit_code_1_and_a_surprise_says_how_to_see_more(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: BaseException) -> Callable[..., Any]:
        def app(*arguments: object, **options: object) -> None:
            raise error

        return app

    monkeypatch.setattr(program, "app", fail(GalaxybenchError("the disk is full; free some space")))
    assert call("list", "models") == (1, "", "error: the disk is full; free some space\n")
    monkeypatch.setattr(program, "app", fail(UsageError("--x: no; give y")))
    assert call("list", "models") == (2, "", "error: --x: no; give y\n")
    monkeypatch.setattr(program, "app", fail(ZeroDivisionError("by zero")))
    assert call("list", "models") == (1, "", "error: ZeroDivisionError: by zero (--debug shows where)\n")
    monkeypatch.setattr(program, "app", fail(KeyboardInterrupt()))
    code, _, err = call("list", "models")
    assert (code, err) == (130, "stopped; what is done is kept, run again to go on\n")


@pytest.mark.parametrize("place", [0, 1, 3])
def test_debug_shows_the_traceback_wherever_it_stands(place: int) -> None:
    arguments = ["show", "nothing", "--json"]
    arguments.insert(place, "--debug")
    with pytest.raises(UsageError, match="unknown name 'nothing'"):
        main(arguments)


def test_a_run_prints_the_board_on_stdout_and_the_rest_on_stderr(run_constant: Call) -> None:
    code, out, err = run_constant()
    assert code == 0
    assert out.startswith("redshift on tiny (smoke, default;")
    assert "Constant" in out
    assert "cells cached" not in out
    assert re.fullmatch(r"\S+/out: 0 cells cached, 2 done\n", err)
    code, out, err = run_constant("--json")
    rows = json.loads(out)
    assert {row["model"] for row in rows} == {"Constant"}
    assert all(set(row) == set(ROW_FIELDS) for row in rows)
    assert "2 cells cached, nothing to do" in err


def test_a_board_is_printed_in_every_format(run_constant: Call, call: Call, tmp_path: Path) -> None:
    _, table, _ = run_constant()
    out = ("--out", tmp_path / "out")
    assert call("leaderboard", *out) == (0, table, "")
    rows = json.loads(call("leaderboard", *out, "--format", "json")[1])
    assert {row["metric"] for row in rows} >= {"r2", "sigma_nmad", "bias", "outlier_fraction"}
    lines = call("leaderboard", *out, "--format", "csv")[1].splitlines()
    assert lines[0].split(",") == list(ROW_FIELDS)
    assert len(lines) == len(rows) + 1
    assert call("leaderboard", *out, "--format", "markdown")[1].startswith("### redshift on tiny")
    assert json.loads(call("leaderboard", *out, "--format", "json", "--task", "redshift")[1]) == rows
    code, _, err = call("leaderboard", *out, "--format", "pdf")
    assert (code, len(err.splitlines())) == (2, 1)


def test_a_dry_run_prints_the_plan_and_does_nothing(run_constant: Call, tmp_path: Path) -> None:
    code, out, err = run_constant("--dry-run")
    assert (code, err) == (0, "")
    assert [line.split()[:3] for line in out.splitlines()[:2]] == [["to", "do", "predict"], ["to", "do", "score"]]
    assert "2 cells on 'tiny': 2 to do, 0 cached; about" in out
    assert not (tmp_path / "out").exists()
    run_constant()
    plan = json.loads(run_constant("--dry-run", "--json")[1])
    assert [cell["cached"] for cell in plan["cells"]] == [True, True]
    assert {"name", "kind", "cached", "estimated_s"} <= set(plan["cells"][0])
    assert plan["estimated_min"] == 0


def test_a_dry_run_of_a_survey_that_is_not_built_builds_nothing(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = call("run", "all", "--survey", "simulated-deep", "--preset", "smoke", "--dry-run")
    assert code == 0
    assert "1000 galaxies" in out
    assert "does not apply: ImagePCA: morphology: survey 'simulated-deep' has no votes of volunteers" in out
    assert list(tmp_path.iterdir()) == []


def test_a_spent_budget_lists_what_was_not_started(run_constant: Call) -> None:
    code, _, err = run_constant("--budget", "0s")
    assert code == 0
    assert "0 cells cached, 2 not started" in err


@pytest.mark.parametrize("what", ["models", "tasks", "metrics", "surveys", "probes"])
def test_a_list_has_a_line_an_entry_and_all_facts_as_json(what: str, call: Call) -> None:
    code, out, err = call("list", what)
    assert (code, err) == (0, "")
    entries = json.loads(call("list", what, "--json")[1])
    assert [line.split()[0] for line in out.splitlines()] == [entry["name"] for entry in entries]
    assert all(entry["summary"] for entry in entries)


@pytest.mark.parametrize("name", ["Constant", "imagepca", "REDSHIFT", "simulated", "knn", "crps"])
def test_a_card_is_shown_for_people_and_machines(name: str, call: Call) -> None:
    code, out, err = call("show", name)
    assert (code, err) == (0, "")
    facts = json.loads(call("show", name, "--json")[1])
    assert facts["name"].lower() == name.lower()
    assert facts["name"] in out
    assert facts["summary"] in " ".join(out.split())  # lines are wrapped


def test_a_survey_is_built_and_described(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    code, out, err = call("survey", "build", "simulated", "--n", 60, "--seed", 3, "--out", folder)
    assert (code, out) == (0, "")
    assert "60 galaxies" in err
    code, out, _ = call("survey", "describe", folder)
    assert code == 0
    assert "simulated" in out
    page = tmp_path / "survey.html"
    facts = json.loads(call("survey", "describe", folder, "--json", "--html", page)[1])
    assert facts["name"] == "simulated"
    assert "The galaxies of simulated" in page.read_text()
    code, out, err = call("survey", "build", "simulated", "--n", 60, "--out", folder)
    assert (code, out) == (2, "")
    assert str(folder) in err


def test_a_pipe_that_is_closed_is_no_error(run_constant: Call, tmp_path: Path) -> None:
    run_constant()
    line = f"{sys.executable} -m benchmark leaderboard --format json --out {tmp_path / 'out'} | head -c 20 > /dev/null"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, env=cli_environment(), check=False)
    assert done.returncode == 0
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10min", 600), ("2h", 7200), (" 1.5 min ", 90), (None, None)]
)
def test_a_duration_is_understood(text: str | None, seconds: float | None) -> None:
    assert parse_duration("--budget", text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5s", "5 days", "1e3", "nan"])
def test_what_is_no_duration_is_bad_usage(text: str) -> None:
    with pytest.raises(UsageError, match=f"--budget '{text}': must be a number with s, min or h"):
        parse_duration("--budget", text)

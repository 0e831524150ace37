"""``pretrain``, ``embed``, ``--checkpoint``, ``show`` and ``check`` of encoders that are trained."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_survey import PLUGINS, CommandLine, cli_environment, tiny_catalogue

from benchmark import leaderboard, load_records
from benchmark.artefacts import read_embedding
from benchmark.cli.main import main
from benchmark.data import Survey, SurveyInfo, write_survey
from benchmark.registry import MODELS
from benchmark.store import file_sha256
from benchmark.weights import read_header, read_weights, write_weights
from encoders.training import checkpoint
from encoders.training.history import History

PLUGIN = PLUGINS / "trained_models.py"

pytestmark = pytest.mark.usefixtures("registries")

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """The program in this process, with the plugin: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*map(str, arguments), "--plugin", str(PLUGIN)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture(scope="module")
def weights(tiny: Survey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of ``Trained``, at the size of the smoke preset."""
    out = tmp_path_factory.mktemp("weights") / "trained.safetensors"
    line = ["pretrain", "Trained", "--survey", str(tiny.folder), "--out", str(out), "--preset", "smoke"]
    before = {card.name: card for card in MODELS}
    try:
        assert main([*line, "--plugin", str(PLUGIN)]) == 0
    finally:
        MODELS._entries = before
        del sys.modules[PLUGIN.stem]
    return out


def run_line(survey: Survey, out: Path, model: str = "Trained", *more: object) -> tuple[object, ...]:
    options = ("--preset", "smoke", "--workers", 0, "--tasks", "redshift", "--probes", "linear")
    return ("run", model, "--survey", survey.folder, "--out", out, *options, *more)


def test_pretraining_leaves_weights_a_table_and_a_figure(weights: Path) -> None:
    assert sorted(os.listdir(weights.parent)) == ["trained.csv", "trained.safetensors", "trained.svg"]
    facts = read_header(weights).facts
    assert (facts["name"], facts["preset"], facts["recipe"], facts["seed"]) == ("Trained", "smoke", "default", 0)
    assert History.read_csv(weights.with_suffix(".csv")).n_steps == 60
    assert "<svg" in weights.with_suffix(".svg").read_text()


def test_a_run_with_weights_trains_nothing_and_scores_as_if_it_had(
    weights: Path, tiny: Survey, tmp_path: Path, call: Call
) -> None:
    assert call(*run_line(tiny, tmp_path / "own"))[0] == 0
    assert call(*run_line(tiny, tmp_path / "given", "trained", "--checkpoint", f"trained={weights}"))[0] == 0
    given = leaderboard(tmp_path / "given")
    assert {row["model"] for row in given} == {f"Trained@{file_sha256(weights)[:8]}"}
    assert [row | {"model": "Trained"} for row in given] == leaderboard(tmp_path / "own")  # contamination too
    kinds = [record["kind"] for record in load_records(tmp_path / "given", None)]
    assert sorted(kinds) == ["embed", "predict", "score"]
    (record,) = load_records(tmp_path / "given", "embed")
    assert len(record["config"]["model"]["checkpoint"]) == 64
    assert record["config"]["model"]["options"]["width"] == 3


def test_other_weights_are_other_cells_and_a_file_that_changes_is_noticed(
    weights: Path, tiny: Survey, tmp_path: Path, call: Call
) -> None:
    mine = tmp_path / "mine.safetensors"
    facts = dict(read_header(weights).facts)
    for factor in (1.0, 2.0):
        state = {name: factor * array for name, array in read_weights(weights).items()}
        write_weights(mine, state, facts | {"trained_on": {"survey": "elsewhere", "digest": "0" * 64}})
        assert call(*run_line(tiny, tmp_path / "out", "Trained", "--checkpoint", f"Trained={mine}"))[0] == 0
    assert len(load_records(tmp_path / "out", "embed")) == 2
    (contamination,) = {row["contamination"] for row in leaderboard(tmp_path / "out")}
    assert contamination == "trained on survey elsewhere, which may share galaxies"


def test_weights_have_a_place_of_their_own_beside_the_model_and_other_weights(
    weights: Path, tiny: Survey, tmp_path: Path, call: Call
) -> None:
    doubled = tmp_path / "doubled.safetensors"
    write_weights(
        doubled, {name: 2 * array for name, array in read_weights(weights).items()}, read_header(weights).facts
    )
    names = ["Trained", *(f"Trained@{file_sha256(path)[:8]}" for path in (weights, doubled))]
    out, page = tmp_path / "out", tmp_path / "page.html"
    for path in (None, weights, doubled):
        given = ("--checkpoint", f"Trained={path}") if path else ()
        code, printed, _ = call(*run_line(tiny, out, "Trained", *given))
        assert code == 0
        assert names[(None, weights, doubled).index(path)] in printed
    rows = leaderboard(out)
    for name in names:
        assert len([row for row in rows if row["model"] == name]) == len(rows) / 3
    assert main(["leaderboard", "--out", str(out), "--format", "table"]) == 0
    assert main(["report", "--out", str(out), "--html", str(page)]) == 0
    assert all(f">{name}<" in page.read_text() for name in names)
    assert {record["model"]["name"] for record in load_records(out, "embed")} == set(names)
    assert {record["config"]["model"]["name"] for record in load_records(out, "embed")} == {"Trained"}


def test_weights_are_built_with_the_options_of_their_file(
    weights: Path, tiny: Survey, tmp_path: Path, call: Call
) -> None:
    options = (*run_line(tiny, tmp_path / "out", "Trained", "--checkpoint", f"Trained={weights}"), "--preset", "laptop")
    assert call(*options)[0] == 0  # where a width of 2 would be trained
    (record,) = load_records(tmp_path / "out", "embed")
    assert record["details"]["embed_dim"] == 3


def test_an_embedding_in_a_file_is_that_of_a_run_and_can_be_scored(
    weights: Path, tiny: Survey, tmp_path: Path, call: Call
) -> None:
    out = tmp_path / "e.parquet"
    code, printed, err = call("embed", "Trained", "--survey", tiny.folder, "--out", out, "--checkpoint", weights)
    assert (code, printed) == (0, "")
    assert "400 galaxies, 3 numbers each, effective rank" in err
    target_id, embedding = read_embedding(out)
    assert np.array_equal(target_id, tiny.target_id)
    again = tmp_path / "again.parquet"
    assert call("embed", "Trained", "--survey", tiny.folder, "--out", again, "--preset", "smoke")[0] == 0
    assert np.array_equal(read_embedding(again)[1], embedding)
    assert call(*run_line(tiny, tmp_path / "own"))[0] == 0
    (stored,) = (tmp_path / "own" / "embeddings").iterdir()
    ids, known = read_embedding(stored)
    place = {int(key): row for row, key in enumerate(target_id)}
    assert np.allclose(embedding[[place[int(key)] for key in ids]], known, atol=1e-6)  # batches are cut elsewhere
    line = ["score", "--survey", tiny.folder, "--name", "File", "--embeddings", out, "--preset", "smoke"]
    assert main([*map(str, line), "--out", str(tmp_path / "scored"), "--workers", "0"]) == 0


@pytest.fixture
def bad(weights: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Files that are no weights of ``Trained``."""

    def make(what: str) -> Path:
        path = tmp_path / "bad.safetensors"
        facts, state = dict(read_header(weights).facts), read_weights(weights)
        if what == "cut":
            path.write_bytes(weights.read_bytes()[:-3])
        elif what == "no weights":
            path.write_text("target_id,z\n1,0.5\n")
        elif what == "shape":
            write_weights(path, {name: array[..., :2] for name, array in state.items()}, facts)
        elif what != "absent":
            write_weights(
                path, state, {"other": facts | {"name": "Flat"}, "old": facts | {"revision": 0}}.get(what, {})
            )
        return path

    return make


BAD = {
    "cut": "the file was cut or altered, copy it again",
    "no weights": "is no safetensors file; give one that 'pretrain' wrote",
    "absent": "does not exist; give a file that 'pretrain' wrote",
    "other": "holds weights of Flat, not of Trained; give them to Flat",
    "old": "was made by revision 0 of Trained, this is revision 1: its numbers would differ",
    "unknown": "does not say its name and revision and options",
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_of_weights_is_one_clear_line_before_anything_runs(
    what: str, bad: Callable[[str], Path], tiny: Survey, tmp_path: Path, call: Call
) -> None:
    path = bad(what)
    commands: list[tuple[object, ...]] = [
        run_line(tiny, tmp_path / "out", "Trained", "--checkpoint", f"Trained={path}"),
        ("embed", "Trained", "--survey", tiny.folder, "--out", tmp_path / "e.parquet", "--checkpoint", path),
        ("check", "Trained", "--checkpoint", path),
    ]
    for command in commands:
        code, out, err = call(*command)
        assert code == (1 if what in ("cut", "no weights") else 2)
        assert out == ""
        assert err.startswith(f"error: {path}: ")
        assert BAD[what] in err
        assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "e.parquet").exists()


def test_weights_of_another_shape_cost_their_cell_and_say_so(
    bad: Callable[[str], Path], tiny: Survey, tmp_path: Path, call: Call
) -> None:
    path = bad("shape")
    code, _, err = call(*run_line(tiny, tmp_path / "out", "Trained", "--checkpoint", f"Trained={path}"))
    assert code == 1
    assert "these weights are not those of Trained for these galaxies: the file has weight of (3, 2), not (3, 3)" in err
    code, _, err = call(
        "embed", "Trained", "--survey", tiny.folder, "--out", tmp_path / "e.parquet", "--checkpoint", path
    )
    assert code == 1
    assert "the file has weight of (3, 2), not (3, 3)" in err


def test_nothing_is_written_over(weights: Path, tiny: Survey, call: Call) -> None:
    before = weights.read_bytes()
    code, _, err = call("pretrain", "Trained", "--survey", tiny.folder, "--out", weights, "--preset", "smoke")
    assert (code, err) == (2, f"error: --out {weights}: exists already; choose another name or remove it\n")
    assert weights.read_bytes() == before


def test_a_pretraining_that_was_killed_is_resumed_when_asked_to(
    tiny: Survey, tmp_path: Path, command_line: CommandLine, call: Call
) -> None:
    line = ("pretrain", "KilledOnce", "--survey", tiny.folder, "--out", tmp_path / "w.safetensors", "--preset", "smoke")
    killed = command_line(*line, "--plugin", PLUGIN)
    assert killed.returncode == -signal.SIGKILL
    code, _, err = call(*line)
    assert code == 2
    assert "holds the state of a training; --resume takes it up, or remove the folder" in err
    code, _, err = call(*line[:1], *line[1:], "--seed", 1, "--resume")
    assert code == 1
    assert "was started with seed 0, now 1: go on with the same settings" in err
    code, out, err = call(*line, "--resume")
    assert (code, out) == (0, "")
    assert err.splitlines()[0] == "training KilledOnce: 41 of 60"
    assert err.splitlines()[-2:] == [
        "training KilledOnce: 60 of 60",
        f"{tmp_path / 'w.safetensors'}: KilledOnce trained on survey 'tiny', 60 steps; its loss has levelled off",
    ]
    assert sorted(os.listdir(tmp_path)) == ["w.csv", "w.safetensors", "w.svg"]
    assert call("pretrain", "Trained", *line[2:4], "--out", tmp_path / "whole.safetensors", *line[6:])[0] == 0
    states = [read_weights(tmp_path / f"{name}.safetensors") for name in ("w", "whole")]
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


def test_a_full_disk_is_one_line_and_the_training_goes_on_from_what_is_written(
    tiny: Survey, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_text, n_named = checkpoint._replace_text, 0

    def name_once(path: Path, text: str) -> None:
        nonlocal n_named
        n_named += path.name == "latest"
        if n_named == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace_text(path, text)

    out = tmp_path / "w.safetensors"
    line = ("pretrain", "Trained", "--survey", tiny.folder, "--out", out, "--preset", "smoke")
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "_replace_text", name_once)
        code, _, err = call(*line)
    assert code == 1
    state = tmp_path / "w.safetensors.partial" / "step-40"
    assert err.splitlines()[-1] == (
        f"error: cannot write {state}: No space left on device; free some space and run again, what is done is kept"
    )
    code, _, err = call(*line, "--resume")
    assert code == 0
    assert err.splitlines()[0] == "training Trained: 21 of 60"


def test_the_processes_of_torchrun_train_one_encoder_together(tiny: Survey, tmp_path: Path, call: Call) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line = [sys.executable, "-m", "benchmark", "pretrain", "Noiseless", "--survey", str(tiny.folder)]
    line += ["--preset", "smoke", "--plugin", str(PLUGIN), "--out"]
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # what torchrun sets
    processes = [
        subprocess.Popen(
            [*line, str(tmp_path / "pair.safetensors")],
            env=cli_environment() | together | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=180)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert "training Noiseless: 60 of 60" in errors[0]
    assert errors[1] == ""  # one process tells of the progress
    assert call(*line[3:9], "--out", tmp_path / "one.safetensors")[0] == 0
    pair, one = (read_weights(tmp_path / f"{name}.safetensors") for name in ("pair", "one"))
    # float32 sums in another order, carried through 60 steps
    assert all(np.allclose(pair[name], one[name], atol=1e-5) for name in one)
    assert sorted(os.listdir(tmp_path)) == sorted(
        f"{name}.{suffix}" for name in ("pair", "one") for suffix in ("csv", "safetensors", "svg")
    )


def test_show_prints_the_architecture_of_a_preset_and_a_recipe_beside_the_published_one(call: Call) -> None:
    code, out, err = call("show", "Trained", "--preset", "smoke")
    assert (code, err) == (0, "")
    assert out.splitlines()[-4:] == [
        "architecture and training, preset smoke, recipe default",
        "item   ours  paper  code",
        "width  3     1024   512",
        "steps  60    -      9",
    ]
    rows = json.loads(call("show", "Trained", "--json", "--preset", "paper", "--recipe", "paper")[1])[
        "architecture_rows"
    ]
    assert rows == [
        {"item": "width", "ours": "2", "paper": "1024", "code": "512"},
        {"item": "steps", "ours": "400", "paper": "-", "code": "9"},
    ]
    assert "architecture_rows" not in json.loads(call("show", "Constant", "--json")[1])


def test_check_flags_a_collapsed_encoder_and_passes_a_sound_one(weights: Path, call: Call) -> None:
    code, out, _ = call("check", "Flat")
    assert code == 1
    failed = [line for line in out.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 1
    assert failed[0].startswith(
        "FAIL collapse: the embedding has collapsed: all galaxies have nearly the same embedding"
    )
    code, out, _ = call("check", "Trained", "--checkpoint", f"Trained={weights}")
    assert code == 0, out
    assert "ok   collapse: effective rank" in out


def test_a_survey_with_another_number_of_bands_is_one_clear_line(weights: Path, tmp_path: Path, call: Call) -> None:
    from tiny_survey import TARGETS

    table = tiny_catalogue().drop(columns="mag_z")
    info = SurveyInfo(name="two", version="1", targets=TARGETS, photometry_bands=("g", "r"), split_rule="hash")
    survey = write_survey(tmp_path / "two", info, table)
    code, _, err = call(
        "embed", "Trained", "--survey", survey.folder, "--out", tmp_path / "e.parquet", "--checkpoint", weights
    )
    assert code == 1
    assert "the file has weight of (3, 3), not (3, 2); choose the preset, the survey and the model" in err

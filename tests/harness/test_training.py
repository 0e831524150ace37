"""Encoders that train long, through the harness: who is seen, what a record holds, and a training that is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_survey import PLUGINS, CommandLine

from benchmark import evaluate, load_records, training
from benchmark.config import RunConfig
from benchmark.contracts import GalaxybenchError
from benchmark.data import Survey, inputs
from benchmark.registry import load_plugin
from benchmark.store import Store
from benchmark.weights import read_header, read_weights
from encoders.training.history import History

PLUGIN = PLUGINS / "trained_models.py"
SMOKE = RunConfig(preset="smoke")

pytestmark = pytest.mark.usefixtures("registries")


class Spied:
    """A view of galaxies that notes whose were read."""

    def __init__(self, view: Any, target_id: np.ndarray) -> None:
        self.view, self.target_id, self.read = view, target_id, set[int]()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.view.shape

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, rows: Any) -> np.ndarray:
        self.read |= set(self.target_id[rows].tolist())
        return self.view[rows]


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> list[Spied]:
    """Every view that models are given, in the order of giving."""
    views: list[Spied] = []

    def spy(survey: Survey, modality: Any, rows: np.ndarray) -> Spied:
        views.append(Spied(inputs(survey, modality, rows), survey.target_id[rows]))
        return views[-1]

    monkeypatch.setattr(training, "inputs", spy)
    load_plugin(PLUGIN)
    return views


def ids(survey: Survey, *splits: Any) -> set[int]:
    return set(survey.target_id[survey.rows(*splits)].tolist())


@pytest.fixture
def run(tiny: Survey, tmp_path: Path) -> Any:
    def call(model: str, **more: Any) -> dict[str, list[dict[str, Any]]]:
        load_plugin(PLUGIN)
        evaluate(model, tiny.folder, tasks=["redshift"], probes=["linear"], config=SMOKE, out=tmp_path / "out", **more)
        return {kind: load_records(tmp_path / "out", kind) for kind in ("train", "embed", "score")}

    return call


def test_no_test_or_validation_galaxy_is_read_while_an_encoder_trains(
    spied: list[Spied], tiny: Survey, run: Any
) -> None:
    run("Trained")
    trained_on, embedded = spied
    assert trained_on.read == ids(tiny, "train", "unlabelled")
    assert not trained_on.read & ids(tiny, "test", "validation")
    assert embedded.read == ids(tiny, "train", "validation", "test")


def test_the_spy_would_have_seen_a_test_galaxy(
    spied: list[Spied], tiny: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = {"n_steps": tiny.n_galaxies // 16}
    model = {"factory": "trained_models:Trained", "modality": "photometry", "options": epoch}
    everyone = tiny.rows("train", "validation", "test", "unlabelled")
    monkeypatch.setattr(type(tiny), "rows", lambda self, *splits: everyone)
    training.fit_encoder(training.build_model(model), model, tiny, seed=0)
    assert len(spied[0].read) == tiny.n_galaxies


def test_the_order_of_a_catalogue_has_no_say_in_the_weights(tiny: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    load_plugin(PLUGIN)
    model = {"factory": "trained_models:Trained", "modality": "photometry", "options": {"n_steps": 10}}
    states = []
    rows_of = type(tiny).rows
    for reverse in (False, True):
        if reverse:
            monkeypatch.setattr(type(tiny), "rows", lambda self, *splits: rows_of(self, *splits)[::-1])
        encoder = training.build_model(model)
        training.fit_encoder(encoder, model, tiny, seed=0)
        states.append(encoder.state())
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


def test_a_record_of_a_training_says_how_it_went(run: Any, tmp_path: Path, tiny: Survey) -> None:
    records = run("Trained")
    (trained,), (embedded,), (score,) = records["train"], records["embed"], records["score"]
    assert score["status"] == "done", score["reason"]
    facts = trained["details"]["training"]
    assert (facts["n_steps"], facts["batch_size"]) == (60, 16)
    assert facts["n_parameters"] == 2 * 9 + 3 + 3
    assert facts["samples_per_cpu_s"] > 0
    assert set(facts["last"]) >= {"loss", "effective_rank", "learning_rate"}
    weights, curve = (tmp_path / "out" / artefact["path"] for artefact in trained["artefacts"])
    history = History.read_csv(curve)
    assert [row["step"] for row in history.rows] == list(range(2, 61, 2))
    assert history.rows[-1]["loss"] == facts["last"]["loss"]
    assert history.converged is facts["converged"]
    header = read_header(weights).facts
    assert (header["name"], header["preset"], header["seed"]) == ("Trained", "smoke", 0)
    assert header["trained_on"]["digest"] == tiny.digest
    assert header["options"]["width"] == 3
    details = embedded["details"]
    assert details["embed_dim"] == 3
    assert 1 < details["effective_rank"] <= 3
    assert details["uniformity"] < 0 < details["spread"] < 1
    assert details["collapsed"] == ""
    assert not (tmp_path / "out" / "partial" / trained["name"]).exists()


def test_a_collapsed_embedding_is_recorded_as_such(run: Any) -> None:
    (embedded,) = run("Flat")["embed"]
    assert embedded["status"] == "done"
    assert embedded["details"]["collapsed"].startswith("all galaxies have nearly the same embedding")


@pytest.mark.parametrize("n_workers", [0, 1])
def test_a_long_cell_says_how_far_it_is(n_workers: int, tiny: Survey, tmp_path: Path) -> None:
    from benchmark.engine import Advanced
    from benchmark.evaluation import Execution, choose, execute, survey_facts
    from benchmark.plan import plan_models

    load_plugin(PLUGIN)
    cards, tasks, heads, own = choose(["Trained"], ["redshift"], ["knn"])
    plan = plan_models(survey_facts(tiny), cards, tasks, heads, SMOKE, supervised=own)
    events: list[Any] = []
    execution = Execution(n_workers=n_workers, plugins=(str(PLUGIN),))
    assert execute(plan, Store(tmp_path / "out"), tiny, execution, events.append).ok
    (train,) = [cell for cell in plan.cells if cell.kind == "train"]
    assert train.seconds == 7.0
    told = [event for event in events if isinstance(event, Advanced)]
    assert {event.id for event in told} == {train.name}
    assert told[-1] == Advanced(train.name, 60, 60)


def test_a_training_whose_process_is_killed_goes_on_where_it_was(
    tiny: Survey, tmp_path: Path, command_line: CommandLine, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--survey", tiny.folder, "--preset", "smoke", "--plugin", PLUGIN, "--tasks", "redshift")
    killed = command_line("run", "KilledOnce", *options, "--probes", "linear", "--workers", 0, "--out", "out")
    assert killed.returncode == -signal.SIGKILL
    (partial,) = (tmp_path / "out" / "partial").iterdir()
    assert (partial / "latest").read_text() == "40"
    monkeypatch.setenv("GALAXYBENCH_TEST_STEPS", str(tmp_path / "steps"))
    (resumed,) = run("KilledOnce")["train"]
    assert [int(step) for step in (tmp_path / "steps").read_text().split()] == list(range(40, 60))
    assert not partial.exists()
    whole = next(record for record in run("Trained")["train"] if record["model"]["name"] == "Trained")
    states = [read_weights(tmp_path / "out" / record["artefacts"][0]["path"]) for record in (resumed, whole)]
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[1])
    for record in (resumed, whole):
        for time in ("samples_per_cpu_s", "samples_per_s", "data_wait_share"):
            record["details"]["training"].pop(time)
    assert resumed["details"] == whole["details"]


def test_the_state_of_a_training_that_is_done_is_swept_at_the_next_start(run: Any, tmp_path: Path) -> None:
    (trained,) = run("Trained")["train"]
    for name in (trained["name"], "train-other-0123456789abcdef"):
        (tmp_path / "out" / "partial" / name).mkdir(parents=True)
    Store(tmp_path / "out").prepare()
    assert os.listdir(tmp_path / "out" / "partial") == ["train-other-0123456789abcdef"]


def test_a_survey_without_galaxies_to_learn_from_is_one_clear_line(
    tiny: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(tiny), "rows", lambda self, *splits: np.array([], dtype=np.int64))
    with pytest.raises(GalaxybenchError, match="survey 'tiny': has no training galaxy to learn from; check the split"):
        training.fit_encoder(None, {}, tiny, seed=0)

"""The deep encoders of the suite at smoke size, from the command line to the record: all that name a training time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark import leaderboard, load_records, training
from benchmark.artefacts import read_embedding
from benchmark.cli.main import main
from benchmark.contracts import ModelCard
from benchmark.data import Survey, load_survey
from benchmark.registry import MODELS, SURVEYS, resolve
from encoders.randomness import seeded_torch
from encoders.training.history import History
from encoders.vit import VisionTransformer

TRAINED = [card for card in MODELS if card.train_seconds and card.fitted]
BY_NAME = pytest.mark.parametrize("card", TRAINED, ids=lambda card: card.name)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """120 simulated galaxies with images and spectra; read only."""
    card, folder = SURVEYS["simulated"], tmp_path_factory.mktemp("trained") / "survey"
    resolve(card.build)(folder, n_galaxies=120, seed=3, **card.options)
    return load_survey(folder)


class Spied:
    """A view of galaxies that notes whose were read, and is the view otherwise."""

    def __init__(self, view: Any, target_id: np.ndarray) -> None:
        self.view, self.target_id, self.read = view, target_id, set[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.view, name)

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, rows: Any) -> np.ndarray:
        self.read |= set(np.atleast_1d(self.target_id[rows]).tolist())
        return self.view[rows]


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> list[Spied]:
    views: list[Spied] = []
    for name in ("inputs", "flux_images"):
        monkeypatch.setattr(training, name, _spying(getattr(training, name), views))
    return views


def _spying(make: Callable[..., Any], views: list[Spied]) -> Callable[..., Spied]:
    def spy(survey: Survey, *arguments: Any) -> Spied:
        views.append(Spied(make(survey, *arguments), survey.target_id[arguments[-1]]))
        return views[-1]

    return spy


def ids(survey: Survey, *splits: Any) -> set[int]:
    return set(survey.target_id[survey.rows(*splits)].tolist())


def line(survey: Survey, out: Path, card: ModelCard, *more: object) -> list[str]:
    options = ["--survey", survey.folder, "--preset", "smoke", "--tasks", "redshift", "--probes", "linear"]
    return ["run", card.name, *map(str, options), "--workers", "0", "--out", str(out), *map(str, more)]


@BY_NAME
def test_it_learns_from_galaxies_without_labels_and_its_record_says_how(
    card: ModelCard, survey: Survey, spied: list[Spied], tmp_path: Path
) -> None:
    assert main(line(survey, tmp_path / "out", card)) == 0
    trained_on, embedded = spied
    assert trained_on.read == ids(survey, "train", "unlabelled")  # of no test galaxy, nor one of validation
    assert embedded.read == ids(survey, "train", "validation", "test")
    (record,), (embedding,) = (load_records(tmp_path / "out", kind) for kind in ("train", "embed"))
    facts = record["details"]["training"]
    assert facts["n_steps"] == card.options["smoke"]["n_steps"]
    assert facts["converged"] is False  # too few rows to tell
    assert facts["n_parameters"] >= facts["n_weights"] > 0
    assert facts["last"]["effective_rank"] > 1
    curve = History.read_csv(tmp_path / "out" / record["artefacts"][1]["path"])
    assert all(np.isfinite(row["loss"]) for row in curve.rows)
    assert embedding["details"]["collapsed"] == ""
    assert load_records(tmp_path / "out")[0]["status"] == "done"


@BY_NAME
def test_its_pretrained_weights_give_a_run_the_same_embedding(
    card: ModelCard, survey: Survey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "w.safetensors"
    options = ["--survey", str(survey.folder), "--preset", "smoke"]
    assert main(["pretrain", card.name, *options, "--out", str(weights)]) == 0
    assert main(line(survey, tmp_path / "given", card, "--checkpoint", f"{card.name}={weights}")) == 0
    assert main(line(survey, tmp_path / "own", card)) == 0
    embeddings = [read_embedding(next((tmp_path / name / "embeddings").iterdir()))[1] for name in ("given", "own")]
    assert np.array_equal(*embeddings)
    capsys.readouterr()
    assert main(["show", card.name, "--preset", "paper"]) == 0
    assert "architecture and training, preset paper" in capsys.readouterr().out


def test_released_weights_embed_a_survey_and_are_marked_on_the_board(
    survey: Survey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with seeded_torch(0):
        network = VisionTransformer(image_size=36, dim=384, depth=1, n_heads=6)
    released = tmp_path / "astrodino.ckpt"
    torch.save({"teacher": {f"backbone.{name}": value for name, value in network.state_dict().items()}}, released)
    card = MODELS["AstroDINO"]
    assert main(line(survey, tmp_path / "out", card, "--checkpoint", f"AstroDINO={released}")) == 0
    assert {row["contamination"] for row in leaderboard(tmp_path / "out")} == {"released weights"}
    (record,) = load_records(tmp_path / "out", "embed")
    assert record["details"]["embed_dim"] == 384
    assert record["config"]["model"]["options"]["image_norm"] == "rgb"
    capsys.readouterr()
    assert main(line(survey, tmp_path / "other", MODELS["SpecFormer"], "--checkpoint", f"SpecFormer={released}")) == 2
    assert "holds weights of AstroDINO, not of SpecFormer; give them to AstroDINO" in capsys.readouterr().err
    released.write_bytes(released.read_bytes()[:-100])
    assert main(line(survey, tmp_path / "cut", card, "--checkpoint", f"AstroDINO={released}")) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "cut").exists()

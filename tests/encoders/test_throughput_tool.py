"""The script that times a training: FLOPs as counted by hand, figures of the training that it ran."""

from __future__ import annotations

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch

from benchmark.data import Survey, load_survey
from benchmark.simulator import build_survey
from benchmark.training import galaxies
from encoders.specformer.network import SpecFormer

TOOL = Path(__file__).parents[2] / "tools" / "training_throughput.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = spec_from_file_location("training_throughput", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    folder = tmp_path_factory.mktemp("throughput") / "survey"
    build_survey(folder, n_galaxies=60, seed=0)
    return load_survey(folder)


def test_the_flops_of_a_step_are_those_that_a_hand_counts(tool: ModuleType, survey: Survey) -> None:
    inputs = galaxies({"modality": "spectrum"}, survey, survey.rows("train"))
    options = {"batch_size": 8, "bin_dex": None, "bin_pixels": 10, "window": 20, "step": 10, "objective": "masked"}
    found = tool.step_flops("SpecFormer", "smoke", options, inputs)
    dim, depth, n_tokens = 48, 2, 1 + (778 - 20) // 10 + 1
    with torch.device("meta"):
        network = SpecFormer(window=20, dim=dim, depth=depth, n_heads=4)
    n_weights = sum(weight.numel() for weight in network.parameters() if weight.ndim == 2) - network.pos_embed.numel()
    # two FLOPs a weight and token forward, twice that backward; attention multiplies tokens with tokens twice
    by_hand = 8 * n_tokens * 3 * (2 * n_weights + depth * 2 * 2 * n_tokens * dim)
    assert found == pytest.approx(by_hand, rel=0.01)  # nothing needs the gradient of the spectra
    assert tool.step_flops("SpecFormer", "smoke", {**options, "batch_size": 16}, inputs) == pytest.approx(2 * found)


def test_the_figures_are_those_of_the_training(
    tool: ModuleType, survey: Survey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["AstroDINO", "--survey", str(survey.folder), "--preset", "smoke", "--minutes", "0.005"]
    tool.main([*line, "--peak-tflops", "2", "--out", str(tmp_path / "out")])
    figures = json.loads(capsys.readouterr().out)
    assert figures == json.loads((tmp_path / "out" / "figures.json").read_text())
    assert figures["galaxies_per_s"] == pytest.approx(16 / figures["step_s"])
    assert figures["tflops_per_s"] == pytest.approx(figures["flops_per_galaxy"] * figures["galaxies_per_s"] / 1e12)
    assert figures["share_of_peak"] == pytest.approx(figures["tflops_per_s"] / 2)
    rows = (tmp_path / "out" / "loss.csv").read_text().splitlines()
    assert float(rows[-1].split(",")[0]) == figures["n_steps"] >= 16
    assert (tmp_path / "out" / "loss.png").read_bytes().startswith(b"\x89PNG")

"""The script behind the table of distances: what it prints is the gap of the fit that it names."""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from benchmark.analytic import PROBLEMS
from posteriors import FlowEnsemble, FlowEnsembleConfig

TOOL = Path(__file__).parents[2] / "tools" / "distance_from_truth.py"


def test_a_line_of_the_table_is_the_gap_of_that_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = spec_from_file_location("distance_from_truth", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)
    options = ["--problems", "gaussian1", "--recipes", "coupling", "--n", "150", "--fresh", "400", "--c2st-draws", "0"]
    options += ["--first-seed", "3", "--fields", '{"members": 3}', "--out", str(tmp_path / "found.jsonl")]
    monkeypatch.setattr(sys, "argv", ["tool", *options])
    tool.main()
    (found,) = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert f"{found['gap']:.4f} [" in capsys.readouterr().out
    assert (found["n_couplings"], found["pilots"]) == (3, [])
    problem = PROBLEMS["gaussian1"]
    inputs, target = problem.simulate(150, np.random.default_rng([3, 1]))
    flows = FlowEnsemble.fit(inputs, target, config=FlowEnsembleConfig(recipe="coupling", members=3), seed=3)
    fresh, truth = problem.simulate(400, np.random.default_rng([tool.FRESH_SEED, 2]))
    gap = problem.log_prob(truth, fresh) - flows.log_prob(truth, fresh)
    assert found["gap"] == pytest.approx(gap.mean(), abs=1e-9)
    assert found["gap_high"] - found["gap"] == pytest.approx(1.96 * gap.std() / 20)

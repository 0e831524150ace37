"""Every tensor names its device: with a default device that holds no data, fits and draws are the same.

A tensor that is made without one would be on the default device, here ``meta``: reading or mixing it fails. So nothing
is left on the CPU by omission where members are on a GPU, and a user's default device changes nothing. Recipe ``code``
is left out: its released loop goes through torch's loader, which shuffles on the default device.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from problems import linear_gaussian

from posteriors import FlowEnsemble, FlowEnsembleConfig


@pytest.mark.parametrize(
    ("recipe", "backend"),
    [("default", "stacked"), ("default", "nflows"), ("coupling", "stacked"), ("paper", "stacked")],
)
def test_the_default_device_does_not_matter(recipe, backend, tmp_path: Path) -> None:
    problem = linear_gaussian(200)
    # rates that stop members of `coupling` early, so that a stack is cut down on the way
    rates = {"coupling": {"learning_rate": 0.05, "patience": 1}}.get(recipe, {})
    config = FlowEnsembleConfig(recipe=recipe, backend=backend, members=3, epochs=3, weights="stacked", **rates)

    def products() -> list[np.ndarray]:
        flows = FlowEnsemble.fit(problem.context, problem.target, config=config, limits=[(0.0, None), None])
        flows.save(tmp_path / "flows.safetensors")
        again = FlowEnsemble.load(tmp_path / "flows.safetensors")
        context = problem.context[:20]
        return [
            again.log_prob(problem.target, problem.context),
            again.draw(context, 7),
            flows.mode(context[:3], n_draws=5),
            flows.quantile(context, [0.5], n_draws=10),
        ]

    expected = products()
    with torch.device("meta"):
        assert torch.zeros(1).device.type == "meta"
        found = products()
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)

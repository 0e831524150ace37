"""States of a training written while it goes on beside states it waits for, on one thread: ``tox -e benchmark``.

``extra_info`` holds the share of the wall time in which the loop stood still for a state, of both; no time is
asserted. Meant for OMP_NUM_THREADS=1 and a second core for the thread that writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from encoders.training.state_writer import StateWriter
from encoders.training.train import ParameterGroup, TrainingConfig, train

N_STEPS, EVERY, WIDTH = 40, 20, 1024


class Layers(nn.Module):
    """Four layers of 1,024 x 1,024: with the moments of Adam a state of 50 MB."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(4)))

    def forward(self, batch: Tensor, *, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": self.layers(batch).square().mean()}

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(list(self.parameters()))]

    def after_step(self, step: int) -> None:
        pass

    def diagnostics(self, batch: Tensor, *, generator: torch.Generator) -> dict[str, float]:
        return {}


def share_of_waiting(folder: Path, monkeypatch: pytest.MonkeyPatch, *, waits: bool) -> float:
    """Share of the time of a training in which its loop stands still for states, all but the first of them."""
    waited: list[float] = []
    write: Callable[..., None] = StateWriter.write

    def timed(self: StateWriter, *arguments: Any) -> None:
        since = time.perf_counter()
        write(self, *arguments)
        if waits:
            self.wait()
        waited.append(time.perf_counter() - since)

    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(512, WIDTH, generator=generator)
    settings = TrainingConfig(
        N_STEPS + 1, 512, 1e-3, precision="float32", log_every=N_STEPS, checkpoint_every=EVERY
    )  # fmt: skip
    with monkeypatch.context() as patched, torch.random.fork_rng():
        patched.setattr(StateWriter, "write", timed)
        model, marks = Layers(), {}
        train(
            model, lambda chosen: rows[torch.from_numpy(chosen)], 512, settings, seed=0, folder=folder,
            progress=lambda done, total: marks.__setitem__(done, time.perf_counter()),
        )  # fmt: skip
    return sum(waited[1:]) / (marks[N_STEPS] - marks[EVERY])


def test_the_loop_waits_for_states_beside_one_that_writes_them_itself(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first state, whose copy takes fresh memory, is left out."""
    shares: dict[bool, list[float]] = {False: [], True: []}
    for number in range(3):
        for waits, found in shares.items():
            found.append(share_of_waiting(tmp_path / f"{waits}-{number}", monkeypatch, waits=waits))
    benchmark.pedantic(
        share_of_waiting, args=(tmp_path / "once", monkeypatch), kwargs={"waits": False}, rounds=1
    )  # fmt: skip
    for waits, name in ((False, "ours"), (True, "peer")):
        benchmark.extra_info[f"{name}_waits"] = [round(share, 4) for share in sorted(shares[waits])]
    benchmark.extra_info["wanted"] = 0.02

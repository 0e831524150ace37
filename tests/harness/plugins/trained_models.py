"""Encoders of photometry that the training loop trains, one of which is killed once on its way; loaded as a plugin."""

from __future__ import annotations

import copy
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark import ModelCard, register_model
from encoders.training.collapse import effective_rank
from encoders.training.self_supervised import SelfSupervisedEncoder
from encoders.training.train import ParameterGroup

STEPS_LOG, KILL_AT = "GALAXYBENCH_TEST_STEPS", 45


class Denoiser(nn.Module):
    """Magnitudes from noisy magnitudes through a narrow layer; the average of the first layer is the encoder."""

    def __init__(self, n_bands: int, width: int, noise: float) -> None:
        super().__init__()
        self.noise = noise
        self.encode = nn.Linear(n_bands, width)
        self.decode = nn.Linear(width, n_bands)
        self.average = copy.deepcopy(self.encode).requires_grad_(False)

    def forward(self, batch: Tensor, *, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        noise = self.noise * torch.randn(batch.shape, generator=generator)
        return {"loss": (self.decode(self.encode(batch + noise)) - batch).square().mean()}

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup([*self.encode.parameters(), *self.decode.parameters()])]

    def after_step(self, step: int) -> None:
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.encode.parameters(), strict=True):
                slow.lerp_(fast, 0.2)
        if STEPS_LOG in os.environ:
            with Path(os.environ[STEPS_LOG]).open("a") as stream:
                stream.write(f"{step}\n")

    def diagnostics(self, batch: Tensor, *, generator: torch.Generator) -> dict[str, float]:
        return {"effective_rank": effective_rank(self.average(batch).float().numpy())}


class Trained(SelfSupervisedEncoder):
    """Scaled magnitudes, linearly encoded."""

    name = "Trained"

    def __init__(self, width: int = 3, noise: float = 0.1, **training: Any) -> None:
        defaults = {"n_steps": 60, "batch_size": 16, "learning_rate": 0.01, "precision": "float32"}
        super().__init__(**(defaults | training))
        self.width, self.noise = width, noise

    def _build(self, inputs: Any) -> nn.Module:
        return Denoiser(inputs.shape[1], self.width, self.noise)

    def _prepare(self, inputs: Any) -> Any:
        return lambda values, rows: torch.from_numpy(np.nan_to_num(values, nan=20.0) / 100.0)

    def _embed(self, batch: Tensor) -> Tensor:
        return self.objective.average(batch)

    def _deployed(self, objective: Any) -> nn.Module:
        return objective.average


class KilledOnce(Trained):
    """Its process is killed at step 45 of the first attempt."""

    name = "KilledOnce"

    def fit(self, inputs: Any, *, seed: int, folder: Path | None = None, progress: Any = None) -> None:
        def watch(done: int, total: int) -> None:
            if done == KILL_AT and folder is not None and not (folder / "killed").exists():
                (folder / "killed").touch()
                while (folder / "latest").read_text() != "40":  # its state is written while the training goes on
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGKILL)
            if progress:
                progress(done, total)

        super().fit(inputs, seed=seed, folder=folder, progress=watch)


class Noiseless(Trained):
    """Draws nothing on its way: several processes give the result of one."""

    name = "Noiseless"

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"noise": 0.0} | options))


class Flat(Trained):
    """Says the same of every galaxy."""

    name = "Flat"

    def _embed(self, batch: Tensor) -> Tensor:
        return torch.ones(len(batch), 4) + 1e-7 * batch[:, :1]


def architecture(options: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Rows for ``show``."""
    return [("width", json.dumps(options["width"]), "1024", "512"), ("steps", str(options["n_steps"]), "-", "9")]


SIZES = {
    "smoke": {"width": 3, "n_steps": 60, "log_every": 2, "checkpoint_every": 20},
    "laptop": {"width": 2, "n_steps": 400, "log_every": 10},
    "paper": {"width": 2, "n_steps": 400},
}
for model in (Trained, KilledOnce, Noiseless, Flat):
    register_model(
        ModelCard(
            model.name,
            "photometry",
            f"trained_models:{model.__name__}",
            "encoder",
            ("knn", "linear"),
            "a small encoder that is trained",
            fitted=True,
            options=SIZES,
            recipes={"paper": {"learning_rate": 0.02}},
            train_seconds={"smoke": 7.0},
            architecture="trained_models:architecture",
        )
    )

"""A small objective and encoder on which the training loop is tried: a denoising autoencoder of short vectors."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from encoders.randomness import seeded_torch
from encoders.training.collapse import effective_rank
from encoders.training.self_supervised import SelfSupervisedEncoder
from encoders.training.train import ParameterGroup, TrainingConfig

N_IN, N_CODE = 12, 3


def galaxies(n: int, seed: int = 0) -> np.ndarray:
    """Vectors (n, 12) on a plane of three dimensions, and a little noise."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, N_CODE)) @ rng.normal(size=(N_CODE, N_IN)) + 0.05 * rng.normal(size=(n, N_IN))).astype(
        np.float32
    )


class Autoencoder(nn.Module):
    """Squared error of a bottleneck; ``noise`` is drawn from the step's generator, ``dropout`` from torch's own."""

    def __init__(self, noise: float = 0.0, dropout: float = 0.0, frozen_steps: int = 0) -> None:
        super().__init__()
        self.encode = nn.Linear(N_IN, N_CODE)
        self.decode = nn.Linear(N_CODE, N_IN)
        self.average = copy.deepcopy(self.encode).requires_grad_(False)
        self.register_buffer("n_updates", torch.zeros((), dtype=torch.int64))
        self.noise, self.dropout, self.frozen_steps = noise, nn.Dropout(dropout), frozen_steps
        self.seen: list[tuple[int, float]] = []

    def forward(self, batch: Tensor, *, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        noise = torch.randn(batch.shape, generator=generator, device=batch.device) * self.noise
        decoded = self.decode(self.dropout(self.encode(batch + noise)))
        self.seen.append((step, float(noise[0, 0])))
        error = (decoded - batch).square().mean()
        size = self.decode.weight.square().mean()
        return {"loss": error + 1e-3 * size, "loss_size": size}

    def parameter_groups(self) -> list[ParameterGroup]:
        return [
            ParameterGroup([self.encode.weight, self.decode.weight], clip="weights"),
            ParameterGroup([self.encode.bias], decay=False, lr_scale=0.5, clip="biases"),
            ParameterGroup([self.decode.bias], decay=False, clip="biases", frozen_steps=self.frozen_steps),
        ]

    def after_step(self, step: int) -> None:
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.encode.parameters(), strict=True):
                slow.lerp_(fast, 0.1)
            self.n_updates += 1

    def diagnostics(self, batch: Tensor, *, generator: torch.Generator) -> dict[str, float]:
        return {"effective_rank": effective_rank(self.average(batch).float().cpu().numpy())}


class AutoencoderEncoder(SelfSupervisedEncoder):
    """The autoencoder's averaged code as an encoder of photometry; missing magnitudes are read as 20."""

    name = "AutoencoderEncoder"

    def __init__(self, noise: float = 0.1, **training: Any) -> None:
        super().__init__(**training)
        self.noise = noise

    def _build(self, inputs: Any) -> nn.Module:
        if inputs.shape[1:] != (N_IN,):
            raise ValueError(f"galaxies of shape {inputs.shape[1:]}: must be ({N_IN},)")
        return Autoencoder(self.noise)

    def _prepare(self, inputs: Any) -> Any:
        return lambda values, rows: torch.from_numpy(np.nan_to_num(values, nan=20.0))

    def _embed(self, batch: Tensor) -> Tensor:
        return self.objective.average(batch)

    def _deployed(self, objective: Any) -> nn.Module:
        return objective.average


N = 100
ROWS = torch.from_numpy(galaxies(N))
TIMES = ("data_wait_s", "wall_s", "cpu_s")


def config(**changes: Any) -> TrainingConfig:
    """Settings of a short training with every option in use."""
    settings: dict[str, Any] = {
        "n_steps": 30,
        "batch_size": 16,
        "learning_rate": 1e-2,
        "min_learning_rate": 1e-4,
        "n_warmup": 5,
        "weight_decay": 0.01,
        "final_weight_decay": 0.1,
        "clip": 0.5,
        "precision": "float32",  # sums of several processes are compared
        "log_every": 4,
        "checkpoint_every": 7,
    }
    return TrainingConfig(**(settings | changes))


def built(**options: Any) -> Autoencoder:
    """The same weights every time."""
    with seeded_torch(5):
        return Autoencoder(**({"noise": 0.2, "dropout": 0.3} | options))


def read(rows: np.ndarray) -> Tensor:
    """The batch of some rows."""
    return ROWS[torch.from_numpy(rows)]


def untimed(history: Any) -> list[dict[str, float]]:
    """Rows of a history without their times."""
    return [{name: value for name, value in row.items() if name not in TIMES} for row in history.rows]


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules agree in every digit."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)

"""Probes that write down which embeddings they were shown: a cheap stand-in for linear and for the flow."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spying_models import note

from benchmark.contracts import HeadCard

LINEAR = HeadCard("linear", "spying_probes:SpyHead", "predictions", "a spy")
FLOW = HeadCard("flow", "spying_probes:SpyPosterior", "posterior", "a spy")


class SpyHead:
    """The mean of the training targets."""

    def fit(self, inputs: Any, target: NDArray, *, validation: tuple[Any, NDArray], seed: int) -> None:
        note("head fit", inputs, target)
        note("head validation", *validation)
        self.mean = np.nanmean(target, axis=0)

    def predict(self, inputs: Any) -> NDArray[np.float64]:
        note("head predict", inputs)
        return np.tile(self.mean, (len(inputs), 1))


class SpyPosterior:
    """A Gaussian with the mean and the spread of the training targets, whatever the galaxy."""

    def fit(self, inputs: Any, target: NDArray, *, validation: tuple[Any, NDArray], limits: Any, seed: int) -> None:
        note("posterior fit", inputs, target)
        note("posterior validation", *validation)
        self.mean, self.spread = target.mean(axis=0), target.std(axis=0)

    def draw(self, inputs: Any, *, n_draws: int, seed: int) -> NDArray[np.float32]:
        note("posterior draw", inputs)
        shape = (n_draws, len(inputs), len(self.mean))
        return np.random.default_rng(seed).normal(self.mean, self.spread, shape).astype(np.float32)

    def member_log_prob(self, target: NDArray, inputs: Any) -> NDArray[np.float64]:
        scaled = (target - self.mean) / self.spread
        density = -0.5 * scaled**2 - 0.5 * math.log(2 * math.pi) - np.log(self.spread)
        return density.sum(axis=1)[None]

    def log_prob(self, target: NDArray, inputs: Any) -> NDArray[np.float64]:
        note("posterior density", inputs)
        return self.member_log_prob(target, inputs)[0]

    @property
    def stacked_weights(self) -> NDArray[np.float64]:
        return np.ones(1)

    @property
    def log_jacobian(self) -> float:
        return float(np.log(self.spread).sum())

    def save(self, path: Path) -> None:
        path.write_bytes(b"a Gaussian")

    def facts(self) -> dict[str, object]:
        return {"members": 1}

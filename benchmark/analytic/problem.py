"""What an analytic problem is: inputs and targets that can be drawn, with a posterior that is known exactly."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["LOG_2_PI", "Array", "Problem", "own_generators"]

Array = NDArray[np.float64]

LOG_2_PI = float(np.log(2 * np.pi))


class Problem(ABC):
    """Inputs (n, n_inputs), targets (n, n_targets), and the posterior p(target | inputs).

    Attributes
    ----------
    name : of the problem; its survey is ``analytic-<name>``.
    n_inputs, n_targets : columns of the data and of what is inferred from them.
    summary : one line.
    reference : where it comes from.
    support : (low, high) of every target, None where there is no limit.
    centre, spread : rough mean and standard deviation of every input column; only the units of a survey's columns
        depend on them.
    """

    name: str
    n_inputs: int
    n_targets: int
    summary: str
    reference: ClassVar[str] = "galaxybench, docs/statistics.md"
    support: tuple[float, float] | None = None
    centre: float = 0.0
    spread: float = 1.0

    @abstractmethod
    def simulate(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Inputs (n, n_inputs) and targets (n, n_targets) of n galaxies."""

    @abstractmethod
    def log_prob(self, target: Array, inputs: Array) -> Array:
        """Exact log p(target | inputs) (n,) in nats; -inf outside the support."""

    @abstractmethod
    def draw_one(self, inputs: Array, n_draws: int, rng: np.random.Generator) -> Array:
        """Independent draws (n_draws, n_targets) from the exact posterior of one galaxy's inputs (n_inputs,)."""

    def draw(self, inputs: Array, n_draws: int, seed: int) -> NDArray[np.float64]:
        """Independent draws (n_draws, n, n_targets); a galaxy's follow from its inputs and the seed alone."""
        draws = np.empty((n_draws, len(inputs), self.n_targets))
        for row, rng in enumerate(own_generators(inputs, seed)):
            draws[:, row] = self.draw_one(inputs[row], n_draws, rng)
        return draws


def own_generators(inputs: Array, seed: int) -> list[np.random.Generator]:
    """A generator for each row, made from its values and the seed: rows may come in any order and number."""
    rows = np.ascontiguousarray(inputs)
    digests = (hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows)
    return [np.random.default_rng([seed, int.from_bytes(digest, "little")]) for digest in digests]

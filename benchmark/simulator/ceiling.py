"""The reference posterior as a model of the board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError, InputArray
from benchmark.simulator.flavours import find_flavour
from benchmark.simulator.pool import Pool
from benchmark.simulator.reference import ReferenceDraws, drawn_pool, reference_posterior

__all__ = ["ReferencePosterior"]


class ReferencePosterior:
    """`reference_posterior` as a `benchmark.contracts.ReferenceModel`.

    Parameters
    ----------
    n_candidates : from which the pool is made; effective sample sizes grow in proportion.
    """

    def __init__(self, n_candidates: int = 10**6) -> None:
        self._n_candidates = n_candidates
        self._pool: Pool | None = None
        self._facts: dict[str, float] = {}

    @property
    def pool(self) -> Pool:
        """The pool that was drawn."""
        if self._pool is None:
            raise GalaxybenchError("the reference posterior has no pool yet: call prepare first")
        return self._pool

    def prepare(self, flavour: str, *, seed: int) -> None:
        """Draw the pool of a flavour."""
        self._pool = drawn_pool(self._n_candidates, flavour, seed)

    def state(self) -> dict[str, NDArray]:
        """The pool's arrays and the name of its flavour."""
        name = np.frombuffer(self.pool.flavour.name.encode(), dtype=np.uint8)
        return self.pool.state() | {"flavour": name}

    def load_state(self, state: Mapping[str, NDArray]) -> None:
        """The inverse of `state`."""
        self._pool = Pool.from_state(find_flavour(state["flavour"].tobytes().decode()), state)

    def predict(self, inputs: InputArray, names: Sequence[str], *, seed: int) -> NDArray[np.float64]:
        """Posterior means (n, t)."""
        return self._posterior(inputs, names, 1, seed).mean

    def draw(
        self, inputs: InputArray, names: Sequence[str], *, n_draws: int, seed: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Draws (n_draws, n, t) and effective sample sizes (n,)."""
        found = self._posterior(inputs, names, n_draws, seed)
        return found.draws, found.ess

    def facts(self) -> dict[str, object]:
        """Sizes of the pool, and effective sample sizes of the galaxies it was last asked about."""
        return dict(self._facts)

    def _posterior(self, inputs: InputArray, names: Sequence[str], n_draws: int, seed: int) -> ReferenceDraws:
        found = reference_posterior(inputs[:], targets=names, pool=self.pool, n_draws=n_draws, seed=seed)
        self._facts = found.facts
        return found

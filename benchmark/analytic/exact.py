"""The exact posterior of an analytic survey as a model of the board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.analytic.problem import Array, Problem
from benchmark.analytic.problems import find_problem
from benchmark.analytic.survey import inputs_of_magnitudes, targets_of
from benchmark.contracts import GalaxybenchError, InputArray

__all__ = ["ExactPosterior"]


class ExactPosterior:
    """Draws, density and means of a problem's posterior: a `benchmark.contracts.ExactModel`.

    Parameters
    ----------
    n_mean : draws behind a posterior mean, whose error is the posterior's width over their square root.
    """

    def __init__(self, n_mean: int = 400) -> None:
        self._n_mean = n_mean
        self._problem: Problem | None = None

    @property
    def problem(self) -> Problem:
        """The problem that the survey was drawn from."""
        if self._problem is None:
            raise GalaxybenchError("the exact posterior has no problem yet: call prepare first")
        return self._problem

    def prepare(self, flavour: str, *, seed: int) -> None:
        """Look up the problem; nothing is drawn."""
        self._problem = find_problem(flavour)

    def state(self) -> dict[str, NDArray]:
        """The name of the problem."""
        return {"problem": np.frombuffer(self.problem.name.encode(), dtype=np.uint8)}

    def load_state(self, state: Mapping[str, NDArray]) -> None:
        """The inverse of `state`."""
        self._problem = find_problem(state["problem"].tobytes().decode())

    def predict(self, inputs: InputArray, names: Sequence[str], *, seed: int) -> NDArray[np.float64]:
        """Posterior means (n, t), of ``n_mean`` draws."""
        return self.problem.draw(self._inputs(inputs, names), self._n_mean, seed).mean(axis=0)

    def draw(
        self, inputs: InputArray, names: Sequence[str], *, n_draws: int, seed: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Independent draws (n_draws, n, t), all of which count (n,)."""
        draws = self.problem.draw(self._inputs(inputs, names), n_draws, seed)
        return draws.astype(np.float32), np.full(draws.shape[1], float(n_draws))

    def log_prob(self, inputs: InputArray, names: Sequence[str], target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log density (n,) of targets (n, t), nats in their units."""
        return self.problem.log_prob(target, self._inputs(inputs, names))

    def facts(self) -> dict[str, object]:
        """The problem and where it comes from."""
        return {"problem": self.problem.name, "reference": self.problem.reference}

    def _inputs(self, inputs: InputArray, names: Sequence[str]) -> Array:
        known = [target.name for target in targets_of(self.problem.name)]
        if list(names) != known:
            raise GalaxybenchError(
                f"targets {', '.join(names)}: the exact posterior of '{self.problem.name}' is that of "
                f"{', '.join(known)}, all and in this order"
            )
        magnitudes = inputs[:]
        if magnitudes.ndim != 2 or magnitudes.shape[1] != self.problem.n_inputs or not np.isfinite(magnitudes).all():
            raise GalaxybenchError(
                f"inputs of shape {magnitudes.shape}: the problem '{self.problem.name}' has {self.problem.n_inputs} "
                "columns, none of which may be missing"
            )
        return inputs_of_magnitudes(self.problem, magnitudes)

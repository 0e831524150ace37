"""The analytic problems by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from benchmark.analytic.inference import GaussianLinear, GaussianMixture, TwoMoons
from benchmark.analytic.problem import Problem
from benchmark.analytic.regression import Banana, Heteroscedastic, LinearGaussian, TwoModes
from benchmark.analytic.slcp import SLCP
from benchmark.contracts import UsageError

__all__ = ["PROBLEMS", "find_problem"]

PROBLEMS: Mapping[str, Problem] = MappingProxyType(
    {
        problem.name: problem
        for problem in (
            *(LinearGaussian(t) for t in range(1, 9)),
            *(LinearGaussian(t, rho=0.95) for t in range(2, 9)),
            Heteroscedastic(),
            TwoModes(),
            Banana(),
            TwoMoons(),
            SLCP(),
            GaussianMixture(),
            GaussianLinear(),
        )
    }
)
"""Name -> problem."""


def find_problem(name: str) -> Problem:
    """The problem of a name.

    Raises
    ------
    UsageError
        There is none of this name.
    """
    if name not in PROBLEMS:
        raise UsageError(f"problem '{name}': known are {', '.join(PROBLEMS)}")
    return PROBLEMS[name]

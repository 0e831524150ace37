"""Problems whose posterior is known exactly, as surveys: what every posterior on the board can be held against."""

from benchmark.analytic.problem import Problem
from benchmark.analytic.problems import PROBLEMS, find_problem

__all__ = ["PROBLEMS", "Problem", "find_problem"]

"""Problems whose posterior is known exactly, as surveys: what every posterior on the board can be held against."""

from benchmark.analytic.problem import Problem
from benchmark.analytic.problems import PROBLEMS, find_problem
from benchmark.analytic.survey import SURVEY_VERSION, build_survey, targets_of

__all__ = ["PROBLEMS", "SURVEY_VERSION", "Problem", "build_survey", "find_problem", "targets_of"]

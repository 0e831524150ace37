"""How sure the labels of a survey are: what their errors allow a score to reach, and errors that cannot be right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import Finding
from benchmark.data.inspection.findings import finding_about
from benchmark.data.label_noise import label_noise
from benchmark.data.survey import Survey

__all__ = ["LabelQuality", "check_labels", "label_qualities"]

Array = NDArray[np.float64]

_FEWEST = 10  # test galaxies with errors, below which the board has no ceiling either
_ROWS_AT_ONCE = 4096
_MOSTLY = 0.5  # share of labels without an error from which a look is due
_SIGMAS = 5.0  # beyond chance, also where hundreds of targets are looked at


@dataclass(frozen=True)
class LabelQuality:
    """The errors of one target's labels.

    Attributes
    ----------
    source : ``errors``, one standard deviation a galaxy, or ``draws`` of its posterior.
    n_draws : a galaxy's; 0 for errors.
    n, n_missing : labels with an error and without.
    median_error : in the target's unit; None where no label has an error, as the two that follow.
    scatter : standard deviation of the labels that have an error.
    r2_ceiling : R2 of a prediction of the test galaxies that knows the truth behind their labels, as on the board; None
        for fewer than ten of them. Zero or less: the errors exceed the scatter.
    """

    source: str
    n_draws: int
    n: int
    n_missing: int
    median_error: float | None
    scatter: float | None
    r2_ceiling: float | None


def label_qualities(survey: Survey) -> dict[str, LabelQuality]:
    """The targets whose labels have errors, in the survey's order."""
    names, label, error = _errors(survey)
    test = survey.split == "test"
    return {name: _quality(survey, name, label[:, i], error[:, i], test) for i, name in enumerate(names)}


def check_labels(survey: Survey) -> Iterator[Finding]:
    """Yield what is odd about the errors and draws of labels; nothing where there are none.

    Errors of zero or less need no finding: a survey that has any is not opened.
    """
    names, label, error = _errors(survey)
    for column, name in enumerate(names):
        values, sigma = label[:, column], error[:, column]
        known = np.isfinite(sigma)
        without = np.isfinite(values) & ~known
        if without.any():
            share = float(without.sum() / np.isfinite(values).sum())
            level = "warning" if share > _MOSTLY else "info"
            message = f"{name} has labels without an error ({share:.2%}): the ceiling of its scores leaves them out"
            yield finding_about(survey, level, "label_error_missing", message, without)
        if known.sum() < _FEWEST:
            continue
        span = float(np.ptp(values[known]))
        large = known & (sigma > span)
        if large.any():
            message = f"{name} has errors above {span:.4g}, the range of all its labels: they may mean no value"
            yield finding_about(survey, "warning", "label_error_large", message, large)
        usual, scatter = float(np.median(sigma[known])), float(values[known].std())
        if usual >= scatter:
            message = f"{name} has a median error of {usual:.4g}, its labels scatter by {scatter:.4g}: one may be in "
            message += "another unit, else nothing can be learned of it"
            yield finding_about(survey, "warning", "label_error_scatter", message, known)
    yield from _check_draws(survey)


def _errors(survey: Survey) -> tuple[list[str], Array, Array]:
    """Targets with errors or draws, their labels (n, t) and the errors (n, t), NaN where one of both is missing."""
    known = {*survey.info.label_errors, *survey.info.label_draws}
    names = [target.name for target in survey.info.targets if target.name in known]
    label = survey.target(names, survey.rows())
    noise = label_noise(survey, names, survey.rows()) if names else None
    return names, label, np.full_like(label, np.nan) if noise is None else noise.error


def _quality(survey: Survey, name: str, label: Array, error: Array, test: NDArray[np.bool_]) -> LabelQuality:
    known = np.isfinite(error)
    draws = survey.label_draws if name in survey.info.label_draws else None
    ceiling = median = scatter = None
    if known.any():
        median, scatter = float(np.median(error[known])), float(label[known].std())
    inside = known & test
    if inside.sum() >= _FEWEST and (variance := float(label[inside].var())) > 0:
        ceiling = 1 - float(np.square(error[inside]).mean()) / variance
    return LabelQuality(
        "errors" if draws is None else "draws",
        0 if draws is None else int(draws.shape[1]),
        int(known.sum()),
        int((np.isfinite(label) & ~known).sum()),
        median,
        scatter,
        ceiling,
    )


def _check_draws(survey: Survey) -> Iterator[Finding]:
    """Draws that do not scatter, and labels beyond all of their draws more often than a truth would be."""
    draws = survey.label_draws
    if draws is None:
        return
    names = list(survey.info.label_draws)
    label = survey.target(names, survey.rows())
    low, high = np.full(label.shape, np.nan), np.full(label.shape, np.nan)
    for start in range(0, len(label), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        values = np.asarray(draws[part])
        low[part], high[part] = values.min(axis=1), values.max(axis=1)
    beyond_by_chance = 2 / (draws.shape[1] + 1)  # a truth has the same chance of every rank among its draws
    for column, name in enumerate(names):
        equal = high[:, column] == low[:, column]
        if equal.any():
            message = f"{name} has draws of a galaxy that are all equal: they say nothing of its error"
            yield finding_about(survey, "warning", "label_draws_equal", message, equal)
        given = np.isfinite(label[:, column]) & np.isfinite(low[:, column]) & ~equal
        # draws are float32, the label may have more digits
        slack = np.spacing(np.abs(label[:, column]).astype(np.float32))
        outside = given & ((label[:, column] < low[:, column] - slack) | (label[:, column] > high[:, column] + slack))
        expected = given.sum() * beyond_by_chance
        if outside.sum() > expected + _SIGMAS * np.sqrt(expected):
            share = outside.sum() / given.sum()
            message = (
                f"{name} lies beyond all of its draws for {share:.2%} of the galaxies: are they of other galaxies, "
            )
            message += "or in another unit?"
            yield finding_about(survey, "warning", "label_draws_beyond", message, outside)

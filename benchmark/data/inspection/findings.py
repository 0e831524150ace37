"""How a check says what it found: about which galaxies, how grave, and whether copies lie in different splits."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import Finding
from benchmark.data.survey import Survey

__all__ = ["LEAK_ERROR_SHARE", "finding_about", "pairs_within", "repeats", "severity"]

LEAK_ERROR_SHARE = 0.01  # of the test galaxies: below it a repeat is worth a look, above it scores are not
EXAMPLES = 5


def finding_about(survey: Survey, level: str, code: str, message: str, found: NDArray[np.bool_]) -> Finding:
    """Return a finding about the galaxies where ``found`` is True."""
    examples = tuple(str(galaxy) for galaxy in survey.target_id[found][:EXAMPLES])
    return Finding(level, code, message, int(found.sum()), examples)  # type: ignore[arg-type]


def pairs_within(groups: NDArray[np.uint64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (p, 2) rows: each with the next of its group, and with the first."""
    order = rows[np.argsort(groups[rows], kind="stable")]
    same = groups[order][1:] == groups[order][:-1]
    first = np.searchsorted(groups[order], groups[order[1:]][same])
    neighbours = np.stack([order[:-1][same], order[1:][same]], axis=1)
    return np.concatenate([neighbours, np.stack([order[first], order[1:][same]], axis=1)])


def repeats(survey: Survey, what: str, message: str, pairs: NDArray[np.int64]) -> Iterable[Finding]:
    """Yield one finding for repeats within a split and one for repeats across splits (leaks)."""
    if not len(pairs):
        return
    split = survey.split
    across = (split[pairs[:, 0]] != split[pairs[:, 1]]) & np.isin(split[pairs], ("validation", "test")).any(axis=1)
    leaked = np.zeros(survey.n_galaxies, dtype=bool)
    leaked[pairs[across].ravel()] = True
    inside = np.zeros(survey.n_galaxies, dtype=bool)
    inside[pairs[~across].ravel()] = True
    inside &= ~leaked
    if leaked.any():
        text = f"{message}, in another split: what is tested was seen in training"
        yield finding_about(survey, severity(survey, leaked), f"{what}_leak", text, leaked)
    if inside.any():
        yield finding_about(survey, "warning", f"{what}_repeat", message, inside)


def severity(survey: Survey, found: NDArray[np.bool_]) -> str:
    """``error`` where more than 1 % of the validation and test galaxies are concerned, else ``warning``."""
    test = np.isin(survey.split, ("validation", "test"))
    return "error" if (found & test).sum() > LEAK_ERROR_SHARE * max(int(test.sum()), 1) else "warning"

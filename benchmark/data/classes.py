"""Targets whose numbers stand for classes, as columns of 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.data.survey import Survey

__all__ = ["one_hot"]


def one_hot(survey: Survey, rows: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.float64]:
    """Columns (len(rows), len(names)): 1 where a galaxy is of the class, 0 where of another, NaN where not known.

    Parameters
    ----------
    survey : with targets that have classes.
    rows : row numbers.
    names : ``<target>=<class>``, as `benchmark.facts.class_columns` gives them.
    """
    columns = []
    for name in names:
        target, _, label = name.partition("=")
        number = survey.target_info(target).classes.index(label)
        value = survey.target([target], rows)[:, 0]
        columns.append(np.where(np.isfinite(value), value == number, np.nan))
    return np.stack(columns, axis=1) if columns else np.empty((len(rows), 0))

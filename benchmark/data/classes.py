"""Targets whose numbers stand for classes, as columns of 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError, Target
from benchmark.data.survey import Survey
from benchmark.data.tables import named

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["class_numbers", "one_hot"]


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


def class_numbers(values: pd.Series, target: Target, where: str) -> NDArray[np.float64]:
    """Numbers (n,) of the classes in a column that holds these, or the classes' names; NaN where it holds nothing.

    Parameters
    ----------
    values : the column; where it is text, spaces around a name do not count.
    target : with classes.
    where : file and column, for messages.

    Raises
    ------
    GalaxybenchError
        If a text is no class. (Numbers are checked when the catalogue is written: a row filter may drop some yet.)
    """
    if values.dtype.kind in "biuf":
        return values.to_numpy(dtype=np.float64)
    texts = values.where(values.notna(), "").astype(str).str.strip()
    numbers = {text: _number(text) for text in texts.unique()}  # where there are gaps, numbers come as text
    numbers |= {name: float(number) for number, name in enumerate(target.classes)} | {"": np.nan}
    unknown = sorted(text for text, number in numbers.items() if number is None)
    if unknown:
        raise GalaxybenchError(
            f"{where} has {named(map(repr, unknown))}: classes of {target.name!r} are {', '.join(target.classes)}, or "
            "their numbers from 0"
        )
    return texts.map(numbers).to_numpy(dtype=np.float64)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

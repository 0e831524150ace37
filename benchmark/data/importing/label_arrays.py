"""Draws of labels over all sources of an import: of which targets, how many, and how they are written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError
from benchmark.data.importing.assembling import DRAW_SOURCE
from benchmark.data.importing.draws import DrawSource
from benchmark.data.importing.filling import file_order, fill_here
from benchmark.data.importing.sources import DRAW_ROW, SourcePart
from benchmark.data.importing.spec import ImportSpec
from benchmark.data.scratch import Journal, Scratch
from benchmark.data.survey import DRAWS_FILE
from benchmark.data.writers import DrawWriter

__all__ = ["LabelDraws", "draw_sources"]


@dataclass(frozen=True)
class LabelDraws:
    """The draws of all sources.

    Attributes
    ----------
    sources : number of the source -> its draws.
    targets : of the last axis.
    n_draws : of each galaxy.
    """

    sources: dict[int, DrawSource]
    targets: tuple[str, ...]
    n_draws: int

    def writer(self, table: pd.DataFrame, scratch: Scratch) -> DrawWriter:
        """Return what writes the draws of these galaxies, NaN where there are none; ``scratch`` knows which are."""

        def fill(array: NDArray[np.float32], target_id: NDArray[np.int64]) -> None:
            galaxies = file_order(table, DRAW_SOURCE, DRAW_ROW)
            journal: Journal = scratch.journal(DRAWS_FILE)

            def put(place: int, number: int, row: int) -> None:
                if number < 0:
                    array[place] = np.nan
                    return
                draws = self.sources[number].read(row)
                if len(draws) != self.n_draws:
                    source = self.sources[number]
                    raise GalaxybenchError(
                        f"{source.where}, row {row}: {len(draws)} draws, the first galaxy has {self.n_draws}"
                    )
                array[place] = draws

            bad = fill_here(galaxies, target_id, [array], put, journal, None)
            for source in self.sources.values():
                source.close()
            if bad:
                galaxy, reason = next(iter(bad.items()))
                raise GalaxybenchError(f"{len(bad)} galaxies have no good draws of their labels ({galaxy}: {reason})")

        return DrawWriter((len(table), self.n_draws, len(self.targets)), fill)


def draw_sources(spec: ImportSpec, parts: list[SourcePart], table: pd.DataFrame) -> LabelDraws | None:
    """Return the draws of all sources, None without any; the first row tells how many a galaxy has.

    Raises
    ------
    GalaxybenchError
        If sources name draws of other targets, or no galaxy has any.
    """
    sources = {number: part.draws for number, part in enumerate(parts) if part.draws is not None}
    if not sources:
        return None
    first, *others = [tuple(source.spec) for source in sources.values()]
    if any(other != first for other in others):
        raise GalaxybenchError(f"{spec.path}: draws of the sources name other targets: name the same in all, in order")
    found = next(((number, row) for _, number, row in file_order(table, DRAW_SOURCE, DRAW_ROW) if number >= 0), None)
    if found is None:
        raise GalaxybenchError(f"{spec.path}: no galaxy has draws of its labels: check how the sources are joined")
    return LabelDraws(sources, first, len(sources[found[0]].read(found[1])))

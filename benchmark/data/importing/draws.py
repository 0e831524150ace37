"""Posterior draws of labels in an import: computed row by row from columns of arrays, never held for all galaxies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError
from benchmark.data.importing.formula import evaluate, formula_columns
from benchmark.data.importing.rows import StackedRows
from benchmark.data.importing.spec import SourceSpec
from benchmark.data.tables import TableFile, reader_of

__all__ = ["DrawSource"]


@dataclass
class DrawSource:
    """The draws of a source's labels.

    Attributes
    ----------
    spec : target -> formula that gives its draws for a row.
    columns : column -> arrays a row.
    missing : numbers that mean "no value".
    where : file, for messages.
    """

    spec: Mapping[str, str]
    columns: dict[str, StackedRows]
    missing: tuple[float, ...]
    where: str
    names: None = None  # as images and spectra of columns have none

    @classmethod
    def of(
        cls,
        source: SourceSpec,
        files: Sequence[TableFile],
        lengths: Sequence[int],
        missing: tuple[float, ...],
        where: str,
    ) -> Self:
        """The draws that a source of a spec names."""
        reader = reader_of(files[0].path, source.format).name
        needed = dict.fromkeys(column for formula in source.draws.values() for column in formula_columns(formula))
        columns = {name: StackedRows(files, lengths, name, reader) for name in needed}
        return cls(source.draws, columns, missing, where)

    @property
    def places(self) -> list[Path]:
        """The files."""
        return sorted({file.path for column in self.columns.values() for file in column.files})

    def read(self, row: int) -> NDArray[np.float32]:
        """Draws (n_draws, t) of a row; all NaN where one is missing.

        Raises
        ------
        GalaxybenchError
            If the targets have different numbers of draws, or a formula gives no list of numbers.
        """
        try:
            arrays = {name: self._known(column.row(row))[None] for name, column in self.columns.items()}
            given = [evaluate(formula, arrays, n_axes=2)[0] for formula in self.spec.values()]
        except GalaxybenchError as error:
            raise GalaxybenchError(f"{self.where}, row {row}: draws: {error}") from error
        counts = {name: len(draws) for name, draws in zip(self.spec, given)}
        if len(set(counts.values())) > 1:
            raise GalaxybenchError(f"{self.where}, row {row}: numbers of draws differ: {counts}; give all as many")
        draws = np.stack(given, axis=1).astype(np.float32)
        return draws if np.isfinite(draws).all() else np.full_like(draws, np.nan)

    def _known(self, values: NDArray) -> NDArray:
        """Values with NaN for sentinels, also where the file holds them in single precision."""
        if not self.missing or values.dtype.kind not in "fiu":
            return values
        marks = [mark for value in self.missing for mark in (value, float(np.float32(value)))]
        return np.where(np.isin(values, marks), np.nan, values)

    def close(self) -> None:
        """Close the files."""
        for column in self.columns.values():
            column.close()

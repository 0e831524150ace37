"""Arrays of a source's rows, wherever they lie: columns of one or several tables, or a file a galaxy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError
from benchmark.data.tables import READERS, RowArray, TableFile, row_array

__all__ = ["StackedRows"]


@dataclass
class StackedRows:
    """A column of arrays over several tables whose rows are counted on; opened when it is first read.

    It can be sent to another process, which opens the files anew.

    Attributes
    ----------
    files : the tables, in order.
    lengths : rows of each.
    column : the column.
    format : name of the reader.
    """

    files: Sequence[TableFile]
    lengths: Sequence[int]
    column: str
    format: str
    _open: tuple[int, RowArray] | None = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_open": None}

    def _array(self, piece: int) -> RowArray:
        if self._open is None or self._open[0] != piece:  # one file is open at a time: rows come in their order
            self.close()
            array = row_array(self.files[piece], self.column, READERS[self.format])
            if array.whole is None and len(array) != self.lengths[piece]:
                n_rows = len(array)
                array.close()
                raise GalaxybenchError(
                    f"{self.files[piece]}: {self.column!r} has {n_rows} rows, the table has {self.lengths[piece]}: "
                    "must be a row a galaxy"
                )
            self._open = (piece, array)
        return self._open[1]

    def place(self, row: int) -> tuple[int, int]:
        """The table of a row, and the row in it."""
        ends = np.cumsum(self.lengths)
        piece = int(np.searchsorted(ends, row, side="right"))
        return piece, row - (int(ends[piece - 1]) if piece else 0)

    def row_shape(self, row: int) -> tuple[int, ...] | None:
        """Shape of a row's array, where it is known without reading it."""
        return self._array(self.place(row)[0]).row_shape

    def row(self, row: int) -> NDArray:
        """The array of a row; a grid that all rows of a table share is given for each."""
        piece, inside = self.place(row)
        array = self._array(piece)
        shared = array.whole
        return array.row(inside) if shared is None else shared

    def close(self) -> None:
        """Close the file that is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

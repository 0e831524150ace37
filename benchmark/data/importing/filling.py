"""Pixels written into a survey's arrays in the order of the source's files, block by block, so that it can go on."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError, Progress
from benchmark.data.importing.cutouts import ImageSource
from benchmark.data.scratch import Journal
from benchmark.data.stored import let_go, open_files

__all__ = ["FileOrder", "Reasons", "bad_pixels", "file_order", "fill_here", "fill_in_processes"]

ROWS_A_BLOCK = 256
Reasons = dict[int, str]


@dataclass(frozen=True)
class FileOrder:
    """Galaxies in the order in which the files have them, in blocks of one source each.

    Attributes
    ----------
    galaxy : (n,) ids.
    number, row : (n,) source, -1 where there is none, and row in it.
    """

    galaxy: NDArray[np.int64]
    number: NDArray[np.int64]
    row: NDArray[np.int64]

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """(target_id, source, row) of each galaxy."""
        for at in range(len(self.galaxy)):
            yield int(self.galaxy[at]), int(self.number[at]), int(self.row[at])

    @property
    def blocks(self) -> list[slice]:
        """Runs of at most 256 galaxies of one source; the same for the same galaxies."""
        edges = [0, *(np.flatnonzero(np.diff(self.number)) + 1), len(self.number)]
        return [
            slice(start, min(start + ROWS_A_BLOCK, end))
            for first, end in itertools.pairwise(edges)
            for start in range(first, end, ROWS_A_BLOCK)
        ]

    def places(self, target_id: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row of each galaxy among the ascending ids of the survey."""
        return np.searchsorted(target_id, self.galaxy)


def file_order(table: pd.DataFrame, owner: str, row: str) -> FileOrder:
    """Return the galaxies of a table in the order of their files.

    Parameters
    ----------
    table : with ``target_id``.
    owner, row : columns with the number of the source and the row in it, NaN where there is none.
    """
    numbers = table[owner].fillna(-1).to_numpy().astype(np.int64)
    rows = table[row].fillna(-1).to_numpy().astype(np.int64)
    order = np.lexsort((rows, numbers))
    return FileOrder(table["target_id"].to_numpy()[order], numbers[order], rows[order])


def fill_here(
    galaxies: FileOrder,
    target_id: NDArray[np.int64],
    arrays: Sequence[NDArray],
    put: Callable[[int, int, int], None],
    journal: Journal,
    progress: Progress | None,
) -> Reasons:
    """Write every galaxy's pixels in this process, blocks of which the journal knows left out.

    Parameters
    ----------
    galaxies : what is written.
    target_id : (n,) the survey's ids, ascending.
    arrays : what is written into; flushed after each block.
    put : called as ``put(place, source, row)``.
    journal : of the arrays.
    progress : called with (galaxies done, n).

    Returns
    -------
    target_id -> why it has no good pixels.
    """
    places = galaxies.places(target_id)
    reasons: Reasons = {}
    for number, block in enumerate(galaxies.blocks):
        if number not in journal.done:
            n_bad = len(reasons)
            for at in range(block.start, block.stop):
                try:
                    put(int(places[at]), int(galaxies.number[at]), int(galaxies.row[at]))
                except GalaxybenchError as error:
                    reasons[int(galaxies.galaxy[at])] = str(error)
                if progress is not None:
                    progress(at + 1, len(target_id))
            if len(reasons) == n_bad:
                _finish(arrays, journal, number)
        elif progress is not None:
            progress(block.stop, len(target_id))
    return reasons


def _finish(arrays: Sequence[NDArray], journal: Journal, number: int) -> None:
    if not journal.kept:
        for array in arrays:
            let_go(array)
        return
    for array in arrays:
        array.flush()  # type: ignore[attr-defined]  # memory-mapped
        let_go(array)
    journal.add(number)


def fill_in_processes(
    galaxies: FileOrder,
    target_id: NDArray[np.int64],
    array: NDArray,
    sources: dict[int, ImageSource],
    n_workers: int,
    journal: Journal,
    progress: Progress | None,
) -> Reasons:
    """Write every galaxy's image straight into the files, a block a process at a time; as `fill_here` otherwise."""
    places = galaxies.places(target_id)
    parts: Sequence[Any] = getattr(array, "parts", (array,))
    paths = [str(part.filename) for part in parts]
    reasons: Reasons = {}
    done = 0
    array.flush()  # type: ignore[attr-defined]  # memory-mapped
    with ProcessPoolExecutor(n_workers, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
        futures = {}
        for number, block in enumerate(galaxies.blocks):
            if number in journal.done:
                done += block.stop - block.start
            else:
                source = sources[int(galaxies.number[block.start])]
                job = _part(source, galaxies.galaxy[block], places[block], galaxies.row[block])
                futures[number] = pool.submit(_write_rows, job, paths, journal.kept), block
        for number, (future, block) in futures.items():
            bad = future.result()
            reasons |= bad
            if not bad:
                journal.add(number)
            done += block.stop - block.start
            if progress is not None:
                progress(done, len(target_id))
    return reasons


def _end_with_parent() -> None:
    """Let a worker end when the process that it works for is gone: one that is killed cannot tell it to."""
    parent = parent_process()
    assert parent is not None  # this is a worker

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


Job = tuple[ImageSource, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def _part(source: ImageSource, galaxy: NDArray[np.int64], place: NDArray[np.int64], row: NDArray[np.int64]) -> Job:
    """The part of a source that one block needs, so that not all names are sent to every process."""
    if source.names is None:
        return source, galaxy, place, row
    part = ImageSource(source.spec, names=[source.names[index] for index in row])
    return part, galaxy, place, np.arange(len(row))


def _write_rows(job: Job, paths: Sequence[str], flush: bool) -> Reasons:
    """Write the images of one block; runs in a process of its own."""
    source, galaxies, places, rows = job
    array = open_files([Path(path) for path in paths], mode="r+")
    reasons: Reasons = {}
    for galaxy, place, row in zip(galaxies, places, rows):
        try:
            array[place] = source.read(int(row))[0]
        except GalaxybenchError as error:
            reasons[int(galaxy)] = str(error)
    source.close()
    if flush:
        array.flush()  # type: ignore[attr-defined]  # memory-mapped
    return reasons


def bad_pixels(reasons: Reasons, what: str) -> GalaxybenchError:
    """The error that names the first galaxies without good pixels, and how many there are.

    Parameters
    ----------
    reasons : target_id -> reason.
    what : ``image`` or ``spectrum``.
    """
    plural = "images" if what == "image" else "spectra"
    listed = "; ".join(f"{galaxy}: {reason}" for galaxy, reason in list(reasons.items())[:3])
    return GalaxybenchError(
        f"{len(reasons)} galaxies have no good {what} ({listed}): repair them, or set bad = 'drop' in {plural}"
    )

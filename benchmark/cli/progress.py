"""Progress on stderr: bars in a terminal; without one nothing, or a line now and then where work takes hours."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from benchmark.contracts import Progress

__all__ = ["CellBars", "cell_bars", "progress_bar", "progress_bars", "progress_lines", "say"]


def say(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """A callable (done, total) that moves a bar; silent where stderr is no terminal."""
    with progress_bars(label) as (progress,):
        yield progress


@contextlib.contextmanager
def progress_bars(*labels: str) -> Iterator[list[Progress]]:
    """For each of several works that follow one another a callable (done, total); its bar appears when it begins."""
    if not sys.stderr.isatty():
        yield [lambda done, total: None for _ in labels]
        return
    with _rich_bars() as bars:
        shown = [bars.add_task(label, total=None, visible=len(labels) == 1) for label in labels]

        def mover(bar: Any) -> Progress:
            return lambda done, total: bars.update(bar, completed=done, total=total, visible=True)

        yield [mover(bar) for bar in shown]


def _rich_bars() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Bars(*columns, console=Console(stderr=True), transient=True)


def progress_lines(label: str, step: float = 0.1) -> Progress:
    """A callable (done, total) that writes a line every ``step`` of the way."""
    told = 0.0

    def show(done: int, total: int) -> None:
        nonlocal told
        if total and (done / total >= told + step or done == total):
            told = done / total
            say(f"{label}: {done} of {total}")

    return show


class CellBars:
    """A bar over all cells, and one for every long cell that says how far it is."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._all = bars.add_task("cells", total=None)
        self._long: dict[str, Any] = {}

    def ended(self, name: str, done: int, total: int) -> None:
        """A cell has ended, ``done`` of ``total`` have."""
        if name in self._long:
            self._bars.remove_task(self._long.pop(name))
        self._bars.update(self._all, completed=done, total=total)

    def advanced(self, name: str, done: int, total: int) -> None:
        """A cell is ``done`` of ``total`` on its way."""
        if name not in self._long:
            self._long[name] = self._bars.add_task(name.rpartition("-")[0], total=total)
        self._bars.update(self._long[name], completed=done, total=total)


@contextlib.contextmanager
def cell_bars() -> Iterator[CellBars | None]:
    """Bars over the cells of a run; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with _rich_bars() as bars:
        yield CellBars(bars)

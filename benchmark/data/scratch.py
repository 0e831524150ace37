"""The hidden folder in which a survey is written before it gets its name, and what of it was finished before."""

from __future__ import annotations

import fcntl
import glob
import os
import secrets
import shutil
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from benchmark.contracts import GalaxybenchError

__all__ = ["Journal", "Scratch"]


class Journal:
    """Numbers of the blocks of one array that are in its files to the last byte; kept in a file beside it.

    Parameters
    ----------
    path : the file; None keeps nothing.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.done: set[int] = set()
        if path is not None and path.exists():
            lines = path.read_text(encoding="utf-8").split("\n")
            self.done = {int(line) for line in lines[:-1]}  # a number without an end of line was cut off

    @property
    def kept(self) -> bool:
        """Whether what is noted outlives this process."""
        return self._path is not None

    def forget(self) -> None:
        """Begin anew: the array is not the one that was written."""
        self.done = set()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def add(self, number: int) -> None:
        """Note that a block is finished; call it once its pixels were flushed."""
        self.done.add(number)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(f"{number}\n")
                stream.flush()
                os.fsync(stream.fileno())


class Scratch:
    """A hidden sibling of a survey folder, as a context manager; what was written becomes the folder by `swap`.

    Without a key it never outlives its use. With one it does when the work was cut off (killed, or interrupted from the
    keyboard): the next one of the same key goes on with it. After an error it is removed.

    Parameters
    ----------
    target : the survey's folder.
    key : of everything that determines what is written; becomes part of the folder's name.

    Raises
    ------
    GalaxybenchError
        On entering, if another process writes the same survey.
    """

    def __init__(self, target: Path, key: str | None = None) -> None:
        self.target = target
        self.key = key
        self.folder = target.parent / f".{target.name}.{key or f'{os.getpid()}-{secrets.token_hex(4)}'}.partial"
        self._lock: IO[str] | None = None

    def journal(self, name: str) -> Journal:
        """The journal of an array by the name of its (first) file, kept where there is a key."""
        return Journal(self.folder / f"{Path(name).stem}.done" if self.key is not None else None)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=self.key is not None)
        if self.key is not None:
            self._lock = (self.folder / "lock").open("w", encoding="utf-8")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._lock.close()
                raise GalaxybenchError(f"{self.target} is being written by another process: wait for it") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cut_off = kind is not None and not issubclass(kind, Exception)
        if self.key is None or not cut_off:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    def swap(self) -> None:
        """Put the finished folder in its place; an older survey goes only once the new one stands."""
        for left in (self.folder / "lock", *self.folder.glob("*.done")):
            left.unlink(missing_ok=True)
        if not self.target.exists():
            self.folder.rename(self.target)
        else:
            old = self.folder.with_suffix(".old")
            self.target.rename(old)
            try:
                self.folder.rename(self.target)
            except OSError:
                old.rename(self.target)
                raise
            shutil.rmtree(old)
        if self.key is not None:  # what earlier, other specs for this folder left when they were killed
            for left in self.target.parent.glob(f".{glob.escape(self.target.name)}.{'[0-9a-f]' * 16}.partial"):
                shutil.rmtree(left, ignore_errors=True)

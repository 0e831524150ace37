"""What an import has found in pixels before it writes any, kept beside the survey folder until this stands."""

from __future__ import annotations

import fcntl
import glob
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from benchmark.contracts import GalaxybenchError

__all__ = ["Verdict", "Verdicts", "file_state"]

_FLUSHED_EVERY = 32  # verdicts that a killed import may have to find again
FileState = tuple[int, int]


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a galaxy's image or spectrum, None if nothing; of a good image its shape and dead share.

    Attributes
    ----------
    reason : why it cannot be used.
    shape : (bands, height, width) as it will be stored; None of spectra, and of what cannot be used.
    dead : largest share of dead pixels of a band.
    noise : of each band, where it was measured.
    """

    reason: str | None = None
    shape: tuple[int, int, int] | None = None
    dead: float = 0.0
    noise: tuple[float, ...] = ()


class Verdicts:
    """Verdicts on the pixels of one import, as a context manager; an import that was cut off finds its own again.

    They are in a hidden file beside the survey folder. It is kept when the work is killed or interrupted from the
    keyboard, and goes when the survey stands, or with an error.

    Parameters
    ----------
    target : the survey's folder; None keeps nothing.
    """

    def __init__(self, target: Path | None = None) -> None:
        self._target = target
        self._path: Path | None = None
        self._stream: IO[str] | None = None
        self._found: dict[tuple[str, int], tuple[FileState | None, Verdict]] = {}
        self._n_new = 0

    def open(self, key: str) -> None:
        """Take up what an import of the same ``key`` has left.

        Raises
        ------
        GalaxybenchError
            If another process imports the same survey, or the place cannot be written.
        """
        if self._target is None:
            return
        path = self._target.parent / f".{self._target.name}.{key}.verdicts"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise GalaxybenchError(f"{self._target} cannot be written ({error.strerror}): choose another") from error
        self._path = path
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._stream.close()
            self._path = self._stream = None  # it is the other's
            raise GalaxybenchError(f"{self._target} is being written by another process: wait for it") from error
        self._stream.seek(0)
        whole = 0
        for line in self._stream.read().split("\n")[:-1]:  # what has no end of line was cut off
            try:
                what, galaxy, state, reason, shape, dead, noise = json.loads(line)
            except ValueError:
                break
            whole += len(line.encode()) + 1
            verdict = Verdict(reason, None if shape is None else tuple(shape), dead, tuple(noise))
            self._found[what, galaxy] = (None if state is None else tuple(state), verdict)
        self._stream.truncate(whole)

    def of(self, what: str, galaxy: int, state: FileState | None, look: Callable[[], Verdict]) -> Verdict:
        """The verdict on a galaxy's pixels: the one that was kept, or what ``look`` finds now, which is then kept.

        Parameters
        ----------
        what : ``images``, ``noise`` of images, or ``spectra on`` a grid.
        galaxy : its ``target_id``.
        state : `file_state` of the galaxy's own file, which must be as it was; None for arrays, whose files are part
            of the key.
        look : called without arguments where there is no verdict, or the file is another now.
        """
        kept_state, verdict = self._found.get((what, galaxy), (None, None))
        if verdict is not None and kept_state == state:
            return verdict
        verdict = look()
        if self._stream is not None:
            line: list[Any] = [what, galaxy, state, verdict.reason, verdict.shape, verdict.dead, verdict.noise]
            self._stream.write(json.dumps(line) + "\n")
            self._n_new += 1
            if self._n_new % _FLUSHED_EVERY == 0:
                self._stream.flush()
        return verdict

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cut_off = kind is not None and not issubclass(kind, Exception)
        if self._path is not None and self._target is not None and not cut_off:
            self._path.unlink(missing_ok=True)
            if kind is None:  # what earlier, other specs for this folder left when they were killed
                for left in self._target.parent.glob(f".{glob.escape(self._target.name)}.{'[0-9a-f]' * 16}.verdicts"):
                    left.unlink(missing_ok=True)
        if self._stream is not None:
            self._stream.close()


def file_state(path: str | Path) -> FileState | None:
    """Size in bytes and date in nanoseconds of a file, by which it is known again; None where there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns

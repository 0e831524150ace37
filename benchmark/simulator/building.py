"""Pixels of a whole survey: made in parts by several processes, kept until all are there, then put together.

A part is a fixed range of candidates; its files appear whole or not at all, so a build that was killed finds what it
had finished. Parts lie in a hidden folder beside the survey's, named by everything that decides them. Workers are
fresh interpreters of one thread each that read part numbers from a pipe and end with it: memory stays bounded and a
script needs no main guard.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, Queue
from typing import IO

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError, Progress
from benchmark.data.stored import let_go
from benchmark.simulator.candidates import draw_candidates
from benchmark.simulator.flavours import Flavour, find_flavour
from benchmark.simulator.pack import PACK_PATH, load_pack

__all__ = ["PART_CANDIDATES", "Parts", "serve"]

PART_CANDIDATES = 1024  # about a hundred galaxies
MAX_WORKERS = 8
FEW = 400  # galaxies that this process makes sooner than others would have started
_SUFFIX = {"image": "images", "spectrum": "spectra"}
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Parts:
    """The parts of one survey's pixels.

    Parameters
    ----------
    folder : the survey's; the parts lie beside it.
    flavour, version, seed : the survey's.
    pixels : of ``image`` and ``spectrum``, what is to be made.
    candidate : (n,) numbers of the survey's galaxies, ascending.
    """

    def __init__(
        self,
        folder: Path,
        flavour: Flavour,
        version: str,
        seed: int,
        pixels: Sequence[str],
        candidate: NDArray[np.int64],
    ) -> None:
        target = Path(folder).absolute()
        self.name = target.name
        self.folder = target.parent / f".{target.name}.v{version}-{flavour.name}-seed{seed}-{_code_digest()}.parts"
        self.flavour, self.seed, self.pixels, self.candidate = flavour, seed, tuple(pixels), candidate
        first = np.unique(candidate // PART_CANDIDATES)
        self.rows = {int(k): np.flatnonzero(candidate // PART_CANDIDATES == k) for k in first}

    def make(self, n_workers: int | None, progress: Progress | None) -> None:
        """Make the parts that are not there yet.

        Raises
        ------
        GalaxybenchError
            A worker died or failed.
        """
        missing = [k for k in self.rows if not self._is_there(k)]
        done = len(self.candidate) - sum(len(self.rows[k]) for k in missing)
        if not missing:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GalaxybenchError(f"{self.folder.parent / self.name}: cannot be written ({error.strerror})") from error
        if n_workers is None:
            few = sum(len(self.rows[k]) for k in missing) < FEW
            n_workers = 0 if few else min(_n_cores(), MAX_WORKERS, len(missing))
        orders = [self._order(k) for k in missing]
        finished = _in_workers(orders, n_workers) if n_workers > 1 else _here(orders)
        for number in finished:
            done += len(self.rows[number])
            if progress is not None:
                progress(done, len(self.candidate))

    def fill_images(self, images: NDArray, target_id: NDArray[np.int64]) -> None:
        """Put the parts' images into the survey's array."""
        for number, rows in self.rows.items():
            path = self._path("image", number)
            images[rows[0] : rows[-1] + 1] = np.load(path)
            let_go(images)
            path.unlink()

    def fill_spectra(self, flux: NDArray[np.float32], ivar: NDArray[np.float32], target_id: NDArray[np.int64]) -> None:
        """Put the parts' spectra into the survey's arrays."""
        for number, rows in self.rows.items():
            path = self._path("spectrum", number)
            flux[rows[0] : rows[-1] + 1], ivar[rows[0] : rows[-1] + 1] = np.load(path)
            let_go(flux)
            let_go(ivar)
            path.unlink()

    def remove(self) -> None:
        """Delete what is left of any parts for this folder, older code's too; for when the survey stands."""
        for left in self.folder.parent.glob(f".{glob.escape(self.name)}.v*-seed*.parts"):
            shutil.rmtree(left, ignore_errors=True)

    def _path(self, pixels: str, number: int) -> Path:
        return self.folder / f"{_SUFFIX[pixels]}-{number:06d}.npy"

    def _is_there(self, number: int) -> bool:
        """Whether a part's files exist and hold as many galaxies as are wanted (the last part may be cut)."""
        for pixels in self.pixels:
            path = self._path(pixels, number)
            if not path.is_file():
                return False
            shape = np.load(path, mmap_mode="r").shape
            if shape[0 if pixels == "image" else 1] != len(self.rows[number]):
                return False
        return True

    def _order(self, number: int) -> dict[str, object]:
        files = {pixels: str(self._path(pixels, number)) for pixels in self.pixels}
        n = len(self.rows[number])
        return {"flavour": self.flavour.name, "seed": self.seed, "number": number, "n": n, "files": files}


def make_part(flavour: str, seed: int, number: int, n: int, files: dict[str, str]) -> None:
    """Make the pixels of the first ``n`` kept galaxies of a part and write its ``files``, named by what they hold."""
    from benchmark.simulator.images import render_images  # torch takes seconds to import: catalogues do without
    from benchmark.simulator.spectra import simulate_spectra

    pack = load_pack()
    drawn = draw_candidates(seed, number * PART_CANDIDATES, PART_CANDIDATES, pack, find_flavour(flavour))
    drawn = drawn.take(np.flatnonzero(drawn.kept)[:n])
    if "image" in files:
        _write(Path(files["image"]), render_images(drawn, pack).astype(np.float16))
    if "spectrum" in files:
        _write(Path(files["spectrum"]), np.stack(simulate_spectra(drawn, pack)))


def serve(orders: IO[str], answers: IO[str]) -> None:
    """A worker's life: one order in JSON a line, answered by an empty line or the reason of failure in JSON."""
    with _one_thread():
        for line in orders:
            order = json.loads(line)
            try:
                make_part(**order)
                reason = ""
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
            answers.write(json.dumps(reason) + "\n")
            answers.flush()


def _here(orders: Sequence[dict[str, object]]) -> Iterator[int]:
    with _one_thread():
        for order in orders:
            make_part(**order)  # type: ignore[arg-type]
            yield int(order["number"])  # type: ignore[call-overload]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Two threads of torch on two busy cores are far slower than one."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _in_workers(orders: Sequence[dict[str, object]], n_workers: int) -> Iterator[int]:
    """Give the orders to worker processes one by one; yields part numbers as they are finished."""
    waiting: Queue[dict[str, object]] = Queue()
    for order in orders:
        waiting.put(order)
    answers: Queue[tuple[int, str]] = Queue()
    workers = [_start_worker() for _ in range(n_workers)]
    threads = [threading.Thread(target=_drive, args=(w, waiting, answers), daemon=True) for w in workers]
    try:
        for thread in threads:
            thread.start()
        for _ in orders:
            number, reason = answers.get()
            if reason:
                raise GalaxybenchError(
                    f"candidates {number * PART_CANDIDATES} to {(number + 1) * PART_CANDIDATES - 1}: {reason}; "
                    "build again to go on: what is finished is kept"
                )
            yield number
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        for thread in threads:
            thread.join()
        for worker in workers:
            for stream in (worker.stdin, worker.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()


def _n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> subprocess.Popen[str]:
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    # Ctrl-C reaches this process, which ends the workers
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        "from benchmark.simulator.building import serve; serve(sys.stdin, sys.stdout)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
    )


def _drive(worker: subprocess.Popen[str], waiting: Queue[dict[str, object]], answers: Queue[tuple[int, str]]) -> None:
    """Feed one worker until nothing waits or it dies; runs in a thread."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    while True:
        try:
            order = waiting.get_nowait()
        except Empty:
            return
        answer = ""
        with suppress(OSError, ValueError):
            worker.stdin.write(json.dumps(order) + "\n")
            worker.stdin.flush()
            answer = worker.stdout.readline()
        number = int(order["number"])  # type: ignore[call-overload]
        if not answer:
            answers.put((number, f"a worker process died (exit code {worker.wait()})"))
            return
        answers.put((number, str(json.loads(answer))))


def _write(path: Path, array: NDArray) -> None:
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    with scratch.open("wb") as stream:
        np.save(stream, array)
    scratch.replace(path)


def _code_digest() -> str:
    """Of the simulator's own code and templates: parts made by other code are not used."""
    digest = hashlib.sha256(PACK_PATH.with_name(PACK_PATH.name + ".sha256").read_bytes())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]

"""Where jobs run: long-lived spawn workers with one torch thread each, or this process.

The engine knows callables and ids, not cells: jobs go in, outcomes come out in the order in which they end, and
results travel through the store alone. A worker that dies (killed, out of memory, segmentation fault) costs its own
job only: the pipe's end tells, the job is tried once more in a fresh worker and then reported as crashed. A process
pool would fail every pending job instead.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal

from benchmark.registry import resolve

__all__ = ["Advanced", "Job", "Outcome", "Started", "advance", "run_jobs"]

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}


@dataclass(frozen=True)
class Job:
    """A call to make: ``payload`` is passed to the function once every job in ``needs`` is done."""

    id: str
    payload: Mapping[str, Any]
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Started:
    """A job went to a worker."""

    id: str


@dataclass(frozen=True)
class Advanced:
    """A long job said how far it is."""

    id: str
    done: int
    total: int


@dataclass(frozen=True)
class Outcome:
    """How a job ended; ``reason`` is empty where it is done."""

    id: str
    status: Literal["done", "failed", "crashed", "timeout", "skipped", "not started"]
    reason: str = ""
    seconds: float = 0.0


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    job: Job | None = None
    since: float = 0.0


@dataclass
class _Queue:
    """Jobs that wait, in order; a job whose needs failed leaves with the reason."""

    jobs: list[Job]
    ended: dict[str, str] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)

    def next_ready(self) -> Job | None:
        for position, job in enumerate(self.jobs):
            if all(self.ended.get(need) == "done" for need in job.needs):
                return self.jobs.pop(position)
        return None

    def blocked(self) -> Iterator[tuple[Job, str]]:
        for job in list(self.jobs):
            bad = sorted(need for need in job.needs if self.ended.get(need, "done") != "done")
            if bad:
                self.jobs.remove(job)
                self.ended[job.id] = "skipped"
                yield job, bad[0]


def run_jobs(
    jobs: Sequence[Job],
    function: str,
    *,
    n_workers: int,
    timeout_s: float | None = None,
    deadline: float | None = None,
    watch: Callable[[Advanced], None] | None = None,
) -> Iterator[Started | Outcome]:
    """Run jobs in their order as their needs allow, and yield what happens.

    Parameters
    ----------
    jobs : the jobs; needs that name no job here count as done.
    function : ``"module:attribute"``, called with a job's payload; it returns ``""`` or the reason of its failure.
    n_workers : number of worker processes; 0 runs the jobs in this process, without time limits.
    timeout_s : seconds a job may take before its worker is ended.
    deadline : ``time.monotonic()`` after which no further job is started; the rest is yielded as "not started".
    watch : called, at most twice a second and job, with what jobs say by `advance`.
    """
    known = {job.id for job in jobs}
    queue = _Queue([Job(job.id, job.payload, job.needs & known) for job in jobs])
    watch = watch or (lambda event: None)
    if n_workers > 0:
        running = _run_in_workers(queue, function, min(n_workers, max(len(jobs), 1)), timeout_s, deadline, watch)
    else:
        running = _run_here(queue, function, deadline, watch)
    for event in running:
        yield event
        if isinstance(event, Outcome):
            queue.ended[event.id] = event.status
            blocked = list(queue.blocked())
            while blocked:
                for job, need in blocked:
                    yield Outcome(job.id, "skipped", f"needs {need}, which did not end well")
                blocked = list(queue.blocked())
    yield from (Outcome(job.id, "not started", "the time budget was spent") for job in queue.jobs)


_tell: Callable[[int, int], None] | None = None  # where the job that runs in this process says how far it is
_told_at = 0.0


def advance(done: int, total: int) -> None:
    """Say from within a job how far it is; passed on at most twice a second, and the end always."""
    global _told_at
    if _tell is not None and (done >= total or time.monotonic() - _told_at >= 0.5):
        _told_at = time.monotonic()
        _tell(done, total)


@contextlib.contextmanager
def _telling(tell: Callable[[int, int], None]) -> Iterator[None]:
    global _tell
    _tell = tell
    try:
        yield
    finally:
        _tell = None


def _run_here(
    queue: _Queue, function: str, deadline: float | None, watch: Callable[[Advanced], None]
) -> Iterator[Started | Outcome]:
    call = resolve(function)
    while (deadline is None or time.monotonic() < deadline) and (job := queue.next_ready()):
        yield Started(job.id)
        since = time.monotonic()
        with _telling(functools.partial(_pass_on, watch, job.id)):
            reason = _reason(call, job.payload)
        yield Outcome(job.id, "failed" if reason else "done", reason, time.monotonic() - since)


def _pass_on(watch: Callable[[Advanced], None], job: str, done: int, total: int) -> None:
    watch(Advanced(job, done, total))


def _run_in_workers(
    queue: _Queue,
    function: str,
    n_workers: int,
    timeout_s: float | None,
    deadline: float | None,
    watch: Callable[[Advanced], None],
) -> Iterator[Started | Outcome]:
    workers = [_start(function) for _ in range(n_workers)]
    try:
        while True:
            for worker in workers:
                in_time = deadline is None or time.monotonic() < deadline
                if worker.job is None and in_time and (job := queue.next_ready()):
                    worker.job, worker.since = job, time.monotonic()
                    with contextlib.suppress(BrokenPipeError):  # a dead worker shows below as the end of its pipe
                        worker.pipe.send(dict(job.payload))
                    yield Started(job.id)
            busy = [worker for worker in workers if worker.job is not None]
            if not busy:
                return
            patience = None
            if timeout_s is not None:
                patience = max(0.0, min(worker.since for worker in busy) + timeout_s - time.monotonic())
            answered = wait([worker.pipe for worker in busy], timeout=patience)
            for worker in (worker for worker in busy if worker.pipe in answered):
                answer = _answer(worker)
                if isinstance(answer, tuple):
                    assert worker.job is not None
                    watch(Advanced(worker.job.id, *answer))
                    continue
                outcome = _collect(worker, queue, answer)
                if outcome is None or outcome.status == "crashed":
                    workers[workers.index(worker)] = _start(function)
                if outcome is not None:
                    yield outcome
            for worker in busy:
                if worker.job and timeout_s is not None and time.monotonic() - worker.since >= timeout_s:
                    job, worker.job = worker.job, None
                    _stop(worker)
                    workers[workers.index(worker)] = _start(function)
                    yield Outcome(job.id, "timeout", f"took longer than {timeout_s:g} s", timeout_s)
    finally:
        for worker in workers:
            _stop(worker)


def _answer(worker: _Worker) -> str | tuple[int, int] | None:
    """The reason with which a job ended, how far it is, or None where the worker died."""
    try:
        answer: str | tuple[int, int] = worker.pipe.recv()
    except (EOFError, OSError):
        return None
    return answer


def _collect(worker: _Worker, queue: _Queue, reason: str | tuple[int, int] | None) -> Outcome | None:
    """How a job ended; None where its worker died and the job is to be tried again."""
    job, worker.job = worker.job, None
    assert job is not None
    seconds = time.monotonic() - worker.since
    if not isinstance(reason, str):
        worker.process.join(5)
        queue.tries[job.id] = queue.tries.get(job.id, 0) + 1
        if queue.tries[job.id] < 2:
            queue.jobs.insert(0, job)
            return None
        return Outcome(job.id, "crashed", f"the worker died twice (exit code {worker.process.exitcode})", seconds)
    return Outcome(job.id, "failed" if reason else "done", reason, seconds)


def _start(function: str) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)  # must stand before the child imports torch
    try:
        process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        process.start()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    theirs.close()
    return _Worker(process, ours)


def _stop(worker: _Worker) -> None:
    worker.pipe.close()
    if worker.job is not None or worker.process.exitcode is None:
        worker.process.terminate()
    worker.process.join(5)
    if worker.process.exitcode is None:
        worker.process.kill()
        worker.process.join()


def _serve(pipe: Connection, function: str) -> None:
    """A worker's life: calls until the pipe ends (the parent has finished, or was killed)."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the workers
    call = resolve(function)
    with contextlib.suppress(EOFError, OSError):
        while True:
            payload = pipe.recv()
            with _telling(lambda done, total: pipe.send((done, total))):
                reason = _reason(call, payload)
            pipe.send(reason)


def _reason(call: Callable[[Mapping[str, Any]], str], payload: Mapping[str, Any]) -> str:
    """What the function returns; an exception costs its own job only and is the reason of its failure."""
    try:
        return call(payload)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

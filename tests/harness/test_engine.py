"""The engine: order, needs, and what a dying, failing or slow job costs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmark.engine import Job, Outcome, Started, run_jobs

HERE = Path(__file__).parent


def job(name: str, log: Path | None = None, needs: Sequence[str] = (), **what: object) -> Job:
    place = {} if log is None else {"log": str(log)}
    return Job(name, {"name": name, **place, **what}, frozenset(needs))


def outcomes(jobs: Sequence[Job], n_workers: int, **limits: float) -> dict[str, Outcome]:
    """Run to the end; every job must end exactly once."""
    ended = [
        event for event in run_jobs(jobs, "engine_jobs:do", n_workers=n_workers, **limits) if isinstance(event, Outcome)
    ]
    assert sorted(outcome.id for outcome in ended) == sorted(one.id for one in jobs)
    return {outcome.id: outcome for outcome in ended}


def lines(log: Path, what: str) -> list[str]:
    return [line.split()[0] for line in log.read_text().splitlines() if line.split()[1] == what]


@pytest.mark.parametrize("n_workers", [0, 1])
def test_jobs_run_in_their_order_as_their_needs_allow(n_workers: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    jobs = [
        job("late", log, ["a", "b"]),
        job("a", log),
        job("b", log, ["a"]),
        job("c", log),
        job("d", log, ["not here"]),
    ]
    ended = outcomes(jobs, n_workers)
    assert {outcome.status for outcome in ended.values()} == {"done"}
    # one at a time, always the first whose needs are done; a need that no job here makes counts as done
    assert lines(log, "start") == ["a", "b", "late", "c", "d"]


def test_two_workers_start_nothing_before_its_needs_have_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    names = [f"n{number}" for number in range(12)]
    jobs = [job(name, log, names[max(0, number - 3) : number : 2]) for number, name in enumerate(names)]
    outcomes(jobs, 2)
    events = [tuple(line.split()[:2]) for line in log.read_text().splitlines()]
    for one in jobs:
        for need in one.needs:
            assert events.index((need, "end")) < events.index((one.id, "start"))


def test_a_worker_killed_in_mid_job_costs_that_job_one_more_try_and_nothing_else(tmp_path: Path) -> None:
    log = tmp_path / "log"
    jobs = [job("a", log), job("victim", log, what="die once"), job("heir", log, ["victim"]), job("b", log)]
    ended = outcomes(jobs, 2)
    assert {name: outcome.status for name, outcome in ended.items()} == dict.fromkeys(
        ["a", "victim", "heir", "b"], "done"
    )
    assert sorted(lines(log, "start")) == ["a", "b", "heir", "victim", "victim"]
    assert sorted(lines(log, "end")) == ["a", "b", "heir", "victim"]


def test_a_job_that_always_kills_its_worker_is_reported_as_crashed_while_others_go_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    others = [f"other{number}" for number in range(6)]
    jobs = [job("poison", log, what="die"), job("child", log, ["poison"]), job("grandchild", log, ["child"])]
    ended = outcomes([*jobs, *(job(name, log) for name in others)], 2)
    assert ended["poison"].status == "crashed"
    assert "died twice" in ended["poison"].reason
    assert "-9" in ended["poison"].reason
    assert ended["child"] == Outcome("child", "skipped", "needs poison, which did not end well")
    assert ended["grandchild"] == Outcome("grandchild", "skipped", "needs child, which did not end well")
    assert {ended[name].status for name in others} == {"done"}
    assert lines(log, "start").count("poison") == 2
    assert "child" not in lines(log, "start")


@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_failure_keeps_its_reason_and_stops_only_what_needs_it(n_workers: int) -> None:
    jobs = [job("bad", what="fail"), job("worse", what="raise"), job("child", needs=["worse"]), job("fine")]
    ended = outcomes(jobs, n_workers)
    assert {name: (outcome.status, outcome.reason) for name, outcome in ended.items()} == {
        "bad": ("failed", "the model has no weights"),
        "worse": ("failed", "ZeroDivisionError: three galaxies among none"),
        "child": ("skipped", "needs worse, which did not end well"),
        "fine": ("done", ""),
    }


def test_a_job_that_takes_too_long_is_ended_and_the_others_go_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    jobs = [job("slow", log, what="sleep", seconds=600), job("child", log, ["slow"]), job("a", log), job("b", log)]
    since = time.monotonic()
    ended = outcomes(jobs, 1, timeout_s=2.0)
    assert time.monotonic() - since < 60  # not the ten minutes that it asked for
    assert ended["slow"].status == "timeout"
    assert ended["slow"].reason == "took longer than 2 s"
    assert ended["child"].status == "skipped"
    assert (ended["a"].status, ended["b"].status) == ("done", "done")
    assert lines(log, "end") == ["a", "b"]


@pytest.mark.parametrize("n_workers", [0, 1])
def test_after_the_deadline_nothing_is_started_and_the_rest_is_listed(n_workers: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    jobs = [job("first", log, what="sleep", seconds=3), job("second", log), job("third", log, ["second"])]
    ended = outcomes(jobs, n_workers, deadline=time.monotonic() + 2.5)
    # what runs when the time is up comes to its end: its work is kept
    assert {name: outcome.status for name, outcome in ended.items()} == {
        "first": "done",
        "second": "not started",
        "third": "not started",
    }
    assert ended["second"].reason == "the time budget was spent"
    spent = outcomes([job("only", log)], n_workers, deadline=time.monotonic() - 1)
    assert spent["only"].status == "not started"


def test_a_start_is_told_before_its_end() -> None:
    events = list(run_jobs([job("a"), job("b")], "engine_jobs:do", n_workers=0))
    assert [type(event) for event in events] == [Started, Outcome, Started, Outcome]
    assert list(run_jobs([], "engine_jobs:do", n_workers=2)) == []


def test_hundreds_of_jobs_share_two_workers(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ended = outcomes([job(f"n{number}", log) for number in range(400)], 2)
    assert {outcome.status for outcome in ended.values()} == {"done"}
    assert len({line.split()[2] for line in log.read_text().splitlines()}) <= 2


def test_workers_compute_with_one_thread_and_the_environment_of_this_process_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    outcomes([job("a", log, what="tell threads")], 1)
    assert lines(log, "threads=1") == ["a"]
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_closing_the_engine_early_leaves_no_worker_behind() -> None:
    events = run_jobs([job("slow", what="sleep", seconds=600), job("next")], "engine_jobs:do", n_workers=1)
    assert isinstance(next(events), Started)
    events.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


def test_workers_end_by_themselves_when_their_parent_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from benchmark.engine import Job, run_jobs
if __name__ == "__main__":
    payload = {{"name": "a", "log": {str(log)!r}, "what": "sleep", "seconds": 2}}
    list(run_jobs([Job("a", payload), Job("b", {{}}, frozenset("a"))], "engine_jobs:do", n_workers=1))
"""
    script = tmp_path / "parent.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    with subprocess.Popen([sys.executable, str(script)], env=environment) as parent:
        _wait_for(lambda: log.exists() and log.read_text().endswith("\n"))
        worker = int(log.read_text().split()[2])
        parent.send_signal(signal.SIGKILL)
    _wait_for(lambda: not _is_running(worker))
    assert lines(log, "end") == ["a"]  # it finished what it had begun


def _wait_for(condition, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

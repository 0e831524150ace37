"""States that are written while the training goes on: a copy of their time, one at a time, errors that are not lost."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_objective import N, built, config, read, same, untimed
from torch import Tensor

from encoders.training import checkpoint
from encoders.training.checkpoint import latest_step, read_checkpoint, write_checkpoint
from encoders.training.state_writer import StateWriter
from encoders.training.train import train

ALONE = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")  # what the writer's context does
LONG_S = 30.0
"""How long a thread may wait before a test gives up."""


class Gate:
    """Lets states be written only when it is open, and counts how many are under way."""

    def __init__(self, write: Callable[..., Any]) -> None:
        self.write, self.open, self.begun = write, threading.Event(), threading.Event()
        self.under_way, self.most = 0, 0

    def __call__(self, *arguments: Any, **options: Any) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.begun.set()
        assert self.open.wait(LONG_S), "nobody let the state be written"
        self.write(*arguments, **options)
        self.under_way -= 1


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(checkpoint.dcp.save)
    monkeypatch.setattr(checkpoint.dcp, "save", gate)
    yield gate
    gate.open.set()


def state(value: float) -> dict[str, Tensor]:
    return {"a": torch.full((3, 4), value), "b": torch.tensor(value), "c": torch.full((4, 6), value).t()}


def found(folder: Path) -> tuple[float, dict[str, Any]]:
    """The number in all tensors of the latest state, and its facts."""
    tensors = state(float("nan"))
    facts = read_checkpoint(folder, tensors)
    values = {float(value) for tensor in tensors.values() for value in tensor.flatten()}
    assert len(values) == 1
    return values.pop(), facts


def test_a_state_is_that_of_its_step_whatever_happens_while_it_is_written(tmp_path: Path, gate: Gate) -> None:
    tensors, facts = state(1.0), {"rows": [1]}
    with StateWriter(tmp_path) as writer:
        writer.write(1, tensors, facts)
        for tensor in tensors.values():
            tensor.fill_(2.0)
        facts["rows"].append(2)
        assert gate.begun.wait(LONG_S)
        assert latest_step(tmp_path) is None
        writer.check()  # does not wait
        gate.open.set()
    assert found(tmp_path) == (1.0, {"rows": [1]})


def test_the_training_goes_on_while_a_state_is_written_and_one_is_written_at_a_time(tmp_path: Path, gate: Gate) -> None:
    def open_later(done: int, total: int) -> None:
        if done == 12:
            assert gate.begun.is_set()  # since step 7
            assert latest_step(tmp_path) is None
            gate.open.set()

    unbroken, model = built(), built()
    expected = train(unbroken, read, N, config(), seed=0)
    assert untimed(train(model, read, N, config(), seed=0, folder=tmp_path, progress=open_later)) == untimed(expected)
    assert same(unbroken, model)
    assert gate.most == 1
    assert latest_step(tmp_path) == 28


def test_the_next_state_waits_for_the_one_before(tmp_path: Path, gate: Gate) -> None:
    with StateWriter(tmp_path) as writer:
        writer.write(1, state(1.0), {})
        threading.Timer(0.2, gate.open.set).start()
        writer.write(2, state(2.0), {})
        assert latest_step(tmp_path) == 1
        writer.wait()
        assert latest_step(tmp_path) == 2
    assert gate.most == 1


class Full:
    """A disk that is full from some state on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, n_states: int) -> None:
        self.left = n_states
        monkeypatch.setattr(checkpoint, "_replace_text", self._name_the_latest(checkpoint._replace_text))

    def _name_the_latest(self, write: Callable[[Path, str], None]) -> Callable[[Path, str], None]:
        def name(path: Path, text: str) -> None:
            if path.name == "latest":
                if self.left == 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self.left -= 1
            write(path, text)

        return name


@pytest.mark.parametrize("n_states", [0, 2, 3])
def test_a_full_disk_ends_the_training_with_one_line_and_what_is_written_is_taken_up(
    n_states: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    unbroken, resumed = built(), built()
    expected = train(unbroken, read, N, config(), seed=0)
    steps: list[int] = []
    with monkeypatch.context() as patched:
        Full(patched, n_states)
        place = tmp_path / f"step-{7 * (n_states + 1)}"
        with pytest.raises(OSError, match=f"cannot write {place}: No space left on device; free some space") as caught:
            train(built(), read, N, config(), seed=0, folder=tmp_path, progress=lambda done, _: steps.append(done))
    assert len(str(caught.value).splitlines()) == 1
    assert steps[-1] >= 7 * (n_states + 1) - 1
    assert latest_step(tmp_path) == (7 * n_states or None)
    history = train(resumed, read, N, config(), seed=0, folder=tmp_path, resume=True)
    assert same(unbroken, resumed)
    assert untimed(history) == untimed(expected)
    assert capfd.readouterr() == ("", "")


def test_what_fails_is_told_at_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Full(monkeypatch, 0)
    with pytest.raises(OSError, match="No space left"), StateWriter(tmp_path) as writer:  # noqa: PT012
        writer.write(1, state(1.0), {})
        writer._pool.shutdown()
        writer.check()
        pytest.fail("nothing was told")


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "state"

    def replace_folder(done: int, total: int) -> None:
        if done == 3:
            shutil.rmtree(folder)
            folder.write_text("no folder")

    with pytest.raises(OSError, match=r"step-7: Not a directory; make the folder writable or choose another one and"):
        train(built(), read, N, config(), seed=0, folder=folder, progress=replace_folder)


@ALONE
def test_an_error_of_the_tensors_writer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)  # what torch calls for each of its files
    with pytest.raises(OSError, match=r"cannot write .*step-1: No space left on device; free some space") as caught:
        write_checkpoint(tmp_path, 1, state(1.0), {})
    assert len(str(caught.value).splitlines()) == 1


def test_an_error_of_the_disk_is_told_beside_that_of_the_training(tmp_path: Path, gate: Gate, monkeypatch: Any) -> None:
    Full(monkeypatch, 0)

    def stop(done: int, total: int) -> None:
        if done == 9:
            gate.open.set()
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped") as caught:
        train(built(), read, N, config(), seed=0, folder=tmp_path, progress=stop)
    assert len(caught.value.__notes__) == 1
    assert "step-7: No space left on device" in caught.value.__notes__[0]


class Died(BaseException):
    """Stands for a kill between two operations on files."""


@ALONE
def test_whatever_operation_a_kill_comes_before_a_whole_state_is_there(tmp_path: Path, monkeypatch: Any) -> None:
    left = 0

    def fragile(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Died
            return operation(*arguments, **options)

        return call

    ends: list[float] = []
    for n_operations in range(100):
        folder = tmp_path / str(n_operations)
        for step in (1, 2):
            write_checkpoint(folder, step, state(float(step)), {"step": step})
        left = n_operations
        with monkeypatch.context() as patched:
            for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "mkdir"), (shutil, "rmtree")):
                patched.setattr(owner, name, fragile(getattr(owner, name)))
            try:
                write_checkpoint(folder, 3, state(3.0), {"step": 3})
                break
            except (Died, OSError):
                pass
        value, facts = found(folder)
        assert facts == {"step": int(value)}
        ends.append(value)
        write_checkpoint(folder, 4, state(4.0), {"step": 4})  # nothing that was left hinders the next one
        assert found(folder)[0] == 4.0
    assert 8 <= len(ends) < 100
    assert ends == sorted(ends)
    assert set(ends) == {2.0, 3.0}

"""The state of a training on disk: written whole or not at all, two kept, readable after a kill at any time.

A folder holds ``config.json`` (what was asked for), ``step-N/`` (tensors by ``torch.distributed.checkpoint``, which
several processes write and any number of them reads, and ``facts.json``) and ``latest``, which names the step to go on
from. A step appears under its name only when it is complete. These folders are for going on with a training of one's
own: torch reads their index with pickle, so never load one from a stranger. Weights for others are safetensors.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException

__all__ = ["latest_step", "read_checkpoint", "require_same_training", "write_checkpoint"]

_CONFIG, _LATEST, _FACTS = "config.json", "latest", "facts.json"
_KEPT = 2


def write_checkpoint(
    folder: Path,
    step: int,
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    group: dist.ProcessGroup | None = None,
) -> None:
    """Write the state after ``step`` steps; called by every process of a group, with the same arguments.

    Parameters
    ----------
    folder : of the training.
    step : steps done.
    tensors : by name; they are not changed.
    facts : what JSON can hold: floats come back digit for digit.
    group : the processes, which talk over CPUs; None for all of them.

    Raises
    ------
    OSError
        In every process, if the disk is full or the folder cannot be written; what was written before stays readable.
    """
    temporary, place = folder / f".step-{step}.tmp", folder / f"step-{step}"

    def prepare() -> None:
        for left_over in folder.glob(".*.tmp"):
            _remove(left_over)
        temporary.mkdir(parents=True)

    def publish() -> None:
        _write_text(temporary / _FACTS, json.dumps(dict(facts)))
        _remove(place)  # of a run that was killed before it could name it the latest
        temporary.replace(place)
        _sync_folder(folder)
        _replace_text(folder / _LATEST, str(step))
        for old in sorted(folder.glob("step-*"), key=_step_of)[:-_KEPT]:
            _remove(old)

    try:
        _first_process(prepare, group)
        dcp.save(dict(tensors), checkpoint_id=temporary, process_group=group)
        _first_process(publish, group)
    except (OSError, CheckpointException) as error:
        raise _one_line(place, error) from error


def read_checkpoint(folder: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Fill ``tensors`` in place from the latest state of a folder; returns its facts.

    Raises
    ------
    ValueError
        If the folder holds no state, or one that is damaged or of another network.
    """
    step = latest_step(folder)
    if step is None:
        raise ValueError(f"{folder}: no state of a training there")
    place = folder / f"step-{step}"
    try:
        with _quietly():
            dcp.load(dict(tensors), checkpoint_id=place)
        facts: dict[str, Any] = json.loads((place / _FACTS).read_text())
    except (Exception, CheckpointException) as error:  # torch raises what its readers raise, from pickle to zip
        raise ValueError(
            f"{place}: not a readable state of this training ({type(error).__name__}); delete {folder} and start again"
        ) from error
    return facts


def latest_step(folder: Path) -> int | None:
    """Steps that were done at the latest complete state of a folder; None where there is none."""
    try:
        return int((folder / _LATEST).read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{folder / _LATEST}: not a number of steps; delete {folder} and start again") from error


def require_same_training(folder: Path, config: Mapping[str, Any]) -> None:
    """Note ``config`` in a fresh folder, or compare it with what a started training was asked for.

    Raises
    ------
    ValueError
        If a setting differs: a training that changes under way is neither of the two.
    OSError
        If the folder cannot be written.
    """
    wanted: dict[str, Any] = json.loads(json.dumps(dict(config)))
    path = folder / _CONFIG

    def note() -> None:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _replace_text(path, json.dumps(wanted, indent=1, sort_keys=True))

    try:
        _first_process(note)
    except OSError as error:
        raise _one_line(path, error) from error
    found = json.loads(path.read_text())
    changed = [name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name)]
    if changed:
        differences = ", ".join(f"{name} {found.get(name)}, now {wanted.get(name)}" for name in changed)
        raise ValueError(f"{folder} was started with {differences}: go on with the same settings, or elsewhere")


def _first_process(work: Callable[[], None], group: dist.ProcessGroup | None = None) -> None:
    """Let the first process do something while the others wait; they fail with it."""
    failure: list[OSError | None] = [None]
    if not dist.is_initialized() or dist.get_rank() == 0:
        try:
            work()
        except OSError as error:
            failure[0] = error
    if dist.is_initialized():
        dist.broadcast_object_list(failure, src=0, group=group)
    if failure[0]:
        raise failure.pop()  # type: ignore[misc]


def _one_line(place: Path, error: BaseException) -> OSError:
    """What hindered a state from being written, and what to do."""
    cause = next(iter(error.failures.values()))[0] if isinstance(error, CheckpointException) else error
    full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "free some space" if full else "make the folder writable or choose another one"
    reason = (isinstance(cause, OSError) and cause.strerror) or f"{type(cause).__name__}: {cause}".splitlines()[0]
    return OSError(f"cannot write {place}: {reason}; {hint} and run again, what is done is kept")


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without torch's notices that a single process reads for itself, which is meant, and its log of what it raises."""
    silent_up_to = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(silent_up_to)


def _step_of(place: Path) -> int:
    return int(place.name.removeprefix("step-"))


def _write_text(path: Path, text: str) -> None:
    with path.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _replace_text(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    _write_text(temporary, text)
    temporary.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

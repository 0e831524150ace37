"""Writing the states of a training while it goes on: a copy is made at once, a thread brings it to the disk."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from encoders.training.checkpoint import write_checkpoint

__all__ = ["StateWriter"]


class StateWriter:
    """States of a training into a folder, one at a time; a context in which the training runs.

    Every process of a group has one and writes the same steps. Processes talk to each other over a group of their own,
    so that no message of a state comes between those of the gradients.

    Parameters
    ----------
    folder : of the training.

    Raises
    ------
    OSError
        By `check`, by the next `write` or at the end, if a state could not be written; see `write_checkpoint`.

    Notes
    -----
    The copy stays in memory from the first state to the end: weights, averages and moments once more, on the host.
    ``torch.distributed.checkpoint.async_save`` copies and writes in a thread too, but ends where tensors are written: a
    state has then to be moved to its name and named the latest, which here the same thread does.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copies: dict[str, Tensor] = {}
        self._writing: Future[None] | None = None

    def __enter__(self) -> StateWriter:
        self._group = dist.new_group(backend="gloo") if dist.is_initialized() else None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state")
        self._filters = warnings.catch_warnings()  # which are those of all threads: the writing one leaves them alone
        self._filters.__enter__()
        warnings.filterwarnings("ignore", "torch.distributed is disabled, unavailable or uninitialized")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the state that is being written, also where the training was broken off."""
        try:
            self.wait()
        except Exception as failure:
            if error is None:
                raise
            error.add_note(str(failure))
        finally:
            self._pool.shutdown()
            self._filters.__exit__(None, None, None)

    def write(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Copy the state after ``step`` steps and start to write it, once the one before is written."""
        self.wait()
        facts = json.loads(json.dumps(dict(facts)))  # the history goes on
        copied = self._copy(tensors)
        self._writing = self._pool.submit(self._write, step, facts, copied)

    def check(self) -> None:
        """Raise what went wrong since the last call, without waiting.

        Several processes learn of it at the next state or at the end, where all of them do and none waits for another.
        """
        if self._group is None and self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Wait until what was given is on the disk."""
        writing, self._writing = self._writing, None
        if writing is not None:
            try:
                writing.result()
            finally:
                del writing  # else error, frame and this hold each other, and with them networks and processes' links

    def _copy(self, tensors: Mapping[str, Tensor]) -> torch.cuda.Event | None:
        """Copy to the host; on a GPU behind the work that was given to it, without waiting for either."""
        on_gpu = False
        for name, tensor in tensors.items():
            if name not in self._copies:
                self._copies[name] = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
            self._copies[name].copy_(tensor, non_blocking=True)
            on_gpu |= tensor.is_cuda
        if not on_gpu:
            return None
        copied = torch.cuda.Event()
        copied.record()
        return copied

    def _write(self, step: int, facts: Mapping[str, Any], copied: torch.cuda.Event | None) -> None:
        if copied is not None:
            copied.synchronize()
        write_checkpoint(self._folder, step, self._copies, facts, self._group)

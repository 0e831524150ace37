"""Trainings in processes of their own: ``kill FOLDER`` dies in mid-write, ``pair FOLDER RANK`` is one of two."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tiny_objective import N, built, config, read, untimed

from encoders.training import checkpoint
from encoders.training.train import train


def die_in_the_third_state(folder: Path) -> None:
    written = 0
    write = checkpoint.dcp.save

    def save(*arguments: Any, **options: Any) -> None:
        nonlocal written
        written += 1
        write(*arguments, **options)
        if written == 3:
            (part,) = Path(options["checkpoint_id"]).glob("*.distcp")
            part.write_bytes(part.read_bytes()[:100])
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.dcp.save = save  # type: ignore[assignment]
    train(built(), read, N, config(), seed=0, folder=folder)


def no_space_for_the_latest(path: Path, text: str) -> None:
    if path.name == "latest":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    path.write_text(text)


def train_as_one_of_two(folder: Path, rank: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    try:
        train(built(), read, N, config(batch_size=15), seed=0)
    except ValueError as error:
        (folder / "refused.txt").write_text(str(error))
    objective = built(noise=0.0, dropout=0.0)
    history = train(objective, read, N, config(), seed=0, folder=folder / "state")
    if rank == 0:
        checkpoint._replace_text = no_space_for_the_latest
    try:
        train(built(), read, N, config(), seed=0, folder=folder / "full")
    except OSError as error:
        (folder / f"full-{rank}.txt").write_text(str(error))
    torch.save({"objective": objective.state_dict(), "rows": untimed(history)}, folder / f"rank-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "kill":
        die_in_the_third_state(Path(sys.argv[2]))
    else:
        train_as_one_of_two(Path(sys.argv[2]), int(sys.argv[3]))

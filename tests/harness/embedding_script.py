"""An embedding in a process of its own that dies when a part is done and the next one is on its way to the disk."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from benchmark.config import RunConfig
from benchmark.data import load_survey
from benchmark.models import model_facts, open_checkpoint
from benchmark.pretraining import embed
from benchmark.registry import MODELS, load_plugin

PART_ROWS = 64


def die_at(wanted: int, done: int) -> None:
    if done >= wanted:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    torch.set_num_threads(1)
    plugin, survey, weights, out, wanted = sys.argv[1:]
    load_plugin(Path(plugin))
    card = MODELS["Trained"]
    checkpoint = open_checkpoint(card, Path(weights))
    facts = model_facts(card, RunConfig(preset="smoke"), None, checkpoint)
    embed(
        facts, load_survey(Path(survey)), Path(out), weights=checkpoint, part_rows=PART_ROWS,
        embedding=lambda done, total: die_at(int(wanted), done),
    )  # fmt: skip

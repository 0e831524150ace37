"""Self-supervised training beside a plain version of it, in one process on one thread: ``tox -e benchmark``.

Times are CPU seconds of this process. ``extra_info`` holds the median of the peer's time over ours and the ratio that
is wanted; no time is asserted. Meant for OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain_astrodino import PlainTraining

from benchmark.data import load_survey
from benchmark.data.flux import flux_images
from benchmark.registry import MODELS, SURVEYS, resolve
from encoders.randomness import seeded_torch
from encoders.training.precision import compute_dtype
from encoders.training.train import train

PAIRS = 3
N_STEPS = 12


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time that a call takes in this process."""
    since = time.process_time()
    work()
    return time.process_time() - since


def note(benchmark: Any, pairs: list[tuple[float, float]], n_samples: int, wanted: float) -> None:
    """Keep the ratios of (ours, peer) and the samples a CPU second."""
    ratios = [peer / ours for ours, peer in pairs]
    benchmark.extra_info["peer_over_ours"] = round(statistics.median(ratios), 2)
    benchmark.extra_info["range"] = [round(min(ratios), 2), round(max(ratios), 2)]
    benchmark.extra_info["samples_per_cpu_s"] = round(n_samples / statistics.median(ours for ours, _ in pairs), 1)
    benchmark.extra_info["wanted"] = wanted


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Images of the training galaxies of a small simulated survey, at full resolution, on disk."""
    card = SURVEYS["simulated"]
    folder: Path = tmp_path_factory.mktemp("performance") / "survey"
    resolve(card.build)(folder, n_galaxies=300, seed=0, **card.options)
    survey = load_survey(folder)
    return flux_images(survey, survey.rows("train"))


@pytest.mark.parametrize(("preset", "precision"), [("laptop", "auto"), ("laptop", "float32"), ("smoke", "auto")])
def test_the_whole_training_of_astrodino_beside_a_plain_one(
    benchmark, galaxies: Any, preset: str, precision: str
) -> None:
    """Reading, views, both towers, losses, optimiser, teacher, history; networks, crops and batch of the preset.

    The plain version computes in float32. ``auto`` is what a run takes: bfloat16 where the CPU multiplies it itself.
    """
    card = MODELS["AstroDINO"]
    options: dict[str, Any] = {**card.options[preset], "n_steps": N_STEPS, "precision": precision}
    options |= {"balance": "centre", "koleo_weight": 0.1, "local_contains_centre": False}  # what the plain one computes

    def objective() -> tuple[Any, Any]:
        encoder = resolve(card.factory)(**options)
        with seeded_torch(0):
            return encoder, encoder._build(galaxies)

    encoder, ours = objective()
    plain = PlainTraining(*objective(), galaxies)
    read = encoder._training_reader(galaxies)
    read(np.arange(len(galaxies)))  # the first pass reads and keeps them all; a run has hundreds of passes
    config = encoder.training

    def train_ours() -> None:
        train(ours, read, len(galaxies), config, seed=0)

    def train_plainly() -> None:
        with seeded_torch(0):
            for step in range(N_STEPS):
                plain.step(step)

    benchmark.pedantic(train_ours, rounds=1, warmup_rounds=1)
    train_plainly()
    pairs = [(cpu_seconds(train_ours), cpu_seconds(train_plainly)) for _ in range(PAIRS)]
    note(benchmark, pairs, N_STEPS * config.batch_size, 1.5)
    benchmark.extra_info["precision"] = str(compute_dtype(config.precision, torch.device("cpu")))

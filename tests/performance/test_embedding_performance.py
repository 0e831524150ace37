"""Embedding from files beside the networks' forward passes alone, on one thread: ``tox -e benchmark``.

Times are CPU seconds of this process. ``extra_info`` holds the rate of the whole over that of the forward passes on
batches that lie in memory, and over a plain loop that keeps what it prepared; no time is asserted. Meant for
OMP_NUM_THREADS=1, where reading and computing share a core: on a GPU they go on at the same time.
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

from benchmark.registry import MODELS, resolve
from encoders.reading.images import ImageFacts
from encoders.reading.prepared_galaxies import PreparedGalaxies

N, PAIRS = 512, 3


class Stored:
    """Galaxies in a file at full resolution."""

    def __init__(self, path: Path, values: np.ndarray, **facts: Any) -> None:
        np.save(path, values)
        self.values = np.load(path, mmap_mode="r")
        self.shape = values.shape
        self.__dict__ |= facts

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return np.asarray(self.values[rows], dtype=np.float32)


def images(path: Path) -> Stored:
    flux = np.random.default_rng(0).normal(0.01, 0.01, (N, 3, 152, 152)).astype(np.float16)
    return Stored(path, flux, facts=ImageFacts("nanomaggy", ("g", "r", "z"), 0.262))


def spectra(path: Path) -> Stored:
    rng = np.random.default_rng(1)
    values = np.stack([rng.normal(1, 0.3, (N, 7781)), rng.uniform(0, 2, (N, 7781))], axis=1)
    return Stored(path, values.astype(np.float32))


def cpu_seconds(work: Callable[[], object]) -> float:
    since = time.process_time()
    work()
    return time.process_time() - since


@pytest.mark.parametrize(("name", "stored"), [("AstroDINO", images), ("SpecFormer", spectra)])
def test_embedding_from_files_beside_the_forward_passes_alone(
    benchmark: Any, name: str, stored: Callable[[Path], Stored], tmp_path: Path
) -> None:
    """The network of the laptop preset with weights as drawn; rates do not depend on them."""
    card, galaxies = MODELS[name], stored(tmp_path / "galaxies.npy")
    untrained: dict[str, Any] = {"n_steps": 0} | ({"n_warmup": 0} if "n_warmup" in card.options["laptop"] else {})
    model = resolve(card.factory)(**{**card.options["laptop"], **untrained})
    model.fit(galaxies, seed=0)
    parts = [np.arange(start, start + 256) for start in range(0, N, 256)]
    read = PreparedGalaxies(galaxies, model._prepare(galaxies), keep=False)
    batches = [read(rows) for rows in parts]

    def forward() -> None:
        with torch.inference_mode():
            for batch in batches:
                model._embed(batch)

    def plainly() -> None:
        keeping = PreparedGalaxies(galaxies, model._prepare(galaxies), keep=True)
        with torch.inference_mode():
            np.concatenate([model._embed(keeping(rows)).numpy() for rows in parts])

    benchmark.pedantic(model.embed, args=(galaxies,), rounds=1, warmup_rounds=1)
    forward()
    plainly()
    found = [[cpu_seconds(work) for work in (lambda: model.embed(galaxies), forward, plainly)] for _ in range(PAIRS)]
    for place, what, wanted in ((1, "forward", 0.9), (2, "plain", 1.0)):
        ratios = sorted(times[place] / times[0] for times in found)
        benchmark.extra_info[f"rate_over_{what}"] = round(statistics.median(ratios), 3)
        benchmark.extra_info[f"rate_over_{what}_range"] = [round(ratios[0], 3), round(ratios[-1], 3)]
        benchmark.extra_info[f"wanted_{what}"] = wanted
    benchmark.extra_info["galaxies_per_cpu_s"] = round(N / statistics.median(times[0] for times in found), 1)

"""A tiny survey, plugin models and the command line as a process, shared by the tests of the harness.

Imports leave traces: scikit-learn's moves the global generator, torch's first optimiser imports sympy, scipy adds
warning filters. All of them happen here, so that no test is blamed for them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sympy  # noqa: F401

from benchmark.contracts import Target
from benchmark.data import Survey, SurveyInfo, write_survey
from benchmark.registry import HEADS, MODELS, SURVEYS, TASKS, resolve

for address in (
    *(card.factory for card in MODELS),
    *(card.factory for card in HEADS),
    *(card.score for card in TASKS),
    *(card.build for card in SURVEYS),
):
    resolve(address)

ROOT = Path(__file__).parents[2]
PLUGINS = Path(__file__).parent / "plugins"
N_GALAXIES = 400
TARGETS = (
    Target("z", low=0.0),
    Target("log10_mstar", unit="dex(Msun)", log_base="10"),
    Target("log10_sfr", unit="dex(Msun/yr)", log_base="10", joint=False),
)


def tiny_catalogue(n: int = N_GALAXIES) -> pd.DataFrame:
    """Galaxies whose three targets follow their magnitudes, with gaps in one band and one target."""
    rng = np.random.default_rng(21)
    z = rng.uniform(0.05, 0.6, n)
    mass = rng.normal(10.5, 0.4, n)
    table = pd.DataFrame({"target_id": rng.permutation(5_000_000_000_000_000_000 + 7 * np.arange(n))})
    for number, band in enumerate("grz"):
        table[f"mag_{band}"] = 20 + (5 - number) * z - 1.5 * (mass - 10.5) + rng.normal(0, 0.1, n)
    table["z"], table["log10_mstar"] = z, mass
    table["log10_sfr"] = mass - 10 + rng.normal(0, 0.2, n)
    table.loc[rng.random(n) < 0.1, "log10_sfr"] = np.nan
    table.loc[rng.random(n) < 0.05, "mag_z"] = np.nan
    return table


def write_tiny(folder: Path, table: pd.DataFrame | None = None, name: str = "tiny", split_rule: str = "hash") -> Survey:
    """A photometry survey in ``folder``."""
    info = SurveyInfo(name=name, version="1", targets=TARGETS, photometry_bands=("g", "r", "z"), split_rule=split_rule)
    return write_survey(folder, info, tiny_catalogue() if table is None else table)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """400 galaxies with g, r, z magnitudes; read only."""
    return write_tiny(tmp_path_factory.mktemp("surveys") / "tiny")


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten after it, and so are the modules of its plugins."""
    for registry in (MODELS, TASKS):
        monkeypatch.setattr(registry, "_entries", {entry.name: entry for entry in registry})
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").suffix == ".py" and "." not in name:
            del sys.modules[name]


CommandLine = Callable[..., "subprocess.CompletedProcess[str]"]


def cli_environment() -> dict[str, str]:
    """The environment of a command: one thread, and no terminal colours."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def command_line(tmp_path: Path) -> CommandLine:
    """``python -m benchmark ...`` as a process of its own, in the test's folder."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "benchmark", *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env=cli_environment(), check=False)

    return call

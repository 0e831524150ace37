"""A tiny survey for the tests of harness and command line, and the command line's environment.

Imports leave traces: scikit-learn's moves the global generator, torch's first optimiser imports sympy, scipy adds
warning filters. All of them happen here, at collection, so that no test is blamed for them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import sympy  # noqa: F401

from benchmark.contracts import Target
from benchmark.data import Survey, SurveyInfo, write_survey
from benchmark.registry import HEADS, MODELS, SURVEYS, TASKS, resolve

__all__ = ["PLUGINS", "ROOT", "TARGETS", "CommandLine", "cli_environment", "tiny_catalogue", "write_tiny"]

for address in (
    *(card.factory for card in MODELS),
    *(card.factory for card in HEADS),
    *(card.score for card in TASKS),
    *(card.build for card in SURVEYS),
):
    resolve(address)

ROOT = Path(__file__).parents[1]
PLUGINS = Path(__file__).parent / "harness" / "plugins"

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
"""``python -m benchmark ...`` as a process of its own."""

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


def cli_environment() -> dict[str, str]:
    """The environment of a command: one thread, and no terminal colours."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}

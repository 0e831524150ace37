"""A small survey with photometry, targets and images, written once for all tests of the data package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.contracts import Target
from benchmark.data import Survey, SurveyInfo, write_survey

N_GALAXIES = 60


@pytest.fixture
def info() -> SurveyInfo:
    return SurveyInfo(
        name="toy",
        version="1",
        targets=(
            Target("z", provenance="truth", low=0.0),
            Target("log10_mstar", unit="dex(Msun)", log_base="10", ranked=False, joint=False),
        ),
        photometry_bands=("g", "r", "z"),
        image_bands=("g", "r", "z"),
        image_unit="nanomaggy",
        pixel_scale_arcsec=0.262,
        licence='says "BSD"\n',
        facts={"seed": 3, "area_deg2": 1.5, "deep": False, "note": "ünïcode \\ \x7f"},
    )


@pytest.fixture
def catalogue() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    table = pd.DataFrame({"target_id": rng.permutation(10**18 + np.arange(N_GALAXIES))})
    table["z"] = rng.uniform(0.01, 1.0, N_GALAXIES)
    table["log10_mstar"] = rng.normal(10.5, 0.5, N_GALAXIES)
    table.loc[[3, 4], "log10_mstar"] = np.nan
    for band in ("g", "r", "z"):
        table[f"mag_{band}"] = rng.normal(19.0, 1.0, N_GALAXIES)
    table["ra"] = rng.uniform(0.0, 360.0, N_GALAXIES)
    table["dec"] = rng.uniform(-80.0, 80.0, N_GALAXIES)
    return table


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(12).normal(0.05, 0.05, (N_GALAXIES, 3, 8, 6)).astype(np.float32)


@pytest.fixture
def survey(tmp_path: Path, info: SurveyInfo, catalogue: pd.DataFrame, images: np.ndarray) -> Survey:
    return write_survey(tmp_path / "toy", info, catalogue, images=images)

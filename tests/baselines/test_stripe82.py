"""Photometric redshifts of real galaxies: SDSS Stripe 82, split by a hash of the row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import r2_score

from baselines import Constant, GradientBoosting, PhotometryRegressor
from encoders.row_order import content_keys

pytestmark = pytest.mark.real_data
Split = tuple[NDArray[np.float32], NDArray[np.float64]]


@pytest.fixture(scope="module")
def stripe82(real_data: Path) -> dict[str, Split]:
    """Magnitudes g, r, i, z and redshift of 8,000 galaxies: 70 % train, 10 % validation, 20 % test."""
    table = pd.read_csv(real_data / "photoz_catalogues" / "stripe82_galaxies.csv.gz").to_numpy(np.float64)
    table = table[np.argsort(content_keys(table, 0))[:8000]]
    part = content_keys(table, 1) % 10
    rows = {"train": part < 7, "validation": part == 7, "test": part > 7}
    return {name: (table[chosen, 1:].astype(np.float32), table[chosen, :1]) for name, chosen in rows.items()}


def r2(model, data: dict[str, Split]) -> float:
    model.fit(*data["train"], validation=data["validation"], seed=0)
    return r2_score(data["test"][1], model.predict(data["test"][0]))


def test_boosting_is_not_behind_plain_scikit_learn(stripe82: dict[str, Split]) -> None:
    plain = HistGradientBoostingRegressor(random_state=0).fit(stripe82["train"][0], stripe82["train"][1][:, 0])
    reference = r2_score(stripe82["test"][1], plain.predict(stripe82["test"][0]))
    score = r2(GradientBoosting(), stripe82)
    assert score > reference - 0.03  # the suite's promise; colours make it better by about .02
    assert score > 0.90


def test_the_networks_are_near_boosting_and_colours_help(stripe82: dict[str, Split]) -> None:
    ours = r2(PhotometryRegressor(epochs=40), stripe82)
    published = r2(
        PhotometryRegressor(colours=False, shared_scaling=True, learning_rate=5e-4, epochs=40, cosine=False), stripe82
    )
    assert ours > 0.91
    assert published > 0.88
    assert ours > published


def test_the_constant_is_at_the_floor(stripe82: dict[str, Split]) -> None:
    assert -0.01 < r2(Constant(), stripe82) <= 0

"""Fixtures of every test: nothing global may be left changed, real data is asked for by name."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# imports that leave traces are made here, so that no test is blamed for them: scikit-learn's and rich's move the global
# generator, torch's first optimiser imports sympy, which adds warning filters, as astropy.table does
import astropy.table  # noqa: F401
import numpy as np
import pytest
import rich.console  # noqa: F401
import sklearn.ensemble  # noqa: F401
import sympy  # noqa: F401
import torch
from tiny_survey import write_tiny

from benchmark.data import Survey

torch.set_num_threads(1)  # two torch threads on two busy cores are far slower than one


def _generators() -> tuple[object, ...]:
    """States of the global generators; numpy's array changes every 624 draws only, its position at each."""
    legacy: Any = np.random.get_state()  # noqa: NPY002
    return random.getstate(), legacy[1].tobytes(), *legacy[2:], torch.get_rng_state().numpy().tobytes()


@pytest.fixture(autouse=True)
def _no_global_state_is_left_changed() -> Iterator[None]:
    before = _generators()
    dtype, filters = torch.get_default_dtype(), list(warnings.filters)
    yield
    assert _generators() == before, "the test moved a global random generator; pass a seed or a generator instead"
    assert torch.get_default_dtype() == dtype, "the test left another default dtype behind"
    assert list(warnings.filters) == filters, "the test left other warning filters behind"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real survey files; tests that need it are skipped, with the reason, where it is not set."""
    folder = os.environ.get("GALAXYBENCH_REAL_DATA")
    if not folder:
        pytest.skip("GALAXYBENCH_REAL_DATA is not set: the real survey files are not at hand")
    path = Path(folder)
    assert path.is_dir(), f"GALAXYBENCH_REAL_DATA={folder} is not a folder"
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """400 galaxies with g, r, z magnitudes and three targets that follow them; read only."""
    return write_tiny(tmp_path_factory.mktemp("surveys") / "tiny")

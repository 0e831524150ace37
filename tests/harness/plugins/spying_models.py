"""Models that write down which galaxies they were shown, and models that fail in every way; loaded as a plugin.

A galaxy is known by its first magnitude, which the survey of these tests sets to the galaxy's number.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark import ModelCard, register_model
from benchmark.contracts import Probe

LOG = "GALAXYBENCH_TEST_LOG"


def note(what: str, inputs: Any, target: NDArray | None = None) -> None:
    """Append one line: the numbers of the galaxies, and their first target."""
    if LOG not in os.environ:
        return
    entry: dict[str, Any] = {"what": what, "galaxies": np.asarray(inputs[:])[:, 0].astype(int).tolist()}
    if target is not None:
        entry["target"] = target[:, 0].tolist()
    with Path(os.environ[LOG]).open("a") as stream:
        stream.write(json.dumps(entry) + "\n")


class Spy:
    """Knows the redshift exactly: a thousandth of the galaxy's number."""

    def __init__(self) -> None:
        self._n_targets = 0

    def fit(self, inputs: Any, target: NDArray, *, validation: tuple[Any, NDArray], seed: int) -> None:
        note("fit", inputs, target)
        note("validation", *validation)
        self._n_targets = target.shape[1]

    def predict(self, inputs: Any) -> NDArray[np.float64]:
        note("predict", inputs)
        z = np.asarray(inputs[:])[:, :1].astype(np.float64) / 1000
        return np.tile(z, (1, self._n_targets))

    def context(self, inputs: Any) -> NDArray[np.float32]:
        note("context", inputs)
        return np.asarray(inputs[:])[:, :1]


class SpyEncoder:
    """The magnitude itself as embedding."""

    def fit(self, inputs: Any, *, seed: int) -> None:
        note("encoder fit", inputs)

    def embed(self, inputs: Any) -> NDArray[np.float32]:
        note("embed", inputs)
        return np.asarray(inputs[:])[:, :1]

    def state(self) -> dict[str, NDArray]:
        return {"nothing": np.zeros(1)}

    def load_state(self, state: Mapping[str, NDArray]) -> None:
        assert set(state) == {"nothing"}


class NaNPredictions(Spy):
    def predict(self, inputs: Any) -> NDArray[np.float64]:
        out = super().predict(inputs)
        out[2, 0] = np.nan
        return out


class OneRowShort(Spy):
    def predict(self, inputs: Any) -> NDArray[np.float64]:
        return super().predict(inputs)[1:]


class Raising(Spy):
    def fit(self, inputs: Any, target: NDArray, *, validation: tuple[Any, NDArray], seed: int) -> None:
        raise ZeroDivisionError("three galaxies among none")


class Dying(Spy):
    def fit(self, inputs: Any, target: NDArray, *, validation: tuple[Any, NDArray], seed: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Sleeping(Spy):
    """Slow, so that a run can be killed in the middle."""

    def fit(self, inputs: Any, target: NDArray, *, validation: tuple[Any, NDArray], seed: int) -> None:
        super().fit(inputs, target, validation=validation, seed=seed)
        time.sleep(0.5)


class FlatEmbedding(SpyEncoder):
    def embed(self, inputs: Any) -> NDArray[np.float32]:
        return super().embed(inputs)[:, 0]


for model in (Spy, NaNPredictions, OneRowShort, Raising, Dying, Sleeping):
    name = model.__name__
    register_model(
        ModelCard(name, "photometry", f"spying_models:{name}", "supervised", ("supervised", "flow"), "a spy")
    )
for encoder, fitted in ((SpyEncoder, True), (FlatEmbedding, False)):
    name = encoder.__name__
    probes: tuple[Probe, ...] = ("knn", "linear", "flow")
    register_model(ModelCard(name, "photometry", f"spying_models:{name}", "encoder", probes, "a spy", fitted=fitted))

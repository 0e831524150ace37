"""Models that break one promise each; loaded as a plugin. A model's card says in ``notes`` which check must fail."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark import ModelCard, register_model


class Honest:
    """An encoder that keeps every promise: colours of the images, projected."""

    def fit(self, inputs: Any, *, seed: int) -> None:
        self.weights = np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32)

    def embed(self, inputs: Any) -> NDArray[np.float32]:
        images = inputs[:]
        if not np.isfinite(images).all():
            raise ValueError("an image holds NaN pixels")
        return self.project(images.mean(axis=(2, 3)))

    def project(self, colours: NDArray[np.float32]) -> NDArray[np.float32]:
        return (colours[:, :, None] * self.weights).sum(axis=1)

    def state(self) -> dict[str, NDArray]:
        return {"weights": self.weights}

    def load_state(self, state: Mapping[str, NDArray]) -> None:
        self.weights = state["weights"]


class WrongShape(Honest):
    def embed(self, inputs: Any) -> NDArray[np.float32]:
        return super().embed(inputs)[:, :, None]


class WrongType(Honest):
    def embed(self, inputs: Any) -> NDArray[np.float32]:
        return super().embed(inputs).astype(np.float64)  # type: ignore[return-value]


class SomeNaN(Honest):
    def project(self, colours: NDArray[np.float32]) -> NDArray[np.float32]:
        out = super().project(colours)
        return np.where(out > np.median(out), np.float32(np.nan), out)


class BatchDependent(Honest):
    def project(self, colours: NDArray[np.float32]) -> NDArray[np.float32]:
        return super().project(colours - colours.mean(axis=0))


class OrderDependent(Honest):
    def project(self, colours: NDArray[np.float32]) -> NDArray[np.float32]:
        return super().project(colours) + np.arange(len(colours), dtype=np.float32)[:, None]


class Unseeded(Honest):
    def fit(self, inputs: Any, *, seed: int) -> None:
        super().fit(inputs, seed=np.random.SeedSequence().entropy % 2**32)  # type: ignore[operator]


class Dropping(Honest):
    """As a network that was left in training mode."""

    def project(self, colours: NDArray[np.float32]) -> NDArray[np.float32]:
        return super().project(colours * np.random.default_rng().integers(0, 2, colours.shape))


class Forgetful(Honest):
    def state(self) -> dict[str, NDArray]:
        return {"weights": np.zeros_like(self.weights)}


class Blind(Honest):
    def embed(self, inputs: Any) -> NDArray[np.float32]:
        return self.project(np.nan_to_num(inputs[:]).mean(axis=(2, 3)))


class Unclear(Honest):
    def embed(self, inputs: Any) -> NDArray[np.float32]:
        if np.isnan(inputs[:]).any():
            raise ValueError("bad input")
        return super().embed(inputs)


class Global(Honest):
    def fit(self, inputs: Any, *, seed: int) -> None:
        random.random()
        np.random.normal()  # noqa: NPY002
        super().fit(inputs, seed=seed)


class ArraysOnly(Honest):
    """Takes its inputs for an array, which the views of a survey are not."""

    def embed(self, inputs: Any) -> NDArray[np.float32]:
        return self.project(inputs.mean(axis=(2, 3)))


class Half:
    """No encoder at all."""

    def fit(self, inputs: Any, *, seed: int) -> None: ...


class HonestRegressor:
    """A supervised model that keeps every promise: a straight line through the first magnitude."""

    def fit(self, inputs: Any, target: NDArray, *, validation: tuple[Any, NDArray], seed: int) -> None:
        self.mean = np.nanmean(target, axis=0)

    def predict(self, inputs: Any) -> NDArray[np.float64]:
        return self.mean + 0.1 * self.context(inputs)[:, :1].astype(np.float64)

    def context(self, inputs: Any) -> NDArray[np.float32]:
        return np.nan_to_num(inputs[:], nan=19.0)


class OneTarget(HonestRegressor):
    def predict(self, inputs: Any) -> NDArray[np.float64]:
        return super().predict(inputs)[:, :1]


class NoGaps(HonestRegressor):
    def fit(self, inputs: Any, target: NDArray, *, validation: tuple[Any, NDArray], seed: int) -> None:
        self.mean = target.mean(axis=0)


class LabelledContext(HonestRegressor):
    mean = np.zeros(1)

    def context(self, inputs: Any) -> NDArray[np.float32]:
        return super().context(inputs) + np.float32(self.mean[0])


class NaNContext(HonestRegressor):
    def predict(self, inputs: Any) -> NDArray[np.float64]:
        return np.tile(self.mean, (len(inputs), 1))

    def context(self, inputs: Any) -> NDArray[np.float32]:
        return inputs[:]


class Greedy(HonestRegressor):
    """Fills gaps in the arrays it is given."""

    def fit(self, inputs: Any, target: NDArray, *, validation: tuple[Any, NDArray], seed: int) -> None:
        np.nan_to_num(inputs.values, copy=False, nan=19.0)
        super().fit(inputs, target, validation=validation, seed=seed)


BROKEN = {
    WrongShape: "shape",
    WrongType: "shape",
    SomeNaN: "finite",
    BatchDependent: "batch size",
    OrderDependent: "row order",
    Unseeded: "same seed",
    Dropping: "same seed",
    Forgetful: "state round trip",
    Blind: "NaN pixels",
    Unclear: "NaN pixels",
    Global: "global random state",
    ArraysOnly: "shape",
    Half: "factory",
}
BROKEN_REGRESSORS = {
    OneTarget: "shape",
    NoGaps: "finite",
    LabelledContext: "context without labels",
    NaNContext: "context",
    Greedy: "inputs left alone",
}

for model, check in ({Honest: ""} | BROKEN).items():
    name = model.__name__
    register_model(
        ModelCard(name, "image", f"broken_models:{name}", "encoder", ("knn",), "s", fitted=True, notes=check)
    )
for regressor, check in ({HonestRegressor: ""} | BROKEN_REGRESSORS).items():
    name = regressor.__name__
    register_model(
        ModelCard(name, "photometry", f"broken_models:{name}", "supervised", ("supervised",), "s", notes=check)
    )
register_model(ModelCard("Nowhere", "image", "broken_models:Absent", "encoder", ("knn",), "s", notes="factory"))
register_model(ModelCard("WrongProbe", "image", "broken_models:Honest", "encoder", ("supervised",), "s", notes="card"))
register_model(
    ModelCard(
        "WrongOption",
        "image",
        "broken_models:Honest",
        "encoder",
        ("knn",),
        "s",
        options={"smoke": {"no_such": 1}},
        notes="factory",
    )
)
register_model(
    ModelCard(
        "WrongRecipe",
        "image",
        "broken_models:Honest",
        "encoder",
        ("knn",),
        "s",
        recipes={"paper": {"no_such": 1}},
        notes="factory",
    )
)
register_model(
    ModelCard("Radio", "image+spectrum", "broken_models:Honest", "encoder", ("knn",), "reads what has no mock")
)

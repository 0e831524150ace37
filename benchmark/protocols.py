"""What the harness asks of encoders, regressors and posterior heads; the libraries satisfy it without importing it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Encoder",
    "ExactModel",
    "InputArray",
    "PosteriorHead",
    "Progress",
    "ReferenceModel",
    "Regressor",
    "SupervisedModel",
    "TrainedEncoder",
    "TrainingHistory",
]

Progress = Callable[[int, int], None]
"""Called with (done, total) while long work goes on; the default everywhere is silence."""


class InputArray(Protocol):
    """What a model reads: rows that are loaded when they are asked for.

    Indexing with a slice or an integer array returns a float32 array: photometry (n, bands) in AB magnitudes with NaN
    where a band is missing; images (n, bands, height, width), in [0, 1] once stretched.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]: ...


@runtime_checkable
class Encoder(Protocol):
    """A frozen embedding: inputs in, one vector a galaxy out."""

    def fit(self, inputs: InputArray, *, seed: int) -> None:
        """Learn from the inputs of training and unlabelled galaxies; a model without weights does nothing."""
        ...

    def embed(self, inputs: InputArray) -> NDArray[np.float32]:
        """Embedding (n, d) of every row; the same for any batch size and row order."""
        ...

    def state(self) -> dict[str, NDArray]:
        """Everything that was learned or drawn, as named arrays (written as safetensors)."""
        ...

    def load_state(self, state: Mapping[str, NDArray]) -> None:
        """The inverse of `state`."""
        ...


class TrainingHistory(Protocol):
    """What happened in a training, a row every few steps."""

    @property
    def rows(self) -> Sequence[Mapping[str, float]]: ...

    def to_csv(self, path: Path) -> None:
        """Write the rows as a table, ``step`` and ``loss`` among its columns."""
        ...

    def plot(self, path: Path) -> None:
        """Draw the rows; the suffix gives the format."""
        ...


@runtime_checkable
class TrainedEncoder(Encoder, Protocol):
    """An encoder whose training is long enough to be watched, interrupted and taken up again."""

    def fit(
        self, inputs: InputArray, *, seed: int, folder: Path | None = None, progress: Progress | None = None
    ) -> None:
        """Learn; the state is kept in ``folder``, and a state that lies there already is taken up."""
        ...

    def facts(self) -> dict[str, object]:
        """What a record says of the training; ``converged`` whether its loss has levelled off."""
        ...

    @property
    def history(self) -> TrainingHistory:
        """Of the last `fit`."""
        ...


@runtime_checkable
class Regressor(Protocol):
    """Inputs in, one number a target out: the heads on an embedding and the supervised models.

    Built with ``n_classes=(2, 3)``, a head learns five columns of 0 and 1 for targets of two and three classes (NaN in
    all columns of a target = missing), and predicts five probabilities, which sum to 1 for each target.
    """

    def fit(
        self,
        inputs: InputArray,
        target: NDArray[np.float64],
        *,
        validation: tuple[InputArray, NDArray[np.float64]],
        seed: int,
    ) -> None:
        """Fit on (n, n_targets) targets, NaN = missing; choose epochs, rounds or penalties on ``validation`` only."""
        ...

    def predict(self, inputs: InputArray) -> NDArray[np.float64]:
        """Predictions (n, n_targets) in the targets' units, never NaN."""
        ...


@runtime_checkable
class SupervisedModel(Regressor, Protocol):
    """A model trained from scratch on labels."""

    def context(self, inputs: InputArray) -> NDArray[np.float32]:
        """What a posterior is conditioned on, (n, c), finite; it must not have seen any label."""
        ...


@runtime_checkable
class ReferenceModel(Protocol):
    """A posterior that follows from how a survey was simulated; no galaxy of the survey teaches it anything."""

    def prepare(self, flavour: str, *, seed: int) -> None:
        """Make whatever is needed for surveys of a flavour of what builds them."""
        ...

    def state(self) -> dict[str, NDArray]:
        """What was made, as named arrays."""
        ...

    def load_state(self, state: Mapping[str, NDArray]) -> None:
        """The inverse of `state`."""
        ...

    def predict(self, inputs: InputArray, names: Sequence[str], *, seed: int) -> NDArray[np.float64]:
        """Posterior means (n, t) of the targets of these names, in their units, never NaN."""
        ...

    def draw(
        self, inputs: InputArray, names: Sequence[str], *, n_draws: int, seed: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Draws (n_draws, n, t), equally probable, and the effective sample size (n,) behind those of each galaxy."""
        ...

    def facts(self) -> dict[str, object]:
        """What a record says of it."""
        ...


@runtime_checkable
class ExactModel(ReferenceModel, Protocol):
    """A reference whose density can be written down."""

    def log_prob(self, inputs: InputArray, names: Sequence[str], target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log density (n,) of the targets (n, t) of these names, nats in their units."""
        ...


@runtime_checkable
class PosteriorHead(Protocol):
    """A density over the targets, conditioned on an embedding or a context."""

    def fit(
        self,
        inputs: InputArray,
        target: NDArray[np.float64],
        *,
        validation: tuple[InputArray, NDArray[np.float64]],
        limits: Sequence[tuple[float | None, float | None]],
        seed: int,
    ) -> None:
        """Fit on complete rows only: no NaN in ``target``; ``limits`` are the targets' ``(low, high)``."""
        ...

    def draw(self, inputs: InputArray, *, n_draws: int, seed: int) -> NDArray[np.float32]:
        """Draws (n_draws, n, n_targets) in the targets' units."""
        ...

    def member_log_prob(self, target: NDArray[np.float64], inputs: InputArray) -> NDArray[np.float64]:
        """Log density (members, n) in nats, in the targets' units."""
        ...

    def log_prob(self, target: NDArray[np.float64], inputs: InputArray) -> NDArray[np.float64]:
        """Log density (n,) of the mixture that ``draw`` draws from, in nats, in the targets' units."""
        ...

    @property
    def stacked_weights(self) -> NDArray[np.float64]:
        """Weights (members,) of sum 1 with which the mixture has the lowest NLL on the validation rows."""
        ...

    @property
    def log_jacobian(self) -> float:
        """Nats to add to a log density to have it in z-scored targets."""
        ...

    def save(self, path: Path) -> None:
        """Write the weights as safetensors."""
        ...

    def facts(self) -> dict[str, object]:
        """What a record says of the fit, e.g. the number of members left."""
        ...

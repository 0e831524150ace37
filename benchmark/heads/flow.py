"""The posterior probe: an ensemble of normalizing flows conditioned on an embedding.

The density model is `posteriors.FlowEnsemble`; this module gives it the shape of a probe and the sizes of the
presets. The import of torch stands inside the methods: listing the probes must not cost it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError, HeadCard, InputArray
from benchmark.store import atomic_write

if TYPE_CHECKING:
    from posteriors import FlowEnsemble

__all__ = ["CARD", "FlowHead"]

CARD = HeadCard(
    name="flow",
    factory="benchmark.heads.flow:FlowHead",
    produces="posterior",
    summary="ensemble of rational-quadratic coupling flows on scaled principal components of the embedding",
    version=6,
    options={"smoke": {"members": 2, "epochs": 15}, "laptop": {"members": 10}, "paper": {"members": 10}},
    recipes={"paper": {"recipe": "paper"}, "code": {"recipe": "code"}},
)

_MARGIN = 1e-3  # of a target's spread, by which limits are widened


class FlowHead:
    """A flow ensemble as a `benchmark.contracts.PosteriorHead`.

    Parameters
    ----------
    **options : fields of `posteriors.FlowEnsembleConfig`.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._ensemble: FlowEnsemble | None = None
        self._ends = np.empty((2, 0))

    @property
    def ensemble(self) -> FlowEnsemble:
        """The fitted ensemble."""
        if self._ensemble is None:
            raise GalaxybenchError("the flow probe is not fitted: call fit first")
        return self._ensemble

    def fit(
        self,
        inputs: InputArray,
        target: NDArray[np.float64],
        *,
        validation: tuple[InputArray, NDArray[np.float64]],
        limits: Sequence[tuple[float | None, float | None]],
        seed: int,
    ) -> None:
        """Fit every member; the epoch is chosen on ``validation``.

        The density ends a thousandth of a target's spread beyond its limits, as catalogues have values on them; draws
        end on them.
        """
        from posteriors import FlowEnsemble, FlowEnsembleConfig

        margin = _MARGIN * target.std(axis=0)
        self._ends = np.array([(-np.inf if a is None else a, np.inf if b is None else b) for a, b in limits]).T
        wider = [
            (None if low is None else low - more, None if high is None else high + more)
            for (low, high), more in zip(limits, margin.tolist(), strict=True)
        ]
        self._ensemble = FlowEnsemble.fit(
            inputs[:],
            target,
            config=FlowEnsembleConfig(**self._options),
            seed=seed,
            validation=(validation[0][:], validation[1]),
            limits=wider,
        )

    def draw(self, inputs: InputArray, *, n_draws: int, seed: int) -> NDArray[np.float32]:
        """Draws (n_draws, n, n_targets) of the mixture, in the targets' units and inside their limits."""
        low, high = self._ends.astype(np.float32)
        return self.ensemble.draw(inputs[:], n_draws=n_draws, seed=seed).clip(low, high)

    def member_log_prob(self, target: NDArray[np.float64], inputs: InputArray) -> NDArray[np.float64]:
        """Log density (members, n) of each member, nats in the targets' units."""
        return np.asarray(self.ensemble.member_log_prob(target, inputs[:]), dtype=np.float64)

    def log_prob(self, target: NDArray[np.float64], inputs: InputArray) -> NDArray[np.float64]:
        """Log density (n,) of the mixture that is drawn from, nats in the targets' units."""
        return self.ensemble.log_prob(target, inputs[:])

    @property
    def stacked_weights(self) -> NDArray[np.float64]:
        """Weights (members,) with which the mixture has the lowest NLL on the validation rows."""
        return self.ensemble.stacked_weights

    @property
    def log_jacobian(self) -> float:
        """Nats to add to a log density to have it in z-scored targets."""
        return self.ensemble.log_jacobian

    def save(self, path: Path) -> None:
        """Write the weights and the configuration as safetensors."""
        atomic_write(path, self.ensemble.save)

    def facts(self) -> dict[str, object]:
        """Members fitted and lost because they diverged, weights by validation, the configuration and its pilots."""
        ensemble = self.ensemble
        return {
            "members": len(ensemble.members),
            "n_diverged": ensemble.n_diverged,
            "stacked_weights": [round(weight, 4) for weight in ensemble.stacked_weights.tolist()],
            "config": ensemble.config.to_dict(),
            "pilots": [pilot.to_dict() for pilot in ensemble.pilots],
        }

"""The base of the encoders that our own loop trains without labels: fit, embed, state, and what a record says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders.randomness import seeded_torch
from encoders.reading.prepared_galaxies import Galaxies, Prepare, PreparedGalaxies
from encoders.training.embedding import embed_in_batches
from encoders.training.history import History
from encoders.training.precision import Precision, autocast, compute_dtype, default_device
from encoders.training.train import Reader, TrainingConfig, Watcher, train

__all__ = ["Galaxies", "SelfSupervisedEncoder"]


class SelfSupervisedEncoder:
    """An encoder that is trained by `encoders.training.train.train` and embeds with what was trained.

    A subclass gives the networks and how galaxies become batches:

    - ``_build(inputs)``: the objective, its weights drawn from torch's global generator, which is seeded here;
    - ``_prepare(inputs)``: how galaxies become what a batch holds of them, see `PreparedGalaxies`;
    - ``_training_reader(inputs)``: the batches of a training, where they need an order of their own;
    - ``_embed(batch)``: the embedding (b, d) of a batch, from ``self.objective``;
    - ``_deployed(objective)``: the part whose weights are the encoder, by default the whole objective.

    Parameters
    ----------
    n_steps : steps of the optimiser; 0 gives the random frozen twin: weights as drawn.
    embed_batch_size : galaxies that are embedded at a time; halved where the memory of the device does not suffice.
    embed_precision : of matrix products when embedding. In bfloat16 an embedding depends a little on the batch.
    device : where to compute; None for the current CUDA device, else the CPU.
    training : further fields of `TrainingConfig`.

    Attributes
    ----------
    objective : the networks; None before `fit` or `load_state`.
    history : of the last `fit`; empty before it and for a twin.
    """

    name = "SelfSupervisedEncoder"

    def __init__(
        self,
        *,
        n_steps: int,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        embed_batch_size: int = 256,
        embed_precision: Precision = "float32",
        device: str | None = None,
        **training: Any,
    ) -> None:
        self.training = TrainingConfig(n_steps=n_steps, batch_size=batch_size, learning_rate=learning_rate, **training)
        if embed_batch_size < 1:
            raise ValueError(f"embed_batch_size {embed_batch_size}: must be at least 1")
        self.embed_batch_size = embed_batch_size
        self._device = device
        self._embed_precision: Precision = embed_precision
        compute_dtype(embed_precision, torch.device("cpu"))
        self.objective: Any = None
        self.history = History()
        self._loaded: dict[str, NDArray] = {}

    def _build(self, inputs: Galaxies) -> nn.Module:
        raise NotImplementedError

    def _prepare(self, inputs: Galaxies) -> Prepare:
        raise NotImplementedError

    def _training_reader(self, inputs: Galaxies) -> Reader:
        """Batches of galaxies that are read again in every epoch; called after ``_build``."""
        return PreparedGalaxies(inputs, self._prepare(inputs), keep=True)

    def _embed(self, batch: Tensor) -> Tensor:
        raise NotImplementedError

    def _deployed(self, objective: Any) -> nn.Module:
        module: nn.Module = objective
        return module

    @property
    def device(self) -> torch.device:
        """Where the encoder computes."""
        return default_device() if self._device is None else torch.device(self._device)

    def fit(self, inputs: Galaxies, *, seed: int, folder: Path | None = None, progress: Watcher | None = None) -> None:
        """Draw the weights and train them.

        Parameters
        ----------
        inputs : galaxies to learn from.
        seed : of the weights, the order of the galaxies and all draws.
        folder : where the state of the training is kept; a state that lies there already is taken up.
        progress : called with (steps done, steps in all).
        """
        with seeded_torch(seed):
            objective = self._build(inputs)
        objective.to(self.device)
        if self.training.n_steps:
            self.history = train(
                objective,
                self._training_reader(inputs),
                len(inputs),
                self.training,
                seed=seed,
                folder=folder,
                resume=folder is not None,
                progress=progress,
            )
        else:
            self.history = History(device=self.device.type)
        self.objective, self._loaded = objective.eval(), {}

    def embed(self, inputs: Galaxies) -> NDArray[np.float32]:
        """Embedding (n, d) of every galaxy.

        Raises
        ------
        ValueError
            If there are no weights yet, or they do not fit galaxies of this kind.
        """
        self._require_objective(inputs)
        read = PreparedGalaxies(inputs, self._prepare(inputs), keep=False)
        dtype = compute_dtype(self._embed_precision, self.device)
        with torch.inference_mode(), autocast(dtype, self.device):
            return embed_in_batches(read, len(inputs), self._embed, self.device, batch_size=self.embed_batch_size)

    def state(self) -> dict[str, NDArray]:
        """The weights by name; empty before there are any."""
        if self.objective is None:
            return dict(self._loaded)
        weights = self._deployed(self.objective).state_dict()
        return {name: value.detach().cpu().numpy().copy() for name, value in weights.items()}

    def load_state(self, state: Mapping[str, NDArray]) -> None:
        """Take up weights that `state` gave; they are compared with the network when galaxies are embedded.

        Raises
        ------
        ValueError
            If there are no weights in it.
        """
        if not state:
            raise ValueError(f"{self.name} was given no weights: give what {self.name}.state gave")
        self._loaded, self.objective = dict(state), None

    def facts(self) -> dict[str, object]:
        """What a record says of the training: steps, last losses and diagnostics, precision, speed, convergence."""
        facts = self.history.facts()
        if self.objective is not None:
            facts["n_weights"] = sum(weight.numel() for weight in self._deployed(self.objective).parameters())
        if not self.training.n_steps:
            facts = {name: value for name, value in facts.items() if name in ("n_weights", "device", "n_steps")}
        return facts

    def _require_objective(self, inputs: Galaxies) -> None:
        """Build the network of weights that were loaded, or say that there are none."""
        if self.objective is not None:
            return
        if not self._loaded:
            raise ValueError(f"{self.name} has no weights yet: call fit or load_state first")
        with seeded_torch(0):
            objective: Any = self._build(inputs)
        _load_exactly(self._deployed(objective), self._loaded, self.name)
        self.objective, self._loaded = objective.to(self.device).eval(), {}


def _load_exactly(network: nn.Module, state: Mapping[str, NDArray], name: str) -> None:
    """Load weights whose names and shapes are exactly the network's.

    Raises
    ------
    ValueError
        If a name is missing or unknown, or a shape differs; the first few are named.
    """
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in state.items()}
    wrong = [f"lacks {key}" for key in expected if key not in given]
    wrong += [f"has an unknown {key}" for key in given if key not in expected]
    wrong += [
        f"has {key} of {given[key]}, not {shape}" for key, shape in expected.items() if given.get(key, shape) != shape
    ]
    if wrong:
        raise ValueError(
            f"these weights are not those of {name} for these galaxies: the file {_first_few(wrong)}; "
            "choose the preset, the survey and the model with which they were made"
        )
    network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in state.items()})


def _first_few(problems: Sequence[str], n: int = 2) -> str:
    rest = len(problems) - n
    return ", ".join(problems[:n]) + (f" and {rest} more" if rest > 0 else "")

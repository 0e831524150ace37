"""One training loop for every small network of the suite: the photometry MLP here, the MLP probe on embeddings.

Targets may have gaps: an entry that is NaN has no part in the loss. The result depends on the rows and the seed, not
on the order in which a file lists the rows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders.randomness import seeded_torch
from encoders.row_order import content_order

__all__ = [
    "CrossEntropy",
    "FitConfig",
    "FitHistory",
    "Loss",
    "dense_network",
    "fit_network",
    "predict_network",
    "squared_error",
]

Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""From outputs, targets (gaps set to zero) and 1 where a target is known, (b, n_targets) each, to the sum of the loss
and the number of terms in it."""


@dataclass(frozen=True)
class FitConfig:
    """How a network is trained.

    Attributes
    ----------
    epochs : passes over the training rows, at least 1.
    batch_size : rows a step.
    learning_rate : constant over the fit, or the start of a cosine to zero over ``epochs`` if ``cosine``.
    optimiser : ``adam`` or ``adamw`` (decay apart from the gradient; Loshchilov & Hutter 2019, arXiv:1711.05101).
    weight_decay : factor of the optimiser's decay.
    patience : stop after this many epochs without a lower validation loss, None for never.
    keep : weights that stand at the end, of the epoch with the lowest validation loss (``best``) or of the ``last``.
    cosine : anneal the learning rate.
    """

    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 5e-4
    optimiser: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 0.0
    patience: int | None = 10
    keep: Literal["best", "last"] = "best"
    cosine: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} {value}: must be at least 1")
        if self.learning_rate <= 0 or self.weight_decay < 0:
            raise ValueError(
                f"learning_rate {self.learning_rate}, weight_decay {self.weight_decay}: the first must be positive, "
                "the second not negative"
            )
        if self.optimiser not in ("adam", "adamw"):
            raise ValueError(f"optimiser '{self.optimiser}': must be 'adam' or 'adamw'")
        if self.keep not in ("best", "last"):
            raise ValueError(f"keep '{self.keep}': must be 'best' or 'last'")


@dataclass(frozen=True)
class FitHistory:
    """What happened in a fit: losses by epoch (means over known entries), and the epoch that was kept.

    ``validation_loss`` is empty where no validation rows were needed; epochs count from 0.
    """

    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    kept_epoch: int


def squared_error(output: Tensor, target: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Squared differences of known entries."""
    return ((output - target) * known).square().sum(), known.sum()


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy in nats of classes; outputs are logits, targets columns of 0 and 1.

    Attributes
    ----------
    n_classes : classes of each target; its columns stand side by side, in this order.
    """

    n_classes: Sequence[int]

    def __call__(self, output: Tensor, target: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """A `Loss`: one term a galaxy and target."""
        parts = [part.split(list(self.n_classes), dim=1) for part in (output, target, known)]
        terms = [-(logits.log_softmax(dim=1) * truth * seen).sum() for logits, truth, seen in zip(*parts, strict=True)]
        return torch.stack(terms).sum(), torch.stack([seen[:, 0].sum() for seen in parts[2]]).sum()

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities (n, columns) of logits (n, columns); those of a target sum to 1."""
        parts = torch.from_numpy(logits).split(list(self.n_classes), dim=1)
        return torch.cat([part.softmax(dim=1) for part in parts], dim=1).numpy()


def dense_network(n_in: int, hidden: Sequence[int], n_out: int, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers of the given widths with ReLU (and dropout, if any) between them, none after the last."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(n_in, width), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
        n_in = width
    return nn.Sequential(*layers, nn.Linear(n_in, n_out))


def fit_network(
    network: nn.Module,
    inputs: NDArray,
    target: NDArray,
    *,
    validation: tuple[NDArray, NDArray],
    config: FitConfig,
    seed: int,
    loss: Loss = squared_error,
) -> FitHistory:
    """Train ``network`` in place; it holds the weights of the kept epoch afterwards and is in evaluation mode.

    Parameters
    ----------
    network : maps inputs (b, ...) to (b, n_targets).
    inputs : training rows (n, ...), finite.
    target : (n, n_targets), scaled to about unit variance, NaN = missing. Rows without any target are left out.
    validation : the same for validation rows; not looked at where ``keep="last"`` and ``patience=None``.
    config : how to train.
    seed : of the batches and of dropout.
    loss : what is minimised; its mean over known entries chooses the epoch.

    Returns
    -------
    FitHistory
        Losses by epoch.

    Raises
    ------
    ValueError
        If no training row has a target, validation rows are needed and none has one, or the training diverged.
    """
    train = _labelled(inputs, target, seed, "training")
    selects = config.keep == "best" or config.patience is not None
    held_out = _labelled(*validation, seed, "validation") if selects else None
    optimiser = _optimiser(network, config)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.epochs) if config.cosine else None
    generator = torch.Generator().manual_seed(seed)
    train_loss: list[float] = []
    validation_loss: list[float] = []
    best = copy.deepcopy(network.state_dict())
    with seeded_torch(seed):
        for epoch in range(config.epochs):
            train_loss.append(_train_epoch(network, optimiser, train, config.batch_size, generator, loss))
            if schedule is not None:
                schedule.step()
            if held_out is None:
                continue
            error = _mean_loss(network, held_out, loss)
            validation_loss.append(error if np.isfinite(error) else np.inf)  # argmin would take a NaN for the lowest
            best_epoch = int(np.argmin(validation_loss))
            if best_epoch == epoch:
                best = copy.deepcopy(network.state_dict())  # a copy: state_dict alone is a view of the live weights
            if config.patience is not None and epoch - best_epoch >= config.patience:
                break
    kept = len(train_loss) - 1
    if config.keep == "best":
        network.load_state_dict(best)
        kept = int(np.argmin(validation_loss))
    if not np.isfinite(validation_loss[kept] if config.keep == "best" else train_loss[kept]):
        raise ValueError(
            f"training diverged: the loss of epoch {kept} is not finite with learning_rate {config.learning_rate}; "
            "lower it or look for extreme inputs"
        )
    network.eval()
    return FitHistory(tuple(train_loss), tuple(validation_loss), kept)


def predict_network(network: nn.Module, inputs: NDArray, batch_size: int = 4096) -> NDArray[np.float64]:
    """Outputs (n, n_targets) of a network in evaluation mode, batch by batch."""
    network.eval()
    with torch.inference_mode():
        parts = [network(_tensor(inputs[i : i + batch_size])) for i in range(0, max(len(inputs), 1), batch_size)]
    return torch.cat(parts).double().numpy()


def _labelled(inputs: NDArray, target: NDArray, seed: int, which: str) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets with gaps set to zero, and 1 where a target is known; rows in an order of their own."""
    rows = np.flatnonzero(np.isfinite(target).any(axis=1))
    if rows.size == 0:
        raise ValueError(f"none of {len(target)} {which} rows has a target: give labelled {which} rows")
    inputs, target = np.asarray(inputs, dtype=np.float32)[rows], np.asarray(target, dtype=np.float32)[rows]
    order = content_order(np.hstack([inputs.reshape(len(rows), -1), target]), seed)
    inputs, target = inputs[order], target[order]
    return _tensor(inputs), _tensor(np.nan_to_num(target)), _tensor(np.isfinite(target))


def _tensor(array: NDArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _optimiser(network: nn.Module, config: FitConfig) -> torch.optim.Optimizer:
    make = torch.optim.Adam if config.optimiser == "adam" else torch.optim.AdamW
    return make(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def _train_epoch(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    data: tuple[Tensor, Tensor, Tensor],
    batch_size: int,
    generator: torch.Generator,
    loss: Loss,
) -> float:
    """One pass in a drawn order; the mean loss over known entries, each taken at the weights of its step."""
    network.train()
    order = torch.randperm(len(data[0]), generator=generator)
    total, count = 0.0, 0.0
    for rows in order.split(batch_size):
        inputs, target, known = (part[rows] for part in data)
        part, n_known = loss(network(inputs), target, known)
        optimiser.zero_grad()
        (part / n_known).backward()
        optimiser.step()
        total, count = total + part.item(), count + n_known.item()
    return total / count


def _mean_loss(network: nn.Module, data: tuple[Tensor, Tensor, Tensor], loss: Loss, batch_size: int = 4096) -> float:
    """Mean loss over all known entries: sums over galaxies first, one division at the end."""
    network.eval()
    total, count = 0.0, 0.0
    with torch.inference_mode():
        for inputs, target, known in zip(*(part.split(batch_size) for part in data), strict=True):
            part, n_known = loss(network(inputs).double(), target.double(), known.double())
            total, count = total + part.item(), count + n_known.item()
    return total / count

"""Classifier two-sample test: can a network tell draws of one posterior from draws of another?

All classifiers of a call, a few folds for each galaxy, are trained as one set of tensors.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

__all__ = ["c2st"]

_BATCH = 256
_LEARNING_RATE, _WEIGHT_DECAY = 1e-2, 1e-3
_EPOCHS, _LEAST_STEPS = 24, 300  # far more, and the networks learn a thousand draws by heart
_LEAST_DRAWS = 50


def c2st(
    draws: ArrayLike,
    reference: ArrayLike,
    *,
    n_folds: int = 5,
    n_steps: int | None = None,
    hidden: int | None = None,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Accuracy (n,) with which a network tells draws from reference draws, for each of n galaxies.

    0.5: it cannot, as where both have one distribution; 1: it always can. Of two densities p and q the best classifier
    reaches (1 + TV) / 2 with their total variation TV; a trained one finds less of it the fewer draws there are, so
    that only values from equal numbers of draws and steps compare. Where the distributions are equal, the accuracy of
    m draws of each scatters by sqrt(.25 / (2 m)): .011 for 1,000.

    Parameters
    ----------
    draws, reference : (n_draws, n, t), or (n_draws, t) for a single galaxy, independent and with equal numbers of
        draws, at least 50.
    n_folds : each draw is judged by a network that was trained on the other folds, at least 2.
    n_steps : steps of AdamW on batches of 256 rows, the rate falling to 0 by a cosine; None: 24 passes over the rows,
        at least 300 steps.
    hidden : units of each of two layers; None: ten a target and at least 32.
    seed : of folds, weights and batches.

    Raises
    ------
    ValueError
        For shapes that differ, NaN or infinite values, too few draws, and numbers out of range.

    References
    ----------
    Lopez-Paz & Oquab 2017, Revisiting classifier two-sample tests, arXiv:1610.06545. Layers and folds follow
    Lueckmann et al. 2021, arXiv:2101.04653, whose networks are trained until their loss stands still.
    """
    rows = _pooled(draws, reference)
    n_galaxies, n_rows, n_targets = rows.shape
    if not 2 <= n_folds <= n_rows // 2 or (n_steps is not None and n_steps < 1):
        raise ValueError(
            f"n_folds = {n_folds}, n_steps = {n_steps}: 2 to {n_rows // 2} folds and at least one step are needed"
        )
    generator = torch.Generator().manual_seed(seed)
    order = torch.stack([_fold_order(n_rows // 2, generator) for _ in range(n_galaxies)])
    label = (order >= n_rows // 2).float()
    features = torch.from_numpy(rows)[torch.arange(n_galaxies)[:, None], order]
    n_right = torch.zeros(n_galaxies)
    fold = torch.arange(n_rows) * n_folds // n_rows
    kept = [torch.nonzero(fold != number)[:, 0] for number in range(n_folds)]
    n_train = min(len(rows_kept) for rows_kept in kept)
    train = torch.stack([rows_kept[:n_train] for rows_kept in kept])  # (folds, rows)
    nets = _Networks(n_galaxies * n_folds, n_targets, hidden or max(32, 10 * n_targets), generator)
    n_steps = n_steps or max(_LEAST_STEPS, _EPOCHS * n_train // _BATCH)
    nets.fit(features[:, train].flatten(0, 1), label[:, train].flatten(0, 1), n_steps, generator)
    for number in range(n_folds):
        held = fold == number
        logit = nets.logit(features[:, held], slice(number, None, n_folds))
        n_right += ((logit > 0) == (label[:, held] > 0.5)).sum(dim=1)
    return (n_right / n_rows).double().numpy()


def _pooled(draws: ArrayLike, reference: ArrayLike) -> NDArray[np.float32]:
    """Draws and behind them reference draws, (n, 2 n_draws, t), in units of the reference's spread."""
    pair = [np.asarray(array, dtype=np.float64) for array in (draws, reference)]
    if pair[0].shape != pair[1].shape or pair[0].ndim not in (2, 3):
        raise ValueError(
            f"draws of shape {pair[0].shape} and reference of shape {pair[1].shape}: both must be (n_draws, n, t) or "
            "(n_draws, t), with equal numbers"
        )
    ours, theirs = (array if array.ndim == 3 else array[:, None] for array in pair)
    if len(ours) < _LEAST_DRAWS:
        raise ValueError(f"{len(ours)} draws: at least {_LEAST_DRAWS} are needed to train a classifier on")
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        raise ValueError("draws hold NaN or infinite values: only finite ones can be told apart")
    spread = theirs.std(axis=0)
    pooled = (np.concatenate([ours, theirs]) - theirs.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return np.clip(pooled, -100, 100).transpose(1, 0, 2).astype(np.float32)  # a far outlier must not blow up a step


def _fold_order(n_draws: int, generator: torch.Generator) -> Tensor:
    """Rows in random order, both classes evenly in every fold: one of each in turn."""
    first, second = (torch.randperm(n_draws, generator=generator) for _ in range(2))
    return torch.stack([first, second + n_draws], dim=1).flatten()


class _Networks:
    """Perceptrons with two hidden layers, (n_nets, ...) in every tensor."""

    def __init__(self, n_nets: int, n_in: int, hidden: int, generator: torch.Generator) -> None:
        sizes = [(n_in, hidden), (hidden, hidden), (hidden, 1)]
        self.weights = [
            (torch.randn(n_nets, rows, columns, generator=generator) * math.sqrt(2 / rows)).requires_grad_()
            for rows, columns in sizes
        ]
        self.biases = [torch.zeros(n_nets, 1, columns, requires_grad=True) for _, columns in sizes]

    def _forward(self, features: Tensor, chosen: slice = slice(None)) -> Tensor:
        hidden = features
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias[chosen], hidden, weight[chosen])
            if number < len(self.weights) - 1:
                hidden = torch.relu(hidden)
        return hidden[..., 0]

    def fit(self, features: Tensor, label: Tensor, n_steps: int, generator: torch.Generator) -> None:
        """Minimise the cross entropy of labels (n_nets, rows); batches hold every row once before one comes again."""
        n_rows = label.shape[1]
        batch = min(_BATCH, n_rows)
        optimiser = torch.optim.AdamW(
            [*self.weights, *self.biases], lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY, fused=True
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
        order, at = torch.randperm(n_rows, generator=generator), 0
        for _ in range(n_steps):
            if at + batch > n_rows:
                order, at = torch.randperm(n_rows, generator=generator), 0
            rows, at = order[at : at + batch], at + batch
            loss = functional.binary_cross_entropy_with_logits(
                self._forward(features[:, rows]), label[:, rows], reduction="sum"
            )
            optimiser.zero_grad(set_to_none=True)
            (loss / batch).backward()
            optimiser.step()
            schedule.step()

    def logit(self, features: Tensor, chosen: slice) -> Tensor:
        """Log odds (n_chosen, rows) of the reference, by some of the networks."""
        with torch.no_grad():
            return self._forward(features, chosen)

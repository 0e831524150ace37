"""Scaling of targets and contexts, fitted on the training rows and stored with the ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

__all__ = ["ContextScaling", "TargetScaling", "member_components"]

_FULLY_WHITENED = 16  # components beyond this one keep their smaller share of the variance
_CONSTANT = 5e-7  # a spread below four float32 roundings of the largest value is no spread
_RANK = 1e-5  # components below this share of the leading spread are rounding noise of collinear columns


@dataclass(frozen=True)
class TargetScaling:
    """Each target minus its mean, over its standard deviation; both of shape (t,)."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, target: NDArray[np.float64]) -> TargetScaling:
        """Fit on (n, t) training targets.

        Raises
        ------
        ValueError
            If a target is constant: its density is not defined.
        """
        mean, scale = target.mean(0), target.std(0)
        constant = np.flatnonzero(scale <= 1e-12 * np.abs(target).max(0))
        if constant.size:
            raise ValueError(
                f"target column {constant[0]} has the one value {target[0, constant[0]]:g} in all {len(target)} "
                "training rows: a density needs targets that vary; leave it out"
            )
        return cls(mean, scale)

    @property
    def log_jacobian(self) -> float:
        """Log of |d target / d z-score|, in nats: add it to a log density per target unit to have it per z-score."""
        return float(np.log(self.scale).sum())

    def forward(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """From the target's units to z-scores."""
        return (target - self.mean) / self.scale

    def inverse(self, scaled: NDArray) -> NDArray[np.float64]:
        """From z-scores to the target's units."""
        return scaled * self.scale + self.mean


@dataclass(frozen=True)
class ContextScaling:
    """A linear map of the context, ``(context - mean) @ matrix``, with ``matrix`` of shape (c, k)."""

    mean: NDArray[np.float64]
    matrix: NDArray[np.float64]

    @classmethod
    def standardise(cls, context: NDArray[np.float64]) -> ContextScaling:
        """Every column to mean 0 and standard deviation 1; constant columns to 0. k = c."""
        mean, scale = _column_moments(context)
        return cls(mean, np.diag(_safe_inverse(scale)))

    @classmethod
    def principal_components(cls, context: NDArray[np.float64], n_components: int) -> ContextScaling:
        """Principal components of the standardised columns, the leading ones whitened.

        Component j is divided by its standard deviation sd_j and multiplied by min(1, sd_j / sd_16): the first 16
        have unit variance, the others keep theirs relative to the sixteenth. A context of 16 columns or fewer is
        whitened fully. Components that only hold rounding noise are left out; a context without any spread becomes
        one column of zeros, so that the flow is an unconditional density.

        Parameters
        ----------
        context : (n, c) training rows.
        n_components : most components kept.
        """
        mean, scale = _column_moments(context)
        inverse = _safe_inverse(scale)
        scaled = (context - mean) * inverse
        n_columns = scaled.shape[1]
        first = max(0, n_columns - n_components)
        variance, vectors = scipy.linalg.eigh(scaled.T @ scaled / len(scaled), subset_by_index=[first, n_columns - 1])
        spread, vectors = np.sqrt(np.clip(variance[::-1], 0, None)), vectors[:, ::-1]
        kept = spread > max(_RANK * spread[0], 1e-12)
        if not kept.any():
            return cls(mean, np.zeros((n_columns, 1)))
        spread, vectors = spread[kept], vectors[:, kept]
        signs = np.sign(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])])
        reference = spread[min(_FULLY_WHITENED, len(spread)) - 1]
        if n_columns <= _FULLY_WHITENED:
            reference = spread[-1]
        return cls(mean, inverse[:, None] * vectors * signs / np.maximum(spread, reference))

    @property
    def n_components(self) -> int:
        """Number of columns after the map."""
        return self.matrix.shape[1]

    def forward(self, context: NDArray[np.float64]) -> NDArray[np.float64]:
        """Apply the map: (n, c) to (n, k)."""
        return (context - self.mean) @ self.matrix

    def arrays(self) -> Mapping[str, NDArray[np.float64]]:
        """The fitted arrays by name."""
        return {"mean": self.mean, "matrix": self.matrix}


def member_components(n_components: int, members: int) -> list[int]:
    """How many leading components each member sees: from 16 to all of them in equal ratios; never more than exist."""
    smallest = min(_FULLY_WHITENED, n_components)
    return [int(k) for k in np.rint(np.geomspace(smallest, n_components, members))]


def _column_moments(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean, scale = values.mean(0), values.std(0)
    return mean, np.where(scale > _CONSTANT * np.abs(values).max(0), scale, 0.0)


def _safe_inverse(scale: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)

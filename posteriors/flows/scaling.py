"""Scaling of targets and contexts, fitted on the training rows and stored with the ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriors.flows.limits import Limit, TargetLimits

__all__ = ["ContextScaling", "TargetScaling"]

_FULLY_WHITENED = 16  # so few columns are whitened fully
_WHITENED = 4  # of more columns, components beyond this one keep their smaller share of the variance
_OUTLIER = 6.0  # standard deviations, robust ones of columns, at which columns and components are cut off; at 4 one
# Gaussian value in 16,000 is cut, which costs tens of nats where a target is known well
_UNITS_ALIKE = 30.0  # largest spread over the median one, above which columns do not share a unit
_CONSTANT = 5e-7  # a spread below four float32 roundings of the largest value is no spread
_RANK = 1e-5  # components below this share of the leading spread are rounding noise of collinear columns


@dataclass(frozen=True)
class TargetScaling:
    """Each target, freed of its limits, minus its mean, over its standard deviation.

    Attributes
    ----------
    mean, scale : (t,) of the free values.
    spread : (t,) standard deviations of the targets themselves, which z-scores refer to.
    limits : their hard limits.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    spread: NDArray[np.float64]
    limits: TargetLimits

    @classmethod
    def fit(cls, target: NDArray[np.float64], limits: Sequence[Limit | None] | None = None) -> TargetScaling:
        """Fit on (n, t) training targets; ``limits`` are pairs (lower, upper), None for none.

        Raises
        ------
        ValueError
            If a target is constant, its density is not defined; or lies on or beyond its limits.
        """
        spread = target.std(0)
        constant = np.flatnonzero(spread <= 1e-12 * np.abs(target).max(0))
        if constant.size:
            raise ValueError(
                f"target column {constant[0]} has the one value {target[0, constant[0]]:g} in all {len(target)} "
                "training rows: a density needs targets that vary; leave it out"
            )
        bounds = TargetLimits.of(limits, spread)
        bounds.check(target, "")
        free = bounds.forward(target)
        return cls(free.mean(0), free.std(0), spread, bounds)

    @property
    def log_jacobian(self) -> float:
        """Log of |d target / d z-score|, in nats: add it to a log density per target unit to have it per z-score."""
        return float(np.log(self.spread).sum())

    def forward(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """From the target's units to scaled values; rows beyond a limit become NaN."""
        with np.errstate(invalid="ignore", divide="ignore"):
            free = self.limits.forward(target)
        return np.where(self.limits.inside(target)[:, None], (free - self.mean) / self.scale, np.nan)

    def inverse(self, scaled: NDArray) -> NDArray[np.float64]:
        """From scaled values to the target's units; targets on the last axis."""
        return self.limits.inverse(scaled * self.scale + self.mean)

    def log_slope(self, scaled: Tensor) -> Tensor:
        """Log |d scaled / d target| (n,) in nats at scaled values (n, t), differentiable."""
        scale, mean = (torch.from_numpy(values).to(scaled) for values in (self.scale, self.mean))
        return self.limits.log_slope(scaled * scale + mean) - torch.log(scale).sum() + torch.zeros_like(scaled[:, 0])


@dataclass(frozen=True)
class ContextScaling:
    """A map of the context that is linear where the training rows lie: ``(context - mean) @ matrix``.

    Attributes
    ----------
    mean : (c,).
    matrix : (c, k), or (c,) for a factor of each column.
    low, high : (c,) columns are cut off there first.
    cut : (k,) results are cut off at plus and minus this.
    """

    mean: NDArray[np.float64]
    matrix: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    cut: NDArray[np.float64]

    @classmethod
    def standardise(cls, context: NDArray[np.float64]) -> ContextScaling:
        """Every column to mean 0 and standard deviation 1; constant columns to 0. k = c."""
        mean, scale = _column_moments(context)
        return cls._without_limits(mean, _safe_inverse(scale))

    @classmethod
    def standardise_as_one(cls, context: NDArray[np.float64]) -> ContextScaling:
        """One mean and one standard deviation for all columns, as AstroCLIP's released code has it. k = c."""
        mean, scale = float(context.mean()), float(context.std())
        inverse = 1 / scale if scale > _CONSTANT * abs(context).max() else 0.0
        return cls._without_limits(np.full(context.shape[1], mean), np.full(context.shape[1], inverse))

    @classmethod
    def _without_limits(cls, mean: NDArray[np.float64], factor: NDArray[np.float64]) -> ContextScaling:
        endless = np.full(len(mean), np.inf)
        return cls(mean, factor, -endless, endless, endless.copy())

    @classmethod
    def principal_components(cls, context: NDArray[np.float64], n_components: int) -> ContextScaling:
        """Principal components of the columns, the leading ones whitened, outliers cut off.

        Component j is divided by its standard deviation sd_j and multiplied by min(1, sd_j / sd_4)^2: the first 4 have
        unit variance, the others fall with theirs relative to the fourth, so that columns of noise stay small. A
        context of 16 columns or fewer is whitened fully. A single row far away (embeddings of spectra have some at 40
        standard deviations) would turn the components towards itself and rule the loss: columns are cut off at 6 robust
        standard deviations first, components at 6 of theirs. Columns in very different units, those whose largest
        spread exceeds the median one 30 times, are standardised first. Components that only hold rounding noise are
        left out; a context without any spread becomes one column of zeros: the flow is an unconditional density.

        Parameters
        ----------
        context : (n, c) training rows.
        n_components : most components kept.
        """
        low, high = _outlier_limits(context)
        kept_rows = context.clip(low, high)
        mean, scale = _column_moments(kept_rows)
        known = scale[scale > 0]
        alike = known.size and known.max() <= _UNITS_ALIKE * np.median(known)
        inverse = np.where(scale > 0, 1 / np.sqrt(np.mean(known**2)), 0.0) if alike else _safe_inverse(scale)
        vectors, spread = _components((kept_rows - mean) * inverse, n_components)
        if not len(spread):
            return cls(mean, np.zeros((len(mean), 1)), low, high, np.array([np.inf]))
        reference = spread[-1] if len(mean) <= _FULLY_WHITENED else spread[min(_WHITENED, len(spread)) - 1]
        share = np.minimum(1, spread / reference) ** 2
        return cls(mean, inverse[:, None] * vectors / spread * share, low, high, _OUTLIER * share)

    @property
    def n_components(self) -> int:
        """Number of columns after the map."""
        return len(self.cut)

    def forward(self, context: NDArray[np.float64]) -> NDArray[np.float64]:
        """Apply the map: (n, c) to (n, k)."""
        centred = context.clip(self.low, self.high) - self.mean
        mapped = centred * self.matrix if self.matrix.ndim == 1 else centred @ self.matrix
        return mapped.clip(-self.cut, self.cut)

    def arrays(self) -> Mapping[str, NDArray[np.float64]]:
        """The fitted arrays by name."""
        return {name: getattr(self, name) for name in ("mean", "matrix", "low", "high", "cut")}


def _outlier_limits(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median and 6 robust standard deviations (half of the central 68 %) to either side; a column without, its ends."""
    lower, median, upper = np.quantile(values, (0.1587, 0.5, 0.8413), axis=0)
    reach = _OUTLIER * (upper - lower) / 2
    known = reach > 0
    return np.where(known, median - reach, values.min(0)), np.where(known, median + reach, values.max(0))


def _components(values: NDArray[np.float64], n_components: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Leading principal directions (c, k) with a fixed sign, and their standard deviations (k,), largest first."""
    n_columns = values.shape[1]
    first = max(0, n_columns - n_components)
    variance, vectors = scipy.linalg.eigh(values.T @ values / len(values), subset_by_index=[first, n_columns - 1])
    spread, vectors = np.sqrt(np.clip(variance[::-1], 0, None)), vectors[:, ::-1]
    kept = spread > max(_RANK * spread[0], 1e-12)
    spread, vectors = spread[kept], vectors[:, kept]
    signs = np.sign(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])])
    return vectors * signs, spread


def _column_moments(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean, scale = values.mean(0), values.std(0)
    return mean, np.where(scale > _CONSTANT * np.abs(values).max(0), scale, 0.0)


def _safe_inverse(scale: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)

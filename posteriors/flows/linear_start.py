"""Where members of the recipe ``default`` start: what of the targets is linear in the context, in closed form.

Two cases need it, as steps of one length for all parameters find neither. Targets of strongly correlated noise make
some directions of the mean slow and others restless: where the truth is a linear Gaussian, it is best to start there.
And a target that a column of the context tells almost exactly but for outliers, as a redshift scan does, has noise
whose core is a thousand times narrower than the target's spread: there the regression is a robust one, and the noise is
compressed before any network sees it. Elsewhere members do better to start from zero: with the linear part known from
the start, what is curved is learned late (measured: docs/performance.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["LinearStart"]

_Array = NDArray[np.float64]

_PENALTIES = (1e-7, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # a row, of the squared slopes on the context's columns
_ROBUST_PENALTY = 1e-8
_ROBUST_STEPS = 30  # at most; the weights settle in about 10
_SETTLED = 1e-3  # relative change of the robust scale
_HEAVY_GAIN = 0.5  # nats by which compressed noise must beat a Gaussian; noise of a width that varies fourfold gains .1
_HEAVY_ERRORS = 3.0  # and standard errors of that gain over the validation rows
_LEAST_SCALE = 1e-6  # of the targets' standard deviation: some float32 roundings


@dataclass(frozen=True)
class LinearStart:
    """The map z = L a((y - W x - b) / s) of targets y (t,) at contexts x (k,), both scaled, to noise.

    a(r) = arsinh(r) up to |r| = R and straight beyond; with R = 0 it is r itself.

    Attributes
    ----------
    weight, bias : W (t, k) and b (t,).
    log_scale : (t,) log s.
    reach : (t,) R, of compressed targets their largest |r| among the training rows, of others 0.
    mixing : (t, t) L, lower triangular with a positive diagonal.
    """

    weight: _Array
    bias: _Array
    log_scale: _Array
    reach: _Array
    mixing: _Array

    @classmethod
    def identity(cls, n_targets: int, n_context: int) -> Self:
        """The start that leaves the targets as they are."""
        zeros = np.zeros(n_targets)
        return cls(np.zeros((n_targets, n_context)), zeros, zeros, zeros, np.eye(n_targets))

    @classmethod
    def fit(cls, train: tuple[_Array, _Array], validation: tuple[_Array, _Array], *, linear: bool) -> Self:
        """Fit on scaled rows of context (n, k) and target (n, t).

        Parameters
        ----------
        validation : rows that choose the penalty of each ridge regression, and whether noise is compressed.
        linear : whether targets whose noise is not compressed start as a Gaussian linear in the context, with the
            residuals' covariance; otherwise they start as they are.
        """
        context, target = train
        n_targets = target.shape[1]
        lines = [
            _fit_line((context, target[:, column]), (validation[0], validation[1][:, column]), linear=linear)
            for column in range(n_targets)
        ]
        weight = np.stack([line.weight for line in lines])
        bias, log_scale, reach = np.array([(line.bias, math.log(line.scale), line.reach) for line in lines], float).T
        start = cls(weight, bias, log_scale, reach, np.eye(n_targets))
        noise = start.forward(target, context)
        if linear:
            factor = np.linalg.cholesky(np.atleast_2d(np.cov(noise, rowvar=False)))
        else:
            factor = np.diag(np.where(reach > 0, noise.std(0), 1.0))
        mixing = np.asarray(np.linalg.inv(factor), dtype=np.float64)
        return cls(weight, bias, log_scale, reach, mixing)

    def forward(self, target: _Array, context: _Array) -> _Array:
        """Targets (n, t) at contexts (n, k) to noise (n, t)."""
        residual = (target - context @ self.weight.T - self.bias) * np.exp(-self.log_scale)
        return _compress(residual, self.reach) @ self.mixing.T


@dataclass(frozen=True)
class _Line:
    """A regression of one target."""

    weight: _Array
    bias: float
    scale: float = 1.0
    reach: float = 0.0

    def residual(self, context: _Array, target: _Array) -> _Array:
        return target - context @ self.weight - self.bias


def _fit_line(train: tuple[_Array, _Array], validation: tuple[_Array, _Array], *, linear: bool) -> _Line:
    context, target = train
    plain = _scaled(_ridge(context, target, _PENALTIES), train)
    nlls = [np.square(line.residual(*validation) / line.scale) / 2 + math.log(line.scale) for line in plain]
    best = int(np.argmin([nll.mean() for nll in nlls]))
    robust = _robust_line(context, target)
    gain = nlls[best] - _compressed_nll(robust, train, validation)
    if gain.mean() > max(_HEAVY_GAIN, _HEAVY_ERRORS * gain.std() / math.sqrt(len(gain))):
        return robust
    return plain[best] if linear else _Line(np.zeros(context.shape[1]), 0.0)


def _ridge(
    context: _Array, target: _Array, penalties: tuple[float, ...], row_weights: _Array | None = None
) -> list[_Line]:
    """Least squares with each penalty, of rows of equal weight or not; the mean is not penalised."""
    share = np.full(len(target), 1 / len(target)) if row_weights is None else row_weights / row_weights.sum()
    centre, middle = share @ context, float(share @ target)
    centred = context - centre
    variance, vectors = np.linalg.eigh((centred * share[:, None]).T @ centred)
    product = vectors.T @ (centred.T @ (share * (target - middle)))
    weights = [vectors @ (product / (variance.clip(0) + penalty)) for penalty in penalties]
    return [_Line(weight, middle - float(centre @ weight)) for weight in weights]


def _scaled(lines: list[_Line], train: tuple[_Array, _Array]) -> list[_Line]:
    """The lines with the standard deviation of their residuals."""
    return [_Line(line.weight, line.bias, max(float(line.residual(*train).std()), _LEAST_SCALE)) for line in lines]


def _robust_line(context: _Array, target: _Array) -> _Line:
    """Regression with Cauchy weights, 1 / (1 + r^2), r in units of the median residual: outliers have no say.

    References
    ----------
    Holland & Welsch 1977, Commun. Stat. A6, 813: iteratively reweighted least squares.
    """
    row_weights, scale = np.ones(len(target)), math.inf
    for _ in range(_ROBUST_STEPS):
        line = _ridge(context, target, (_ROBUST_PENALTY,), row_weights)[0]
        residual = np.abs(line.residual(context, target))
        before, scale = scale, max(float(np.median(residual)) / 0.6745, _LEAST_SCALE)
        row_weights = 1 / (1 + np.square(residual / scale))
        if abs(before - scale) < _SETTLED * scale:
            break
    return _Line(line.weight, line.bias, scale, float(residual.max()) / scale)


def _compressed_nll(line: _Line, train: tuple[_Array, _Array], rows: tuple[_Array, _Array]) -> _Array:
    """NLL (n,) of rows but for log(2 pi) / 2: a Gaussian in the compressed residuals, its width from the training."""
    residual = line.residual(*rows) / line.scale
    spread = float(_compress(line.residual(*train) / line.scale, line.reach).std())
    slope = np.log1p(np.square(residual.clip(-line.reach, line.reach))) / 2
    return np.square(_compress(residual, line.reach) / spread) / 2 + math.log(spread * line.scale) + slope


def _compress(residual: _Array, reach: _Array | float) -> _Array:
    inner = residual.clip(-reach, reach)
    return np.arcsinh(inner) + (residual - inner) / np.sqrt(1 + np.square(reach))

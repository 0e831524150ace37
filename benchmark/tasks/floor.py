"""The floor of a score: what a prediction reaches that knows the training targets and nothing of the galaxy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError

__all__ = ["constant_prediction", "marginal_draws", "marginal_nll"]


def constant_prediction(training: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """The training mean of each target, (n, t); NaN among the training targets is left out."""
    return np.tile(np.nanmean(training, axis=0), (n, 1))


def marginal_draws(training: NDArray[np.float64], n_draws: int, n: int, seed: int) -> NDArray[np.float32]:
    """Draws (n_draws, n, t): for every galaxy rows of the training targets (m, t), at random."""
    complete = training[np.isfinite(training).all(axis=1)]
    rows = np.random.default_rng([seed, 1]).integers(len(complete), size=(n_draws, n))
    return complete.astype(np.float32)[rows]


def marginal_nll(training: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Negative log density (n,) of truths (n, t) under the distribution of the training targets, in nats.

    A Gaussian kernel density estimate with Scott's bandwidth (Scott 1992, Multivariate Density Estimation, eq. 6.42)
    on the z-scored targets. The second value is what to add to a log density to have it in z-scored targets.

    Raises
    ------
    GalaxybenchError
        If the training targets are collinear.
    """
    from scipy.stats import gaussian_kde  # 1 s of import, needed by this task alone

    complete = training[np.isfinite(training).all(axis=1)]
    mean, spread = complete.mean(axis=0), complete.std(axis=0)
    try:
        density = gaussian_kde(((complete - mean) / spread).T)
    except np.linalg.LinAlgError as error:
        raise GalaxybenchError(
            "the default targets of the survey are collinear or repeat each other, so they have no joint density: "
            "set joint = false for one of them in survey.toml or its import spec"
        ) from error
    log_jacobian = float(np.log(spread).sum())
    return log_jacobian - density.logpdf(((truth - mean) / spread).T), log_jacobian

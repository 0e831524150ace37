"""The floor of a score: what a prediction reaches that knows the training targets and nothing of the galaxy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError
from posteriors.calibration.hpd import hpd_ranks
from posteriors.scores.density import cde_loss_per_galaxy

__all__ = ["MarginalDensity", "constant_prediction", "marginal_density", "marginal_draws"]

_N_DRAWS = 1_000  # of the marginal density, at which it is integrated


@dataclass(frozen=True)
class MarginalDensity:
    """The distribution of the training targets as a posterior of every galaxy.

    Attributes
    ----------
    nll : (n,) negative log density of the truths, in nats and the targets' units.
    log_jacobian : to add to a log density to have it in z-scored targets.
    hpd_rank : (n,) share of it that is denser than the truth.
    cde_loss : (n,) conditional density loss of z-scored targets.
    """

    nll: NDArray[np.float64]
    log_jacobian: float
    hpd_rank: NDArray[np.float64]
    cde_loss: NDArray[np.float64]


def constant_prediction(training: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """The training mean of each target, (n, t); NaN among the training targets is left out."""
    return np.tile(np.nanmean(training, axis=0), (n, 1))


def marginal_draws(training: NDArray[np.float64], n_draws: int, n: int, seed: int) -> NDArray[np.float32]:
    """Draws (n_draws, n, t): for every galaxy rows of the training targets (m, t), at random."""
    complete = training[np.isfinite(training).all(axis=1)]
    rows = np.random.default_rng([seed, 1]).integers(len(complete), size=(n_draws, n))
    return complete.astype(np.float32)[rows]


def marginal_density(training: NDArray[np.float64], truth: NDArray[np.float64], seed: int) -> MarginalDensity:
    """What the distribution of the training targets (m, t) says of truths (n, t).

    A Gaussian kernel density estimate with Scott's bandwidth (Scott 1992, Multivariate Density Estimation, eq. 6.42)
    on the z-scored targets; what needs draws of it takes a thousand, the same for all galaxies.

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
    at_truth = density.logpdf(((truth - mean) / spread).T)
    drawn = density.logpdf(density.resample(_N_DRAWS, seed=np.random.default_rng([seed, 2])))
    at_draws = np.broadcast_to(drawn[:, None], (_N_DRAWS, len(truth)))
    rank, loss = hpd_ranks(at_truth, at_draws, seed=seed), cde_loss_per_galaxy(at_truth, at_draws)
    return MarginalDensity(log_jacobian - at_truth, log_jacobian, rank, loss)

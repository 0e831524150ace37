"""Highest-density regions: how much posterior mass is denser than the truth.

The credibility of the smallest region that holds the truth is uniform for a calibrated posterior. It judges the joint
density with all of its shape, where PIT judges one target at a time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["hpd_ranks"]


def hpd_ranks(target_log_prob: ArrayLike, draws_log_prob: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
    """Credibility of the highest-density region that just holds the truth, (n,), randomised to be exactly uniform.

    Small where the truth lies at a mode. Too narrow a posterior has too many values near 1, too wide a one near 0: the
    mean is above or below 1/2 (`posteriors.calibration.uniformity.ks_uniform` sees it).

    Parameters
    ----------
    target_log_prob : (n,) log density of the posterior at the truth.
    draws_log_prob : (n_draws, n) the same at draws of the same posterior, in the same units: of the mixture, if the
        draws are the mixture's.
    seed : of the randomisation.

    Raises
    ------
    ValueError
        For shapes that do not fit, and for NaN.

    Notes
    -----
    A shift of the posterior that keeps to its own ridge of equal density is not seen.

    References
    ----------
    Hyndman 1996, doi:10.1080/00031305.1996.10473359; Hermans et al. 2022, arXiv:2110.06581, eq. 2 (expected coverage of
    highest-density regions).
    """
    truth, drawn = np.asarray(target_log_prob, dtype=np.float64), np.asarray(draws_log_prob, dtype=np.float64)
    if truth.ndim != 1 or drawn.ndim != 2 or drawn.shape[1:] != truth.shape or 0 in drawn.shape:
        raise ValueError(
            f"log densities of truths {truth.shape} and draws {drawn.shape}: (n,) and (n_draws, n) are needed"
        )
    if np.isnan(truth).any() or np.isnan(drawn).any():
        raise ValueError("log densities have NaN: leave those galaxies out")
    denser, equal = (drawn > truth).sum(0), (drawn == truth).sum(0)
    jitter = np.random.default_rng(seed).random(len(truth))
    return (denser + jitter * (1 + equal)) / (len(drawn) + 1)

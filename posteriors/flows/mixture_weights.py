"""Weights of an ensemble's members: stacked on validation densities, and shared out over draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["draw_counts", "log_weights", "stacked_weights"]

_NATS = 1e-6  # of the mean log density, within which the best is reached
_MOST_STEPS = 20_000


def stacked_weights(member_log_prob: ArrayLike) -> NDArray[np.float64]:
    """Weights (members,) >= 0 of sum 1 with the highest mean log density of the mixture at these truths.

    The problem is convex. Expectation maximisation from equal weights never goes down, so that the mixture is never
    worse here than the equally weighted one. It stops where the best is at most 1e-6 nats away: with g_k the mean over
    truths of p_k / sum_j w_j p_j, no weights are better by more than log max g_k.

    Parameters
    ----------
    member_log_prob : (members, n) log density of each member at truths that it was not trained on, in nats.

    Raises
    ------
    ValueError
        For another shape, NaN or +infinity, and truths at which no member has a density.

    Notes
    -----
    Weights are sharper than the truths can tell: of members that are equally good in expectation some get none. With
    few truths, some tens a member, equal weights are the safer choice.

    References
    ----------
    Yao, Vehtari, Simpson & Gelman 2018, Using stacking to average Bayesian predictive distributions, arXiv:1704.02030,
    eq. 5, with held-out truths in place of leave-one-out; Lindsay 1983, doi:10.1214/aos/1176346059 (the bound).
    """
    log_prob = np.asarray(member_log_prob, dtype=np.float64)
    if log_prob.ndim != 2 or 0 in log_prob.shape or np.isnan(log_prob).any() or (log_prob == np.inf).any():
        raise ValueError(f"member_log_prob of shape {log_prob.shape}: (members, n) without NaN or +infinity is needed")
    highest = log_prob.max(0)
    if np.isneginf(highest).any():
        raise ValueError(
            f"no member has a density at {int(np.isneginf(highest).sum())} truths: leave those out, no weights help"
        )
    density = np.exp(log_prob - highest)
    weights = np.full(len(density), 1 / len(density))
    for _ in range(_MOST_STEPS):
        gain = (density / (weights @ density)).mean(1)
        if np.log(gain.max()) <= _NATS:
            break
        weights = weights * gain
        weights /= weights.sum()
    return weights


def log_weights(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of weights (members,), -infinity of none."""
    return np.log(weights, out=np.full(len(weights), -np.inf), where=weights > 0)


def draw_counts(weights: NDArray[np.float64], n_draws: int, turns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Draws (members,) that each member gives, ``n_draws`` in all: its share, and one of those left over.

    What is left over goes to the members with the largest remainders of their shares; of equal ones to the first.

    Parameters
    ----------
    weights : (members,) of sum 1.
    turns : (members,) the members in random order, in which those of equal remainders come.
    """
    share = weights * n_draws
    counts = np.floor(share).astype(np.int64)
    by_remainder = np.argsort((counts - share)[turns], kind="stable")
    counts[turns[by_remainder][: n_draws - counts.sum()]] += 1
    return counts

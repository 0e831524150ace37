"""Scores of densities and draws: negative log density, CRPS, energy score, PIT and central coverage.

Draws have shape (n_draws, n) or (n_draws, n, t), truths (n,) or (n, t).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "cde_loss_per_galaxy",
    "central_coverage",
    "check_draws",
    "check_shapes",
    "crps",
    "crps_per_galaxy",
    "energy_score",
    "energy_score_per_galaxy",
    "nll_member_mean",
    "nll_mixture",
    "nll_per_dim",
    "pit_values",
    "sharpness_per_galaxy",
]

_CHUNK_VALUES = 4_000_000  # values sorted at once: 32 MB in float64
_SUM_OF_SHARES = 1e-6  # rounding of float32


def nll_mixture(member_log_prob: ArrayLike, weights: ArrayLike | None = None) -> NDArray[np.float64]:
    """Negative log density (n,) of the mixture, from (members, n) in nats; lower is better.

    Parameters
    ----------
    member_log_prob : (members, n).
    weights : (members,) >= 0 of sum 1; None: equal ones.

    Raises
    ------
    ValueError
        For shapes that do not fit, and weights that are not shares.
    """
    log_prob = _check_member_log_prob(member_log_prob)
    if weights is None:
        return math.log(len(log_prob)) - np.logaddexp.reduce(log_prob, axis=0)
    shares = np.asarray(weights, dtype=np.float64)
    if shares.shape != log_prob.shape[:1] or not (shares >= 0).all() or abs(shares.sum() - 1) > _SUM_OF_SHARES:
        raise ValueError(f"weights {weights!r}: {len(log_prob)} shares >= 0 of sum 1 are needed, one for each member")
    used = shares > 0
    return -np.logaddexp.reduce(log_prob[used] + np.log(shares[used])[:, None], axis=0)


def nll_member_mean(member_log_prob: ArrayLike) -> NDArray[np.float64]:
    """Negative log density (n,) averaged over members, never below that of the mixture (Jensen).

    This is what AstroCLIP prints (Parker et al. 2024, arXiv:2310.03024), there also averaged over dimensions:
    `nll_per_dim`.
    """
    return -_check_member_log_prob(member_log_prob).mean(0)


def nll_per_dim(member_log_prob: ArrayLike, n_targets: int) -> NDArray[np.float64]:
    """`nll_member_mean` over the number of targets, (n,): the parity column of published tables, never ranked."""
    if n_targets < 1:
        raise ValueError(f"n_targets = {n_targets}: at least 1 is needed")
    return nll_member_mean(member_log_prob) / n_targets


def crps(y_true: ArrayLike, draws: ArrayLike) -> float:
    """Mean continuous ranked probability score over galaxies (and over targets, where there are several).

    See `crps_per_galaxy`; standardise targets of different units before averaging over them.
    """
    return float(crps_per_galaxy(y_true, draws).mean())


def crps_per_galaxy(y_true: ArrayLike, draws: ArrayLike) -> NDArray[np.float64]:
    """Continuous ranked probability score of the draws' empirical distribution, in the target's unit.

    mean |x - y| - 1/2 mean |x - x'|, the second term by the sorted draws: sum over i of (2i - m - 1) x_(i) / m^2.
    It is the absolute error of one draw; lower is better.

    Parameters
    ----------
    y_true : (n,) or (n, t).
    draws : (n_draws, n) or (n_draws, n, t).

    Returns
    -------
    Array of the shape of ``y_true``.

    Raises
    ------
    ValueError
        For shapes that do not fit and values that are not finite.

    References
    ----------
    Gneiting & Raftery 2007, doi:10.1198/016214506000001437, eq. 21; Jordan, Krueger & Lerch 2019,
    doi:10.18637/jss.v090.i12, eq. 3 (sorted form).
    """
    true, drawn = check_draws(y_true, draws)
    n_draws = len(drawn)
    flat_true, flat_drawn = true.reshape(-1), drawn.reshape(n_draws, -1)
    rank_weight = (2 * np.arange(1, n_draws + 1) - n_draws - 1) / n_draws**2
    score = np.empty(len(flat_true))
    step = max(1, _CHUNK_VALUES // n_draws)
    for start in range(0, len(score), step):
        # residuals keep the digits of a target whose spread is small beside its value
        residual = flat_drawn[:, start : start + step] - flat_true[start : start + step]
        score[start : start + step] = np.abs(residual).mean(0) - rank_weight @ np.sort(residual, axis=0)
    return score.reshape(true.shape)


def energy_score(y_true: ArrayLike, draws: ArrayLike) -> float:
    """Mean energy score over galaxies; see `energy_score_per_galaxy`."""
    return float(energy_score_per_galaxy(y_true, draws).mean())


def energy_score_per_galaxy(y_true: ArrayLike, draws: ArrayLike) -> NDArray[np.float64]:
    """Energy score (n,) of joint draws: mean |x - y| - 1/2 mean |x - x'| with Euclidean norms.

    The CRPS for several targets together, equal to it for one; lower is better. It has the unit of the targets,
    which therefore must be alike or standardised. Exact: all pairs of draws are compared.

    Parameters
    ----------
    y_true : (n,) or (n, t).
    draws : (n_draws, n) or (n_draws, n, t).

    References
    ----------
    Gneiting & Raftery 2007, doi:10.1198/016214506000001437, eq. 22 with beta = 1.
    """
    from scipy.spatial.distance import pdist  # a third of a second to import, of use to this function alone

    true, drawn = check_draws(y_true, draws)
    true, drawn = true.reshape(len(true), -1), drawn.reshape(*drawn.shape[:2], -1)
    n_draws = len(drawn)
    score = np.linalg.norm(drawn - true, axis=2).mean(0)
    for galaxy in range(len(true)):
        score[galaxy] -= pdist(drawn[:, galaxy]).sum() / n_draws**2
    return score


def cde_loss_per_galaxy(target_log_prob: ArrayLike, draws_log_prob: ArrayLike) -> NDArray[np.float64]:
    """Conditional density loss (n,): integral of p^2 minus twice p at the truth; lower is better, no zero point.

    The squared distance from the true density but for a constant. Unlike the likelihood it is bounded where a truth
    falls outside of the density, and it has the unit of a density, so that it cannot be compared between targets.

    Parameters
    ----------
    target_log_prob : (n,) log density at the truth.
    draws_log_prob : (n_draws, n) log density at draws of the same density: their mean density is the integral of p^2.

    Raises
    ------
    ValueError
        For shapes that do not fit, and for NaN.

    References
    ----------
    Izbicki & Lee 2017, arXiv:1704.08095, eq. 3; Schmidt et al. 2020, arXiv:2001.03621, section 4.4 (photometric
    redshifts).
    """
    truth, drawn = np.asarray(target_log_prob, dtype=np.float64), np.asarray(draws_log_prob, dtype=np.float64)
    if truth.ndim != 1 or drawn.ndim != 2 or drawn.shape[1:] != truth.shape or not len(drawn):
        raise ValueError(
            f"log densities of truths {truth.shape} and draws {drawn.shape}: (n,) and (n_draws, n) are needed"
        )
    if np.isnan(truth).any() or np.isnan(drawn).any():
        raise ValueError("log densities have NaN: leave those galaxies out")
    return np.exp(drawn).mean(0) - 2 * np.exp(truth)


def sharpness_per_galaxy(draws: ArrayLike, level: float = 0.68) -> NDArray[np.float64]:
    """Width of the central interval of the draws, (n,) or (n, t), in the target's unit.

    Of two calibrated posteriors the sharper one knows more; of two uncalibrated ones it says nothing.

    Parameters
    ----------
    draws : (n_draws, n) or (n_draws, n, t).
    level : between 0 and 1.

    Raises
    ------
    ValueError
        For another shape, values that are not finite, and a level out of range.

    References
    ----------
    Gneiting, Balabdaoui & Raftery 2007, doi:10.1111/j.1467-9868.2007.00587.x.
    """
    drawn = np.asarray(draws)
    if drawn.ndim not in (2, 3) or 0 in drawn.shape or not np.isfinite(drawn).all():
        raise ValueError(f"draws of shape {drawn.shape}: finite (n_draws, n) or (n_draws, n, t) are needed")
    if not 0 < level < 1:
        raise ValueError(f"level = {level}: a number between 0 and 1 is needed, e.g. 0.68")
    low, high = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2), axis=0)
    return high - low


def pit_values(y_true: ArrayLike, draws: ArrayLike, *, seed: int = 0) -> NDArray[np.float64]:
    """Probability integral transform: the randomised rank of the truth among its draws, in (0, 1).

    (c + U (1 + e)) / (n_draws + 1) with c draws below the truth, e equal to it and U uniform: exactly uniform for a
    calibrated posterior, whatever the number of draws and with ties.

    Parameters
    ----------
    y_true : (n,) or (n, t); each target by itself.
    draws : (n_draws, n) or (n_draws, n, t).
    seed : of U.

    Returns
    -------
    Array of the shape of ``y_true``.
    """
    true, drawn = check_draws(y_true, draws)
    below, equal = (drawn < true).sum(0), (drawn == true).sum(0)
    jitter = np.random.default_rng(seed).random(true.shape)
    return (below + jitter * (1 + equal)) / (len(drawn) + 1)


def central_coverage(pit: ArrayLike, level: float) -> NDArray[np.bool_]:
    """Whether the truth lies in the central interval of the given level, by its PIT: |pit - 1/2| <= level / 2.

    The mean over galaxies is the coverage; it should be the level.

    Raises
    ------
    ValueError
        If the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level = {level}: a number between 0 and 1 is needed, e.g. 0.68")
    return np.abs(np.asarray(pit) - 0.5) <= level / 2


def check_draws(y_true: ArrayLike, draws: ArrayLike) -> tuple[NDArray[np.float64], NDArray]:
    """Truths (n,) or (n, t) and draws (n_draws, n) or (n_draws, n, t) of the same galaxies and targets.

    Raises
    ------
    ValueError
        For shapes that do not fit and values that are not finite.
    """
    true, drawn = np.asarray(y_true, dtype=np.float64), np.asarray(draws)
    check_shapes(true, drawn)
    if not np.isfinite(true).all():
        raise ValueError(f"truth has {int((~np.isfinite(true)).sum())} values that are NaN or infinite")
    if not np.isfinite(drawn).all():
        raise ValueError(f"draws have {int((~np.isfinite(drawn)).sum())} values that are NaN or infinite")
    return true, drawn


def check_shapes(true: NDArray, drawn: NDArray) -> None:
    """Refuse truths and draws whose shapes do not fit, as `check_draws`.

    Raises
    ------
    ValueError
        Unless they are (n,) and (n_draws, n), or (n, t) and (n_draws, n, t), and not empty.
    """
    if true.ndim not in (1, 2) or drawn.shape[1:] != true.shape or 0 in drawn.shape:
        raise ValueError(
            f"truth has shape {true.shape} and draws {drawn.shape}: (n,) with (n_draws, n), or (n, t) with "
            "(n_draws, n, t) are needed"
        )


def _check_member_log_prob(member_log_prob: ArrayLike) -> NDArray[np.float64]:
    log_prob = np.asarray(member_log_prob, dtype=np.float64)
    if log_prob.ndim != 2 or 0 in log_prob.shape:
        raise ValueError(f"member_log_prob of shape {log_prob.shape}: (members, n) is needed")
    return log_prob

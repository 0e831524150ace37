"""Posteriors held against the reference: how much of what photometry allows a model has lost.

Only galaxies are used whose reference is well determined. Scores are of one target at a time: a joint density cannot be
had from draws to better than half a nat (kernels in five dimensions), a marginal one can to .02. Gaps of density are
lower limits: kernels blur the reference, which has fewer effective draws, by .01 to .02 nat more than the model, and a
posterior that is wrong by its own width pays up to a quarter less than it should.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.artefacts import Posterior
from benchmark.contracts import GalaxybenchError, Score, TaskCard, TooFewGalaxies
from benchmark.tasks.eligible import joint_targets
from benchmark.tasks.floor import marginal_draws
from posteriors.resampling.bootstrap import shared_intervals
from posteriors.scores import density
from posteriors.scores.resampling import BoundScore, mean_of_scores, mean_over_galaxies

__all__ = ["LEAST_ESS", "TASK", "crps_of_draws", "ks_excess", "marginal_nll", "score"]

Array = NDArray[np.float64]

LEAST_ESS = 50
"""Effective draws of the reference below which a galaxy is left out; which these are, photometry alone decides."""

_MIN_GALAXIES = 20  # below it a bootstrap interval says nothing
_WIDE_SHARE, _WIDE = 0.01, 2.0  # of the kernel densities: a Gaussian of twice the spread, for truths beyond every draw
KOLMOGOROV_MEAN = float(np.sqrt(np.pi / 2) * np.log(2))


TASK = TaskCard(
    name="reference",
    version=1,
    needs="posterior",
    metrics=("nll_gap", "crps_gap", "reference_ks"),
    score="benchmark.tasks.reference:score",
    targets=joint_targets,
    reason="has no default targets",
    headline=("nll_gap", "mean"),
    summary="photometry posteriors on simulated surveys against the posterior that photometry allows",
    against="ReferencePosterior",
)


def score(
    evidence: Posterior,
    training: NDArray[np.float64],
    *,
    ranked: tuple[str, ...],
    seed: int,
    n_resamples: int,
    reference: Posterior,
) -> tuple[list[Score], dict[str, Any]]:
    """Distances of a posterior from the reference, target by target.

    Parameters
    ----------
    evidence : draws (n_draws, n, t) and truths (n, t).
    training : (m, t) training targets, which the floor is made from.
    ranked : not used.
    seed, n_resamples : of the bootstrap over galaxies, the same for every model.
    reference : draws of the same targets, with effective sample sizes; joined by id.

    Raises
    ------
    TooFewGalaxies
        If fewer than 20 galaxies have a reference of `LEAST_ESS` effective draws.
    GalaxybenchError
        If the reference has no effective sample sizes, or a galaxy's draws are all equal.
    """
    ours, theirs, ess = _joined(evidence, reference)
    n = len(ours.target_id)
    floor_draws = marginal_draws(training, ours.draws.shape[0], n, seed)
    bound: dict[tuple[str, str, str], BoundScore] = {}
    for number, name in enumerate(ours.names):
        truth, best = ours.truth[:, number], theirs.draws[:, :, number].astype(np.float64)
        best_nll, best_crps = marginal_nll(best, truth, ess), crps_of_draws(best, truth, ess)
        for who, all_draws in (("model", ours.draws), ("floor", floor_draws)):
            draws = all_draws[:, :, number].astype(np.float64)
            independent = np.full(n, float(len(draws)))
            bound[who, "nll_gap", name] = mean_over_galaxies(marginal_nll(draws, truth, independent) - best_nll)
            bound[who, "crps_gap", name] = mean_over_galaxies(crps_of_draws(draws, truth, independent) - best_crps)
            bound[who, "reference_ks", name] = mean_over_galaxies(ks_excess(draws, best, ess))
    if len(ours.names) > 1:
        for who in ("model", "floor"):
            for metric in ("nll_gap", "reference_ks"):
                bound[who, metric, "mean"] = mean_of_scores([(who, metric, name) for name in ours.names])
    found = shared_intervals(bound, n=n, n_resamples=n_resamples, seed=seed)
    scores = [
        Score(metric, name, interval.value, interval.low, interval.high, n, found["floor", metric, name].value)
        for (who, metric, name), interval in found.items()
        if who == "model"
    ]
    left_out = len(evidence.target_id) - n
    return scores, {"least_ess": LEAST_ESS, "n_left_out": left_out, "ess_50": round(float(np.median(ess)), 1)}


def _joined(evidence: Posterior, reference: Posterior) -> tuple[Posterior, Posterior, Array]:
    """Both posteriors of the galaxies whose reference is well determined, and its effective sample sizes."""
    if reference.ess is None:
        raise GalaxybenchError("the reference says no effective sample sizes: it cannot be judged against")
    common, ours, theirs = np.intersect1d(evidence.target_id, reference.target_id, return_indices=True)
    sure = reference.ess[theirs] >= LEAST_ESS
    if sure.sum() < _MIN_GALAXIES:
        raise TooFewGalaxies(
            f"{sure.sum()} of {len(common)} galaxies have {LEAST_ESS} effective draws of the reference: at least "
            f"{_MIN_GALAXIES} are needed; use a larger preset"
        )
    return _take(evidence, ours[sure]), _take(reference, theirs[sure]), reference.ess[theirs[sure]]


def _take(posterior: Posterior, rows: NDArray[np.intp]) -> Posterior:
    return Posterior(posterior.target_id[rows], posterior.names, posterior.truth[rows], posterior.draws[:, rows])


def marginal_nll(draws: Array, truth: Array, n_effective: Array) -> Array:
    """-log p (n,) of truths (n,) by Gaussian kernels on draws (n_draws, n), of which ``n_effective`` (n,) count.

    Bandwidth .9 min(standard deviation, IQR / 1.349) n^(-1/5) (Silverman 1986, Density estimation, eq. 3.31); one part
    in a hundred is a Gaussian of twice the spread. For a Gaussian the result is too high by .005 nat from 1,000 draws,
    .01 from 300 and .04 from 50.

    Raises
    ------
    GalaxybenchError
        If all draws of a galaxy are equal: such a posterior has no density.
    """
    spread = draws.std(axis=0)
    low, high = np.quantile(draws, (0.25, 0.75), axis=0)
    robust = np.where(high > low, np.minimum(spread, (high - low) / 1.349), spread)
    if (robust == 0).any():
        raise GalaxybenchError(f"{(robust == 0).sum()} galaxies have draws that are all equal: they have no density")
    width = 0.9 * robust * n_effective**-0.2
    kernels = np.exp(-0.5 * ((draws - truth) / width) ** 2).mean(axis=0) / width
    wide = np.exp(-0.5 * ((truth - draws.mean(axis=0)) / (_WIDE * spread)) ** 2) / (_WIDE * spread)
    density_at_truth = ((1 - _WIDE_SHARE) * kernels + _WIDE_SHARE * wide) / np.sqrt(2 * np.pi)
    return -np.log(np.maximum(density_at_truth, np.finfo(float).tiny))


def crps_of_draws(draws: Array, truth: Array, n_effective: Array) -> Array:
    """CRPS (n,) of the distribution behind draws (n_draws, n): unbiased in the number of draws (Ferro 2014).

    References
    ----------
    Ferro 2014, Q. J. R. Meteorol. Soc. 140, 1917, eq. 4.
    """
    plain = density.crps_per_galaxy(truth, draws)
    half_difference = np.abs(draws - truth).mean(axis=0) - plain  # of two draws with replacement
    return plain - half_difference / (n_effective - 1)


def ks_excess(draws: Array, reference: Array, ess: Array) -> Array:
    """Largest distance (n,) between two sets of draws' distributions, less its mean where both have the same.

    That mean is .8687 sqrt(1 / n_draws + 1 / ess), of Kolmogorov's distribution.
    """
    largest = np.array([_largest_distance(a, b) for a, b in zip(draws.T, reference.T, strict=True)])
    return largest - KOLMOGOROV_MEAN * np.sqrt(1 / len(draws) + 1 / ess)


def _largest_distance(one: Array, other: Array) -> float:
    one, other = np.sort(one), np.sort(other)
    at = np.concatenate([one, other])
    shares = (np.searchsorted(sorted_, at, side="right") / len(sorted_) for sorted_ in (one, other))
    return float(np.abs(np.subtract(*shares)).max())

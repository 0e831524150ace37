"""Posteriors held against the exact one, where it is known: how far from the truth a fit has stayed.

The gap of density is exact and joint over the targets: the mean over test galaxies of log p(truth) - log q(truth),
whose expectation is the Kullback-Leibler divergence of the posterior q from the exact p. C2ST asks what the gap cannot
say of a posterior that is known by its draws alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.artefacts import Posterior
from benchmark.contracts import GalaxybenchError, Score, TaskCard, TooFewGalaxies
from benchmark.tasks.eligible import joint_targets
from benchmark.tasks.floor import marginal_density, marginal_draws
from posteriors.resampling.bootstrap import shared_intervals
from posteriors.scores import density
from posteriors.scores.resampling import BoundScore, mean_over_galaxies

__all__ = ["N_COMPARED", "TASK", "score"]

N_COMPARED = 16
"""Galaxies whose draws are compared: a few networks are trained for each."""

_N_FOLDS = 2  # half the draws train, the other half is judged, and the reverse
_MIN_GALAXIES = 20  # below it a bootstrap interval says nothing


TASK = TaskCard(
    name="validity",
    version=1,
    needs="posterior",
    metrics=("nll_gap", "c2st"),
    score="benchmark.tasks.validity:score",
    targets=joint_targets,
    reason="has no default targets",
    headline=("nll_gap", "joint"),
    summary="posteriors on analytic surveys against the exact one: density gap and classifier two-sample test",
    against="ExactPosterior",
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
    """Distances of a joint posterior from the exact one.

    Parameters
    ----------
    evidence : draws (n_draws, n, t), truths (n, t) and, where known, log densities of the members; without these there
        is no ``nll_gap``.
    training : (m, t) training targets, which the floor is made from.
    ranked : not used.
    seed, n_resamples : of the bootstrap over galaxies and of the networks, the same for every model.
    reference : the exact posterior of the same targets with its density; joined by id.
    """
    if reference.member_log_prob is None:
        raise GalaxybenchError("the reference has no density: it cannot be judged against")
    common, ours, theirs = np.intersect1d(evidence.target_id, reference.target_id, return_indices=True)
    if len(common) < _MIN_GALAXIES:
        raise TooFewGalaxies(
            f"{len(common)} test galaxies have an exact posterior: at least {_MIN_GALAXIES} are needed; use more"
        )
    scores: list[Score] = []
    if evidence.member_log_prob is not None:
        exact = reference.member_log_prob[0, theirs]
        gaps = {
            "model": density.nll_mixture(evidence.member_log_prob[:, ours]) + exact,
            "floor": marginal_density(training, evidence.truth[ours], seed).nll + exact,
        }
        scores.append(_score("nll_gap", gaps, n_resamples, seed))
    chosen = np.random.default_rng([seed, 2]).permutation(len(common))[:N_COMPARED]
    scores.append(
        _score(
            "c2st", _accuracies(evidence, reference, training, ours[chosen], theirs[chosen], seed), n_resamples, seed
        )
    )
    details = {"n_compared": len(chosen), "n_draws_compared": _n_draws(evidence, reference), "n_folds": _N_FOLDS}
    return scores, details


def _n_draws(evidence: Posterior, reference: Posterior) -> int:
    return min(len(evidence.draws), len(reference.draws))


def _accuracies(
    evidence: Posterior,
    reference: Posterior,
    training: NDArray[np.float64],
    ours: NDArray[np.intp],
    theirs: NDArray[np.intp],
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """C2ST of a few galaxies (rows of both posteriors), for the model and for draws of the training targets."""
    from posteriors.calibration.c2st import c2st  # brings torch, which listing the tasks must not cost

    n_draws = _n_draws(evidence, reference)
    exact = reference.draws[:n_draws, theirs]
    draws = {
        "model": evidence.draws[:n_draws, ours],
        "floor": marginal_draws(training, n_draws, len(ours), seed),
    }
    return {who: c2st(of_them, exact, n_folds=_N_FOLDS, seed=seed % 2**31) for who, of_them in draws.items()}


def _score(metric: str, values: dict[str, NDArray[np.float64]], n_resamples: int, seed: int) -> Score:
    n = len(values["model"])
    bound: dict[str, BoundScore] = {who: mean_over_galaxies(column) for who, column in values.items()}
    found = shared_intervals(bound, n=n, n_resamples=n_resamples, seed=seed)
    interval = found["model"]
    return Score(metric, "joint", interval.value, interval.low, interval.high, n, found["floor"].value)

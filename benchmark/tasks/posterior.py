"""The joint posterior over a survey's default targets: density, width, and whether it is calibrated.

Scores of draws stand there twice: as the posterior gave them, and under the condition ``recalibrated`` after the PIT of
the validation galaxies, which it was not fitted to, was made uniform. Nothing of the test galaxies enters either.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.artefacts import Posterior
from benchmark.contracts import GalaxybenchError, Score, TaskCard
from benchmark.tasks.calibration import calibration_details, pit_distances, tarp_tests
from benchmark.tasks.eligible import joint_targets
from benchmark.tasks.floor import marginal_draws, marginal_nll
from benchmark.tasks.points import RESAMPLED
from benchmark.tasks.recalibration import recalibrated_details, recalibrated_draws
from posteriors.resampling.bootstrap import shared_intervals
from posteriors.scores import density
from posteriors.scores.resampling import BoundScore, mean_of_scores, mean_over_galaxies

__all__ = ["TASK", "score"]

ScoreKey = tuple[str, str, str]  # "model", "recalibrated", "floor" or "resampled"; metric; target

_LEVELS = {"coverage_68": 0.68, "coverage_95": 0.95}
_ENERGY_DRAWS = 200  # of a galaxy: all pairs of draws are compared
_MIN_GALAXIES = 50  # below it no calibration test says anything


TASK = TaskCard(
    name="posterior",
    version=4,
    needs="posterior",
    metrics=(
        "nll_mixture",
        "nll_member_mean",
        "nll_per_dim",
        "tarp_p",
        "tarp_width_p",
        "coverage_68",
        "coverage_95",
        "crps",
        "energy_score",
        "sharpness_68",
        "pit_ks",
        "nll_ceiling",
    ),
    score="benchmark.tasks.posterior:score",
    targets=joint_targets,
    reason="has no default targets",
    headline=("nll_mixture", "joint"),
    summary="joint posterior of the default targets: NLL, coverage, TARP, PIT, CRPS, energy score, sharpness",
)


def score(
    evidence: Posterior, training: NDArray[np.float64], *, ranked: tuple[str, ...], seed: int, n_resamples: int
) -> tuple[list[Score], dict[str, Any]]:
    """Scores of a posterior, and what the page shows of its calibration.

    Parameters
    ----------
    evidence : draws (n_draws, n, t), truths (n, t) and, where known, log densities of the members.
        Where the errors of the labels are known, the density is judged at labels drawn anew too, under the condition
        ``labels=resampled``, beside ``nll_ceiling``.
    training : (m, t) training targets, which the floor is made from.
    ranked : not used: the posterior is joint over the default targets.
    seed, n_resamples : of the bootstrap over galaxies, the same for every model.
    """
    n = len(evidence.target_id)
    if n < _MIN_GALAXIES:
        raise GalaxybenchError(
            f"{n} test galaxies have every default target: the posterior task needs at least {_MIN_GALAXIES}"
        )
    floor_draws = marginal_draws(training, evidence.draws.shape[0], n, seed)
    bound: dict[ScoreKey, BoundScore] = {}
    bound |= _densities(evidence, training)
    uncertain, n_uncertain = _against_resampled(evidence)
    bound |= uncertain
    both = {"model": evidence.draws, "floor": floor_draws}
    for who, draws in both.items():
        bound |= _per_target(who, draws, evidence, seed)
        bound[who, "energy_score", "joint"] = _energy_score(draws, evidence.truth, training)
    mended = recalibrated_draws(evidence)
    if mended is not None:
        both["recalibrated"] = mended
        bound |= _per_target("recalibrated", mended, evidence, seed)
        bound["recalibrated", "energy_score", "joint"] = _energy_score(mended, evidence.truth, training)
    found = shared_intervals(bound, n=n, n_resamples=n_resamples, seed=seed)
    for who, draws in both.items():
        tests = pit_distances(draws, evidence, seed) | tarp_tests(draws, evidence, seed)
        found |= {(who, *key): interval for key, interval in tests.items()}
    scores = [
        Score(
            *(metric, name, interval.value, interval.low, interval.high, n, found["floor", metric, name].value),
            condition=None if who == "model" else who,
        )
        for (who, metric, name), interval in found.items()
        if who in ("model", "recalibrated")
    ]
    scores += [
        Score(metric, name, interval.value, interval.low, interval.high, n_uncertain, None, condition=RESAMPLED)
        for (who, metric, name), interval in found.items()
        if who == "resampled"
    ]
    details = calibration_details(evidence, seed)
    if mended is not None:
        details["recalibrated"] = recalibrated_details(evidence, mended, seed)
    return scores, details


def _against_resampled(evidence: Posterior) -> tuple[dict[ScoreKey, BoundScore], int]:
    """NLL at labels drawn anew within their errors, its least possible value, and the galaxies with errors, counted."""
    log_prob, entropy = evidence.resampled_log_prob, evidence.label_entropy
    if log_prob is None or entropy is None:
        return {}, 0
    known = np.isfinite(entropy) & np.isfinite(log_prob).all(axis=0)
    if known.sum() < _MIN_GALAXIES:
        return {}, 0
    nll = np.full(len(known), np.nan)
    nll[known] = density.nll_mixture(log_prob[:, known])
    return {
        ("resampled", "nll_mixture", "joint"): mean_over_galaxies(nll, known),
        ("resampled", "nll_ceiling", "joint"): mean_over_galaxies(entropy, known),
    }, int(known.sum())


def _densities(evidence: Posterior, training: NDArray[np.float64]) -> dict[ScoreKey, BoundScore]:
    if evidence.member_log_prob is None or evidence.log_jacobian is None:
        return {}
    n_targets = len(evidence.names)
    floor, floor_jacobian = marginal_nll(training, evidence.truth)
    member = evidence.member_log_prob
    values = {
        "nll_mixture": (density.nll_mixture(member), floor),
        "nll_member_mean": (density.nll_member_mean(member), floor),
        "nll_per_dim": (
            density.nll_per_dim(member + evidence.log_jacobian, n_targets),
            (floor - floor_jacobian) / n_targets,
        ),
    }
    return {
        (who, metric, "joint"): mean_over_galaxies(column)
        for metric, columns in values.items()
        for who, column in zip(("model", "floor"), columns, strict=True)
    }


def _per_target(who: str, draws: NDArray[np.float32], evidence: Posterior, seed: int) -> dict[ScoreKey, BoundScore]:
    bound: dict[ScoreKey, BoundScore] = {}
    for number, name in enumerate(evidence.names):
        truth, column = evidence.truth[:, number], draws[:, :, number]
        pit = density.pit_values(truth, column, seed=seed)
        for metric, level in _LEVELS.items():
            bound[who, metric, name] = mean_over_galaxies(density.central_coverage(pit, level).astype(float))
        bound[who, "sharpness_68", name] = mean_over_galaxies(density.sharpness_per_galaxy(column))
        bound[who, "crps", name] = mean_over_galaxies(density.crps_per_galaxy(truth, column))
    if len(evidence.names) > 1:
        for metric in _LEVELS:
            bound[who, metric, "mean"] = mean_of_scores([(who, metric, name) for name in evidence.names])
    return bound


def _energy_score(draws: NDArray[np.float32], truth: NDArray[np.float64], training: NDArray[np.float64]) -> BoundScore:
    """Of all targets, each in units of its spread in the training set."""
    spread = np.nanstd(training, axis=0)
    return mean_over_galaxies(density.energy_score_per_galaxy(truth / spread, draws[:_ENERGY_DRAWS] / spread))

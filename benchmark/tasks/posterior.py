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
from benchmark.tasks.bins import scores_in_bins
from benchmark.tasks.calibration import calibration_details, hpd_distance, pit_distances, tarp_tests
from benchmark.tasks.eligible import joint_targets
from benchmark.tasks.floor import MarginalDensity, marginal_density, marginal_draws
from benchmark.tasks.points import RESAMPLED
from benchmark.tasks.recalibration import recalibrated_details, recalibrated_draws
from posteriors.resampling.bootstrap import shared_intervals
from posteriors.scores import density
from posteriors.scores.resampling import BoundScore, mean_of_scores, mean_over_galaxies

__all__ = ["TASK", "comparable", "score"]

ScoreKey = tuple[str, str, str]  # "model", "recalibrated", "floor" or "resampled"; metric; target
GalaxyScores = dict[tuple[str, str], NDArray[np.float64]]  # (n,) by metric and target

_LEVELS = {"coverage_68": 0.68, "coverage_95": 0.95}
_ENERGY_DRAWS = 200  # of a galaxy: all pairs of draws are compared
_MIN_GALAXIES = 50  # below it no calibration test says anything


TASK = TaskCard(
    name="posterior",
    version=5,
    needs="posterior",
    metrics=(
        "nll_mixture",
        "nll_member_mean",
        "nll_per_dim",
        "nll_stacked",
        "tarp_p",
        "tarp_width_p",
        "coverage_68",
        "coverage_95",
        "crps",
        "energy_score",
        "cde_loss",
        "sharpness_68",
        "pit_ks",
        "hpd_ks",
        "nll_ceiling",
    ),
    score="benchmark.tasks.posterior:score",
    comparable="benchmark.tasks.posterior:comparable",
    targets=joint_targets,
    reason="has no default targets",
    headline=("nll_mixture", "joint"),
    summary="joint posterior of the default targets: NLL, coverage, TARP, PIT, HPD, CRPS, energy score, sharpness",
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
    spread = np.nanstd(training, axis=0)
    floor = None if evidence.member_log_prob is None else marginal_density(training, evidence.truth, seed)
    bound: dict[ScoreKey, BoundScore] = {}
    if floor is not None:
        bound |= _densities(evidence, floor)
    uncertain, n_uncertain = _against_resampled(evidence)
    bound |= uncertain
    both = {"model": evidence.draws, "floor": marginal_draws(training, evidence.draws.shape[0], n, seed)}
    mended = recalibrated_draws(evidence)
    if mended is not None:
        both["recalibrated"] = mended
    per_galaxy = {who: _per_galaxy(draws, evidence, spread) for who, draws in both.items()}
    for who, draws in both.items():
        bound |= {(who, *key): mean_over_galaxies(values) for key, values in per_galaxy[who].items()}
        bound |= _coverage(who, draws, evidence, seed)
    found = shared_intervals(bound, n=n, n_resamples=n_resamples, seed=seed)
    for who, draws in both.items():
        tests = pit_distances(draws, evidence, seed) | tarp_tests(draws, evidence, seed)
        found |= {(who, *key): interval for key, interval in tests.items()}
    if evidence.hpd_rank is not None and floor is not None:
        found["model", "hpd_ks", "joint"] = hpd_distance(evidence.hpd_rank)
        found["floor", "hpd_ks", "joint"] = hpd_distance(floor.hpd_rank)
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
    details = _details(evidence, per_galaxy["model"], spread, seed)
    if mended is not None:
        details["recalibrated"] = recalibrated_details(evidence, mended, seed)
    return scores, details


def _details(evidence: Posterior, per_galaxy: GalaxyScores, spread: NDArray[np.float64], seed: int) -> dict[str, Any]:
    """What the page shows of the posterior as it is."""
    details = calibration_details(evidence, seed)
    shown = per_galaxy if evidence.cde_loss is None else per_galaxy | {("cde_loss", "joint"): evidence.cde_loss}
    binned = scores_in_bins(evidence, shown, spread)
    return details if binned is None else details | {"scores_in_bins": binned}


def comparable(evidence: Posterior, *, ranked: tuple[str, ...]) -> dict[tuple[str, str], BoundScore]:
    """Scores of the density by (metric, target); those of draws would need the draws of every model at once."""
    if evidence.member_log_prob is None or evidence.log_jacobian is None:
        return {}
    member = evidence.member_log_prob
    values = {
        "nll_mixture": density.nll_mixture(member),
        "nll_member_mean": density.nll_member_mean(member),
        "nll_per_dim": density.nll_per_dim(member + evidence.log_jacobian, len(evidence.names)),
    }
    return {(metric, "joint"): mean_over_galaxies(column) for metric, column in values.items()}


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


def _densities(evidence: Posterior, floor: MarginalDensity) -> dict[ScoreKey, BoundScore]:
    member = evidence.member_log_prob
    if member is None or evidence.log_jacobian is None:
        return {}
    n_targets = len(evidence.names)
    values = {
        "nll_mixture": (density.nll_mixture(member), floor.nll),
        "nll_member_mean": (density.nll_member_mean(member), floor.nll),
        "nll_per_dim": (
            density.nll_per_dim(member + evidence.log_jacobian, n_targets),
            (floor.nll - floor.log_jacobian) / n_targets,
        ),
    }
    if evidence.stacked_weights is not None:
        values["nll_stacked"] = (density.nll_mixture(member, evidence.stacked_weights), floor.nll)
    if evidence.cde_loss is not None:
        values["cde_loss"] = (evidence.cde_loss, floor.cde_loss)
    return {
        (who, metric, "joint"): mean_over_galaxies(column)
        for metric, columns in values.items()
        for who, column in zip(("model", "floor"), columns, strict=True)
    }


def _per_galaxy(draws: NDArray[np.float32], evidence: Posterior, spread: NDArray[np.float64]) -> GalaxyScores:
    """Scores (n,) of draws by metric and target; the energy score of targets in units of their training spread (t,)."""
    found: GalaxyScores = {}
    for number, name in enumerate(evidence.names):
        truth, column = evidence.truth[:, number], draws[:, :, number]
        found["sharpness_68", name] = density.sharpness_per_galaxy(column).astype(np.float64)
        found["crps", name] = density.crps_per_galaxy(truth, column)
    part = draws[:_ENERGY_DRAWS] / spread
    found["energy_score", "joint"] = density.energy_score_per_galaxy(evidence.truth / spread, part)
    return found


def _coverage(who: str, draws: NDArray[np.float32], evidence: Posterior, seed: int) -> dict[ScoreKey, BoundScore]:
    bound: dict[ScoreKey, BoundScore] = {}
    for number, name in enumerate(evidence.names):
        pit = density.pit_values(evidence.truth[:, number], draws[:, :, number], seed=seed)
        for metric, level in _LEVELS.items():
            bound[who, metric, name] = mean_over_galaxies(density.central_coverage(pit, level).astype(float))
    if len(evidence.names) > 1:
        for metric in _LEVELS:
            bound[who, metric, "mean"] = mean_of_scores([(who, metric, name) for name in evidence.names])
    return bound

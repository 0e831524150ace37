"""The joint posterior over a survey's default targets: density, width, and whether it is calibrated."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.artefacts import Posterior
from benchmark.contracts import GalaxybenchError, Score, Target, TaskCard
from benchmark.tasks.floor import marginal_draws, marginal_nll
from posteriors.bootstrap import Interval, shared_intervals
from posteriors.calibration import uniformity
from posteriors.scores import density
from posteriors.scores.resampling import BoundScore, mean_of_scores, mean_over_galaxies
from posteriors.tarp import expected_coverage, reference_spread

__all__ = ["TASK", "score"]

ScoreKey = tuple[str, str, str]  # "model" or "floor", metric, target

_LEVELS = {"coverage_68": 0.68, "coverage_95": 0.95}
_N_REFERENCES = 50  # sets of TARP reference points, over which its p-values are quoted
_MIN_GALAXIES = 50  # below it no calibration test says anything


def _targets(targets: tuple[Target, ...]) -> tuple[str, ...]:
    return tuple(target.name for target in targets if target.joint)


TASK = TaskCard(
    name="posterior",
    version=2,
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
        "pit_ks",
    ),
    score="benchmark.tasks.posterior:score",
    targets=_targets,
    reason="has no default targets",
    headline=("nll_mixture", "joint"),
    summary="joint posterior of the default targets: NLL, coverage, TARP, PIT, CRPS",
)


def score(
    evidence: Posterior, training: NDArray[np.float64], *, ranked: tuple[str, ...], seed: int, n_resamples: int
) -> tuple[list[Score], dict[str, Any]]:
    """Scores of a posterior, and the coverage curve for the page.

    Parameters
    ----------
    evidence : draws (n_draws, n, t), truths (n, t) and, where known, log densities of the members.
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
    both = {"model": evidence.draws, "floor": floor_draws}
    for who, draws in both.items():
        bound |= _per_target(who, draws, evidence, seed)
    found = shared_intervals(bound, n=n, n_resamples=n_resamples, seed=seed)
    for who, draws in both.items():
        found |= _distances(who, draws, evidence, seed) | _tarp(who, draws, evidence.truth, seed)
    coverage = expected_coverage(evidence.draws, evidence.truth, seed=seed)
    scores = [
        Score(metric, name, interval.value, interval.low, interval.high, n, found["floor", metric, name].value)
        for (who, metric, name), interval in found.items()
        if who == "model"
    ]
    curve = {
        field: [round(float(value), 5) for value in getattr(coverage, field)]
        for field in ("credibility", "ecp", "ecp_low", "ecp_high")
    }
    return scores, {"coverage_curve": curve, "n_draws": evidence.draws.shape[0]}


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
        bound[who, "crps", name] = mean_over_galaxies(density.crps_per_galaxy(truth, column))
    if len(evidence.names) > 1:
        for metric in _LEVELS:
            bound[who, metric, "mean"] = mean_of_scores([(who, metric, name) for name in evidence.names])
    return bound


def _distances(who: str, draws: NDArray[np.float32], evidence: Posterior, seed: int) -> dict[ScoreKey, Interval]:
    """Largest distance of each target's PIT distribution from uniformity, with its distribution-free band."""
    pit = density.pit_values(evidence.truth, draws, seed=seed)
    found: dict[ScoreKey, Interval] = {}
    for number, name in enumerate(evidence.names):
        test = uniformity(pit[:, number])
        found[who, "pit_ks", name] = Interval(test.distance, test.low, test.high)
    return found


def _tarp(who: str, draws: NDArray[np.float32], truth: NDArray[np.float64], seed: int) -> dict[ScoreKey, Interval]:
    """P-values of the TARP tests; their interval is over other sets of reference points.

    The value is that of one set, so that it is uniform under calibration; the interval is widened to hold it.
    """
    coverage = expected_coverage(draws, truth, n_bootstrap=2, seed=seed)
    spread = reference_spread(draws, truth, n_references=_N_REFERENCES, seed=seed)
    found: dict[ScoreKey, Interval] = {}
    for metric, value, others in (
        ("tarp_p", coverage.p_value, spread.p_value),
        ("tarp_width_p", coverage.p_width, spread.p_width),
    ):
        low, high = np.quantile(others, (0.025, 0.975))
        found[who, metric, "joint"] = Interval(value, min(float(low), value), max(float(high), value))
    return found

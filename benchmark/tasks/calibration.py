"""What the posterior task says about calibration: tests of ranks for each target and all together, and in bins."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.artefacts import Posterior
from benchmark.tasks.bins import N_BINS, Bins, galaxy_bins
from posteriors.calibration.conditional import conditional_calibration
from posteriors.calibration.pit import uniformity
from posteriors.calibration.tarp import expected_coverage, reference_spread
from posteriors.calibration.uniformity import rank_ecdf, width_test_power
from posteriors.resampling.bootstrap import Interval
from posteriors.scores import density

__all__ = ["calibration_details", "hpd_distance", "pit_distances", "tarp_tests"]

Intervals = dict[tuple[str, str], Interval]  # by metric and target

_N_REFERENCES = 50  # sets of TARP reference points, over which its p-values are quoted
_N_TARGET_REFERENCES = 20  # of one target, where the choice of the points matters less
_WIDTH = 0.9  # the error of width whose power is printed: 10 % too narrow


def pit_distances(draws: NDArray[np.float32], evidence: Posterior, seed: int) -> Intervals:
    """Largest distance of each target's PIT distribution from uniformity, with its distribution-free band."""
    pit = density.pit_values(evidence.truth, draws, seed=seed)
    found: Intervals = {}
    for number, name in enumerate(evidence.names):
        test = uniformity(pit[:, number])
        found["pit_ks", name] = Interval(test.distance, test.low, test.high)
    return found


def hpd_distance(rank: NDArray[np.float64]) -> Interval:
    """Largest distance of the HPD ranks' distribution from uniformity, with its distribution-free band."""
    test = uniformity(rank)
    return Interval(test.distance, test.low, test.high)


def tarp_tests(draws: NDArray[np.float32], evidence: Posterior, seed: int) -> Intervals:
    """P-values of the TARP tests, joint and of each target; their interval is over other sets of reference points.

    The value is that of one set, so that it is uniform under calibration; the interval is widened to hold it.
    """
    parts = {"joint": slice(None)}
    if len(evidence.names) > 1:
        parts |= {name: slice(number, number + 1) for number, name in enumerate(evidence.names)}
    found: Intervals = {}
    for name, columns in parts.items():
        part, truth = np.ascontiguousarray(draws[:, :, columns]), evidence.truth[:, columns]
        coverage = expected_coverage(part, truth, n_bootstrap=2, seed=seed)
        n_references = _N_REFERENCES if name == "joint" else _N_TARGET_REFERENCES
        spread = reference_spread(part, truth, n_references=n_references, seed=seed)
        for metric, value, others in (
            ("tarp_p", coverage.p_value, spread.p_value),
            ("tarp_width_p", coverage.p_width, spread.p_width),
        ):
            low, high = np.quantile(others, (0.025, 0.975))
            found[metric, name] = Interval(value, min(float(low), value), max(float(high), value))
    return found


def calibration_details(evidence: Posterior, seed: int) -> dict[str, Any]:
    """What the page shows of a posterior's calibration.

    Returns
    -------
    ``coverage_curve``: TARP of all targets, with its band; ``rank_ecdf_p``: for each target, the p-value of the whole
    distribution of its PIT; ``hpd_p``: the same of the ranks in joint density, where it is known; ``power``:
    probability that the width test notices a posterior 10 % too narrow with so many galaxies; ``conditional``: the
    condition ``by``, and for each target the bins with coverage and Holm-adjusted p-values over all bins and targets.
    """
    n = len(evidence.target_id)
    coverage = expected_coverage(evidence.draws, evidence.truth, seed=seed)
    curve = {
        field: [round(float(value), 5) for value in getattr(coverage, field)]
        for field in ("credibility", "ecp", "ecp_low", "ecp_high")
    }
    pit = density.pit_values(evidence.truth, evidence.draws, seed=seed)
    details: dict[str, Any] = {
        "coverage_curve": curve,
        "n_draws": evidence.draws.shape[0],
        "rank_ecdf_p": {name: rank_ecdf(pit[:, i]).p_value for i, name in enumerate(evidence.names)},
        "power": {"width": _WIDTH, "probability": round(width_test_power(n, _WIDTH), 3)},
    }
    if evidence.hpd_rank is not None:
        details["hpd_p"] = rank_ecdf(evidence.hpd_rank).p_value
    bins = galaxy_bins(evidence)
    if bins is not None:
        details["conditional"] = _conditional(evidence, pit, bins)
    return details


def _conditional(evidence: Posterior, pit: NDArray[np.float64], bins: Bins) -> dict[str, Any]:
    """Coverage in each bin."""
    # one label for each target and bin: the correction is over all of them
    labels = np.where(bins.number >= 0, np.arange(len(evidence.names))[:, None] * N_BINS + bins.number, -1)
    found = conditional_calibration(pit.T.ravel(), labels.ravel())
    rows = [
        {
            "target": evidence.names[int(one.label) // N_BINS],
            "bin": int(one.label) % N_BINS,
            "centre": round(bins.centre[int(one.label) % N_BINS], 4),
            "n": one.n,
            "coverage_68": round(one.coverage_68, 4),
            "low": round(one.low, 4),
            "high": round(one.high, 4),
            "p_adjusted": float(f"{one.p_adjusted:.3g}"),
        }
        for one in found.bins
    ]
    n_left_out = int((bins.number < 0).sum())
    return {"by": bins.by, "p_value": float(f"{found.p_value:.3g}"), "n_left_out": n_left_out, "bins": rows}

"""Statistics of the posteriors beside their established peers, in one process: ``tox -e benchmark``.

Each test times our function with pytest-benchmark, and then ours and the peer in turn; ``extra_info`` holds the median
of their ratios and the ratio that is wanted. No time is asserted. Meant for one thread each, OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.neighbors import KNeighborsRegressor

from posteriors import expected_coverage
from posteriors.calibration.tarp_package import tarp_package_coverage
from posteriors.neighbours.exact import neighbour_regression
from posteriors.resampling.bootstrap import shared_intervals, shared_replicates
from posteriors.scores import POINT_SCORES, BoundScore, r2, sigma_nmad

PAIRS = 5

# scipy renamed the argument in 1.15
RANDOM = "rng" if "rng" in signature(stats.bootstrap).parameters else "random_state"


def measure_beside(
    benchmark, ours: Callable[[], object], peer: Callable[[], object], wanted: float, scale: float = 1.0
) -> None:
    """Time ours, and ours and the peer in turn; ``scale`` multiplies the peer's time where it did part of the work."""
    benchmark.pedantic(ours, rounds=PAIRS, warmup_rounds=1)
    pairs = [(_seconds(ours), scale * _seconds(peer)) for _ in range(PAIRS)]
    ratios = [theirs / mine for mine, theirs in pairs]
    benchmark.extra_info["peer_seconds"] = round(statistics.median(theirs for _, theirs in pairs), 4)
    benchmark.extra_info["peer_over_ours"] = round(statistics.median(ratios), 2)
    benchmark.extra_info["range"] = [round(min(ratios), 2), round(max(ratios), 2)]
    benchmark.extra_info["wanted"] = wanted


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_expected_coverage_beside_tarp(benchmark, dtype: type) -> None:
    """Curve with a band of 100 resamples, (n_draws, n, t) = (1000, 400, 5), against the package's bootstrap."""
    rng = np.random.default_rng(0)
    draws, target = rng.normal(size=(1_000, 400, 5)), rng.normal(size=(400, 5))
    references = rng.random((400, 5))
    low, high = target.min(0), target.max(0)
    points = low + (high - low) * references
    credibility, ecp = tarp_package_coverage(draws, target, points)
    box = [(values - low) / (high - low) for values in (draws, target)]
    f = expected_coverage(*box, references=references, standardise=False).f
    np.testing.assert_allclose([(f < level - 1e-12).mean() for level in credibility[:-1]], ecp[:-1], atol=1e-12)
    ours = draws.astype(dtype)
    share = 10  # of the package's 100 resamples are run, each costs the same

    def peer() -> None:
        for _ in range(share):
            tarp_package_coverage(draws, target, points)

    wanted = {np.float64: 120, np.float32: 300}[dtype]
    measure_beside(benchmark, lambda: expected_coverage(ours, target, n_bootstrap=100), peer, wanted, 100 / share)


def test_shared_r2_intervals_beside_scipy(benchmark) -> None:
    """20 models x 5 targets at n = 4,000 and 10,000 resamples; scipy is called for one of the hundred."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(5, 4_000))
    predicted = y + rng.normal(size=(20, 5, 4_000))
    scores: dict[object, BoundScore] = {
        (model, target): POINT_SCORES["r2"].bind(y[target], predicted[model, target])
        for model in range(20)
        for target in range(5)
    }
    measure_beside(
        benchmark,
        lambda: shared_intervals(scores, n=4_000),
        lambda: _scipy_interval(_r2_of_rows, y[0], predicted[0, 0]),
        wanted=200,
        scale=len(scores),
    )


@pytest.mark.parametrize(("name", "n", "wanted"), [("r2", 4_000, 2.5), ("sigma_nmad", 20_000, 8)])
def test_a_single_interval_beside_scipy(benchmark, name: str, n: int, wanted: float) -> None:
    """One score with 10,000 resamples; the law of the replicates is that of scipy's."""
    rng = np.random.default_rng(0)
    z = rng.uniform(0, 1, n)
    predicted = z + 0.05 * rng.normal(size=n)
    function = {"r2": _r2_of_rows, "sigma_nmad": _nmad_of_rows}[name]
    assert function(z, predicted) == pytest.approx({"r2": r2, "sigma_nmad": sigma_nmad}[name](z, predicted))
    theirs = _scipy_interval(function, z, predicted).bootstrap_distribution
    _, ours = shared_replicates({name: POINT_SCORES[name].bind(z, predicted)}, n=n)
    # two samples of 10,000 from one law: one in a thousand is rejected
    assert stats.ks_2samp(theirs, ours[name]).pvalue > 1e-3
    measure_beside(
        benchmark,
        lambda: shared_intervals({name: POINT_SCORES[name].bind(z, predicted)}, n=n),
        lambda: _scipy_interval(function, z, predicted),
        wanted,
    )


@pytest.mark.parametrize("n_targets", [1, 5])
def test_neighbour_regression_beside_scikit_learn(benchmark, n_targets: int) -> None:
    """k = 64, 3,200 rows x 5,000 queries x 512 columns; scikit-learn fits and predicts once for each target."""
    rng = np.random.default_rng(0)
    rows, queries, target = rng.normal(size=(3_200, 512)), rng.normal(size=(5_000, 512)), rng.normal(size=(3_200, 5))

    def peer() -> None:
        for column in range(n_targets):
            KNeighborsRegressor(64, weights="distance", algorithm="brute").fit(rows, target[:, column]).predict(queries)

    measure_beside(
        benchmark,
        lambda: neighbour_regression(rows, target[:, :n_targets], queries, 64),
        peer,
        {1: 1.6, 5: 7}[n_targets],
    )


def _scipy_interval(function: Callable[..., object], y: np.ndarray, predicted: np.ndarray) -> Any:
    return stats.bootstrap(
        (y, predicted),
        function,
        paired=True,
        vectorized=True,
        n_resamples=10_000,
        batch=250,
        method="percentile",
        **{RANDOM: np.random.default_rng(0)},
    )


def _r2_of_rows(y: np.ndarray, predicted: np.ndarray, axis: int = -1) -> np.ndarray:
    total = np.square(y - y.mean(axis=axis, keepdims=True)).sum(axis=axis)
    return 1 - np.square(y - predicted).sum(axis=axis) / total


def _nmad_of_rows(z: np.ndarray, predicted: np.ndarray, axis: int = -1) -> np.ndarray:
    dz = (predicted - z) / (1 + z)
    return 1.4826 * np.median(np.abs(dz - np.median(dz, axis=axis, keepdims=True)), axis=axis)

"""Do intervals cover, are p-values uniform, are claims as rarely false as promised? In full: ``tox -e validity``.

The fast versions use the same code on fewer repetitions, and tolerances that follow from their number.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from posteriors.calibration.conditional import holm
from posteriors.calibration.tarp import expected_coverage
from posteriors.resampling.bootstrap import paired_bootstrap, shared_intervals
from posteriors.scores import POINT_SCORES, BoundScore, mean_over_galaxies
from posteriors.scores.classification import bind_classes

SCORES = ("r2", "sigma_nmad", "accuracy", "nll")


def make_scores(n: int, rng: np.random.Generator) -> dict[str, BoundScore]:
    """R2 and sigma_NMAD with a skewed truth and tails, accuracy of three classes, a Gaussian's NLL."""
    z = rng.gamma(3.0, 0.1, n)
    predicted = z + 0.05 * (1 + z) * rng.standard_t(10, n)
    true = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    guess = np.where(rng.random(n) < 0.7, true, rng.integers(0, 3, n))
    return {
        "r2": POINT_SCORES["r2"].bind(z, predicted),
        "sigma_nmad": POINT_SCORES["sigma_nmad"].bind(z, predicted),
        "accuracy": bind_classes("accuracy", true, guess, np.ones(n, dtype=bool), 3),
        "nll": mean_over_galaxies(0.5 * np.square(rng.normal(size=n))),
    }


def interval_coverage(repetitions: int, n_resamples: int, method: str = "percentile", n: int = 400) -> dict[str, float]:
    """Share of samples of n galaxies whose 95 % interval holds the score of 400,000 galaxies."""
    many = make_scores(400_000, np.random.default_rng(10**6))
    truth = {"accuracy": 0.8, "nll": 0.5}  # .7 + .3 / 3; the mean of chi-square / 2
    bound = many["r2"]
    truth["r2"] = float(bound.combine(bound.statistics.sum(0)[None], np.array([4e5]))[0])
    values = many["sigma_nmad"].values
    truth["sigma_nmad"] = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    hits = dict.fromkeys(SCORES, 0)
    for seed in range(repetitions):
        scores = make_scores(n, np.random.default_rng(seed))
        found = shared_intervals(scores, n=n, n_resamples=n_resamples, seed=seed, method=method)
        for name in SCORES:
            hits[name] += found[name].low <= truth[name] <= found[name].high
    return {name: hits[name] / repetitions for name in SCORES}


def tarp_p_values(
    repetitions: int, n: int, width: float = 1.0, n_draws: int = 200, t: int = 5, references: str = "posterior"
) -> np.ndarray:
    """p_value and p_width, (repetitions, 2), of Gaussian posteriors of the right width times ``width``."""
    found = []
    for seed in range(repetitions):
        rng = np.random.default_rng([seed, 3])
        centre = rng.normal(size=(n, t)).astype(np.float32)
        target = centre + 0.5 * rng.normal(size=(n, t))
        draws = centre + np.float32(0.5 * width) * rng.standard_normal((n_draws, n, t), dtype=np.float32)
        tested = expected_coverage(draws, target, 1, seed, references)
        found.append((tested.p_value, tested.p_width))
    return np.array(found)


def false_claims(repetitions: int, n: int = 400, n_models: int = 5, n_resamples: int = 1_000) -> float:
    """Share of tables of equal models in which some pair is said to differ after Holm's correction."""
    claimed = 0
    for seed in range(repetitions):
        rng = np.random.default_rng([seed, 5])
        y = rng.normal(size=n)
        models = y + 0.7 * rng.normal(size=n) + 0.7 * rng.normal(size=(n_models, n))  # errors partly in common
        p = [
            paired_bootstrap("rmse", y, models[0], other, n_resamples, seed, method="bca").p_value
            for other in models[1:]
        ]
        claimed += (holm(p) < 0.05).any()
    return claimed / repetitions


def test_intervals_cover_at_their_level() -> None:
    found = interval_coverage(200, 400)
    for name, coverage in found.items():
        # binomial sd of .015 at 200 repetitions, of which three; one percent for 400 resamples
        assert 0.95 - 0.055 <= coverage <= 0.95 + 0.045, f"{name}: {coverage}"


def test_tarp_p_values_are_uniform_under_calibration() -> None:
    found = tarp_p_values(120, 200, n_draws=60, t=3)
    for column in found.T:
        assert stats.kstest(column, "uniform").pvalue > 0.01


def test_a_posterior_ten_percent_too_narrow_is_rejected_at_4000_galaxies() -> None:
    found = tarp_p_values(12, 4_000, width=0.9, n_draws=60, t=3)
    assert (found[:, 1] < 0.05).sum() >= 11  # at a power above .99, two misses in twelve are one in 150


def test_tables_of_equal_models_hold_few_claims() -> None:
    assert false_claims(60, n=200, n_resamples=400) <= 0.05 + 3 * 0.028  # binomial sd of .028


@pytest.mark.slow
@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_in_full_intervals_cover_at_their_level(method: str) -> None:
    found = interval_coverage(1_000, 1_000, method)
    print(f"\n{method}, n = 400, 1,000 repetitions:", found)  # noqa: T201
    for name, coverage in found.items():
        # percentile intervals of medians hold the truth too often, .965-.975 at n = 400, with any implementation:
        # the law is that of resampling; BCa mends it
        highest = 0.98 if (name, method) == ("sigma_nmad", "percentile") else 0.97
        assert 0.93 <= coverage <= highest, f"{name}: {coverage}"


@pytest.mark.slow
@pytest.mark.parametrize("references", ["posterior", "uniform"])
def test_in_full_tarp_p_values_are_uniform_under_calibration(references: str) -> None:
    found = tarp_p_values(1_000, 400, references=references)
    uniform = [float(stats.kstest(column, "uniform").pvalue) for column in found.T]
    rates = (found < 0.05).mean(0)
    print(f"\n{references} references, n = 400, 1,000 repetitions: KS p {uniform}, rejected at .05 {rates}")  # noqa: T201
    assert min(uniform) > 0.01
    assert (rates < 0.05 + 3 * 0.0069).all()


@pytest.mark.slow
@pytest.mark.parametrize("references", ["posterior", "uniform"])
def test_in_full_a_posterior_ten_percent_too_narrow_is_rejected(references: str) -> None:
    power = {n: (tarp_p_values(100, n, 0.9, references=references) < 0.05).mean(0) for n in (400, 4_000)}
    print(f"\n{references} references, 10 % too narrow, rejected (KS, variance) of 100 repetitions: {power}")  # noqa: T201
    assert power[4_000][1] >= 0.9


@pytest.mark.slow
def test_in_full_tables_of_equal_models_hold_few_claims() -> None:
    rate = false_claims(1_000)
    print(f"\ntables of four comparisons with a false claim: {rate}")  # noqa: T201
    assert rate <= 0.05 + 2 * 0.0069

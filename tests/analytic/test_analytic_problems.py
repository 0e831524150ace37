"""Are the exact posteriors exact? Each density is held against its own draws, the simulator, and an independent sum."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmark.analytic import PROBLEMS, Problem, find_problem
from benchmark.analytic.slcp import _Data, _draw_means
from benchmark.contracts import UsageError

NAMES = (
    *("gaussian1", "gaussian5", "correlated8", "heteroscedastic", "two-modes", "banana"),
    *("two-moons", "slcp", "gaussian-mixture", "gaussian-linear"),
)
SLOW = {"slcp": 60}


def galaxies(problem: Problem, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return problem.simulate(n, np.random.default_rng(seed))


@pytest.mark.parametrize("name", NAMES)
def test_the_truth_is_a_draw_of_the_posterior(name: str) -> None:
    """PIT of the truths, target by target, and rank of their density: uniform for the exact posterior alone."""
    problem, n = PROBLEMS[name], SLOW.get(name, 400)
    inputs, target = galaxies(problem, n)
    draws = problem.draw(inputs, 39, 1)
    log_prob = np.array([problem.log_prob(one, inputs) for one in draws]) if name not in SLOW else None
    ranks = [(draws < target).sum(axis=0)[:, i] for i in range(problem.n_targets)]
    if log_prob is not None:
        ranks.append((log_prob < problem.log_prob(target, inputs)).sum(axis=0))
    rng = np.random.default_rng(2)
    for rank in ranks:
        # 46 tests of this file have seeds that pass; at 1e-4 one of a hundred other sets would fail somewhere
        assert stats.kstest((rank + rng.random(n)) / 40, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_a_density_integrates_to_one(name: str) -> None:
    """Mean of p / q over draws of q, kernels on draws of p: an independent sum of p over space."""
    problem = PROBLEMS[name]
    inputs, _ = galaxies(problem, 2, seed=3)
    n, t = 4_000, problem.n_targets
    for row in inputs:
        rng = np.random.default_rng(5)
        centres = problem.draw_one(row, 150, rng)
        factor = np.linalg.cholesky(np.atleast_2d(np.cov(centres.T)))
        widths = np.array([0.8, 0.15])
        chosen, kind = rng.integers(len(centres), size=n), rng.integers(2, size=n)
        points = centres[chosen] + widths[kind, None] * rng.normal(size=(n, t)) @ factor.T
        away = np.linalg.solve(factor, (points[:, None] - centres).reshape(-1, t).T)
        squared = np.square(away).sum(0).reshape(n, -1)
        volume = np.prod(np.diag(factor)) * (2 * np.pi) ** (t / 2)
        density = sum(np.exp(-0.5 * squared / width**2).mean(1) / (2 * volume * width**t) for width in widths)
        ratio = np.exp(problem.log_prob(points, np.broadcast_to(row, (n, problem.n_inputs)))) / density
        error = ratio.std() / np.sqrt(n)
        assert error < 0.15
        # four standard errors; for slcp also the .04 that its integral may be off
        assert abs(ratio.mean() - 1) < 4 * error + 0.04 * (name == "slcp")


def test_a_wrong_density_is_found() -> None:
    """Ranks of the first test reject a correlation of .9 in place of .95."""
    right, wrong = PROBLEMS["correlated5"], type(PROBLEMS["correlated5"])(5, rho=0.9)
    inputs, target = galaxies(right, 400)
    draws = wrong.draw(inputs, 39, 1)
    rank = (np.array([wrong.log_prob(one, inputs) for one in draws]) < wrong.log_prob(target, inputs)).sum(axis=0)
    assert stats.kstest((rank + 0.5) / 40, "uniform").pvalue < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_draws_follow_the_inputs_and_not_the_other_rows(name: str) -> None:
    problem = PROBLEMS[name]
    inputs, _ = galaxies(problem, 5)
    draws = problem.draw(inputs, 7, 3)
    np.testing.assert_array_equal(problem.draw(inputs[::-1], 7, 3), draws[:, ::-1])
    assert (problem.draw(inputs, 7, 4) != draws).any()
    assert draws.shape == (7, 5, problem.n_targets)
    assert np.unique(draws.reshape(-1, problem.n_targets), axis=0).shape[0] == 35


@pytest.mark.parametrize("name", ["two-moons", "gaussian-mixture", "slcp"])
def test_nothing_lies_outside_the_prior(name: str) -> None:
    problem = PROBLEMS[name]
    assert problem.support is not None
    low, high = problem.support
    target = np.full((1, problem.n_targets), high - 0.01)
    inputs, _ = problem.simulate(1, np.random.default_rng(1))
    assert problem.log_prob(target + 0.02, inputs) == -np.inf
    draws = problem.draw(galaxies(problem, 30)[0], 50, 0)
    assert draws.min() >= low
    assert draws.max() <= high


def test_moments_of_gaussian_posteriors_are_the_textbooks() -> None:
    linear = PROBLEMS["gaussian-linear"]
    row = np.linspace(-1, 1, 10)
    draws = linear.draw_one(row, 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(draws.mean(0), row / 2, atol=5 * np.sqrt(0.05 / 20_000))
    np.testing.assert_allclose(np.cov(draws.T), 0.05 * np.eye(10), atol=5 * 0.05 * np.sqrt(2 / 20_000))
    correlated = PROBLEMS["correlated5"]
    draws = correlated.draw_one(np.zeros(3), 20_000, np.random.default_rng(0))
    index = np.arange(5)
    expected = 0.95 ** np.abs(index[:, None] - index)
    np.testing.assert_allclose(np.corrcoef(draws.T), expected, atol=5 / np.sqrt(20_000))


def test_slcp_agrees_with_a_chain() -> None:
    """A random walk of 200 walkers on the likelihood as the benchmark writes it, from the four modes of the truth."""
    problem = PROBLEMS["slcp"]
    inputs, target = galaxies(problem, 8, seed=11)
    row = inputs[np.argmin(np.abs(target[:, 2]) + np.abs(target[:, 3]))]
    rng = np.random.default_rng(0)
    draws = problem.draw_one(row, 3_000, rng)

    def log_likelihood(theta: np.ndarray) -> np.ndarray:
        found = np.empty(len(theta))
        for number, (m1, m2, t3, t4, t5) in enumerate(theta):
            s1, s2, rho = t3**2, t4**2, np.tanh(t5)
            cov = np.array([[s1**2 + 1e-6, rho * s1 * s2], [rho * s1 * s2, s2**2 + 1e-6]])
            away = row.reshape(4, 2) - [m1, m2]
            chi2 = np.einsum("ni,ij,nj->", away, np.linalg.inv(cov), away)
            found[number] = -0.5 * chi2 - 2 * np.log(np.linalg.det(cov))
        return np.where((np.abs(theta) <= 3).all(axis=1), found, -np.inf)

    # started from draws, which a chain that leaves another distribution invariant would carry away from them
    walker = draws[:200].copy()
    step, at = 0.4 * draws[:, None].std(axis=0) * [1, 1, 0.3, 0.3, 1], log_likelihood(walker)
    for _ in range(60):
        proposed = walker + step * rng.normal(size=walker.shape)
        there = log_likelihood(proposed)
        better = np.log(rng.random(len(walker))) < there - at
        walker[better], at[better] = proposed[better], there[better]
    for column in range(5):
        ours, theirs = np.abs(draws[200:, column]), np.abs(walker[:, column])
        assert stats.ks_2samp(ours, theirs).pvalue > 1e-3


@pytest.mark.parametrize("n_rounds", [300, 0])
@pytest.mark.parametrize("mean", [(2.9, -2.9), (3.03, -3.03), (3.2, 1.0)])
def test_slcp_draws_means_where_the_box_cuts_a_narrow_ridge(
    mean: tuple[float, float], n_rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By rejection and by the grid: against draws without a box of which those inside are kept, at least 1 in 10^4."""
    monkeypatch.setattr("benchmark.analytic.slcp._N_ROUNDS", n_rounds)
    data, rng = _Data(np.array(mean), np.eye(2)), np.random.default_rng(0)
    ours = _draw_means(data, np.tile([1.0, 1.0, 2.9], (400, 1)), rng)
    assert np.abs(ours).max() <= 3
    factor = np.linalg.cholesky(0.25 * np.array([[1 + 1e-6, np.tanh(2.9)], [np.tanh(2.9), 1 + 1e-6]]))
    free = data.mean + rng.normal(size=(400_000, 2)) @ factor.T
    inside = free[(np.abs(free) <= 3).all(axis=1)]
    assert len(inside) > 40
    for column in range(2):
        assert stats.ks_2samp(ours[:, column], inside[:4_000, column]).pvalue > 1e-3


def test_an_unknown_problem_is_named() -> None:
    with pytest.raises(UsageError, match="problem 'bananas': known are gaussian1, "):
        find_problem("bananas")

"""Weights of members: the best ones on validation, and what densities, draws, modes and files make of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from problems import Problem, linear_gaussian
from scipy import stats
from scipy.optimize import minimize

from posteriors import FlowEnsemble, FlowEnsembleConfig
from posteriors.flows.drawing import draw_blocks
from posteriors.flows.ensemble_file import read_ensemble
from posteriors.flows.mixture_weights import draw_counts, stacked_weights

TINY = FlowEnsembleConfig(members=3, epochs=2, hidden=8, affine_hidden=8, weights="stacked")


def gaussians(truth: np.ndarray, *moments: tuple[float, float]) -> np.ndarray:
    return np.stack([stats.norm(mean, spread).logpdf(truth) for mean, spread in moments])


def mean_log_density(log_prob: np.ndarray, weights: np.ndarray) -> float:
    return float(np.log(weights @ np.exp(log_prob)).mean())


def test_the_one_good_member_among_bad_ones_gets_the_weight() -> None:
    truth = np.random.default_rng(0).normal(size=2_000)
    weights = stacked_weights(gaussians(truth, (3, 1), (0, 1), (0, 0.2), (-1, 3)))
    assert weights[1] > 0.95
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert (weights >= 0).all()


def test_the_weights_of_a_known_mixture_are_found() -> None:
    """Complementary members: each is bad by itself, and choosing one of them would not do."""
    rng = np.random.default_rng(1)
    truth = np.where(rng.random(4_000) < 0.3, rng.normal(-2, 1, 4_000), rng.normal(2, 1, 4_000))
    weights = stacked_weights(gaussians(truth, (-2, 1), (2, 1)))
    assert weights[0] == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 4_000))  # four binomial standard errors


@pytest.mark.parametrize("seed", range(3))
def test_no_weights_are_better_by_more_than_the_tolerance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    log_prob = rng.normal(size=(5, 300)) * [[0.1], [0.5], [1], [2], [4]]

    def loss(weights: np.ndarray) -> float:
        return -mean_log_density(log_prob, weights)

    found = minimize(
        loss,
        np.full(5, 0.2),
        method="SLSQP",
        bounds=[(0, 1)] * 5,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={"ftol": 1e-12},
    )
    assert mean_log_density(log_prob, stacked_weights(log_prob)) >= -found.fun - 1.5e-6  # 1e-6, and scipy's own


def test_equal_members_weigh_nearly_the_same_and_stacking_never_loses_to_uniform_where_it_was_found() -> None:
    rng = np.random.default_rng(2)
    same = np.tile(rng.normal(size=20_000), (4, 1))
    np.testing.assert_allclose(stacked_weights(same), 0.25, atol=1e-15)
    scattered = same + 0.5 * rng.normal(size=same.shape)  # equally good, as far as 20,000 truths can tell
    assert np.ptp(stacked_weights(scattered)) < 0.1  # of 500 truths .3: a scatter that falls with their root
    for n in (3, 30, 300):
        log_prob = 2 * rng.normal(size=(6, n))
        assert mean_log_density(log_prob, stacked_weights(log_prob)) >= mean_log_density(log_prob, np.full(6, 1 / 6))


def test_order_and_units_of_the_truths_do_not_matter_and_members_keep_theirs() -> None:
    rng = np.random.default_rng(3)
    log_prob = rng.normal(size=(4, 200)) * [[0.5], [1], [1.5], [2]]
    weights = stacked_weights(log_prob)
    # sums in another order move the weights by rounding, and by a last step of the iteration at most
    np.testing.assert_allclose(stacked_weights(log_prob[:, rng.permutation(200)]), weights, atol=2e-6)
    np.testing.assert_allclose(stacked_weights(log_prob - 900 * rng.random(200)), weights, atol=2e-6)
    np.testing.assert_allclose(stacked_weights(log_prob[::-1]), weights[::-1], atol=2e-6)


def test_a_member_without_density_at_some_truths_is_no_obstacle() -> None:
    log_prob = np.array([[-np.inf, -np.inf, -np.inf, 0.0], [0.0, 0.0, 0.0, -np.inf]])
    np.testing.assert_allclose(stacked_weights(log_prob), [0.25, 0.75], atol=1e-6)


@pytest.mark.parametrize(
    ("log_prob", "message"),
    [
        (np.zeros(5), r"shape \(5,\)"),
        (np.zeros((2, 0)), r"shape \(2, 0\)"),
        (np.full((2, 3), np.nan), "without NaN"),
        (np.full((2, 3), np.inf), "infinity"),
        (np.full((2, 3), -np.inf), "no member has a density at 3 truths"),
    ],
)
def test_densities_that_cannot_be_weighed_are_refused(log_prob: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stacked_weights(log_prob)


def test_draws_are_shared_out_by_the_largest_remainder_and_ties_by_turn() -> None:
    turns = np.array([2, 0, 1])
    assert draw_counts(np.array([0.5, 0.3, 0.2]), 10, turns).tolist() == [5, 3, 2]
    assert draw_counts(np.array([0.5, 0.3, 0.2]), 8, turns).tolist() == [4, 2, 2]  # shares of 4, 2.4 and 1.6
    assert draw_counts(np.full(3, 1 / 3), 31, turns).tolist() == [10, 10, 11]
    assert draw_counts(np.array([1.0, 0.0, 0.0]), 7, turns).tolist() == [7, 0, 0]
    assert draw_counts(np.full(3, 1 / 3), 1, turns).tolist() == [0, 0, 1]
    rng = np.random.default_rng(0)
    for n_draws in (1, 49, 1_000):
        weights = rng.dirichlet(np.full(49, 0.2))
        counts = draw_counts(weights, n_draws, rng.permutation(49))
        assert counts.sum() == n_draws
        assert (np.abs(counts - weights * n_draws) < 1).all()


def test_members_give_draws_by_weight_in_shuffled_order_and_none_is_drawn_in_vain() -> None:
    passes: list[int] = []

    class Numbered:
        """Each member's draws are its number."""

        def from_noise(self, noise, context, members):
            passes.append(noise[:, 0].numel())
            return torch.as_tensor(members, dtype=noise.dtype).view(-1, 1, 1, 1).expand_as(noise)

    weights = np.array([0.6, 0.0, 0.25, 0.15])
    blocks = draw_blocks(Numbered(), weights, lambda galaxies: torch.zeros(3, 2)[galaxies], 3, 1, 200, seed=1)
    [(galaxies, drawn)] = list(blocks)
    assert (galaxies, drawn.shape) == (slice(0, 3), (200, 3, 1))
    assert (drawn == drawn[:, :1]).all()  # the same for every galaxy
    assert np.bincount(drawn[:, 0, 0].astype(int), minlength=4).tolist() == [120, 0, 50, 30]
    assert (np.diff(drawn[:100, 0, 0]) != 0).mean() > 0.3  # shuffled
    assert sum(passes) == 3 * 200


@pytest.fixture(scope="module")
def lopsided(tmp_path_factory: pytest.TempPathFactory) -> tuple[FlowEnsemble, Problem]:
    """Members of which the first is wrong by far in its first target, and weights of .8, .2 and 0."""
    problem = linear_gaussian(300)
    path = tmp_path_factory.mktemp("weights") / "flows.safetensors"
    flows = FlowEnsemble.fit(problem.context, problem.target, config=TINY)
    with torch.no_grad():
        flows.members[0].transform._transforms[1].skip.bias[0] += 30
    flows.save(path)
    weighted = replace(read_ensemble(path), stacked_weights=np.array([0.8, 0.2, 0.0]))
    return FlowEnsemble(weighted), problem


def test_densities_draws_modes_and_quantiles_follow_the_weights(lopsided) -> None:
    flows, problem = lopsided
    arguments = problem.target[:40], problem.context[:40]
    members = np.exp(flows.member_log_prob(*arguments))
    np.testing.assert_allclose(np.exp(flows.log_prob(*arguments)), flows.weights @ members, rtol=1e-12)
    far = problem.target[:, 0].mean() + 10 * problem.target[:, 0].std()
    draws = flows.draw(problem.context[:40], 50, seed=2)
    assert ((draws[:, :, 0] > far).sum(0) == 40).all()
    assert (flows.mode(problem.context[:40], n_draws=20)[:, 0] > far).all()  # equal weights have it at either
    low, high = flows.quantile(problem.context[:40], [0.15, 0.25], n_draws=50)[..., 0]
    assert (low < far).all()
    assert (high > far).all()


def test_a_fit_finds_weights_on_its_validation_rows_and_uses_them_by_name(tmp_path: Path) -> None:
    problem, held = linear_gaussian(300), linear_gaussian(200, seed=5)
    given = {"validation": (held.context, held.target)}
    stacked = FlowEnsemble.fit(problem.context, problem.target, config=TINY, **given)
    uniform = FlowEnsemble.fit(problem.context, problem.target, config=replace(TINY, weights="uniform"), **given)
    members = uniform.member_log_prob(held.target, held.context)
    np.testing.assert_allclose(stacked.weights, stacked_weights(members), atol=1e-4)  # float32 densities
    np.testing.assert_array_equal(uniform.stacked_weights, stacked.weights)
    assert uniform.weights.tolist() == [1 / 3] * 3
    assert np.ptp(stacked.weights) > 0.05  # two epochs leave members that differ
    arguments = held.target, held.context
    assert stacked.log_prob(*arguments).mean() > uniform.log_prob(*arguments).mean()
    stacked.save(tmp_path / "flows.safetensors")
    again = FlowEnsemble.load(tmp_path / "flows.safetensors")
    np.testing.assert_array_equal(again.weights, stacked.weights)
    np.testing.assert_array_equal(again.log_prob(*arguments), stacked.log_prob(*arguments))
    np.testing.assert_array_equal(again.draw(held.context, 20), stacked.draw(held.context, 20))
    order = np.random.default_rng(0).permutation(200)
    moved = FlowEnsemble.fit(
        problem.context, problem.target, config=TINY, validation=(held.context[order], held.target[order])
    )
    np.testing.assert_allclose(moved.weights, stacked.weights, atol=1e-4)  # float32 sums in another order
    with pytest.raises(ValueError, match="weights 'best': allowed are 'uniform', 'stacked'"):
        replace(TINY, weights="best")

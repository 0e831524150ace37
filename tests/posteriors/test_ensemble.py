"""The ensemble: near known densities, the same when it should be, and clear about what it cannot do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from problems import Problem, banana, heteroscedastic, linear_gaussian
from scipy.integrate import trapezoid

from posteriors import FlowEnsemble, FlowEnsembleConfig, expected_coverage
from posteriors.calibration.pit import interval_coverage, pit
from posteriors.flows import fitting
from posteriors.flows.drawing import draw_blocks
from posteriors.flows.nflows_flows import make_flow

TINY = FlowEnsembleConfig(members=2, epochs=2, hidden=8, affine_hidden=8)
PROBLEMS = {"linear_gaussian": linear_gaussian, "heteroscedastic": heteroscedastic, "banana": banana}


@pytest.fixture(scope="module")
def fitted() -> tuple[FlowEnsemble, Problem]:
    """A quick fit of the correlated Gaussian; what is tested on it does not need a good one."""
    problem = linear_gaussian(400)
    return FlowEnsemble.fit(problem.context, problem.target, config=TINY), problem


@pytest.mark.parametrize("name", PROBLEMS)
def test_known_densities_are_found_and_draws_are_calibrated(name: str) -> None:
    train, test = PROBLEMS[name](3_000, seed=1), PROBLEMS[name](2_000, seed=2)
    flows = FlowEnsemble.fit(train.context, train.target, config=FlowEnsembleConfig(members=2, epochs=25))
    gap = (test.log_prob - flows.log_prob(test.target, test.context)).mean()
    # n = 3,000 and a short schedule leave a few hundredths; a flow without its affine map or couplings leaves > .2
    assert -0.02 < gap < {"linear_gaussian": 0.06, "heteroscedastic": 0.06, "banana": 0.12}[name]
    draws = flows.draw(test.context, 200, seed=3)
    ranks = pit(draws, test.target)
    for column in range(ranks.shape[1]):
        # binomial sd of .010 at 2,000 galaxies, and what the finite fit is off by
        assert interval_coverage(ranks[:, column], 0.68) == pytest.approx(0.68, abs=0.04)
    assert np.abs(expected_coverage(draws, test.target).ecp - np.linspace(0, 1, 101)).max() < 0.06


def test_a_coupled_flow_beats_the_best_product_of_marginals_on_correlated_targets() -> None:
    train, test = linear_gaussian(3_000, seed=1), linear_gaussian(1_000, seed=2)
    config = FlowEnsembleConfig(recipe="coupling", members=1, epochs=20)
    flow = FlowEnsemble.fit(train.context, train.target, config=config)
    loss_of_independence = -0.5 * np.log(1 - 0.95**2)  # nats: the mutual information of the noise, 1.16
    gap = (test.log_prob - flow.log_prob(test.target, test.context)).mean()
    assert gap < 0.5 * loss_of_independence


def test_one_target_on_a_constant_context_is_an_unconditional_density() -> None:
    rng = np.random.default_rng(0)
    target = np.where(rng.random(1_500) < 0.5, rng.normal(-2, 0.5, 1_500), rng.normal(2, 0.5, 1_500))
    config = FlowEnsembleConfig(members=1, epochs=30)
    flow = FlowEnsemble.fit(np.zeros((1_500, 1)), target, config=config)
    grid = np.linspace(-8, 8, 4_001)
    density = np.exp(flow.log_prob(grid, np.zeros((4_001, 1))))
    assert trapezoid(density, grid) == pytest.approx(1, abs=1e-3)
    truth = 0.5 * sum(np.exp(-0.5 * ((grid - m) / 0.5) ** 2) / (0.5 * np.sqrt(2 * np.pi)) for m in (-2, 2))
    assert trapezoid(np.abs(density - truth), grid) < 0.2  # a Gaussian of the same width has 0.9
    assert flow.draw(np.zeros((3, 1)), 50).shape == (50, 3, 1)


@pytest.mark.parametrize("recipe", ["default", "coupling"])
@pytest.mark.parametrize(("t", "c"), [(1, 1), (1, 40), (8, 2), (2, 20)])
def test_any_number_of_targets_and_inputs_fits_draws_and_loads(recipe, t: int, c: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    context, target = rng.normal(size=(64, c)), rng.normal(size=(64, t))
    context[:, 0] = 3.0
    config = FlowEnsembleConfig(recipe=recipe, members=2, epochs=1, hidden=8)
    flows = FlowEnsemble.fit(context, target, config=config)
    flows.save(tmp_path / "flows.safetensors")
    again = FlowEnsemble.load(tmp_path / "flows.safetensors")
    assert flows.member_log_prob(target, context).shape == (2, 64)
    np.testing.assert_array_equal(again.log_prob(target, context), flows.log_prob(target, context))
    np.testing.assert_array_equal(again.draw(context, 5), flows.draw(context, 5))
    assert (again.config, again.n_diverged, again.log_jacobian) == (flows.config, 0, flows.log_jacobian)
    np.testing.assert_array_equal(again.validation_nll, flows.validation_nll)


def test_densities_are_per_unit_of_the_target_and_do_not_depend_on_it(fitted) -> None:
    flows, problem = fitted
    rescaled = FlowEnsemble.fit(problem.context, problem.target * [1e3, 1e-3] - 5, config=TINY)
    ours, theirs = (
        flows.log_prob(problem.target, problem.context),
        rescaled.log_prob(problem.target * [1e3, 1e-3] - 5, problem.context),
    )
    np.testing.assert_allclose(theirs, ours, atol=0.02)  # Jacobian 1; float32 rounding through 24 steps of training
    np.testing.assert_allclose(theirs + rescaled.log_jacobian, ours + flows.log_jacobian, atol=0.02)
    assert flows.log_jacobian == pytest.approx(np.log(flows.target_scaling.scale).sum())


def test_the_mixture_is_the_mean_density_of_the_members(fitted) -> None:
    flows, problem = fitted
    members = flows.member_log_prob(problem.target, problem.context)
    mixture = flows.log_prob(problem.target, problem.context)
    np.testing.assert_allclose(np.exp(mixture), np.exp(members).mean(0))
    assert mixture.mean() >= members.mean()


def test_a_fit_repeats_itself_and_another_seed_gives_another(fitted) -> None:
    flows, problem = fitted
    again = FlowEnsemble.fit(torch.tensor(problem.context), torch.tensor(problem.target), config=TINY)
    other = FlowEnsemble.fit(problem.context, problem.target, config=TINY, seed=1)
    reference = flows.log_prob(problem.target, problem.context)
    np.testing.assert_array_equal(again.log_prob(problem.target, problem.context), reference)
    assert not np.array_equal(other.log_prob(problem.target, problem.context), reference)
    assert not np.array_equal(*flows.member_log_prob(problem.target, problem.context))


def test_with_ids_the_order_of_rows_does_not_matter() -> None:
    problem, order = linear_gaussian(120), np.random.default_rng(3).permutation(120)
    ids = np.arange(120) + 1000
    first = FlowEnsemble.fit(problem.context, problem.target, config=TINY, ids=ids)
    second = FlowEnsemble.fit(problem.context[order], problem.target[order], config=TINY, ids=ids[order])
    np.testing.assert_array_equal(
        first.log_prob(problem.target, problem.context), second.log_prob(problem.target, problem.context)
    )


def test_given_validation_rows_choose_the_epoch_and_are_not_trained_on() -> None:
    problem, held = linear_gaussian(200), linear_gaussian(100, seed=5)
    flows = FlowEnsemble.fit(problem.context, problem.target, config=TINY, validation=(held.context, held.target))
    np.testing.assert_allclose(flows.target_scaling.mean, problem.target.mean(0))
    nll = -flows.member_log_prob(held.target, held.context).mean(1) - flows.log_jacobian
    np.testing.assert_allclose(nll, flows.validation_nll, rtol=1e-5)


def test_the_best_epoch_is_kept_as_a_copy_and_not_the_last_one() -> None:
    rng = np.random.default_rng(0)
    context, target = rng.normal(size=(60, 12)), rng.normal(size=(60, 2))  # nothing to learn but noise
    config = FlowEnsembleConfig(recipe="coupling", members=1, epochs=60, patience=0, learning_rate=1e-2)
    flow = FlowEnsemble.fit(context, target, config=config, validation=(context[:30] * 0, target[:30][::-1].copy()))
    assert flow.best_epoch[0] < 59
    nll = -flow.log_prob(target[:30][::-1], context[:30] * 0).mean() - flow.log_jacobian
    assert nll == pytest.approx(flow.validation_nll[0], rel=1e-5)


def test_patience_stops_training_and_epochs_and_steps_cap_it() -> None:
    problem = linear_gaussian(200)

    def count_epochs(**options) -> int:
        calls: list[tuple[int, int]] = []
        config = FlowEnsembleConfig(members=1, hidden=8, **options)
        FlowEnsemble.fit(
            problem.context, problem.target, config=config, progress=lambda done, total: calls.append((done, total))
        )
        assert [done for done, _ in calls] == list(range(1, len(calls) + 1))
        return len(calls)

    assert count_epochs(epochs=3) == 3
    assert count_epochs(epochs=10, batch_size=60, max_steps=12) == 4  # 180 rows: 3 steps an epoch
    assert count_epochs(epochs=10, batch_size=60, max_steps=1) == 1
    stopped = count_epochs(recipe="coupling", epochs=60, patience=2, learning_rate=0.05)
    assert 3 <= stopped < 60


def test_averaged_weights_differ_from_the_last_ones() -> None:
    problem = linear_gaussian(100)
    options = {"members": 1, "epochs": 3, "hidden": 8}
    averaged, plain = (
        FlowEnsemble.fit(problem.context, problem.target, config=FlowEnsembleConfig(average=average, **options))
        for average in (True, False)
    )
    assert not np.array_equal(
        averaged.log_prob(problem.target, problem.context), plain.log_prob(problem.target, problem.context)
    )


def test_draws_repeat_with_the_seed_and_divide_equally_over_members(fitted) -> None:
    flows, problem = fitted
    first, second = flows.draw(problem.context[:50], 31, seed=4), flows.draw(problem.context[:50], 31, seed=4)
    assert (first.shape, first.dtype) == ((31, 50, 2), np.float32)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, flows.draw(problem.context[:50], 31, seed=5))
    assert flows.draw(problem.context[:4], 1).shape == (1, 4, 2)  # fewer draws than members


def test_every_member_gives_its_share_of_the_draws() -> None:
    class Numbered:
        """Each member's draws are its number."""

        def from_noise(self, noise, context, members):
            return torch.as_tensor(members, dtype=noise.dtype).view(-1, 1, 1, 1).expand_as(noise)

    def count(n_draws: int, n_members: int) -> np.ndarray:
        encode, weights = torch.zeros(3, 2).__getitem__, np.full(n_members, 1 / n_members)
        blocks = list(draw_blocks(Numbered(), weights, encode, 3, 1, n_draws, seed=1))
        assert [galaxies for galaxies, _ in blocks] == [slice(0, 3)]
        drawn = blocks[0][1]
        assert drawn.shape == (n_draws, 3, 1)
        assert (drawn == drawn[:, :1]).all()  # the same for every galaxy
        assert n_draws < 20 or (np.diff(drawn[:, 0, 0]) != 0).mean() > 0.3  # shuffled
        return np.bincount(drawn[:, 0, 0].astype(int), minlength=n_members)

    assert sorted(count(31, 2)) == [15, 16]
    assert count(30, 3).tolist() == [10, 10, 10]
    assert sorted(count(2, 4)) == [0, 0, 1, 1]


def test_draws_follow_the_density_that_log_prob_states(fitted) -> None:
    flows, problem = fitted
    draws = flows.draw(problem.context[:1], 4_000)[:, 0].astype(np.float64)
    context = np.repeat(problem.context[:1], 4_000, axis=0)
    # E_p[exp(q - p)] = 1 for a normalised q under draws from p: q a Gaussian with the draws' moments
    mean, covariance = draws.mean(0), np.cov(draws.T)
    residual = draws - mean
    log_q = -0.5 * np.einsum("nt,tu,nu->n", residual, np.linalg.inv(covariance), residual)
    log_q -= 0.5 * np.linalg.slogdet(2 * np.pi * covariance).logabsdet
    ratio = np.exp(log_q - flows.log_prob(draws, context))
    assert ratio.mean() == pytest.approx(1, abs=4 * ratio.std() / np.sqrt(4_000) + 0.02)


def test_a_failing_float32_inverse_is_repeated_in_float64(fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    flows, problem = fitted
    modules = FlowEnsemble.fit(problem.context, problem.target, config=replace(TINY, backend="nflows"))
    expected = modules.draw(problem.context[:5], 10)
    original = type(flows.members[0]).from_noise

    def from_noise(self, noise, context):
        assert noise.dtype == torch.float64  # what nflows does when rounding makes a discriminant negative
        return original(self, noise, context)

    monkeypatch.setattr(type(flows.members[0]), "from_noise", from_noise)
    np.testing.assert_allclose(modules.draw(problem.context[:5], 10), expected, rtol=1e-4)
    assert next(modules.members[0].parameters()).dtype == torch.float32


def test_a_diverging_member_is_retried_then_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, made = linear_gaussian(100), []

    def make_or_spoil(config, n_targets, n_context, start):
        flow = make_flow(config, n_targets, n_context, start)
        made.append(flow)
        if len(made) in (1, 2, 5):  # the first two members at first, the second of these again
            flow.transform._transforms[1].inner.bias.data[0] = torch.nan
        return flow

    monkeypatch.setattr(fitting, "make_member", make_or_spoil)
    config = FlowEnsembleConfig(members=3, epochs=1, hidden=8)
    flows = FlowEnsemble.fit(problem.context, problem.target, config=config)
    assert (len(made), len(flows.members), flows.n_diverged) == (5, 2, 1)
    assert flows.members == [made[3], made[2]]  # in the order of members
    assert flows.log_prob(problem.target, problem.context).shape == (100,)


def test_an_ensemble_that_diverges_is_an_error() -> None:
    problem = linear_gaussian(100)
    config = FlowEnsembleConfig(members=2, epochs=40, learning_rate=1e30)
    with pytest.raises(ValueError, match="2 of 2 members diverged twice"):
        FlowEnsemble.fit(problem.context, problem.target, config=config)


@pytest.mark.parametrize(
    ("context", "target", "options", "message"),
    [
        (np.zeros((30, 2)), np.zeros((29, 1)), {}, r"context has shape \(30, 2\) and target \(29, 1\)"),
        (np.zeros(30), np.arange(30.0), {}, r"context of shape \(30,\)"),
        (np.zeros((30, 2)), np.zeros((30, 1, 1)), {}, r"target of shape"),
        (np.full((30, 2), np.nan), np.arange(30.0), {}, "context has 60 values that are NaN"),
        (np.zeros((30, 2)), np.r_[np.arange(29.0), np.inf], {}, "target has 1 values that are NaN or infinite"),
        (np.zeros((19, 2)), np.arange(19.0), {}, "19 training rows"),
        (np.zeros((30, 2)), np.column_stack([np.arange(30), np.ones(30)]), {}, "target column 1 has the one value 1"),
        (np.zeros((30, 2)), np.arange(30.0), {"ids": np.zeros(30)}, "ids are repeated, the first is 0"),
        (np.zeros((30, 2)), np.arange(30.0), {"ids": np.zeros(3)}, "one for each row"),
        (np.zeros((30, 2)), np.arange(30.0), {"validation": (np.zeros((9, 3)), np.ones(9))}, "must agree"),
        (np.zeros((30, 2)), np.arange(30.0), {"validation": (np.zeros((9, 2)), np.ones(8))}, "validation context"),
    ],
)
def test_rows_that_cannot_be_fitted_are_refused(context, target, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlowEnsemble.fit(context, target, config=TINY, **options)


def test_rows_of_another_shape_are_refused_after_the_fit(fitted) -> None:
    flows, problem = fitted
    with pytest.raises(ValueError, match="context has 2 columns: the ensemble was fitted on 3"):
        flows.log_prob(problem.target, problem.context[:, :2])
    with pytest.raises(ValueError, match="target has 1 columns: the ensemble was fitted on 2"):
        flows.log_prob(problem.target[:, 0], problem.context)
    with pytest.raises(ValueError, match="n_draws = 0"):
        flows.draw(problem.context, 0)


def test_damaged_and_foreign_files_are_one_clear_error(fitted, tmp_path: Path) -> None:
    flows, _ = fitted
    path = tmp_path / "flows.safetensors"
    flows.save(path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-3] ^= 0xFF
    for damaged in (whole[:100], whole[:-10], bytes(flipped), b"", b"not a tensor file at all"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is not a readable flow ensemble"):
            FlowEnsemble.load(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        FlowEnsemble.load(tmp_path / "other.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["flows.safetensors"]  # no partial file is left

"""The published recipes: pyro's elementwise flow as released, and couplings of random depth and width."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from problems import linear_gaussian
from pyro.distributions.conditional import ConditionalComposeTransformModule, ConditionalTransformedDistribution
from pyro.distributions.transforms import conditional_spline

from posteriors import FlowEnsemble, FlowEnsembleConfig
from posteriors.flows.pyro_flows import PyroFlow, make_pyro_flow, train_released
from posteriors.flows.training import Diverged, Rows

CODE = FlowEnsembleConfig(recipe="code", members=2, epochs=3)


def make_seeded(t: int = 3, k: int = 4, n_layers: int = 2) -> PyroFlow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make_pyro_flow(replace(CODE, n_couplings=n_layers, hidden=16), t, k)


def make_rows(n: int, t: int = 3, k: int = 4) -> Rows:
    generator = torch.Generator().manual_seed(5)
    return Rows(torch.randn(n, k, generator=generator), torch.randn(n, t, generator=generator))


def test_the_released_flow_is_pyros_own_stack() -> None:
    flow, rows = make_seeded(), make_rows(60)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [conditional_spline(3, 4, hidden_dims=[16] * 3, count_bins=8, order="quadratic") for _ in range(2)]
    stack = ConditionalComposeTransformModule(layers, cache_size=1)
    base = dist.Normal(torch.zeros(3), torch.ones(3))
    theirs = ConditionalTransformedDistribution(base, [stack]).condition(rows.context).log_prob(rows.target)
    torch.testing.assert_close(flow.log_prob_per_target(rows.target, rows.context), theirs)
    torch.testing.assert_close(flow.log_prob(rows.target, rows.context), theirs.sum(1))


def test_the_released_flow_inverts_and_is_a_product_of_marginals() -> None:
    flow = make_seeded().double()
    rows = make_rows(40)
    noise, context = rows.target.double(), rows.context.double()
    drawn = flow.from_noise(noise, context)
    jacobian = torch.autograd.functional.jacobian(lambda z: flow.from_noise(z, context[:1]), noise[:1])[0, :, 0]
    off_diagonal = jacobian - torch.diag(jacobian.diag())  # type: ignore[arg-type, union-attr]
    assert off_diagonal.abs().max() == 0
    log_slope = torch.log(jacobian.diag()).sum()  # type: ignore[union-attr]
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(noise[0]).sum()
    torch.testing.assert_close(flow.log_prob(drawn[:1], context[:1])[0], normal - log_slope)


def test_the_mended_loop_keeps_the_best_epoch_and_the_faithful_one_the_last() -> None:
    rows, held = make_rows(100), make_rows(40)
    held = Rows(held.context, held.target.flip(0))
    config = replace(CODE, epochs=10, learning_rate=2e-2)  # learns the rows by heart: the best epoch is an early one
    mended = train_released(config, make_seeded(), rows, held, 1)
    kept = train_released(replace(config, faithful=True), make_seeded(), rows, held, 1)
    assert mended.best_epoch < 9
    nll = [float(-member.flow.log_prob(held.target, held.context).mean()) for member in (mended, kept)]
    assert nll[0] == pytest.approx(mended.validation_nll, rel=1e-5)
    assert nll[1] > nll[0] + 0.01
    assert kept.validation_nll < nll[1]  # what it reports is not what its weights give


def test_the_released_loop_stops_when_the_loss_exceeds_the_mean_of_the_last_five() -> None:
    rows, held = make_rows(100), make_rows(40)
    config, epochs = replace(CODE, epochs=25, learning_rate=2e-2), []
    train_released(config, make_seeded(), rows, held, 1, lambda: epochs.append(0))
    assert 12 <= len(epochs) < 25


def test_a_loss_that_is_not_finite_ends_the_released_loop() -> None:
    flow = make_seeded()
    next(flow.parameters()).data.fill_(torch.nan)
    with pytest.raises(Diverged, match="epoch 0"):
        train_released(CODE, flow, make_rows(50), make_rows(20), 1)


@pytest.mark.parametrize("recipe", ["paper", "code"])
def test_members_have_their_own_depth_and_width_and_survive_a_file(recipe, tmp_path: Path) -> None:
    problem = linear_gaussian(120)
    config = FlowEnsembleConfig(recipe=recipe, members=5, epochs=1, hidden=(8, 24))
    flows = FlowEnsemble.fit(problem.context, problem.target, config=config)
    low, high = {"paper": (3, 6), "code": (2, 3)}[recipe]
    depths = {member.n_couplings for member in flows.members}
    assert depths <= set(range(low, high + 1))
    assert len(depths) > 1
    assert len({member.hidden for member in flows.members}) > 1
    assert all(8 <= member.hidden <= 24 for member in flows.members)
    flows.save(tmp_path / "flows.safetensors")
    again = FlowEnsemble.load(tmp_path / "flows.safetensors")
    arguments = problem.target, problem.context
    np.testing.assert_array_equal(again.member_log_prob(*arguments), flows.member_log_prob(*arguments))
    np.testing.assert_array_equal(again.draw(problem.context[:9], 7), flows.draw(problem.context[:9], 7))


def test_ragged_members_are_stacked_by_depth_and_equal_nflows() -> None:
    problem = linear_gaussian(120, t=3)
    config = FlowEnsembleConfig(recipe="paper", members=4, epochs=2, hidden=(8, 16), dtype="float64")
    stacked, modules = (
        FlowEnsemble.fit(problem.context, problem.target, config=replace(config, backend=backend))  # type: ignore[arg-type]
        for backend in ("stacked", "nflows")
    )
    arguments = problem.target, problem.context
    np.testing.assert_allclose(stacked.member_log_prob(*arguments), modules.member_log_prob(*arguments), atol=1e-8)
    np.testing.assert_allclose(stacked.draw(problem.context, 6), modules.draw(problem.context, 6), rtol=1e-5)


def test_the_elementwise_flow_loses_to_couplings_on_correlated_targets() -> None:
    """The noise's mutual information, 1.16 nats, is beyond a product of marginals whatever it is trained on."""
    train, test = linear_gaussian(1_500, seed=1), linear_gaussian(1_000, seed=2)
    nll = {}
    for recipe, rate in (("code", 5e-3), ("default", None)):
        config = FlowEnsembleConfig(recipe=recipe, members=1, epochs=15, learning_rate=rate)  # type: ignore[arg-type]
        flows = FlowEnsemble.fit(train.context, train.target, config=config)
        nll[recipe] = -flows.log_prob(test.target, test.context).mean()
    assert nll["code"] > nll["default"] + 0.8

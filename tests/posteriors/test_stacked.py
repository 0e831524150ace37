"""The stack: equal to nflows in densities, draws, gradients and training, and true to each member."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from nflows.transforms import PiecewiseRationalQuadraticCouplingTransform
from problems import linear_gaussian

from posteriors import FlowEnsemble, FlowEnsembleConfig
from posteriors.flows.linear_start import LinearStart
from posteriors.flows.nflows_flows import ConditionalFlow, make_flow
from posteriors.flows.stacked import FlowStack
from posteriors.flows.stacked_splines import spline, spline_inverse
from posteriors.flows.stacked_training import train_stack
from posteriors.flows.training import Diverged, Rows, TrainedMember, train_member


def make_members(
    recipe: str, t: int, contexts: list[int], dtype: torch.dtype = torch.float64, hidden: tuple[int, ...] = ()
) -> list[ConditionalFlow]:
    """Members with weights and linear starts away from the identity; ``hidden`` gives each its own width."""
    members = []
    for index, n_context in enumerate(contexts):
        width = hidden[index] if hidden else 32
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(index)
            config = FlowEnsembleConfig(recipe=recipe, hidden=width)  # type: ignore[arg-type]
            flow = make_flow(config, t, n_context, make_start(t, n_context, index)).to(dtype)
            with torch.no_grad():
                for parameter in flow.parameters():
                    parameter.add_(0.1 * torch.randn_like(parameter))
        members.append(flow)
    return members


def make_start(t: int, k: int, seed: int) -> LinearStart:
    """A start that changes everything; every other target is compressed."""
    rng = np.random.default_rng(seed)
    mixing = np.eye(t) + 0.3 * np.tril(rng.normal(size=(t, t)), -1)
    reach = np.where(np.arange(t) % 2 == 0, 3.0, 0.0)
    return LinearStart(0.2 * rng.normal(size=(t, k)), rng.normal(size=t), 0.2 * rng.normal(size=t), reach, mixing)


def _make_seeded(config: FlowEnsembleConfig, t: int, k: int, seed: int) -> ConditionalFlow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make_flow(config, t, k)


def make_rows(n: int, t: int, k: int, dtype: torch.dtype = torch.float64) -> Rows:
    generator = torch.Generator().manual_seed(5)
    draw = [torch.randn(n, columns, generator=generator, dtype=torch.float64).to(dtype) for columns in (k, t)]
    return Rows(draw[0], 1.5 * draw[1])


@pytest.mark.parametrize("recipe", ["coupling", "default"])
@pytest.mark.parametrize("t", [1, 2, 5, 8])
def test_densities_and_draws_are_those_of_nflows(recipe: str, t: int) -> None:
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        members = make_members(recipe, t, [7, 4, 6], dtype)
        stack, rows = FlowStack(members), make_rows(200, t, 7, dtype)
        expected = torch.stack([member.log_prob(rows.target, rows.context) for member in members]).detach()
        found = stack.log_prob(rows.target, rows.context)
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
        own = stack.log_prob(rows.target.expand(3, -1, -1), rows.context.expand(3, -1, -1))
        torch.testing.assert_close(own, expected, rtol=tolerance, atol=tolerance)
        noise = torch.randn(3, t, 20, 4, generator=torch.Generator().manual_seed(1), dtype=dtype)
        draws = stack.from_noise(noise, rows.context[:20])
        for member, one_noise, one in zip(members, noise, draws, strict=True):
            flat = one_noise.permute(1, 2, 0).reshape(80, t)
            with torch.no_grad():
                drawn = member.from_noise(flat, rows.context[:20].repeat_interleave(4, 0))
            torch.testing.assert_close(one.permute(1, 2, 0).reshape(80, t), drawn, rtol=1e-4, atol=1e-4)


def test_members_of_other_widths_are_stacked_and_their_filling_stays_zero_in_training() -> None:
    members = make_members("coupling", 3, [5, 5], hidden=(8, 20))
    stack, rows = FlowStack(members), make_rows(100, 3, 5)
    expected = torch.stack([member.log_prob(rows.target, rows.context) for member in members]).detach()
    torch.testing.assert_close(stack.log_prob(rows.target, rows.context), expected)
    stack.flat.requires_grad_()
    optimiser = torch.optim.AdamW([stack.flat], lr=1e-2, weight_decay=0.1)
    for _ in range(5):
        optimiser.zero_grad()
        stack.log_prob(rows.target, rows.context).mean().neg().backward()
        optimiser.step()
    assert stack.split(stack.flat)["0.0.1.weight"][0, 8:].abs().max() == 0
    stack.write(0, members[0])
    torch.testing.assert_close(
        members[0].log_prob(rows.target, rows.context), stack.log_prob(rows.target, rows.context)[0]
    )


def test_weights_go_into_a_stack_and_back_unchanged() -> None:
    for recipe in ("coupling", "default"):
        members = make_members(recipe, 5, [7, 4, 6])
        others = make_members(recipe, 5, [7, 4, 6])
        for other in others:
            for parameter in other.parameters():
                parameter.data.zero_()
        stack = FlowStack(members)
        part = stack.subset([2, 0])
        for index, other in enumerate(others):
            stack.write(index, other)
            for name, value in members[index].state_dict().items():
                assert torch.equal(other.state_dict()[name], value), name
        rows = make_rows(50, 5, 7)
        torch.testing.assert_close(
            part.log_prob(rows.target, rows.context), stack.log_prob(rows.target, rows.context)[[2, 0]]
        )


def test_flows_of_other_transforms_cannot_share_a_stack() -> None:
    with pytest.raises(ValueError, match="group them by depth"):
        FlowStack([*make_members("coupling", 2, [3]), *make_members("default", 2, [3])])


def test_the_splines_gradient_is_that_of_finite_differences_and_it_inverts() -> None:
    generator = torch.Generator().manual_seed(0)
    values = (3 * torch.randn(2, 3, 9, generator=generator, dtype=torch.float64)).requires_grad_()
    for n_parameters in (9, 1):  # a spline for each value, and one for all
        parameters = torch.randn(2, 3, 11, n_parameters, generator=generator, dtype=torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(lambda x, p: spline(x, p, 0.7, 4.0), (values, parameters))
        outputs, _ = spline(values, parameters, 0.7, 4.0)
        torch.testing.assert_close(spline_inverse(outputs.detach(), parameters, 0.7, 4.0), values.detach())


def test_adam_steps_from_equal_weights_and_batches_end_where_nflows_ends() -> None:
    """200 steps in float64; plain nflows transforms, boolean masks and all, are the reference."""
    problem = linear_gaussian(320, t=3)
    target = (problem.target - problem.target.mean(0)) / problem.target.std(0)
    rows = Rows(torch.from_numpy(problem.context), torch.from_numpy(target))
    config = FlowEnsembleConfig(recipe="coupling", hidden=16, epochs=40, batch_size=64, patience=0)
    seeds = [1, 2]
    members, twins = ([_make_seeded(config, 3, 3, seed).double() for seed in seeds] for _ in range(2))
    for twin in twins:
        couplings = twin.transform._transforms
        for index, coupling in enumerate(couplings):
            mask = [(column + index) % 2 for column in range(3)]
            couplings[index] = PiecewiseRationalQuadraticCouplingTransform(
                mask, lambda *_, kept=coupling: kept.transform_net, num_bins=8, tails="linear", tail_bound=5.0
            )
    stacked = train_stack(config, members, rows, rows, [3, 3])
    for outcome, twin in zip(stacked, twins, strict=True):
        reference = train_member(config, twin, rows, rows, 3)
        assert isinstance(outcome, TrainedMember)
        assert outcome.best_epoch == reference.best_epoch > 30
        for ours, theirs in zip(outcome.flow.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("recipe", ["coupling", "default"])
def test_backends_fit_the_same_ensemble_and_draw_the_same(recipe: str) -> None:
    problem = linear_gaussian(150)
    config = FlowEnsembleConfig(recipe=recipe, members=3, epochs=4, hidden=8, dtype="float64")  # type: ignore[arg-type]
    stacked, modules = (
        FlowEnsemble.fit(problem.context, problem.target, config=replace(config, backend=backend))  # type: ignore[arg-type]
        for backend in ("stacked", "nflows")
    )
    np.testing.assert_allclose(stacked.validation_nll, modules.validation_nll, atol=1e-8)
    np.testing.assert_allclose(
        stacked.member_log_prob(problem.target, problem.context),
        modules.member_log_prob(problem.target, problem.context),
        atol=1e-7,
    )
    for n_draws in (2, 31):
        np.testing.assert_allclose(
            stacked.draw(problem.context[:40], n_draws), modules.draw(problem.context[:40], n_draws), rtol=1e-5
        )


def test_stopped_members_leave_the_stack_and_the_others_train_as_if_alone() -> None:
    """Each member's best epoch and weights are those of a training by itself, however many left before it."""
    rows, held = make_rows(120, 2, 4), make_rows(40, 2, 4)
    held = Rows(held.context.flip(0), held.target)  # little to learn, so that members stop at different epochs
    config = FlowEnsembleConfig(recipe="coupling", hidden=8, epochs=40, patience=2, learning_rate=2e-2)
    counts: list[int] = []
    seeds = [1, 2, 3, 4, 5]
    hidden = (8,) * 5
    together = train_stack(
        config, make_members("coupling", 2, [4] * 5, hidden=hidden), rows, held, seeds, counts.append
    )
    assert counts[0] == 5
    assert sorted(counts, reverse=True) == counts
    assert len(set(counts)) > 2  # they did leave one by one
    for flow, seed, outcome in zip(make_members("coupling", 2, [4] * 5, hidden=hidden), seeds, together, strict=True):
        (alone,) = train_stack(config, [flow], rows, held, [seed])
        assert isinstance(alone, TrainedMember)
        assert isinstance(outcome, TrainedMember)
        assert outcome.best_epoch == alone.best_epoch
        torch.testing.assert_close(
            outcome.flow.log_prob(held.target, held.context), alone.flow.log_prob(held.target, held.context)
        )


def test_a_member_that_diverges_does_not_touch_the_others() -> None:
    rows = make_rows(100, 2, 4)
    config = FlowEnsembleConfig(recipe="default", epochs=3)
    members, twins = make_members("default", 2, [4] * 3), make_members("default", 2, [4] * 3)
    members[1].transform._transforms[1].inner.bias.data[0] = torch.nan
    found, alone = (
        train_stack(config, members, rows, rows, [1, 2, 3]),
        train_stack(config, twins, rows, rows, [1, 2, 3]),
    )
    assert isinstance(found[1], Diverged)
    for index in (0, 2):
        ours, theirs = found[index], alone[index]
        assert isinstance(ours, TrainedMember)
        assert isinstance(theirs, TrainedMember)
        assert ours.validation_nll == theirs.validation_nll

"""Weight decay: towards a linear Gaussian and nothing else."""

from __future__ import annotations

import pytest
import torch
from problems import banana, linear_gaussian

from posteriors import FlowEnsemble, FlowEnsembleConfig
from posteriors.flows.nflows_flows import decayed_parameters, make_flow
from posteriors.flows.stacked import FlowStack
from posteriors.products import context_product


def gap(problem, fresh, **options) -> float:
    """Nats that the exact density is above an ensemble's on fresh rows."""
    flow = FlowEnsemble.fit(problem.context, problem.target, config=FlowEnsembleConfig(members=1, **options))
    return float((fresh.log_prob - flow.log_prob(fresh.target, fresh.context)).mean())


def test_endless_decay_leaves_a_linear_gaussian_that_is_right_where_the_truth_is_one() -> None:
    """Decay of 30 leaves nothing nonlinear but the marginal splines, whose 46 numbers cost .06 nats on 2,000 rows."""
    decay = {"weight_decay": 30.0, "epochs": 12}
    assert gap(linear_gaussian(2_000, t=2), linear_gaussian(4_000, t=2, seed=1), **decay) < 0.1
    assert gap(banana(2_000), banana(4_000, seed=1), **decay) > 0.5
    assert gap(banana(2_000), banana(4_000, seed=1), epochs=12) < 0.3


def test_the_stack_and_its_members_decay_the_same_weights() -> None:
    for recipe in ("default", "coupling"):
        config = FlowEnsembleConfig(recipe=recipe, members=2, hidden=32)  # type: ignore[arg-type]
        with torch.random.fork_rng(devices=[]):
            flows = [make_flow(config, 3, 5) for _ in range(2)]
        stack = FlowStack(flows)
        mask = stack.split(stack.decayed())
        for number, flow in enumerate(flows):
            decayed, others = decayed_parameters(flow)
            assert sum(piece[number].sum() for piece in mask.values()) == sum(part.numel() for part in decayed)
            with torch.no_grad():
                for part in decayed:
                    part.fill_(1.0)
                for part in (*others, *flow.buffers()):
                    part.zero_()
        filled = FlowStack(flows)
        assert torch.equal(filled.flat, filled.decayed())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_context_product_and_its_gradient_are_those_of_torch(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, bias, context = (
        torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
        for shape in ((70, 33), (70, 1), (21, 33))
    )
    factor = torch.randn(70, 21, generator=generator, dtype=torch.float64).to(dtype)
    found, expected = context_product(weight, bias, context), torch.addmm(bias, weight, context.T)
    tolerance = {torch.float32: 2e-5, torch.float64: 1e-12}[dtype]  # sums of 33 to 70 products of size 1
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    ours = torch.autograd.grad((found * factor).sum(), (weight, bias, context))
    theirs = torch.autograd.grad((expected * factor).sum(), (weight, bias, context))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=3 * tolerance)

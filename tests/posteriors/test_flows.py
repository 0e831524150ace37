"""The flows: against nflows' own splines, torch's Gaussian, and the identity at the start."""

import numpy as np
import pytest
import torch
from nflows.transforms import PiecewiseRationalQuadraticCDF, PiecewiseRationalQuadraticCouplingTransform
from torch.distributions import MultivariateNormal

from posteriors import FlowEnsembleConfig
from posteriors.flows.nflows_flows import ConditionalAffine, ConditionalFlow, make_flow
from posteriors.flows.splines import MarginalSpline, SplineCoupling


def spread_weights(module: torch.nn.Module, seed: int = 0, scale: float = 0.5) -> None:
    """Move the weights away from the near-identity they start at."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))


def make_seeded_flow(recipe: str = "default", t: int = 3, k: int = 4) -> ConditionalFlow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make_flow(FlowEnsembleConfig(recipe=recipe).of_size("small"), t, k).double()  # type: ignore[arg-type]


def make_rows(n: int, *columns: int, seed: int = 1, scale: float = 1.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(n, c, generator=generator, dtype=torch.float64) for c in columns]


def test_the_splines_are_those_of_nflows_inside_and_outside_the_bound() -> None:
    (inputs,) = make_rows(500, 3, scale=3.0)  # a tenth of the values lie outside
    ours = MarginalSpline(shape=[3], num_bins=8, tails="linear", tail_bound=5.0, identity_init=True).double()
    spread_weights(ours)
    theirs = PiecewiseRationalQuadraticCDF(shape=[3], num_bins=8, tails="linear", tail_bound=5.0, identity_init=True)
    theirs.double().load_state_dict(ours.state_dict())
    for ours_out, theirs_out in zip(ours(inputs), theirs(inputs), strict=True):
        torch.testing.assert_close(ours_out, theirs_out)
    for ours_out, theirs_out in zip(ours.inverse(inputs), theirs.inverse(inputs), strict=True):
        torch.testing.assert_close(ours_out, theirs_out)


def test_the_couplings_are_those_of_nflows_with_their_gradients() -> None:
    coupling = make_seeded_flow("coupling").transform._transforms[0]
    spread_weights(coupling, scale=0.3)
    inputs, context = make_rows(300, 3, 4, scale=2.5)
    theirs = PiecewiseRationalQuadraticCouplingTransform(
        [0, 1, 0], lambda *_: coupling.transform_net, num_bins=8, tails="linear", tail_bound=5.0
    )
    assert isinstance(coupling, SplineCoupling)
    gradients = []
    for transform in (coupling, theirs):
        outputs, log_jacobian = transform(inputs, context)
        gradients.append(torch.autograd.grad((outputs.square().sum() + log_jacobian.sum()), coupling.parameters()))
    torch.testing.assert_close(coupling(inputs, context), theirs(inputs, context))
    for ours_gradient, theirs_gradient in zip(*gradients, strict=True):
        torch.testing.assert_close(ours_gradient, theirs_gradient)


@pytest.mark.parametrize("t", [1, 2, 5])
def test_the_affine_map_is_a_gaussian_with_the_cholesky_factor_it_states(t: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        affine = ConditionalAffine(t, 4, 8).double()
    spread_weights(affine)
    target, context = make_rows(50, t, 4)
    mean, log_scale, mixing = affine.parameters_at(context)
    factor = (torch.linalg.inv(mixing) @ torch.diag_embed(log_scale.exp())).tril()
    expected = MultivariateNormal(mean, scale_tril=factor).log_prob(target)
    noise, log_jacobian = affine(target, context)
    standard = -0.5 * noise.square().sum(1) - 0.5 * t * np.log(2 * np.pi)
    torch.testing.assert_close(log_jacobian + standard, expected)
    torch.testing.assert_close(affine.inverse(noise, context), (target, -log_jacobian))


@pytest.mark.parametrize("recipe", ["default", "coupling"])
@pytest.mark.parametrize("t", [1, 2, 8])
def test_a_flow_starts_near_the_identity_and_inverts_what_it_learned(recipe: str, t: int) -> None:
    flow = make_seeded_flow(recipe, t)
    target, context = make_rows(200, t, 4)
    start, _ = flow.transform(target, context=context)
    assert (start - target).abs().max() < 0.7  # the affine map's tanh units start at a tenth of torch's default
    spread_weights(flow, scale=0.1)  # more would make the triangular solve of t = 8 badly conditioned
    noise, _ = flow.transform(target, context=context)
    assert (noise - target).abs().max() > 0.2
    torch.testing.assert_close(flow.from_noise(noise, context), target, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("recipe", ["default", "coupling"])
def test_the_log_density_is_normalised_and_has_the_jacobian_of_the_map(recipe: str) -> None:
    flow = make_seeded_flow(recipe, t=1)
    spread_weights(flow, scale=0.3)
    _, context = make_rows(1, 1, 4)
    grid = torch.linspace(-60, 60, 60_001, dtype=torch.float64)[:, None]
    mass = torch.trapezoid(flow.log_prob(grid, context.expand(len(grid), -1)).exp(), grid[:, 0])
    assert float(mass.detach()) == pytest.approx(1, abs=1e-3)  # kinks of the splines on a grid of .002
    flow = make_seeded_flow(recipe, t=3)
    spread_weights(flow, scale=0.3)
    target, context = make_rows(1, 3, 4)
    jacobian = torch.autograd.functional.jacobian(lambda y: flow.transform(y, context=context)[0], target)
    _, log_jacobian = flow.transform(target, context=context)
    expected = torch.linalg.slogdet(jacobian[0, :, 0]).logabsdet  # type: ignore[index, call-overload]
    torch.testing.assert_close(log_jacobian[0], expected)


def test_gradients_reach_every_parameter() -> None:
    for recipe in ("default", "coupling"):
        flow = make_seeded_flow(recipe)
        spread_weights(flow, scale=0.1)
        flow.log_prob(*make_rows(64, 3, 4)).mean().backward()
        for name, parameter in flow.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_columns_of_the_context_beyond_a_members_own_are_not_seen() -> None:
    flow = make_seeded_flow(k=4)
    spread_weights(flow, scale=0.3)
    target, context = make_rows(10, 3, 6)
    changed = context.clone()
    changed[:, 4:] = 9.0
    torch.testing.assert_close(flow.log_prob(target, changed), flow.log_prob(target, context), rtol=0, atol=0)

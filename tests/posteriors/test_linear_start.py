"""The linear start: ridge regression and its residuals' covariance, robust where noise has a narrow core."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import LOG_2_PI, heteroscedastic, linear_gaussian
from sklearn.linear_model import Ridge

from posteriors import FlowEnsemble, FlowEnsembleConfig
from posteriors.flows import linear_start
from posteriors.flows.linear_start import LinearStart
from posteriors.flows.nflows_flows import ConditionalFlow, make_flow

Rows = tuple[np.ndarray, np.ndarray]


def gaussian_rows(n: int, t: int = 3, seed: int = 0) -> Rows:
    """Context and target of a linear Gaussian, the target z-scored."""
    problem = linear_gaussian(n, t=t, seed=seed)
    return problem.context, (problem.target - 50) / 10.0 ** np.linspace(-2, 2, t)


def scan_rows(n: int, seed: int) -> Rows:
    """A scan right to 1e-3 of the spread but for 4 % of outliers, another target, and ten columns of nothing."""
    rng = np.random.default_rng(seed)
    truth, other = rng.normal(size=(2, n))
    error = np.where(rng.random(n) < 0.04, rng.normal(size=n), 1e-3 * rng.normal(size=n))
    context = np.column_stack([truth + error, rng.normal(size=(n, 10))])
    return context, np.column_stack([truth, other])


def start_flow(start: LinearStart, k: int) -> ConditionalFlow:
    """A flow of the start alone: what is random of it is set to 0."""
    with torch.random.fork_rng(devices=[]):
        flow = make_flow(FlowEnsembleConfig(n_couplings=2, hidden=8), len(start.bias), k, start).double()
    for name, values in flow.named_parameters():
        if name.endswith(("outer.weight", "final_layer.weight")):
            values.data.zero_()
    for name in ("weight", "bias", "log_scale", "reach", "mixing"):
        getattr(flow.transform._transforms[0], name).copy_(torch.from_numpy(getattr(start, name)))
    return flow


@pytest.mark.parametrize("penalty", [1e-7, 1e-2])
def test_the_mean_is_scikit_learns_ridge_and_the_noise_is_white(monkeypatch, penalty: float) -> None:
    monkeypatch.setattr(linear_start, "_PENALTIES", (penalty,))
    context, target = gaussian_rows(500)
    start = LinearStart.fit((context, target), gaussian_rows(200, seed=1), linear=True)
    ridge = Ridge(alpha=penalty * len(context)).fit(context, target)
    np.testing.assert_allclose(start.weight, ridge.coef_, atol=1e-9)
    np.testing.assert_allclose(start.bias, ridge.intercept_, atol=1e-9)
    noise = start.forward(target, context)
    np.testing.assert_allclose(np.cov(noise, rowvar=False), np.eye(3), atol=1e-9)
    assert not start.reach.any()


def test_the_penalty_is_the_one_that_validation_rows_prefer() -> None:
    rng = np.random.default_rng(0)
    context, held = rng.normal(size=(60, 40)), rng.normal(size=(2_000, 40))
    slopes = rng.normal(size=40) / 10
    rows, held_rows = ((x, (x @ slopes + rng.normal(size=len(x)))[:, None]) for x in (context, held))
    start = LinearStart.fit(rows, held_rows, linear=True)

    def error(weight: np.ndarray, bias: np.ndarray) -> float:
        return float(np.square(held_rows[1][:, 0] - held @ weight - bias).mean())

    plain = Ridge(alpha=1e-5).fit(*rows)
    assert error(start.weight[0], start.bias[0]) < 0.8 * error(plain.coef_.ravel(), plain.intercept_)


def test_an_untrained_member_has_the_density_of_least_squares(monkeypatch) -> None:
    monkeypatch.setattr(linear_start, "_PENALTIES", (1e-10,))
    context, target = gaussian_rows(2_000)
    start = LinearStart.fit((context, target), gaussian_rows(500, seed=1), linear=True)
    design = np.column_stack([context, np.ones(len(context))])
    solution = np.linalg.lstsq(design, target, rcond=None)[0]
    residual = target - design @ solution
    precision = np.linalg.inv(np.cov(residual, rowvar=False))
    squares = np.einsum("ni,ij,nj->n", residual, precision, residual)
    expected = -0.5 * (squares - np.linalg.slogdet(precision)[1] + 3 * LOG_2_PI)
    inside = np.abs(target).max(1) < 5  # where the splines of the identity are of slope 1
    rows = (torch.from_numpy(target[inside]), torch.from_numpy(context[inside]))
    found = start_flow(start, 3).log_prob(*rows).detach().numpy()
    np.testing.assert_allclose(found, expected[inside], atol=1e-6)  # ridge of 1e-10


def test_what_is_not_asked_for_leaves_targets_as_they_are() -> None:
    start = LinearStart.fit(gaussian_rows(500), gaussian_rows(200, seed=1), linear=False)
    for name, values in vars(LinearStart.identity(3, 3)).items():
        np.testing.assert_array_equal(getattr(start, name), values)


def test_a_scan_with_outliers_is_found_by_robust_regression_and_compressed() -> None:
    (context, target), held = scan_rows(3_000, 0), scan_rows(300, 1)
    start = LinearStart.fit((context, target), held, linear=False)
    assert start.reach[0] > 1_000  # outliers lie a thousand widths of the core out
    assert start.reach[1] == 0
    assert np.exp(start.log_scale[0]) == pytest.approx(1e-3, rel=0.1)
    assert start.weight[0, 0] == pytest.approx(1, abs=1e-4)
    least_squares = np.linalg.lstsq(context, target[:, 0], rcond=None)[0]
    assert abs(least_squares[0] - 1) > 1e-2  # the outliers have their say there
    noise = start.forward(target, context)[:, 0]
    assert np.abs(noise).max() < 8
    assert noise.std() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noise_of_ordinary_shape_is_not_compressed(seed: int) -> None:
    for n in (30, 3_000):
        rng = np.random.default_rng(seed)
        student = rng.standard_t(4, size=(n, 1))
        varying = heteroscedastic(n, seed)
        for context, target in ((varying.context, varying.target), (varying.context, student)):
            half = n // 2
            start = LinearStart.fit((context[:half], target[:half]), (context[half:], target[half:]), linear=True)
            assert not start.reach.any()


def test_compressed_noise_has_the_density_it_states_and_inverts() -> None:
    rows = scan_rows(1_000, 0)
    flow = start_flow(LinearStart.fit(rows, scan_rows(300, 1), linear=False), 11)
    context, target = (torch.from_numpy(values[:1]) for values in rows)
    offset = torch.cat([torch.linspace(-9, 9, 20_001), 1e-3 * torch.linspace(-40, 40, 10_001)]).double().sort().values
    grid = target.repeat(len(offset), 1)
    grid[:, 0] = context[0, 0] + offset
    with torch.no_grad():
        density = flow.log_prob(grid, context.expand(len(grid), -1)).exp()
        other = torch.exp(-0.5 * target[0, 1] ** 2) / np.sqrt(2 * np.pi)
        mass = float(torch.trapezoid(density, offset) / other)
        noise, _ = flow.transform(grid, context=context.expand(len(grid), -1))
        back = flow.from_noise(noise, context.expand(len(grid), -1))
    assert mass == pytest.approx(1, abs=3e-3)  # steps of the grid
    torch.testing.assert_close(back, grid, rtol=0, atol=1e-8)


def test_an_ensemble_follows_a_scan_to_its_errors(tmp_path) -> None:
    """Coverage and width of the central 68 %, which a mean learned by steps cannot have: it was ten times wider."""
    context, target = scan_rows(2_500, 0)
    config = FlowEnsembleConfig(members=2, n_couplings=2, hidden=8, epochs=12)
    flows = FlowEnsemble.fit(context, target, config=config, validation=scan_rows(300, 1))
    fresh, truth = scan_rows(1_000, 2)
    low, high = flows.quantile(fresh, [0.16, 0.84], n_draws=300)[:, :, 0]
    inside = ((truth[:, 0] > low) & (truth[:, 0] < high)).mean()
    assert 0.6 < inside < 0.76  # .68 and five standard errors of .015
    assert np.median(high - low) < 3.5e-3  # 2e-3 for the core alone
    assert np.isfinite(flows.draw(fresh, 300)).all()
    flows.save(tmp_path / "flows.safetensors")
    read = FlowEnsemble.load(tmp_path / "flows.safetensors")
    np.testing.assert_array_equal(read.log_prob(truth, fresh), flows.log_prob(truth, fresh))
    order = np.random.default_rng(3).permutation(len(target))
    shuffled = FlowEnsemble.fit(context[order], target[order], config=config, validation=scan_rows(300, 1))
    np.testing.assert_array_equal(shuffled.log_prob(truth, fresh), flows.log_prob(truth, fresh))


def test_strong_decay_starts_at_the_linear_gaussian_and_stays_near_the_truth() -> None:
    """Noise of correlation .95 is .005 from its truth at 3,600 rows by least squares; by steps from zero .05."""
    problem, fresh = linear_gaussian(4_000, t=5), linear_gaussian(4_000, t=5, seed=1)
    gaps = {}
    for decay in (0.1, 1.0):
        config = FlowEnsembleConfig(members=2, n_couplings=2, hidden=8, epochs=6, weight_decay=decay)
        flows = FlowEnsemble.fit(problem.context, problem.target, config=config)
        gaps[decay] = float((fresh.log_prob - flows.log_prob(fresh.target, fresh.context)).mean())
    assert gaps[1.0] < 0.04
    assert gaps[1.0] < gaps[0.1] / 2

"""Posteriors against a reference: distances that are known, and none where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmark.artefacts import Posterior
from benchmark.contracts import GalaxybenchError, TooFewGalaxies
from benchmark.tasks.reference import LEAST_ESS, crps_of_draws, ks_excess, marginal_nll, score

N, N_DRAWS, ESS = 1500, 400, 150


def _normal(rng: np.random.Generator, mean: np.ndarray, n_draws: int, width: float = 1.0) -> np.ndarray:
    return mean + width * rng.normal(size=(n_draws, *mean.shape))


def _problem(shift: float = 0.0, width: float = 1.0) -> tuple[Posterior, Posterior, np.ndarray]:
    """A posterior of two unit Gaussians, ``shift`` and ``width`` of the first one's model; the reference repeats
    ``ESS`` draws."""
    rng = np.random.default_rng(5)
    mean = rng.normal(0, 3, (N, 2))
    truth, draws = _normal(rng, mean, 1)[0], _normal(rng, mean, N_DRAWS)
    draws[:, :, 0] = mean[:, 0] + shift + width * (draws[:, :, 0] - mean[:, 0])
    few = _normal(rng, mean, ESS)
    best = np.take_along_axis(few, rng.integers(0, ESS, (N_DRAWS, N, 1)), axis=0)
    ess = np.full(N, float(ESS))
    names = ["z", "t_age_gyr"]
    model = Posterior(np.arange(N), names, truth, draws.astype(np.float32))
    return model, Posterior(np.arange(N), names, truth, best.astype(np.float32), ess=ess), _normal(rng, mean, 1)[0]


def _scores(model: Posterior, reference: Posterior, training: np.ndarray):
    scores, details = score(model, training, ranked=(), seed=0, n_resamples=200, reference=reference)
    return {(s.metric, s.target): s for s in scores}, details


def test_equal_posteriors_have_no_gap_however_few_the_draws_of_the_reference():
    found, details = _scores(*_problem())
    for name in ("z", "t_age_gyr"):
        # kernels on 150 draws are .015 nat worse than on 400
        assert -0.03 < found["nll_gap", name].value < 0.01
        assert found["crps_gap", name].ci_low < 0 < found["crps_gap", name].ci_high
        assert abs(found["crps_gap", name].value) < 0.01
        assert abs(found["reference_ks", name].value) < 0.01
        assert found["nll_gap", name].floor > 0.8
        assert found["reference_ks", name].floor > 0.3
    assert found["nll_gap", "mean"].value == pytest.approx(
        np.mean([found["nll_gap", name].value for name in ("z", "t_age_gyr")])
    )
    assert details == {"least_ess": LEAST_ESS, "n_left_out": 0, "ess_50": ESS}


@pytest.mark.parametrize(("shift", "width"), [(1.0, 1.0), (0.0, 2.0), (0.0, 0.5)])
def test_gaps_of_a_wrong_posterior_are_those_of_two_gaussians(shift, width):
    found, _ = _scores(*_problem(shift, width))
    divergence = np.log(width) + (1 + shift**2) / (2 * width**2) - 0.5
    nll, crps = found["nll_gap", "z"], found["crps_gap", "z"]
    # kernels widen what they smooth, and a hundredth of the density is wide: truths far out cost less than they should
    noise = (nll.ci_high - nll.ci_low) / 2
    assert 0.75 * divergence - 0.03 - noise < nll.value < divergence + noise
    grid = np.linspace(-12, 12, 4001)
    from scipy.stats import norm

    cramer = np.sum((norm.cdf(grid, shift, width) - norm.cdf(grid)) ** 2) * (grid[1] - grid[0])
    assert crps.value == pytest.approx(cramer, abs=(crps.ci_high - crps.ci_low) / 1.5)
    largest = np.abs(norm.cdf(grid, shift, width) - norm.cdf(grid)).max()
    assert largest - 0.09 < found["reference_ks", "z"].value < largest + 0.01
    assert abs(found["reference_ks", "t_age_gyr"].value) < 0.01


def test_galaxies_are_joined_by_id_and_poorly_determined_ones_left_out():
    model, reference, training = _problem(0.3)
    whole, _ = _scores(model, reference, training)
    order = np.random.default_rng(0).permutation(N)
    turned = Posterior(
        reference.target_id[order], reference.names, reference.truth[order], reference.draws[:, order],
        ess=reference.ess[order],
    )  # fmt: skip
    again, _ = _scores(model, turned, training)
    assert again == whole
    ess = np.where(np.arange(N) < 300, LEAST_ESS - 1.0, ESS)
    fewer, details = _scores(model, replace(reference, ess=ess), training)
    assert fewer["nll_gap", "z"].n == N - 300
    assert details["n_left_out"] == 300
    # the floor draws of N - 300 galaxies are others than those of N
    kept = np.arange(300, N)
    part = Posterior(kept, model.names, model.truth[kept], model.draws[:, kept])
    alone, _ = _scores(part, replace(reference, ess=ess), training)
    assert alone["nll_gap", "z"].value == fewer["nll_gap", "z"].value


def test_a_kernel_density_of_many_draws_is_the_density():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=2000)
    draws = _normal(rng, np.zeros(2000), 1000)
    exact = 0.5 * truth**2 + 0.5 * np.log(2 * np.pi)
    assert 0 < (marginal_nll(draws, truth, np.full(2000, 1000.0)) - exact).mean() < 0.012
    scaled = marginal_nll(1e3 * draws, 1e3 * truth, np.full(2000, 1000.0))
    assert np.allclose(scaled, marginal_nll(draws, truth, np.full(2000, 1000.0)) + np.log(1e3))
    assert np.isfinite(marginal_nll(draws[:, :1], np.array([1e6]), np.array([1000.0]))).all()


def test_crps_and_distance_do_not_depend_on_how_many_draws_there_are():
    rng = np.random.default_rng(2)
    truth = rng.normal(size=20_000)
    exact = 1 / np.sqrt(np.pi)  # of N(0, 1) under itself: 2 / sqrt(pi) - 1 / sqrt(pi)
    for n_draws in (10, 100):
        mean = crps_of_draws(_normal(rng, np.zeros(20_000), n_draws), truth, np.full(20_000, float(n_draws))).mean()
        assert mean == pytest.approx(exact, abs=4 * 0.5 / np.sqrt(20_000))
    one, other = (_normal(rng, np.zeros(500), n) for n in (200, 300))
    assert abs(ks_excess(one, other, np.full(500, 300.0)).mean()) < 0.01


def test_what_cannot_be_judged_is_refused():
    model, reference, training = _problem()
    with pytest.raises(GalaxybenchError, match="no effective sample sizes"):
        _scores(model, replace(reference, ess=None), training)
    with pytest.raises(TooFewGalaxies, match="0 of 1500 galaxies have 50 effective draws"):
        _scores(model, replace(reference, ess=np.full(N, 3.0)), training)
    with pytest.raises(GalaxybenchError, match="1500 galaxies have draws that are all equal"):
        _scores(replace(model, draws=np.repeat(model.draws[:1], N_DRAWS, axis=0)), reference, training)

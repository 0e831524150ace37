"""The validity task: gaps that are known, for posteriors that are right, narrow, and known by draws alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from benchmark.artefacts import Posterior
from benchmark.contracts import GalaxybenchError, TooFewGalaxies
from benchmark.tasks.validity import N_COMPARED, score

N, N_DRAWS = 600, 300


def posteriors(width: float = 1.0, n: int = N) -> tuple[Posterior, Posterior, np.ndarray]:
    """Two independent targets about a mean that is known; the model's draws and density are ``width`` times as wide."""
    rng = np.random.default_rng(4)
    mean = rng.normal(0, 3, (n, 2))
    truth = mean + rng.normal(size=(n, 2))
    exact, drawn = (mean + rng.normal(size=(N_DRAWS, n, 2)) * factor for factor in (1.0, width))
    log_prob = [norm.logpdf(truth, mean, factor).sum(1)[None] for factor in (1.0, width)]
    ids, names = np.arange(n), ["a", "b"]
    reference = Posterior(ids, names, truth, exact.astype(np.float32), log_prob[0], 0.0)
    model = Posterior(ids, names, truth, drawn.astype(np.float32), log_prob[1], 0.0)
    return model, reference, rng.normal(0, 3, (400, 2)) + rng.normal(size=(400, 2))


def scores(model: Posterior, reference: Posterior, training: np.ndarray) -> dict:
    found, details = score(model, training, ranked=(), seed=0, n_resamples=300, reference=reference)
    assert details["n_draws_compared"] == N_DRAWS
    return {entry.metric: entry for entry in found}


def test_a_right_posterior_has_no_gap() -> None:
    found = scores(*posteriors())
    assert found["nll_gap"].value == found["nll_gap"].ci_high == 0.0
    assert found["nll_gap"].floor == pytest.approx(2 * np.log(np.sqrt(10)), abs=0.25)  # prior of variance 10, kernels
    assert found["c2st"].value == pytest.approx(0.5, abs=0.03)  # 16 galaxies of 600 rows, as one of 10,000: .005
    assert found["c2st"].floor > 0.75
    assert (found["nll_gap"].n, found["c2st"].n) == (N, N_COMPARED)


@pytest.mark.parametrize("width", [0.6, 1.6])
def test_the_gap_of_a_wrong_width_is_the_divergence(width: float) -> None:
    found = scores(*posteriors(width))
    divergence = 2 * (np.log(width) + 1 / (2 * width**2) - 0.5)
    half = (found["nll_gap"].ci_high - found["nll_gap"].ci_low) / 2
    assert abs(found["nll_gap"].value - divergence) < 1.7 * half  # 3.3 standard errors
    assert found["nll_gap"].ci_low > 0.1
    assert found["c2st"].ci_low > 0.55


def test_rows_are_joined_by_id_and_not_by_place() -> None:
    model, reference, training = posteriors()
    order = np.random.default_rng(1).permutation(N)
    assert model.member_log_prob is not None
    shuffled = Posterior(
        model.target_id[order],
        model.names,
        model.truth[order],
        model.draws[:, order],
        model.member_log_prob[:, order],
        0.0,
    )
    found = scores(shuffled, reference, training)
    assert found["nll_gap"].value == 0.0
    assert found["c2st"].value < 0.53


def test_draws_alone_have_no_density_gap() -> None:
    model, reference, training = posteriors()
    assert set(scores(replace(model, member_log_prob=None, log_jacobian=None), reference, training)) == {"c2st"}
    with pytest.raises(GalaxybenchError, match="the reference has no density"):
        scores(model, replace(reference, member_log_prob=None, log_jacobian=None), training)


def test_a_handful_of_galaxies_is_refused() -> None:
    with pytest.raises(TooFewGalaxies, match="12 test galaxies have an exact posterior: at least 20"):
        scores(*posteriors(n=12))

"""Weights of resamples: whole numbers that sum to n, with the law of drawing n galaxies one by one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from posteriors.resampling import weights
from posteriors.resampling.weights import weight_chunks


def all_weights(n: int, n_resamples: int, seed: int = 0) -> np.ndarray:
    return np.concatenate([part.copy() for _, part in weight_chunks(n, n_resamples, seed)])


@pytest.mark.parametrize("n", [2, 3, 9, 10, 40, 1_000])
def test_every_resample_has_n_galaxies(n: int) -> None:
    drawn = all_weights(n, 500)
    assert drawn.shape == (500, n)
    assert (drawn == np.rint(drawn)).all()
    assert drawn.min() >= 0
    assert (drawn.sum(1) == n).all()


@pytest.mark.parametrize("n", [2, 12, 50, 400])
def test_the_counts_of_a_galaxy_are_binomial(n: int) -> None:
    # weights of different resamples are independent: one galaxy of each
    drawn = np.concatenate([all_weights(n, 4_000, seed)[:, 1] for seed in range(5)])
    values = np.arange(int(drawn.max()) + 1)
    expected = stats.binom.pmf(values, n, 1 / n) * len(drawn)
    enough = expected >= 5
    observed = np.array([(drawn == value).sum() for value in values])
    observed = [*observed[enough], observed[~enough].sum() + 1e-9]
    expected = [*expected[enough], len(drawn) - expected[enough].sum() + 1e-9]
    # one in a thousand fails by chance; the seeds are fixed
    assert stats.chisquare(observed, np.array(expected) * sum(observed) / sum(expected)).pvalue > 1e-3


def test_two_galaxies_compete_as_in_a_multinomial() -> None:
    drawn = all_weights(20, 40_000)
    covariance = np.cov(drawn[:, 3], drawn[:, 11])
    # n p (1 - p) = .95 and -n p^2 = -.05; standard errors of .007 and .005 at 40,000 resamples
    assert covariance[0, 0] == pytest.approx(0.95, abs=0.03)
    assert covariance[0, 1] == pytest.approx(-0.05, abs=0.02)


def test_rare_counts_occur_as_often_as_they_should() -> None:
    drawn = all_weights(500, 8_000)
    for count in (5, 6, 7):
        expected = stats.binom.sf(count - 1, 500, 1 / 500) * drawn.size
        assert (drawn >= count).sum() == pytest.approx(expected, abs=5 * expected**0.5)


def test_resamples_depend_on_the_seed_alone() -> None:
    drawn = all_weights(5_000, 700, seed=4)
    np.testing.assert_array_equal(drawn, all_weights(5_000, 700, seed=4))
    assert not np.array_equal(drawn, all_weights(5_000, 700, seed=5))
    assert len(np.unique(drawn, axis=0)) == 700


def test_a_resample_of_too_many_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_SHORTFALL", 0.5)  # three in ten resamples have more than n at first
    drawn = all_weights(100, 5_000)
    assert (drawn.sum(1) == 100).all()
    assert drawn.var() == pytest.approx(0.99, abs=0.01)  # sd of a variance of 500,000 counts: .002


@pytest.mark.parametrize(("n", "n_resamples", "message"), [(1, 10, "1 galaxies"), (5, 0, "n_resamples = 0")])
def test_what_cannot_be_resampled_is_refused(n: int, n_resamples: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        next(weight_chunks(n, n_resamples, 0))

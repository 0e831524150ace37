"""The classifier two-sample test against accuracies that are known: those of the best classifier of two Gaussians."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier

from posteriors.calibration.c2st import c2st


def gaussian(n_draws: int, n: int = 8, t: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, n_draws, t]).normal(size=(n_draws, n, t))


@pytest.mark.parametrize("t", [1, 5])
def test_equal_distributions_cannot_be_told_apart(t: int) -> None:
    found = c2st(gaussian(300, t=t), gaussian(300, t=t, seed=1), n_steps=150)
    assert found.shape == (8,)
    # 8 galaxies of 600 rows: .0072, of which four, for folds of one sample scatter more than draws of their own
    assert abs(found.mean() - 0.5) < 0.029


@pytest.mark.parametrize(
    ("name", "best"),
    [
        ("shifted", norm.cdf(0.4)),  # half the distance of the means
        ("narrow", 0.6285),  # (1 + TV) / 2 of widths .7 and 1 in two dimensions, by the radius where both are equal
        ("correlated", 0.8118),  # .95 against 0; by quadrature
    ],
)
def test_a_wrong_posterior_is_told_from_the_right_one(name: str, best: float) -> None:
    right, wrong = gaussian(1_000, 6), gaussian(1_000, 6, seed=1)
    if name == "shifted":
        wrong = wrong + np.array([0.8, 0.0])
    elif name == "narrow":
        wrong = 0.7 * wrong
        radius2 = 4 * np.log(1 / 0.7) / (1 / 0.49 - 1)
        assert best == pytest.approx(0.5 + 0.5 * (np.exp(-radius2 / 2) - np.exp(-radius2 / 0.98)), abs=1e-3)
    else:
        right = right @ np.linalg.cholesky([[1, 0.95], [0.95, 1]]).T
    found = c2st(wrong, right).mean()
    # training on 1,600 rows costs up to .03; nothing beats the best classifier but by luck, .0046 here
    assert best - 0.035 < found < best + 0.014


def test_it_finds_what_scikit_learns_perceptron_finds() -> None:
    right, wrong = gaussian(600, 1), gaussian(600, 1, seed=1)
    wrong[..., 1] += 0.8 * np.square(wrong[..., 0]) - 0.8
    ours = c2st(wrong, right)[0]
    rows = np.concatenate([wrong[:, 0], right[:, 0]])
    network = MLPClassifier((32, 32), max_iter=60, n_iter_no_change=60, random_state=0, learning_rate_init=3e-3)
    order = np.random.default_rng(0).permutation(1_200)
    with pytest.warns(ConvergenceWarning):  # its sixty passes are enough here
        theirs = cross_val_score(network, rows[order], order >= 600, cv=3).mean()
    assert ours > 0.6
    assert ours == pytest.approx(theirs, abs=0.03)  # two networks on 1,200 rows


def test_it_repeats_itself_and_each_galaxy_has_its_own_value() -> None:
    right, wrong = gaussian(200, 3), gaussian(200, 3, seed=1)
    wrong[:, 1] += 4
    found = c2st(wrong, right, seed=4, n_folds=2, n_steps=60)
    np.testing.assert_array_equal(c2st(wrong, right, seed=4, n_folds=2, n_steps=60), found)
    assert (c2st(wrong, right, seed=5, n_folds=2, n_steps=60) != found).any()
    assert found[1] > 0.95
    assert found[[0, 2]].max() < 0.65
    assert c2st(wrong[:, 1], right[:, 1], n_steps=1).shape == (1,)


def test_units_do_not_matter() -> None:
    right, wrong = gaussian(300, 4), 0.6 * gaussian(300, 4, seed=1)
    found = c2st(1e-4 * wrong + 7, 1e-4 * right + 7, n_steps=60)
    np.testing.assert_allclose(
        found, c2st(wrong, right, n_steps=60), atol=0.02
    )  # rounding of float32 inputs after scaling


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"draws": gaussian(100, 3)}, r"draws of shape \(100, 3, 2\) and reference of shape \(100, 8, 2\)"),
        ({"draws": np.full((100, 8, 2), np.inf)}, "NaN or infinite"),
        ({"draws": gaussian(40), "reference": gaussian(40)}, "40 draws: at least 50"),
        ({"n_folds": 1}, "n_folds = 1"),
        ({"n_steps": 0}, "n_steps = 0"),
    ],
)
def test_bad_arguments_are_refused(change: dict, message: str) -> None:
    arguments = {"draws": gaussian(100), "reference": gaussian(100, seed=1)} | change
    with pytest.raises(ValueError, match=message):
        c2st(**arguments)

"""Models on magnitudes, the constant, and the scaling under them: by hand, and against scikit-learn."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

import baselines
from baselines import Constant, GradientBoosting, PhotometryMLP, PhotometryRegressor
from baselines.photometry import PhotometryFeatures, magnitudes_and_colours, photometry_context
from baselines.scaling import ColumnScaling
from encoders.randomness import seeded_torch


def galaxies(n: int, seed: int = 0, gaps: float = 0.0) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Magnitudes in three bands, and a target that is a curved function of one colour."""
    rng = np.random.default_rng(seed)
    r = rng.normal(19.0, 1.0, n)
    colour = rng.uniform(0.2, 1.8, n)
    rows = np.stack([r + colour, r, r - 0.5 * colour + 0.05 * rng.normal(size=n)], axis=1).astype(np.float32)
    target = (0.4 * colour**2 + 0.02 * rng.normal(size=n))[:, None]
    rows[rng.random(rows.shape) < gaps] = np.nan
    return rows, target


def fitted(model, n: int = 400, gaps: float = 0.0, seed: int = 0):
    model.fit(*galaxies(n, 1, gaps), validation=galaxies(200, 2, gaps), seed=seed)
    return model


def test_public_names_are_importable_and_nothing_heavy_is_loaded_before() -> None:
    assert set(baselines.__all__) <= set(dir(baselines))
    for name in baselines.__all__:
        assert getattr(baselines, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'baselines' has no attribute 'ResNet'"):
        _ = baselines.ResNet


def test_the_network_has_the_published_layers() -> None:
    with seeded_torch(0):
        network = PhotometryMLP(3, 2)
    shapes = [tuple(layer.weight.shape) for layer in network.layers if isinstance(layer, torch.nn.Linear)]
    assert shapes == [(64, 3), (64, 64), (2, 64)]
    assert [type(layer).__name__ for layer in network.layers] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]


def test_colours_are_those_of_adjacent_bands() -> None:
    rows = magnitudes_and_colours(np.array([[20.0, 19.0, 18.75], [21.0, np.nan, 20.0]]))
    np.testing.assert_array_equal(rows, [[20, 19, 18.75, 1, 0.25], [21, np.nan, 20, np.nan, np.nan]])


def test_scaling_equals_scikit_learn_and_is_undone() -> None:
    table = np.random.default_rng(0).normal((5.0, -100.0, 0.0), (0.1, 30.0, 1e-6), (200, 3))
    table[::9, 1] = np.nan  # StandardScaler leaves NaN out, too
    scaling = ColumnScaling.fit(table)
    np.testing.assert_allclose(scaling.forward(table), StandardScaler().fit_transform(table), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(scaling.inverse(scaling.forward(table)), table, rtol=1e-12)


def test_a_column_without_spread_or_without_values_is_left_in_place() -> None:
    table = np.stack([np.full(5, 0.1), np.full(5, np.nan), np.arange(5.0)], axis=1)
    scaling = ColumnScaling.fit(table)
    np.testing.assert_array_equal(scaling.scale[:2], [1, 1])
    np.testing.assert_allclose(scaling.forward(table)[:, 0], 0, atol=1e-15)
    np.testing.assert_allclose(scaling.forward([[0.2, 3.0, 2.0]]), [[0.1, 3.0, 0.0]], atol=1e-15)


def test_shared_scaling_is_one_mean_and_one_spread() -> None:
    table = np.random.default_rng(0).normal((22.0, 20.0), (1.0, 2.0), (100, 2))
    scaling = ColumnScaling.fit(table, shared=True)
    np.testing.assert_allclose(scaling.mean, table.mean())
    np.testing.assert_allclose(scaling.scale, table.std())


def test_a_missing_band_is_put_at_the_mean_and_marked() -> None:
    rows, _ = galaxies(300)
    rows[::4, 2] = np.nan
    features = PhotometryFeatures()
    features.fit(rows)
    seen = features.transform(rows)
    assert seen.shape == (300, 6)  # 3 magnitudes, 2 colours, 1 mark
    assert np.isfinite(seen).all()
    np.testing.assert_array_equal(seen[::4, 2], 0)
    np.testing.assert_array_equal(seen[::4, 4], 0)
    np.testing.assert_array_equal(seen[:, 5], np.arange(300) % 4 == 0)
    np.testing.assert_allclose(seen[:, 0], StandardScaler().fit_transform(rows[:, :1].astype(float))[:, 0], atol=1e-5)
    elsewhere = rows.copy()
    elsewhere[0, 0] = np.nan  # a band that training rows always had
    assert np.isfinite(features.transform(elsewhere)).all()


def test_a_context_by_hand() -> None:
    rows = np.array([[22.0, 21.0, 20.0], [22.0, np.nan, 20.0], [np.nan] * 3], dtype=np.float32)
    expected = [
        [1.0, 0.5, 0.0, 1.0, 1.0, 0, 0, 0],
        [1.0, 0.5, 0.0, 1.0, 1.0, 0, 1, 0],
        [0.0, 0.0, 0.0, 0.0, 0.0, 1, 1, 1],
    ]
    np.testing.assert_allclose(photometry_context(rows), expected)


def test_infinite_magnitudes_and_other_bands_are_refused() -> None:
    rows, target = galaxies(50)
    for model in (fitted(PhotometryRegressor(epochs=1)), fitted(GradientBoosting(5))):
        with pytest.raises(ValueError, match="was given 2 columns: it was fitted on 3"):
            model.predict(rows[:, :2])
        bad = rows.copy()
        bad[4, 0] = np.inf
        with pytest.raises(ValueError, match=r"1 rows hold infinite values, first row 4"):
            model.predict(bad)
    for model in (PhotometryRegressor(), GradientBoosting(), Constant()):
        with pytest.raises(ValueError, match="call fit first"):
            model.predict(rows)
        with pytest.raises(ValueError, match="targets hold infinite values"):
            model.fit(
                rows, np.where(np.arange(50) == 3, np.inf, target[:, 0])[:, None], validation=(rows, target), seed=0
            )


@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize("model", [PhotometryRegressor(learning_rate=2e-3), GradientBoosting()], ids=["mlp", "trees"])
def test_a_model_learns_a_curved_function_of_a_colour(model, gaps: float) -> None:
    rows, target = galaxies(500, 3)
    predicted = fitted(model, n=2000, gaps=gaps).predict(rows)
    # noise is 0.2 % of the variance; gaps in training cost some accuracy but not more
    assert r2_score(target, predicted) > (0.98 if gaps == 0 else 0.93)


def test_boosting_is_scikit_learn_stopped_at_the_best_validation_round() -> None:
    rows, target = galaxies(600, 1, gaps=0.1)
    held_out, truth = galaxies(200, 2, gaps=0.1)
    model = GradientBoosting(max_rounds=120)
    model.fit(rows, target, validation=(held_out, truth), seed=0)
    oracle = HistGradientBoostingRegressor(max_iter=120, early_stopping=False, random_state=0)
    columns, columns_held_out = (magnitudes_and_colours(part.astype(float)) for part in (rows, held_out))
    oracle.fit(columns, target[:, 0])
    staged = list(oracle.staged_predict(columns_held_out))
    errors = [((stage - truth[:, 0]) ** 2).mean() for stage in staged]
    best = int(np.argmin(errors))
    assert 0 < best < 119  # else the choice is not under test
    assert model.rounds == [best + 1]
    # 1e-6: histograms summed in another order of rows
    np.testing.assert_allclose(model.predict(held_out)[:, 0], staged[best], rtol=0, atol=1e-6)


def test_the_constant_scores_zero_on_its_own_rows_and_below_on_others() -> None:
    rows, target = galaxies(300)
    model = Constant()
    model.fit(rows, target, validation=galaxies(50, 1), seed=0)
    assert r2_score(target, model.predict(rows)) == pytest.approx(0.0, abs=1e-12)
    other = galaxies(300, 5)
    assert -0.05 < r2_score(other[1], model.predict(other[0])) < 0
    np.testing.assert_array_equal(model.context(rows), np.zeros((300, 1)))


MLP_OPTIONS = {
    "hidden": (8,),
    "colours": False,
    "shared_scaling": True,
    "epochs": 3,
    "batch_size": 16,
    "learning_rate": 3e-3,
    "patience": 1,
    "cosine": False,
}


def numeric_options(factory: type) -> list[str]:
    """Options of a fit to numbers; what ``n_classes`` does is seen in the classification task."""
    return [name for name in inspect.signature(factory).parameters if name != "n_classes"]


TREE_OPTIONS = {"max_rounds": 3, "learning_rate": 0.3, "max_leaf_nodes": 4, "min_samples_leaf": 80, "l2": 30.0}


@pytest.mark.parametrize("option", numeric_options(PhotometryRegressor))
def test_each_option_of_the_mlp_has_a_visible_effect(option: str) -> None:
    rows = galaxies(20, 3)[0]
    base: dict = {"epochs": 20, "learning_rate": 0.02, "patience": 20, "cosine": True}
    plain = fitted(PhotometryRegressor(**base), n=100).predict(rows)
    changed = fitted(PhotometryRegressor(**{**base, option: MLP_OPTIONS[option]}), n=100).predict(rows)
    assert np.abs(changed - plain).max() > 1e-4


@pytest.mark.parametrize("option", numeric_options(GradientBoosting))
def test_each_option_of_the_trees_has_a_visible_effect(option: str) -> None:
    rows = galaxies(50, 3)[0]
    plain = fitted(GradientBoosting(max_rounds=60)).predict(rows)
    changed = fitted(GradientBoosting(**{"max_rounds": 60, option: TREE_OPTIONS[option]})).predict(rows)
    assert np.abs(changed - plain).max() > 1e-4

"""Tasks on point predictions against scikit-learn, limits and a worked example."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_squared_error, r2_score

from benchmark.artefacts import Predictions
from benchmark.contracts import GalaxybenchError, Score
from benchmark.registry import METRICS, TASKS
from benchmark.tasks import properties, redshift

N_RESAMPLES = 400


def galaxies(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truths (n, 2) of z and a mass, and noisy predictions of them."""
    rng = np.random.default_rng(seed)
    truth = np.column_stack([rng.uniform(0.05, 0.6, n), rng.normal(10.5, 0.5, n)])
    return truth, truth + rng.normal(0, [0.03, 0.2], (n, 2))


def evidence(truth: np.ndarray, prediction: np.ndarray, names: tuple[str, ...] = ("z", "log10_mstar")) -> Predictions:
    return Predictions(np.arange(len(truth)), list(names), truth, prediction)


def by_key(scores: list[Score]) -> dict[tuple[str, str], Score]:
    return {(score.metric, score.target): score for score in scores}


def properties_of(truth: np.ndarray, prediction: np.ndarray, training: np.ndarray) -> dict[tuple[str, str], Score]:
    scores, _ = properties.score(
        evidence(truth, prediction), training, ranked=("z", "log10_mstar"), seed=3, n_resamples=N_RESAMPLES
    )
    return by_key(scores)


def test_properties_equal_scikit_learn_and_stand_inside_their_intervals() -> None:
    truth, prediction = galaxies()
    scores = properties_of(truth, prediction, galaxies(seed=1)[0])
    for number, name in enumerate(("z", "log10_mstar")):
        assert scores["r2", name].value == pytest.approx(r2_score(truth[:, number], prediction[:, number]), rel=1e-12)
        rmse = mean_squared_error(truth[:, number], prediction[:, number]) ** 0.5
        assert scores["rmse", name].value == pytest.approx(rmse, rel=1e-12)
    mean = scores["r2", "mean"]
    assert mean.value == pytest.approx((scores["r2", "z"].value + scores["r2", "log10_mstar"].value) / 2)
    for score in scores.values():
        assert score.ci_low < score.value < score.ci_high
        assert score.n == 300


def test_perfect_predictions_reach_one_and_permuted_ones_fall_below_the_floor() -> None:
    truth, _ = galaxies()
    training = galaxies(seed=1)[0]
    perfect, permuted = properties_of(truth, truth, training), properties_of(truth, truth[::-1], training)
    assert perfect["r2", "mean"].value == 1.0
    assert perfect["rmse", "z"].value == 0.0
    assert permuted["r2", "mean"].ci_high < permuted["r2", "mean"].floor


def test_a_missing_truth_costs_its_own_target_only() -> None:
    truth, prediction = galaxies()
    gappy = truth.copy()
    gappy[:40, 1] = np.nan
    whole, scores = (properties_of(t, prediction, galaxies(seed=1)[0]) for t in (truth, gappy))
    assert scores["r2", "z"] == whole["r2", "z"]
    assert scores["r2", "log10_mstar"].n == 260
    assert scores["r2", "log10_mstar"].value == pytest.approx(r2_score(truth[40:, 1], prediction[40:, 1]))


def test_the_floor_is_the_score_of_the_training_mean() -> None:
    truth, prediction = galaxies()
    training = galaxies(seed=1)[0]
    training[:5, 0] = np.nan  # a missing label does not spoil the floor
    mean = np.tile(np.nanmean(training, axis=0), (len(truth), 1))
    scores = properties_of(truth, prediction, training)
    assert scores["r2", "z"].floor == pytest.approx(r2_score(truth[:, 0], mean[:, 0]))
    assert scores["rmse", "log10_mstar"].floor == pytest.approx(mean_squared_error(truth[:, 1], mean[:, 1]) ** 0.5)


def test_redshift_scores_equal_their_definitions_on_five_known_galaxies() -> None:
    truth = np.tile(np.array([0.0, 0.25, 1.0, 0.5, 3.0]), 4)[:, None]
    dz = np.tile(np.array([0.0, 0.02, -0.04, 0.2, 0.06]), 4)
    prediction = truth + (dz * (1 + truth[:, 0]))[:, None]
    scores, _ = redshift.score(
        evidence(truth, prediction, ("z",)), truth, ranked=("z",), seed=0, n_resamples=N_RESAMPLES
    )
    found = by_key(scores)
    assert found["bias", "z"].value == pytest.approx(0.02)
    # |dz - 0.02| = .02, 0, .06, .18, .04: median .04
    assert found["sigma_nmad", "z"].value == pytest.approx(1.4826 * 0.04)
    assert found["outlier_fraction", "z"].value == pytest.approx(0.2)


def test_two_models_share_their_resamples_and_another_seed_gives_others() -> None:
    truth, prediction = galaxies()
    training = galaxies(seed=1)[0]
    first = properties_of(truth, prediction, training)
    shifted = properties_of(truth + 5, prediction + 5, training + 5)  # R2 does not see a common shift
    assert first["r2", "z"].ci_low == pytest.approx(shifted["r2", "z"].ci_low, abs=1e-9)
    other, _ = properties.score(evidence(truth, prediction), training, ranked=("z",), seed=4, n_resamples=N_RESAMPLES)
    assert by_key(other)["r2", "z"].ci_low != first["r2", "z"].ci_low


def test_too_few_galaxies_are_refused() -> None:
    truth, prediction = galaxies(9)
    with pytest.raises(GalaxybenchError, match="9 test galaxies have 'z': a score needs at least 10"):
        properties_of(truth, prediction, truth)


def test_every_metric_of_every_task_has_a_card() -> None:
    for task in TASKS:
        for metric in task.metrics:
            assert METRICS[metric].summary
        assert task.headline[0] in task.metrics


def test_a_survey_without_training_galaxies_has_scores_and_no_floor() -> None:
    rng = np.random.default_rng(8)
    truth = rng.normal(size=(50, 2))
    found = evidence(truth, truth + 0.1 * rng.normal(size=(50, 2)), ("z", "m"))
    scores, _ = properties.score(found, np.empty((0, 2)), ranked=("z", "m"), seed=0, n_resamples=50)
    assert {score.floor for score in scores} == {None}
    assert all(score.value is not None and score.ci_low is not None for score in scores)
    assert {score.target for score in scores} == {"z", "m", "mean"}

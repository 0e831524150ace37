"""Scores against labels drawn anew, and the ceilings that label noise sets, on cases whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import r2_score

from benchmark.artefacts import Posterior, Predictions
from benchmark.contracts import Score
from benchmark.tasks import posterior, properties, redshift

N, SPREAD, ERROR = 3000, 0.5, 0.3
NAMES = ("z", "log10_mstar")
RESAMPLED = "labels=resampled"
Scores = dict[tuple[str, str, str | None], Score]


def noisy(seed: int = 0, n: int = N) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A truth (n, 2) of known spread, labels with a known error, and labels drawn anew."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(5, SPREAD, (n, 2))
    label = truth + rng.normal(0, ERROR, (n, 2))
    return truth, label, label + rng.normal(0, ERROR, (n, 2))


def scored(prediction: np.ndarray, task=properties, **changes: object) -> Scores:
    _, label, resampled = noisy()
    names = NAMES if prediction.shape[1] == 2 else NAMES[:1]
    columns = slice(0, len(names))
    evidence = Predictions(np.arange(N), list(names), label[:, columns], prediction)
    noise = {"label_error": np.full((N, len(names)), ERROR), "resampled": resampled[:, columns]}
    evidence = replace(evidence, **(noise | changes))  # type: ignore[arg-type]
    scores, _ = task.score(evidence, noisy(1)[1][:, columns], ranked=names, seed=3, n_resamples=300)
    return {(score.metric, score.target, score.condition): score for score in scores}


def test_a_model_that_knows_the_truth_stands_at_the_ceiling() -> None:
    truth, label, resampled = noisy()
    scores = scored(truth)
    for number, name in enumerate(NAMES):
        ceiling = scores["r2_ceiling", name, RESAMPLED]
        assert ceiling.value == pytest.approx(1 - ERROR**2 / label[:, number].var(), rel=1e-12)
        exact = 1 - ERROR**2 / (SPREAD**2 + ERROR**2)
        assert ceiling.value == pytest.approx(exact, abs=0.02)  # the variance of 3000 labels is good to 2.6 %
        # R2 of the truth scatters by the chi-square of 3000 squared errors: .0065
        assert scores["r2", name, None].value == pytest.approx(ceiling.value, abs=0.02)
        assert ceiling.ci_low < ceiling.value < ceiling.ci_high
        assert ceiling.n == N
        # labels drawn anew have twice the noise
        again = scores["r2", name, RESAMPLED]
        assert again.value == pytest.approx(r2_score(resampled[:, number], truth[:, number]), rel=1e-12)
        assert again.value == pytest.approx(1 - 2 * ERROR**2 / (SPREAD**2 + 2 * ERROR**2), abs=0.03)
    mean = scores["r2_ceiling", "mean", RESAMPLED].value
    assert mean == pytest.approx(np.mean([scores["r2_ceiling", name, RESAMPLED].value for name in NAMES]))


def test_a_model_that_has_learned_the_noise_passes_the_ceiling() -> None:
    _, label, _ = noisy()
    scores = scored(label)
    ceiling = scores["r2_ceiling", "z", RESAMPLED].value
    assert scores["r2", "z", None].value == 1.0 > ceiling
    expected = 1 - ERROR**2 / (SPREAD**2 + 2 * ERROR**2)
    assert scores["r2", "z", RESAMPLED].value == pytest.approx(expected, abs=0.02)


def test_the_floor_stands_beside_scores_on_labels_drawn_anew_and_the_others_do_not_move() -> None:
    truth, _, _ = noisy()
    scores, without = scored(truth), scored(truth, label_error=None, resampled=None)
    assert set(without) == {key for key in scores if key[2] is None}
    for key, score in without.items():
        # sums of more columns at once may differ in their last digits
        assert score.value == pytest.approx(scores[key].value, rel=1e-12)
        assert (score.ci_low, score.ci_high) == pytest.approx((scores[key].ci_low, scores[key].ci_high), rel=1e-7)
    assert scores["r2", "z", RESAMPLED].floor == pytest.approx(0, abs=0.01)
    assert scores["r2_ceiling", "z", RESAMPLED].floor is None


def test_galaxies_and_targets_without_errors_are_left_out() -> None:
    truth, label, resampled = noisy()
    error, again = np.full((N, 2), ERROR), resampled.copy()
    error[500:, 0] = np.nan
    again[9:, 1] = np.nan  # fewer than ten say nothing
    scores = scored(truth, label_error=error, resampled=again)
    assert scores["r2_ceiling", "z", RESAMPLED].n == scores["r2", "z", RESAMPLED].n == 500
    assert scores["r2_ceiling", "z", RESAMPLED].value == pytest.approx(1 - ERROR**2 / label[:500, 0].var(), rel=1e-12)
    assert {key[1] for key in scores if key[2]} == {"z"}


def test_every_redshift_score_is_given_on_labels_drawn_anew() -> None:
    truth, _, _ = noisy()
    scores = scored(truth[:, :1], task=redshift)
    with_condition = {metric for metric, _, condition in scores if condition}
    assert with_condition == set(redshift.TASK.metrics)
    assert scores["sigma_nmad", "z", RESAMPLED].value > scores["sigma_nmad", "z", None].value


def density(truth: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Log density (2, n) of two equal members that know the truth and its errors."""
    log_prob = (-0.5 * np.square((at - truth) / ERROR) - np.log(ERROR * np.sqrt(2 * np.pi))).sum(axis=1)
    return np.stack([log_prob, log_prob])


def judged(n: int = N, known: slice = slice(None), **changes: object) -> Scores:
    truth, label, resampled = noisy(n=n)
    draws = truth + np.random.default_rng(5).normal(0, ERROR, (60, n, 2))
    entropy, log_prob = np.full(n, np.nan), np.full((2, n), np.nan)
    entropy[known] = np.log(ERROR**2 * 2 * np.pi * np.e)
    log_prob[:, known] = density(truth, resampled)[:, known]
    evidence = Posterior(np.arange(n), list(NAMES), label, draws.astype(np.float32), density(truth, label), 0.0)
    evidence = replace(evidence, **({"label_entropy": entropy, "resampled_log_prob": log_prob} | changes))  # type: ignore[arg-type]
    scores, _ = posterior.score(evidence, noisy(1)[1], ranked=NAMES, seed=3, n_resamples=300)
    return {(score.metric, score.target, score.condition): score for score in scores}


def test_a_posterior_that_knows_the_truth_stands_at_the_least_possible_nll() -> None:
    scores = judged(600)
    ceiling = scores["nll_ceiling", "joint", RESAMPLED]
    assert ceiling.value == pytest.approx(np.log(ERROR**2 * 2 * np.pi * np.e))
    # -log p of a Gaussian of two dimensions scatters by 1 nat: .04 in the mean of 600
    assert scores["nll_mixture", "joint", None].value == pytest.approx(ceiling.value, abs=0.15)
    # a label drawn anew is farther away: half a nat more for each dimension
    assert scores["nll_mixture", "joint", RESAMPLED].value == pytest.approx(ceiling.value + 1, abs=0.3)
    assert ceiling.n == scores["nll_mixture", "joint", RESAMPLED].n == 600


def test_posteriors_without_errors_of_labels_have_no_such_rows() -> None:
    assert {key[2] for key in judged(200, label_entropy=None, resampled_log_prob=None)} == {None}
    assert {key[2] for key in judged(200, known=slice(0, 49))} == {None}  # too few
    scores = judged(200, known=slice(0, 80))
    assert scores["nll_ceiling", "joint", RESAMPLED].n == 80


def test_files_between_cells_keep_errors_and_labels_drawn_anew(tmp_path) -> None:
    truth, label, resampled = noisy(n=50)
    error = np.where(np.arange(50)[:, None] < 5, np.nan, np.full((50, 2), ERROR))
    made = Predictions(np.arange(50), list(NAMES), label, truth, label_error=error, resampled=resampled)
    back = Predictions.read(made.write(tmp_path / "p.parquet"))
    np.testing.assert_array_equal(back.label_error, error)
    np.testing.assert_array_equal(back.resampled, resampled)
    assert list(back.names) == list(NAMES)
    one = back.select(["log10_mstar"])
    assert one.label_error is not None
    np.testing.assert_array_equal(one.label_error[:, 0], error[:, 1])
    draws = np.zeros((20, 50, 2), np.float32)
    known = {"label_entropy": np.arange(50.0), "resampled_log_prob": np.ones((3, 50)), "ess": np.ones(50)}
    posted = Posterior(np.arange(50), list(NAMES), label, draws, np.ones((3, 50)), 0.5, **known)  # type: ignore[arg-type]
    again = Posterior.read(posted.write(tmp_path / "p.npz"))
    for name, values in known.items():
        np.testing.assert_array_equal(getattr(again, name), values)
    assert again.select(["z"]).label_entropy is None  # that of two targets is not that of one

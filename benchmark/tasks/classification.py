"""Classification: targets of which a survey says that their numbers stand for classes, such as ring or no ring.

Probes and supervised models learn the classes by cross-entropy, or give the votes of neighbours, and predict
probabilities; the predicted class is the most probable one. Accuracy, weighted F1 and balanced accuracy judge the
class, the area under the ROC curve the order of the galaxies, and the Brier score the probabilities themselves; its
excess over what they expect and its reliability say whether they are calibrated. There is no log loss: votes of
neighbours may well be 0 of 64, and one such galaxy would make it infinite.

A target is judged where at least 20 test galaxies have it and each of at least two classes has 5 of them; else it is
listed as insufficient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.artefacts import Predictions
from benchmark.contracts import GalaxybenchError, Score, TaskCard
from benchmark.facts import target_of
from benchmark.metrics.probabilities import bind_roc_auc, brier_per_galaxy
from benchmark.tasks.eligible import every_target
from posteriors.calibration.reliability import (
    bind_reliability,
    brier_decomposition,
    brier_excess_per_galaxy,
    calibration_p_value,
    reliability_bias,
    reliability_curve,
)
from posteriors.resampling.bootstrap import Interval, shared_intervals
from posteriors.scores.classification import bind_classes
from posteriors.scores.resampling import BoundScore, DerivedScore, mean_of_scores, mean_over_galaxies

__all__ = ["TASK", "comparable", "score"]

_CLASS_METRICS = ("accuracy", "f1_weighted", "balanced_accuracy")
_METRICS = ("roc_auc", "balanced_accuracy", "accuracy", "f1_weighted", "brier", "brier_excess", "reliability")
_P_RESAMPLES = 2000  # of the calibration test
_MIN_GALAXIES, _MIN_IN_CLASS = 20, 5  # below these a bootstrap interval says nothing
_ROUNDING = 1e-3  # files of others may hold probabilities with three decimals

ScoreKey = tuple[str, str, str]
Floats = NDArray[np.float64]


TASK = TaskCard(
    name="classification",
    version=2,
    needs="predictions",
    metrics=_METRICS,
    score="benchmark.tasks.classification:score",
    comparable="benchmark.tasks.classification:comparable",
    targets=every_target,
    reason="has no target with classes",
    # accuracy and weighted F1 reward the most common class, and where classes are unequal it is predicted too often
    headline=("roc_auc", "mean"),
    summary="targets with classes: ROC area, balanced accuracy, accuracy, weighted F1, Brier score, calibration",
    labels="classes",
)


def score(
    evidence: Predictions, training: Floats, *, ranked: tuple[str, ...], seed: int, n_resamples: int
) -> tuple[list[Score], dict[str, Any]]:
    """Scores of every target with classes, and their means over the ranked ones.

    Parameters
    ----------
    evidence : probabilities and truth (n, columns) of n test galaxies, columns named ``<target>=<class>``.
    training : (m, columns) of the training galaxies, NaN = missing: the floor gives everybody their shares.
    ranked : targets whose scores are averaged as target ``mean``; none where fewer than two can be judged.
    seed, n_resamples : of the bootstrap over galaxies, the same for every model.

    Returns
    -------
    scores : by metric and target.
    details : ``targets``: for each its ``classes``, ``n`` galaxies to judge, ``status`` (``scored`` or
        ``insufficient``) and, where scored, the ``prevalence`` of each class among them and ``constant``: the model
        predicts one class for all; ``calibration``: `calibration_p_value`, the terms of `Decomposition`, and a
        ``curve`` (the fields of `ReliabilityCurve`) for the class of two, or for each of more.

    Raises
    ------
    GalaxybenchError
        If predictions are no probabilities, or no target can be judged.
    """
    bound: dict[ScoreKey, BoundScore] = {}
    counts: dict[str, int] = {}
    details: dict[str, dict[str, Any]] = {}
    bias: dict[str, float] = {}
    for target in dict.fromkeys(map(target_of, evidence.names)):
        columns = [number for number, name in enumerate(evidence.names) if target_of(name) == target]
        classes = [evidence.names[column].partition("=")[2] for column in columns]
        truth, found = evidence.truth[:, columns], _probabilities(evidence, columns, target)
        valid = np.asarray(np.isfinite(truth).all(axis=1), dtype=bool)
        sizes = truth[valid].sum(axis=0)
        entry = details[target] = {"classes": classes, "n": int(valid.sum()), "status": "insufficient"}
        if entry["n"] < _MIN_GALAXIES or (sizes >= _MIN_IN_CLASS).sum() < 2:
            continue
        counts[target] = entry["n"]
        known = training[:, columns][np.isfinite(training[:, columns]).all(axis=1)]
        bound |= _scores("model", target, truth, found, valid)
        if len(known):
            bound |= _scores("floor", target, truth, np.tile(known.mean(axis=0), (len(truth), 1)), valid)
        predicted = found[valid].argmax(axis=1)
        entry |= {
            "status": "scored",
            "prevalence": dict(zip(classes, np.round(sizes / entry["n"], 4).tolist(), strict=True)),
            "constant": bool((predicted == predicted[0]).all()),
            "calibration": _calibration(classes, truth[valid], found[valid], seed),
        }
        bias[target] = reliability_bias(truth[valid], found[valid])
    if not counts:
        raise GalaxybenchError(
            f"{_listed(details)}: at least {_MIN_GALAXIES} test galaxies with {_MIN_IN_CLASS} in each of two "
            "classes are needed"
        )
    averaged = [target for target in ranked if target in counts]
    if len(averaged) > 1:
        counts["mean"] = len(evidence.target_id)
        for who in {key[0] for key in bound}:
            bound |= {(who, metric, "mean"): _mean(bound, who, metric, averaged) for metric in _METRICS}
    found_intervals = shared_intervals(bound, n=len(evidence.target_id), n_resamples=n_resamples, seed=seed)
    if len(averaged) > 1:
        bias["mean"] = float(np.mean([bias[target] for target in averaged]))
    for name, excess in bias.items():
        key = ("model", "reliability", name)
        found_intervals[key] = _lowered(found_intervals[key], excess)
    scores = [
        Score(metric, name, interval.value, interval.low, interval.high, counts[name], floor.value if floor else None)
        for (who, metric, name), interval in found_intervals.items()
        for floor in [found_intervals.get(("floor", metric, name))]
        if who == "model" and name in counts  # not the curves of single classes
    ]
    return scores, {"targets": details}


def comparable(evidence: Predictions, *, ranked: tuple[str, ...]) -> dict[tuple[str, str], BoundScore]:
    """The scores by (metric, target), to be compared with those of other models of the same galaxies."""
    bound: dict[ScoreKey, BoundScore] = {}
    judged: list[str] = []
    for target in dict.fromkeys(map(target_of, evidence.names)):
        columns = [number for number, name in enumerate(evidence.names) if target_of(name) == target]
        truth = evidence.truth[:, columns]
        valid = np.asarray(np.isfinite(truth).all(axis=1), dtype=bool)
        if valid.sum() >= _MIN_GALAXIES and (truth[valid].sum(axis=0) >= _MIN_IN_CLASS).sum() >= 2:
            bound |= _scores("model", target, truth, _probabilities(evidence, columns, target), valid)
            judged.append(target)
    averaged = [target for target in ranked if target in judged]
    if len(averaged) > 1:
        bound |= {("model", metric, "mean"): _mean(bound, "model", metric, averaged) for metric in _METRICS}
    return {key[1:]: _without_model(score) for key, score in bound.items()}


def _without_model(score: BoundScore) -> BoundScore:
    """The score by keys of metric and target alone."""
    if not isinstance(score, DerivedScore):
        return score
    return replace(score, of=tuple(key[1:] for key in score.of if isinstance(key, tuple)))


def _scores(
    who: str, target: str, truth: Floats, found: Floats, valid: NDArray[np.bool_]
) -> dict[ScoreKey, BoundScore]:
    """Bound scores of one target, of truths and probabilities (n, classes) of the valid galaxies."""
    n_classes = truth.shape[1]
    true, predicted = np.nan_to_num(truth).argmax(axis=1), found.argmax(axis=1)
    bound: dict[ScoreKey, BoundScore] = {
        (who, metric, target): bind_classes(metric, true, predicted, valid, n_classes) for metric in _CLASS_METRICS
    }
    bound[who, "brier", target] = mean_over_galaxies(np.nan_to_num(brier_per_galaxy(truth, found)), valid)
    bound[who, "brier_excess", target] = mean_over_galaxies(
        np.where(valid, brier_excess_per_galaxy(np.nan_to_num(truth), found), 0.0), valid
    )
    bound[who, "reliability", target] = bind_reliability(np.nan_to_num(truth), found, valid)
    # one curve tells of two classes; of more, each against the rest, those that are too rare left out
    judged = [n_classes - 1] if n_classes == 2 else np.flatnonzero(truth[valid].sum(axis=0) >= _MIN_IN_CLASS)
    for number in judged:
        bound[who, "roc_auc", f"{target}={number}"] = bind_roc_auc(truth[:, number], found[:, number], valid)
    bound[who, "roc_auc", target] = mean_of_scores([(who, "roc_auc", f"{target}={number}") for number in judged])
    return bound


def _lowered(interval: Interval, bias: float) -> Interval:
    """Of reliability: resamples scatter about the galaxies as these do about the truth, which raises all of them."""
    return replace(interval, low=interval.low - bias, high=interval.high - bias)


def _calibration(classes: Sequence[str], truth: Floats, found: Floats, seed: int) -> dict[str, Any]:
    """Whether the probabilities of a target are calibrated, and its curves for the page."""
    shown = [len(classes) - 1] if len(classes) == 2 else range(len(classes))
    curves = {classes[k]: vars(reliability_curve(truth[:, k], found[:, k])) for k in shown}
    return {
        "p": calibration_p_value(truth, found, _P_RESAMPLES, seed),
        **{name: round(value, 6) for name, value in vars(brier_decomposition(truth, found)).items()},
        "curve": {
            name: {field: np.round(values, 4).tolist() for field, values in curve.items()}
            for name, curve in curves.items()
        },
    }


def _mean(bound: dict[ScoreKey, BoundScore], who: str, metric: str, targets: Sequence[str]) -> DerivedScore:
    """The mean over targets of a score that may itself be a mean, over classes."""
    scores = [bound[who, metric, target] for target in targets]
    parts = [
        score.of if isinstance(score, DerivedScore) else ((who, metric, target),)
        for score, target in zip(scores, targets, strict=True)
    ]
    share = np.concatenate([np.full(len(keys), 1 / len(keys)) for keys in parts]) / len(parts)
    return DerivedScore(tuple(key for keys in parts for key in keys), lambda replicates: share @ replicates)


def _probabilities(evidence: Predictions, columns: Sequence[int], target: str) -> Floats:
    """Probabilities (n, classes) of a target, rounding errors taken out."""
    found = evidence.prediction[:, columns]
    total = found.sum(axis=1)
    wrong = (found < -_ROUNDING).any(axis=1) | (np.abs(total - 1) > _ROUNDING * len(columns))
    if wrong.any():
        raise GalaxybenchError(
            f"probabilities of {target!r} for target_id {evidence.target_id[wrong][0]} are "
            f"{found[wrong][0].round(4).tolist()} ({wrong.sum()} such galaxies): must be from 0 and sum to 1"
        )
    found = np.clip(found, 0.0, None)
    return found / found.sum(axis=1, keepdims=True)


def _listed(details: dict[str, dict[str, Any]]) -> str:
    return ", ".join(f"{target}: {entry['n']} test galaxies" for target, entry in details.items())

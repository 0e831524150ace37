"""Morphology: the answer that volunteers gave most often to each question of a decision tree of Galaxy Zoo.

Probes and supervised models learn the shares of the answers (`benchmark.data.votes`), one number an answer, by least
squares or as means over neighbours; the predicted class of a question is its answer with the highest predicted share.
A constant that knows the mean shares so predicts the most common answer: the prevalence floor.

Judged are test galaxies with more than 34 volunteers of whom at least half were asked the question (Parker et al. 2024,
arXiv:2310.03024, section 4.2.3, on Walmsley et al. 2022, arXiv:2102.08414); a question with fewer than 100 such
galaxies is listed as insufficient and not scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.artefacts import Predictions
from benchmark.contracts import Score, TaskCard
from benchmark.data.votes import n_volunteers
from benchmark.tasks.eligible import every_target
from posteriors.resampling.bootstrap import shared_intervals
from posteriors.scores.classification import bind_classes
from posteriors.scores.resampling import BoundScore, mean_of_scores

__all__ = ["TASK", "comparable", "noise_ceiling", "score"]

_METRICS = ("accuracy", "f1_weighted", "balanced_accuracy")
_MORE_THAN_VOLUNTEERS = 34
_MIN_GALAXIES = 100
_N_CEILING_DRAWS = 200


TASK = TaskCard(
    name="morphology",
    version=2,
    needs="predictions",
    metrics=_METRICS,
    score="benchmark.tasks.morphology:score",
    comparable="benchmark.tasks.morphology:comparable",
    targets=every_target,
    reason="has no votes of volunteers",
    # accuracy and weighted F1 reward the most common answer: a constant predictor can stand above a model that sees
    headline=("balanced_accuracy", "mean"),
    summary="the answer that volunteers gave most often to each question: accuracy, weighted F1, balanced accuracy",
    labels="votes",
)


def score(
    evidence: Predictions, training: NDArray[np.float64], *, ranked: tuple[str, ...], seed: int, n_resamples: int
) -> tuple[list[Score], dict[str, Any]]:
    """Scores of every question, and their means over the questions that can be judged.

    Parameters
    ----------
    evidence : predicted and true shares (n, answers) of n test galaxies, and how many volunteers were asked what.
    training : (m, answers) shares of the training galaxies, NaN = missing; the floor is their most common class.
    ranked : questions whose scores are averaged as target ``mean``; none where fewer than two can be judged.
    seed, n_resamples : of the bootstrap over galaxies, the same for every model.

    Returns
    -------
    scores : by metric and question.
    details : ``questions``: for each its answers, ``n`` galaxies to judge, ``status`` (``scored`` or ``insufficient``)
        and, where scored, the ``prevalence`` of each class among them, ``constant`` (the model predicts one class for
        all), and ``ceiling_accuracy``, which `noise_ceiling` explains.
    """
    bound: dict[tuple[str, str, str], BoundScore] = {}
    counts: dict[str, int] = {}
    details: dict[str, dict[str, Any]] = {}
    enough_volunteers = n_volunteers(evidence.asked) > _MORE_THAN_VOLUNTEERS
    for question, columns in _columns(evidence).items():
        prefix = len(question) + 1
        answers = [evidence.names[column][prefix:] for column in columns]
        share = evidence.truth[:, columns]
        valid = enough_volunteers & np.isfinite(share).all(axis=1) & bool(columns)
        entry = details[question] = {"answers": answers, "n": int(valid.sum()), "status": "insufficient"}
        if entry["n"] < _MIN_GALAXIES or len(answers) < 2:
            continue
        truth, predicted = _classes(share), np.argmax(evidence.prediction[:, columns], axis=1)
        known = training[:, columns][np.isfinite(training[:, columns]).all(axis=1)]
        commonest = int(np.bincount(_classes(known), minlength=len(answers)).argmax())
        for metric in _METRICS:
            for who, classes in (("model", predicted), ("floor", np.full_like(predicted, commonest))):
                bound[who, metric, question] = bind_classes(metric, truth, classes, valid, len(answers))
        counts[question] = entry["n"]
        prevalence = np.bincount(truth[valid], minlength=len(answers)) / entry["n"]
        ceiling = noise_ceiling(share[valid], evidence.asked[question][valid], seed=seed)
        entry |= {
            "status": "scored",
            "prevalence": dict(zip(answers, np.round(prevalence, 4).tolist(), strict=True)),
            "constant": bool((predicted[valid] == predicted[valid][0]).all()),
            "ceiling_accuracy": round(ceiling, 4),
        }
    averaged = [question for question in ranked if question in counts]
    if len(averaged) > 1:
        counts["mean"] = int(enough_volunteers.sum())
        for who in ("model", "floor"):
            bound |= {(who, metric, "mean"): _mean(who, metric, averaged) for metric in _METRICS}
    found = shared_intervals(bound, n=len(evidence.target_id), n_resamples=n_resamples, seed=seed) if bound else {}
    scores = [
        Score(
            metric, name, interval.value, interval.low, interval.high, counts[name], found["floor", metric, name].value
        )
        for (who, metric, name), interval in found.items()
        if who == "model"
    ]
    return scores, {"questions": details}


def comparable(evidence: Predictions, *, ranked: tuple[str, ...]) -> dict[tuple[str, str], BoundScore]:
    """The scores by (metric, question), to be compared with those of other models of the same galaxies."""
    bound: dict[tuple[str, str], BoundScore] = {}
    enough_volunteers = n_volunteers(evidence.asked) > _MORE_THAN_VOLUNTEERS
    judged = []
    for question, columns in _columns(evidence).items():
        share = evidence.truth[:, columns]
        valid = enough_volunteers & np.isfinite(share).all(axis=1) & bool(columns)
        if valid.sum() < _MIN_GALAXIES or len(columns) < 2:
            continue
        judged.append(question)
        classes = _classes(share), np.argmax(evidence.prediction[:, columns], axis=1)
        bound |= {(metric, question): bind_classes(metric, *classes, valid, len(columns)) for metric in _METRICS}
    averaged = [question for question in ranked if question in judged]
    if len(averaged) > 1:
        bound |= {
            (metric, "mean"): mean_of_scores([(metric, question) for question in averaged]) for metric in _METRICS
        }
    return bound


def noise_ceiling(share: NDArray[np.float64], asked: NDArray[np.int64], *, seed: int) -> float:
    """The accuracy that knowing each galaxy's true shares would reach: votes are few, and may elect another answer.

    Parameters
    ----------
    share : (n, answers) observed shares, rows sum to about 1.
    asked : (n,) volunteers behind them.
    seed : of the draws.

    Returns
    -------
    accuracy : the mean, over galaxies, of the posterior probability that the elected answer is the one with the
        highest true share, for multinomial votes and a Dirichlet prior with the mean shares of these galaxies and as
        much weight as there are answers (one vote an answer). No model is expected above it; a bound on what can be
        learned from one catalogue, not on the agreement with other volunteers.
    """
    n_answers = share.shape[1]
    elected = _classes(share)
    prior = np.maximum(share.mean(axis=0), 1e-3) * n_answers
    shape = prior + np.clip(share, 0, None) * asked[:, None]
    rng = np.random.default_rng([seed, 2])
    # the largest of independent gamma draws is the largest of the Dirichlet draw they make
    right = [(rng.standard_gamma(shape).argmax(axis=1) == elected).mean() for _ in range(_N_CEILING_DRAWS)]
    return float(np.mean(right))


def _classes(share: NDArray[np.float64]) -> NDArray[np.int64]:
    """The answer with the highest share, the first of equals; 0 for rows with NaN, which are not looked at."""
    return np.argmax(np.nan_to_num(share, nan=-1.0), axis=1)


def _columns(evidence: Predictions) -> Mapping[str, list[int]]:
    """Columns of each question; the longest question that a name starts with is its own."""
    columns: dict[str, list[int]] = {question: [] for question in evidence.asked}
    for number, name in enumerate(evidence.names):
        own = max((question for question in columns if name.startswith(f"{question}_")), key=len)
        columns[own].append(number)
    return columns


def _mean(who: str, metric: str, questions: list[str]) -> BoundScore:
    return mean_of_scores([(who, metric, question) for question in questions])

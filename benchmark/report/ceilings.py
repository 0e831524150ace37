"""Scores beside the ceiling that the errors of the labels set: how much of what can be reached a model reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.artefacts import Posterior, Predictions
from benchmark.contracts import GalaxybenchError
from benchmark.report import plots
from benchmark.report.contents import Part, Record
from benchmark.report.panels import Gap, Picture, svg_picture
from benchmark.report.tables import number
from benchmark.store import Store
from benchmark.tasks.points import CEILING, known_errors
from posteriors.resampling.intervals import Interval, interval_of_replicates
from posteriors.resampling.replicates import shared_replicates
from posteriors.scores import density
from posteriors.scores.resampling import (
    POINT_SCORES,
    BoundScore,
    DerivedScore,
    difference_of_scores,
    mean_over_galaxies,
)

__all__ = ["Ceiling", "Reached", "ceiling_panels"]

_NLL_CEILING = "nll_ceiling"
_TASKS = {"redshift": CEILING, "properties": CEILING, "posterior": _NLL_CEILING}
_SCORED = {CEILING: "r2", _NLL_CEILING: "nll_mixture"}
_MEASURE = {CEILING: "share of the ceiling reached", _NLL_CEILING: "nats above the least possible"}

Key = tuple[int, str, str]  # number of the record; score, ceiling or reached; target
_Found = tuple[dict[Key, BoundScore], dict[str, int]]


@dataclass(frozen=True)
class Reached:
    """One model beside the ceiling: texts with 95 % intervals, and whether it lies beyond it with some certainty."""

    model: str
    modality: str
    probe: str
    labels: str
    score: str
    ceiling: str
    reached: str
    n: str
    is_beyond: bool


@dataclass(frozen=True)
class Ceiling:
    """One target of one task.

    Attributes
    ----------
    title : task and target.
    metric, measure : the score, and what is said of it: the share of the ceiling, or its distance in nats.
    lines : models, those that reach the most first.
    picture : their scores with the ceiling as a line.
    """

    title: str
    metric: str
    measure: str
    lines: tuple[Reached, ...]
    picture: Picture


def ceiling_panels(part: Part, store: Store) -> tuple[list[Ceiling], list[Gap]]:
    """A panel for each task and target whose labels have errors, and the predictions that cannot be read.

    Score and ceiling are those of the galaxies whose label has an error, resampled together: so the interval of what is
    reached knows that easy galaxies raise both.
    """
    panels: list[Ceiling] = []
    gaps: list[Gap] = []
    for task, metric in _TASKS.items():
        records = [r for r in part.of_task(task) if any(score["metric"] == metric for score in r["scores"])]
        bound: dict[tuple[Any, ...], dict[int, _Found]] = {}
        for place, record in enumerate(records):
            try:
                ids, found = _bound(record, place, metric, store)
            except (GalaxybenchError, OSError, ValueError, KeyError, IndexError) as error:
                gaps.append(Gap(str(record["model"]["name"]), str(record["probe"]), str(error)))
                continue
            config = record["config"]
            resamples = (ids, config["n_resamples"], config["bootstrap_seed"])
            bound.setdefault(resamples, {})[place] = found
        intervals: dict[Key, Interval] = {}
        for (ids, n_resamples, seed), group in bound.items():
            scores = {key: score for found, _ in group.values() for key, score in found.items()}
            intervals |= _intervals(scores, len(ids) // 8, n_resamples, seed)
        counts = {place: n for group in bound.values() for place, (_, n) in group.items()}
        for target in dict.fromkeys(key[2] for key in intervals):
            panels.append(_panel(task, metric, target, records, intervals, counts))
    return panels, gaps


def _bound(record: Record, place: int, metric: str, store: Store) -> tuple[bytes, _Found]:
    """Ids of the galaxies, score, ceiling and what is reached by target, and the galaxies with errors, counted."""
    path = store.checked_artefact(record["needs"][0])
    named = dict.fromkeys(str(score["target"]) for score in record["scores"] if score["metric"] == metric)
    if metric == _NLL_CEILING:
        posterior = Posterior.read(path, with_draws=False)
        return posterior.target_id.tobytes(), _density(posterior, place)
    evidence = Predictions.read(path)
    return evidence.target_id.tobytes(), _points(evidence, place, list(named), record["config"].get("ranked", ()))


def _points(evidence: Predictions, place: int, named: Sequence[str], ranked: Sequence[str]) -> _Found:
    assert evidence.label_error is not None  # the record has a ceiling
    known, names = known_errors(evidence), list(evidence.names)
    found: dict[Key, BoundScore] = {}
    counts: dict[str, int] = {}
    for target in named:
        if target not in names:
            continue
        column = names.index(target)
        truth, inside = evidence.truth[:, column], known[:, column]
        best = truth + evidence.label_error[:, column]
        found[place, "score", target] = POINT_SCORES["r2"].bind(truth, evidence.prediction[:, column], inside)
        found[place, "ceiling", target] = POINT_SCORES["r2"].bind(truth, best, inside)
        counts[target] = int(inside.sum())
    averaged = [target for target in ranked if target in counts]
    parts = {target: [target] for target in counts} | ({"mean": averaged} if "mean" in named else {})
    for target, of in parts.items():
        keys = [[(place, what, name) for name in of] for what in ("score", "ceiling")]
        if target == "mean":
            found[place, "score", target], found[place, "ceiling", target] = map(_mean, keys)
            counts[target] = max(counts[name] for name in of)
        found[place, "reached", target] = DerivedScore((*keys[0], *keys[1]), _share)
    return found, counts


def _mean(keys: Sequence[Key]) -> DerivedScore:
    return DerivedScore(tuple(keys), lambda replicates: replicates.mean(axis=0))


def _share(replicates: np.ndarray) -> np.ndarray:
    """Mean score over mean ceiling; undefined where the errors exceed the scatter of the labels."""
    score, ceiling = (half.mean(axis=0) for half in np.split(replicates, 2))
    return np.divide(score, ceiling, out=np.full_like(score, np.nan), where=ceiling > 0)


def _density(evidence: Posterior, place: int) -> _Found:
    assert evidence.member_log_prob is not None  # the record has a ceiling, and with it a density
    assert evidence.label_entropy is not None
    assert evidence.resampled_log_prob is not None
    known = np.isfinite(evidence.label_entropy) & np.isfinite(evidence.resampled_log_prob).all(axis=0)
    nll = mean_over_galaxies(density.nll_mixture(evidence.member_log_prob), known)
    ceiling = mean_over_galaxies(evidence.label_entropy, known)
    reached = difference_of_scores((place, "score", "joint"), (place, "ceiling", "joint"))
    bound: dict[str, BoundScore] = {"score": nll, "ceiling": ceiling, "reached": reached}
    return {(place, what, "joint"): score for what, score in bound.items()}, {"joint": int(known.sum())}


def _intervals(bound: Mapping[Key, BoundScore], n: int, n_resamples: int, seed: int) -> dict[Key, Interval]:
    """Intervals on the same resamples; a share that is undefined on some of them has none."""
    values, replicates = shared_replicates(bound, n=n, n_resamples=n_resamples, seed=seed)
    return {
        key: interval_of_replicates(key, values[key], replicates[key])
        if np.isfinite(values[key]) and np.isfinite(replicates[key]).all()
        else Interval(np.nan, np.nan, np.nan)
        for key in bound
    }


def _panel(
    task: str,
    metric: str,
    target: str,
    records: Sequence[Record],
    intervals: Mapping[Key, Interval],
    counts: Mapping[int, Mapping[str, int]],
) -> Ceiling:
    places = [place for place, what, name in intervals if (what, name) == ("score", target)]
    sign = -1.0 if metric == CEILING else 1.0  # a high share or a small distance comes first
    places.sort(key=lambda place: sign * intervals[place, "score", target].value)
    several = len({records[place]["n_labels"] for place in places} - {None}) > 1
    lines, dots = [], []
    for place in places:
        score, reached = intervals[place, "score", target], intervals[place, "reached", target]
        record = records[place]
        who = (str(record["model"]["name"]), str(record["modality"] or "–"), str(record["probe"]))
        labels = "–" if record["n_labels"] is None else f"{record['n_labels']:,}"
        is_beyond = reached.low > 1 if metric == CEILING else reached.high < 0
        n = f"{counts[place][target]:,}"
        texts = (_text(score), _text(intervals[place, "ceiling", target]), _text(reached))
        lines.append(Reached(*who, labels, *texts, n, bool(is_beyond)))
        name = " · ".join((who[0], who[2], labels) if several else (who[0], who[2]))
        dots.append(plots.Dot(name, who[1], score.value, score.low, score.high))
    ceiling = intervals[places[0], "ceiling", target]
    scored = _SCORED[metric]
    label = f"{scored}, {target} ({'higher' if metric == CEILING else 'lower'} is better)"
    spoken = "; ".join(f"{dot.name} {line.score}" for dot, line in zip(dots, lines, strict=True))
    picture = svg_picture(
        plots.interval_plot(dots, ceiling.value, "ceiling by label noise", label),
        f"{label} with 95 % intervals: {spoken}. The ceiling that label noise sets is {_text(ceiling)}.",
    )
    return Ceiling(f"{task}: {target}", scored, _MEASURE[metric], tuple(lines), picture)


def _text(interval: Interval) -> str:
    if not np.isfinite(interval.value):
        return "–"
    return f"{number(interval.value)} [{number(interval.low)}, {number(interval.high)}]"

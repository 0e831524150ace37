"""Ranks that scores justify: models of a column compared pair by pair on the same resamples of the same galaxies."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.artefacts import Posterior, Predictions
from benchmark.contracts import GalaxybenchError
from benchmark.registry import METRICS, TASKS, resolve
from benchmark.store import Store, atomic_write, content_key
from posteriors.resampling.ranking import Comparison, compare, join, rank_models
from posteriors.resampling.replicates import galaxy_weights, shared_replicates
from posteriors.scores.resampling import BoundMoment, BoundOrder, BoundScore, DerivedScore

__all__ = ["Place", "cached_ranks", "model_ranks"]

Record = Mapping[str, Any]
Place = tuple[str, str, str]  # name of the score record, metric, target
Key = tuple[str, str]  # metric, target
Ids = NDArray[np.int64]

_N_RESAMPLES = 1000  # their standard deviation is known to 2.2 %
_CACHE, _VERSION = "ranks.json", 1  # raise it whenever ranks of the same records may move
_MOST_VALUES = 10_000_000  # statistics of models and galaxies at once, 80 MB
_MIN_SHARED = 20  # galaxies: with fewer in common two models are not compared


@dataclass(frozen=True)
class _Judged:
    """One model of a column: its record, and what it said of which galaxies."""

    record: Record
    evidence: Predictions | Posterior

    @property
    def ids(self) -> bytes:
        return self.evidence.target_id.tobytes()


def model_ranks(store: Store, records: Iterable[Record]) -> dict[Place, tuple[int, int, int]]:
    """Best rank, worst rank and tie group of every score of the whole that can be compared.

    Models of one survey, preset, recipe, task version, inputs and number of labels are compared with each other, of
    several probe seeds the first. Scores whose outputs are missing from the store, or cannot be made again from them,
    have no rank, and nobody is ranked against them; nor has a model that has nobody to be compared with.

    Parameters
    ----------
    store : the results store.
    records : score records, in any order.
    """
    groups: dict[tuple[Any, ...], dict[tuple[Any, ...], Record]] = {}
    for record in sorted(records, key=lambda r: (r["model"]["name"], str(r["probe"]), r["seed"] or 0, r["name"])):
        if record["status"] == "done" and TASKS[record["task"]["name"]].comparable:
            model = (record["model"]["name"], record["modality"], record["probe"])
            groups.setdefault(_group(record), {}).setdefault(model, record)
    outputs: dict[str, Predictions | Posterior | None] = {}
    ranks: dict[Place, tuple[int, int, int]] = {}
    for group in groups.values():
        judged = [found for record in group.values() if (found := _judged(store, record, outputs)) is not None]
        if len(judged) > 1:
            ranks |= _group_ranks(judged)
    return ranks


def cached_ranks(store: Store, records: Sequence[Record]) -> dict[Place, tuple[int, int, int]]:
    """`model_ranks`, from ``ranks.json`` of the store where records and outputs are as they were then."""
    path, key = store.folder / _CACHE, _content(store, records)
    try:
        kept = json.loads(path.read_text())
        if kept["key"] == key:
            return {(name, metric, target): (low, high, tie) for name, metric, target, low, high, tie in kept["ranks"]}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or not ours: made anew
    ranks = model_ranks(store, records)
    text = json.dumps({"key": key, "ranks": [[*place, *found] for place, found in ranks.items()]})
    with contextlib.suppress(GalaxybenchError):  # of a store that cannot be written the board can still be read
        atomic_write(path, lambda temporary: temporary.write_text(text))
    return ranks


def _content(store: Store, records: Iterable[Record]) -> str:
    """Key of all that ranks come from: scores, and size and date of the outputs behind them."""
    found = []
    for record in sorted(records, key=lambda record: str(record["name"])):
        states = []
        for name in record.get("needs", [])[:1]:
            source = store.read_record(name) or {}
            for artefact in source.get("artefacts", [])[:1]:
                path = store.folder / artefact["path"]
                state = path.stat() if path.is_file() else None
                states.append([artefact["sha256"], state and [state.st_size, state.st_mtime_ns]])
        found.append([record["name"], record["status"], record["created"], record["scores"], states])
    return content_key([_VERSION, found])


def _group(record: Record) -> tuple[Any, ...]:
    survey, task = record["survey"], record["task"]
    return (
        *(survey["name"], survey["digest"], record["preset"], record["recipe"]),
        *(task["name"], task["version"], record["config"].get("inputs"), record["n_labels"]),
    )


def _judged(store: Store, record: Record, outputs: dict[str, Predictions | Posterior | None]) -> _Judged | None:
    """The outputs that a record was scored from; None where they are gone or are not what they were."""
    needs = record.get("needs")
    if not needs:
        return None
    name = str(needs[0])
    if name not in outputs:
        try:
            path = store.checked_artefact(name)
            outputs[name] = Posterior.read(path, with_draws=False) if path.suffix == ".npz" else Predictions.read(path)
        except (GalaxybenchError, OSError, ValueError, KeyError, IndexError):
            outputs[name] = None
    found = outputs[name]
    if found is None:
        return None
    asked = record["config"].get("targets") or list(found.names)
    return _Judged(record, found.select([target for target in asked if target in found.names]))


def _group_ranks(judged: Sequence[_Judged]) -> dict[Place, tuple[int, int, int]]:
    scored = [
        {(s["metric"], s["target"]): s["value"] for s in one.record["scores"] if s.get("condition") is None}
        for one in judged
    ]
    parts: dict[Key, list[tuple[NDArray[np.int64], Comparison]]] = {}
    samples = list({one.ids: one.evidence.target_id for one in judged}.values())
    # pairs on all the galaxies of both come last: they count
    shared = [np.intersect1d(a, b) for i, a in enumerate(samples) for b in samples[:i]] + samples
    for ids in shared:
        if len(ids) >= _MIN_SHARED:
            members = [n for n, one in enumerate(judged) if np.isin(ids, one.evidence.target_id).all()]
            for key, part in _compared(judged, members, np.sort(ids)).items():
                parts.setdefault(key, []).append(part)
    ranks: dict[Place, tuple[int, int, int]] = {}
    for key, comparisons in parts.items():
        inside = sorted({int(n) for numbers, _ in comparisons for n in numbers if scored[n].get(key) is not None})
        if len(inside) < 2:
            continue
        whole = join(comparisons, len(judged))
        chosen = np.ix_(inside, inside)
        cost = _cost(key[0], np.array([scored[n][key] for n in inside], dtype=np.float64))
        found = rank_models(cost, Comparison(whole.difference[chosen], whole.p_value[chosen]))
        for n, low, high, tie in zip(inside, found.low, found.high, found.tie_group, strict=True):
            ranks[(str(judged[n].record["name"]), *key)] = (int(low), int(high), int(tie))
    return ranks


def _compared(
    judged: Sequence[_Judged], members: Sequence[int], ids: Ids
) -> dict[Key, tuple[NDArray[np.int64], Comparison]]:
    """Every column's comparison of some models on these galaxies, which all of them have."""
    columns: dict[Key, dict[int, BoundScore]] = {}
    for n in members:
        record = judged[n].record
        comparable = resolve(TASKS[record["task"]["name"]].comparable)
        ranked = tuple(record["config"].get("ranked", ()))
        try:
            bound: dict[Key, BoundScore] = comparable(_at(judged[n].evidence, ids), ranked=ranked)
        except (GalaxybenchError, ValueError):  # no score on these galaxies
            continue
        for key, score in bound.items():
            columns.setdefault(key, {})[n] = score
    seed = int(judged[members[0]].record["config"].get("bootstrap_seed", 0)) if members else 0
    values: dict[Key, dict[int, float]] = {}
    replicates: dict[Key, dict[int, NDArray[np.float64]]] = {}
    for key, scores in columns.items():
        plain = {n: score for n, score in scores.items() if not isinstance(score, DerivedScore)}
        values[key], replicates[key] = _replicates(plain, len(ids), seed)
    for key, scores in columns.items():
        for n, score in scores.items():
            if isinstance(score, DerivedScore) and all(n in values[part] for part in score.of):  # type: ignore[index]
                parts = [(values[part][n], replicates[part][n]) for part in score.of]  # type: ignore[index]
                values[key][n] = float(score.combine(np.array([[value] for value, _ in parts]))[0])
                replicates[key][n] = score.combine(np.stack([resampled for _, resampled in parts]))
    found = {}
    for key, of in values.items():
        if numbers := [n for n, value in of.items() if np.isfinite(value)]:
            cost = _cost(key[0], np.array([of[n] for n in numbers]))
            costs = _cost(key[0], np.stack([replicates[key][n] for n in numbers]))
            found[key] = np.array(numbers, dtype=np.int64), compare(cost, costs)
    return found


def _replicates(
    scores: Mapping[int, BoundScore], n: int, seed: int
) -> tuple[dict[int, float], dict[int, NDArray[np.float64]]]:
    """Values and replicates of one score of several models.

    Sums are formed here, in double precision: many of them at once would otherwise import torch, which takes longer.
    """
    values: dict[int, float] = {}
    replicates: dict[int, NDArray[np.float64]] = {}
    moments = {m: score for m, score in scores.items() if isinstance(score, BoundMoment) and score.valid.sum() > 1}
    width = max((score.statistics.shape[1] + 1 for score in moments.values()), default=1)
    at_once = max(1, _MOST_VALUES // (n * width))
    for first in range(0, len(moments), at_once):
        part = list(moments.items())[first : first + at_once]
        columns = [np.column_stack([score.statistics, score.valid]) for _, score in part]
        table = np.hstack(columns)
        resampled = [chunk.astype(np.float64) @ table for _, chunk in galaxy_weights(n, _N_RESAMPLES, seed)]
        sums = np.concatenate([table.sum(axis=0)[None], *resampled])
        ends = np.cumsum([column.shape[1] for column in columns])[:-1]
        for (m, moment), own in zip(part, np.split(sums, ends, axis=1), strict=True):
            combined = moment.combine(own[:, :-1], own[:, -1])
            values[m], replicates[m] = float(combined[0]), combined[1:]
    for m, score in scores.items():
        if isinstance(score, BoundOrder) and score.valid.sum() > 1:
            value, found = shared_replicates({m: score}, n=n, n_resamples=_N_RESAMPLES, seed=seed)
            values[m], replicates[m] = value[m], found[m]
    return values, replicates


def _cost(metric: str, score: NDArray[np.float64]) -> NDArray[np.float64]:
    """A score turned so that lower is better."""
    card = METRICS[metric]
    turned = {"higher": -score, "lower": score, "zero": np.abs(score)}
    return turned[card.better] if card.better in turned else np.abs(score - (card.nominal or 0.0))


def _at(evidence: Predictions | Posterior, ids: Ids) -> Predictions | Posterior:
    """The evidence of these galaxies, in this order; ``ids`` ascend."""
    if np.array_equal(evidence.target_id, ids):
        return evidence
    order = np.argsort(evidence.target_id, kind="stable")
    rows = order[np.searchsorted(evidence.target_id, ids, sorter=order)]
    if isinstance(evidence, Posterior):
        member = evidence.member_log_prob
        return Posterior(
            *(ids, evidence.names, evidence.truth[rows], evidence.draws[:, rows]),
            member_log_prob=None if member is None else member[:, rows],
            log_jacobian=evidence.log_jacobian,
        )
    taken = {name: getattr(evidence, name)[rows] for name in ("truth", "prediction")}
    asked = {question: count[rows] for question, count in evidence.asked.items()}
    return replace(evidence, target_id=ids, asked=asked, label_error=None, resampled=None, **taken)

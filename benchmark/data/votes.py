"""Votes of volunteers, as a catalogue holds them, turned into shares of the answers to each question.

The rules are those of Parker et al. 2024 (arXiv:2310.03024, section 4.2.3) on Galaxy Zoo DECaLS (Walmsley et al. 2022,
arXiv:2102.08414): debiased shares where the catalogue has them, galaxies with fewer than 3 volunteers left out, and a
question counts for a galaxy where at least half of its volunteers were asked it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.data.survey import Survey

__all__ = ["MIN_VOLUNTEERS", "VoteShares", "n_volunteers", "vote_shares"]

MIN_VOLUNTEERS = 3
MIN_ASKED = 0.5  # of a galaxy's volunteers


@dataclass(frozen=True)
class VoteShares:
    """What n galaxies' volunteers said.

    Attributes
    ----------
    names : ``<question>_<answer>`` of every column.
    share : (n, answers) in 0-1; NaN where the galaxy has fewer than 3 volunteers or fewer than half were asked.
    asked : question -> (n,) volunteers who were asked it.
    debiased : questions whose shares are the catalogue's debiased ones.
    """

    names: tuple[str, ...]
    share: NDArray[np.float64]
    asked: Mapping[str, NDArray[np.int64]]
    debiased: tuple[str, ...]


def vote_shares(survey: Survey, rows: NDArray[np.int64], names: Sequence[str] | None = None) -> VoteShares:
    """Shares of the answers for some rows of a survey.

    Parameters
    ----------
    survey : with votes.
    rows : (n,) row numbers.
    names : ``<question>_<answer>`` columns in the order that is wanted; None for all.

    Notes
    -----
    A question's shares are debiased ones if the catalogue has ``<question>_<answer>_debiased`` for all of its answers,
    else counts over the question's total.
    """
    table, columns, debiased = survey.catalogue, {}, []
    totals = {name: np.nan_to_num(table[f"{name}_total"].to_numpy(np.float64)[rows]) for name in survey.info.votes}
    asked = {question: total.astype(np.int64) for question, total in totals.items()}
    volunteers = n_volunteers(asked)
    for question, answers in survey.info.votes.items():
        total = totals[question]
        counts = (volunteers >= MIN_VOLUNTEERS) & (total >= MIN_ASKED * volunteers) & (total > 0)
        is_debiased = all(f"{question}_{answer}_debiased" in table for answer in answers)
        debiased += [question] * is_debiased
        for answer in answers:
            name = f"{question}_{answer}"
            stored = table[f"{name}_debiased" if is_debiased else name].to_numpy(dtype=np.float64)[rows]
            columns[name] = np.where(counts, stored if is_debiased else stored / np.maximum(total, 1), np.nan)
    wanted = tuple(names) if names is not None else tuple(columns)
    share = np.stack([columns[name] for name in wanted], axis=1) if wanted else np.empty((len(rows), 0))
    return VoteShares(wanted, share, asked, tuple(debiased))


def n_volunteers(asked: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """Volunteers of each galaxy (n,): the first question of a tree is put to all, the others to no more than these."""
    return np.max(list(asked.values()), axis=0)

"""Medians and median deviations of thousands of resamples at once, from one sorted array.

Values are sorted once; a resample is then an array of counts, and its order statistics are found by bisection in the
cumulative counts. Of n galaxies only those near the answer have to be counted one by one, some 20 sqrt(n) of them: the
others are counted in a few cells. A resample whose answer lies in a cell is done again with all galaxies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ORDER_STATISTICS", "OrderStatistic", "SortedResamples", "SortedValues"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_REACH = 3.5  # half width of a window in sqrt(n) ranks: seven standard deviations of the rank of a median
_WHOLE = 0.6  # windows that hold so large a share of the galaxies are not worth the cells


class SortedResamples:
    """Resamples (b) of sorted values as cumulative counts.

    Parameters
    ----------
    values : (r,) ascending; of a cell, its largest value.
    counts : (b, r) how many galaxies of each resample have this value, or are in this cell.
    single : (r,) False for cells, whose values are not told apart.
    """

    def __init__(self, values: Floats, counts: NDArray[np.float32], single: NDArray[np.bool_]) -> None:
        self._values, self._single = values, single
        cumulative = np.zeros((len(counts), len(values) + 1), dtype=np.float32)
        np.cumsum(counts, axis=1, out=cumulative[:, 1:])
        self._below, self._totals = cumulative.ravel(), cumulative[:, -1].astype(np.int64)
        self._start = np.arange(len(counts)) * (len(values) + 1)

    def median(self) -> Floats:
        """Median of each resample, (b,); NaN where it lies in a cell or the resample is empty."""
        rank, start = self._middle_ranks()
        place = _bisect(lambda at: self._below.take(start + at + 1) >= rank, np.full(len(rank), len(self._values)))
        found = np.minimum(place, len(self._values) - 1)
        sure = (place < len(self._values)) & self._single[found]
        return self._mean_of_ranks(np.where(sure, self._values[found], np.nan))

    def median_deviation(self) -> Floats:
        """Median of \\|value - median\\| of each resample, (b,); NaN as `median`."""
        median = self.median()
        rank, start = self._middle_ranks()
        centre = np.resize(np.where(np.isfinite(median), median, self._values[0]), len(rank))
        deviation = self._deviation(centre, rank, start)
        return np.where(np.isfinite(median), self._mean_of_ranks(deviation), np.nan)

    def _middle_ranks(self) -> tuple[Integers, Integers]:
        """Ranks, from 1, of the middle galaxy of each resample, or of both of them, and where its counts begin."""
        low, high = (self._totals + 1) // 2, self._totals // 2 + 1
        if (low == high).all():
            return low, self._start
        return np.concatenate([low, high]), np.concatenate([self._start, self._start])

    def _mean_of_ranks(self, found: Floats) -> Floats:
        return found.reshape(-1, len(self._totals)).mean(0)

    def _deviation(self, centre: Floats, rank: Integers, start: Integers) -> Floats:
        """The rank-th smallest \\|value - centre\\|: the smaller of the best candidates above and below the centre."""
        values, n = self._values, len(self._values)
        # equal distances on both sides must count as equal, whatever the rounding of the differences
        slack = float(8 * np.finfo(float).eps * np.abs(values[[0, -1]]).max())
        above = np.searchsorted(values, centre)
        sign = np.repeat([1, -1], len(centre))
        first, limit = np.concatenate([above, above - 1]), np.concatenate([n - above, above])
        centre2, rank2, start2 = np.tile(centre, 2), np.tile(rank, 2), np.tile(start, 2)

        def distance(step: Integers) -> Floats:
            return np.abs(values.take(first + sign * step, mode="clip") - centre2) + slack

        def enough(step: Integers) -> NDArray[np.bool_]:
            reach = distance(step)
            inside = self._below.take(start2 + values.searchsorted(centre2 + reach, side="right"))
            return inside - self._below.take(start2 + values.searchsorted(centre2 - reach)) >= rank2

        step = _bisect(enough, limit)
        candidates = np.where(step < limit, distance(step) - slack, np.inf)
        deviation = candidates.reshape(2, -1).min(0)
        sure = np.isfinite(deviation)
        reach = np.where(sure, deviation, 0) + slack
        for place in (values.searchsorted(centre - reach), values.searchsorted(centre + reach, side="right")):
            sure &= self._single.take(place - 1, mode="clip") & self._single.take(place, mode="clip")
        return np.where(sure, deviation, np.nan)


def _bisect(enough: Callable[[Integers], NDArray[np.bool_]], limit: Integers) -> Integers:
    """The first number from 0 on for which ``enough`` holds, element by element; ``limit`` where it does for none.

    ``enough`` is asked for numbers up to the limit, whose answer does not matter.
    """
    low, high = np.zeros_like(limit), limit
    for _ in range(int(limit.max(initial=0)).bit_length() + 1):
        middle = (low + high) >> 1
        holds = enough(np.minimum(middle, limit - 1))
        low, high = np.where(holds, low, np.minimum(middle + 1, high)), np.where(holds, middle, high)
    return high


@dataclass(frozen=True)
class OrderStatistic:
    """A function of the sorted values of galaxies.

    Attributes
    ----------
    evaluate : from resamples to scores (b,), NaN where a cell hides the answer.
    centres : from sorted values (m,) to the values near which the answers of resamples lie.
    leave_one_out : from sorted values (m,), m >= 2, to the score without each of them (m,).
    """

    evaluate: Callable[[SortedResamples], Floats]
    centres: Callable[[Floats], Sequence[float]]
    leave_one_out: Callable[[Floats], Floats]


class SortedValues:
    """Values of the valid galaxies in order, ready for resamples of all galaxies.

    Parameters
    ----------
    values : (n,), finite where ``valid``.
    valid : (n,).
    statistic : decides which galaxies are counted one by one.

    Attributes
    ----------
    cells : (n, n_cells) float32, 1 where a galaxy is in a cell: weights @ cells are the cells' counts.
    """

    def __init__(self, values: Floats, valid: NDArray[np.bool_], statistic: OrderStatistic) -> None:
        places = np.flatnonzero(valid)
        order = np.argsort(values[places], kind="stable")
        self._columns, self._sorted = places[order], values[places][order]
        self._statistic = statistic
        single = self._windows()
        edges = np.flatnonzero(np.diff(single.astype(np.int8), prepend=np.int8(1), append=np.int8(1)))
        spans = edges.reshape(-1, 2)  # first and one past the last of each cell
        self.cells = np.zeros((len(values), len(spans)), dtype=np.float32)
        for number, (first, after) in enumerate(spans):
            self.cells[self._columns[first:after], number] = 1
        kept = single.copy()
        kept[spans[:, 1] - 1] = True  # a cell stands where its largest value does
        self._kept = np.flatnonzero(kept)
        self._single = single[self._kept]

    def evaluate(self, weights: NDArray[np.float32], cell_counts: NDArray[np.float32]) -> Floats:
        """Scores (b,) of resamples with these weights (b, n) and counts (b, n_cells)."""
        counts = weights.take(self._columns[self._kept], axis=1)
        counts[:, ~self._single] = cell_counts
        scores = self._statistic.evaluate(SortedResamples(self._sorted[self._kept], counts, self._single))
        again = np.flatnonzero(~np.isfinite(scores))
        if again.size and not self._single.all():
            everyone = weights[again].take(self._columns, axis=1)
            single = np.ones(len(self._sorted), dtype=bool)
            scores[again] = self._statistic.evaluate(SortedResamples(self._sorted, everyone, single))
        return scores

    def leave_one_out(self) -> tuple[Integers, Floats]:
        """Places (m,) of the valid galaxies, and the score without each of them (m,)."""
        return self._columns, self._statistic.leave_one_out(self._sorted)

    def _windows(self) -> NDArray[np.bool_]:
        """Which of the sorted values are counted one by one."""
        n = len(self._sorted)
        single = np.zeros(n, dtype=bool)
        half = math.ceil(_REACH * math.sqrt(n))
        for centre in self._statistic.centres(self._sorted):
            place = (
                int(np.searchsorted(self._sorted, centre, "left") + np.searchsorted(self._sorted, centre, "right")) // 2
            )
            single[max(0, place - half) : place + half] = True
        return np.ones(n, dtype=bool) if single.mean() > _WHOLE else single


def _without_one(ordered: Floats) -> Floats:
    """Median of sorted values (m,) without each of them, (m,)."""
    place, n = np.arange(len(ordered)), len(ordered) - 1
    low, high = (n - 1) // 2, n // 2
    return 0.5 * (ordered[low + (place <= low)] + ordered[high + (place <= high)])


def _deviation_without_one(ordered: Floats) -> Floats:
    medians = _without_one(ordered)
    result = np.empty(len(ordered))
    for centre in np.unique(medians):  # at most three
        distance = np.abs(ordered - centre)
        order = np.argsort(distance, kind="stable")
        without = np.empty(len(ordered))
        without[order] = _without_one(distance[order])
        chosen = medians == centre
        result[chosen] = without[chosen]
    return result


def _deviation_centres(ordered: Floats) -> tuple[float, float, float]:
    centre = float(np.median(ordered))
    deviation = float(np.median(np.abs(ordered - centre)))
    return centre - deviation, centre, centre + deviation


ORDER_STATISTICS: Mapping[str, OrderStatistic] = {
    "median": OrderStatistic(SortedResamples.median, lambda ordered: (float(np.median(ordered)),), _without_one),
    "median_deviation": OrderStatistic(SortedResamples.median_deviation, _deviation_centres, _deviation_without_one),
}
"""Order statistics by name."""

"""Intervals and p-values from bootstrap replicates: percentile, BCa, and two-sided tests.

References
----------
Efron 1987, doi:10.1080/01621459.1987.10478410, eq. 2.3 and 6.6 (BCa); Davison & Hinkley 1997, Bootstrap Methods and
their Application, eq. 4.11 (p-value); Kish 1965, Survey Sampling, section 8.2 (design effect).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Interval", "IntervalMethod", "design_effect", "interval_of_replicates", "two_sided_p_value"]

Floats = NDArray[np.float64]
IntervalMethod = Literal["percentile", "bca"]

_LEVEL = 0.95
_MOST_UNDEFINED = 0.05


@dataclass(frozen=True)
class Interval:
    """A score with its 95 % interval.

    Attributes
    ----------
    value, low, high : the score of all galaxies and the ends of its interval.
    design_effect : variance over resampled clusters by variance over resampled galaxies; 1 where clustering does not
        matter, None where no clusters were given. The galaxies are worth n / design_effect independent ones.
    """

    value: float
    low: float
    high: float
    design_effect: float | None = None


def interval_of_replicates(
    key: Hashable, value: float, replicates: Floats, left_out: Floats | None = None, effect: float | None = None
) -> Interval:
    """95 % interval of a score with this value and these replicates (B,).

    Parameters
    ----------
    key : names the score in errors.
    value, replicates : few replicates may be undefined (all galaxies alike), many may not.
    left_out : (n,) the score without each galaxy: gives the BCa interval; None: the percentile interval.
    effect : design effect to hand on.

    Raises
    ------
    ValueError
        If the value or more than 5 % of the replicates are not finite, or if BCa is undefined because all replicates
        lie on one side of the value.
    """
    finite = replicates[np.isfinite(replicates)]
    if not np.isfinite(value) or len(finite) < (1 - _MOST_UNDEFINED) * len(replicates):
        raise ValueError(
            f"{key}: undefined on these galaxies, or on {len(replicates) - len(finite)} of {len(replicates)} resamples "
            "of them: are the truths constant, or too few?"
        )
    levels = ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2)
    if left_out is not None:
        levels = _bca_levels(key, value, finite, left_out)
    ordered = np.sort(finite)  # half the time of the partitions of np.quantile, which gives the same
    places = np.asarray(levels) * (len(ordered) - 1)
    below = np.floor(places).astype(np.int64)
    after = ordered[np.minimum(below + 1, len(ordered) - 1)]
    low, high = ordered[below] + (places - below) * (after - ordered[below])
    return Interval(value, float(low), float(high), effect)


def two_sided_p_value(differences: ArrayLike) -> float:
    """Twice the smaller share of replicates on either side of zero, (b + 1) / (B + 1), at most 1.

    Replicates that are not finite are left out. Davison & Hinkley 1997, Bootstrap Methods, eq. 4.11.
    """
    finite = np.asarray(differences)[np.isfinite(differences)]
    tail = min(int((finite <= 0).sum()), int((finite >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (len(finite) + 1))


def design_effect(clustered: Floats, independent: Floats) -> float:
    """Variance of replicates over clusters by that of replicates over galaxies; NaN where a score cannot vary."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.nanvar(clustered) / np.nanvar(independent))


def _bca_levels(key: Hashable, value: float, replicates: Floats, left_out: Floats) -> tuple[float, float]:
    """Levels of the replicates' quantiles, moved by the median bias and by the skewness of the influence."""
    below = 0.5 * float((replicates < value).mean() + (replicates <= value).mean())
    if not 0 < below < 1:
        raise ValueError(f"{key}: all replicates lie on one side of the value: BCa is undefined, use 'percentile'")
    influence = left_out.mean() - left_out
    spread = float(np.square(influence).sum()) ** 1.5
    acceleration = float((influence**3).sum()) / (6 * spread) if spread > 0 else 0.0
    normal = NormalDist()
    bias = normal.inv_cdf(below)
    shifted = [bias + normal.inv_cdf(level) for level in ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2)]
    low, high = (normal.cdf(bias + shift / (1 - acceleration * shift)) for shift in shifted)
    return low, high

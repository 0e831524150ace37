"""Calibration in parts of the sample: by magnitude, by predicted redshift, by region, with Holm's correction.

A posterior may be right on average and wrong for the faint: too narrow there, too wide elsewhere. Bins must come from
what is known without the truth; bins of the truth itself make a right posterior look wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posteriors.calibration.uniformity import check_ranks, ks_uniform, width_test

__all__ = ["BinTest", "ConditionalTest", "conditional_calibration", "holm", "quantile_bins"]

_LEVEL = 0.68
_LEAST_IN_BIN = 10


@dataclass(frozen=True)
class BinTest:
    """Calibration of the galaxies of one bin.

    Attributes
    ----------
    label : of the bin.
    n : galaxies.
    coverage_68, low, high : share of ranks in the central 68 %, with its Wilson 95 % interval.
    p_value, p_width : of `ks_uniform` and `width_test`, not corrected.
    p_adjusted : the smaller of the two after Holm's correction over both tests of all bins.
    """

    label: str
    n: int
    coverage_68: float
    low: float
    high: float
    p_value: float
    p_width: float
    p_adjusted: float


@dataclass(frozen=True)
class ConditionalTest:
    """The bins, how many galaxies were in bins too small to be tested, and the smallest adjusted p-value."""

    bins: tuple[BinTest, ...]
    n_left_out: int
    p_value: float


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values (m,): below a level for some true hypothesis in at most that share of all cases.

    Any dependence between the tests is allowed.

    Raises
    ------
    ValueError
        For another shape and for values outside [0, 1].

    References
    ----------
    Holm 1979, Scandinavian Journal of Statistics 6, 65.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p_values of shape {p.shape}: (m,) values in [0, 1] are needed")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def quantile_bins(values: ArrayLike, n_bins: int = 4) -> NDArray[np.int64]:
    """Numbers 0 ... n_bins - 1 of bins of equal numbers of galaxies, ascending; -1 where the value is NaN.

    Parameters
    ----------
    values : (n,), e.g. magnitudes; equal values share a bin.
    n_bins : at least 1.

    Raises
    ------
    ValueError
        For another shape, no finite value, or n_bins < 1.
    """
    column = np.asarray(values, dtype=np.float64)
    known = np.isfinite(column)
    if column.ndim != 1 or not known.any() or n_bins < 1:
        raise ValueError(f"values of shape {column.shape} in {n_bins} bins: (n,) with finite values is needed")
    edges = np.quantile(column[known], np.arange(1, n_bins) / n_bins)
    return np.where(known, np.searchsorted(edges, np.nan_to_num(column), side="right"), -1)


def conditional_calibration(ranks: ArrayLike, bins: ArrayLike) -> ConditionalTest:
    """Test the ranks of each bin against U(0, 1), with Holm's correction over bins and tests.

    Parameters
    ----------
    ranks : (n,) PIT values, TARP ranks or any other that are uniform under calibration.
    bins : (n,) labels; -1 or "" for galaxies that belong to none.

    Raises
    ------
    ValueError
        For shapes that differ, ranks outside [0, 1], or no bin with at least 10 galaxies.
    """
    values, labels = check_ranks(ranks), np.asarray(bins)
    if labels.shape != values.shape:
        raise ValueError(f"ranks have shape {values.shape} and bins {labels.shape}: one bin a galaxy is needed")
    nowhere = (labels == "") if labels.dtype.kind in "US" else (labels == -1)
    names, counts = np.unique(labels[~nowhere], return_counts=True)
    tested = names[counts >= _LEAST_IN_BIN]
    if not len(tested):
        raise ValueError(f"{len(names)} bins, none with {_LEAST_IN_BIN} galaxies: use fewer bins")
    members = [values[labels == name] for name in tested]
    found = np.array([(ks_uniform(part)[1], width_test(part)[1]) for part in members])
    adjusted = holm(found.ravel()).reshape(-1, 2).min(1)
    tests = tuple(
        BinTest(str(name), len(part), *_coverage(part), float(p[0]), float(p[1]), float(after))
        for name, part, p, after in zip(tested, members, found, adjusted, strict=True)
    )
    n_left_out = len(values) - sum(len(part) for part in members)
    return ConditionalTest(tests, n_left_out, float(adjusted.min()))


def _coverage(ranks: NDArray[np.float64]) -> tuple[float, float, float]:
    """Share in the central 68 %, and its interval (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    n, share, z = len(ranks), float((np.abs(ranks - 0.5) <= _LEVEL / 2).mean()), 1.959964
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    return share, centre - reach, centre + reach

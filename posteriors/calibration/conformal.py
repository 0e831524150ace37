"""Intervals that hold the truth at their level for any model, learned from a calibration sample.

The only assumption is that calibration and test galaxies are exchangeable; it fails where the test sample is deeper,
and the guarantee is for the sample as a whole, not for each magnitude.

References
----------
Vovk, Gammerman & Shafer 2005, Algorithmic Learning in a Random World, section 2.2; Lei et al. 2018, arXiv:1604.04173
(split conformal); Romano, Patterson & Candes 2019, arXiv:1905.03222 (quantiles); Chernozhukov, Wuethrich & Zhu 2021,
doi:10.1073/pnas.2107794118 (by PIT); Bordoloi, Lilly & Amara 2010,
doi:10.1111/j.1365-2966.2010.16765.x, and Kuleshov, Fenner & Ermon 2018, arXiv:1807.00263 (recalibration by PIT).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posteriors.scores.density import check_draws, pit_values

__all__ = [
    "conformal_by_pit",
    "conformal_interval",
    "conformal_quantiles",
    "coverage_range",
    "recalibrate_by_pit",
    "recalibrate_draws",
]

Floats = NDArray[np.float64]

_LEAST_CALIBRATION = 10  # galaxies


def conformal_interval(
    residual: ArrayLike,
    prediction: ArrayLike,
    level: float = 0.68,
    *,
    scale: tuple[ArrayLike, ArrayLike] | None = None,
) -> tuple[Floats, Floats]:
    """Interval (low, high), each (n,), around point predictions: split conformal.

    Parameters
    ----------
    residual : (m,) truth - prediction of calibration galaxies, which the model was not fitted to.
    prediction : (n,) of test galaxies.
    level : probability that an interval holds its truth: at least it, and at most 1 / (m + 1) more.
    scale : (m,) and (n,) positive widths of calibration and test galaxies, e.g. the posterior's standard deviation:
        intervals are then proportional to them. None: all intervals are equally wide.

    Raises
    ------
    ValueError
        For other shapes, values that are not finite, scales that are not positive, and a calibration sample too small
        for the level.
    """
    errors, centre = _column(residual, "residual"), _column(prediction, "prediction")
    known, new = (np.ones(len(errors)), np.ones(len(centre))) if scale is None else (_column(s, "scale") for s in scale)
    if known.shape != errors.shape or new.shape != centre.shape or (known <= 0).any() or (new <= 0).any():
        raise ValueError(
            f"scales of shapes {known.shape} and {new.shape}: positive, ({len(errors)},) and ({len(centre)},)"
        )
    reach = _conformal_quantile(np.abs(errors) / known, level) * new
    return centre - reach, centre + reach


def conformal_quantiles(
    calibration_draws: ArrayLike, calibration_target: ArrayLike, draws: ArrayLike, level: float = 0.68
) -> tuple[Floats, Floats]:
    """Interval (low, high), each (n,), from posterior draws: conformalised quantiles.

    The central interval of the draws is widened, or narrowed, by one length for all galaxies.

    Parameters
    ----------
    calibration_draws, calibration_target : (n_draws, m) and (m,) of galaxies which the posterior was not fitted to.
    draws : (n_draws, n) of test galaxies.
    level : as `conformal_interval`.

    Raises
    ------
    ValueError
        As `conformal_interval`.
    """
    true, known = check_draws(calibration_target, calibration_draws)
    new = np.asarray(draws)
    if true.ndim != 1 or new.ndim != 2 or not np.isfinite(new).all():
        raise ValueError(f"target {true.shape} and draws {new.shape}: (m,) and finite (n_draws, n) are needed")
    ends = ((1 - level) / 2, (1 + level) / 2) if 0 < level < 1 else (0.0, 1.0)
    low, high = np.quantile(known, ends, axis=0)
    more = _conformal_quantile(np.maximum(low - true, true - high), level)
    low, high = np.quantile(new, ends, axis=0)
    middle = 0.5 * (low + high)  # narrowed by more than all of its width an interval is its middle
    return np.minimum(low - more, middle), np.maximum(high + more, middle)


def conformal_by_pit(calibration_pit: ArrayLike, draws: ArrayLike, level: float = 0.68) -> tuple[Floats, Floats]:
    """Interval (low, high), each (n,) or (n, t), between two draws, where only the PIT of the calibration was kept.

    Conformal prediction with the distance of a truth's PIT from 1/2: the interval ends at the same ranks for all
    galaxies, so that it is wide where the posterior is. It holds the truth with at least the stated probability for any
    number of draws; where a rank lies beyond the outermost draw, that end is infinite.

    Parameters
    ----------
    calibration_pit : (m,) or (m, t) in [0, 1], randomised as `posteriors.scores.density.pit_values` does.
    draws : (n_draws, n) or (n_draws, n, t) of test galaxies, as many as the PIT was made with.
    level : as `conformal_interval`.

    Raises
    ------
    ValueError
        For shapes that do not fit, values outside [0, 1] or not finite, and a calibration sample too small for the
        level.
    """
    pit, new = _check_pit(calibration_pit, draws)
    reach = np.array([_conformal_quantile(column, level) for column in np.abs(pit.reshape(len(pit), -1) - 0.5).T])
    ordered = np.sort(new, axis=0).reshape(len(new), new.shape[1], -1)
    last, endless = len(new) + 1, np.full((1, *ordered.shape[1:]), np.inf)
    ordered = np.concatenate([-endless, ordered, endless])  # the k-th smallest stands at k
    # a truth with c draws below it has its PIT in [c, c + 1] / (n_draws + 1)
    first = np.clip(np.ceil((0.5 - reach) * last - 1e-9).astype(np.int64) - 1, 0, last)
    final = np.clip(np.floor((0.5 + reach) * last + 1e-9).astype(np.int64) + 1, 0, last)
    columns = np.arange(ordered.shape[2])
    low, high = (ordered[rank, :, columns].T.reshape(new.shape[1:]) for rank in (first, final))
    return low, high


def coverage_range(m: int, level: float, share: float = 0.95) -> tuple[float, float]:
    """Range of the true coverage of intervals from one calibration sample of m galaxies, at the given share.

    The level holds on average over calibration samples; that of one of them is Beta distributed.

    References
    ----------
    Vovk 2012, arXiv:1209.2673, proposition 2a.
    """
    from scipy.stats import beta  # a second to import

    rank = _rank(m, level)
    low, high = (float(beta.ppf(end, rank, m + 1 - rank)) for end in ((1 - share) / 2, (1 + share) / 2))
    return low, high


def recalibrate_draws(
    calibration_draws: ArrayLike, calibration_target: ArrayLike, draws: ArrayLike, seed: int = 0
) -> Floats:
    """Draws whose PIT is uniform on the calibration sample, each target by itself.

    The draw of rank q among the draws of its galaxy is replaced by the quantile of them at the q-th quantile of the
    calibration PIT. Ranks are kept, and with them the dependence between targets; nothing lies beyond the outermost
    draw, so that a posterior whose truths lie outside of all draws cannot be mended.

    Parameters
    ----------
    calibration_draws, calibration_target : (n_draws, m, t) and (m, t), or (n_draws, m) and (m,).
    draws : (n_draws', n, t) or (n_draws', n).
    seed : of the randomisation of PIT values.

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, fewer than 10 calibration galaxies.
    """
    true, known = check_draws(calibration_target, calibration_draws)
    new = np.asarray(draws)
    if new.ndim != known.ndim or new.shape[2:] != known.shape[2:]:
        raise ValueError(f"draws {new.shape} and calibration draws {known.shape}: the same targets are needed")
    return recalibrate_by_pit(pit_values(true, known, seed=seed), new)


def recalibrate_by_pit(calibration_pit: ArrayLike, draws: ArrayLike) -> Floats:
    """What `recalibrate_draws` does, where only the PIT of the calibration galaxies was kept.

    Parameters
    ----------
    calibration_pit : (m, t) or (m,) in [0, 1].
    draws : (n_draws, n, t) or (n_draws, n).

    Raises
    ------
    ValueError
        As `recalibrate_draws`, and for values outside [0, 1].
    """
    pit, new = _check_pit(calibration_pit, draws)
    pit = pit.reshape(len(pit), -1)
    flat = new.reshape(len(new), new.shape[1], -1)
    nominal = (np.arange(len(new)) + 0.5) / len(new)
    result = np.empty_like(flat)
    for column in range(flat.shape[2]):
        level = np.quantile(pit[:, column], nominal) * len(new) - 0.5  # as a place among the sorted draws
        place = np.clip(level, 0, len(new) - 1)
        below, part = np.floor(place).astype(np.int64), (place % 1)[:, None]
        order = np.argsort(flat[:, :, column], axis=0, kind="stable")
        ordered = np.take_along_axis(flat[:, :, column], order, 0)
        mended = (1 - part) * ordered[below] + part * ordered[np.minimum(below + 1, len(new) - 1)]
        np.put_along_axis(result[:, :, column], order, mended, 0)
    return result.reshape(new.shape)


def _check_pit(calibration_pit: ArrayLike, draws: ArrayLike) -> tuple[Floats, Floats]:
    pit, new = np.asarray(calibration_pit, dtype=np.float64), np.asarray(draws, dtype=np.float64)
    if new.ndim not in (2, 3) or pit.shape[1:] != new.shape[2:] or not np.isfinite(new).all():
        raise ValueError(f"draws {new.shape} and calibration pit {pit.shape}: the same targets are needed, finite")
    if len(pit) < _LEAST_CALIBRATION or not ((pit >= 0) & (pit <= 1)).all():
        raise ValueError(
            f"{len(pit)} calibration galaxies: at least {_LEAST_CALIBRATION}, with PIT in [0, 1], are needed"
        )
    return pit, new


def _rank(m: int, level: float) -> int:
    if not 0 < level < 1:
        raise ValueError(f"level = {level}: a number between 0 and 1 is needed, e.g. 0.68")
    rank = math.ceil((m + 1) * level - 1e-9)
    if rank > m:
        least = math.ceil(level / (1 - level) - 1e-9)
        raise ValueError(f"{m} calibration galaxies: intervals at level {level} need at least {least}")
    return rank


def _conformal_quantile(values: Floats, level: float) -> float:
    """The ceil((m + 1) level)-th smallest value."""
    rank = _rank(len(values), level)
    return float(np.partition(values, rank - 1)[rank - 1])


def _column(values: ArrayLike, name: str) -> Floats:
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1 or not np.isfinite(column).all():
        raise ValueError(f"{name} of shape {column.shape}: finite (n,) is needed")
    return column

"""Scores of point predictions: each is f(y_true, y_pred) -> float over galaxies.

The redshift scores use dz = (z_pred - z) / (1 + z), the scatter in log(1 + z) that does not grow with redshift by
itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["bias", "outlier_fraction", "paired_columns", "r2", "redshift_residual", "rmse", "sigma_nmad"]

NMAD_FACTOR = 1.4826  # 1 / Phi^-1(3/4): makes the median absolute deviation of a Gaussian its standard deviation
OUTLIER_LIMIT = 0.15


def r2(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Coefficient of determination, 1 - sum (y - p)^2 / sum (y - mean y)^2.

    1 is perfect, 0 is as good as the mean of these galaxies, negative is worse than it.

    Parameters
    ----------
    y_true, y_pred : (n,) in the same unit.

    Raises
    ------
    ValueError
        For shapes that differ, values that are not finite, fewer than two galaxies, or a constant y_true.
    """
    true, predicted = paired_columns(y_true, y_pred)
    total = np.square(true - true.mean()).sum()
    if total == 0:
        raise ValueError(f"r2: y_true has the one value {true[0]:g}: there is no variance to explain")
    return float(1 - np.square(true - predicted).sum() / total)


def rmse(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Root mean squared error, in the target's unit; 0 is perfect. Arguments and errors as `r2`."""
    true, predicted = paired_columns(y_true, y_pred)
    return float(np.sqrt(np.square(true - predicted).mean()))


def sigma_nmad(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Normalised median absolute deviation of redshifts, 1.4826 median |dz - median dz|.

    Equals the standard deviation of a Gaussian dz and does not see outliers; .01-.05 is usual for photometric
    redshifts, 0 perfect.

    Parameters
    ----------
    y_true, y_pred : (n,) redshifts.

    Notes
    -----
    The median dz is subtracted, so that a bias does not count as scatter (Hoaglin, Mosteller & Tukey 1983; Brammer,
    van Dokkum & Coppi 2008, doi:10.1086/591786, eq. 5).

    Raises
    ------
    ValueError
        For shapes that differ, values that are not finite, fewer than two galaxies, or y_true <= -1.
    """
    dz = redshift_residual(*paired_columns(y_true, y_pred))
    return float(NMAD_FACTOR * np.median(np.abs(dz - np.median(dz))))


def bias(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Median dz of redshifts; 0 is good, positive when redshifts are predicted too high.

    The median is what Lizarraga et al. 2025 (arXiv:2510.22527) print; others use the mean. Arguments and errors as
    `sigma_nmad`.
    """
    return float(np.median(redshift_residual(*paired_columns(y_true, y_pred))))


def outlier_fraction(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Share of galaxies with |dz| > 0.15, the limit of Ilbert et al. 2006 (doi:10.1051/0004-6361:20065138).

    Arguments and errors as `sigma_nmad`.
    """
    return float(np.mean(np.abs(redshift_residual(*paired_columns(y_true, y_pred))) > OUTLIER_LIMIT))


def redshift_residual(z_true: NDArray[np.float64], z_pred: NDArray[np.float64]) -> NDArray[np.float64]:
    """dz = (z_pred - z) / (1 + z), (n,).

    Raises
    ------
    ValueError
        If some true redshift is -1 or less.
    """
    if (z_true <= -1).any():
        raise ValueError(f"true redshift {z_true.min():g}: redshifts above -1 are needed; is this column a redshift?")
    return (z_pred - z_true) / (1 + z_true)


def paired_columns(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as float64 (n,) after the checks that every point score shares."""
    true, predicted = np.asarray(y_true, dtype=np.float64), np.asarray(y_pred, dtype=np.float64)
    if true.ndim != 1 or true.shape != predicted.shape:
        raise ValueError(f"y_true has shape {true.shape} and y_pred {predicted.shape}: both must be (n,)")
    if len(true) < 2:
        raise ValueError(f"{len(true)} galaxies: a score needs at least 2")
    for name, values in (("y_true", true), ("y_pred", predicted)):
        n_bad = int((~np.isfinite(values)).sum())
        if n_bad:
            raise ValueError(f"{name} has {n_bad} values that are NaN or infinite: leave those galaxies out")
    return true, predicted

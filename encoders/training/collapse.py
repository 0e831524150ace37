"""Whether an embedding still tells galaxies apart: effective rank, uniformity, alignment, and a verdict."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["alignment", "collapsed", "effective_rank", "spread", "uniformity"]

MIN_SPREAD = 1e-4
"""Below this scatter over size, galaxies differ by little more than float32 rounding (about 1e-6) adds up to."""

MIN_RANK = 1.5
"""Below this effective rank, one direction holds nearly all of the scatter."""

_MAX_ROWS = 4_096  # the pairs of this many rows fit in memory, and the estimates are good to a per cent


def effective_rank(embedding: NDArray) -> float:
    """Number of directions in which galaxies differ, from 1 to min(n - 1, d); 0 where they do not differ at all.

    The exponential of the entropy of the singular values, normalised to sum 1, of the embedding less its mean.

    Parameters
    ----------
    embedding : (n, d) finite, at least two rows.

    Notes
    -----
    RankMe does not subtract the mean; we do, since a common offset, which no probe notices, would otherwise count as
    the strongest direction.

    References
    ----------
    Roy & Vetterli 2007 (EUSIPCO, "The effective rank"); Garrido et al. 2023, arXiv:2210.02885, eq. 1.
    """
    rows = _rows(embedding)
    values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    total = values.sum()
    if total <= 1e-12 * np.linalg.norm(rows):  # rounding of the mean
        return 0.0
    share = values[values > 0] / total
    return float(np.exp(-(share * np.log(share)).sum()))


def uniformity(embedding: NDArray, t: float = 2.0) -> float:
    """Log of the mean Gaussian kernel exp(-t |u - v|^2) over pairs of unit vectors: 0 if all agree, lower is better.

    Points spread evenly over a sphere in many dimensions reach about -2t (-3.9 in 128 dimensions for t = 2).

    Parameters
    ----------
    embedding : (n, d) finite, at least two rows; scaled to unit length here.
    t : sharpness of the kernel.

    References
    ----------
    Wang & Isola 2020, arXiv:2005.10242, eq. 2.
    """
    unit = _unit(_rows(embedding))
    squared = np.clip(2.0 - 2.0 * unit @ unit.T, 0.0, None)
    pairs = squared[np.triu_indices(len(unit), k=1)]
    return float(np.log(np.exp(-t * pairs).mean()))


def alignment(first: NDArray, second: NDArray) -> float:
    """Mean squared distance between unit vectors of two views of the same galaxies: 0 if views agree, 2 by chance.

    Parameters
    ----------
    first, second : (n, d) finite, row i of both from one galaxy.

    References
    ----------
    Wang & Isola 2020, arXiv:2005.10242, eq. 1, with exponent 2.
    """
    if np.shape(first) != np.shape(second):
        raise ValueError(f"views of shapes {np.shape(first)} and {np.shape(second)}: must be the same galaxies")
    a, b = (_unit(np.asarray(view, dtype=np.float64)) for view in (first, second))
    return float(((a - b) ** 2).sum(axis=1).mean())


def spread(embedding: NDArray) -> float:
    """Scatter about the mean over root-mean-square length, from 0 (all galaxies agree) to 1 (the mean is zero)."""
    rows = _rows(embedding)
    size = float(np.sqrt((rows**2).sum(axis=1).mean()))
    return float(np.sqrt(((rows - rows.mean(axis=0)) ** 2).sum(axis=1).mean())) / size if size else 0.0


def collapsed(embedding: NDArray) -> str:
    """Why an embedding has collapsed; empty where it has not.

    Two ways are told: every galaxy has nearly the same embedding (`spread` below `MIN_SPREAD`), or the embedding has
    several columns of which one direction holds nearly all of the scatter (`effective_rank` below `MIN_RANK`).

    Parameters
    ----------
    embedding : (n, d) finite, at least two rows.
    """
    scatter, rank = spread(embedding), effective_rank(embedding)
    if scatter < MIN_SPREAD:
        return f"all galaxies have nearly the same embedding: scatter {scatter:.1e} of its size"
    if np.shape(embedding)[1] > 2 and rank < MIN_RANK:
        return f"one direction holds nearly all of the embedding: effective rank {rank:.2f} of {np.shape(embedding)[1]}"
    return ""


def _rows(embedding: NDArray) -> NDArray[np.float64]:
    """The embedding in float64; beyond `_MAX_ROWS` rows, as many of them spaced evenly."""
    shape = np.shape(embedding)
    if len(shape) != 2 or shape[0] < 2 or shape[1] < 1:
        raise ValueError(f"embedding of shape {shape}: must be (n, d) with at least two galaxies")
    if shape[0] > _MAX_ROWS:
        embedding = np.asarray(embedding)[np.linspace(0, shape[0] - 1, _MAX_ROWS).astype(np.int64)]
    return np.asarray(embedding, dtype=np.float64)


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)

"""Which galaxy is trained on: splits by a fixed hash of the galaxy's id, whatever the order of the file."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["hash_split", "hash_unit", "split_digest", "validation_from_train"]

TRAIN_SHARE = 0.7
VALIDATION_SHARE = 0.1
VALIDATION_SHARE_OF_TRAIN = 0.125  # a source with 80 % train and 20 % test becomes 70/10/20


def hash_unit(target_id: ArrayLike) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each id that depends on the id alone.

    Parameters
    ----------
    target_id : (n,) integers.

    Returns
    -------
    (n,) uniform over ids, 53 bits.

    References
    ----------
    Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195: the finaliser of SplitMix64.
    """
    ids = np.asarray(target_id)
    if ids.dtype.kind not in "iu" and ids.size:
        raise TypeError(f"target_id has dtype {ids.dtype}: must be integers")
    x = np.atleast_1d(ids).astype(np.int64).view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53


def hash_split(target_id: ArrayLike) -> NDArray[np.str_]:
    """Return the split of each galaxy: 70 % train, 10 % validation, 20 % test, by a hash of the id.

    Parameters
    ----------
    target_id : (n,) integers.

    Returns
    -------
    (n,) of ``train``, ``validation`` or ``test``; the same for an id in any order and any survey.
    """
    u = hash_unit(target_id)
    return np.where(u < TRAIN_SHARE, "train", np.where(u < TRAIN_SHARE + VALIDATION_SHARE, "validation", "test"))


def validation_from_train(target_id: ArrayLike, split: ArrayLike) -> NDArray[np.str_]:
    """Return the splits with 12.5 % of the training galaxies moved to validation, by a hash of the id.

    For sources that bring only train and test, so that nothing is ever selected on test.

    Parameters
    ----------
    target_id : (n,) integers.
    split : (n,) of split names.
    """
    names = np.asarray(split, dtype="U10")
    moved = (names == "train") & (hash_unit(target_id) < VALIDATION_SHARE_OF_TRAIN)
    return np.where(moved, "validation", names)


def split_digest(target_id: ArrayLike, split: ArrayLike) -> str:
    """Return the sha256 of ids with their splits, whatever the order of the rows."""
    ids = np.asarray(target_id, dtype="<i8")
    order = np.argsort(ids, kind="stable")
    digest = hashlib.sha256(ids[order].tobytes())
    digest.update("\n".join(np.asarray(split, dtype="U10")[order].tolist()).encode())
    return digest.hexdigest()

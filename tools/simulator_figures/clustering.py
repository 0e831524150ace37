"""Two-point correlation functions of galaxies in separate fields, with errors from leaving fields out.

Pairs are counted within fields only, in separations across (r_p) and along (pi) the line of sight or in space (s), and
turned into correlations by the estimator of Landy & Szalay 1993 (ApJ 412, 64, eq. 48).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from scipy.spatial import cKDTree

__all__ = ["FieldCounts", "count_pairs", "jackknife", "landy_szalay", "power_law_wp", "projected"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FieldCounts:
    """Numbers of pairs by field and bin, (n_fields, ...) each, and of points, (n_fields,)."""

    dd: Array
    dr: Array
    rr: Array
    n_data: Array
    n_random: Array


def count_pairs(
    data: Array,
    data_field: NDArray,
    random: Array,
    random_field: NDArray,
    r_edges: Array,
    pi_edges: Array | None = None,
) -> FieldCounts:
    """Count pairs of data, of data with random points, and of random points.

    Parameters
    ----------
    data, random : (n, 3) and (m, 3) positions in Mpc, the observer at the origin.
    data_field, random_field : (n,), (m,) which field a point lies in; pairs of different fields are not counted.
    r_edges : (k + 1,) ascending, Mpc: of r_p where ``pi_edges`` is given, else of the separation in space.
    pi_edges : (l + 1,) ascending from 0, Mpc.

    Returns
    -------
    Counts (n_fields, k, l), or (n_fields, k) without ``pi_edges``; each pair counts once.
    """
    fields = np.unique(data_field)
    counts: dict[str, list[NDArray]] = {"dd": [], "dr": [], "rr": []}
    for field in fields:
        d, r = data[data_field == field], random[random_field == field]
        counts["dd"].append(_histogram(d, d, r_edges, pi_edges) / 2)
        counts["dr"].append(_histogram(d, r, r_edges, pi_edges))
        counts["rr"].append(_histogram(r, r, r_edges, pi_edges) / 2)
    n_data, n_random = ([float(np.sum(names == f)) for f in fields] for names in (data_field, random_field))
    return FieldCounts(
        **{name: np.array(rows, dtype=np.float64) for name, rows in counts.items()},
        n_data=np.array(n_data),
        n_random=np.array(n_random),
    )


def _histogram(a: Array, b: Array, r_edges: Array, pi_edges: Array | None) -> Array:
    """Ordered pairs of two sets of points by separation; a point is no pair with itself."""
    reach = r_edges[-1] if pi_edges is None else float(np.hypot(r_edges[-1], pi_edges[-1]))
    pairs = cKDTree(a).sparse_distance_matrix(cKDTree(b), reach, output_type="ndarray")
    if a is b:
        pairs = pairs[pairs["i"] != pairs["j"]]
    if pi_edges is None:
        return np.histogram(pairs["v"], r_edges)[0].astype(np.float64)
    first, second = a[pairs["i"]], b[pairs["j"]]
    sight = first + second
    along = np.abs(np.einsum("ij,ij->i", first - second, sight)) / np.linalg.norm(sight, axis=1)
    across = np.sqrt(np.maximum(pairs["v"] ** 2 - along**2, 0))
    return np.histogram2d(across, along, (r_edges, pi_edges))[0]


def landy_szalay(counts: FieldCounts, leave_out: int | None = None) -> Array:
    """(DD - 2 DR + RR) / RR by bin, each count by its number of possible pairs; NaN where RR is 0.

    Parameters
    ----------
    counts : what `count_pairs` returned.
    leave_out : the number of a field that is not used.
    """
    kept = np.arange(len(counts.n_data)) != (-1 if leave_out is None else leave_out)
    n_data, n_random = counts.n_data[kept].sum(), counts.n_random[kept].sum()
    dd = counts.dd[kept].sum(axis=0) / (n_data * (n_data - 1) / 2)
    dr = counts.dr[kept].sum(axis=0) / (n_data * n_random)
    rr = counts.rr[kept].sum(axis=0) / (n_random * (n_random - 1) / 2)
    rr = np.where(rr > 0, rr, np.nan)
    return (dd - 2 * dr + rr) / rr


def projected(counts: FieldCounts, pi_edges: Array, leave_out: int | None = None) -> Array:
    """(k,) w_p = 2 integral of xi(r_p, pi) d pi from 0 to the last edge, Mpc (Davis & Peebles 1983, ApJ 267, 465)."""
    return 2 * np.sum(landy_szalay(counts, leave_out) * np.diff(pi_edges), axis=-1)


def jackknife(values: Array) -> Array:
    """Standard errors (k,) from values (n_fields, k) that each leave one field out."""
    n = len(values)
    return np.sqrt((n - 1) / n * np.sum((values - values.mean(axis=0)) ** 2, axis=0))


def power_law_wp(r_p: Array, r_0: float, gamma: float, pi_max: float) -> Array:
    """(k,) w_p in Mpc of xi = (r / r_0)^-gamma, integrated along the line of sight to ``pi_max`` on either side."""
    pi = np.concatenate([[0.0], np.geomspace(1e-3, pi_max, 2000)])
    separation = np.hypot(np.asarray(r_p)[:, None], pi)
    return 2 * trapezoid((separation / r_0) ** -gamma, pi, axis=1)

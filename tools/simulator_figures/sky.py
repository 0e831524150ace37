"""Figure of where galaxies are: their two-point correlations beside those of real ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmark.simulator.cosmology import H0, comoving_distance_mpc
from benchmark.simulator.sky import ROSETTE_RADIUS_DEG, ROSETTES

from .clustering import count_pairs, jackknife, landy_szalay, power_law_wp, projected
from .style import BLUE, VERMILLION

__all__ = ["Clustering", "clustering", "correlations", "random_positions"]

R_0, GAMMA = 5.59 / (H0 / 100), 1.84  # Mpc; flux-limited SDSS galaxies (Zehavi et al. 2005, ApJ 630, 1)
PI_MAX = 60.0  # Mpc
RANDOMS = 5  # a galaxy


@dataclass(frozen=True, eq=False)
class Clustering:
    """``w_p`` at ``r_p`` and ``xi`` at ``s`` (Mpc, redshift space), with standard errors from leaving rosettes out."""

    r_p: NDArray
    w_p: NDArray
    w_p_error: NDArray
    s: NDArray
    xi: NDArray
    xi_error: NDArray


def correlations(frame: pd.DataFrame, seed: int = 0) -> Clustering:
    """Correlation functions of galaxies with ``ra, dec, z`` in the survey's rosettes."""
    ra, dec, distance = (frame[name].to_numpy(np.float64) for name in ("ra", "dec", "z"))
    distance = comoving_distance_mpc(distance)
    centres = _unit(*ROSETTES.T)
    field = np.argmax(_unit(ra, dec) @ centres.T, axis=1)
    rng = np.random.default_rng(seed)
    random_field = np.repeat(field, RANDOMS)
    random = random_positions(random_field, rng) * rng.choice(distance, len(random_field))[:, None]
    data = _unit(ra, dec) * distance[:, None]
    r_edges, s_edges = np.geomspace(0.2, 30, 9), np.geomspace(0.3, 45, 10)
    pi_edges = np.linspace(0, PI_MAX, 13)
    wide = count_pairs(data, field, random, random_field, r_edges, pi_edges)
    deep = count_pairs(data, field, random, random_field, s_edges)
    fields = range(len(wide.n_data))
    return Clustering(
        r_p=np.sqrt(r_edges[1:] * r_edges[:-1]),
        w_p=projected(wide, pi_edges),
        w_p_error=jackknife(np.array([projected(wide, pi_edges, k) for k in fields])),
        s=np.sqrt(s_edges[1:] * s_edges[:-1]),
        xi=landy_szalay(deep),
        xi_error=jackknife(np.array([landy_szalay(deep, k) for k in fields])),
    )


def random_positions(field: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.float64]:
    """Unit vectors (n, 3) even over the caps of the rosettes with numbers ``field`` (n,)."""
    centre = _unit(*ROSETTES[field].T)
    cos = 1 - rng.random(len(field)) * (1 - np.cos(np.radians(ROSETTE_RADIUS_DEG)))
    angle = 2 * np.pi * rng.random(len(field))
    east = np.cross([0.0, 0.0, 1.0], centre)
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    north = np.cross(centre, east)
    across = np.cos(angle)[:, None] * north + np.sin(angle)[:, None] * east
    return cos[:, None] * centre + np.sqrt(1 - cos**2)[:, None] * across


def _unit(ra: NDArray, dec: NDArray) -> NDArray[np.float64]:
    """Unit vectors (n, 3) of right ascension and declination in degrees."""
    a, d = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)


def clustering(found: Clustering) -> Figure:
    """Projected and redshift-space correlation function beside the power law of SDSS galaxies."""
    figure = Figure(figsize=(6.8, 3.1), layout="constrained")
    across, space = figure.subplots(1, 2)
    across.errorbar(found.r_p, found.w_p, found.w_p_error, fmt="o", color=BLUE, markersize=4, label="simulated")
    across.plot(
        found.r_p, power_law_wp(found.r_p, R_0, GAMMA, PI_MAX), color=VERMILLION, label="SDSS (Zehavi et al. 2005)"
    )
    across.set(xscale="log", yscale="log", xlabel="r_p, Mpc", ylabel="w_p, Mpc", ylim=(5, None))
    space.errorbar(found.s, found.xi, found.xi_error, fmt="o", color=BLUE, markersize=4, label="simulated")
    space.plot(found.s, (found.s / R_0) ** -GAMMA, color=VERMILLION, label="SDSS, in real space")
    space.set(xscale="log", yscale="log", xlabel="s, Mpc", ylabel="xi(s)", ylim=(1e-3, None))
    for axes in (across, space):
        axes.legend()
    return figure

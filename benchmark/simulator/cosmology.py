"""Distances and ages of a flat Lambda-CDM universe.

H0 = 67.74 km/s/Mpc and Omega_m = .3089 (Planck Collaboration 2016, A&A 594, A13, table 4, last column), matter and
Lambda only; PROVABGS uses Planck 2013, which differs by less than 1 % in distance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "H0",
    "OMEGA_M",
    "Z_LIMIT",
    "age_gyr",
    "comoving_distance_mpc",
    "distance_modulus",
    "luminosity_distance_mpc",
]

Array = NDArray[np.float64]

H0 = 67.74  # km/s/Mpc
OMEGA_M = 0.3089
Z_LIMIT = 2.0  # the distances are tabulated up to here

_C_KM_S = 299792.458
_HUBBLE_GYR = 977.792221 / H0
_Z_NODES = np.linspace(0.0, Z_LIMIT, 6001)
_INVERSE_E = 1.0 / np.sqrt(OMEGA_M * (1 + _Z_NODES) ** 3 + 1 - OMEGA_M)
_DISTANCE_NODES = np.concatenate([[0.0], np.cumsum(0.5 * (_INVERSE_E[1:] + _INVERSE_E[:-1]) * np.diff(_Z_NODES))]) * (
    _C_KM_S / H0
)


def comoving_distance_mpc(z: Array) -> Array:
    """Line-of-sight comoving distance in Mpc, for 0 <= z <= `Z_LIMIT` (trapezoid on 6001 nodes, good to 1e-7)."""
    return np.interp(z, _Z_NODES, _DISTANCE_NODES)


def luminosity_distance_mpc(z: Array) -> Array:
    """Luminosity distance in Mpc: (1 + z) times the comoving one, as space is flat."""
    return (1 + z) * comoving_distance_mpc(z)


def distance_modulus(z: Array) -> Array:
    """5 log10(d_L / 10 pc), for z > 0."""
    return 5 * np.log10(luminosity_distance_mpc(z)) + 25


def age_gyr(z: Array) -> Array:
    """Age of the universe at z, in Gyr: t = 2 / (3 H0 sqrt(OL)) asinh(sqrt(OL / Om) (1 + z)^-1.5)."""
    lam = 1 - OMEGA_M
    return _HUBBLE_GYR * 2 / (3 * np.sqrt(lam)) * np.arcsinh(np.sqrt(lam / OMEGA_M) * (1 + z) ** -1.5)

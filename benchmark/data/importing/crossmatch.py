"""Galaxies of two tables matched by their position on the sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord, search_around_sky
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError

__all__ = ["SkyMatch", "match_positions"]


@dataclass(frozen=True)
class SkyMatch:
    """Which row of another table is which galaxy.

    Attributes
    ----------
    row : (n,) row of the other table for each galaxy, -1 without one; no row serves two galaxies.
    separation_arcsec : (n,) of the match, NaN without one.
    ambiguous : galaxies (indices) with more than one row within the radius; the nearest was taken.
    repeated : rows of the other table with more than one galaxy within the radius; the nearest galaxy has it.
    """

    row: NDArray[np.int64]
    separation_arcsec: NDArray[np.float64]
    ambiguous: NDArray[np.int64]
    repeated: NDArray[np.int64]


def match_positions(
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    other_ra: NDArray[np.float64],
    other_dec: NDArray[np.float64],
    radius_arcsec: float,
) -> SkyMatch:
    """Match galaxies to the rows of another table, the nearest pairs first, each galaxy and each row once.

    Parameters
    ----------
    ra, dec : (n,) degrees; NaN matches nothing.
    other_ra, other_dec : (m,) degrees.
    radius_arcsec : largest separation.

    Raises
    ------
    GalaxybenchError
        If the radius is not positive, or a declination is beyond a pole.
    """
    if not 0 < radius_arcsec <= 3600:
        raise GalaxybenchError(f"radius_arcsec = {radius_arcsec}: must be above 0 and at most 3600")
    known, other = np.isfinite(ra) & np.isfinite(dec), np.isfinite(other_ra) & np.isfinite(other_dec)
    for values in (dec[known], other_dec[other]):
        if (np.abs(values) > 90).any():
            raise GalaxybenchError(f"dec = {values[np.abs(values) > 90][0]:g}: must lie within -90 and 90 degrees")
    row, separation = np.full(len(ra), -1, dtype=np.int64), np.full(len(ra), np.nan)
    none = np.zeros(0, dtype=np.int64)
    if not known.any() or not other.any():
        return SkyMatch(row, separation, none, none)
    left = SkyCoord(ra[known] * units.deg, dec[known] * units.deg)
    right = SkyCoord(other_ra[other] * units.deg, other_dec[other] * units.deg)
    i, j, angle, _ = search_around_sky(left, right, radius_arcsec * units.arcsec)
    galaxy, partner = np.flatnonzero(known)[i], np.flatnonzero(other)[j]
    arcsec = angle.to_value(units.arcsec)
    taken = np.zeros(len(other_ra), dtype=bool)
    for pair in np.lexsort((partner, galaxy, arcsec)):  # ties by order, so that a match never depends on the machine
        if row[galaxy[pair]] < 0 and not taken[partner[pair]]:
            row[galaxy[pair]], separation[galaxy[pair]] = partner[pair], arcsec[pair]
            taken[partner[pair]] = True
    return SkyMatch(row, separation, _repeated(galaxy), _repeated(partner))


def _repeated(values: NDArray[np.int64]) -> NDArray[np.int64]:
    found, counts = np.unique(values, return_counts=True)
    return found[counts > 1]

"""Magnitudes and fluxes of an import as AB magnitudes with errors, corrected for the Galaxy's dust where asked."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError
from benchmark.data.importing.spec import SourceSpec

__all__ = ["ZERO_POINTS", "convert_photometry"]

# AB magnitude of one unit of flux: 3631 Jy is magnitude 0 (Oke and Gunn 1983, ApJ 266, 713)
ZERO_POINTS = {"nanomaggy": 22.5, "microjansky": 23.9, "millijansky": 16.4}
MAGNITUDES_FROM = 20  # values from which on a column can be told to be magnitudes


def convert_photometry(source: SourceSpec, table: pd.DataFrame, notes: list[str], label: str) -> None:
    """Turn a source's photometry into AB magnitudes in place.

    Parameters
    ----------
    source : names the bands, unit, errors or inverse variances, and transmissions.
    table : ``mag_<band>`` and ``mag_err_<band>`` as the file holds them, ``transmission <band>``; the last is dropped.
    notes : what became of values is added.
    label : file, for messages.

    Raises
    ------
    GalaxybenchError
        If fluxes are declared but the values are distributed like magnitudes, or a transmission is not in (0, 1].
    """
    for band, column in source.photometry.items():
        values = table[f"mag_{band}"].to_numpy(dtype=np.float64)
        error = table[f"mag_err_{band}"].to_numpy(dtype=np.float64) if f"mag_err_{band}" in table else None
        if band in source.photometry_ivar and error is not None:
            error = 1 / np.sqrt(np.where(error > 0, error, np.nan))
        if source.photometry_unit != "mag_ab":
            _refuse_magnitudes(values, f"{label}: column {column!r}", source.photometry_unit)
            dark = values <= 0
            if dark.any():
                notes.append(f"{band}: {int(dark.sum())} fluxes of zero or less have no magnitude: missing")
            flux = np.where(dark, np.nan, values)
            values = ZERO_POINTS[source.photometry_unit] - 2.5 * np.log10(flux)
            error = 2.5 / np.log(10) * error / flux if error is not None else None
        if band in source.photometry_transmission:
            values = values + 2.5 * np.log10(_transmission(source, table, band, label))
            del table[f"transmission {band}"]
        table[f"mag_{band}"] = values
        if error is not None:
            table[f"mag_err_{band}"] = error


def _transmission(source: SourceSpec, table: pd.DataFrame, band: str, label: str) -> NDArray[np.float64]:
    share = table[f"transmission {band}"].to_numpy(dtype=np.float64)
    wrong = (share <= 0) | (share > 1)
    if wrong.any():
        column = source.photometry_transmission[band]
        raise GalaxybenchError(
            f"{label}: column {column!r} holds {share[wrong][0]:g} in row {int(np.flatnonzero(wrong)[0])}: "
            "a transmission lies above 0 and is at most 1"
        )
    return share


def _refuse_magnitudes(values: NDArray[np.float64], where: str, unit: str) -> None:
    """Fluxes of a survey span decades; magnitudes lie about 20 within a factor of two."""
    known = values[np.isfinite(values)]
    if len(known) < MAGNITUDES_FROM:
        return
    low, median, high = np.quantile(known, [0.01, 0.5, 0.99])
    if low > 8 and 12 < median < 32 and high < 2.5 * low:
        raise GalaxybenchError(
            f"{where} looks like magnitudes (median {median:.4g}, 98 % within {low:.4g} to {high:.4g}) but "
            f"photometry_unit is {unit!r}: set photometry_unit = 'mag_ab'"
        )

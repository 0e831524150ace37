"""A posterior mended by the validation galaxies, which it was not fitted to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.artefacts import Posterior
from benchmark.tasks.calibration import calibration_details
from posteriors.calibration.conformal import recalibrate_by_pit

__all__ = ["recalibrated_details", "recalibrated_draws"]

_LEAST_VALIDATION = 50  # galaxies
_QUARTERS = 4  # of the magnitudes, in which a large sample is recalibrated
_LEAST_IN_QUARTER = 500  # the coverage of 68 % is then known to .021
_SHOWN = ("coverage_curve", "rank_ecdf_p", "conditional")


def recalibrated_draws(evidence: Posterior) -> NDArray[np.float32] | None:
    """Draws (n_draws, n, t) whose PIT is uniform on the validation galaxies; None where that is unknown or of too few.

    A posterior that is too narrow for the faint and too wide for the bright looks right as a whole, so that galaxies of
    each quarter of the validation magnitudes are recalibrated by that quarter, where it has 500 of them.
    """
    pit, known, new = evidence.validation_pit, evidence.validation_magnitude, evidence.magnitude
    if pit is None or len(pit) < _LEAST_VALIDATION:
        return None
    if known is None or new is None or np.isfinite(known).sum() < _QUARTERS * _LEAST_IN_QUARTER:
        return recalibrate_by_pit(pit, evidence.draws).astype(np.float32)
    edges = np.quantile(known[np.isfinite(known)], np.arange(1, _QUARTERS) / _QUARTERS)
    quarter_of_known, quarter = (np.where(np.isfinite(m), np.searchsorted(edges, m), -1) for m in (known, new))
    mended = np.empty(evidence.draws.shape, dtype=np.float32)
    for number in np.unique(quarter):
        galaxies = np.flatnonzero(quarter == number)
        theirs = pit if number < 0 else pit[quarter_of_known == number]  # without a magnitude: all of them
        mended[:, galaxies] = recalibrate_by_pit(theirs, evidence.draws[:, galaxies])
    return mended


def recalibrated_details(evidence: Posterior, mended: NDArray[np.float32], seed: int) -> dict[str, Any]:
    """`calibration_details` of the mended draws, and ``n_calibration``, the validation galaxies behind them."""
    details = calibration_details(replace(evidence, draws=mended), seed)
    n = 0 if evidence.validation_pit is None else len(evidence.validation_pit)
    return {"n_calibration": n} | {name: details[name] for name in _SHOWN if name in details}

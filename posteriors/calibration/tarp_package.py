"""The established implementation of TARP, the package ``tarp``, called so that it harms nothing: for parity.

Version 0.1.1 writes into its arguments when it resamples, resets and moves numpy's global generator, lets the band
collapse when a seed is given, and by default draws references in the unit cube whatever the units. Here it gets copies
in units of the box of the truths and references that are given, and does not resample; the state of the generator is
put back. Its coverage equals ours on the same references (`posteriors.calibration.tarp.expected_coverage`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posteriors.scores.density import check_draws

__all__ = ["tarp_package_coverage"]

Floats = NDArray[np.float64]


def tarp_package_coverage(
    draws: ArrayLike, target: ArrayLike, references: ArrayLike, n_levels: int = 101
) -> tuple[Floats, Floats]:
    """Credibility and expected coverage (n_levels,) by the package ``tarp``, which has to be installed.

    Parameters
    ----------
    draws : (n_draws, n, t).
    target : (n, t).
    references : (n, t) points in the targets' units.
    n_levels : levels, which the package spreads from the smallest to the largest share f, not from 0 to 1.

    Raises
    ------
    ImportError
        If the package or one of the two that it needs and does not declare (tqdm, deprecation) is missing.
    ValueError
        For shapes that do not fit, values that are not finite, a target of one value, n_levels < 2.

    References
    ----------
    Lemos et al. 2023, arXiv:2302.03026; https://github.com/Ciela-Institute/tarp.
    """
    from tarp import get_tarp_coverage  # optional

    true, drawn = check_draws(target, draws)
    points = np.asarray(references, dtype=np.float64)
    if true.ndim != 2 or points.shape != true.shape:
        raise ValueError(f"target has shape {true.shape} and references {points.shape}: both must be (n, t)")
    if n_levels < 2:
        raise ValueError(f"n_levels = {n_levels}: at least 2 are needed")
    low, high = true.min(0), true.max(0)
    if (low == high).any():
        raise ValueError(f"target column {int(np.argmax(low == high))} has one value: the package's box has no width")
    state = np.random.get_state()  # noqa: NPY002
    try:
        ecp, credibility = get_tarp_coverage(
            (drawn - low) / (high - low),
            (true - low) / (high - low),
            references=(points - low) / (high - low),
            num_alpha_bins=n_levels - 1,
            norm=True,
            bootstrap=False,
        )
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return np.asarray(credibility), np.asarray(ecp)

"""Tests of numbers in [0, 1] against the uniform distribution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["ks_uniform"]


def ks_uniform(values: NDArray[np.float64]) -> tuple[float, float]:
    """Kolmogorov-Smirnov distance of (n,) values from U(0, 1), and its exact p-value.

    References
    ----------
    Simard & L'Ecuyer 2011, doi:10.18637/jss.v039.i11, the exact distribution as scipy has it.
    """
    from scipy.stats import kstwo  # a second to import

    ordered, n = np.sort(values), len(values)
    steps = np.arange(n + 1) / n
    distance = float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))
    return distance, float(kstwo.sf(distance, n))

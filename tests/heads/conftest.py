"""Imports that leave traces: torch's first optimiser imports sympy, scikit-learn's import moves the global generator.

Both happen here, before any test, so that no test is blamed for them.
"""

import sklearn.decomposition
import sklearn.ensemble
import sklearn.neighbors  # noqa: F401
import sympy  # noqa: F401

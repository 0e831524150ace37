"""Models trained from scratch on labels, and the loop that trains them.

Names are imported when they are first used, so that ``import baselines`` loads neither torch nor scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from baselines.constant import Constant
    from baselines.fit import FitConfig, FitHistory, fit_network
    from baselines.gradient_boosting import GradientBoosting
    from baselines.photometry_mlp import PhotometryMLP, PhotometryRegressor

__all__ = [
    "Constant",
    "FitConfig",
    "FitHistory",
    "GradientBoosting",
    "PhotometryMLP",
    "PhotometryRegressor",
    "fit_network",
]

_MODULES = {
    "Constant": "baselines.constant",
    "FitConfig": "baselines.fit",
    "FitHistory": "baselines.fit",
    "GradientBoosting": "baselines.gradient_boosting",
    "PhotometryMLP": "baselines.photometry_mlp",
    "PhotometryRegressor": "baselines.photometry_mlp",
    "fit_network": "baselines.fit",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'baselines' has no attribute '{name}': it has {', '.join(__all__)}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

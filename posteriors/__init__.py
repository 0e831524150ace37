"""Posteriors that can be trusted: flow ensembles, coverage, calibration, intervals and neighbours on plain arrays.

The names below are imported on first use, so that ``import posteriors.bootstrap`` does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posteriors.bootstrap import bootstrap_ci, paired_bootstrap
    from posteriors.config import FlowEnsembleConfig
    from posteriors.ensemble import FlowEnsemble
    from posteriors.tarp import expected_coverage

__all__ = ["FlowEnsemble", "FlowEnsembleConfig", "bootstrap_ci", "expected_coverage", "paired_bootstrap"]

_HOMES = {
    "FlowEnsemble": "posteriors.ensemble",
    "FlowEnsembleConfig": "posteriors.config",
    "bootstrap_ci": "posteriors.bootstrap",
    "expected_coverage": "posteriors.tarp",
    "paired_bootstrap": "posteriors.bootstrap",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'posteriors' has no attribute {name!r}: it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""Posteriors that can be trusted: flow ensembles, coverage, calibration, intervals and neighbours on plain arrays.

The names below are imported on first use, so that ``import posteriors.resampling.bootstrap`` does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posteriors.calibration.tarp import expected_coverage
    from posteriors.flows.config import FlowEnsembleConfig
    from posteriors.flows.ensemble import FlowEnsemble
    from posteriors.resampling.bootstrap import bootstrap_ci, paired_bootstrap

__all__ = ["FlowEnsemble", "FlowEnsembleConfig", "bootstrap_ci", "expected_coverage", "paired_bootstrap"]

_HOMES = {
    "FlowEnsemble": "posteriors.flows.ensemble",
    "FlowEnsembleConfig": "posteriors.flows.config",
    "bootstrap_ci": "posteriors.resampling.bootstrap",
    "expected_coverage": "posteriors.calibration.tarp",
    "paired_bootstrap": "posteriors.resampling.bootstrap",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'posteriors' has no attribute {name!r}: it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

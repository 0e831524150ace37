"""galaxybench: which galaxy foundation model to trust, and how far.

The public names are imported when they are first used, so that ``python -m benchmark list`` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.board import leaderboard
    from benchmark.contracts import ModelCard
    from benchmark.data import load_survey
    from benchmark.evaluation import evaluate
    from benchmark.registry import register_model
    from benchmark.store import load_records

__all__ = ["ModelCard", "evaluate", "leaderboard", "load_records", "load_survey", "register_model"]

_HOMES = {
    "ModelCard": "benchmark.contracts",
    "evaluate": "benchmark.evaluation",
    "leaderboard": "benchmark.board",
    "load_records": "benchmark.store",
    "load_survey": "benchmark.data",
    "register_model": "benchmark.registry",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'benchmark' has no attribute '{name}'; public names: {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)

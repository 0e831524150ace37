"""Survey folders: facts, catalogue, images, splits, checks and import.

Names are loaded when they are first used: planning reads ``survey.toml`` alone and should not wait for pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.data.schema import SPLITS, SurveyInfo
    from benchmark.data.splits import hash_split
    from benchmark.data.survey import Survey, load_survey
    from benchmark.data.views import inputs, rgb_stretch
    from benchmark.data.writing import ImageWriter, write_survey

__all__ = [
    "SPLITS",
    "ImageWriter",
    "Survey",
    "SurveyInfo",
    "hash_split",
    "inputs",
    "load_survey",
    "rgb_stretch",
    "write_survey",
]

_HOME = {
    "SPLITS": "schema",
    "ImageWriter": "writing",
    "Survey": "survey",
    "SurveyInfo": "schema",
    "hash_split": "splits",
    "inputs": "views",
    "load_survey": "survey",
    "rgb_stretch": "views",
    "write_survey": "writing",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)

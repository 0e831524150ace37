"""Survey folders: facts, catalogue, images, spectra, splits, checks and import.

Names are loaded when they are first used: planning reads ``survey.toml`` alone and should not wait for pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.data.importing.importer import ImportReport, import_survey
    from benchmark.data.inspection.checks import check_survey
    from benchmark.data.inspection.description import describe, describe_text
    from benchmark.data.schema import SPLITS, SurveyInfo
    from benchmark.data.splits import hash_split
    from benchmark.data.survey import Survey, load_survey
    from benchmark.data.views import inputs, rgb_stretch
    from benchmark.data.writers import DrawWriter, ImageWriter, SpectrumWriter
    from benchmark.data.writing import write_survey

__all__ = [
    "SPLITS",
    "DrawWriter",
    "ImageWriter",
    "ImportReport",
    "SpectrumWriter",
    "Survey",
    "SurveyInfo",
    "check_survey",
    "describe",
    "describe_text",
    "hash_split",
    "import_survey",
    "inputs",
    "load_survey",
    "rgb_stretch",
    "write_survey",
]

_HOME = {
    "SPLITS": "schema",
    "DrawWriter": "writers",
    "ImageWriter": "writers",
    "ImportReport": "importing.importer",
    "SpectrumWriter": "writers",
    "Survey": "survey",
    "SurveyInfo": "schema",
    "check_survey": "inspection.checks",
    "describe": "inspection.description",
    "describe_text": "inspection.description",
    "hash_split": "splits",
    "import_survey": "importing.importer",
    "inputs": "views",
    "load_survey": "survey",
    "rgb_stretch": "views",
    "write_survey": "writing",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)

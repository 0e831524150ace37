"""The golden scores: what they are computed from, and where they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.board import leaderboard
from benchmark.config import RunConfig
from benchmark.evaluation import evaluate
from benchmark.simulator import build_survey

GOLDEN = Path(__file__).parents[1] / "golden" / "scores.json"
N_GALAXIES = 600
KEY = ("model", "probe", "task", "target", "condition", "metric")


def scored(folder: Path) -> list[dict[str, Any]]:
    """Rows of the board of every model that applies to a small simulated survey, smoke preset, seed 0."""
    build_survey(folder / "survey", n_galaxies=N_GALAXIES, seed=0, modalities=("photometry",))
    evaluate("all", folder / "survey", config=RunConfig(preset="smoke"), out=folder / "run")
    rows = [row for row in leaderboard(folder / "run") if row["error"] is None]
    rows = [row for row in rows if "labels=" not in str(row["condition"])]  # labels drawn anew move nothing
    fields = (*KEY, "task_version", "value", "ci_low", "ci_high", "n", "floor")
    return [{name: row[name] for name in fields} for row in rows]

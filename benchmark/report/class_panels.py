"""Whether probabilities of classes are calibrated: a reliability curve a target and model, and what tests say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.report import calibration_plots
from benchmark.report.contents import Part, Record
from benchmark.report.panels import Panel, svg_picture
from benchmark.report.tables import number

__all__ = ["ClassCalibration", "class_panels"]

_LEVEL = 0.05  # below this p-value the page says that the test rejects


@dataclass(frozen=True)
class ClassCalibration(Panel):
    """One model and target, and the verdict in a sentence."""

    target: str
    verdict: str


def class_panels(part: Part) -> list[ClassCalibration]:
    """A panel for every model and target with classes, as the table orders the models; none for records of before."""
    return [
        _panel(record, target, entry)
        for record in part.of_task("classification")
        for target, entry in record["details"]["targets"].items()
        if entry.get("calibration")
    ]


def _panel(record: Record, target: str, entry: Mapping[str, Any]) -> ClassCalibration:
    found = entry["calibration"]
    scores = {(s["metric"], s["target"]): s for s in record["scores"] if s.get("condition") is None}
    excess = scores["brier_excess", target]
    verdict = _verdict(found["p"], excess, entry["n"])
    model, probe = str(record["model"]["name"]), str(record["probe"])
    points = "; ".join(
        f"{name}: "
        + ", ".join(
            f"{number(claimed)} claimed, {number(observed)} observed (n = {n:,.0f})"
            for claimed, observed, n in zip(curve["claimed"], curve["observed"], curve["n"], strict=True)
        )
        for name, curve in found["curve"].items()
    )
    picture = svg_picture(
        calibration_plots.reliability_plot(f"{model} · {probe}: {target}", found["curve"]),
        f"Observed share against claimed probability of {target}, {model} ({probe}): {points}. {verdict}",
    )
    labels = "" if record["n_labels"] is None else f"{record['n_labels']:,} labels"
    return ClassCalibration(model, probe, labels, (picture,), target, verdict)


def _verdict(p: float, excess: Mapping[str, Any], n: int) -> str:
    shown = f"p = {p:.1g}" if p < 0.01 else f"p = {p:.2f}"
    if p >= _LEVEL:
        return f"No sign of miscalibration ({shown}, n = {n:,})."
    how = "shares are off"
    if excess["ci_low"] is not None and excess["ci_low"] > 0:
        how = "over-confident"
    elif excess["ci_high"] is not None and excess["ci_high"] < 0:
        how = "under-confident"
    return f"Not calibrated: {how} ({shown}, n = {n:,})."

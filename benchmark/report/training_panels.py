"""How the encoders of a part were trained: curves with a verdict, and embeddings that have collapsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmark.contracts import GalaxybenchError
from benchmark.report.contents import Part, Record
from benchmark.report.panels import Gap, Picture, svg_picture
from benchmark.report.tables import number
from benchmark.report.theme import BLUE, VERMILLION, printable, svg
from benchmark.store import Store
from encoders.training.history import History

__all__ = ["Course", "collapsed_embeddings", "training_panels"]

_NO_DIAGNOSTIC = ("step", "epoch", "learning_rate", "weight_decay", "data_wait_s", "wall_s", "cpu_s")
_MAX_DIAGNOSTICS = 3


@dataclass(frozen=True)
class Course:
    """The training of one encoder: its curves and what they say."""

    model: str
    verdict: str
    picture: Picture


def training_panels(part: Part, store: Store) -> list[Course | Gap]:
    """Training curves of the encoders behind a part's scores, by name."""
    trained = [record for record in part.behind if record["kind"] == "train" and record["details"].get("training")]
    return [_course(record, store) for record in sorted(trained, key=lambda record: str(record["model"]["name"]))]


def collapsed_embeddings(part: Part) -> list[tuple[str, str]]:
    """(model, why) of the embeddings behind a part's scores that have collapsed."""
    found = {
        (str(record["model"]["name"]), str(record["details"]["collapsed"]))
        for record in part.behind
        if record["kind"] == "embed" and record["details"].get("collapsed")
    }
    return sorted(found)


def _course(record: Record, store: Store) -> Course | Gap:
    model, facts = str(record["model"]["name"]), record["details"]["training"]
    verdict = _verdict(facts)
    curves = [artefact["path"] for artefact in record["artefacts"] if artefact["path"].endswith(".csv")]
    try:
        rows = History.read_csv(_intact(store, record, curves[0])).rows
        last = ", ".join(f"{name} {number(value)}" for name, value in rows[-1].items() if name not in _NO_DIAGNOSTIC)
        drawn = svg((5.0, 2.6), lambda figure: _draw(figure, model, rows), arrange=True)
    except (GalaxybenchError, OSError, ValueError, IndexError) as error:
        return Gap(model, "training", f"{error}")
    alt = f"Training of {model}, {int(rows[-1]['step']):,} steps: at the end {last}. {verdict}"
    return Course(model, verdict, svg_picture(drawn, alt))


def _intact(store: Store, record: Record, path: str) -> Path:
    if path in store.missing_artefacts(record):
        raise GalaxybenchError(f"{store.folder / path}: is missing or was altered")
    return store.folder / path


def _verdict(facts: Mapping[str, Any]) -> str:
    level = (
        "the loss has levelled off under its schedule"
        if facts["converged"]
        else "the loss has not been shown to have levelled off: a longer training may give better scores"
    )
    speed = facts.get("samples_per_cpu_s")
    pace = f", {number(speed)} galaxies a CPU second" if speed else ""
    return (
        f"{facts['n_steps']:,} steps of {facts['batch_size']:,} galaxies, {facts['n_parameters']:,} parameters in "
        f"{facts['precision']}{pace}; {level}."
    )


def _draw(figure: Figure, model: str, rows: Sequence[Mapping[str, float]]) -> None:
    names = dict.fromkeys(name for row in rows for name in row)
    watched = [
        name for name in names if name not in _NO_DIAGNOSTIC and "loss" not in name and not name.startswith("grad_norm")
    ][:_MAX_DIAGNOSTICS]
    axes = figure.subplots(1 + len(watched), 1, sharex=True, squeeze=False, height_ratios=[2] + [1] * len(watched))
    for axis, name in zip(axes[:, 0], ["loss", *watched], strict=True):
        known = [row for row in rows if name in row]
        colour = BLUE if name == "loss" else VERMILLION
        axis.plot([row["step"] for row in known], [row[name] for row in known], color=colour, linewidth=1.3)
        axis.set_ylabel(printable(name.replace("_", " ")), fontsize=7)
    axes[0, 0].set_title(printable(model))
    axes[-1, 0].set_xlabel("step")

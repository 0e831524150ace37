"""Figures made from a results store, each with its words: redshift panels, coverage and PIT, interval plots."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from benchmark.artefacts import Posterior, Predictions
from benchmark.contracts import GalaxybenchError
from benchmark.registry import METRICS
from benchmark.report import calibration_plots, plots
from benchmark.report.contents import Part, Record, Row
from benchmark.report.tables import number
from benchmark.store import Store
from posteriors.scores.density import pit_values

__all__ = [
    "Calibration",
    "Gap",
    "Panel",
    "Picture",
    "calibration_panels",
    "headline_picture",
    "redshift_panels",
    "svg_picture",
]

Floats = NDArray[np.float64]

_PLAIN = " !$()*+,-./:;=?@[]^_`{|}~"  # may stand in a data URL and in an attribute as they are
_LEVEL = 0.05  # below this p-value the page says that a test rejects
_NOMINAL = 0.68
_LEAST_REACH, _LARGEST_REACH = 0.2, 0.6  # |dz| of the residual panels; an outlier begins at .15


@dataclass(frozen=True)
class Picture:
    """An image and what it shows in words."""

    source: str
    alt: str


@dataclass(frozen=True)
class Panel:
    """One model and probe in pictures."""

    model: str
    probe: str
    labels: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Calibration(Panel):
    """The calibration of one posterior.

    Attributes
    ----------
    verdict : what the tests say, in a sentence.
    tests : (name, value with range) of scores of the joint posterior.
    targets : a line a target: its name, then coverage at 68 and 95 % and the PIT distance, with intervals.
    """

    verdict: str
    tests: tuple[tuple[str, str], ...]
    targets: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Gap:
    """A panel that cannot be made, and why."""

    model: str
    probe: str
    reason: str


def headline_picture(part: Part, task: str) -> Picture | None:
    """Interval plot of a task's headline score; None where no model has it."""
    metric, target = part.headline(task)
    card = METRICS[metric]
    rows = [
        row
        for row in part.rows
        if (row["task"], row["metric"], row["target"], row["condition"]) == (task, metric, target, None)
        and row["value"] is not None
    ]
    if not rows:
        return None
    several = len({row["n_labels"] for row in rows}) > 1
    dots = [
        plots.Dot(_row_name(row, several), str(row["modality"]), row["value"], row["ci_low"], row["ci_high"])
        for row in rows
    ]
    mark, mark_label = {"nominal": (card.nominal, "nominal"), "zero": (0.0, "zero")}.get(
        card.better, (rows[0]["floor"], "floor")
    )
    direction = {"higher": " (higher is better)", "lower": " (lower is better)"}.get(card.better, "")
    label = f"{metric}, {target}{direction}"
    spoken = "; ".join(f"{dot.name} {_with_interval(row)}" for dot, row in zip(dots, rows, strict=True))
    return svg_picture(
        plots.interval_plot(dots, mark, mark_label, label),
        f"{label} with 95 % intervals, best first: {spoken}. {mark_label} at {number(mark)}.",
    )


def redshift_panels(part: Part, store: Store) -> list[Panel | Gap]:
    """Predicted against true redshift of every model and probe, all on the same axes."""
    found = [(record, _read(store, record, Predictions.read)) for record in part.of_task("redshift")]
    columns = {
        id(record): (evidence.truth[:, 0], evidence.prediction[:, 0])
        for record, content in found
        if not isinstance(content, Gap)
        for evidence in (content.select(["z"]),)
    }
    axes = _redshift_axes(list(columns.values()))
    return [
        content if isinstance(content, Gap) else _redshift_panel(record, *columns[id(record)], *axes)
        for record, content in found
    ]


def calibration_panels(part: Part, store: Store) -> list[Calibration | Gap]:
    """Coverage, PIT and tests of every posterior."""
    return [_calibration(record, store) for record in part.of_task("posterior")]


def _redshift_panel(
    record: Record, truth: Floats, predicted: Floats, limits: tuple[float, float], reach: float
) -> Panel:
    known = np.isfinite(truth)
    truth, predicted = truth[known], predicted[known]
    scores = _scores(record)
    title = [
        f"{label} {_with_interval(scores[metric, 'z'])}"
        for metric, label in (("sigma_nmad", "σ_NMAD"), ("bias", "bias"), ("outlier_fraction", "outliers"))
        if (metric, "z") in scores
    ]
    model, probe, labels = _who(record)
    outside = int(((predicted < limits[0]) | (predicted > limits[1])).sum())
    alt = (
        f"Predicted against true redshift of {truth.size:,} test galaxies, {model} ({probe}): {'; '.join(title)}. "
        f"{outside} predictions lie outside of the axes and are drawn at their border."
    )
    picture = plots.redshift_plot(f"{model} · {probe}", title, truth, predicted, limits, reach)
    return Panel(model, probe, labels, (svg_picture(picture, alt),))


def _redshift_axes(columns: Sequence[tuple[Floats, Floats]]) -> tuple[tuple[float, float], float]:
    """Limits of the redshifts and reach of the residual that serve all panels.

    They hold nearly all galaxies, so that a few far ones do not squeeze the rest.
    """
    pairs = [np.stack(pair)[:, np.isfinite(pair[0])] for pair in columns]
    if not sum(pair.size for pair in pairs):
        return (0.0, 1.0), _LEAST_REACH
    truth, predicted = np.concatenate(pairs, axis=1)
    low, high = float(truth.min()), float(np.quantile(truth, 0.998))
    margin = 0.04 * (high - low) or 0.05
    reach = float(np.quantile(np.abs((predicted - truth) / (1 + truth)), 0.995))
    return (low - margin, high + margin), min(max(reach, _LEAST_REACH), _LARGEST_REACH)


def _calibration(record: Record, store: Store) -> Calibration | Gap:
    evidence = _read(store, record, Posterior.read)
    if isinstance(evidence, Gap):
        return evidence
    model, probe, labels = _who(record)
    scores, n = _scores(record), len(evidence.target_id)
    pit = pit_values(evidence.truth, evidence.draws, seed=record["config"]["bootstrap_seed"])
    pictures = [svg_picture(plots.pit_plot(evidence.names, pit), _pit_alt(model, evidence.names, n))]
    curve = record["details"].get("coverage_curve")
    if curve:
        largest = max(abs(ecp - level) for ecp, level in zip(curve["ecp"], curve["credibility"], strict=True))
        alt = (
            f"Expected coverage against credibility, {model} ({probe}), {n:,} test galaxies: the largest distance from "
            f"the diagonal is {largest:.3f}."
        )
        pictures.insert(0, svg_picture(plots.coverage_plot(f"{model} · {probe}", curve), alt))
    pictures += _rank_pictures(record, evidence, pit)
    outside, n_bins = plots.pit_bins_outside(pit)
    verdict = f"{_verdict(scores, evidence.names, n)} {outside} of {n_bins} PIT bins lie outside of the grey band."
    verdict = f"{verdict}{_conditional_verdict(record)}"
    joint = ("tarp_p", "tarp_width_p", "hpd_ks", "nll_mixture", "nll_stacked", "cde_loss", "energy_score")
    tests = [(metric, _with_interval(scores[metric, "joint"])) for metric in joint if (metric, "joint") in scores]
    conditions = {"": scores, ", recalibrated": _scores(record, "recalibrated")}
    targets = tuple(
        (
            name + said,
            *(_with_interval(each.get((metric, name))) for metric in ("coverage_68", "coverage_95", "pit_ks")),
        )
        for name in [*evidence.names, *(["mean"] if ("coverage_68", "mean") in scores else [])]
        for said, each in conditions.items()
        if each
    )
    return Calibration(model, probe, labels, tuple(pictures), verdict, tuple(tests), targets)


def _rank_pictures(record: Record, evidence: Posterior, pit: Floats) -> list[Picture]:
    """Rank ECDFs above the coverage in bins, and scores in bins; what a record lacks is left out."""
    model, probe, _ = _who(record)
    details = record["details"]
    p_values, conditional, hpd_p, in_bins = (
        details.get(name) for name in ("rank_ecdf_p", "conditional", "hpd_p", "scores_in_bins")
    )
    if not p_values:
        return []
    alt = (
        f"Distribution of the PIT values less the uniform one, {model} ({probe}), with the band that holds 95 % of "
        f"calibrated curves. p-values: {', '.join(f'{name} {number(p)}' for name, p in p_values.items())}."
    )
    if hpd_p is not None:
        alt += f" With them the ranks of the truths in joint density (HPD), p-value {number(hpd_p)}."
    if conditional:
        rows = "; ".join(
            f"{row['target']} at {number(row['centre'])}: {number(row['coverage_68'])}" for row in conditional["bins"]
        )
        alt += f" Below, the coverage of the 68 % intervals by {conditional['by']}: {rows}."
    pictures = [svg_picture(calibration_plots.rank_plot(evidence.names, pit, conditional, evidence.hpd_rank), alt)]
    if in_bins:
        pictures.append(svg_picture(calibration_plots.score_plot(evidence.names, in_bins), _bins_alt(model, in_bins)))
    return pictures


def _bins_alt(model: str, in_bins: Mapping[str, Any]) -> str:
    words = {
        "sharpness_68": "68 % width",
        "conformal_68": "conformal width",
        "crps": "CRPS",
        "energy_score": "energy score",
        "cde_loss": "density loss",
    }
    said = [
        f"{row['target']} at {number(row['centre'])}: "
        + ", ".join(f"{name} {number(row[metric][0])}" for metric, name in words.items() if metric in row)
        for row in in_bins["bins"]
    ]
    return (
        f"Widths and scores of {model} by {in_bins['by']}, with two standard errors; widths and CRPS in units of the "
        f"spread of the training targets. {'; '.join(said)}."
    )


def _conditional_verdict(record: Record) -> str:
    """What bins and the power of the tests add to the verdict; empty for records that lack them."""
    said = ""
    power, mended = (record["details"].get(name) for name in ("power", "recalibrated"))
    said += _miscalibrated_bins(record["details"].get("conditional"))
    if mended:
        after = _miscalibrated_bins(mended.get("conditional"))
        said += f" After recalibration on {mended['n_calibration']:,} validation galaxies:{after or ' see the table.'}"
    if power:
        said += (
            f" A posterior {1 - power['width']:.0%} too narrow would be noticed with probability "
            f"{power['probability']:.2f} here."
        )
    return said


def _miscalibrated_bins(conditional: Mapping[str, Any] | None) -> str:
    if not conditional:
        return ""
    wrong = [row for row in conditional["bins"] if row["p_adjusted"] < _LEVEL]
    places = ", ".join(f"{row['target']} at {conditional['by']} {number(row['centre'])}" for row in wrong[:3])
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return f" In bins by {conditional['by']}, miscalibrated after Holm's correction: {places or 'none'}{more}."


def _verdict(scores: dict[tuple[str, str], Any], names: Sequence[str], n: int) -> str:
    """What the tests say, without more certainty than they give."""
    target = "mean" if ("coverage_68", "mean") in scores else names[0]
    coverage = scores.get(("coverage_68", target)) or {"ci_low": None, "ci_high": None}
    low, high = coverage["ci_low"], coverage["ci_high"]
    tested = {metric: scores.get((metric, "joint"), {}).get("value") for metric in ("tarp_p", "tarp_width_p")}
    said = [f"{metric} is below {_LEVEL}" for metric, p in tested.items() if p is not None and p < _LEVEL]
    if low is not None and high is not None and not low <= _NOMINAL <= high:
        width = "too narrow" if high < _NOMINAL else "too wide"
        said.append(f"the 68 % intervals hold {number(coverage['value'])} of the truths: they are {width}")
    if said:
        return f"Signs of miscalibration: {'; '.join(said)} (n = {n:,})."
    if low is None or high is None:
        return f"No test rejects calibration (n = {n:,})."
    reach = (high - low) / 2
    return f"No test rejects calibration; with n = {n:,} an error below {reach:.3f} in the 68 % coverage stays unseen."


def _read(store: Store, record: Record, read: Callable[[Any], Any]) -> Any:
    """The artefact that a score was made from, or the gap it leaves."""
    model, probe, _ = _who(record)
    try:
        return read(store.checked_artefact(record["needs"][0]))
    except (GalaxybenchError, OSError, ValueError, KeyError, IndexError) as error:
        return Gap(model, probe, str(error) if isinstance(error, GalaxybenchError) else f"cannot be read: {error}")


def _pit_alt(model: str, names: Sequence[str], n: int) -> str:
    return f"Histograms of the PIT values of {n:,} test galaxies by {model}, one each for {', '.join(names)}."


def svg_picture(svg: str, alt: str) -> Picture:
    """An SVG element as an image that the page holds itself; as text it is an eighth shorter than in base64."""
    return Picture("data:image/svg+xml," + quote(svg, safe=_PLAIN), alt)


def _scores(record: Record, condition: str | None = None) -> dict[tuple[str, str], Any]:
    return {(s["metric"], s["target"]): s for s in record["scores"] if s.get("condition") == condition}


def _with_interval(score: Row | None) -> str:
    if score is None or score["value"] is None:
        return "–"
    if score["ci_low"] is None or score["ci_high"] is None:
        return number(score["value"])
    return f"{number(score['value'])} [{number(score['ci_low'])}, {number(score['ci_high'])}]"


def _who(record: Record) -> tuple[str, str, str]:
    n_labels = record["n_labels"]
    return record["model"]["name"], str(record["probe"]), "" if n_labels is None else f"{n_labels:,} labels"


def _row_name(row: Row, with_labels: bool) -> str:
    parts: Iterable[str] = [row["model"], str(row["probe"])]
    if with_labels and row["n_labels"] is not None:
        parts = [*parts, f"{row['n_labels']:,}"]
    return " · ".join(parts)

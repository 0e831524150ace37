"""What a page says about the galaxies of a survey: facts, findings, columns with their distributions, pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.data.inspection.description import describe
from benchmark.data.inspection.pictures import Drawing, drawings
from benchmark.data.survey import Survey
from benchmark.report.theme import DIMMED_IN_DARK, svg

__all__ = ["Bars", "Column", "Galaxies", "Picture", "Remark", "galaxies_of"]

_PLOTTED = 60.0, 18.0  # width and height of a histogram in a line of the table
_LEVELS = ("error", "warning", "info")
_EXAMPLES = 3


@dataclass(frozen=True)
class Picture:
    """A figure, what it shows in words, and whether it is as wide as the page."""

    name: str
    source: str
    caption: str


@dataclass(frozen=True)
class Remark:
    """One finding."""

    level: str
    code: str
    message: str
    about: str


@dataclass(frozen=True)
class Bars:
    """A histogram as an SVG path in a box of 60 x 18."""

    path: str
    spoken: str


@dataclass(frozen=True)
class Column:
    """One column of the catalogue: texts, and its histogram where it is a target.

    ``error`` is the median error of its labels with its share of their scatter, ``ceiling`` the R2 that it allows.
    """

    name: str
    what: str
    n: str
    missing: str
    low: str
    median: str
    high: str
    precision: str
    balance: str
    bars: Bars | None
    error: str = ""
    ceiling: str = ""


@dataclass(frozen=True)
class Galaxies:
    """A survey as the page sees it.

    Attributes
    ----------
    name, digest : of the survey.
    is_simulated : whether the galaxies were made by a program.
    facts : name -> text.
    splits : (split, galaxies, share) of all four.
    remarks : findings, errors first; ``n_remarks`` counts them by level.
    columns : targets, then magnitudes.
    pictures : of `benchmark.data.inspection.pictures.drawings`.
    """

    name: str
    digest: str
    is_simulated: bool
    facts: Mapping[str, str]
    splits: Sequence[tuple[str, str, str]]
    remarks: Sequence[Remark]
    n_remarks: Mapping[str, int]
    columns: Sequence[Column]
    pictures: Sequence[Picture]


def galaxies_of(survey: Survey, description: Mapping[str, Any] | None = None, *, seed: int = 0) -> Galaxies:
    """Describe a survey for a page.

    Parameters
    ----------
    survey : the survey.
    description : of `describe`, where it is at hand; else it is made now, which reads every pixel.
    seed : of the choice of galaxies in the pictures.
    """
    it = describe(survey) if description is None else description
    remarks = [_remark(finding) for finding in it["findings"]]
    counts = {level: sum(remark.level == level for remark in remarks) for level in _LEVELS}
    n = max(it["n_galaxies"], 1)
    bands = it["photometry"]["bands"] if it["photometry"] else {}
    return Galaxies(
        it["name"],
        it["digest"],
        it["simulated"],
        _facts(it),
        [(split, f"{size:,}", f"{size / n:.1%}") for split, size in it["counts"].items()],
        remarks,
        {level: count for level, count in counts.items() if count},
        [*map(_target, it["targets"]), *(_band(band, entry) for band, entry in bands.items())],
        [_picture(name, drawing) for name, drawing in drawings(survey, seed=seed).items()],
    )


def _facts(it: Mapping[str, Any]) -> dict[str, str]:
    facts = {
        "version": it["version"],
        "galaxies": f"{it['n_galaxies']:,}",
        "split": it["split_rule"],
        "digest": it["digest"][:12],
        "models read": ", ".join(it["modalities"]) or "nothing: predictions made elsewhere can be scored",
    }
    if images := it["images"]:
        scale = f", {images['pixel_scale_arcsec']:g} arcsec a pixel" if images["pixel_scale_arcsec"] else ""
        size = " x ".join(map(str, images["shape"][2:]))
        facts["images"] = f"{size} pixels in {', '.join(images['bands'])}, {images['unit']} ({images['dtype']}){scale}"
    if spectra := it["spectra"]:
        first, last = spectra["wave_angstrom"]
        facts["spectra"] = (
            f"{spectra['n_wave']:,} pixels, {first:g} to {last:g} Å, step {spectra['wave_step_angstrom']:g}"
        )
        if snr := spectra["snr"]:
            span = f"{snr['0.05']:.3g} to {snr['0.95']:.3g}"
            facts["signal to noise of a spectrum's pixel"] = f"median {snr['0.5']:.3g}, 90 % of the galaxies {span}"
            facts["pixels without a value"] = f"{spectra['invalid']:.1%}"
    if sky := it["sky"]:
        (west, east), (south, north) = sky["ra"], sky["dec"]
        facts["sky"] = f"{sky['n']:,} positions, ra {west:.4g} to {east:.4g}, dec {south:.4g} to {north:.4g} deg"
    if noise := _label_noise(it["targets"]):
        facts["errors of labels"] = noise
    if it["votes"]:
        facts["votes"] = f"{len(it['votes'])} questions: {', '.join(it['votes'])}"
    facts |= {"licence": it["licence"], "reference": it["reference"]}
    return {name: str(text) for name, text in facts.items() if text}


def _remark(finding: Mapping[str, Any]) -> Remark:
    about = f"{finding['n']:,} {'galaxy' if finding['n'] == 1 else 'galaxies'}" if finding["n"] else ""
    if examples := finding["examples"][:_EXAMPLES]:
        about += f": {', '.join(examples)}{' …' if finding['n'] > len(examples) else ''}"
    return Remark(finding["level"], finding["code"], finding["message"], about)


def _target(target: Mapping[str, Any]) -> Column:
    kind = "classes" if target["classes"] else ", ".join(role for role in ("ranked", "joint") if target[role])
    what = "; ".join(text for text in (target["unit"], kind or "not ranked", target["provenance"]) if text)
    balance = "–" if target["balance"] is None else f"{target['balance']:.2g}"
    bars = None
    if histogram := target["histogram"]:
        edges, counts = histogram["edges"], histogram["counts"]
        spoken = f"histogram of {target['name']} from {edges[0]:.4g} to {edges[-1]:.4g}: {', '.join(map(str, counts))}"
        bars = Bars(_bar_path(counts), spoken)
    return Column(target["name"], what, *_numbers(target), "", balance, bars, *_noise(target["label_noise"]))


def _label_noise(targets: Sequence[Mapping[str, Any]]) -> str:
    """Which targets have errors, by the kind of these."""
    kinds: dict[str, list[str]] = {}
    for target in targets:
        if noise := target["label_noise"]:
            kind = "errors" if noise["source"] == "errors" else f"{noise['n_draws']:,} draws a galaxy"
            kinds.setdefault(kind, []).append(target["name"])
    return "; ".join(f"{', '.join(names)} ({kind})" for kind, names in kinds.items())


def _noise(noise: Mapping[str, Any] | None) -> tuple[str, str]:
    if not noise or noise["median_error"] is None:
        return "–", "–"
    text = f"{noise['median_error']:.3g}"
    if noise["scatter"]:
        text += f" ({noise['median_error'] / noise['scatter']:.2g} of the scatter)"
    if noise["n_missing"]:
        text += f", {noise['n_missing']:,} without"
    return text, "–" if noise["r2_ceiling"] is None else f"{noise['r2_ceiling']:.3f}"


def _band(band: str, entry: Mapping[str, Any]) -> Column:
    snr = entry["snr"]
    return Column(f"mag_{band}", "AB magnitude", *_numbers(entry), f"{snr:.3g}" if snr else "–", "", None)


def _numbers(entry: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    total = entry["n"] + entry["n_missing"]
    missing = f"{entry['n_missing'] / total:.2%}" if entry["n_missing"] else "0"
    if not entry["n"]:
        return "0", missing, "–", "–", "–"
    low, median, high = (f"{value:.4g}" for value in (entry["min"], entry["quantiles"]["0.5"], entry["max"]))
    return f"{entry['n']:,}", missing, low, median, high


def _bar_path(counts: Sequence[int]) -> str:
    width, height = _PLOTTED
    step, most = width / len(counts), max(*counts, 1)
    return "".join(
        f"M{number * step:.1f} {height:g}v-{height * count / most:.1f}h{0.85 * step:.2f}v{height * count / most:.1f}z"
        for number, count in enumerate(counts)
        if count
    )


def _picture(name: str, drawing: Drawing) -> Picture:
    text = svg(drawing.size, drawing.draw, arrange=True)
    if name == "galaxies":
        text = text.replace(DIMMED_IN_DARK, "")  # photographs are shown as they are
    return Picture(name, "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode(), drawing.caption)

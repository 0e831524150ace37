"""A survey in one view: modalities, targets with their ranges, splits and findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmark.contracts import Finding
from benchmark.data.checks import check_survey
from benchmark.data.survey import Survey

__all__ = ["describe", "describe_text"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def describe(survey: Survey, findings: Sequence[Finding] | None = None) -> dict[str, Any]:
    """Return what a survey holds, ready for JSON.

    Parameters
    ----------
    survey : the survey.
    findings : of `check_survey`, where they are at hand; else the check runs now.

    Returns
    -------
    Keys ``name, version, digest, simulated, licence, reference, split_rule, modalities, n_galaxies, counts,
    photometry, images, spectra, votes, targets, facts, findings``; what the survey lacks is null or empty.
    """
    info = survey.info
    images = None
    if survey.images is not None:
        images = {
            "bands": list(info.image_bands),
            "shape": list(survey.images.shape),
            "dtype": survey.images.dtype.name,
            "unit": info.image_unit,
            "pixel_scale_arcsec": info.pixel_scale_arcsec,
        }
    spectra = None
    if (wave := survey.wave_angstrom) is not None:
        spectra = {"n_wave": info.n_wave, "wave_angstrom": [float(wave[0]), float(wave[-1])]}
        spectra |= {"wave_step_angstrom": info.wave_step_angstrom, "unit": "1e-17 erg/s/cm2/A"}
    bands = {band: _summary(survey, f"mag_{band}") for band in info.photometry_bands}
    return {
        "name": info.name,
        "version": info.version,
        "digest": survey.digest,
        "simulated": info.simulated,
        "licence": info.licence,
        "reference": info.reference,
        "split_rule": info.split_rule,
        "modalities": list(survey.modalities),
        "n_galaxies": survey.n_galaxies,
        "counts": survey.counts(),
        "photometry": {"unit": info.photometry_unit, "bands": bands} if bands else None,
        "images": images,
        "spectra": spectra,
        "votes": {question: list(answers) for question, answers in info.votes.items()},
        "targets": [{**asdict(target), **_summary(survey, target.name)} for target in info.targets],
        "facts": dict(info.facts),
        "findings": [asdict(finding) for finding in (check_survey(survey) if findings is None else findings)],
    }


def _summary(survey: Survey, name: str) -> dict[str, Any]:
    values = survey.catalogue[name].to_numpy(dtype=np.float64)
    known = values[np.isfinite(values)]
    if not len(known):
        return {"n": 0, "n_missing": len(values), "min": None, "max": None, "quantiles": None}
    quantiles = {f"{q:g}": float(value) for q, value in zip(QUANTILES, np.quantile(known, QUANTILES), strict=True)}
    ends = {"min": float(known.min()), "max": float(known.max())}
    return {"n": len(known), "n_missing": len(values) - len(known), **ends, "quantiles": quantiles}


def describe_text(description: dict[str, Any]) -> str:
    """Return a description of `describe` as lines for people."""
    it = description
    counts = ", ".join(f"{n} {name}" for name, n in it["counts"].items() if n)
    lines = [
        f"{it['name']} (version {it['version']}{', simulated' if it['simulated'] else ''})",
        f"{it['n_galaxies']} galaxies: {counts}; split: {it['split_rule']}",
        f"modalities: {', '.join(it['modalities']) or 'none'}",
    ]
    if it["photometry"]:
        lines.append(f"photometry ({it['photometry']['unit']}):")
        lines += [f"  {_line(f'mag_{band}', '', entry)}" for band, entry in it["photometry"]["bands"].items()]
    if it["images"]:
        images = it["images"]
        shape, scale = " x ".join(map(str, images["shape"])), images["pixel_scale_arcsec"]
        at = f", {scale:g} arcsec a pixel" if scale else ""
        lines.append(f"images: {shape} {images['dtype']}, bands {', '.join(images['bands'])}, {images['unit']}{at}")
    if it["spectra"]:
        spectra, (first, last) = it["spectra"], it["spectra"]["wave_angstrom"]
        step = f"{spectra['wave_step_angstrom']:g}"
        lines.append(
            f"spectra: {spectra['n_wave']} pixels, {first:g} to {last:g} Angstrom, step {step}, {spectra['unit']}"
        )
    lines.append("targets:" if it["targets"] else "targets: none")
    for target in it["targets"]:
        roles = ", ".join(role for role in ("ranked", "joint") if target[role]) or "not ranked"
        source = f"; {target['provenance']}" if target["provenance"] else ""
        lines.append(f"  {_line(target['name'], target['unit'], target)} ({roles}{source})")
    if it["votes"]:
        lines.append(
            "votes: " + "; ".join(f"{question}: {', '.join(answers)}" for question, answers in it["votes"].items())
        )
    lines.append("findings:" if it["findings"] else "findings: none")
    for finding in it["findings"]:
        which = f" ({finding['n']} galaxies, e.g. {', '.join(finding['examples'][:3])})" if finding["examples"] else ""
        lines.append(f"  {finding['level']:7s} {finding['code']}: {finding['message']}{which}")
    return "\n".join(lines)


def _line(name: str, unit: str, entry: dict[str, Any]) -> str:
    label = f"{name} [{unit}]" if unit else name
    if not entry["n"]:
        return f"{label}: all missing"
    missing = f", {entry['n_missing']} missing" if entry["n_missing"] else ""
    median = entry["quantiles"]["0.5"]
    return f"{label}: {entry['min']:.4g} to {entry['max']:.4g}, median {median:.4g}, n = {entry['n']}{missing}"

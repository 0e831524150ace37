"""A survey in one view: modalities, targets with their ranges, splits and findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.stats import ks_2samp

from benchmark.contracts import Finding
from benchmark.data.inspection.checks import check_survey
from benchmark.data.inspection.label_checks import label_qualities
from benchmark.data.survey import Survey

__all__ = ["describe", "describe_text"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
N_BINS = 20
BARS = " ▁▂▃▄▅▆▇█"
UNLIKE = 1e-3  # p below which test and training galaxies are called unlike
MOST_SPECTRA = 1000  # from which the signal-to-noise ratio is taken, evenly over the survey


def describe(survey: Survey, findings: Sequence[Finding] | None = None) -> dict[str, Any]:
    """Return what a survey holds, ready for JSON.

    Parameters
    ----------
    survey : the survey.
    findings : of `check_survey`, where they are at hand; else the check runs now.

    Returns
    -------
    Keys ``name, version, digest, simulated, licence, reference, split_rule, modalities, n_galaxies, counts,
    photometry, images, spectra, votes, targets, sky, facts, findings``; what the survey lacks is null or empty. A
    target has its ``histogram`` (20 bins between the 0.5 and 99.5 % quantiles, ``edges`` and ``counts``) and its
    ``balance``: p of a Kolmogorov-Smirnov test that test galaxies are drawn like training galaxies; one with classes
    has a bin for each. Its ``label_noise`` has the fields of `benchmark.data.inspection.label_checks.LabelQuality`,
    null where its labels have no errors. A band has the median ``snr`` of its magnitudes, null without errors.
    ``spectra`` has quantiles of ``snr``, the median of flux times sqrt(ivar) a pixel, and ``invalid``, the share of
    invalid pixels.
    """
    info = survey.info
    qualities = {name: asdict(quality) for name, quality in label_qualities(survey).items()}
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
        spectra |= _signal_to_noise(survey)
    bands = {
        band: {**_summary(survey, f"mag_{band}"), "snr": _precision(survey, band)} for band in info.photometry_bands
    }
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
        "targets": [
            {
                **asdict(target),
                **_summary(survey, target.name),
                **_distribution(survey, target.name),
                "label_noise": qualities.get(target.name),
            }
            for target in info.targets
        ],
        "sky": _sky(survey),
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


def _distribution(survey: Survey, name: str) -> dict[str, Any]:
    """Histogram of a target, and whether test and training galaxies are alike in it."""
    values = survey.catalogue[name].to_numpy(dtype=np.float64)
    known = np.isfinite(values)
    histogram = None
    if known.any():
        low, high = np.quantile(values[known], [0.005, 0.995])
        bins, limits = N_BINS, (low, high) if high > low else (low - 0.5, low + 0.5)
        if classes := survey.target_info(name).classes:
            bins, limits = len(classes), (-0.5, len(classes) - 0.5)
        counts, edges = np.histogram(values[known], bins, limits)
        histogram = {"edges": [float(edge) for edge in edges], "counts": [int(count) for count in counts]}
    train, test = (values[known & (survey.split == split)] for split in ("train", "test"))
    balance = float(ks_2samp(train, test).pvalue) if min(len(train), len(test)) >= 20 else None
    return {"histogram": histogram, "balance": balance}


def _precision(survey: Survey, band: str) -> float | None:
    """Median signal-to-noise ratio of a band's magnitudes: 2.5 / ln 10 over their errors."""
    if f"mag_err_{band}" not in survey.catalogue:
        return None
    errors = survey.catalogue[f"mag_err_{band}"].to_numpy(dtype=np.float64)
    errors = errors[np.isfinite(errors) & (errors > 0)]
    return float(2.5 / np.log(10) / np.median(errors)) if len(errors) else None


def _signal_to_noise(survey: Survey) -> dict[str, Any]:
    assert survey.spectra is not None  # the caller asked
    assert survey.spectra_ivar is not None
    ratios, invalid = [], []
    for row in range(0, survey.n_galaxies, max(1, survey.n_galaxies // MOST_SPECTRA)):
        ivar = np.asarray(survey.spectra_ivar[row], dtype=np.float64)
        valid = ivar > 0
        invalid.append(1 - valid.mean())
        if valid.any():
            ratios.append(np.median(np.asarray(survey.spectra[row])[valid] * np.sqrt(ivar[valid])))
    known = [ratio for ratio in ratios if np.isfinite(ratio)]
    values = np.quantile(known, QUANTILES) if known else []
    quantiles = {f"{q:g}": float(value) for q, value in zip(QUANTILES, values)} or None
    return {"snr": quantiles, "invalid": float(np.mean(invalid))}


def _sky(survey: Survey) -> dict[str, Any] | None:
    """Extent of the known positions in degrees; right ascension as the shortest arc that holds all."""
    ra, dec = (survey.catalogue[name].to_numpy(dtype=np.float64) for name in ("ra", "dec"))
    known = np.isfinite(ra) & np.isfinite(dec)
    if not known.any():
        return None
    sorted_ra = np.sort(ra[known] % 360)
    gaps = np.diff(np.append(sorted_ra, sorted_ra[0] + 360))
    widest = int(np.argmax(gaps))
    ends = [float(sorted_ra[(widest + 1) % len(sorted_ra)]), float(sorted_ra[widest])]
    return {"n": int(known.sum()), "ra": ends, "dec": [float(dec[known].min()), float(dec[known].max())]}


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
        for band, entry in it["photometry"]["bands"].items():
            precision = f", signal to noise {entry['snr']:.3g}" if entry["snr"] else ""
            lines.append(f"  {_line(f'mag_{band}', '', entry)}{precision}")
    if it["images"]:
        images = it["images"]
        shape, scale = " x ".join(map(str, images["shape"])), images["pixel_scale_arcsec"]
        at = f", {scale:g} arcsec a pixel" if scale else ""
        lines.append(f"images: {shape} {images['dtype']}, bands {', '.join(images['bands'])}, {images['unit']}{at}")
    if it["spectra"]:
        lines += _spectra_lines(it["spectra"])
    if it["sky"]:
        sky = it["sky"]
        lines.append(
            f"sky: {sky['n']} positions, ra {sky['ra'][0]:.4g} to {sky['ra'][1]:.4g}, "
            f"dec {sky['dec'][0]:.4g} to {sky['dec'][1]:.4g}"
        )
    lines.append("targets:" if it["targets"] else "targets: none")
    for target in it["targets"]:
        lines += _target_lines(target)
    if it["votes"]:
        lines.append(
            "votes: " + "; ".join(f"{question}: {', '.join(answers)}" for question, answers in it["votes"].items())
        )
    lines.append("findings:" if it["findings"] else "findings: none")
    for finding in it["findings"]:
        noun = "galaxy" if finding["n"] == 1 else "galaxies"
        which = f" ({finding['n']} {noun}, e.g. {', '.join(finding['examples'][:3])})" if finding["examples"] else ""
        lines.append(f"  {finding['level']:7s} {finding['code']}: {finding['message']}{which}")
    # names come from files: a control character must not reach a terminal
    return "\n".join("".join(letter if letter.isprintable() else "\ufffd" for letter in line) for line in lines)


def _target_lines(target: dict[str, Any]) -> list[str]:
    roles = ", ".join(role for role in ("ranked", "joint") if target[role]) or "not ranked"
    if target["classes"]:
        sizes = target["histogram"]["counts"] if target["histogram"] else [0] * len(target["classes"])
        roles += "; " + ", ".join(f"{n} {name}" for n, name in zip(sizes, target["classes"], strict=True))
    source = f"; {target['provenance']}" if target["provenance"] else ""
    lines = [f"  {_line(target['name'], target['unit'], target)} ({roles}{source})"]
    if target["histogram"] and not target["classes"]:
        unlike = target["balance"] is not None and target["balance"] < UNLIKE
        warning = f"; test differs from train, p = {target['balance']:.1g}" if unlike else ""
        lines.append(f"    {_bars(target['histogram']['counts'])}{warning}")
    if target["label_noise"]:
        lines.append(f"    {_label_line(target['label_noise'])}")
    return lines


def _label_line(noise: dict[str, Any]) -> str:
    source = f"{noise['n_draws']} draws of a label" if noise["source"] == "draws" else "errors of the labels"
    if noise["median_error"] is None:
        return f"{source}: none known"
    share = f", {noise['median_error'] / noise['scatter']:.2g} of their scatter" if noise["scatter"] else ""
    without = f"; {noise['n_missing']} without" if noise["n_missing"] else ""
    ceiling = noise["r2_ceiling"]
    reach = "" if ceiling is None else f"; R2 of test galaxies at most {ceiling:.3f}"
    return f"{source}: median error {noise['median_error']:.4g}{share}{reach}{without}"


def _spectra_lines(spectra: dict[str, Any]) -> list[str]:
    first, last = spectra["wave_angstrom"]
    step = f"{spectra['wave_step_angstrom']:g}"
    lines = [f"spectra: {spectra['n_wave']} pixels, {first:g} to {last:g} Angstrom, step {step}, {spectra['unit']}"]
    if spectra["snr"]:
        low, median, high = (spectra["snr"][key] for key in ("0.05", "0.5", "0.95"))
        share = f"90 % of the galaxies {low:.3g} to {high:.3g}; {spectra['invalid']:.1%} of pixels invalid"
        lines.append(f"  signal to noise a pixel: median {median:.3g}, {share}")
    return lines


def _bars(counts: Sequence[int]) -> str:
    """A histogram as a line of text."""
    most = max(counts) or 1
    return "".join(BARS[-(-count * (len(BARS) - 1) // most)] for count in counts)


def _line(name: str, unit: str, entry: dict[str, Any]) -> str:
    label = f"{name} [{unit}]" if unit else name
    if not entry["n"]:
        return f"{label}: all missing"
    missing = f", {entry['n_missing']} missing" if entry["n_missing"] else ""
    median = entry["quantiles"]["0.5"]
    return f"{label}: {entry['min']:.4g} to {entry['max']:.4g}, median {median:.4g}, n = {entry['n']}{missing}"

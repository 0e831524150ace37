"""What is wrong with a survey before anything is scored on it: units, gaps, sentinels, repeats and leaks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmark.contracts import Finding, Target
from benchmark.data.importing.spec import DEBIASED
from benchmark.data.inspection.array_checks import check_images, check_spectra
from benchmark.data.inspection.findings import LEAK_ERROR_SHARE, finding_about, pairs_within, repeats
from benchmark.data.inspection.label_checks import check_labels
from benchmark.data.splits import hash_split
from benchmark.data.survey import Survey

__all__ = ["SENTINELS", "check_survey"]

SENTINELS = (-9999.0, -999.0, -99.0, -99.9, -99.99, 99.0, 99.9, 99.99, 999.0)
MAG_RANGE = (-5.0, 40.0)
SAME_POSITION_ARCSEC = 0.5
SCORED = ("train", "validation", "test")


def check_survey(survey: Survey) -> list[Finding]:
    """Look for what would make scores on a survey wrong.

    Parameters
    ----------
    survey : read whole, images and spectra in pieces.

    Returns
    -------
    Findings, errors first; what cannot be checked here is listed at level ``info``. Codes: ``mag_range``,
    ``mag_is_flux``, ``target_range``, ``target_unit``, ``sentinel``, ``missing``, ``constant``, ``position_range``,
    ``position_repeat``, ``row_repeat``, ``image_repeat``, ``image_empty``, ``image_dead``, ``image_not_finite``,
    ``image_altered``, ``spectrum_altered``, ``spectrum_not_finite``, ``spectrum_ivar``, ``spectrum_empty``,
    ``spectrum_unit``, ``spectrum_wave``, ``spectrum_repeat``, ``split_missing``, ``split_small``, ``split_rule``,
    ``label_error_missing``, ``label_error_large``, ``label_error_scatter``, ``label_draws_equal``,
    ``label_draws_beyond``, ``targets_absent``, ``photometry_absent``, ``images_absent``, ``spectra_absent``,
    ``positions_absent``, ``rows_unchecked``; repeats across splits are leaks: ``position_leak``, ``row_leak``,
    ``image_leak``, ``spectrum_leak``.
    """
    findings = [
        *_splits(survey),
        *_photometry(survey),
        *_targets(survey),
        *check_labels(survey),
        *_columns(survey),
        *_positions(survey),
        *_rows(survey),
        *check_images(survey),
        *check_spectra(survey),
    ]
    return sorted(findings, key=lambda finding: ("error", "warning", "info").index(finding.level))


def _splits(survey: Survey) -> Iterator[Finding]:
    counts = survey.counts()
    for name in SCORED:
        if counts[name] == 0:
            what = "scored" if name == "test" else "fitted here, only files of predictions can be scored"
            yield Finding("error", "split_missing", f"no galaxies in {name}: nothing can be {what}")
        elif counts[name] < 20:
            yield Finding(
                "warning",
                "split_small",
                f"only {counts[name]} in {name}: intervals will be wide",
                counts[name],
            )
    if survey.info.split_rule == "hash":
        other = (survey.split != hash_split(survey.target_id)) & (survey.split != "unlabelled")
        if other.any():
            message = "split_rule is hash but these galaxies are elsewhere than the hash of their id says"
            yield finding_about(survey, "warning", "split_rule", message, other)


def _photometry(survey: Survey) -> Iterator[Finding]:
    if not survey.info.photometry_bands:
        yield Finding("info", "photometry_absent", "no photometry: magnitudes are not checked")
    for band in survey.info.photometry_bands:
        mag = survey.catalogue[f"mag_{band}"].to_numpy(dtype=np.float64)
        known = mag[np.isfinite(mag)]
        if not len(known):
            continue
        median, high = np.quantile(known, [0.5, 0.99])
        # magnitudes of a survey span a few units about 20; fluxes span decades, and faint ones scatter below zero
        if (median > 0 and high > 3 * median) or (abs(median) < 5 and (known < 0).mean() > 0.01):
            message = (
                f"mag_{band} looks like fluxes (median {median:.4g}, 99 % below {high:.4g}): convert to AB magnitudes"
            )
            yield finding_about(survey, "error", "mag_is_flux", message, np.isfinite(mag))
        outside = (mag < MAG_RANGE[0]) | (mag > MAG_RANGE[1])
        if outside.any():
            message = f"mag_{band} outside {MAG_RANGE[0]:g} to {MAG_RANGE[1]:g}: no AB magnitudes of galaxies"
            yield finding_about(survey, "error", "mag_range", message, outside)


def _targets(survey: Survey) -> Iterator[Finding]:
    if not survey.info.targets:
        yield Finding("warning", "targets_absent", "no targets: nothing can be predicted")
    for target in survey.info.targets:
        values = survey.catalogue[target.name].to_numpy(dtype=np.float64)
        yield from _target_units(survey, target, values)
        low = -np.inf if target.low is None else target.low
        high = np.inf if target.high is None else target.high
        outside = (values < low) | (values > high)
        if outside.any():
            message = f"{target.name} outside its limits {low:g} to {high:g}"
            yield finding_about(survey, "error", "target_range", message, outside)


# plausible values of quantities with a known name, and what other values usually are
PLAUSIBLE = {
    "z": (-0.01, 20.0, "redshift: may be in km/s, or a failed fit"),
    "log10_mstar": (4.0, 14.0, "log10 of the stellar mass in solar masses: may be linear or a natural logarithm"),
    "log10_ssfr": (-18.0, -5.0, "log10 of the specific star-formation rate a year: may be a Gyr or linear"),
    "log10_sfr": (-8.0, 5.0, "log10 of the star-formation rate in solar masses a year: may be linear"),
    "t_age_gyr": (0.0, 20.0, "age in Gyr: may be in years or a logarithm"),
    "ln_z_mw": (-15.0, 0.0, "natural logarithm of the mass fraction of metals: may be linear or relative to the sun"),
}
LARGEST_LOG10 = 60.0  # 10^60 is beyond any quantity of a galaxy in any unit in use


def _target_units(survey: Survey, target: Target, values: NDArray[np.float64]) -> Iterator[Finding]:
    name = target.name.removesuffix("_provabgs")
    if name in PLAUSIBLE:
        low, high, what = PLAUSIBLE[name]
        odd = (values < low) | (values > high)
        if odd.any():
            level = "error" if odd.sum() > LEAK_ERROR_SHARE * np.isfinite(values).sum() else "warning"
            message = f"{target.name} outside {low:g} to {high:g} ({what})"
            yield finding_about(survey, level, "target_unit", message, odd)
    elif target.log_base != "none":
        odd = np.abs(values) > LARGEST_LOG10 * (np.log(10) if target.log_base == "e" else 1.0)
        if odd.any():
            message = f"{target.name} is said to be a logarithm (base {target.log_base}) but looks linear"
            yield finding_about(survey, "error", "target_unit", message, odd)


def _numbers(survey: Survey) -> Iterator[tuple[str, NDArray[np.float64]]]:
    for name in survey.catalogue.columns:
        column = survey.catalogue[name]
        if name != "target_id" and pd.api.types.is_numeric_dtype(column.dtype):
            yield str(name), column.to_numpy(dtype=np.float64)


def _columns(survey: Survey) -> Iterator[Finding]:
    essential = {target.name for target in survey.info.targets} | {f"mag_{b}" for b in survey.info.photometry_bands}
    votes = set(survey.info.vote_columns)
    for name, values in _numbers(survey):
        known = np.isfinite(values)
        level = "error" if name in essential else "warning"
        marks = tuple(mark for mark in SENTINELS if name not in votes or mark < 0)  # 99 volunteers may well vote
        if name in ("ra", "dec"):  # 99 degrees is a place; what is no place is found by its range
            continue
        left = np.isin(values, [mark for mark in marks if not _is_counted(values, mark)])
        if left.any():
            which = ", ".join(f"{mark:g}" for mark in np.unique(values[left]))
            message = f"{name} holds {which}, which usually means no value: list it under missing and import again"
            yield finding_about(survey, level, "sentinel", message, left)
        missing = ~known & _asked(survey, name)
        has_own_finding = name in survey.info.error_columns or _error_of_missing(survey, name, missing)
        if missing.any() and not has_own_finding:
            share = missing.mean()
            level = "error" if not known.any() and name in essential else "warning" if share > 0.5 else "info"
            yield finding_about(survey, level, "missing", f"{name} is missing for {share:.2%} of the galaxies", missing)
        if known.sum() > 1 and np.ptp(values[known]) == 0:
            level = "error" if name in essential else "info"
            yield finding_about(survey, level, "constant", f"{name} is {values[known][0]:g} for every galaxy", known)


def _is_counted(values: NDArray[np.float64], mark: float) -> bool:
    """Whether the whole numbers on both sides of a mark occur too, as where groups are numbered: then it is no mark."""
    return bool(np.isin([mark - 1, mark + 1], values).all())


def _error_of_missing(survey: Survey, name: str, missing: NDArray[np.bool_]) -> bool:
    """Whether a column holds errors of magnitudes that are missing for the same galaxies: one finding says it all."""
    magnitude = f"mag_{name.removeprefix('mag_err_')}"
    if not name.startswith("mag_err_") or magnitude not in survey.catalogue:
        return False
    return bool((survey.catalogue[magnitude].isna().to_numpy() == missing).all())


def _asked(survey: Survey, name: str) -> NDArray[np.bool_]:
    """(n,) False where a column of debiased shares must be empty, because nobody was asked the question."""
    question = name.removesuffix(DEBIASED).partition("_")[0]
    if not name.endswith(DEBIASED) or question not in survey.info.votes:
        return np.ones(survey.n_galaxies, dtype=bool)
    return survey.catalogue[f"{question}_total"].to_numpy(dtype=np.float64) > 0


def _positions(survey: Survey) -> Iterator[Finding]:
    ra, dec = (survey.catalogue[name].to_numpy(dtype=np.float64) for name in ("ra", "dec"))
    known = np.isfinite(ra) & np.isfinite(dec)
    if not known.any():
        yield Finding("info", "positions_absent", "no positions: repeats on the sky are not checked")
        return
    outside = known & ((ra < 0) | (ra > 360) | (np.abs(dec) > 90))
    if outside.any():
        yield finding_about(
            survey, "error", "position_range", "ra outside 0 to 360 or dec outside -90 to 90 degrees", outside
        )
    lon, lat = np.radians(ra[known]), np.radians(dec[known])
    xyz = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
    chord = 2 * np.sin(np.radians(SAME_POSITION_ARCSEC / 3600) / 2)
    pairs = np.flatnonzero(known)[cKDTree(xyz).query_pairs(chord, output_type="ndarray")]
    yield from repeats(survey, "position", f"galaxies within {SAME_POSITION_ARCSEC} arcsec of another", pairs)


def _rows(survey: Survey) -> Iterator[Finding]:
    """Rows with the same numbers in every magnitude and target."""
    names = [target.name for target in survey.info.targets]
    names += [f"mag_{band}" for band in survey.info.photometry_bands]
    if len(names) < 2:
        yield Finding("info", "rows_unchecked", "fewer than two numbers a galaxy: repeated rows are not checked")
        return
    values = survey.catalogue[names].to_numpy(dtype=np.float64)
    rows = np.flatnonzero(np.isfinite(values).sum(axis=1) >= 2)
    groups = np.asarray(pd.util.hash_pandas_object(survey.catalogue[names], index=False), dtype=np.uint64)
    yield from repeats(
        survey, "row", "galaxies with the same magnitudes and targets as another", pairs_within(groups, rows)
    )

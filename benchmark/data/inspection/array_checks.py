"""What is wrong with images and spectra: empty, broken, altered or repeated rows, and units that cannot be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import Finding
from benchmark.data.inspection.findings import finding_about, pairs_within, repeats, severity
from benchmark.data.stored import files_of
from benchmark.data.survey import IMAGE_FILE, IVAR_FILE, SPECTRA_FILE, Survey
from benchmark.store import file_sha256

__all__ = ["check_images", "check_spectra"]

ROWS_AT_ONCE = 256
MOST_DEAD = 0.2  # share of the pixels of a band
WAVE_RANGE = (500.0, 1e6)  # Angstrom: far ultraviolet to 100 micron; spectra in nm or micron start below
FLUX_RANGE = (1e-5, 1e5)  # 1e-17 erg/s/cm2/A, median of |flux|: 32nd to 7th magnitude


def check_images(survey: Survey) -> Iterator[Finding]:
    """What is wrong with a survey's images; codes as in `check_survey`."""
    if survey.images is None:
        yield Finding("info", "images_absent", "no images: pixels are not checked")
        return
    yield from _altered(survey, IMAGE_FILE, "image_altered")
    digests, empty, broken = [], [], []
    for start in range(0, survey.n_galaxies, ROWS_AT_ONCE):
        block = np.asarray(survey.images[start : start + ROWS_AT_ONCE])
        flat = block.reshape(len(block), -1)
        digests += [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in flat]
        empty.append((flat == flat[:, :1]).all(axis=1))
        broken.append(~np.isfinite(flat).all(axis=1))
    empty_rows, broken_rows = np.concatenate(empty), np.concatenate(broken)
    if empty_rows.any():
        message = "images with one value in every pixel: there is nothing to see"
        yield finding_about(survey, severity(survey, empty_rows), "image_empty", message, empty_rows)
    if broken_rows.any():
        yield finding_about(survey, "error", "image_not_finite", "images with NaN or infinite pixels", broken_rows)
    if "image_dead" in survey.catalogue:
        dead = survey.catalogue["image_dead"].to_numpy(dtype=np.float64) > MOST_DEAD
        if dead.any():
            message = f"images of which one band saw nothing in more than {MOST_DEAD:.0%} of its pixels"
            yield finding_about(survey, "warning", "image_dead", message, dead)
    groups = np.frombuffer(b"".join(digests), dtype=np.uint64)
    pairs = pairs_within(groups, np.flatnonzero(~empty_rows))
    yield from repeats(survey, "image", "galaxies with the same image as another", pairs)


def check_spectra(survey: Survey) -> Iterator[Finding]:
    """What is wrong with a survey's spectra; codes as in `check_survey`."""
    if survey.spectra is None or survey.spectra_ivar is None or survey.wave_angstrom is None:
        yield Finding("info", "spectra_absent", "no spectra: fluxes and wavelengths are not checked")
        return
    for name in (SPECTRA_FILE, IVAR_FILE):
        yield from _altered(survey, name, "spectrum_altered")
    first, last = survey.wave_angstrom[[0, -1]]
    if first < WAVE_RANGE[0] or last > WAVE_RANGE[1]:
        message = f"wavelengths from {first:g} to {last:g} Angstrom: may be in nm or micron"
        yield Finding("error", "spectrum_wave", message, survey.n_galaxies)
    digests: list[bytes] = []
    blocks: list[NDArray] = []
    for start in range(0, survey.n_galaxies, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        flux, ivar = np.asarray(survey.spectra[rows]), np.asarray(survey.spectra_ivar[rows])
        digests += [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in flux]
        blocks.append(_spectrum_faults(flux, ivar))
    broken, bad_ivar, empty, unit = np.concatenate(blocks, axis=1)
    faults = (
        (broken, "error", "spectrum_not_finite", "spectra with NaN or infinite fluxes: set their ivar and flux to 0"),
        (bad_ivar, "error", "spectrum_ivar", "inverse variances that are negative, NaN or infinite: 0 means invalid"),
        (empty, severity(survey, empty), "spectrum_empty", "spectra without a valid pixel, or with one flux in all"),
        (
            unit,
            severity(survey, unit),
            "spectrum_unit",
            "median |flux| that no galaxy has in 1e-17 erg/s/cm2/A",
        ),
    )
    for found, level, code, message in faults:
        if found.any():
            yield finding_about(survey, level, code, message, found)
    groups = np.frombuffer(b"".join(digests), dtype=np.uint64)
    pairs = pairs_within(groups, np.flatnonzero(~empty))
    yield from repeats(survey, "spectrum", "galaxies with the same spectrum as another", pairs)


def _altered(survey: Survey, name: str, code: str) -> Iterator[Finding]:
    for file in files_of(name, survey.info.files):
        if file_sha256(survey.folder / file) != survey.info.files[file]:
            yield Finding("error", code, f"{file} was altered since it was written: import or build it again")


def _spectrum_faults(flux: NDArray, ivar: NDArray) -> NDArray[np.bool_]:
    """(4, n): not finite, impossible ivar, nothing to see, a scale that no galaxy has."""
    finite = np.isfinite(flux)
    bad_ivar = ~(np.isfinite(ivar) & (ivar >= 0))
    valid = finite & (ivar > 0)
    empty = ~valid.any(axis=1) | (flux == flux[:, :1]).all(axis=1)
    typical = np.median(np.where(valid, np.abs(flux), 0.0), axis=1)
    unit = ~empty & (valid.mean(axis=1) > 0.6) & ((typical < FLUX_RANGE[0]) | (typical > FLUX_RANGE[1]))
    return np.stack([~finite.all(axis=1), bad_ivar.any(axis=1), empty, unit])

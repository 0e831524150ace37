"""Spectra of a survey folder: written with their ivar, read back by row, checked."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.contracts import Finding, GalaxybenchError
from benchmark.data import (
    SpectrumWriter,
    Survey,
    SurveyInfo,
    check_survey,
    describe,
    describe_text,
    hash_split,
    inputs,
    load_survey,
    write_survey,
)

N_WAVE = 50


@pytest.fixture
def info(info: SurveyInfo) -> SurveyInfo:
    return dataclasses.replace(
        info, image_bands=(), image_unit=None, wave_start_angstrom=3600.0, wave_step_angstrom=0.8, n_wave=N_WAVE
    )


@pytest.fixture
def spectra(catalogue: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    flux = rng.normal(3, 1, (len(catalogue), N_WAVE)).astype(np.float32)
    ivar = rng.uniform(0.5, 2, flux.shape).astype(np.float32)
    ivar[:, 7] = 0
    return flux, ivar


@pytest.fixture
def survey(tmp_path: Path, info: SurveyInfo, catalogue: pd.DataFrame, spectra: tuple[np.ndarray, np.ndarray]) -> Survey:
    return write_survey(tmp_path / "toy", info, catalogue, spectra=spectra)


def test_spectra_are_read_back_with_their_ivar_sorted_by_id(survey, info, catalogue, spectra) -> None:
    opened = load_survey(survey.folder)
    order = np.argsort(catalogue["target_id"].to_numpy())
    np.testing.assert_array_equal(opened.spectra, spectra[0][order])
    np.testing.assert_array_equal(opened.spectra_ivar, spectra[1][order])
    np.testing.assert_allclose(opened.wave_angstrom, 3600 + 0.8 * np.arange(N_WAVE), rtol=1e-15)
    assert opened.modalities == ("photometry", "spectrum")
    assert opened.images is None
    for name in ("wave_start_angstrom", "wave_step_angstrom", "n_wave"):
        assert getattr(opened.info, name) == getattr(info, name)


def test_a_model_sees_flux_and_ivar_of_the_rows_it_asks_for(survey) -> None:
    rows = survey.rows("train")[::-1]
    view = inputs(survey, "spectrum", rows)
    assert view.shape == (len(rows), 2, N_WAVE)
    assert len(view) == len(rows)
    whole = view[:]
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(whole[:, 0], np.asarray(survey.spectra)[rows])
    np.testing.assert_array_equal(whole[:, 1], np.asarray(survey.spectra_ivar)[rows])
    np.testing.assert_array_equal(view[np.array([4, 1])], whole[[4, 1]])
    np.testing.assert_array_equal(view[2:5], whole[2:5])
    np.testing.assert_array_equal(view.wave_angstrom, survey.wave_angstrom)
    whole[:] = 0  # what a model does to its copy stays its own
    assert (view[:1][:, 1] != 0).any()


def test_spectra_can_be_made_while_they_are_written(tmp_path, info, catalogue, spectra) -> None:
    row_of = {galaxy: row for row, galaxy in enumerate(catalogue["target_id"])}

    def fill(flux: np.ndarray, ivar: np.ndarray, target_id: np.ndarray) -> None:
        for i, galaxy in enumerate(target_id):
            flux[i], ivar[i] = (part[row_of[galaxy]] for part in spectra)

    shape = (len(catalogue), N_WAVE)
    made = write_survey(tmp_path / "made", info, catalogue, spectra=SpectrumWriter(shape, fill))
    given = write_survey(tmp_path / "given", info, catalogue, spectra=spectra)
    assert made.digest == given.digest
    np.testing.assert_array_equal(made.spectra_ivar, given.spectra_ivar)


def test_the_digest_sees_fluxes_ivar_and_wavelengths_and_is_as_before_without_spectra(
    tmp_path, info, catalogue, spectra, survey
) -> None:
    flux, ivar = (part.copy() for part in spectra)
    flux[3, 3] += 1
    ivar[3, 3] += 1
    shifted = dataclasses.replace(info, wave_start_angstrom=3601.0)
    others = {
        write_survey(tmp_path / "flux", info, catalogue, spectra=(flux, spectra[1])).digest,
        write_survey(tmp_path / "ivar", info, catalogue, spectra=(spectra[0], ivar)).digest,
        write_survey(tmp_path / "wave", shifted, catalogue, spectra=spectra).digest,
        survey.digest,
    }
    assert len(others) == 4
    # records made before surveys had spectra keep their keys
    bare = SurveyInfo("x", "1", (), catalogue_digest="ab")
    assert bare.digest == "608e1feb5fd9f48447961297dd6289fd6f98e0dbe410444b477f6fa2c5abbde6"


def test_a_survey_with_spectra_is_replaced_when_asked(survey, info, catalogue, spectra) -> None:
    fewer = tuple(part[:20] for part in spectra)
    assert write_survey(survey.folder, info, catalogue[:20], spectra=fewer, overwrite=True).n_galaxies == 20


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "n_wave = 50 but no spectra were given"),
        ((np.zeros((60, 49)), np.zeros((60, 50))), r"flux of shape \(60, 49\): 60 galaxies with n_wave = 50"),
        ((np.zeros((60, 50)), np.zeros((59, 50))), r"ivar of shape \(59, 50\)"),
        ((np.zeros((60, 50), int), np.zeros((60, 50))), "dtypes int64, float64: floats are stored"),
        (SpectrumWriter((60, 7), lambda flux, ivar, ids: None), r"spectra of shape \(60, 7\)"),
    ],
)
def test_spectra_that_do_not_fit_are_refused(tmp_path, info, catalogue, given, message) -> None:
    with pytest.raises(GalaxybenchError, match=message):
        write_survey(tmp_path / "s", info, catalogue, spectra=given)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_wave": 0}, "wave_start_angstrom = 3600.0 but n_wave = 0"),
        ({"n_wave": -1}, "n_wave = -1"),
        ({"wave_step_angstrom": None}, "wave_step_angstrom = None: n_wave = 50 needs a positive"),
        ({"wave_step_angstrom": -0.8}, "wave_step_angstrom = -0.8"),
        ({"wave_start_angstrom": float("nan")}, "wave_start_angstrom = nan"),
    ],
)
def test_wavelength_grids_that_make_no_sense_are_refused(info, change, message) -> None:
    with pytest.raises(GalaxybenchError, match=message):
        dataclasses.replace(info, **change)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "spectra.npy").unlink(), r"spectra\.npy is missing"),
        (lambda f: (f / "spectra_ivar.npy").write_bytes(b"x" * 10), r"spectra_ivar\.npy is truncated"),
        (lambda f: np.save(f / "spectra.npy", np.zeros((60, 49), np.float32)), r"shape \(60, 49\) and dtype float32"),
        (lambda f: np.save(f / "spectra.npy", np.zeros((60, 50))), "dtype float64: survey.toml says 60 galaxies"),
    ],
)
def test_damaged_spectra_are_refused_when_the_survey_is_opened(survey, damage, message) -> None:
    damage(survey.folder)
    with pytest.raises(GalaxybenchError, match=message):
        load_survey(survey.folder)


@pytest.fixture
def checked(tmp_path: Path, info: SurveyInfo):
    """A function that writes 400 galaxies with changed spectra or facts and returns the findings about spectra."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"target_id": np.arange(400)})
    for name in ("z", "log10_mstar", "mag_g", "mag_r", "mag_z"):
        table[name] = rng.uniform(19 if name.startswith("mag") else 5, 20, 400)
    flux = rng.normal(3, 1, (400, N_WAVE)).astype(np.float32)
    ivar = np.ones_like(flux)

    def check(change=lambda flux, ivar: None, **facts) -> dict[str, Finding]:
        changed = flux.copy(), ivar.copy()
        change(*changed)
        written = write_survey(
            tmp_path / "s", dataclasses.replace(info, **facts), table, spectra=changed, overwrite=True
        )
        findings = {f.code: f for f in check_survey(written) if f.code.startswith("spectr")}
        assert all(f"``{code}``" in (check_survey.__doc__ or "") for code in findings)
        return findings

    return check


def test_sound_spectra_have_no_findings(checked) -> None:
    assert checked() == {}


def test_broken_spectra_are_found_and_named(checked) -> None:
    def damage(flux: np.ndarray, ivar: np.ndarray) -> None:
        flux[3, 3], flux[4, 4] = np.nan, np.inf
        ivar[5, 5], ivar[6, 6] = -1, np.nan
        ivar[7] = 0
        flux[8] = 2.0
        flux[9] = 0.0

    found = checked(damage)
    assert found["spectrum_not_finite"].examples == ("3", "4")
    assert found["spectrum_ivar"].examples == ("5", "6")
    assert found["spectrum_empty"].examples == ("7", "8", "9")
    assert {f.level for code, f in found.items() if code != "spectrum_empty"} == {"error"}
    assert set(found) == {"spectrum_not_finite", "spectrum_ivar", "spectrum_empty"}


def test_fluxes_in_cgs_and_wavelengths_in_nm_are_found(checked) -> None:
    def to_cgs(flux: np.ndarray, ivar: np.ndarray) -> None:
        flux *= 1e-17
        ivar *= 1e34

    assert checked(to_cgs)["spectrum_unit"].level == "error"
    assert checked(wave_start_angstrom=360.0, wave_step_angstrom=0.08)["spectrum_wave"].level == "error"


def test_a_copied_spectrum_is_a_leak_across_splits_and_a_repeat_within_one(checked) -> None:
    split = hash_split(np.arange(400))
    train, test = np.flatnonzero(split == "train"), np.flatnonzero(split == "test")

    def leak(flux: np.ndarray, ivar: np.ndarray) -> None:
        flux[test[:3]] = flux[train[:3]]

    def repeat(flux: np.ndarray, ivar: np.ndarray) -> None:
        flux[train[0]] = flux[train[1]]

    assert checked(leak)["spectrum_leak"].n == 6
    assert checked(leak)["spectrum_leak"].level == "error"
    assert checked(repeat)["spectrum_repeat"].n == 2


def test_spectra_that_were_altered_are_found(survey) -> None:
    ivar = np.array(survey.spectra_ivar)
    np.save(survey.folder / "spectra_ivar.npy", ivar * 2)
    findings = [f for f in check_survey(survey) if f.code == "spectrum_altered"]
    assert len(findings) == 1
    assert "spectra_ivar.npy" in findings[0].message


def test_the_description_says_which_wavelengths_there_are(survey) -> None:
    description = describe(survey)
    assert description["spectra"]["n_wave"] == N_WAVE
    assert description["spectra"]["wave_angstrom"] == pytest.approx([3600.0, 3639.2])
    assert "spectra: 50 pixels, 3600 to 3639.2 Angstrom, step 0.8, 1e-17 erg/s/cm2/A" in describe_text(description)

"""The shipped specs of spectra, catalogues and FITS images on the real files, against the files read by themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from benchmark.data import Survey, import_survey
from benchmark.data.importing.importer import ImportReport
from benchmark.metrics import sigma_nmad

SPECS = Path(__file__).parents[2] / "configs" / "surveys"
pytestmark = pytest.mark.real_data


def imported(name: str, tmp_path: Path, real_data: Path) -> tuple[Survey, ImportReport]:
    return import_survey(SPECS / f"{name}.toml", tmp_path / name, data_dir=real_data)


def test_zcosmos_keeps_secure_redshifts_and_drops_no_galaxy_for_a_missing_band(tmp_path: Path, real_data: Path) -> None:
    survey, report = imported("zcosmos", tmp_path, real_data)
    source = pd.read_csv(real_data / "photoz_catalogues" / "zcosmost_bright20k.csv.gz").set_index("id_zcosmos")
    secure = source[source["cc"].between(3, 4.999) & (source["zpec"] > 0)].sort_index()
    assert report.sources[0].dropped == {"keep = cc >= 3 and cc < 5": 5424, "keep = zpec > 0": 568}
    np.testing.assert_array_equal(survey.target_id, secure.index)
    np.testing.assert_array_equal(survey.catalogue["ra"], secure["alpha"])
    fuv = secure["fuv_photzi25"].to_numpy()
    np.testing.assert_array_equal(survey.catalogue["mag_FUV"].isna(), ~((fuv > 0) & (fuv < 90)))  # sentinels and blanks
    for name in survey.info.photometry_bands:
        assert survey.catalogue[f"mag_{name}"].between(15, 30).sum() == survey.catalogue[f"mag_{name}"].notna().sum()


def test_desi_cameras_are_merged_on_the_pixels_of_astroclip(tmp_path: Path, real_data: Path) -> None:
    survey, _ = imported("desi_coadds", tmp_path, real_data)
    assert survey.wave_angstrom is not None
    np.testing.assert_allclose(survey.wave_angstrom, 3600 + 0.8 * np.arange(7781), rtol=1e-15)
    redshifts = dict(zip(survey.target_id.tolist(), survey.catalogue["z"]))
    assert redshifts[39633345008634465] == pytest.approx(0.36874, abs=1e-5)
    assert redshifts[39089837499744649] == pytest.approx(0.00727, abs=1e-5)
    assert survey.spectra is not None
    assert survey.spectra_ivar is not None
    for path in sorted((real_data / "desi_coadds").glob("coadd-*.fits")):
        with fits.open(path) as hdus:
            row = int(np.flatnonzero(survey.target_id == hdus["FIBERMAP"].data["TARGETID"][0])[0])
            weight, total = np.zeros(7781), np.zeros(7781)
            for camera in "BRZ":
                wave = hdus[f"{camera}_WAVELENGTH"].data
                flux, ivar = (hdus[f"{camera}_{what}"].data[0].astype(np.float64) for what in ("FLUX", "IVAR"))
                ivar = np.where(hdus[f"{camera}_MASK"].data[0] == 0, ivar, 0)
                place = np.rint((wave - 3600) / 0.8).astype(int)
                weight[place] += ivar
                total[place] += ivar * flux
        # one camera sees a pixel bit for bit; two are a mean, which single precision keeps to 6e-8
        np.testing.assert_array_equal(survey.spectra_ivar[row] > 0, weight > 0)
        np.testing.assert_allclose(survey.spectra_ivar[row], weight, rtol=1e-7)
        expected = total / np.where(weight > 0, weight, 1)
        np.testing.assert_allclose(survey.spectra[row], expected, rtol=1e-6, atol=1e-12)


def test_the_lines_of_redrocks_redshift_stand_where_it_puts_them(tmp_path: Path, real_data: Path) -> None:
    survey, _ = imported("desi_coadds", tmp_path, real_data)
    row = int(np.flatnonzero(survey.target_id == 39633345008634465)[0])
    assert survey.spectra is not None
    flux, wave, z = survey.spectra[row], survey.wave_angstrom, survey.catalogue["z"][row]
    for rest in (4862.68, 5008.24, 6564.61):  # H beta, [O III], H alpha in vacuum
        near = np.abs(wave - rest * (1 + z)) < 30
        peak = wave[near][np.argmax(flux[near])]
        assert abs(peak / (1 + z) - rest) < 1.6  # two pixels


def test_fors2_spectra_of_both_grisms_keep_their_flux_on_one_grid(tmp_path: Path, real_data: Path) -> None:
    survey, report = imported("fors2", tmp_path, real_data)
    assert report.n_galaxies == 546
    assert survey.spectra is not None
    assert survey.spectra_ivar is not None
    assert survey.catalogue["ra"].notna().all()
    raw = np.load(real_data / "fors2" / "fors2_spectra_repacked.npz")
    rows = {name: row for row, name in enumerate(raw["id"].tolist())}
    for place in range(0, 546, 13):
        row = rows[survey.catalogue["source_id"][place]]
        n_pixels = int(raw["npix"][row])
        wave, flux = (raw[name][row, :n_pixels].astype(np.float64) for name in ("wavelength", "flux"))
        valid = raw["third_column"][row, :n_pixels] == 0
        seen = np.asarray(survey.spectra_ivar[place]) > 0
        step = np.median(np.diff(wave))
        if abs(step - 3.36) < 0.01:
            np.testing.assert_array_equal(survey.spectra[place][:n_pixels][valid], raw["flux"][row, :n_pixels][valid])
            continue
        middle = (wave > 6000) & (wave < 7000) & valid
        new = (survey.wave_angstrom > 6000) & (survey.wave_angstrom < 7000) & seen
        ratio = survey.spectra[place][new].mean() / flux[middle].mean()
        assert abs(ratio - 1) < 0.03  # the ends of the range and of masked bands fall into other pixels
    assert survey.catalogue["mag_r"].notna().all()


def test_legacy_survey_cubes_are_cropped_and_dead_pixels_counted(tmp_path: Path, real_data: Path) -> None:
    survey, _ = imported("legacysurvey_fits", tmp_path, real_data)
    assert survey.images is not None
    assert survey.images.shape == (2, 3, 152, 152)
    for row, name in enumerate(survey.catalogue["source_id"]):
        with fits.open(real_data / "legacysurvey_fits" / f"{name}.fits") as hdus:
            cube = hdus[0].data
            first = (cube.shape[1] - 152) // 2
            cut = cube[:, first : first + 152, first : first + 152]
        np.testing.assert_array_equal(survey.images[row], cut)
        share = (cut == 0).reshape(3, -1).mean(axis=1).max()
        assert survey.catalogue["image_dead"][row] == share
        assert (share > 0.5) == ("bad_pix" in name)


@pytest.mark.parametrize("name", ["nomaskimage", "quartermaskimage"])
def test_every_row_of_the_published_predictions_is_a_test_galaxy(tmp_path: Path, real_data: Path, name: str) -> None:
    survey, _ = imported(f"mmae_{name}", tmp_path, real_data)
    path = real_data / "predictions" / f"mmae_fullmaskspectrum_{name}_redshift_predictions.csv.gz"
    table = pd.read_csv(path, dtype=str)
    np.testing.assert_array_equal(survey.catalogue["z"], table["y_test"].map(float))
    # sigma_NMAD as published with the files: .0210 with a quarter of the image masked, .0304 with none
    scatter = sigma_nmad(survey.catalogue["z"].to_numpy(), table["y_pred"].map(float).to_numpy())
    assert scatter == pytest.approx(0.0210 if name == "quartermaskimage" else 0.0304, abs=5e-5)
    assert survey.counts()["test"] == survey.n_galaxies == 20_181

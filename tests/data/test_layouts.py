"""Files in exactly the layouts that one downloads, small, through the shipped specs: every number bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from PIL import Image

from benchmark.data import Survey, import_survey
from benchmark.data.importing.importer import ImportReport
from benchmark.data.importing.spec import read_spec

SPECS = Path(__file__).parents[2] / "configs" / "surveys"
N_WAVE = 7781
FIRST_ID = 39633345008634465  # a TARGETID of DESI: beyond 2^53


def imported(name: str, data: Path) -> tuple[Survey, ImportReport]:
    return import_survey(SPECS / f"{name}.toml", data / "out" / name, data_dir=data)


@pytest.mark.parametrize("path", sorted(SPECS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_spec_is_valid_and_in_the_list(path: Path) -> None:
    assert read_spec(path).licence
    assert f"`{path.name}`" in (SPECS / "README.md").read_text(encoding="utf-8")


def test_astroclip_files_are_read_group_by_group(tmp_path: Path) -> None:
    """As AstroCLIP's scripts/export_data.py writes them: images transposed to (width, height, band)."""
    rng = np.random.default_rng(0)
    cubes, spectra, ids = {}, {}, {}
    with h5py.File(tmp_path / "astroclip_desi.1.1.5.h5", "w") as file:
        for group in range(10):
            own = FIRST_ID + rng.permutation(3) + 10 * group
            cubes |= {galaxy: rng.normal(0, 1, (3, 152, 152)).astype("float32") for galaxy in own}
            spectra |= {galaxy: rng.normal(2, 1, (N_WAVE, 1)).astype("float32") for galaxy in own}
            ids |= dict(zip(own, rng.uniform(0, 0.6, 3)))
            file[f"{group}/images"] = np.stack([cubes[galaxy].T for galaxy in own])
            file[f"{group}/spectra"] = np.stack([spectra[galaxy] for galaxy in own])
            file[f"{group}/redshifts"] = np.array([ids[galaxy] for galaxy in own])
            file[f"{group}/targetids"] = own
    survey, _ = imported("astroclip", tmp_path)
    np.testing.assert_array_equal(survey.target_id, sorted(ids))
    assert survey.images is not None
    assert survey.spectra is not None
    assert survey.wave_angstrom is not None
    assert survey.wave_angstrom[[0, -1]] == pytest.approx([3600, 9824])
    for row, galaxy in enumerate(survey.target_id):
        np.testing.assert_array_equal(survey.images[row], cubes[galaxy])
        np.testing.assert_array_equal(survey.spectra[row], spectra[galaxy][:, 0])
        assert survey.catalogue["z"][row] == ids[galaxy]


@pytest.fixture(scope="module")
def provabgs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    n = 25
    table: dict[str, np.ndarray] = {
        "TARGETID": FIRST_ID + np.arange(n),
        "RA": rng.uniform(0, 360, n),
        "DEC": rng.uniform(-30, 60, n),
        "Z_HP": rng.uniform(0.02, 0.5, n),
        "PROVABGS_LOGMSTAR_BF": rng.normal(10.5, 0.4, n),
        "PROVABGS_MCMC": rng.normal(10, 0.2, (n, 100, 13)),
        "PROVABGS_THETA_BF": rng.normal(0, 1, (n, 13)),
        "Z_MW": rng.uniform(0.004, 0.03, n),
        "TAGE_MW": rng.uniform(2, 11, n),
        "AVG_SFR": 10 ** rng.normal(0, 0.5, n),
        **{f"MAG_{band}": rng.normal(19, 1, n).astype(np.float32) for band in "GRZ"},
    }
    table["PROVABGS_LOGMSTAR_BF"][3] = -999  # no best fit
    table["MAG_Z"][4] = -99
    # worked by hand: 10^10 Msun, 2 Msun/yr and a mass fraction of .01
    table["PROVABGS_LOGMSTAR_BF"][0], table["AVG_SFR"][0], table["Z_MW"][0], table["TAGE_MW"][0] = 10.0, 2.0, 0.01, 6.5
    table["PROVABGS_MCMC"][0, :, 0] = np.arange(100) / 100 + 9.7
    return table


def check_provabgs(survey: Survey, table: dict[str, np.ndarray], report: ImportReport) -> None:
    assert report.sources[0].dropped == {
        "keep = PROVABGS_LOGMSTAR_BF > 0": 1,
        "keep = MAG_G > 0 and MAG_R > 0 and MAG_Z > 0": 1,
    }
    first = survey.catalogue[survey.target_id == FIRST_ID].iloc[0]
    assert first["log10_mstar"] == 10.0
    assert first["log10_ssfr"] == pytest.approx(0.30103 - 10, abs=1e-5)  # log10 2 - 10
    assert first["ln_z_mw"] == pytest.approx(-4.60517, abs=1e-5)  # ln .01
    assert first["ssfr_astroclip"] == pytest.approx(0.693147 + 4.60517, abs=1e-5)  # ln 2 - ln .01: no sSFR at all
    assert first["t_age_gyr"] == 6.5
    assert first["log10_mformed_median"] == pytest.approx(10.195, abs=1e-12)  # half way between entries 49 and 50
    assert first["log10_mformed_std"] == pytest.approx(np.sqrt((100**2 - 1) / 12) / 100, rel=1e-10)
    kept = np.isin(table["TARGETID"], survey.target_id)
    np.testing.assert_array_equal(survey.catalogue["z"], table["Z_HP"][kept])
    np.testing.assert_array_equal(survey.catalogue["log10_mstar_err"], survey.catalogue["log10_mformed_std"])
    assert survey.info.label_draws == ("log10_mformed_median",)
    np.testing.assert_array_equal(survey.label_draws, table["PROVABGS_MCMC"][kept][:, :, :1].astype(np.float32))
    assert not survey.target_info("ssfr_astroclip").ranked
    assert [target.name for target in survey.joint_targets] == [
        "z", "log10_mstar", "ln_z_mw", "t_age_gyr", "log10_ssfr"
    ]  # fmt: skip


def test_provabgs_targets_are_what_their_names_say(tmp_path: Path, provabgs: dict[str, np.ndarray]) -> None:
    """MultimodalUniverse's HDF5: a file a HEALPix cell."""
    for cell, rows in {7: slice(0, 12), 11: slice(12, 25)}.items():
        folder = tmp_path / "provabgs" / "datafiles" / f"healpix={cell}"
        folder.mkdir(parents=True)
        with h5py.File(folder / "001-of-001.h5", "w") as file:
            for name, values in provabgs.items():
                file[name.lower() if name in ("RA", "DEC") else name] = values[rows]
            file["object_id"] = provabgs["TARGETID"][rows]
    survey, report = imported("provabgs", tmp_path)
    check_provabgs(survey, provabgs, report)


@pytest.mark.parametrize("form", ["fits", "hdf5"])
def test_the_catalogue_as_one_table_reads_alike(tmp_path: Path, provabgs: dict[str, np.ndarray], form: str) -> None:
    """A binary FITS table, and the HDF5 that astropy's Table.write makes (a dataset of records)."""
    from astropy.table import Table

    table = Table(provabgs)
    if form == "fits":
        table.write(tmp_path / "provabgs.fits")
    else:
        table.write(tmp_path / "provabgs.hdf5", path="data")
    text = (
        (SPECS / "provabgs.toml").read_text().replace("provabgs/datafiles/healpix=*/001-of-001.h5", f"provabgs.{form}")
    )
    spec = tmp_path / "spec.toml"
    spec.write_text(text.replace('ra = "ra"\ndec = "dec"', 'ra = "RA"\ndec = "DEC"'))
    survey, report = import_survey(spec, tmp_path / "out", data_dir=tmp_path)
    check_provabgs(survey, provabgs, report)


@pytest.mark.parametrize("shared", [True, False])
def test_galaxiesml_spectra_has_five_bands_and_ids_as_text(tmp_path: Path, shared: bool) -> None:
    rng = np.random.default_rng(2)
    ids = FIRST_ID + rng.permutation(6)
    image = rng.normal(1, 3, (6, 5, 64, 64)).astype(np.float32)
    flux, ivar = (rng.uniform(0.5, 2, (6, N_WAVE)).astype(np.float32) for _ in range(2))
    wave, z = 3600 + 0.8 * np.arange(N_WAVE), rng.uniform(0, 1.5, 6)
    ivar[:, 5] = 0
    with h5py.File(tmp_path / "GalaxiesML-Spectra.hdf5", "w") as file:
        file["image"] = image
        file["spectrum/flux"], file["spectrum/ivar"] = flux, ivar
        file["spectrum/wave"] = wave if shared else np.tile(wave.astype(np.float32), (6, 1))
        file["DESI_fibermap/DESI_redshift"] = z
        file["targetid"] = np.array([str(galaxy) for galaxy in ids], dtype="S20")
    survey, _ = imported("galaxiesml_spectra", tmp_path)
    order = np.argsort(ids)
    np.testing.assert_array_equal(survey.target_id, ids[order])
    np.testing.assert_array_equal(survey.catalogue["z"], z[order])
    np.testing.assert_array_equal(survey.images, image[order] * np.float32(10 ** (0.4 * (22.5 - 27))))
    np.testing.assert_array_equal(survey.spectra_ivar, ivar[order])
    np.testing.assert_array_equal(survey.spectra, np.where(ivar > 0, flux, 0)[order])


def test_sky_and_dead_fibres_of_desi_are_left_out_and_counted(tmp_path: Path) -> None:
    """A coadd and its redrock file: sky has negative TARGETIDs, a broken fibre a status, a masked pixel a mask."""
    rng = np.random.default_rng(3)
    ids = np.array([FIRST_ID + 2, -35191, FIRST_ID, FIRST_ID + 1, 61640])
    cameras = {"B": (3600.0, 2751), "R": (5760.0, 2326), "Z": (7520.0, 2881)}
    columns = [
        fits.Column("TARGETID", "K", array=ids),
        fits.Column("OBJTYPE", "3A", array=np.array(["TGT", "SKY", "TGT", "TGT", "SKY"])),
        fits.Column("COADD_FIBERSTATUS", "J", array=np.array([0, 0, 0, 8, 0])),
        *(fits.Column(f"TARGET_{name}", "D", array=rng.uniform(0, 80, 5)) for name in ("RA", "DEC")),
        *(fits.Column(f"FLUX_{band}", "E", array=rng.uniform(5, 50, 5)) for band in "GRZ"),
        *(fits.Column(f"FLUX_IVAR_{band}", "E", array=rng.uniform(5, 50, 5)) for band in "GRZ"),
    ]
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="FIBERMAP")]
    hdus.append(fits.BinTableHDU.from_columns(columns[:1], name="EXP_FIBERMAP"))
    made = {}
    for camera, (start, n) in cameras.items():
        flux, ivar = rng.normal(3, 1, (5, n)).astype(np.float32), rng.uniform(1, 4, (5, n)).astype(np.float32)
        mask = np.zeros((5, n), dtype=np.int32)
        mask[:, 17] = 512
        made[camera] = flux, ivar
        parts = {"WAVELENGTH": start + 0.8 * np.arange(n), "FLUX": flux, "IVAR": ivar, "MASK": mask}
        hdus += [fits.ImageHDU(values, name=f"{camera}_{name}") for name, values in parts.items()]
    (tmp_path / "desi_coadds").mkdir()
    fits.HDUList(hdus).writeto(tmp_path / "desi_coadds" / "coadd-main-dark-1.fits")
    z = rng.uniform(0.1, 1, 5)
    redrock = [
        fits.Column("TARGETID", "K", array=ids[::-1]),
        fits.Column("Z", "D", array=z[::-1]),
        fits.Column("ZERR", "D", array=np.full(5, 3e-5)),
        fits.Column("ZWARN", "K", array=np.array([0, 0, 0, 0, 4])),  # of the first galaxy
        fits.Column("COEFF", "10D", array=np.zeros((5, 10))),
    ]
    tables = [fits.BinTableHDU.from_columns(redrock, name="REDSHIFTS"), hdus[1].copy()]
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(tmp_path / "desi_coadds" / "redrock-main-dark-1.fits")
    survey, report = imported("desi_coadds", tmp_path)
    np.testing.assert_array_equal(survey.target_id, [FIRST_ID, FIRST_ID + 2])
    assert report.sources[0].dropped == {
        "keep = TARGETID > 0": 1, "keep = OBJTYPE == 'TGT'": 1, "keep = COADD_FIBERSTATUS == 0": 1
    }  # fmt: skip
    np.testing.assert_array_equal(survey.catalogue["z"], [z[2], np.nan])
    np.testing.assert_array_equal(survey.catalogue["z_err"], [3e-5, np.nan])
    assert survey.spectra is not None
    assert survey.spectra_ivar is not None
    flux, ivar = made["B"]
    np.testing.assert_array_equal(survey.spectra[0][:17], flux[2][:17])
    assert survey.spectra_ivar[0][17] == 0
    np.testing.assert_array_equal(survey.spectra_ivar[1][18:2700], ivar[0][18:2700])


def test_desi_redshift_catalogues_give_the_best_redshift_of_each_target(tmp_path: Path) -> None:
    """zall-pix: a target observed by two programs stands there twice, the better redshift is primary."""
    ids = np.array([FIRST_ID + 4, FIRST_ID, FIRST_ID, -77, FIRST_ID + 1, FIRST_ID + 2, FIRST_ID + 3])
    z = np.array([0.3, 0.11, 0.12, 0.5, 0.2, 1.4, 0.25])
    columns = [
        fits.Column("TARGETID", "K", array=ids),
        fits.Column("SURVEY", "7A", array=np.array(["main"] * 7)),
        fits.Column("PROGRAM", "6A", array=np.array(["bright", "dark", "bright", "dark", "dark", "dark", "bright"])),
        fits.Column("Z", "D", array=z),
        fits.Column("ZERR", "D", array=np.array([1e-5, 5e-5, 2e-5, 1e-4, 3e-5, 1e-4, 0.0])),
        fits.Column("ZWARN", "K", array=np.array([0, 0, 0, 0, 4, 0, 0])),
        fits.Column("SPECTYPE", "6A", array=np.array(["GALAXY"] * 5 + ["QSO", "GALAXY"])),
        fits.Column("OBJTYPE", "3A", array=np.array(["TGT", "TGT", "TGT", "SKY", "TGT", "TGT", "TGT"])),
        fits.Column("COADD_FIBERSTATUS", "J", array=np.zeros(7, np.int32)),
        fits.Column("ZCAT_NSPEC", "I", array=np.array([1, 2, 2, 1, 1, 1, 1])),
        fits.Column("ZCAT_PRIMARY", "L", array=np.array([True, False, True, True, True, True, True])),
        *(fits.Column(f"TARGET_{name}", "D", array=np.arange(7.0)) for name in ("RA", "DEC")),
    ]
    for band in ("G", "R", "Z", "W1", "W2"):
        columns.append(fits.Column(f"FLUX_{band}", "E", array=np.full(7, 10.0)))
        columns.append(fits.Column(f"FLUX_IVAR_{band}", "E", array=np.full(7, 4.0)))
    (tmp_path / "desi_zall").mkdir()
    table = fits.BinTableHDU.from_columns(columns, name="ZCATALOG")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "desi_zall" / "zall-pix-iron.fits")
    survey, report = imported("desi_zall", tmp_path)
    np.testing.assert_array_equal(survey.target_id, [FIRST_ID, FIRST_ID + 3, FIRST_ID + 4])
    np.testing.assert_array_equal(survey.catalogue["z"], [0.12, 0.25, 0.3])
    np.testing.assert_array_equal(survey.catalogue["z_err"], [2e-5, np.nan, 1e-5])
    assert survey.catalogue["mag_W1"].to_numpy() == pytest.approx(20.0, abs=1e-12)
    assert report.sources[0].dropped == {
        "keep = TARGETID > 0": 1, "keep = ZWARN == 0": 1, "keep = SPECTYPE == 'GALAXY'": 1, "keep = ZCAT_PRIMARY": 1
    }  # fmt: skip


@pytest.mark.parametrize("case", [str.upper, str.lower], ids=["sweep", "brick"])
def test_tractor_rows_become_magnitudes_corrected_for_dust(tmp_path: Path, case: Callable[[str], str]) -> None:
    """Sweeps have columns in upper case, the catalogues of bricks in lower case."""
    flux, ivar, share = (
        np.array([10.0, 100.0, -1.0, 5.0]),
        np.array([4.0, 0.0, 1.0, 1.0]),
        np.array([0.5, 1.0, 0.9, 0.9]),
    )
    columns = [
        fits.Column("RELEASE", "I", array=np.full(4, 9010)),
        fits.Column("BRICKID", "J", array=np.full(4, 575233)),
        fits.Column("OBJID", "J", array=np.arange(4)),
        fits.Column("TYPE", "3A", array=np.array(["SER", "EXP", "DEV", "PSF"])),
        fits.Column("MASKBITS", "I", array=np.zeros(4)),
        fits.Column("RA", "D", array=np.arange(4.0)),
        fits.Column("DEC", "D", array=np.arange(4.0)),
    ]
    for band in ("G", "R", "Z", "W1", "W2"):
        for name, values in (("FLUX", flux), ("FLUX_IVAR", ivar), ("MW_TRANSMISSION", share)):
            columns.append(fits.Column(f"{name}_{band}", "E", array=values))
    (tmp_path / "desi_coadds").mkdir()
    for column in columns:
        column.name = case(column.name)
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "desi_coadds" / "tractor-1054p567.fits")
    survey, report = imported("tractor", tmp_path)
    assert report.sources[0].dropped == {"keep = TYPE != 'PSF' and TYPE != 'DUP'": 1}
    table = survey.catalogue.set_index("source_id")
    first = table.loc["9010_575233_0"]
    assert first["mag_g"] == pytest.approx(22.5 - 2.5 * np.log10(20), abs=1e-12)  # 10 nanomaggies behind half the light
    assert first["mag_err_W1"] == pytest.approx(2.5 / np.log(10) * 0.5 / 10, abs=1e-12)  # sigma .5 of 10
    assert np.isnan(table.loc["9010_575233_1", "mag_err_g"])
    assert np.isnan(table.loc["9010_575233_2", "mag_g"])
    assert "g: 1 fluxes of zero or less have no magnitude: missing" in report.text()


def test_sdss_files_of_one_galaxy_each_come_to_an_even_grid(tmp_path: Path) -> None:
    (tmp_path / "spectra").mkdir()
    loglam = 3.58 + 1e-4 * np.arange(3840)
    for fibre, kind in enumerate(("GALAXY", "QSO", "GALAXY"), start=1):
        slope = 5.0 + fibre * 1e-3 * (10**loglam - 6000)  # linear in wavelength: resampling must not change it
        flags = np.zeros(3840, dtype=np.int32)
        flags[1000:1003] = 1 << 24
        coadd = [
            fits.Column("flux", "E", array=np.where(flags == 0, slope, 1e6)),
            fits.Column("loglam", "E", array=loglam),
            fits.Column("ivar", "E", array=np.full(3840, 4.0)),
            fits.Column("and_mask", "J", array=flags),
        ]
        facts = [
            fits.Column("SPECOBJID", "22A", array=np.array([f"29952753931867945{fibre}"])),
            fits.Column("CLASS", "6A", array=np.array([kind])),
            fits.Column("Z", "E", array=np.array([0.1 * fibre])),
            fits.Column("Z_ERR", "E", array=np.array([1e-5 * fibre])),
            fits.Column("ZWARNING", "J", array=np.array([0])),
            fits.Column("PLUG_RA", "D", array=np.array([10.0 * fibre])),
            fits.Column("PLUG_DEC", "D", array=np.array([0.5])),
        ]
        tables = [
            fits.BinTableHDU.from_columns(made, name=name) for made, name in ((coadd, "COADD"), (facts, "SPECOBJ"))
        ]
        fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(tmp_path / "spectra" / f"spec-0266-51602-000{fibre}.fits")
    survey, _ = imported("sdss_spec", tmp_path)
    np.testing.assert_array_equal(survey.target_id, [299527539318679451, 299527539318679453])
    assert survey.spectra is not None
    assert survey.spectra_ivar is not None
    assert survey.wave_angstrom is not None
    for row, fibre in enumerate((1, 3)):
        seen = survey.spectra_ivar[row] > 0
        assert 0.99 < seen.mean() < 1
        expected = 5.0 + fibre * 1e-3 * (survey.wave_angstrom - 6000)
        # loglam is float32: a wavelength is known to about a pixel's thousandth; masked pixels shift a mean by a tenth
        np.testing.assert_allclose(survey.spectra[row][seen], expected[seen], atol=2e-3 * fibre)


def test_multimodal_universe_spectra_are_read_cell_by_cell(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    made = {}
    for cell in (12, 5):
        folder = tmp_path / "mmu_desi" / "dr1_main" / f"healpix={cell}"
        folder.mkdir(parents=True)
        with h5py.File(folder / "001-of-001.hdf5", "w") as file:
            ids = FIRST_ID + cell * 10 + np.arange(3)
            flux, ivar = (rng.uniform(1, 3, (3, N_WAVE)).astype(np.float32) for _ in range(2))
            made |= dict(zip(ids, flux))
            file["object_id"], file["Z"], file["ZWARN"] = ids, rng.uniform(0, 1, 3), np.array([0, 4, 0])
            file["ra"], file["dec"] = rng.uniform(0, 90, (2, 3))
            file["spectrum_flux"], file["spectrum_ivar"] = flux, ivar
            file["spectrum_lambda"] = np.tile((3600 + 0.8 * np.arange(N_WAVE)).astype(np.float32), (3, 1))
            file["spectrum_mask"] = np.zeros((3, N_WAVE), dtype=bool)
    survey, report = imported("mmu_desi", tmp_path)
    assert report.sources[0].dropped == {"keep = ZWARN == 0": 2}
    assert survey.spectra is not None
    for row, galaxy in enumerate(survey.target_id):
        np.testing.assert_array_equal(survey.spectra[row], made[galaxy])


def test_galaxy_zoo_tables_keep_raw_counts_and_debiased_shares(tmp_path: Path) -> None:
    votes = read_spec(SPECS / "gz_decals.toml").sources[0].votes
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"iauname": ["J112953.88-000427.4", "J104325.29+190335.0"], "ra": [172.47, 160.86]})
    table["dec"] = [-0.0743, 19.0597]
    for name, column in votes.items():
        table[column] = rng.uniform(0, 1, 2) if name.endswith("_debiased") else rng.integers(1, 40, 2)
    (tmp_path / "gz_decals" / "cutouts").mkdir(parents=True)
    table.to_csv(tmp_path / "gz_decals" / "gz_decals_volunteers_5.csv", index=False)
    for name in table["iauname"]:
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(
            tmp_path / f"gz_decals/cutouts/{name}.png"
        )
    survey, _ = imported("gz_decals", tmp_path)
    assert len(survey.info.votes) == 10
    by_name = survey.catalogue.set_index("source_id").loc[table["iauname"]]
    for name, column in votes.items():
        np.testing.assert_array_equal(by_name[name], table[column])

"""What an import does beside tables: plans, processes, other bands, dead pixels, units that cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmark.contracts import GalaxybenchError
from benchmark.data import check_survey, describe, describe_text, import_survey, inputs, load_survey
from benchmark.data.importing.importer import plan_import
from benchmark.data.inspection.pictures import draw_survey
from benchmark.data.views import GRZ_SCALES

N = 30


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A table with arrays beside it, and cutouts."""
    folder = tmp_path / "data"
    (folder / "cutouts").mkdir(parents=True)
    rng = np.random.default_rng(4)
    table = pd.DataFrame(
        {"id": 10**17 + rng.permutation(N), "z": rng.uniform(0.05, 0.4, N), "mag": rng.normal(19, 1, N)}
    )
    table["ra"], table["dec"] = (rng.normal(0, 2, N) % 360), rng.normal(30, 1, N)
    table.to_parquet(folder / "t.parquet")
    for galaxy in table["id"]:
        Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(folder / "cutouts" / f"{galaxy}.png")
    noise = np.array([0.002, 0.004, 0.01, 0.02])[:, None, None]
    np.save(folder / "cubes.npy", (rng.normal(0, 1, (N, 4, 12, 12)) * noise).astype(np.float32))
    np.save(folder / "flux.npy", rng.normal(4, 0.5, (N, 200)).astype(np.float32))
    return folder


SOURCE = 'path = "t.parquet"\nid = "id"\nra = "ra"\ndec = "dec"\ntargets = {z = "z"}\n'
CUTOUTS = 'images = {folder = "cutouts", name = "{target_id}.png", bands = ["z", "r", "g"]}\n'
CUBES = 'images = {file = "cubes.npy", column = "array", bands = ["g", "r", "i", "z"]%s}\n'


def spec_of(data: Path, source: str) -> Path:
    spec = data / "spec.toml"
    spec.write_text(f'name = "toy"\n[[source]]\n{source}')
    return spec


def test_a_plan_says_what_would_be_written_and_writes_nothing(data: Path) -> None:
    before = sorted(data.rglob("*"))
    text = plan_import(spec_of(data, SOURCE + CUTOUTS), data_dir=data)
    assert "t.parquet: 30 rows read, 30 kept" in text
    assert (
        "to write: catalogue of 30 galaxies with 5 columns, images 30 x 3 x 6 x 6 uint8 (0.0 MB); 0.0 MB in all" in text
    )
    assert sorted(path for path in data.rglob("*") if path.name != "spec.toml") == before
    said: list[str] = []
    import_survey(data / "spec.toml", data.parent / "out", data_dir=data, announce=said.append)
    assert text.endswith(said[0])


def test_an_import_that_does_not_fit_the_disk_is_refused_before_it_starts(data: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        "benchmark.data.importing.importer.shutil.disk_usage", lambda place: type("Usage", (), {"free": 10})()
    )
    with pytest.raises(GalaxybenchError, match=r"out needs 0\.0 GB, 0\.0 GB are free: choose another disk"):
        import_survey(spec_of(data, SOURCE), data.parent / "out", data_dir=data)
    assert not (data.parent / "out").exists()


def test_several_processes_write_the_same_bytes(data: Path) -> None:
    seen: list[tuple[int, int]] = []
    spec = spec_of(data, SOURCE + CUTOUTS)
    one, _ = import_survey(spec, data.parent / "one", data_dir=data)
    two, _ = import_survey(spec, data.parent / "two", data_dir=data, workers=2, progress=lambda *at: seen.append(at))
    assert one.digest == two.digest
    assert seen[-1] == (N, N)


def test_other_bands_are_stretched_by_scales_that_the_survey_keeps(data: Path) -> None:
    survey, _ = import_survey(spec_of(data, SOURCE + CUBES % ""), data.parent / "out", data_dir=data)
    stretch = load_survey(survey.folder).info.image_stretch
    # softening .03 over the noise; a median of 64 medians of 144 pixels is good to some per cent
    np.testing.assert_allclose(stretch, 0.03 / np.array([0.002, 0.004, 0.01, 0.02]), rtol=0.1)
    assert survey.images is not None
    view = inputs(survey, "image", survey.rows())[:]
    assert view.shape == (N, 4, 12, 12)
    assert 0 <= view.min() < view.max() <= 1
    order = [np.corrcoef(view[:, 0].ravel(), survey.images[:, band].ravel())[0, 1] for band in range(4)]
    assert int(np.argmax(order)) == 3  # the reddest band comes first, as z does of g, r, z


def test_bands_can_be_chosen_and_grz_keep_the_stretch_of_astroclip(data: Path) -> None:
    source = SOURCE + CUBES % ', use = ["g", "r", "z"], crop = 8'
    survey, _ = import_survey(spec_of(data, source), data.parent / "out", data_dir=data)
    cubes = np.load(data / "cubes.npy")[:, [0, 1, 3], 2:10, 2:10]
    ids = pd.read_parquet(data / "t.parquet")["id"].to_numpy()
    np.testing.assert_array_equal(survey.images, cubes[np.argsort(ids)])
    assert survey.info.image_stretch == ()
    assert GRZ_SCALES == (6.0, 3.4, 2.2)


def test_dead_pixels_are_counted_stored_as_zero_and_found(data: Path) -> None:
    cubes = np.load(data / "cubes.npy")
    cubes[3, 1, :9], cubes[5, 2, 4, 4] = 0, np.nan
    np.save(data / "cubes.npy", cubes)
    with pytest.raises(GalaxybenchError, match=r"row 5, has 1 NaN or infinite pixels: set dead = \[nan\]"):
        import_survey(spec_of(data, SOURCE + CUBES % ""), data.parent / "out", data_dir=data)
    spec = spec_of(data, SOURCE + CUBES % ", dead = [0.0, nan]")
    survey, _ = import_survey(spec, data.parent / "out", data_dir=data)
    ids = pd.read_parquet(data / "t.parquet")["id"]
    dead = survey.catalogue.set_index("target_id")["image_dead"]
    assert dead[ids[3]] == 0.75
    assert dead[ids[5]] == pytest.approx(1 / 144)
    assert (dead > 0).sum() == 2
    assert np.isfinite(survey.images).all()
    (finding,) = (found for found in check_survey(survey) if found.code == "image_dead")
    assert finding.examples == (str(ids[3]),)
    spec = spec_of(data, SOURCE + CUBES % ', dead = [0.0, nan], max_dead = 0.5, bad = "drop"')
    survey, report = import_survey(spec, data.parent / "fewer", data_dir=data)
    assert ids[3] not in survey.target_id
    assert report.dropped == {"missing, unreadable or wrong-sized image": 1}


def test_arrays_beside_a_table_must_have_its_rows(data: Path) -> None:
    np.save(data / "cubes.npy", np.load(data / "cubes.npy")[:-1])
    with pytest.raises(GalaxybenchError, match=r"cubes\.npy: 'array' has 29 rows, the table has 30"):
        import_survey(spec_of(data, SOURCE + CUBES % ""), data.parent / "out", data_dir=data)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('photometry = {r = "mag"}\nphotometry_unit = "nanomaggy"', r"'mag' looks like magnitudes .* set photo"),
        ('photometry = {r = "mag"}\nphotometry_ivar = {r = "z"}', "photometry_ivar belongs to fluxes"),
        ('photometry = {r = "mag"}\nphotometry_transmission = {r = "mag"}', "a transmission lies above 0"),
        ('photometry = {r = "none"}\ncolumns = {none = "log(0 * mag)"}', "'none' has no value in any of 30 rows"),
        ('columns = {a = "b + z", b = "mag"}', "formulas read columns of the file only"),
        ('table = "x"', "parquet files are one table; leave it out"),
        ("match = {ra = 'ra', dec = 'dec', radius_arcsec = 1}", "give id or match"),
        (CUBES % ', folder = "x"', "give folder and name, a file a galaxy, or column"),
        (CUBES % ', use = ["y"]', "use names y: bands are g, r, i, z"),
        (CUBES % ', layout = "hwb"', "channels: bands names g, r, i, z"),
        (CUBES % ", crop = 99", "12 x 12: smaller than crop = 99"),
        (CUBES % ', unit = "display_uint8"', "has dtype float32: display_uint8 images are uint8"),
        ('spectra = {flux = "z", wavelength = {start = 1, step = 1, n = 5}}', "give one of ivar, error, noise"),
        ('spectra = {flux = ["z"], wavelength = ["z", "z"], noise = "unit"}', "wavelength names 2 columns, flux 1"),
        ('spectra = {flux = "z", wavelength = {start = 1, step = 1}, noise = "unit"}', "key 'n' is missing"),
        ('spectra = {flux = "z", wavelength = {start = 0, step = 1, n = 5}, noise = "unit"}', "must be positive"),
        ('spectra = {flux = "nope", wavelength = {start = 1, step = 1, n = 5}, noise = "unit"}', "no column 'nope'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(data: Path, more: str, message: str) -> None:
    with pytest.raises(GalaxybenchError, match=message) as caught:
        import_survey(spec_of(data, SOURCE + more), data.parent / "out", data_dir=data)
    assert "\n" not in str(caught.value)
    assert not (data.parent / "out").exists()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("wavelength = {start = 400, step = 0.1, n = 200}, resample = {start = 3600, step = 1, n = 9}", "not overlap"),
        ("wavelength = {start = 4000.0, step = 1.0, n = 150}", "has 200 fluxes at 150 wavelengths"),
    ],
)  # fmt: skip
def test_spectra_that_miss_their_wavelengths_are_named_or_dropped(data: Path, keys: str, message: str) -> None:
    np.savez(data / "s.npz", id=np.arange(3), z=np.arange(3.0), flux=np.load(data / "flux.npy")[:3])
    source = (
        f'path = "s.npz"\nid = "id"\ntargets = {{z = "z"}}\nspectra = {{flux = "flux", noise = "scatter", {keys}%s}}'
    )
    with pytest.raises(GalaxybenchError, match=rf"3 galaxies have no good spectrum \(0: .*s\.npz, row 0.*{message}"):
        import_survey(spec_of(data, source % ""), data.parent / "out", data_dir=data)
    with pytest.raises(GalaxybenchError, match=r"no galaxy is left: .*row 0"):
        import_survey(spec_of(data, source % ', bad = "drop"'), data.parent / "out", data_dir=data)


def test_the_description_has_histograms_balance_noise_and_sky_and_pictures_are_drawn(data: Path) -> None:
    flux = np.load(data / "flux.npy")
    table = pd.read_parquet(data / "t.parquet")
    arrays = {name: table[name].to_numpy() for name in ("id", "z", "ra", "dec")}
    np.savez(data / "s.npz", **arrays, flux=flux, cube=np.load(data / "cubes.npy"))
    spectra = 'spectra = {flux = "flux", wavelength = {start = 4000.0, step = 20.0, n = 200}, noise = "scatter"}\n'
    images = 'images = {column = "cube", bands = ["g", "r", "i", "z"]}\n'
    source = SOURCE.replace("t.parquet", "s.npz") + spectra + images
    survey, _ = import_survey(spec_of(data, source), data.parent / "out", data_dir=data)
    facts = describe(survey)
    assert sum(facts["targets"][0]["histogram"]["counts"]) >= N - 2
    assert facts["targets"][0]["balance"] is None  # fewer than 20 test galaxies
    assert facts["spectra"]["snr"]["0.5"] == pytest.approx(8, rel=0.15)  # flux 4, noise .5
    assert facts["spectra"]["invalid"] == 0
    low, high = facts["sky"]["ra"]
    assert low > 340
    assert high < 20  # the arc runs over 0 h
    text = describe_text(facts)
    assert "signal to noise a pixel: median" in text
    assert "sky: 30 positions" in text
    written = draw_survey(survey, data / "pictures")
    assert [path.name for path in written] == ["galaxies.png", "spectra.png", "targets.png", "sky.png"]
    for path in written:
        assert np.asarray(Image.open(path)).std() > 5  # something is drawn

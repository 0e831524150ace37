"""Import specs: what each key does, and what is refused."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmark.contracts import GalaxybenchError, UsageError
from benchmark.data import hash_split, import_survey, load_survey

N_GALAXIES = 40
OBJID = 1237661465452740762  # beyond 2^53: a float cannot hold it


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a CSV, a Parquet file and cutouts of the same galaxies."""
    folder = tmp_path / "data"
    (folder / "cutouts").mkdir(parents=True)
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"objid": OBJID + np.arange(N_GALAXIES)})
    table["zspec"] = rng.uniform(0.01, 0.5, N_GALAXIES)
    table["gmag"] = rng.normal(19, 1, N_GALAXIES)
    table["rmag"] = rng.normal(18, 1, N_GALAXIES)
    table["quality"] = np.arange(N_GALAXIES) % 5
    table["field"] = np.where(np.arange(N_GALAXIES) % 2, "north", "south")
    table["part"] = np.where(np.arange(N_GALAXIES) % 4 == 0, "test", "train")
    table["ra"] = rng.uniform(0, 360, N_GALAXIES)
    table["dec"] = rng.uniform(-60, 60, N_GALAXIES)
    table["n_smooth"], table["n_disk"] = rng.integers(0, 30, (2, N_GALAXIES))
    table.to_csv(folder / "galaxies.csv", index=False)
    table.to_parquet(folder / "galaxies.parquet")
    for galaxy in table["objid"]:
        Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)).save(folder / "cutouts" / f"{galaxy}.png")
    return folder


SOURCE = 'path = "galaxies.csv"\nid = "objid"\ntargets = {z = "zspec"}\n'
IMAGES = 'images = {folder = "cutouts", name = "{target_id}.png", bands = ["i", "r", "g"]}\n'


def run(data: Path, *sources: str, top: str = ""):
    """Import a spec made of sources; the survey goes beside the data."""
    spec = data / "spec.toml"
    spec.write_text(f'name = "toy"\n{top}\n' + "".join(f"[[source]]\n{source}\n" for source in sources))
    return import_survey(spec, data.parent / "out", data_dir=data, overwrite=True)


def table_of(data: Path) -> pd.DataFrame:
    return pd.read_parquet(data / "galaxies.parquet")


@pytest.mark.parametrize("name", ["galaxies.csv", "galaxies.csv.gz", "galaxies.parquet"])
def test_every_format_gives_the_same_survey(data, name) -> None:
    with gzip.open(data / "galaxies.csv.gz", "wt") as stream:
        stream.write((data / "galaxies.csv").read_text())
    columns = 'photometry = {r = "rmag", g = "gmag"}\nra = "ra"\ndec = "dec"\n'
    survey, report = run(data, SOURCE.replace("galaxies.csv", name) + columns)
    source = table_of(data)
    np.testing.assert_array_equal(survey.target_id, source["objid"])
    for ours, theirs in (("z", "zspec"), ("mag_r", "rmag"), ("mag_g", "gmag"), ("ra", "ra"), ("dec", "dec")):
        np.testing.assert_array_equal(survey.catalogue[ours], source[theirs])
    np.testing.assert_array_equal(survey.split, hash_split(source["objid"]))
    assert survey.info.photometry_bands == ("r", "g")
    assert report.text().splitlines()[0] == f"{name}: 40 rows read, 40 kept"


def test_ids_written_as_text_keep_all_their_digits(data) -> None:
    table = table_of(data)
    table["objid"] = table["objid"].astype(str)
    table.to_parquet(data / "text.parquet")
    survey, _ = run(data, SOURCE.replace("galaxies.csv", "text.parquet"))
    np.testing.assert_array_equal(survey.target_id, OBJID + np.arange(N_GALAXIES))


def test_format_overrides_the_name_of_the_file(data) -> None:
    (data / "galaxies.csv").rename(data / "galaxies.txt")
    with pytest.raises(UsageError, match=r"galaxies\.txt: no reader for this kind of file; formats: csv"):
        run(data, SOURCE.replace("galaxies.csv", "galaxies.txt"))
    survey, _ = run(data, SOURCE.replace("galaxies.csv", "galaxies.txt") + 'format = "csv"')
    assert survey.n_galaxies == N_GALAXIES


def test_a_row_filter_keeps_and_counts_rows_but_does_not_renumber_them(data) -> None:
    survey, report = run(data, SOURCE.replace('"objid"', '"row"') + "keep = 'quality >= 3 and field == \"north\"'")
    source = table_of(data)
    kept = np.flatnonzero((source["quality"] >= 3) & (source["field"] == "north"))
    np.testing.assert_array_equal(survey.target_id, kept)
    np.testing.assert_array_equal(survey.catalogue["z"], source["zspec"].to_numpy()[kept])
    dropped = report.sources[0].dropped
    assert dropped == {'keep = quality >= 3 and field == "north"': N_GALAXIES - len(kept)}
    assert report.sources[0].rows_kept == len(kept)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_sentinels_become_missing_in_both_precisions(data, dtype) -> None:
    table = table_of(data)
    table.loc[[2, 3], "gmag"] = 99.99
    table["gmag"] = table["gmag"].astype(dtype)
    table.loc[4, "zspec"] = -99
    table.to_parquet(data / "galaxies.parquet")
    survey, _ = run(
        data,
        SOURCE.replace("csv", "parquet") + 'photometry = {g = "gmag", r = "rmag"}',
        top="missing = [-99, 99.99]",
    )
    np.testing.assert_array_equal(np.flatnonzero(survey.catalogue["mag_g"].isna()), [2, 3])
    np.testing.assert_array_equal(np.flatnonzero(survey.catalogue["z"].isna()), [4])
    assert survey.catalogue["mag_r"].notna().all()


def test_nanomaggies_become_ab_magnitudes_with_errors(data) -> None:
    table = table_of(data)
    table["flux"], table["err"] = 10 ** (0.4 * (22.5 - table["gmag"])), 0.1
    table.loc[7, "flux"] = -1.0
    table.to_csv(data / "galaxies.csv", index=False)
    survey, report = run(
        data, SOURCE + 'photometry = {g = "flux"}\nphotometry_error = {g = "err"}\nphotometry_unit = "nanomaggy"'
    )
    mag = survey.catalogue["mag_g"].to_numpy()
    assert np.isnan(mag[7])
    others = np.arange(N_GALAXIES) != 7
    np.testing.assert_allclose(mag[others], table["gmag"][others], rtol=1e-13)  # there and back in float64
    expected = 2.5 / np.log(10) * 0.1 / table["flux"][others]
    np.testing.assert_allclose(survey.catalogue["mag_err_g"][others], expected, rtol=1e-13)
    assert report.sources[0].notes == ("g: 1 fluxes of zero or less have no magnitude: missing",)


def test_targets_carry_their_facts(data) -> None:
    survey, _ = run(
        data,
        'path = "galaxies.csv"\nid = "objid"\n[source.targets]\nz = "zspec"\n'
        '[source.targets.log10_mstar]\ncolumn = "gmag"\nunit = "dex(Msun)"\nlog_base = "10"\nprovenance = "a fit"\n'
        "ranked = false\njoint = false\nlow = 6\nhigh = 13",
    )
    mass = survey.target_info("log10_mstar")
    assert (mass.unit, mass.log_base, mass.provenance, mass.low, mass.high) == ("dex(Msun)", "10", "a fit", 6.0, 13.0)
    assert [target.name for target in survey.joint_targets] == ["z"]


def test_votes_get_a_total_and_keep_debiased_fractions(data) -> None:
    votes = '{smooth-or-featured_smooth = "n_smooth", smooth-or-featured_disk = "n_disk", %s}'
    survey, _ = run(data, SOURCE + "votes = " + votes % 'smooth-or-featured_smooth_debiased = "zspec"')
    source = table_of(data)
    np.testing.assert_array_equal(survey.catalogue["smooth-or-featured_total"], source["n_smooth"] + source["n_disk"])
    assert survey.info.votes == {"smooth-or-featured": ("smooth", "disk")}
    np.testing.assert_array_equal(survey.catalogue["smooth-or-featured_smooth_debiased"], source["zspec"])


def test_joined_sources_meet_by_id_whatever_their_order(data) -> None:
    extra = table_of(data)[["objid", "rmag"]].sample(frac=0.5, random_state=1)
    extra = pd.concat([extra, pd.DataFrame({"objid": [5], "rmag": [1.0]})])
    extra.to_csv(data / "extra.csv", index=False)
    survey, report = run(data, SOURCE, 'path = "extra.csv"\nid = "objid"\nphotometry = {r = "rmag"}')
    merged = table_of(data)[["objid"]].merge(extra, how="left")
    np.testing.assert_array_equal(survey.catalogue["mag_r"], merged["rmag"])
    assert report.sources[1].dropped == {"not in the catalogue it is joined to": 1}
    assert report.sources[1].notes == ("20 of 40 galaxies matched",)


def test_a_split_column_is_kept_and_validation_comes_out_of_train(data) -> None:
    survey, _ = run(data, SOURCE + 'split = "part"')
    test = table_of(data)["part"] == "test"
    np.testing.assert_array_equal(survey.split == "test", test)
    assert survey.counts()["validation"] > 0
    assert survey.info.split_rule == "from the source (part); validation is 12.5 % of train, by hash of target_id"


def test_a_joined_source_may_bring_the_split_of_every_galaxy(data) -> None:
    table = table_of(data)[["objid", "part"]]
    table.to_csv(data / "parts.csv", index=False)
    joined = 'path = "parts.csv"\nid = "objid"\nsplit = "part"'
    survey, _ = run(data, SOURCE, joined)
    np.testing.assert_array_equal(survey.split == "test", table["part"] == "test")
    table[1:].to_csv(data / "parts.csv", index=False)
    with pytest.raises(GalaxybenchError, match=rf"no split for ids {OBJID} \(1 in all\)"):
        run(data, SOURCE, joined)


def test_images_are_stored_in_the_order_of_ids(data) -> None:
    seen: list[tuple[int, int]] = []
    spec = data / "spec.toml"
    table_of(data).sample(frac=1, random_state=3).to_csv(data / "galaxies.csv", index=False)
    spec.write_text(f'name = "toy"\n[[source]]\n{SOURCE}{IMAGES}')
    survey, _ = import_survey(spec, data.parent / "out", data_dir=data, progress=lambda *at: seen.append(at))
    assert seen[-1] == (N_GALAXIES, N_GALAXIES)
    assert survey.images is not None
    for row, galaxy in enumerate(survey.target_id):
        pixels = np.asarray(Image.open(data / "cutouts" / f"{galaxy}.png"))
        np.testing.assert_array_equal(survey.images[row], pixels.transpose(2, 0, 1))
    assert survey.info.image_unit == "display_uint8"


def test_a_folder_of_images_can_be_the_source_itself(data) -> None:
    survey, _ = run(
        data,
        'path = "cutouts"\nid = "stem"\nimages = {folder = "cutouts", name = "{file}", bands = ["i", "r", "g"]}',
        'path = "galaxies.csv"\nid = "objid"\ntargets = {z = "zspec"}',
    )
    np.testing.assert_array_equal(survey.catalogue["z"], table_of(data)["zspec"])


def _spoil_one(data: Path, how: str) -> int:
    galaxy = OBJID + 7
    path = data / "cutouts" / f"{galaxy}.png"
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-60])
    elif how == "no image":
        path.write_text("not an image")
    elif how == "wrong size":
        Image.new("RGB", (4, 4)).save(path)
    else:
        Image.new("RGBA", (9, 6)).save(path)
    return galaxy


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "is missing"),
        ("truncated", "cannot be decoded"),
        ("no image", "is no image"),
        ("wrong size", r"wrong size \(3, 4, 4\), most are \(3, 6, 9\)"),
        ("mode", "has mode RGBA: images are 8-bit L or RGB"),
    ],
)
def test_bad_images_are_named_with_their_galaxy_or_dropped(data, how, message) -> None:
    galaxy = _spoil_one(data, how)
    with pytest.raises(GalaxybenchError, match=rf"1 galaxies have no good image \({galaxy}: .*{message}"):
        run(data, SOURCE + IMAGES)
    assert not (data.parent / "out").exists()
    survey, report = run(data, SOURCE + IMAGES.replace("}\n", ', bad = "drop"}'))
    assert galaxy not in survey.target_id
    assert report.dropped == {"missing, unreadable or wrong-sized image": 1}
    assert report.n_galaxies == N_GALAXIES - 1


def test_a_truncated_jpeg_is_refused(data) -> None:
    for path in list((data / "cutouts").iterdir()):
        Image.open(path).resize((64, 64)).save(path.with_suffix(".jpg"))
    spoilt = data / "cutouts" / f"{OBJID}.jpg"
    spoilt.write_bytes(spoilt.read_bytes()[:900])
    with pytest.raises(GalaxybenchError, match=rf"\({OBJID}: .*cannot be decoded .*truncated"):
        run(data, SOURCE + IMAGES.replace("png", "jpg"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (SOURCE + 'colour = "red"', "source 1: unknown key 'colour'"),
        (SOURCE + 'splitt = "hash"', "unknown key 'splitt' .did you mean 'split'"),
        (SOURCE + 'spectra = {flux = "f"}', "spectra: key 'wavelength' is missing"),
        ('id = "objid"', "source 1: key 'path' is missing"),
        ('path = "galaxies.csv"', "source 1: key 'id' is missing"),
        (SOURCE + "keep = 3", "keep = 3: must be str"),
        (SOURCE + 'role = "merge"', "role = 'merge'; allowed: join, append"),
        (SOURCE + 'photometry_unit = "jy"', "photometry_unit = 'jy'; allowed: mag_ab, nanomaggy"),
        (SOURCE + "photometry = {g = 3}", "photometry.g = 3: must be the name of a column"),
        (SOURCE + 'photometry_error = {g = "gmag"}', "names band 'g' that photometry lacks"),
        (SOURCE + 'ra = "ra"', "give both ra and dec"),
        (SOURCE + 'votes = {smooth = "n_smooth"}', "'smooth': must read question_answer"),
        (SOURCE.replace('"zspec"', '{unit = "x"}'), r"targets\.z = .*: must be a column, or a table with column"),
        (SOURCE.replace('"zspec"', '{column = "zspec", units = "x"}'), "unknown key 'units' .did you mean 'unit'"),
        (SOURCE.replace('"zspec"', '{column = "zspec", ranked = 1}'), "ranked = 1: must be bool"),
        (SOURCE.replace('"objid"', '{hashed = "field"}'), "unknown key 'hashed' .did you mean 'hash'"),
        (SOURCE + IMAGES.replace("bands", "band"), "unknown key 'band'"),
        (SOURCE + IMAGES.replace("{target_id}", "x"), "must hold plain names in braces"),
        (SOURCE + IMAGES.replace("{target_id}", "{target_id.real}"), "must hold plain names in braces"),
        (SOURCE + IMAGES.replace("{target_id}", "{target_id"), "expected '}' before end of string"),
        (SOURCE + 'format = "hdf9"', "format 'hdf9' is not read; formats: csv, fits, hdf5, hugging"),
        (SOURCE.replace("zspec", "z_spec"), r"no column 'z_spec' \(did you mean 'zspec'\?\)"),
        (SOURCE.replace("zspec", "field"), r"galaxies\.csv cannot be read as CSV .*invalid value 'south'"),
        (SOURCE.replace("objid", "zspec"), "must be whole numbers; floats lose digits"),
        (SOURCE.replace("objid", "quality"), r"ids 0, 1, 2, 3, 4 \(5 in all\) appear more than once"),
        (SOURCE + 'split = "field"', "column 'field' has 'north', 'south' .*: splits are train, validation"),
        (SOURCE.replace("galaxies", "../galaxies"), "leaves the data folder"),
        (SOURCE.replace("galaxies", "a/../../galaxies"), "leaves the data folder"),
        (SOURCE.replace("galaxies", "galaxy"), r"galaxy\.csv does not exist: give the data folder by --data"),
        (SOURCE + IMAGES.replace('"cutouts"', '"../cutouts"'), "folder = '../cutouts' leaves the data folder"),
        (SOURCE + IMAGES.replace("{target_id}", "../{target_id}"), "leaves the data folder"),
        (SOURCE + IMAGES.replace("{target_id}", "{source_id}"), "source_id.* exists only with id = {hash"),
        (SOURCE + IMAGES.replace(', "g"', ""), "images have 3 channels: bands names i, r"),
        (SOURCE + IMAGES.replace("png", "gif"), "no image can be read: .*gif is missing"),
        (SOURCE + "keep = 'quality > 9'", "0 rows: a survey needs galaxies; check the row filter"),
        ('path = "galaxies.csv"\nid = "row"', "names no column of .*add targets"),
    ],
)  # fmt: skip
def test_specs_that_do_not_fit_are_refused_in_one_line(data, source, message) -> None:
    with pytest.raises(GalaxybenchError, match=message) as caught:
        run(data, source)
    assert "\n" not in str(caught.value)
    assert not (data.parent / "out").exists()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (SOURCE + 'role = "append"', rf"ids {OBJID}, .*\(40 in all\) are in an earlier source"),
        ('path = "galaxies.csv"\nid = "row"\nphotometry = {g = "gmag"}', "joined source needs ids of its own"),
        (SOURCE, "brings z, which an earlier source has"),
        (SOURCE.replace("z =", "z2 =") + 'split = "test"', "may only name a column of splits"),
    ],
)
def test_second_sources_that_do_not_fit_are_refused(data, second, message) -> None:
    with pytest.raises(GalaxybenchError, match=message):
        run(data, SOURCE, second)


@pytest.mark.parametrize(
    ("top", "message"),
    [
        ("license = 'x'", "unknown key 'license' .did you mean 'licence'"),
        ("missing = ['NA']", "must be numbers"),
        ("version = 1", "version = 1: must be str"),
        ("name = 'again'", "not valid TOML"),
    ],
)
def test_top_level_keys_are_strict(data, top, message) -> None:
    with pytest.raises(GalaxybenchError, match=message):
        run(data, SOURCE, top=top)


def test_truncated_files_are_refused_by_name(data) -> None:
    parquet = data / "galaxies.parquet"
    parquet.write_bytes(parquet.read_bytes()[:-50])
    with pytest.raises(GalaxybenchError, match=r"galaxies\.parquet cannot be read as Parquet"):
        run(data, SOURCE.replace("csv", "parquet"))
    whole = gzip.compress((data / "galaxies.csv").read_bytes())
    (data / "galaxies.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GalaxybenchError, match=r"galaxies\.csv\.gz cannot be read as CSV"):
        run(data, SOURCE.replace("csv", "csv.gz"))
    lines = (data / "galaxies.csv").read_text().splitlines()
    (data / "galaxies.csv").write_text("\n".join([*lines[:-1], lines[-1][:15]]))
    with pytest.raises(GalaxybenchError, match=r"galaxies\.csv cannot be read as CSV .*Expected 11 columns, got 1"):
        run(data, SOURCE)
    (data / "galaxies.csv").write_text("")
    with pytest.raises(GalaxybenchError, match="Empty CSV file"):
        run(data, SOURCE)


def test_ids_that_went_through_floats_are_refused(data) -> None:
    table = table_of(data)
    table["objid"] = table["objid"].astype(float)
    table.to_csv(data / "galaxies.csv", index=False)
    table.to_parquet(data / "galaxies.parquet")
    with pytest.raises(GalaxybenchError, match=r"'1\.23766\d*e\+18' in row 0.* must be whole numbers"):
        run(data, SOURCE)
    with pytest.raises(GalaxybenchError, match=r"'objid' holds floats .double., which lose digits above 2"):
        run(data, SOURCE.replace("csv", "parquet"))


def test_infinite_values_are_refused_unless_they_are_named_as_missing(data) -> None:
    table = table_of(data)
    table.loc[3, "zspec"] = np.inf
    table.to_csv(data / "galaxies.csv", index=False)
    with pytest.raises(GalaxybenchError, match=rf"'z' is infinite for target_id {OBJID + 3} \(1 in all\)"):
        run(data, SOURCE)
    survey, _ = run(data, SOURCE, top="missing = [inf]")
    assert survey.catalogue["z"].isna().sum() == 1


def test_paths_start_at_data_then_the_environment_then_the_spec(data, monkeypatch) -> None:
    spec = data / "spec.toml"
    spec.write_text(f'name = "toy"\n[[source]]\n{SOURCE}')
    monkeypatch.setenv("GALAXYBENCH_REAL_DATA", str(data.parent))
    with pytest.raises(UsageError, match="does not exist"):
        import_survey(spec, data.parent / "a")
    import_survey(spec, data.parent / "a", data_dir=data)
    monkeypatch.delenv("GALAXYBENCH_REAL_DATA")
    import_survey(spec, data.parent / "b")
    monkeypatch.setenv("GALAXYBENCH_REAL_DATA", str(data))
    elsewhere = spec.rename(data.parent / "spec.toml")
    import_survey(elsewhere, data.parent / "c")
    assert len({load_survey(data.parent / name).digest for name in "abc"}) == 1
    with pytest.raises(UsageError, match=r"data folder .* does not exist"):
        import_survey(elsewhere, data.parent / "d", data_dir=data / "nowhere")


def test_an_existing_survey_is_refused_before_any_file_is_read(data) -> None:
    run(data, SOURCE)
    spec = data / "spec.toml"
    (data / "galaxies.csv").unlink()
    with pytest.raises(UsageError, match="already holds a survey"):
        import_survey(spec, data.parent / "out", data_dir=data)
    with pytest.raises(UsageError, match="give the path of an import spec"):
        import_survey(data / "no.toml", data.parent / "new", data_dir=data)


def test_memory_does_not_grow_with_the_number_of_images(data) -> None:
    side = 256
    for galaxy in table_of(data)["objid"]:
        Image.new("RGB", (side, side), (int(galaxy) % 200, 0, 0)).save(data / "cutouts" / f"{galaxy}.png")
    run(data, SOURCE + IMAGES)  # imports and caches
    tracemalloc.start()
    run(data, SOURCE + IMAGES)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * side * side * 3  # all 40 would be four times as much

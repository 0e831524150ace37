"""Every format of the field gives the same survey, bit for bit, and a damaged file is one line with its name."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from PIL import Image

from benchmark.contracts import GalaxybenchError, UsageError
from benchmark.data import Survey, import_survey

N = 30
ID = 39633345008634465  # beyond 2^53
BAND_SHAPE = (3, 6, 5)
WAVE = 3600 + 0.8 * np.arange(40)

Columns = dict[str, np.ndarray]


@pytest.fixture
def columns() -> Columns:
    rng = np.random.default_rng(8)
    return {
        "targetid": rng.permutation(ID + np.arange(N)),
        "z": rng.uniform(0.01, 0.6, N),
        "mag": rng.normal(19, 1, N).astype(np.float32),
        "kind": np.array(["GALAXY", "QSO"])[rng.integers(0, 2, N)],
        "image": rng.normal(0.1, 1, (N, *BAND_SHAPE)).astype(np.float32),
        "flux": rng.normal(2, 1, (N, len(WAVE))).astype(np.float32),
        "ivar": rng.uniform(0.5, 2, (N, len(WAVE))).astype(np.float32),
    }


def write_fits(path: Path, columns: Columns) -> None:
    made = []
    for name, values in columns.items():
        shape = values.shape[1:]
        code = {"i8": "K", "f8": "D", "f4": "E"}.get(values.dtype.str[1:], "10A")
        form = f"{int(np.prod(shape)) if shape else ''}{code}"
        made.append(fits.Column(name, form, array=values, dim=str(shape[::-1]) if len(shape) > 1 else None))
    table = fits.BinTableHDU.from_columns(made, name="GALAXIES")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)


def write_hdf5(path: Path, columns: Columns) -> None:
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values.astype("S10") if values.dtype.kind == "U" else values


def write_hdf5_records(path: Path, columns: Columns) -> None:
    dtype = [(name, "S10" if a.dtype.kind == "U" else a.dtype.str, a.shape[1:]) for name, a in columns.items()]
    records = np.empty(N, dtype=dtype)
    for name, values in columns.items():
        records[name] = values
    with h5py.File(path, "w") as file:
        file["data"] = records


def write_npz(path: Path, columns: Columns) -> None:
    np.savez(path, **{name: values.astype(values.dtype.newbyteorder(">")) for name, values in columns.items()})


def write_npy(path: Path, columns: Columns) -> None:
    records = np.empty(
        N, dtype=[(name, values.dtype.newbyteorder(">"), values.shape[1:]) for name, values in columns.items()]
    )
    for name, values in columns.items():
        records[name] = values
    np.save(path, records)


def arrow_table(columns: Columns) -> pa.Table:
    return pa.table({name: pa.array(values.tolist()) for name, values in columns.items()})


def write_parquet(path: Path, columns: Columns) -> None:
    pq.write_table(arrow_table(columns), path, row_group_size=7)


def write_huggingface(path: Path, columns: Columns) -> None:
    path.mkdir()
    table = arrow_table(columns)
    for part, rows in enumerate((table[:11], table[11:])):
        with (
            pa.OSFile(str(path / f"data-{part:05d}.arrow"), "wb") as sink,
            pa.ipc.new_stream(sink, table.schema) as out,
        ):
            out.write_table(rows)
    files = [{"filename": f"data-{part:05d}.arrow"} for part in range(2)]
    (path / "state.json").write_text(json.dumps({"_data_files": files}))


FORMATS: dict[str, Callable[[Path, Columns], None]] = {
    "galaxies.fits": write_fits,
    "galaxies.fits.gz": write_fits,
    "galaxies.hdf5": write_hdf5,
    "records.h5": write_hdf5_records,
    "galaxies.npz": write_npz,
    "galaxies.npy": write_npy,
    "galaxies.parquet": write_parquet,
    "saved": write_huggingface,
}
PIXELS = """
images = {column = "image", bands = ["g", "r", "z"]}
spectra = {flux = "flux", ivar = "ivar", wavelength = {start = 3600.0, step = 0.8, n = 40}}
"""


def run(folder: Path, name: str, more: str = PIXELS, ids: str = 'id = "targetid"') -> Survey:
    spec = folder / "spec.toml"
    source = f'path = "{name}"\n{ids}\ntargets = {{z = "z"}}\nphotometry = {{r = "mag"}}\n{more}'
    spec.write_text(f'name = "made"\n[[source]]\n{source}')
    return import_survey(spec, folder / "out", data_dir=folder, overwrite=True)[0]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_galaxies_bit_for_bit(tmp_path: Path, columns: Columns, name: str) -> None:
    FORMATS[name](tmp_path / name, columns)
    survey = run(tmp_path, name)
    order = np.argsort(columns["targetid"])
    np.testing.assert_array_equal(survey.target_id, columns["targetid"][order])
    np.testing.assert_array_equal(survey.catalogue["z"], columns["z"][order])
    np.testing.assert_array_equal(survey.catalogue["mag_r"], columns["mag"].astype(np.float64)[order])
    np.testing.assert_array_equal(survey.images, columns["image"][order])
    np.testing.assert_array_equal(survey.spectra, columns["flux"][order])
    np.testing.assert_array_equal(survey.spectra_ivar, columns["ivar"][order])


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_filters_on_text(tmp_path: Path, columns: Columns, name: str) -> None:
    FORMATS[name](tmp_path / name, columns)
    survey = run(tmp_path, name, "keep = \"kind == 'GALAXY'\"")
    np.testing.assert_array_equal(survey.target_id, np.sort(columns["targetid"][columns["kind"] == "GALAXY"]))


@pytest.mark.parametrize("name", FORMATS)
def test_ids_that_went_through_floats_are_refused_in_every_format(tmp_path: Path, columns: Columns, name: str) -> None:
    FORMATS[name](tmp_path / name, columns | {"targetid": columns["targetid"].astype(np.float64)})
    with pytest.raises(GalaxybenchError, match=r"'targetid' holds floats .*, which lose digits above 2\^53"):
        run(tmp_path, name)


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_column_is_named_with_the_nearest_one(tmp_path: Path, columns: Columns, name: str) -> None:
    FORMATS[name](tmp_path / name, columns)
    with pytest.raises(GalaxybenchError, match=r"has no column 'targetids' \(did you mean 'targetid'\?\)"):
        run(tmp_path, name, ids='id = "targetids"')


@pytest.mark.parametrize("name", FORMATS)
def test_text_or_arrays_where_numbers_are_needed_are_refused(tmp_path: Path, columns: Columns, name: str) -> None:
    FORMATS[name](tmp_path / name, columns)
    for column in ("kind", "flux"):
        with pytest.raises(GalaxybenchError, match=f"column '{column}' (holds text|has an array|has type)"):
            run(tmp_path, name, f'ra = "{column}"\ndec = "z"')


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "saved"])
@pytest.mark.parametrize("share", [0.15, 0.6, 0.95])
def test_truncated_files_are_one_line_with_their_name(
    tmp_path: Path, columns: Columns, name: str, share: float
) -> None:
    FORMATS[name](tmp_path / name, columns)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(GalaxybenchError, match=rf"{name} cannot be read as") as caught:
        run(tmp_path, name)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_truncated_part_of_a_saved_data_set_is_named(tmp_path: Path, columns: Columns) -> None:
    write_huggingface(tmp_path / "saved", columns)
    part = tmp_path / "saved" / "data-00001.arrow"
    part.write_bytes(part.read_bytes()[:-2000])
    with pytest.raises(GalaxybenchError, match=r"data-00001\.arrow cannot be read as Arrow"):
        run(tmp_path, "saved")


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    bomb = np.array([{"a": 1}] * 3, dtype=object)
    np.savez(tmp_path / "x.npz", z=bomb, mag=np.ones(3))
    np.save(tmp_path / "x.npy", bomb)
    for name in ("x.npz", "x.npy"):
        with pytest.raises(GalaxybenchError, match="truncated, or it holds objects"):
            run(tmp_path, name, "", "id = 'row'")


def test_hdf5_links_that_leave_the_file_are_refused(tmp_path: Path, columns: Columns) -> None:
    write_hdf5(tmp_path / "secret.hdf5", columns)
    with h5py.File(tmp_path / "link.hdf5", "w") as file:
        file["targetid"] = columns["targetid"]
        file["z"] = h5py.ExternalLink("secret.hdf5", "/z")
    with pytest.raises(GalaxybenchError, match=r"/z is a link to another file \(secret\.hdf5\)"):
        run(tmp_path, "link.hdf5")
    layout = h5py.VirtualLayout(shape=(N,), dtype="f8")
    layout[:] = h5py.VirtualSource(tmp_path / "secret.hdf5", "z", shape=(N,))
    with h5py.File(tmp_path / "virtual.hdf5", "w") as file:
        file["targetid"] = columns["targetid"]
        file.create_virtual_dataset("z", layout)
    with pytest.raises(GalaxybenchError, match="dataset /z keeps its values in another file"):
        run(tmp_path, "virtual.hdf5")
    (tmp_path / "raw").write_bytes(columns["z"].tobytes())
    with h5py.File(tmp_path / "external.hdf5", "w") as file:
        file["targetid"] = columns["targetid"]
        file.create_dataset("z", (N,), "f8", external=[(str(tmp_path / "raw"), 0, N * 8)])
    with pytest.raises(GalaxybenchError, match="dataset /z keeps its values in another file"):
        run(tmp_path, "external.hdf5")


@pytest.mark.parametrize("name", ["../data.arrow", "/etc/passwd"])
def test_a_saved_data_set_names_files_of_its_own_folder_only(tmp_path: Path, columns: Columns, name: str) -> None:
    write_huggingface(tmp_path / "saved", columns)
    (tmp_path / "saved" / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(GalaxybenchError, match="must be the name of a file in the folder"):
        run(tmp_path, "saved")


def test_one_of_several_tables_must_be_chosen(tmp_path: Path, columns: Columns) -> None:
    write_fits(tmp_path / "one.fits", columns)
    with fits.open(tmp_path / "one.fits") as hdus:
        other = fits.BinTableHDU.from_columns([fits.Column("x", "D", array=np.zeros(2))], name="OTHER")
        fits.HDUList([*hdus, other]).writeto(tmp_path / "two.fits")
    with pytest.raises(GalaxybenchError, match=r"two\.fits has 2 tables \(GALAXIES, OTHER\): choose one by table"):
        run(tmp_path, "two.fits")
    with pytest.raises(GalaxybenchError, match=r"has no table 'NONE'; extensions: PRIMARY, GALAXIES, OTHER"):
        run(tmp_path, "two.fits", 'table = "NONE"')
    assert run(tmp_path, "two.fits", 'table = "galaxies"').n_galaxies == N
    assert run(tmp_path, "two.fits", "table = 1").n_galaxies == N
    write_parquet(tmp_path / "a.parquet", columns)
    with pytest.raises(GalaxybenchError, match="parquet files are one table; leave it out"):
        run(tmp_path, "a.parquet", 'table = "x"')


def test_names_of_fits_columns_may_be_in_any_case_but_not_twice(tmp_path: Path, columns: Columns) -> None:
    upper = {name.upper(): values for name, values in columns.items()}
    write_fits(tmp_path / "upper.fits", upper)
    survey = run(tmp_path, "upper.fits", PIXELS + 'columns = {twice = "Flux[0] * 2"}\nkeep = "kind != \'none\'"')
    order = np.argsort(columns["targetid"])
    np.testing.assert_array_equal(survey.catalogue["z"], columns["z"][order])
    np.testing.assert_array_equal(survey.spectra, columns["flux"][order])
    write_fits(tmp_path / "both.fits", {**columns, "Z": columns["z"]})
    with pytest.raises(GalaxybenchError, match=r"both\.fits has column 'z' 2 times: rename all but one"):
        run(tmp_path, "both.fits")
    write_npz(tmp_path / "upper.npz", upper)
    with pytest.raises(GalaxybenchError, match="has no column 'targetid'"):
        run(tmp_path, "upper.npz")


def test_masked_integers_and_blank_numbers_of_fits_are_missing(tmp_path: Path) -> None:
    z = np.array([5, -1, 7], dtype=np.int32)
    made = [fits.Column("targetid", "K", array=np.arange(3)), fits.Column("z", "J", array=z, null=-1)]
    made += [fits.Column("mag", "E", array=np.ones(3)), fits.Column("code", "K", array=np.array([4, -9, 6]), null=-9)]
    fits.BinTableHDU.from_columns(made).writeto(tmp_path / "null.fits")
    np.testing.assert_array_equal(run(tmp_path, "null.fits", "").catalogue["z"], [5, np.nan, 7])
    with pytest.raises(GalaxybenchError, match=r"'' in row 1 .* must be whole numbers"):
        run(tmp_path, "null.fits", "", 'id = "code"')


def test_groups_of_a_file_and_files_of_a_pattern_are_put_together(tmp_path: Path, columns: Columns) -> None:
    with h5py.File(tmp_path / "groups.h5", "w") as file:
        for group, rows in {"10": slice(20, 30), "2": slice(10, 20), "1": slice(0, 10)}.items():
            for name, values in columns.items():
                file[f"{group}/{name}"] = (values.astype("S10") if values.dtype.kind == "U" else values)[rows]
    survey = run(tmp_path, "groups.h5", PIXELS + 'table = "*"', "id = 'row'")
    np.testing.assert_array_equal(survey.catalogue["z"], columns["z"])  # group 10 comes after group 2
    np.testing.assert_array_equal(survey.images, columns["image"])
    for part in range(3):
        write_npz(tmp_path / f"part-{part}.npz", {name: a[part * 10 : part * 10 + 10] for name, a in columns.items()})
    survey = run(tmp_path, "part-*.npz", PIXELS, "id = 'row'")
    np.testing.assert_array_equal(survey.catalogue["z"], columns["z"])
    np.testing.assert_array_equal(survey.spectra, columns["flux"])
    with pytest.raises(UsageError, match=r"none-\*\.npz: no file has such a name"):
        run(tmp_path, "none-*.npz")


def test_fields_of_structs_and_pictures_in_cells_are_read(tmp_path: Path, columns: Columns) -> None:
    pictures = np.random.default_rng(2).integers(0, 255, (N, 4, 7, 3), dtype=np.uint8)

    def encoded(pixels: np.ndarray) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "png")
        return stream.getvalue()

    table = pa.table(
        {
            "targetid": columns["targetid"],
            "z": columns["z"],
            "mag": columns["mag"],
            "image": [{"bytes": encoded(pixels), "path": None} for pixels in pictures],
            "spectrum": [
                [{"flux": float(f), "ivar": float(i)} for f, i in zip(flux, ivar)]
                for flux, ivar in zip(columns["flux"], columns["ivar"])
            ],
            "nested": [{"flux": f.tolist(), "ivar": i.tolist()} for f, i in zip(columns["flux"], columns["ivar"])],
        }
    )
    pq.write_table(table, tmp_path / "nested.parquet", row_group_size=7)
    order = np.argsort(columns["targetid"])
    for name in ("spectrum", "nested"):  # a list of structs, and a struct of lists
        survey = run(
            tmp_path,
            "nested.parquet",
            'images = {column = "image", unit = "display_uint8", bands = ["z", "r", "g"]}\n'
            f'spectra = {{flux = "{name}.flux", ivar = "{name}.ivar", '
            "wavelength = {start = 3600, step = 0.8, n = 40}}",
        )
        np.testing.assert_array_equal(survey.images, pictures.transpose(0, 3, 1, 2)[order])
        np.testing.assert_array_equal(survey.spectra, columns["flux"][order])
        np.testing.assert_array_equal(survey.spectra_ivar, columns["ivar"][order])


def test_predictions_may_come_in_any_format(tmp_path: Path, columns: Columns) -> None:
    from benchmark.data.foreign import read_embeddings, read_predictions

    table = {"target_id": columns["targetid"], "z": columns["z"], "embedding": columns["flux"]}
    for name, write in FORMATS.items():
        if name.startswith(("galaxies", "records")) and not name.endswith(".npz"):
            write(tmp_path / name, {key: table[key] for key in ("target_id", "z")})
            found = read_predictions(tmp_path / name)
            np.testing.assert_array_equal(found.values[:, 0], table["z"])
            (tmp_path / name).unlink()
            write(tmp_path / name, {key: table[key] for key in ("target_id", "embedding")})
            np.testing.assert_array_equal(read_embeddings(tmp_path / name).values, table["embedding"])

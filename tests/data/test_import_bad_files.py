"""Bad input to an import, by the command line: one line names file, row, galaxy or key; nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from PIL import Image

from benchmark.cli.main import main
from benchmark.data import import_survey

N, ID = 12, 2**53 + 1
SOURCE = 'id = "id"\ntargets = {z = "z"}\n'
SPECTRA = 'spectra = {flux = "flux", ivar = "ivar", wavelength = "wave", resample = {start = 4000, step = 2, n = 50}}\n'
CUTOUTS = 'images = {folder = "cutouts", name = "{target_id}.jpg", bands = ["z", "r", "g"]}\n'
FLUXES = 'photometry = {r = "mag"}\nphotometry_unit = "nanomaggy"\n'

Columns = dict[str, np.ndarray]


def columns(**changes: Any) -> Columns:
    rng = np.random.default_rng(0)
    made = {"id": ID + 2 * rng.permutation(N), "z": rng.uniform(0, 1, N), "mag": rng.normal(20, 1, N)}
    made |= {
        "flux": rng.normal(3, 1, (N, 60)),
        "ivar": np.ones((N, 60)),
        "wave": np.tile(3990 + 2.0 * np.arange(60), (N, 1)),
    }
    return made | changes


def write_hdf5(path: Path, made: Columns) -> None:
    with h5py.File(path, "w") as file:
        for name, values in made.items():
            file[name] = values


def write_fits(path: Path, made: Columns) -> None:
    codes = {"i": "K", "f": "D", "U": "10A"}
    parts = [
        fits.Column(name, f"{values.shape[1] if values.ndim > 1 else ''}{codes[values.dtype.kind]}", array=values)
        for name, values in made.items()
    ]
    fits.BinTableHDU.from_columns(parts).writeto(path, overwrite=True)


def write_parquet(path: Path, made: Columns) -> None:
    pd.DataFrame({name: list(v) if v.ndim > 1 else v for name, v in made.items()}).to_parquet(path)


def write_csv(path: Path, made: Columns) -> None:
    pd.DataFrame({name: values for name, values in made.items() if values.ndim == 1}).to_csv(path, index=False)


WRITERS: dict[str, Callable[[Path, Columns], None]] = {
    "t.csv": write_csv,
    "t.parquet": write_parquet,
    "t.fits": write_fits,
    "t.hdf5": write_hdf5,
    "t.npz": lambda path, made: np.savez(path, **made),
}
ARRAYS = [name for name in WRITERS if name != "t.csv"]


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Import a file that must be refused; returns the line."""

    def call(name: str, made: Columns | None, more: str = "", top: str = "", code: int = 1) -> str:
        if made is not None:
            WRITERS[name](tmp_path / name, made)
        spec = tmp_path / "spec.toml"
        spec.write_text(f'name = "bad"\n{top}\n[[source]]\npath = "{name}"\n{more or SOURCE}')
        capsys.readouterr()
        line = ["survey", "import", str(spec), "--data", str(tmp_path), "--out", str(tmp_path / "out")]
        assert main(line) == code
        printed = capsys.readouterr()
        assert printed.out == ""
        (message,) = [text for text in printed.err.splitlines() if not text.startswith("to write: ")]
        assert message.startswith("error: ")
        assert "Traceback" not in message
        assert not [path for path in tmp_path.iterdir() if path.name.startswith((".out", "out"))]
        return message

    return call


def test_what_this_file_spoils_is_imported_when_it_is_whole(tmp_path: Path) -> None:
    for name, write in WRITERS.items():
        write(tmp_path / name, columns())
        (tmp_path / "spec.toml").write_text(f'name = "good"\n[[source]]\npath = "{name}"\n{SOURCE}')
        survey, _ = import_survey(tmp_path / "spec.toml", tmp_path / f"out-{name}", data_dir=tmp_path)
        np.testing.assert_array_equal(survey.target_id, np.sort(columns()["id"]))


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("share", [0.3, 0.97])
def test_a_truncated_file(refused: Callable[..., str], tmp_path: Path, name: str, share: float) -> None:
    WRITERS[name](tmp_path / name, columns())
    content = (tmp_path / name).read_bytes()
    if name == "t.csv":  # cut inside a row: a file that ends with a whole row cannot be told from a shorter one
        cut = content[: int(len(content) * share)]
        (tmp_path / name).write_bytes(cut[: cut.rindex(b",")])
    else:
        (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    assert str(tmp_path / name) in refused(name, None)


def test_a_truncated_jpeg_is_named_with_its_galaxy(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "cutouts").mkdir()
    rng = np.random.default_rng(1)
    for galaxy in columns()["id"]:
        pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "cutouts" / f"{galaxy}.jpg")
    spoilt = tmp_path / "cutouts" / f"{ID + 6}.jpg"
    spoilt.write_bytes(spoilt.read_bytes()[:700])
    message = refused("t.csv", columns(), SOURCE + CUTOUTS)
    assert f"1 galaxies have no good image ({ID + 6}: {spoilt} cannot be decoded" in message


@pytest.mark.parametrize("name", WRITERS)
def test_a_column_of_another_type(refused: Callable[..., str], name: str) -> None:
    made = columns(z=np.array([f"z{number}" for number in range(N)]))
    if name == "t.hdf5":
        made["z"] = made["z"].astype("S5")
    message = refused(name, made)
    assert name in message
    assert "z" in message
    assert "text" in message or "must be numbers" in message or "invalid value 'z0'" in message


@pytest.mark.parametrize("name", WRITERS)
def test_a_column_that_is_missing_or_has_no_value(refused: Callable[..., str], name: str) -> None:
    made = columns()
    del made["z"]
    assert "has no column 'z'" in refused(name, made)
    message = refused(name, columns(z=np.full(N, np.nan)))
    assert "'z' has no value in any of 12 rows" in message
    assert name in message


@pytest.mark.parametrize("name", WRITERS)
def test_ids_stored_as_floats(refused: Callable[..., str], name: str) -> None:
    message = refused(name, columns(id=columns()["id"].astype(np.float64)))
    assert name in message
    assert "floats" in message


@pytest.mark.parametrize("name", WRITERS)
def test_ids_that_are_repeated(refused: Callable[..., str], name: str) -> None:
    made = columns()
    made["id"][7] = made["id"][3]
    message = refused(name, made)
    assert f"ids {made['id'][3]} (1 in all) appear more than once" in message
    assert name in message


@pytest.mark.parametrize("name", ARRAYS)
def test_wavelengths_that_miss_the_grid(refused: Callable[..., str], name: str) -> None:
    made = columns()
    made["wave"][4] += 9000
    message = refused(name, made, SOURCE + SPECTRA)
    assert f"1 galaxies have no good spectrum ({made['id'][4]}: " in message
    assert "row 4" in message
    assert "overlap" in message


@pytest.mark.parametrize("name", WRITERS)
def test_magnitudes_that_are_declared_as_fluxes(refused: Callable[..., str], name: str) -> None:
    many = {"id": ID + 2 * np.arange(60), "z": np.linspace(0.1, 1, 60), "mag": np.linspace(18, 22, 60)}
    message = refused(name, many, SOURCE + FLUXES)
    assert name in message
    assert "column 'mag' looks like magnitudes" in message


@pytest.mark.parametrize(
    ("more", "top", "words"),
    [
        (SOURCE + 'fotometry = {r = "mag"}\n', "", "unknown key 'fotometry' (did you mean 'photometry'?)"),
        (SOURCE, 'licens = "x"', "unknown key 'licens' (did you mean 'licence'?)"),
        (SOURCE + CUTOUTS.replace("bands", "band"), "", "images: unknown key 'band' (did you mean 'bands'?)"),
        (SOURCE + SPECTRA.replace("ivar =", "ivr ="), "", "spectra: unknown key 'ivr' (did you mean 'ivar'?)"),
        (SOURCE.replace('{z = "z"}', '{z = {column = "z", lo = 0}}'), "", "unknown key 'lo' (did you mean 'low'?)"),
    ],
)
def test_keys_that_are_unknown(refused: Callable[..., str], more: str, top: str, words: str) -> None:
    message = refused("t.csv", columns(), more, top)
    assert words in message
    assert "spec.toml" in message


@pytest.mark.parametrize(
    "path", ["../secret.csv", "a/../../secret.csv", "*/../../secret.csv", "./../data/../../secret.csv"]
)
def test_paths_that_climb_out_of_the_data_folder(refused: Callable[..., str], tmp_path: Path, path: str) -> None:
    write_csv(tmp_path.parent / "secret.csv", columns())
    (tmp_path / "a").mkdir()
    message = refused(path, None)
    assert f"path = '{path}' leaves the data folder" in message


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (CUTOUTS.replace('"cutouts"', '"../cutouts"'), "folder = '../cutouts' leaves the data folder"),
        (CUTOUTS.replace("{target_id}", "{where}"), "= '../../secret.jpg' leaves the data folder"),
        ('images = {file = "../x.npy", column = "array", bands = ["g"]}\n', "file = '../x.npy' leaves the data folder"),
    ],
)
def test_images_that_climb_out_of_their_folder(refused: Callable[..., str], more: str, words: str) -> None:
    message = refused("t.csv", columns(where=np.array(["../../secret"] * N)), SOURCE + more)
    assert words in message


def test_numbers_of_either_byte_order_are_read(tmp_path: Path) -> None:
    made = columns()
    swapped = {name: values.astype(values.dtype.newbyteorder(">")) for name, values in made.items()}
    digests = set()
    for name in ("t.hdf5", "t.npz"):
        for order, given in (("little", made), ("big", swapped)):
            WRITERS[name](tmp_path / name, given)
            (tmp_path / "spec.toml").write_text(f'name = "x"\n[[source]]\npath = "{name}"\n{SOURCE}{SPECTRA}')
            survey, _ = import_survey(tmp_path / "spec.toml", tmp_path / f"{name}-{order}", data_dir=tmp_path)
            np.testing.assert_array_equal(survey.catalogue["z"], made["z"][np.argsort(made["id"])])
            digests.add(survey.digest)
            (tmp_path / name).unlink()
    assert len(digests) == 1


def test_hdf5_is_read_row_by_row_in_the_order_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_hdf5(tmp_path / "t.hdf5", columns())
    (tmp_path / "spec.toml").write_text(f'name = "x"\n[[source]]\npath = "t.hdf5"\n{SOURCE}{SPECTRA}')
    read: dict[str, list[Any]] = {"/flux": [], "/ivar": [], "/wave": []}
    honest = h5py.Dataset.__getitem__

    def noted(self: h5py.Dataset, key: Any, **more: Any) -> Any:
        if self.name in read:
            read[self.name].append(key)
        return honest(self, key, **more)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", noted)
    import_survey(tmp_path / "spec.toml", tmp_path / "out", data_dir=tmp_path)
    for name, rows in read.items():
        assert rows == list(range(N)), name  # although the ids are in another order

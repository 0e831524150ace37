"""An import that is killed goes on where it was: the same bytes, and what was written is not read again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest

from benchmark.contracts import GalaxybenchError
from benchmark.data import import_survey
from benchmark.data.importing.cutouts import ImageSource
from benchmark.data.importing.filling import ROWS_A_BLOCK
from benchmark.data.importing.spectra import SpectrumSource
from benchmark.data.scratch import Journal, Scratch

N = 3 * ROWS_A_BLOCK - 20
SPEC = """
name = "toy"
[[source]]
path = "t.npz"
id = "id"
targets = {z = "z"}
images = {column = "cube", bands = ["g", "r", "z"]}
spectra = {flux = "flux", ivar = "ivar", wavelength = {start = 4000.0, step = 2.0, n = 12}}
"""
KILLED = """
import os, signal, sys
from benchmark.data import import_survey
from benchmark.data import stored
stored.SHARDS_FROM, stored.SHARD_BYTES = {shards}
calls = 0
def progress(done, n):
    global calls
    calls += 1
    if calls == {after}:
        os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    import_survey({spec!r}, {out!r}, data_dir={data!r}, progress=progress, workers={workers})
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    np.savez(
        folder / "t.npz",
        id=10**17 + rng.permutation(N),
        z=rng.uniform(0, 1, N),
        cube=rng.normal(0, 1, (N, 3, 4, 4)).astype(np.float32),
        flux=rng.normal(3, 1, (N, 12)).astype(np.float32),
        ivar=rng.uniform(1, 2, (N, 12)).astype(np.float32),
    )
    (folder / "spec.toml").write_text(SPEC)
    return folder


def kill(data: Path, after: int, workers: int = 1, shards: tuple[int, int] = (10**5, 2**31)) -> Path:
    """Import in a process that is killed (kill -9) when the progress is told for the ``after``-th time."""
    script = data.parent / "killed.py"
    script.write_text(
        KILLED.format(
            after=after,
            shards=shards,
            workers=workers,
            spec=str(data / "spec.toml"),
            out=str(data.parent / "out"),
            data=str(data),
        )
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(script)], cwd=root, env={"PYTHONPATH": str(root), "PATH": ""}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert not (data.parent / "out").exists()
    (left,) = data.parent.glob(".out.*.partial")
    return left


def interrupt(data: Path, error: type[BaseException] = KeyboardInterrupt) -> None:
    """Stop an import in the second block of its images."""

    def progress(done: int, n: int) -> None:
        if done == ROWS_A_BLOCK + 1:
            raise error

    with pytest.raises(error):
        import_survey(data / "spec.toml", data.parent / "out", data_dir=data, progress=progress)


def counted(data: Path, workers: int = 1) -> tuple[str, int, int]:
    """Digest of an import, and how many images and spectra were read for it."""
    read_image, read_spectrum = ImageSource.read, SpectrumSource.read
    n = {"images": 0, "spectra": 0}

    def image(self: ImageSource, row: int):
        n["images"] += 1
        return read_image(self, row)

    def spectrum(self: SpectrumSource, row: int, grid):
        n["spectra"] += 1
        return read_spectrum(self, row, grid)

    with patch.object(ImageSource, "read", image), patch.object(SpectrumSource, "read", spectrum):
        survey, _ = import_survey(data / "spec.toml", data.parent / "out", data_dir=data, workers=workers)
    return survey.digest, n["images"], n["spectra"]


@pytest.fixture
def whole(data: Path) -> str:
    digest, *n = counted(data)
    assert n == [N, N]
    shutil.rmtree(data.parent / "out")
    return digest


@pytest.mark.parametrize(
    ("after", "images_left", "spectra_left"),
    [
        (ROWS_A_BLOCK + 5, N - ROWS_A_BLOCK, N),  # in the second block of the images
        (N + 2 * ROWS_A_BLOCK + 1, 0, N - 2 * ROWS_A_BLOCK),  # in the last block of the spectra
    ],
)
def test_a_killed_import_goes_on_with_the_block_that_it_was_in(
    data: Path, whole: str, after: int, images_left: int, spectra_left: int
) -> None:
    kill(data, after)
    assert counted(data) == (whole, images_left, spectra_left)
    assert sorted(path.name for path in data.parent.iterdir()) == ["data", "killed.py", "out"]


def test_a_killed_import_into_shards_goes_on_and_so_do_several_processes(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = (100, 100 * 3 * 4 * 4 * 4)
    for name, value in zip(("SHARDS_FROM", "SHARD_BYTES"), shards):
        monkeypatch.setattr(f"benchmark.data.stored.{name}", value)
    digest, *_ = counted(data)
    shutil.rmtree(data.parent / "out")
    left = kill(data, after=1, workers=2, shards=shards)  # killed as the first block was told
    assert len(list(left.glob("images-*.npy"))) == 8
    again, n_images, n_spectra = counted(data)
    assert again == digest
    assert n_images <= N - ROWS_A_BLOCK  # the killed process' workers may have gone on for a while
    assert n_spectra == N


def test_other_data_are_not_mixed_with_what_was_left(data: Path) -> None:
    interrupt(data)
    with np.load(data / "t.npz") as arrays:
        changed = {name: arrays[name] for name in arrays}
    changed["cube"] = changed["cube"] + 1
    np.savez(data / "t.npz", **changed)
    survey, _ = import_survey(data / "spec.toml", data.parent / "out", data_dir=data)
    np.testing.assert_array_equal(survey.images, changed["cube"][np.argsort(changed["id"])])
    assert sorted(path.name for path in data.parent.iterdir()) == ["data", "out"]


def test_an_array_that_was_lost_is_written_anew(data: Path, whole: str) -> None:
    interrupt(data)
    (left,) = data.parent.glob(".out.*.partial")
    (left / "images.npy").unlink()
    assert counted(data) == (whole, N, N)


def test_an_import_interrupted_from_the_keyboard_goes_on_and_one_with_an_error_leaves_nothing(
    data: Path, whole: str
) -> None:
    interrupt(data, RuntimeError)
    assert sorted(path.name for path in data.parent.iterdir()) == ["data"]
    interrupt(data)
    assert counted(data) == (whole, N - ROWS_A_BLOCK, N)


def test_two_imports_do_not_write_one_survey(data: Path) -> None:
    with (
        Scratch(data.parent / "out", "0123456789abcdef"),
        pytest.raises(GalaxybenchError, match=r"out is being written by another process: wait for it"),
        Scratch(data.parent / "out", "0123456789abcdef"),
    ):
        pass


def test_a_number_that_was_cut_off_is_not_in_a_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "x.done")
    for number in (0, 12):
        journal.add(number)
    with (tmp_path / "x.done").open("a") as stream:
        stream.write("1")
    assert Journal(tmp_path / "x.done").done == {0, 12}


def test_a_table_alone_is_not_kept(data: Path) -> None:
    table = pd.DataFrame({"id": np.arange(3), "z": np.arange(3) / 10})
    table.to_csv(data / "t.csv", index=False)
    (data / "spec.toml").write_text('name = "toy"\n[[source]]\npath = "t.csv"\nid = "id"\ntargets = {z = "z"}\n')
    import_survey(data / "spec.toml", data.parent / "out", data_dir=data)
    assert sorted(path.name for path in data.parent.iterdir()) == ["data", "out"]

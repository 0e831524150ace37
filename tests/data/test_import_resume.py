"""An import that is killed goes on where it was: the same bytes, and what was written is not read again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmark.contracts import GalaxybenchError
from benchmark.data import Survey, import_survey, load_survey
from benchmark.data.importing import cutouts
from benchmark.data.importing.cutouts import ImageSource
from benchmark.data.importing.filling import ROWS_A_BLOCK
from benchmark.data.importing.spectra import SpectrumSource
from benchmark.data.importing.verdicts import Verdict, Verdicts
from benchmark.data.readers.images import image_shape, read_image
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
    line, environment = [sys.executable, str(script)], {"PYTHONPATH": str(root), "PATH": ""}
    # its workers write to the same pipe: it ends when they have, too
    done = subprocess.run(line, cwd=root, env=environment, stdout=subprocess.PIPE, check=False, timeout=60)
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
    assert n_images <= N - ROWS_A_BLOCK  # the killed process' workers may have gone on for a moment
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


PICTURES = """
name = "toy"
[[source]]
path = "t.csv"
id = "id"
targets = {z = "z"}
images = {folder = "cutouts", name = "{target_id}.png", bands = ["g", "r", "z"], unit = "display_uint8", bad = "drop"}
"""
CUBES = """
name = "toy"
[[source]]
path = "t.npz"
id = "id"
targets = {z = "z"}
images = {column = "cube", bands = ["g", "r", "z"], dead = [nan], max_dead = 0.5, bad = "drop"}
spectra = {flux = "flux", ivar = "ivar", wavelength = {start = 4000.0, step = 2.0, n = 12}, bad = "drop"}
"""
N_PICTURES = ROWS_A_BLOCK + 40


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of pictures, one of which is torn and one missing."""
    folder = tmp_path / "data"
    (folder / "cutouts").mkdir(parents=True)
    rng = np.random.default_rng(2)
    ids = 10**17 + np.arange(N_PICTURES)
    for galaxy in ids:
        Image.fromarray(rng.integers(0, 255, (4, 4, 3)).astype(np.uint8)).save(folder / f"cutouts/{galaxy}.png")
    torn = folder / f"cutouts/{ids[3]}.png"
    torn.write_bytes(torn.read_bytes()[:40])
    (folder / f"cutouts/{ids[5]}.png").unlink()
    pd.DataFrame({"id": ids, "z": rng.uniform(0, 1, N_PICTURES)}).to_csv(folder / "t.csv", index=False)
    (folder / "spec.toml").write_text(PICTURES)
    return folder


class Opened:
    """Counts how often each picture is opened; the keyboard interrupts after so many."""

    def __init__(self, last: int | None = None) -> None:
        self.times: Counter[str] = Counter()
        self.last = last

    def import_(self, data: Path) -> Survey:
        def image(path: Path):
            if self.times.total() == self.last:
                raise KeyboardInterrupt
            self.times[path.name] += 1
            return read_image(path)

        def shape(path: Path):
            self.times[path.name] += 1
            return image_shape(path)

        with patch.object(cutouts, "read_image", image), patch.object(cutouts, "image_shape", shape):
            return import_survey(data / "spec.toml", data.parent / "out", data_dir=data)[0]


def bytes_of(survey: Survey) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(survey.folder.iterdir())}


@pytest.mark.parametrize(
    ("last", "n_again"),
    [
        (100, 0),  # while looking
        (N_PICTURES + ROWS_A_BLOCK + 9, 9),  # while writing: the block that it was in is begun anew
    ],
)
def test_an_import_that_drops_bad_images_looks_at_none_twice(pictures: Path, last: int, n_again: int) -> None:
    whole = Opened()
    expected = bytes_of(whole.import_(pictures))
    assert len(pd.read_parquet(pictures.parent / "out" / "catalogue.parquet")) == N_PICTURES - 2
    # each is looked at and then written, but for the torn and the missing one
    assert sorted(whole.times.values()) == [1, 1] + [2] * (N_PICTURES - 2)
    shutil.rmtree(pictures.parent / "out")
    first, again = Opened(last), Opened()
    with pytest.raises(KeyboardInterrupt):
        first.import_(pictures)
    assert len(list(pictures.parent.glob(".out.*.verdicts"))) == 1
    assert bytes_of(again.import_(pictures)) == expected
    twice = (first.times + again.times) - whole.times
    assert (twice.total(), set(twice.values()) <= {1}) == (n_again, True)
    if last > N_PICTURES:
        assert max(again.times.values()) == 1
    assert sorted(path.name for path in pictures.parent.iterdir()) == ["data", "out"]


def test_images_with_dead_pixels_and_spectra_are_not_looked_at_twice_either(data: Path) -> None:
    with np.load(data / "t.npz") as arrays:
        changed = {name: arrays[name].copy() for name in arrays}
    changed["cube"][7, 0, 0, 0] = np.nan
    changed["cube"][9, 1] = np.nan
    changed["ivar"][11] = 0
    np.savez(data / "t.npz", **changed)
    (data / "spec.toml").write_text(CUBES)
    whole, n_images, n_spectra = counted(data)
    assert (n_images, n_spectra) == (N + N - 2, N - 1 + N - 2)  # looked at, then written
    survey = load_survey(data.parent / "out")
    assert sorted(survey.catalogue["image_dead"])[-2:] == [0, 1 / 16]
    shutil.rmtree(data.parent / "out")
    interrupt(data)
    assert counted(data) == (whole, N - 2 - ROWS_A_BLOCK, N - 2)


def test_the_noise_of_images_is_not_measured_twice(data: Path) -> None:
    spec = CUBES.replace('"g", "r", "z"', '"g", "r", "i"')  # bands without a stretch of their own
    (data / "spec.toml").write_text(spec[: spec.index("spectra")])
    whole, n_images, _ = counted(data)
    n_measured = n_images - 2 * N
    assert n_measured >= 64
    stretch = load_survey(data.parent / "out").info.image_stretch
    assert len(stretch) == 3
    shutil.rmtree(data.parent / "out")
    interrupt(data)
    assert counted(data) == (whole, N - ROWS_A_BLOCK, 0)
    assert load_survey(data.parent / "out").info.image_stretch == stretch


def test_a_picture_that_was_mended_meanwhile_is_looked_at_again(pictures: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Opened(N_PICTURES + 10).import_(pictures)
    mended = sorted((pictures / "cutouts").iterdir())[3]
    Image.fromarray(np.full((4, 4, 3), 9, np.uint8)).save(mended)
    again = Opened()
    survey = again.import_(pictures)
    assert survey.n_galaxies == N_PICTURES - 1
    assert {name for name, n in again.times.items() if n == 2} == {mended.name}
    np.testing.assert_array_equal(survey.images[survey.target_id == int(mended.stem)], np.full((1, 3, 4, 4), 9))


def test_verdicts_of_other_files_and_after_an_error_are_not_kept(pictures: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Opened(N_PICTURES).import_(pictures)
    table = pd.read_csv(pictures / "t.csv")
    table.assign(z=0.5).to_csv(pictures / "t.csv", index=False)
    again = Opened()
    again.import_(pictures)
    assert again.times.total() == 2 * N_PICTURES - 2
    shutil.rmtree(pictures.parent / "out")
    with pytest.raises(ZeroDivisionError):
        import_survey(pictures / "spec.toml", pictures.parent / "out", data_dir=pictures, announce=lambda text: 1 / 0)
    assert sorted(path.name for path in pictures.parent.iterdir()) == ["data"]


def test_a_verdict_that_was_cut_off_is_looked_for_again(tmp_path: Path) -> None:
    key, verdict = "0123456789abcdef", Verdict(shape=(3, 4, 4), dead=0.25)
    asked: list[int] = []

    def look(galaxy: int) -> Verdict:
        asked.append(galaxy)
        return verdict

    def cut_off(galaxies: list[int], found: list[Verdict]) -> None:
        with Verdicts(tmp_path / "out") as verdicts:
            verdicts.open(key)
            found += [verdicts.of("images", galaxy, (5, 6), partial(look, galaxy)) for galaxy in galaxies]
            raise KeyboardInterrupt

    def all_of(galaxies: list[int]) -> list[Verdict]:
        found: list[Verdict] = []
        with pytest.raises(KeyboardInterrupt):
            cut_off(galaxies, found)
        return found

    assert all_of([1, 2]) == [verdict, verdict]
    (path,) = tmp_path.glob(".out.*.verdicts")
    path.write_bytes(path.read_bytes()[:-3])
    assert all_of([1, 2, 3]) == all_of([1, 2, 3]) == [verdict] * 3
    assert asked == [1, 2, 2, 3]
    with Verdicts(tmp_path / "out") as one, Verdicts(tmp_path / "out") as other:
        one.open(key)
        with pytest.raises(GalaxybenchError, match="out is being written by another process"):
            other.open(key)

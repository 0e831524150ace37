"""Large surveys in shards: the same galaxies through the same calls, and what is missing or altered is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.contracts import GalaxybenchError, Target
from benchmark.data import (
    ImageWriter,
    SpectrumWriter,
    Survey,
    SurveyInfo,
    check_survey,
    describe,
    inputs,
    load_survey,
    stored,
    write_survey,
)
from benchmark.data.stored import ShardedArray

N, N_WAVE = 50, 9


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards from 40 rows on: 7 images of 2 x 3 x 4 float32, or 18 spectra, each."""
    monkeypatch.setattr(stored, "SHARDS_FROM", 40)
    monkeypatch.setattr(stored, "SHARD_BYTES", 7 * 2 * 3 * 4 * 4)


@pytest.fixture
def arrays() -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"target_id": 10**17 + rng.permutation(N), "z": rng.uniform(0, 1, N)})
    pixels = rng.normal(1, 1, (N, 2, 3, 4)).astype(np.float32)
    flux = rng.normal(1, 1, (N, N_WAVE)).astype(np.float32)
    return table, pixels, flux, rng.uniform(1, 2, (N, N_WAVE)).astype(np.float32)


INFO = SurveyInfo(
    "large",
    "1",
    (Target("z"),),
    image_bands=("g", "r"),
    image_unit="nanomaggy",
    image_stretch=(6.0, 3.4),
    wave_start_angstrom=4000.0,
    wave_step_angstrom=2.0,
    n_wave=N_WAVE,
)


@pytest.fixture
def large(tmp_path: Path, arrays: tuple) -> Survey:
    table, pixels, flux, ivar = arrays
    return write_survey(tmp_path / "large", INFO, table, images=pixels, spectra=(flux, ivar))


def test_a_large_survey_is_written_in_shards_with_an_index(large: Survey, arrays: tuple) -> None:
    table, pixels, flux, ivar = arrays
    order = np.argsort(table["target_id"])
    names = sorted(path.name for path in large.folder.iterdir())
    images = [f"images-{number:05d}.npy" for number in range(8)]
    assert names == sorted(
        [
            "catalogue.parquet",
            "index.parquet",
            "survey.toml",
            *images,
            *(f"{kind}-{n:05d}.npy" for kind in ("spectra", "spectra_ivar") for n in range(3)),
        ]
    )
    np.testing.assert_array_equal(np.concatenate([np.load(large.folder / name) for name in images]), pixels[order])
    index = pd.read_parquet(large.folder / "index.parquet")
    np.testing.assert_array_equal(index["target_id"], np.sort(table["target_id"]))
    for galaxy, shard, row in index[["target_id", "images_shard", "images_row"]].sample(9, random_state=1).to_numpy():
        stored_row = np.load(large.folder / f"images-{shard:05d}.npy")[row]
        np.testing.assert_array_equal(stored_row, pixels[table["target_id"] == galaxy][0])
    for galaxy, shard, row in index[["target_id", "spectra_shard", "spectra_row"]].sample(9, random_state=1).to_numpy():
        for kind, given in (("spectra", flux), ("spectra_ivar", ivar)):
            stored_row = np.load(large.folder / f"{kind}-{shard:05d}.npy")[row]
            np.testing.assert_array_equal(stored_row, given[table["target_id"] == galaxy][0])


def test_shards_are_read_through_the_same_calls_as_one_file(
    large: Survey, arrays: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, pixels, flux, ivar = arrays
    monkeypatch.setattr(stored, "SHARDS_FROM", 10**5)
    one = write_survey(tmp_path / "one", INFO, table, images=pixels, spectra=(flux, ivar))
    assert isinstance(one.images, np.memmap)
    assert isinstance(large.images, ShardedArray)
    rows = np.random.default_rng(2).permutation(N)[:30]
    for modality in ("image", "spectrum"):
        views = [inputs(survey, modality, rows) for survey in (one, large)]  # type: ignore[arg-type]
        assert views[0].shape == views[1].shape
        for part in (slice(None), slice(3, 20), np.array([5, 1, 1, 29])):
            np.testing.assert_array_equal(views[0][part], views[1][part])
    assert [(f.code, f.n) for f in check_survey(one)] == [(f.code, f.n) for f in check_survey(large)]
    # a digest knows the files: describe must agree in everything else
    facts = [{k: v for k, v in describe(survey).items() if k not in ("folder", "digest")} for survey in (one, large)]
    assert str(facts[0]) == str(facts[1])
    assert load_survey(large.folder).digest == large.digest


def test_every_index_gives_what_one_array_gives() -> None:
    rng = np.random.default_rng(3)
    whole = rng.normal(size=(23, 3, 4))
    sharded = ShardedArray([whole[:10], whole[10:20], whole[20:]])
    assert (len(sharded), sharded.shape, sharded.ndim, sharded.nbytes) == (23, whole.shape, 3, whole.nbytes)
    keys = (
        0, 22, -1, -23, np.int64(12), slice(None), slice(8, 22), slice(2, 5), slice(20, 3, -3), slice(30, 40),
        np.array([22, 0, 11, 11, -2]), [3, 19], np.zeros(0, dtype=int), whole[:, 0, 0] > 0,
        (4, 1), (slice(5, 15), 1), (np.array([3, 21]), slice(None), 2), (slice(None), slice(1, 3), slice(0, 4, 2)), ...,
    )  # fmt: skip
    for key in keys:
        np.testing.assert_array_equal(sharded[key], whole[key], err_msg=str(key))
    np.testing.assert_array_equal(np.asarray(sharded), whole)
    np.testing.assert_array_equal(np.stack(list(sharded)), whole)
    for wrong in (23, -24, np.array([0, 23])):
        with pytest.raises(IndexError, match="is none of 23"):
            sharded[wrong]
    with pytest.raises(TypeError, match="numbers and slices"):
        sharded[0, np.array([1, 2])]


def test_rows_are_written_through_shards_as_into_one_array() -> None:
    whole = np.zeros((23, 4))
    sharded = ShardedArray([np.zeros((10, 4)), np.zeros((13, 4))])
    values = np.random.default_rng(4).normal(size=(23, 4))
    for key in (5, 12, slice(7, 16), np.array([22, 3, 9, 10])):
        whole[key] = values[key]
        sharded[key] = values[key]
        np.testing.assert_array_equal(np.asarray(sharded), whole)
    sharded[slice(8, 12)] = whole[8:12] = 7.0
    np.testing.assert_array_equal(np.asarray(sharded), whole)


def test_pixels_made_while_they_are_written_come_into_shards(tmp_path: Path, arrays: tuple) -> None:
    table, pixels, flux, ivar = arrays
    place = dict(zip(table["target_id"], range(N)))

    def images(array: np.ndarray, target_id: np.ndarray) -> None:
        for row, galaxy in enumerate(target_id):
            array[row] = pixels[place[galaxy]]

    def spectra(fluxes: np.ndarray, ivars: np.ndarray, target_id: np.ndarray) -> None:
        order = [place[galaxy] for galaxy in target_id]
        fluxes[:], ivars[:] = flux[order], ivar[order]

    made = write_survey(
        tmp_path / "made",
        INFO,
        table,
        images=ImageWriter(pixels.shape, np.float32, images),  # type: ignore[arg-type]
        spectra=SpectrumWriter((N, N_WAVE), spectra),
    )
    order = np.argsort(table["target_id"])
    np.testing.assert_array_equal(made.images, pixels[order])
    np.testing.assert_array_equal(made.spectra, flux[order])
    np.testing.assert_array_equal(made.spectra_ivar, ivar[order])


def test_a_missing_truncated_or_altered_shard_is_named(large: Survey) -> None:
    shard = large.folder / "images-00003.npy"
    content = shard.read_bytes()
    changed = np.load(shard)
    changed[0, 0, 0, 0] += 1
    np.save(shard, changed)
    assert [f.message.split()[0] for f in check_survey(load_survey(large.folder)) if f.code == "image_altered"] == [
        "images-00003.npy"
    ]
    shard.write_bytes(content[:-8])
    with pytest.raises(GalaxybenchError, match=r"images-00003\.npy is truncated"):
        load_survey(large.folder)
    shard.unlink()
    with pytest.raises(GalaxybenchError, match=r"images-00003\.npy is missing"):
        load_survey(large.folder)
    shard.write_bytes(content)
    assert load_survey(large.folder).digest == large.digest
    index = large.folder / "index.parquet"
    index.write_bytes(index.read_bytes()[:-3])
    with pytest.raises(GalaxybenchError, match=r"index\.parquet was altered or truncated"):
        load_survey(large.folder)


def test_a_survey_in_shards_is_replaced_whole(large: Survey, arrays: tuple) -> None:
    table, pixels, flux, ivar = arrays
    few = slice(0, 30)
    made = write_survey(
        large.folder, INFO, table[few], images=pixels[few], spectra=(flux[few], ivar[few]), overwrite=True
    )
    assert sorted(path.name for path in made.folder.glob("*.npy")) == [
        "images.npy", "spectra.npy", "spectra_ivar.npy"
    ]  # fmt: skip
    assert [path.name for path in made.folder.parent.iterdir()] == ["large"]

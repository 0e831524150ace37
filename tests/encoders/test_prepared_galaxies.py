"""Galaxies as a model sees them: read once or anew, the same numbers, memory that does not grow, rows named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoders.astrodino.encoder import AstroDINOEncoder
from encoders.reading import prepared_galaxies
from encoders.reading.image_reader import image_centres
from encoders.reading.images import ImageFacts, binned, centre_crop
from encoders.reading.prepared_galaxies import PreparedGalaxies
from encoders.specformer.encoder import SpecFormerEncoder
from encoders.training.self_supervised import SelfSupervisedEncoder

RNG = np.random.default_rng
STATM = Path("/proc/self/statm")
TINY_DINO: dict[str, Any] = {
    "image_side": 24, "field_side": 24, "global_crop": 16, "local_crop": 8, "patch_size": 8, "dim": 24, "depth": 1,
    "n_heads": 2, "head_hidden": 16, "head_bottleneck": 8, "n_prototypes": 16, "n_local": 1, "batch_size": 8,
}  # fmt: skip
TINY_SPEC: dict[str, Any] = {"window": 32, "step": 16, "dim": 16, "depth": 1, "n_heads": 2, "batch_size": 8}


class Galaxies:
    """Galaxies that count how many rows were read, and note resident memory when they are."""

    def __init__(self, values: np.ndarray, n: int | None = None, **facts: Any) -> None:
        self.values, self.n, self.n_read, self.resident = values, n or len(values), 0, [0]
        self.__dict__ |= facts

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.n, *self.values.shape[1:])

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, rows: Any) -> np.ndarray:
        chosen = np.arange(self.n)[rows]
        self.n_read += len(chosen)
        if STATM.exists():
            self.resident.append(int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        return self.values[chosen % len(self.values)]


def images(n: int, side: int = 48) -> Galaxies:
    flux = RNG(0).normal(0.01, 0.01, (n, 3, side, side)).astype(np.float32)
    return Galaxies(flux, facts=ImageFacts("nanomaggy", ("g", "r", "z"), 0.262))


def spectra(n: int) -> Galaxies:
    flux, ivar = RNG(1).normal(1, 0.3, (n, 600)), RNG(2).uniform(0, 2, (n, 600))
    return Galaxies(np.stack([flux, ivar], 1).astype(np.float32), wave_angstrom=4000 + 4.0 * np.arange(600))


def dino(n_steps: int = 4) -> SelfSupervisedEncoder:
    return AstroDINOEncoder(**TINY_DINO, n_steps=n_steps)


def specformer(n_steps: int = 4) -> SelfSupervisedEncoder:
    return SpecFormerEncoder(**TINY_SPEC, n_steps=n_steps)


BOTH = pytest.mark.parametrize(
    ("build", "galaxies"), [(dino, images), (specformer, spectra)], ids=["images", "spectra"]
)


def reader(galaxies: Galaxies, **options: Any) -> PreparedGalaxies:
    return PreparedGalaxies(galaxies, image_centres(galaxies, 2, 20, "AstroDINO"), **options)


def test_rows_are_kept_where_they_fit_and_prepared_anew_where_not_with_the_same_numbers() -> None:
    rows = np.array([5, 3, 30])
    stacks = [images(40) for _ in range(3)]
    kept, too_large, fresh = (
        reader(stack, **options)
        for stack, options in zip(stacks, ({"keep": True}, {"keep": True, "max_bytes": 40 * 3 * 400 * 2 - 1},
                                           {"keep": False}), strict=True)
    )  # fmt: skip
    expected = centre_crop(stacks[0].values[rows].reshape(3, 3, 24, 2, 24, 2).mean((3, 5)), 20)
    np.testing.assert_allclose(kept(rows).numpy(), expected, rtol=1e-3, atol=1e-5)  # float16
    np.testing.assert_allclose(centre_crop(binned(stacks[0].values[rows], 2), 20), expected, atol=1e-6)  # float32 sums
    for read in (too_large, fresh):
        assert torch.equal(read(rows), kept(rows))
    assert kept(rows).dtype == torch.float32
    for stack in stacks:
        stack.n_read = 0
    for _ in range(2):
        for read in (kept, too_large, fresh):
            read(np.arange(10))
    assert [stack.n_read for stack in stacks] == [8, 20, 20]  # two of them were known
    assert torch.equal(kept(np.array([7, 7])), fresh(np.array([7, 7])))
    assert kept(np.empty(0, dtype=np.int64)).shape == (0, 3, 20, 20)


@pytest.mark.parametrize("factor", range(1, 10))
def test_binned_images_are_those_of_numpys_mean_in_every_digit(factor: int) -> None:
    pixels = RNG(3).normal(size=(5, 3, 40, 47)).astype(np.float32)
    height, width = 40 // factor, 47 // factor
    blocks = pixels[..., : height * factor, : width * factor].reshape(5, 3, height, factor, width, factor)
    expected = blocks.mean(axis=(-3, -1), dtype=np.float32)
    assert binned(pixels, factor).tobytes() == expected.tobytes()


@pytest.mark.parametrize("bands", [None, (0, 1, 2), (2, 0), (1, 2)])
@pytest.mark.parametrize(("factor", "side"), [(1, 31), (2, 20), (3, 13), (3, 17), (4, 40)])
def test_only_what_is_looked_at_is_binned_with_the_same_numbers(
    factor: int, side: int, bands: tuple[int, ...] | None
) -> None:
    pixels = RNG(3).normal(size=(5, 3, 41, 47)).astype(np.float32)
    stack = Galaxies(pixels)
    shown = pixels if bands is None else pixels[:, list(bands)]
    expected = centre_crop(binned(shown, factor), side).astype(np.float16)
    found = image_centres(stack, factor, side, "AstroDINO", bands)(pixels, np.arange(5))
    assert found.numpy().tobytes() == expected.tobytes()


def test_exactly_as_much_as_fits_is_kept() -> None:
    stack = images(40)
    read = reader(stack, keep=True, max_bytes=40 * 3 * 400 * 2)
    read(np.arange(40))
    read(np.arange(40))
    assert stack.n_read == 40


@BOTH
def test_weights_and_embeddings_do_not_depend_on_what_was_kept(
    build: Any, galaxies: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, n_read = [], []
    for most in (prepared_galaxies.KEPT_BYTES, 0):
        monkeypatch.setattr(prepared_galaxies, "KEPT_BYTES", most)
        stack, model = galaxies(40), build()
        model.fit(stack, seed=0)
        n_read.append(stack.n_read)
        found.append((model.state(), model.embed(stack)))
    assert n_read[0] == 40 < n_read[1]
    assert all(np.array_equal(found[0][0][name], found[1][0][name]) for name in found[0][0])
    assert np.array_equal(found[0][1], found[1][1])


@BOTH
def test_an_embedding_reads_each_galaxy_once(build: Any, galaxies: Any) -> None:
    model, stack = build(0), galaxies(40)
    model.fit(stack, seed=0)
    stack.n_read = 0
    model.embed(stack)
    assert stack.n_read == 40


def grown(stack: Galaxies, since: int) -> float:
    """By how many bytes resident memory grew since a reading, over the size of the images at float16."""
    return (max(stack.resident[since:]) - stack.resident[since]) / (2 * np.prod(stack.shape))


@pytest.mark.skipif(not STATM.exists(), reason="resident memory is read from /proc")
def test_embedding_a_survey_does_not_hold_its_images_and_keeping_them_does() -> None:
    flux = images(64, side=76)
    many = Galaxies(flux.values, n=5_000, facts=flux.facts)  # 173 MB at float16
    model = AstroDINOEncoder(**(TINY_DINO | {"image_side": 76, "field_side": 76}), n_steps=0, embed_batch_size=64)
    model.fit(flux, seed=0)
    model.embed(flux)
    since = len(many.resident)
    model.embed(many)
    assert many.n_read == 5_000
    assert grown(many, since) < 0.25  # a few batches of 64 at float32 are 9 MB
    kept = PreparedGalaxies(many, image_centres(many, 1, 76, "AstroDINO"), keep=True)
    since = len(many.resident)
    for start in range(0, 5_000, 50):
        kept(np.arange(start, start + 50))
    assert grown(many, since) > 0.75


@BOTH
@pytest.mark.parametrize("keep", [True, False])
def test_a_bad_galaxy_is_named_by_its_row_in_whatever_order_rows_are_read(
    build: Any, galaxies: Any, keep: bool
) -> None:
    stack, model = galaxies(40), build()
    model.fit(stack, seed=0)
    stack.values[17] = np.nan
    read = PreparedGalaxies(stack, model._prepare(stack), keep=keep)
    for rows in (np.arange(10, 20), np.array([31, 17, 2])):
        with pytest.raises(ValueError, match=f"of rows {rows.min()} to {rows.max()} hold NaN.*first row 17: "):
            read(rows)
    with pytest.raises(ValueError, match="first row 17: "):
        model.embed(stack)
    with pytest.raises(ValueError, match="first row 17: "):
        build().fit(stack, seed=0)

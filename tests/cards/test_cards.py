"""Every card of the folder and the model it names, under the promises of the contracts."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import sklearn.decomposition  # noqa: F401  # moves the global generator on import: no test shall be blamed for it
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

import benchmark.cards
from benchmark.contracts import Encoder, ModelCard, ReferenceModel, SupervisedModel
from encoders.training.self_supervised import SelfSupervisedEncoder

CARDS: dict[str, ModelCard] = {
    card.name: card
    for found in pkgutil.iter_modules(benchmark.cards.__path__)
    for card in getattr(importlib.import_module(f"benchmark.cards.{found.name}"), "CARDS", ())
}
ENCODERS = [name for name, card in CARDS.items() if card.kind == "encoder"]
OF_IMAGES, OF_SPECTRA = (
    [name for name in ENCODERS if CARDS[name].modality == modality] for modality in ("image", "spectrum")
)
SUPERVISED = [name for name, card in CARDS.items() if card.kind == "supervised"]
PRESETS = ("smoke", "laptop", "paper")
SIZES = ((26, 3), (64, 1), (9, 5))


def build(name: str, preset: str = "smoke", recipe: str | None = None, **overrides: object):
    module, attribute = CARDS[name].factory.split(":")
    options = {**CARDS[name].options[preset], **CARDS[name].recipes.get(recipe or "", {}), **overrides}
    return getattr(importlib.import_module(module), attribute)(**options)


def images(n: int, seed: int = 0, side: int = 26, bands: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((n, bands, side, side), dtype=np.float32)


class Spectra:
    """Spectra (n, 2, n_wave) that name their wavelengths, as those of a survey do."""

    def __init__(self, rows: NDArray[np.float32], wave_angstrom: NDArray[np.float64]) -> None:
        self.rows, self.wave_angstrom = rows, wave_angstrom

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        return self.rows[rows]


def spectra(n: int, seed: int = 0, n_wave: int = 800) -> Spectra:
    """Power laws with noise, some pixels invalid."""
    rng, wave = np.random.default_rng(seed), np.linspace(3600, 9800, n_wave)
    level = rng.uniform(0.5, 5, (n, 1)) * (wave / 6000) ** rng.normal(size=(n, 1))
    ivar = rng.uniform(1, 9, (n, n_wave)) * (rng.random((n, n_wave)) > 0.05)
    return Spectra(np.stack([level + rng.normal(size=ivar.shape), ivar], axis=1).astype(np.float32), wave)


def galaxies(name: str, n: int, seed: int = 0):
    """What a model reads, n rows of it."""
    return spectra(n, seed) if CARDS[name].modality == "spectrum" else images(n, seed)


def part(stack, rows):
    """Some rows of a stack, as a stack."""
    return Spectra(stack[rows], stack.wave_angstrom) if isinstance(stack, Spectra) else stack[rows]


def magnitudes(n: int, seed: int = 0, gaps: float = 0.1) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    rows = rng.normal((20.0, 19.0, 18.5), (1.5, 1.2, 1.1), (n, 3)).astype(np.float32)
    rows[rng.random(rows.shape) < gaps] = np.nan
    return rows


def targets(inputs: NDArray, seed: int = 0, gaps: float = 0.2) -> NDArray[np.float64]:
    """Two targets that follow the magnitudes, some missing."""
    rng = np.random.default_rng(seed)
    known = np.nan_to_num(inputs.astype(np.float64), nan=19.0)
    target = np.stack([0.1 * known[:, 0] - 1.5, 10.0 + known[:, 0] - known[:, 1]], axis=1)
    target += 0.01 * rng.normal(size=target.shape)
    target[rng.random(target.shape) < gaps] = np.nan
    return target


def fitted(name: str, n: int = 150, seed: int = 0, order: NDArray | None = None, **overrides: object):
    inputs, held_out = magnitudes(n, 1), magnitudes(60, 2)
    target = targets(inputs, 3)
    order = np.arange(n) if order is None else order
    model = build(name, **overrides)
    model.fit(inputs[order], target[order], validation=(held_out, targets(held_out, 4)), seed=seed)
    return model


def test_the_board_has_the_models_of_the_public_surface() -> None:
    assert sorted(CARDS) == [
        "AstroDINO",
        "Constant",
        "ExactPosterior",
        "GradientBoosting",
        "ImageHandFeatures",
        "ImagePCA",
        "ImagePixels",
        "PhotometryMLP",
        "RandomSpecFormer",
        "RandomViT",
        "ReferencePosterior",
        "SpecFormer",
        "SpectrumPCA",
        "SpectrumZscanPCA",
    ]


def test_listing_cards_and_probes_imports_neither_torch_nor_scikit_learn() -> None:
    code = (
        "import importlib, pkgutil, sys, benchmark.cards, benchmark.heads\n"
        "for p in (benchmark.cards, benchmark.heads):\n"
        "    for m in pkgutil.iter_modules(p.__path__): importlib.import_module(f'{p.__name__}.{m.name}')\n"
        "print([m for m in ('torch', 'sklearn', 'scipy', 'pandas') if m in sys.modules])\n"
    )
    root = Path(benchmark.cards.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", CARDS)
def test_a_card_states_its_facts(name: str) -> None:
    card = CARDS[name]
    assert card.summary
    assert card.licence
    assert card.training_data
    assert card.revision >= 1
    assert set(card.options) == set(PRESETS)
    assert set(card.recipes) <= {"paper", "code"}
    allowed = {
        "encoder": {"knn", "linear", "mlp", "flow"},
        "supervised": {"supervised", "flow"},
        "reference": {"reference"},
    }
    assert card.probes
    assert set(card.probes) <= allowed[card.kind]
    for reference in card.references:
        assert reference.identifier.startswith(("arXiv:", "doi:", "https://"))


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("recipe", [None, "paper", "code"])
def test_the_options_of_a_card_are_those_of_its_factory(name: str, preset: str, recipe: str | None) -> None:
    model = build(name, preset, recipe)
    protocols = {"encoder": Encoder, "supervised": SupervisedModel, "reference": ReferenceModel}
    assert isinstance(model, protocols[CARDS[name].kind])


@pytest.mark.parametrize("name", CARDS)
def test_options_of_a_card_can_be_written_into_a_record(name: str) -> None:
    card = CARDS[name]
    for options in [*card.options.values(), *card.recipes.values()]:
        for value in options.values():
            assert isinstance(value, (int, float, str, bool, tuple, type(None)))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        *((name, partial(images, side=side, bands=bands)) for name in OF_IMAGES for side, bands in SIZES),
        *((name, partial(spectra, n_wave=n_wave)) for name in OF_SPECTRA for n_wave in (800, 2000)),
    ],
)
def test_an_encoder_gives_one_finite_vector_a_galaxy(name: str, make: Callable) -> None:
    model, stack = build(name), make(40)
    model.fit(stack, seed=0)
    embedding = model.embed(part(stack, slice(7)))
    assert embedding.dtype == np.float32
    assert embedding.shape[0] == 7
    assert embedding.ndim == 2
    assert np.isfinite(embedding).all()
    assert embedding.std(axis=0).max() > 0
    assert model.embed(part(stack, slice(0))).shape == (0, embedding.shape[1])


@pytest.mark.parametrize("name", ENCODERS)
def test_an_embedding_does_not_depend_on_batches_or_on_the_order_of_rows(name: str) -> None:
    stack, order = galaxies(name, 50), np.random.default_rng(1).permutation(50)
    model = build(name)
    # of an encoder that is trained in batches, batch_size is one of the training
    option = "embed_batch_size" if isinstance(model, SelfSupervisedEncoder) else "batch_size"
    one_by_one = build(name, **{option: 1})
    for encoder in (model, one_by_one):
        encoder.fit(stack, seed=0)
    expected = model.embed(stack)
    # 1e-5: float32 sums in another order; the components of a PCA come from a decomposition of the same sorted rows
    np.testing.assert_allclose(one_by_one.embed(stack), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.embed(part(stack, order)), expected[order], rtol=0, atol=1e-5)
    refitted = build(name)
    refitted.fit(part(stack, order), seed=0)
    np.testing.assert_allclose(refitted.embed(stack), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_state_of_an_encoder_survives_a_file(name: str, tmp_path: Path) -> None:
    stack = galaxies(name, 40)
    model, loaded = build(name), build(name)
    model.fit(stack, seed=5)
    save_file({key: np.ascontiguousarray(array) for key, array in model.state().items()}, tmp_path / "w.safetensors")
    loaded.load_state(load_file(tmp_path / "w.safetensors"))
    np.testing.assert_array_equal(loaded.embed(stack), model.embed(stack))


@pytest.mark.parametrize("name", OF_IMAGES)
def test_an_encoder_refuses_what_is_no_image(name: str) -> None:
    model, stack = build(name), images(20)
    with pytest.raises(ValueError, match=r"was given inputs of shape \(20, 3\): it reads images"):
        model.fit(magnitudes(20), seed=0)
    model.fit(stack, seed=0)
    with pytest.raises(ValueError, match=r"was given inputs of shape \(20, 3\): it reads images"):
        model.embed(magnitudes(20))
    stack[13, 1, 2, 3] = np.nan
    with pytest.raises(ValueError, match=r"1 images of rows 0 to 19 hold NaN or infinite pixels, first row 13"):
        model.embed(stack)


@pytest.mark.parametrize("name", OF_SPECTRA)
def test_an_encoder_refuses_what_is_no_spectrum(name: str) -> None:
    model, stack = build(name), spectra(20)
    with pytest.raises(ValueError, match=r"was given inputs of shape \(20, 3\): it reads spectra"):
        model.fit(magnitudes(20), seed=0)
    model.fit(stack, seed=0)
    with pytest.raises(ValueError, match="other wavelengths than in training"):
        model.embed(spectra(20, n_wave=900))
    with pytest.raises(ValueError, match="800 pixels without wavelengths"):
        model.embed(stack.rows)
    for row, column, value in ((13, 0, np.nan), (7, 1, np.nan), (4, 1, -1.0)):
        broken = stack.rows.copy()
        broken[row, 1, 5], broken[row, column, 5] = 1.0, value
        message = f"1 spectra of rows 0 to 19 hold NaN, infinite or negative values, first row {row}"
        with pytest.raises(ValueError, match=message):
            model.embed(Spectra(broken, stack.wave_angstrom))
    marked = stack.rows.copy()
    marked[13, :, 5] = np.nan, 0.0  # said to be invalid
    model.embed(Spectra(marked, stack.wave_angstrom))


@pytest.mark.parametrize("name", SUPERVISED)
def test_a_supervised_model_predicts_a_finite_number_for_every_target(name: str) -> None:
    model = fitted(name)
    predicted, context = model.predict(magnitudes(9, 7)), model.context(magnitudes(9, 7))
    assert predicted.shape == (9, 2)
    assert predicted.dtype == np.float64
    assert np.isfinite(predicted).all()
    assert context.shape[0] == 9
    assert context.dtype == np.float32
    assert np.isfinite(context).all()
    assert model.predict(magnitudes(0)).shape == (0, 2)


@pytest.mark.parametrize("name", SUPERVISED)
def test_a_supervised_model_is_the_same_for_a_seed_and_any_order_of_rows(name: str) -> None:
    order, rows = np.random.default_rng(5).permutation(150), magnitudes(40, 7)
    expected = fitted(name).predict(rows)
    np.testing.assert_array_equal(fitted(name).predict(rows), expected)
    # 1e-6: means over rows in another order; the batches of a fit are the same ones
    np.testing.assert_allclose(fitted(name, order=order).predict(rows), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(fitted(name).predict(rows[::-1]), expected[::-1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", SUPERVISED)
def test_a_context_has_seen_no_label(name: str) -> None:
    inputs, held_out = magnitudes(100, 1), magnitudes(30, 2)
    contexts = []
    for seed in (0, 1):
        model = build(name)
        labels = np.random.default_rng(seed).normal(size=(130, 1))
        model.fit(inputs, labels[:100], validation=(held_out, labels[100:]), seed=0)
        contexts.append(model.context(held_out))
    np.testing.assert_array_equal(contexts[0], contexts[1])


@pytest.mark.parametrize("name", SUPERVISED)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_supervised_model_fits_a_handful_of_galaxies(name: str, n: int) -> None:
    inputs = magnitudes(n, gaps=0.0)
    target = targets(inputs, gaps=0.0)
    model = build(name)
    model.fit(inputs, target, validation=(inputs, target), seed=0)
    assert np.isfinite(model.predict(magnitudes(5, 3))).all()


@pytest.mark.parametrize("name", SUPERVISED)
def test_a_supervised_model_names_a_target_without_values(name: str) -> None:
    inputs = magnitudes(20)
    target = targets(inputs)
    target[:, 1] = np.nan
    with pytest.raises(ValueError, match=r"no value in target columns \[1\] of 20 rows"):
        build(name).fit(inputs, target, validation=(inputs, target), seed=0)
    with pytest.raises(ValueError, match=r"targets must be \(20, n_targets\), one row a galaxy"):
        build(name).fit(inputs, target[:5], validation=(inputs, target), seed=0)


@pytest.mark.parametrize("name", CARDS)
def test_every_option_of_a_card_is_an_argument_of_its_factory(name: str) -> None:
    card = CARDS[name]
    known = set(inspect.signature(type(build(name)).__init__).parameters)
    for options in [*card.options.values(), *card.recipes.values()]:
        assert set(options) <= known


@pytest.mark.parametrize("name", SUPERVISED)
def test_a_context_needs_no_fit_and_reads_each_row_by_itself(name: str) -> None:
    model, rows = build(name), magnitudes(40, 7)
    rows[3] = np.nan
    context = model.context(rows)
    assert np.isfinite(context).all()
    np.testing.assert_array_equal(np.concatenate([model.context(rows[:11]), model.context(rows[11:])]), context)


def test_recipes_of_the_photometry_network_are_the_published_ones() -> None:
    for recipe in ("paper", "code"):
        model = build("PhotometryMLP", "laptop", recipe)
        assert (model.config.learning_rate, model.config.optimiser, model.config.cosine) == (5e-4, "adam", False)
        assert model.hidden == (64, 64)
        rows = magnitudes(100, 1, gaps=0.0)
        model._features.fit(rows)
        np.testing.assert_allclose(model._features.transform(rows), (rows - rows.mean()) / rows.std(), atol=1e-5)

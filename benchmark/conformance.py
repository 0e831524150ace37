"""Whether a model keeps the promises of its contract: ``check`` tries it on mock galaxies of its modality.

Mock galaxies come through the views that a run uses, so that a model which only reads plain arrays is found out here.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark import mock
from benchmark.config import RunConfig
from benchmark.contracts import (
    Encoder,
    GalaxybenchError,
    InputArray,
    ModelCard,
    ReferenceModel,
    SupervisedModel,
)
from benchmark.data.views import PhotometryView
from benchmark.models import Checkpoint
from benchmark.registry import resolve
from benchmark.training import embedding_facts, load_weights
from benchmark.weights import write_weights

__all__ = ["CheckResult", "check_model"]

TOLERANCE = 1e-5
"""Largest difference, relative to the largest number where that exceeds 1: float32 sums in another order."""

_N_TRAIN, _N_VALIDATION, _N_TEST = 80, 30, 17
_PROBES = {
    "encoder": {"knn", "linear", "mlp", "flow"},
    "supervised": {"supervised", "flow"},
    "reference": {"reference"},
}


_PROTOCOLS: dict[str, type] = {"encoder": Encoder, "supervised": SupervisedModel, "reference": ReferenceModel}


@dataclass(frozen=True)
class CheckResult:
    """One promise: whether it is kept, and what was seen."""

    name: str
    ok: bool
    message: str = ""


class _BrokenPromise(Exception):
    """A check saw something that the contract does not allow; the message says what."""


def check_model(card: ModelCard, preset: str = "smoke", weights: Checkpoint | None = None) -> list[CheckResult]:
    """Try a model on mock galaxies.

    Parameters
    ----------
    card : the model; ``photometry`` gets (n, 3) magnitudes with missing bands, ``image`` (n, 3, 64, 64) in [0, 1],
        ``spectrum`` (n, 2, 1557) flux and ivar from 3600 to 9824 A with invalid pixels, ``none`` (n, 0).
    preset : whose options the model is built with.
    weights : what an encoder takes instead of learning from mock galaxies; it is then built with the file's options.

    Returns
    -------
    results : one a promise, in the order in which they were tried. A model that cannot be built has no further ones.
        The global random generators are left as they were found.

    Raises
    ------
    UsageError
        If the preset is unknown, or there are no mock galaxies of the model's modality.
    """
    RunConfig(preset=preset)
    trial = _Trial(card, weights.options if weights else {**card.options.get(preset, {})}, weights)
    results: list[CheckResult] = []
    with warnings.catch_warnings(), _random_state_restored():
        warnings.simplefilter("ignore")  # as in a run: convergence chatter of libraries is no broken promise
        for name, check in (*_CARD_CHECKS, *_CHECKS[card.kind], *_COMMON_CHECKS):
            try:
                results.append(CheckResult(name, True, check(trial)))
            except _BrokenPromise as seen:
                results.append(CheckResult(name, False, str(seen)))
            except Exception as error:  # a model may fail in any way; it is reported, and the next check goes on
                results.append(CheckResult(name, False, f"{type(error).__name__}: {error}"))
            if name == "factory" and not results[-1].ok:
                break
    return results


class _Trial:
    """A model under test, with its mock galaxies and what was fitted once for several checks."""

    def __init__(self, card: ModelCard, options: Mapping[str, object], weights: Checkpoint | None = None) -> None:
        self.card, self.options, self.weights = card, options, weights
        self.train, self.validation, self.test = (
            mock.galaxies(card, n, seed) for n, seed in ((_N_TRAIN, 1), (_N_VALIDATION, 2), (_N_TEST, 3))
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The targets that a reference is asked for."""
        return mock.KNOWN[self.card.knows][1]

    def build(self) -> Any:
        return resolve(self.card.factory)(**self.options)

    def fit(self, seed: int = 0, n_targets: int = 3, label_seed: int = 4) -> Any:
        model = self.build()
        if self.weights:
            load_weights(model, Path(self.weights.path))
        elif self.card.kind == "encoder":
            model.fit(self.train, seed=seed)
        elif self.card.kind == "reference":
            model.prepare(mock.KNOWN[self.card.knows][0], seed=seed)
        else:
            target, held_out = (
                mock.targets(n, n_targets, label_seed + number) for number, n in enumerate((_N_TRAIN, _N_VALIDATION))
            )
            model.fit(self.train, target, validation=(self.validation, held_out), seed=seed)
        return model

    @cached_property
    def model(self) -> Any:
        return self.fit()

    def output(self, model: Any, rows: InputArray | None = None) -> NDArray:
        galaxies = self.test if rows is None else rows
        if self.card.kind == "reference":
            return model.predict(galaxies, self.names, seed=0)
        return (model.embed if self.card.kind == "encoder" else model.predict)(galaxies)


def _require(kept: bool, seen: str) -> None:
    if not kept:
        raise _BrokenPromise(seen)


def _require_same(one: NDArray, other: NDArray, seen: str) -> None:
    """Equal to `TOLERANCE`; NaN equals NaN, since another check judges it."""
    _require(np.shape(one) == np.shape(other), f"{seen}: shapes {np.shape(one)} and {np.shape(other)}")
    if not np.size(one):
        return
    scale = max(1.0, float(np.nanmax(np.abs(one), initial=0.0)))
    worst = float(np.nanmax(np.abs(np.asarray(one, dtype=float) - other), initial=0.0))
    gaps = not np.array_equal(np.isnan(one), np.isnan(other))
    _require(
        not gaps and worst <= TOLERANCE * scale, f"{seen}: differs by {worst:.3g}, allowed {TOLERANCE * scale:.3g}"
    )


def _require_table(array: Any, n: int, what: str, dtype: type, n_columns: int | None = None) -> str:
    width = n_columns if n_columns is not None else "d"
    _require(isinstance(array, np.ndarray), f"{what} is {type(array).__name__}: must be a numpy array")
    wanted = f"must be ({n}, {width}) {np.dtype(dtype)}"
    fits = array.ndim == 2 and array.shape[0] == n and array.shape[1] == (n_columns or max(1, array.shape[1]))
    _require(fits, f"{what} has shape {array.shape}: {wanted}")
    _require(array.dtype == dtype, f"{what} has dtype {array.dtype}: {wanted}")
    return f"{array.shape} {array.dtype}"


def _require_finite(array: NDArray, what: str) -> None:
    bad = int((~np.isfinite(array)).sum())
    _require(bad == 0, f"{bad} of {array.size} numbers of the {what} are NaN or infinite")


def _card(trial: _Trial) -> str:
    card = trial.card
    for options in (*card.options.values(), *card.recipes.values()):
        json.dumps(dict(options), allow_nan=False)  # options enter the keys of cells
    wrong = sorted(set(card.probes) - _PROBES[card.kind])
    if card.architecture:
        rows = resolve(card.architecture)(dict(trial.options))
        _require(all(len(row) == 4 for row in rows), "architecture rows must be (item, ours, paper, code)")
    _require(bool(card.probes), "the card names no probes: nothing would be run")
    _require(not wrong, f"probes {', '.join(wrong)}: {card.kind} models have {', '.join(sorted(_PROBES[card.kind]))}")
    return ""


def _factory(trial: _Trial) -> str:
    protocol = _PROTOCOLS[trial.card.kind]
    for overrides in ({}, *trial.card.recipes.values()):
        model = resolve(trial.card.factory)(**{**trial.options, **overrides})
        promised = [name for name in dir(protocol) if not name.startswith("_")]
        lacking = [name for name in promised if not callable(getattr(model, name, None))]
        _require(not lacking, f"{type(model).__name__} lacks {', '.join(lacking)}: {protocol.__name__} has them")
    return ""


def _embedding_shape(trial: _Trial) -> str:
    return _require_table(trial.output(trial.model), _N_TEST, "embedding", np.float32)


def _prediction_shape(trial: _Trial) -> str:
    for n_targets in (1, 3):
        predicted = trial.output(trial.fit(n_targets=n_targets))
        _require_table(predicted, _N_TEST, f"prediction of {n_targets} targets", np.float64, n_targets)
    return f"{predicted.shape} {predicted.dtype}"


def _reference_shape(trial: _Trial) -> str:
    draws, ess = trial.model.draw(trial.test, trial.names, n_draws=20, seed=0)
    wanted = (20, _N_TEST, len(trial.names))
    _require(draws.shape == wanted, f"draws have shape {draws.shape}: must be {wanted}")
    _require_finite(draws, "draws")
    _require(ess.shape == (_N_TEST,) and bool((ess > 0).all()), "effective sample sizes: must be (n,) above 0")
    return _require_table(trial.output(trial.model), _N_TEST, "posterior means", np.float64, len(trial.names))


def _classes(trial: _Trial) -> str:
    """A target of two classes and one of three, each with gaps."""
    if not trial.card.classifies:
        return "predicts numbers only"
    model = resolve(trial.card.factory)(**trial.options, n_classes=mock.N_CLASSES)
    train, held_out = (mock.class_columns(n, 6 + number) for number, n in enumerate((_N_TRAIN, _N_VALIDATION)))
    model.fit(trial.train, train, validation=(trial.validation, held_out), seed=0)
    found = trial.output(model)
    seen = _require_table(found, _N_TEST, "probabilities of classes", np.float64, sum(mock.N_CLASSES))
    _require_finite(found, "probabilities of classes")
    sums = np.add.reduceat(found, np.cumsum((0, *mock.N_CLASSES[:-1])), axis=1)
    _require(found.min() >= 0, f"a probability of {found.min():.3g}: must be from 0")
    _require_same(sums, np.ones_like(sums), "sums of the probabilities of each target, and 1")
    return seen


def _finite(trial: _Trial) -> str:
    what = "embedding" if trial.card.kind == "encoder" else "predictions, with some targets missing in training,"
    _require_finite(trial.output(trial.model), what)
    return ""


def _not_collapsed(trial: _Trial) -> str:
    facts = embedding_facts(trial.output(trial.model))
    _require(not facts["collapsed"], f"the embedding has collapsed: {facts['collapsed']}")
    return f"effective rank {facts['effective_rank']:.1f} of {facts['embed_dim']}, uniformity {facts['uniformity']:.2f}"


def _same_seed(trial: _Trial) -> str:
    first = trial.output(trial.model)
    _require_same(first, trial.output(trial.model), "the same model and galaxies, asked twice")
    _require_same(first, trial.output(trial.fit()), "two models fitted with one seed")
    return ""


def _batch_size(trial: _Trial) -> str:
    together = trial.output(trial.model)
    alone = np.concatenate([trial.output(trial.model, _part(trial, [row])) for row in range(_N_TEST)])
    _require_same(together, alone, "galaxies one by one and together")
    return ""


def _row_order(trial: _Trial) -> str:
    order = np.random.default_rng(5).permutation(_N_TEST)
    shuffled = trial.output(trial.model, _part(trial, order))
    _require_same(trial.output(trial.model)[order], shuffled, "galaxies in another order")
    return ""


def _part(trial: _Trial, rows: Any) -> InputArray:
    rows = np.asarray(rows)
    if trial.card.modality == "photometry":
        return PhotometryView(trial.test[rows])
    if trial.card.modality == "spectrum":
        return mock.spectrum_view(trial.test[rows])
    return mock.image_view(trial.test[rows]) if trial.card.modality == "image" else trial.test[rows]


def _state(trial: _Trial) -> str:
    from safetensors.numpy import load_file

    state = trial.model.state()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.safetensors"
        write_weights(path, state, {"model": trial.card.name})
        loaded = trial.build()
        loaded.load_state(load_file(path))
    expected = trial.output(trial.model)
    _require_same(expected, trial.output(loaded), "the embedding before and after state, file and load_state")
    return f"{len(state)} arrays, {sum(array.nbytes for array in state.values()) / 1e6:.3g} MB"


def _context(trial: _Trial) -> str:
    fresh = trial.build().context(trial.test)
    seen = _require_table(fresh, _N_TEST, "context", np.float32)
    _require_finite(fresh, "context")
    return seen


def _context_without_labels(trial: _Trial) -> str:
    contexts = [trial.fit(label_seed=seed).context(trial.test) for seed in (10, 20)]
    _require_same(contexts[0], contexts[1], "the context after fits on different labels")
    _require_same(trial.build().context(trial.test), contexts[0], "the context before and after a fit")
    return ""


def _refuses_nan_pixels(trial: _Trial) -> str:
    modality = trial.card.modality
    if modality not in ("image", "spectrum"):
        return "reads no pixels"
    pixels = trial.test[:]
    if modality == "image":
        pixels[3, 1, 10, 10] = np.nan
    else:
        pixels[3, :, 10] = np.nan, 1.0  # a flux that is said to be valid
    try:
        trial.output(trial.model, (mock.image_view if modality == "image" else mock.spectrum_view)(pixels))
    except (ValueError, GalaxybenchError) as error:
        clear = "nan" in str(error).lower() or "finite" in str(error).lower()
        _require(clear, f"{_a(modality)} with a NaN pixel is refused without saying so: {error}")
        return ""
    raise _BrokenPromise(
        f"{_a(modality)} with a NaN pixel is accepted: must be refused with a ValueError that says NaN"
    )


def _a(modality: str) -> str:
    return f"{'an' if modality == 'image' else 'a'} {modality}"


def _inputs_left_alone(trial: _Trial) -> str:
    fresh = _Trial(trial.card, trial.options)  # what the galaxies were before any check
    for name in ("train", "validation", "test"):
        given, before = getattr(trial, name)[:], getattr(fresh, name)[:]
        _require(np.array_equal(given, before, equal_nan=True), f"the model wrote into its {name} inputs")
    return ""


def _global_random_state(trial: _Trial) -> str:
    before = _random_states()
    trial.output(trial.fit())
    moved = [name for name, state in _random_states().items() if state != before.get(name, state)]
    _require(not moved, f"the global generator of {', '.join(moved)} moved: draw from the seed that fit is given")
    return ""


def _random_states() -> dict[str, object]:
    legacy: Any = np.random.get_state()  # noqa: NPY002
    states: dict[str, object] = {"random": random.getstate(), "numpy": (legacy[1].tobytes(), *legacy[2:])}
    if "torch" in sys.modules:
        states["torch"] = sys.modules["torch"].get_rng_state().numpy().tobytes()
    return states


@contextmanager
def _random_state_restored() -> Iterator[None]:
    """What a badly behaved model did to the global generators is undone."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    torch = sys.modules.get("torch")
    drawn = torch.get_rng_state() if torch else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        if torch:
            torch.set_rng_state(drawn)


Check = Callable[[_Trial], str]
_CARD_CHECKS: tuple[tuple[str, Check], ...] = (("card", _card), ("factory", _factory))
_CHECKS: dict[str, tuple[tuple[str, Check], ...]] = {
    "encoder": (
        ("shape", _embedding_shape),
        ("finite", _finite),
        ("collapse", _not_collapsed),
        ("state round trip", _state),
    ),
    "supervised": (
        ("shape", _prediction_shape),
        ("classes", _classes),
        ("finite", _finite),
        ("context", _context),
        ("context without labels", _context_without_labels),
    ),
    "reference": (("shape", _reference_shape), ("finite", _finite), ("state round trip", _state)),
}
_COMMON_CHECKS: tuple[tuple[str, Check], ...] = (
    ("same seed", _same_seed),
    ("batch size", _batch_size),
    ("row order", _row_order),
    ("NaN pixels", _refuses_nan_pixels),
    ("inputs left alone", _inputs_left_alone),
    ("global random state", _global_random_state),  # last: by now every late import has been made
)

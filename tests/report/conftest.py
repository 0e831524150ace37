"""A small results store with real scores of made-up predictions, written through `Store` as a run writes it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.artefacts import Posterior, Predictions
from benchmark.records import base_record
from benchmark.registry import METRICS, TASKS, resolve
from benchmark.report import write_page
from benchmark.store import Store
from posteriors.calibration.hpd import hpd_ranks
from posteriors.scores.density import cde_loss_per_galaxy

N_GALAXIES, N_DRAWS, N_RESAMPLES = 120, 60, 100
TARGETS = ("z", "log10_mstar")
CHROMIUM_ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking"),
)
NEEDS = {"redshift": "supervised", "properties": "supervised", "posterior": "flow"}


class StoreMaker:
    """Writes cells of a results store, one model after another.

    Parameters
    ----------
    folder : the results folder.
    survey : name of the survey.
    """

    def __init__(self, folder: Path, survey: str = "simulated") -> None:
        self.store = Store(folder)
        self.store.prepare()
        self.survey = survey
        rng = np.random.default_rng(5)
        self.truth = np.column_stack([rng.uniform(0.02, 0.6, N_GALAXIES), rng.normal(10.5, 0.5, N_GALAXIES)])
        self.training = np.column_stack([rng.uniform(0.02, 0.6, 300), rng.normal(10.5, 0.5, 300)])
        self.target_id = np.arange(N_GALAXIES)

    def cell(self, kind: str, model: str, probe: str | None, task: str | None = None, **more: Any) -> dict[str, Any]:
        """The base record of a cell, done unless ``status`` says otherwise."""
        safe = "".join(letter if letter.isalnum() else "_" for letter in model.lower())
        name = "-".join(part for part in (kind, safe, probe, task) if part)
        labels: dict[str, Any] = {"model": model, "modality": more.pop("modality", "photometry"), "probe": probe}
        labels |= {"preset": "smoke", "recipe": "default", "seed": 0}
        labels |= {"task": task, "task_version": TASKS[task].version} if task else {}
        settings = {"model": {"name": model}, "ranked": list(TARGETS), "bootstrap_seed": 1}
        settings["n_resamples"] = N_RESAMPLES
        cell = {"labels": labels, "settings": settings, "key": name, "name": name, "kind": kind, "needs": []}
        survey = {"name": self.survey, "version": "1", "digest": "0" * 64, "simulated": self.survey == "simulated"}
        survey["n_per_split"] = {"train": 300, "validation": 40, "test": N_GALAXIES, "unlabelled": 0}
        record = base_record(cell | {"survey": survey}, more.pop("status", "done"), more.pop("reason", ""))
        return record | more

    def write(self, record: dict[str, Any]) -> dict[str, Any]:
        """Write a record and hand it back."""
        self.store.write_record(record["name"], record)
        return record

    def add_model(
        self,
        model: str,
        scatter: float = 0.05,
        *,
        modality: str = "photometry",
        seed: int = 0,
        tasks: Sequence[str] = tuple(NEEDS),
        claimed: float = 1.0,
        label_error: float | None = None,
        n_validation: int = 0,
    ) -> None:
        """A model with predictions of this scatter, scored on these tasks; its posteriors are ``claimed`` as wide.

        ``label_error`` is that of the redshifts, the error of the masses is as many standard deviations.
        With validation galaxies the posterior is recalibrated, too.
        """
        rng = np.random.default_rng(seed)
        width = scatter * self.truth.std(axis=0) / self.truth.std(axis=0)[0]
        centre = self.truth + width * rng.normal(size=self.truth.shape)
        draws = (centre + claimed * width * rng.normal(size=(N_DRAWS, *self.truth.shape))).astype(np.float32)
        log_prob = (-0.5 * ((self.truth - centre) / width) ** 2 - np.log(width * np.sqrt(2 * np.pi))).sum(axis=1)
        spread = claimed * width
        at_draws = (-0.5 * ((draws - centre) / spread) ** 2 - np.log(spread * np.sqrt(2 * np.pi))).sum(axis=2)
        at_truth = (-0.5 * ((self.truth - centre) / spread) ** 2 - np.log(spread * np.sqrt(2 * np.pi))).sum(axis=1)
        density: dict[str, Any] = {"member_log_prob": log_prob[np.newaxis], "log_jacobian": 0.0}
        density |= {"hpd_rank": hpd_ranks(at_truth, at_draws), "cde_loss": cde_loss_per_galaxy(at_truth, at_draws)}
        density["stacked_weights"] = np.ones(1)
        if n_validation:
            density["validation_pit"] = rng.random((n_validation, len(TARGETS)))
        known: dict[str, Any] = {"target_id": self.target_id, "names": TARGETS, "truth": self.truth}
        noise: dict[str, Any] = {}
        if label_error is not None:
            error = label_error * width / scatter
            noise = {"label_error": np.tile(error, (N_GALAXIES, 1)), "resampled": self.truth + error}
            entropy = np.full(N_GALAXIES, np.log(error * np.sqrt(2 * np.pi * np.e)).sum())
            density |= {"label_entropy": entropy, "resampled_log_prob": log_prob[np.newaxis]}
        outputs = {
            "supervised": (Predictions(**known, prediction=centre, **noise), ".parquet"),
            "flow": (Posterior(**known, draws=draws, **density), ".npz"),
        }
        for probe, (content, suffix) in outputs.items():
            record = self.cell("predict", model, probe, modality=modality, n_labels=300)
            path = self.store.path("outputs", record["name"] + suffix)
            content.write(path)
            self.write(record | {"artefacts": [self.store.artefact(path)]})
        for task in tasks:
            self._add_score(model, modality, task, NEEDS[task], outputs[NEEDS[task]][0])

    def _add_score(self, model: str, modality: str, task: str, probe: str, content: Any) -> None:
        names = ("z",) if task == "redshift" else TARGETS
        columns = [TARGETS.index(name) for name in names]
        scores, details = resolve(TASKS[task].score)(
            content.select(names), self.training[:, columns], ranked=names, seed=1, n_resamples=N_RESAMPLES
        )
        record = self.cell("score", model, probe, task, modality=modality, n_labels=300, details=details)
        predicted = self.cell("predict", model, probe)["name"]
        self.write(record | {"scores": [vars(score) for score in scores], "needs": [predicted]})


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., StoreMaker]:
    """A maker of stores: ``make_store()``, or ``make_store(survey="stripe82")``."""
    return lambda **options: StoreMaker(tmp_path / "store", **options)


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models that are done, one whose prediction failed, and one that does not apply; not to be changed."""
    maker = StoreMaker(tmp_path_factory.mktemp("report") / "store")
    maker.add_model("Sharp", 0.02)
    maker.add_model("Blurred", 0.15, modality="image", seed=1)
    maker.add_model("Middling", 0.06, seed=2)
    broken = maker.write(maker.cell("predict", "Broken", "knn", status="failed", reason="embedding has <NaN> & co"))
    reason = f"needs {broken['name']}, which did not end well"
    record = maker.cell("score", "Broken", "knn", "redshift", status="skipped", reason=reason)
    maker.write(record | {"needs": [broken["name"]]})
    maker.write(maker.cell("score", "Absent", None, "redshift", status="skipped", reason="the survey has no spectrum"))
    assert {score for card in TASKS for score in card.metrics} <= {card.name for card in METRICS}
    return maker.store.folder


@pytest.fixture(scope="session")
def small_page(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of `small_store`."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(small_store, path)
    return path


@pytest.fixture(scope="session")
def noisy_maker(tmp_path_factory: pytest.TempPathFactory) -> StoreMaker:
    """Labels with errors, and three models: one that knows the truth behind them, one that has learned their noise, and
    one that has not; not to be changed."""
    maker = StoreMaker(tmp_path_factory.mktemp("noisy") / "store")
    for seed, (model, scatter) in enumerate((("Knows", 0.06), ("Learned", 0.015), ("Blurred", 0.12))):
        maker.add_model(model, scatter, seed=seed, label_error=0.06)
    return maker


@pytest.fixture(scope="session")
def noisy_page(noisy_maker: StoreMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of `noisy_maker`'s store."""
    path = tmp_path_factory.mktemp("noisy") / "report.html"
    write_page(noisy_maker.store.folder, path)
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window; tests that need it are skipped, with the reason, where it is absent."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not on the PATH: the page cannot be opened")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def show(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page offline; whatever it reports or loads beyond itself fails the test."""
    wrong: list[str] = []
    contexts = []

    def opened(path: Path, **options: Any) -> Any:
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: wrong.append(request.url) if _is_foreign(request.url) else None)
        page.goto(path.resolve().as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def _is_foreign(url: str) -> bool:
    return not url.startswith(("file:", "data:"))

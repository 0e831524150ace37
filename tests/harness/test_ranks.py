"""Ranks on the board: from the outputs in the store, over shared galaxies, and null where outputs are gone."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark import leaderboard
from benchmark.artefacts import Posterior, Predictions
from benchmark.board import render
from benchmark.board.current import current_records
from benchmark.board.significance import model_ranks
from benchmark.contracts import GalaxybenchError
from benchmark.records import base_record
from benchmark.registry import TASKS, resolve
from benchmark.report import write_page
from benchmark.store import Store, load_records

N = 150
NAMES = ("z", "log10_mstar")
RNG = np.random.default_rng(7)
TRUTH = np.column_stack([RNG.uniform(0.02, 0.6, N), RNG.normal(10.5, 0.5, N)])
HARD = RNG.normal(size=(N, 2)) * (0.05, 0.2)  # an error that all models share

Ranks = tuple[int | None, int | None, int | None]


class Board:
    """A store into which models are put with their predictions and real scores."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.store.prepare()

    def _record(self, kind: str, model: str, probe: str, **more: Any) -> dict[str, Any]:
        task, n_labels, seed = more.pop("task", None), more.pop("n_labels", 300), more.pop("seed", 0)
        name = "-".join(part for part in (kind, model, probe, task, str(n_labels), str(seed)) if part)
        labels: dict[str, Any] = {"model": model, "modality": "photometry", "probe": probe, "preset": "smoke"}
        labels |= {"recipe": "default", "seed": seed}
        labels |= {"task": task, "task_version": TASKS[task].version} if task else {}
        settings = {"model": {"name": model}, "ranked": list(NAMES), "bootstrap_seed": 1, "n_labels": n_labels}
        survey = {"name": "toy", "version": "1", "digest": "d", "simulated": False, "n_per_split": {"test": N}}
        cell = {"labels": labels, "settings": settings, "key": name, "name": name, "kind": kind, "needs": []}
        return base_record(cell | {"survey": survey}, "done", "") | {"n_labels": n_labels} | more

    def put(self, model: str, scatter: float, noise: int, rows: slice = slice(None), **more: Any) -> None:
        """A model whose redshifts and masses scatter by so much of the shared error beyond it."""
        own = np.random.default_rng(noise).normal(size=(N, 2)) * (0.05, 0.2)
        found = TRUTH + HARD + scatter * own
        evidence = Predictions(np.arange(N)[rows], NAMES, TRUTH[rows], found[rows])
        self._put(model, "knn", ("redshift", "properties"), evidence, **more)

    def put_posterior(self, model: str, width: float) -> None:
        log_prob = (-0.5 * np.square(HARD / width) - np.log(width)).sum(axis=1)[None]
        draws = (TRUTH + HARD + width * np.random.default_rng(1).normal(size=(60, N, 2))).astype(np.float32)
        evidence = Posterior(np.arange(N), NAMES, TRUTH, draws, log_prob, 0.0)
        self._put(model, "flow", ("posterior",), evidence)

    def _put(
        self, model: str, probe: str, tasks: tuple[str, ...], evidence: Predictions | Posterior, **more: Any
    ) -> None:
        source = self._record("predict", model, probe, **more)
        suffix = ".npz" if isinstance(evidence, Posterior) else ".parquet"
        path = evidence.write(self.store.path("outputs", source["name"] + suffix))
        self.store.write_record(source["name"], source | {"artefacts": [self.store.artefact(path)]})
        for task in tasks:
            names = NAMES[:1] if task == "redshift" else NAMES
            ranked: dict[str, Any] = {"ranked": names, "seed": 1, "n_resamples": 50}
            scores, _ = resolve(TASKS[task].score)(evidence.select(names), TRUTH[:, : len(names)], **ranked)
            record = self._record("score", model, probe, task=task, **more)
            record |= {"scores": [vars(one) for one in scores], "needs": [source["name"]]}
            self.store.write_record(record["name"], record)

    def ranks(self, metric: str = "r2", target: str = "z", task: str = "redshift") -> dict[str, Ranks]:
        return {
            row["model"]: (row["rank_low"], row["rank_high"], row["tie_group"])
            for row in leaderboard(self.store.folder, task=task)
            if (row["metric"], row["target"], row["condition"]) == (metric, target, None)
        }


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """One clearly better model, two that are equal to the last digit, one that is a little different, one bad."""
    made = Board(tmp_path / "out")
    for model, scatter, seed in (("Best", 0.0, 1), ("One", 1.0, 2), ("Same", 1.0, 2), ("Alike", 1.0, 3), ("Bad", 6, 4)):
        made.put(model, scatter, seed)
    return made


def test_a_better_model_is_first_alone_and_equal_ones_tie(board: Board) -> None:
    expected = {"Best": (1, 1, 1), "One": (2, 4, 2), "Same": (2, 4, 2), "Alike": (2, 4, 2), "Bad": (5, 5, 3)}
    assert board.ranks() == expected
    assert board.ranks("rmse", "log10_mstar", "properties") == expected
    assert board.ranks("r2", "mean", "properties") == expected  # a mean over targets is compared as such
    assert board.ranks("sigma_nmad")["Best"][0] == 1  # a median of 150 galaxies tells less
    assert board.ranks("sigma_nmad")["Bad"][:2] == (5, 5)
    assert board.ranks("bias")["Bad"][1] == 5  # by its distance from zero


def test_ranks_do_not_depend_on_the_order_of_records_or_on_how_many_are_taken_at_once(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = current_records(load_records(board.store.folder), board.store.last_run())
    shuffled = [records[place] for place in np.random.default_rng(2).permutation(len(records))]
    found = model_ranks(board.store, records)
    assert found
    assert model_ranks(board.store, shuffled) == found
    assert model_ranks(board.store, records[::-1]) == found
    monkeypatch.setattr("benchmark.board.significance._MOST_VALUES", 1)  # one model at a time, as of very many galaxies
    assert model_ranks(board.store, records) == found


def test_missing_or_altered_outputs_leave_null_and_the_others_are_ranked_among_themselves(board: Board) -> None:
    (path,) = board.store.path("outputs", "").glob("predict-Best-*")
    path.unlink()
    (altered,) = board.store.path("outputs", "").glob("predict-Alike-*")
    altered.write_bytes(altered.read_bytes()[:-1] + b"x")
    ranks = board.ranks()
    assert ranks["Best"] == ranks["Alike"] == (None, None, None)
    assert ranks["One"] == ranks["Same"] == (1, 2, 1)
    assert ranks["Bad"] == (3, 3, 2)
    for path in board.store.path("outputs", "").iterdir():
        path.unlink()
    assert set(board.ranks().values()) == {(None, None, None)}
    assert " rank" not in render(leaderboard(board.store.folder), "table")


def test_models_of_other_galaxies_are_compared_on_those_they_share(board: Board) -> None:
    board.put("Half", 0.0, 9, slice(0, N // 2))
    board.put("Elsewhere", 3.0, 10, slice(N - 30, N))
    ranks = board.ranks()
    # on the shared half it equals the best one, and is better than the others
    assert ranks["Half"][0] == ranks["Best"][0] == 1
    assert ranks["Half"][2] == ranks["Best"][2] == 1
    assert ranks["Bad"][1] >= 6
    # no galaxy of these two is the same: neither is better
    assert ranks["Elsewhere"][1] > 1
    few = Board(board.store.folder.parent / "few")
    few.put("A", 0.0, 1, slice(0, 60))
    few.put("B", 5.0, 2, slice(55, N))
    assert few.ranks() == {"A": (1, 2, 1), "B": (1, 2, 1)}  # five galaxies in common: no comparison, a tie


def test_only_models_of_as_many_labels_are_compared_and_of_seeds_the_first(tmp_path: Path) -> None:
    board = Board(tmp_path / "out")
    board.put("A", 0.0, 1, n_labels=100)
    board.put("B", 3.0, 2, n_labels=1000)
    assert set(board.ranks().values()) == {(None, None, None)}  # nobody to be compared with
    board.put("B", 3.0, 2, n_labels=100)
    board.put("A", 9.0, 3, n_labels=100, seed=1)
    rows = [row for row in leaderboard(board.store.folder, task="redshift") if row["metric"] == "r2"]
    found = {(row["model"], row["n_labels"]): row["rank_low"] for row in rows}
    assert found == {("A", 100): 1, ("B", 100): 2, ("B", 1000): None}


def test_posteriors_are_ranked_by_their_density_and_scores_of_draws_are_not(tmp_path: Path) -> None:
    board = Board(tmp_path / "out")
    for model, width in (("Right", 0.1), ("Wide", 2.0)):
        board.put_posterior(model, width)
    (path, _) = board.store.path("outputs", "").iterdir()
    whole, density = Posterior.read(path), Posterior.read(path, with_draws=False)
    assert (whole.draws.shape, density.draws.shape) == ((60, N, 2), (0, N, 2))
    np.testing.assert_array_equal(whole.member_log_prob, density.member_log_prob)
    assert board.ranks("nll_mixture", "joint", "posterior") == {"Right": (1, 1, 1), "Wide": (2, 2, 2)}
    assert set(board.ranks("crps", "z", "posterior").values()) == {(None, None, None)}


def test_ranks_are_computed_once_and_anew_when_something_changed(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    first = board.ranks()
    assert json.loads((board.store.folder / "ranks.json").read_text())["ranks"]
    monkeypatch.setattr("benchmark.board.significance.model_ranks", lambda *_: math.nan)
    assert board.ranks() == first
    monkeypatch.undo()
    board.put("New", 0.0, 1)  # the best one's predictions
    assert board.ranks()["New"] == board.ranks()["Best"] == (1, 2, 1)
    (board.store.folder / "ranks.json").write_text("[]")
    assert board.ranks()["New"] == (1, 2, 1)


def test_a_board_with_ranks_needs_no_torch(board: Board) -> None:
    code = (
        "import sys; from benchmark import leaderboard; rows = leaderboard(sys.argv[1]); "
        "print('torch' in sys.modules, any(row['rank_low'] for row in rows))"
    )
    line = [sys.executable, "-c", code, str(board.store.folder)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_a_store_that_cannot_be_written_still_has_a_board(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise GalaxybenchError("cannot write: No space left on device")

    monkeypatch.setattr("benchmark.board.significance.atomic_write", full)
    assert board.ranks()["Best"] == (1, 1, 1)
    assert not (board.store.folder / "ranks.json").exists()


def test_the_table_and_the_page_show_ranks_and_say_where_they_are_noise(board: Board, tmp_path: Path) -> None:
    text = render(leaderboard(board.store.folder, task="redshift"), "table")
    assert "rank" in text
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert lines["Best"][3] == "1"
    assert lines["One"][3] == "2-4"
    assert "told apart" not in text
    assert all(len(line) <= 160 for line in text.splitlines())
    write_page(board.store.folder, tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert "2–4 <small>group 2</small>" in html
    assert "their order is noise" not in html
    noise = Board(tmp_path / "noise")
    for model, seed in (("A", 1), ("B", 2), ("C", 3)):
        noise.put(model, 1.0, seed)
    text = render(leaderboard(noise.store.folder, task="redshift"), "markdown")
    assert "no two models can be told apart by r2 z" in text
    write_page(noise.store.folder, tmp_path / "noise.html")
    assert "No two of these models can be told apart by <small>z</small> r2" in (tmp_path / "noise.html").read_text()


def test_every_task_with_scores_of_single_galaxies_can_be_compared() -> None:
    without = {card.name for card in TASKS if not card.comparable}
    assert without <= {"reference", "validity"}  # held against another posterior
    for card in TASKS:
        if card.comparable:
            assert callable(resolve(card.comparable))

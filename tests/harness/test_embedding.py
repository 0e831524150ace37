"""Embedding a survey in parts: killed at any time, it goes on where it stopped and gives the same bytes."""

from __future__ import annotations

import errno
import functools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from embedding_script import PART_ROWS
from tiny_survey import PLUGINS, cli_environment

from benchmark import embedding, load_records, pretraining, runner, store
from benchmark.cli.main import main
from benchmark.config import RunConfig
from benchmark.contracts import GalaxybenchError, UsageError
from benchmark.data import Survey
from benchmark.embedding import embed_rows
from benchmark.models import model_facts, open_checkpoint
from benchmark.registry import MODELS, load_plugin

PLUGIN = PLUGINS / "trained_models.py"
SCRIPT = Path(__file__).parent / "embedding_script.py"

pytestmark = pytest.mark.usefixtures("registries")


@pytest.fixture(scope="module")
def weights(tiny: Survey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of ``Trained``, at the size of the smoke preset."""
    out = tmp_path_factory.mktemp("weights") / "trained.safetensors"
    before = {card.name: card for card in MODELS}
    try:
        line = ["pretrain", "Trained", "--survey", str(tiny.folder), "--out", str(out), "--preset", "smoke"]
        assert main([*line, "--plugin", str(PLUGIN)]) == 0
    finally:
        MODELS._entries = before
        del sys.modules[PLUGIN.stem]
    return out


class Watched:
    """An encoder of magnitudes that notes how many galaxies it was given each time, and may break off."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.given: list[int] = []
        self.stop_after = stop_after

    def embed(self, inputs: Any) -> np.ndarray:
        if len(self.given) == self.stop_after:
            raise RuntimeError("stopped")
        self.given.append(len(inputs))
        return np.nan_to_num(np.asarray(inputs[:], dtype=np.float32), nan=20.0)


FACTS = {"name": "Watched", "modality": "photometry"}


def embed_tiny(encoder: Any, tiny: Survey, folder: Path, **options: Any) -> np.ndarray:
    rows = np.arange(tiny.n_galaxies)
    return embed_rows(encoder, FACTS, tiny, rows, **({"folder": folder, "owner": "me", "part_rows": 64} | options))


def test_a_small_survey_is_embedded_at_once_and_leaves_nothing(tiny: Survey, tmp_path: Path) -> None:
    whole = Watched()
    found = embed_tiny(whole, tiny, tmp_path / "parts", part_rows=400)
    assert whole.given == [400]
    assert not (tmp_path / "parts").exists()
    in_parts = Watched()
    steps: list[tuple[int, int]] = []
    assert np.array_equal(
        embed_tiny(in_parts, tiny, tmp_path / "parts", progress=lambda *step: steps.append(step)), found
    )
    assert in_parts.given == [64] * 6 + [16]
    assert steps == [(min(64 * (part + 1), 400), 400) for part in range(7)]


def test_parts_that_are_there_are_not_embedded_again(tiny: Survey, tmp_path: Path) -> None:
    broken, resumed, third = Watched(stop_after=3), Watched(), Watched()
    with pytest.raises(RuntimeError, match="stopped"):
        embed_tiny(broken, tiny, tmp_path)
    found = embed_tiny(resumed, tiny, tmp_path)
    assert broken.given == [64] * 3  # the third was on its way to the disk, and arrived
    assert resumed.given == [64] * 3 + [16]
    assert np.array_equal(found, embed_tiny(Watched(), tiny, tmp_path / "other"))
    (tmp_path / "embedding-00001.npy").unlink()
    embed_tiny(third, tiny, tmp_path)
    assert third.given == [64]


def test_parts_of_another_embedding_or_damaged_ones_are_refused(tiny: Survey, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stopped"):
        embed_tiny(Watched(stop_after=2), tiny, tmp_path)
    for other in ({"owner": "another"}, {"part_rows": 32}):
        with pytest.raises(UsageError, match="holds parts of an embedding of other weights or galaxies; remove it"):
            embed_tiny(Watched(), tiny, tmp_path, **other)
    (tmp_path / "embedding-00000.npy").write_bytes(b"cut")
    with pytest.raises(GalaxybenchError, match=r"00000\.npy: not a readable part .*; delete it and run again"):
        embed_tiny(Watched(), tiny, tmp_path)


@pytest.mark.parametrize("full_at", [0, 3, 6])
def test_a_full_disk_is_one_line_and_what_is_written_is_kept(
    full_at: int, tiny: Survey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, n_saved = np.save, 0

    def full(stream: Any, part: np.ndarray) -> None:
        nonlocal n_saved
        if n_saved == full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        n_saved += 1
        save(stream, part)

    monkeypatch.setattr(embedding.np, "save", full)
    with pytest.raises(GalaxybenchError, match=r"cannot write .*\.npy: No space left on device; free some space and"):
        embed_tiny(Watched(), tiny, tmp_path)
    monkeypatch.undo()
    resumed = Watched()
    embed_tiny(resumed, tiny, tmp_path)
    assert len(resumed.given) == 7 - full_at


def test_an_embedding_that_is_not_finite_or_has_the_wrong_shape_is_not_kept(tiny: Survey, tmp_path: Path) -> None:
    class Bad(Watched):
        def embed(self, inputs: Any) -> np.ndarray:
            found = super().embed(inputs)
            return found * np.nan if len(self.given) == 3 else found

    class Short(Watched):
        def embed(self, inputs: Any) -> np.ndarray:
            return super().embed(inputs)[1:]

    with pytest.raises(GalaxybenchError, match=r"embedding of shape \(64, 3\): must be finite and \(64, d\)"):
        embed_tiny(Bad(), tiny, tmp_path / "bad")
    assert len(list((tmp_path / "bad").glob("*.npy"))) == 2
    with pytest.raises(GalaxybenchError, match=r"embedding of shape \(63, 3\): must be finite and \(64, d\)"):
        embed_tiny(Short(), tiny, tmp_path / "short")


def test_a_refused_galaxy_of_a_later_part_can_be_found(tiny: Survey, tmp_path: Path) -> None:
    class Refusing(Watched):
        def embed(self, inputs: Any) -> np.ndarray:
            found = super().embed(inputs)
            if len(self.given) == 2:
                raise ValueError("first row 5: only finite")
            return found

    message = rf"first row 5: only finite \(rows are counted from galaxy 64, target_id {tiny.target_id[64]}\)"
    with pytest.raises(GalaxybenchError, match=message):
        embed_tiny(Refusing(), tiny, tmp_path)


def embed_into(tiny: Survey, weights: Path, out: Path) -> bytes:
    load_plugin(PLUGIN)
    card, checkpoint = MODELS["Trained"], open_checkpoint(MODELS["Trained"], weights)
    facts = model_facts(card, RunConfig(preset="smoke"), None, checkpoint)
    pretraining.embed(facts, tiny, out, weights=checkpoint, part_rows=PART_ROWS)
    return out.read_bytes()


def test_an_embedding_that_was_killed_goes_on_and_gives_the_same_bytes(
    weights: Path, tiny: Survey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "e.parquet"
    line = [sys.executable, str(SCRIPT), str(PLUGIN), str(tiny.folder), str(weights), str(out), "200"]
    killed = subprocess.run(line, env=cli_environment(), stderr=subprocess.PIPE, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not out.exists()
    parts = sorted(path.name for path in (tmp_path / "e.parquet.partial" / "parts").glob("[!.]*.npy"))
    assert parts[:3] == [f"embedding-{number:05d}.npy" for number in range(3)]
    assert len(parts) <= 4  # the fourth was computed, and perhaps written
    given: list[int] = []
    compute = embedding._embed
    monkeypatch.setattr(embedding, "_embed", lambda *arguments: given.append(arguments[3].size) or compute(*arguments))
    resumed = embed_into(tiny, weights, out)
    assert given == [64] * (6 - len(parts)) + [16]
    given.clear()
    assert embed_into(tiny, weights, tmp_path / "whole.parquet") == resumed
    assert len(given) == 7
    assert sorted(os.listdir(tmp_path)) == ["e.parquet", "whole.parquet"]


def test_a_cell_that_was_stopped_goes_on_and_gives_the_same_bytes(
    weights: Path, tiny: Survey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "embed_rows", functools.partial(embed_rows, part_rows=PART_ROWS))
    line = [
        "run",
        "Trained",
        "--survey",
        str(tiny.folder),
        "--preset",
        "smoke",
        "--tasks",
        "redshift",
        "--workers",
        "0",
    ]
    line += ["--probes", "linear", "--checkpoint", f"Trained={weights}", "--plugin", str(PLUGIN), "--out"]
    assert main([*line, str(tmp_path / "whole")]) == 0
    compute, n_computed = embedding._embed, 0

    def stop_at_the_fourth(*arguments: Any) -> Any:
        nonlocal n_computed
        n_computed += 1
        if n_computed == 4:
            raise RuntimeError("the power failed")
        return compute(*arguments)

    monkeypatch.setattr(embedding, "_embed", stop_at_the_fourth)
    assert main([*line, str(tmp_path / "broken")]) == 1
    (cell,) = (tmp_path / "broken" / "partial").iterdir()
    assert len(list(cell.glob("*.npy"))) == 3
    assert main([*line, str(tmp_path / "broken")]) == 0
    assert n_computed == 8  # four, of which one failed, and the four that were left
    assert not list((tmp_path / "broken").glob("partial/*"))
    records = [load_records(tmp_path / name, "embed")[0] for name in ("whole", "broken")]
    assert records[0]["artefacts"] == records[1]["artefacts"]  # their sha256 too


def test_an_encoder_that_learned_before_it_was_stopped_does_not_learn_again(
    tiny: Survey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_plugin(PLUGIN)
    facts = model_facts(MODELS["Trained"], RunConfig(preset="smoke"))
    embed = functools.partial(pretraining.embed, facts, tiny, weights=None, part_rows=64)
    embed(tmp_path / "whole.parquet")
    with monkeypatch.context() as patched:
        patched.setattr(pretraining, "embed_rows", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("stopped")))
        with pytest.raises(RuntimeError, match="stopped"):
            embed(tmp_path / "e.parquet")
    assert sorted(os.listdir(tmp_path / "e.parquet.partial")) == ["owner.json", "weights.safetensors"]
    with monkeypatch.context() as patched:
        patched.setattr(pretraining, "fit_encoder", lambda *_, **__: pytest.fail("it learned again"))
        embed(tmp_path / "e.parquet")
    assert (tmp_path / "e.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["e.parquet", "whole.parquet"]


def test_what_was_done_for_another_model_is_not_taken_up(tiny: Survey, tmp_path: Path) -> None:
    load_plugin(PLUGIN)
    (tmp_path / "e.parquet.partial").mkdir()
    store.atomic_write(tmp_path / "e.parquet.partial" / "owner.json", lambda path: path.write_text('"another"'))
    with pytest.raises(UsageError, match=r"e\.parquet\.partial: holds parts of an embedding of other weights"):
        pretraining.embed(
            model_facts(MODELS["Trained"], RunConfig(preset="smoke")), tiny, tmp_path / "e.parquet", weights=None
        )


def test_parts_do_not_move_the_embedding_where_batches_are_cut_alike(
    weights: Path, tiny: Survey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_plugin(PLUGIN)
    trained = sys.modules[PLUGIN.stem].Trained
    monkeypatch.setattr(trained, "__init__", functools.partialmethod(trained.__init__, embed_batch_size=32, n_steps=0))
    assert embedding.PART_ROWS % 256 == 0  # the size of a batch of all encoders that are trained
    model = trained()
    with torch.random.fork_rng():
        model.fit(np.zeros((8, 3), dtype=np.float32), seed=0)
    facts = {"name": "Trained", "modality": "photometry"}
    rows = np.arange(tiny.n_galaxies)
    one, many = (
        embed_rows(model, facts, tiny, rows, folder=tmp_path, owner="me", part_rows=part_rows)
        for part_rows in (400, 64)
    )
    assert np.array_equal(one, many)

"""The base of self-supervised encoders: fit, embed, state, twins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_objective import N_CODE, N_IN, AutoencoderEncoder, galaxies


def encoder(**changes: Any) -> AutoencoderEncoder:
    settings: dict[str, Any] = {"n_steps": 40, "batch_size": 16, "learning_rate": 1e-2, "log_every": 5}
    settings["precision"] = "float32"
    return AutoencoderEncoder(**(settings | changes))


def test_an_encoder_learns_and_its_random_twin_does_not() -> None:
    values = galaxies(200)
    trained, twin = encoder(n_steps=300), encoder(n_steps=0)
    for model in (trained, twin):
        model.fit(values, seed=0)
        assert model.embed(values).shape == (200, N_CODE)
        assert model.embed(values).dtype == np.float32
    facts = trained.facts()
    assert facts["n_steps"] == 300
    assert facts["n_parameters"] == 2 * N_IN * N_CODE + N_IN + N_CODE
    assert facts["n_weights"] == N_IN * N_CODE + N_CODE
    assert facts["samples_per_cpu_s"] > 0  # type: ignore[operator]
    assert trained.history.rows[-1]["loss"] < 0.3 * trained.history.rows[0]["loss"]
    assert twin.facts() == {"n_steps": 0, "device": twin.device.type, "n_weights": N_IN * N_CODE + N_CODE}


def test_a_twin_has_the_weights_that_training_starts_from() -> None:
    values = galaxies(50)
    twin, started = encoder(n_steps=0), encoder(n_steps=1, learning_rate=1e-12)
    for model in (twin, started):
        model.fit(values, seed=3)
    assert np.allclose(twin.embed(values), started.embed(values), atol=1e-6)
    other = encoder(n_steps=0)
    other.fit(values, seed=4)
    assert not np.allclose(twin.embed(values), other.embed(values), atol=1e-2)


@pytest.mark.parametrize("embed_batch_size", [1, 7, 256])
def test_the_size_of_a_batch_does_not_move_the_embedding(embed_batch_size: int) -> None:
    values = galaxies(30)
    model = encoder(embed_batch_size=embed_batch_size)
    model.fit(values, seed=0)
    whole = encoder()
    whole.fit(values, seed=0)
    assert np.allclose(model.embed(values), whole.embed(values), atol=1e-6)


def test_weights_come_back_and_wrong_ones_are_one_clear_line() -> None:
    values = galaxies(40)
    model = encoder()
    model.fit(values, seed=0)
    state = model.state()
    loaded = encoder()
    loaded.load_state(state)
    assert {name: array.tobytes() for name, array in loaded.state().items()} == {
        name: array.tobytes() for name, array in state.items()
    }
    assert np.array_equal(loaded.embed(values), model.embed(values))
    for wrong, message in (
        ({"weight": state["weight"]}, "the file lacks bias; choose the preset"),
        (state | {"more": state["bias"]}, "has an unknown more"),
        (state | {"weight": state["weight"].T}, r"has weight of \(12, 3\), not \(3, 12\)"),
        ({f"layer{i}": state["bias"] for i in range(4)}, "lacks weight, lacks bias and 4 more"),
    ):
        loaded.load_state(wrong)
        with pytest.raises(ValueError, match=f"not those of AutoencoderEncoder .*{message}"):
            loaded.embed(values)
    with pytest.raises(ValueError, match="was given no weights"):
        loaded.load_state({})
    with pytest.raises(ValueError, match="has no weights yet: call fit"):
        encoder().embed(values)


def test_a_fit_that_was_stopped_goes_on_from_its_folder(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 25:
            raise Killed

    values = galaxies(60)
    unbroken, resumed = encoder(checkpoint_every=10), encoder(checkpoint_every=10)
    unbroken.fit(values, seed=0)
    with pytest.raises(Killed):
        encoder(checkpoint_every=10).fit(values, seed=0, folder=tmp_path, progress=stop)
    steps: list[int] = []
    resumed.fit(values, seed=0, folder=tmp_path, progress=lambda done, total: steps.append(done))
    assert steps == list(range(21, 41))
    assert np.array_equal(unbroken.embed(values), resumed.embed(values))


def test_a_batch_that_does_not_fit_is_halved_until_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    values = galaxies(50)
    model = encoder()
    model.fit(values, seed=0)
    expected = model.embed(values)
    sizes: list[int] = []
    embed = AutoencoderEncoder._embed

    def small_memory(self: Any, batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        if len(batch) > 16:
            raise torch.OutOfMemoryError("out of memory")
        return embed(self, batch)

    monkeypatch.setattr(AutoencoderEncoder, "_embed", small_memory)
    model.embed_batch_size = 32
    assert np.allclose(model.embed(values), expected, atol=1e-6)
    assert sizes == [32, 16, 16, 16, 2]
    model.embed_batch_size, sizes[:] = 256, []
    assert np.allclose(model.embed(values), expected, atol=1e-6)
    assert sizes == [50, 25, 12, 12, 12, 12, 2]  # half of what there was, not of what there could be
    monkeypatch.setattr(AutoencoderEncoder, "_embed", lambda self, batch: (_ for _ in ()).throw(torch.OutOfMemoryError))
    with pytest.raises(torch.OutOfMemoryError):
        model.embed(values)

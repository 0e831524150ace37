"""The training loop: what it minimises, which weights it leaves behind, and what it does not depend on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from baselines.fit import CrossEntropy, FitConfig, dense_network, fit_network, predict_network
from encoders.randomness import seeded_torch


def network(seed: int = 0, n_in: int = 3, n_out: int = 2, dropout: float = 0.0) -> torch.nn.Sequential:
    with seeded_torch(seed):
        return dense_network(n_in, (16, 16), n_out, dropout)


def problem(n: int, seed: int = 0, noise: float = 0.3) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n, 3))
    return inputs, np.stack([np.sin(inputs[:, 0]), inputs[:, 1]], axis=1) + noise * rng.normal(size=(n, 2))


def weights(module: torch.nn.Module) -> NDArray[np.float32]:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()]).numpy()


def test_one_batch_can_be_learned_by_heart() -> None:
    inputs, target = problem(16, noise=1.0)
    config = FitConfig(epochs=600, batch_size=16, learning_rate=1e-2, patience=None)
    history = fit_network(model := network(), inputs, target, validation=(inputs, target), config=config, seed=0)
    assert min(history.validation_loss) < 1e-3  # of targets with variance 1: 370 weights for 32 numbers
    assert ((predict_network(model, inputs) - target) ** 2).mean() < 1e-3


def test_the_best_weights_are_a_copy_and_not_the_last() -> None:
    inputs, target = problem(24, noise=1.0)  # few rows and much noise: validation rises after some epochs
    held_out = problem(300, seed=1, noise=1.0)
    config = FitConfig(epochs=150, batch_size=8, learning_rate=1e-2, patience=None)
    models = {"best": network(), "last": network()}
    histories = {
        keep: fit_network(
            model, inputs, target, validation=held_out, config=dataclasses.replace(config, keep=keep), seed=0
        )
        for keep, model in models.items()
    }
    best, last = histories["best"], histories["last"]
    assert best.train_loss == last.train_loss  # the same fit up to what is kept
    assert best.kept_epoch == np.argmin(best.validation_loss) < last.kept_epoch == 149
    assert np.abs(weights(models["best"]) - weights(models["last"])).max() > 1e-2
    losses = {keep: ((predict_network(model, held_out[0]) - held_out[1]) ** 2).mean() for keep, model in models.items()}
    assert losses["best"] == pytest.approx(min(best.validation_loss), rel=1e-5)  # float32 inputs
    assert losses["last"] == pytest.approx(best.validation_loss[-1], rel=1e-5)


def test_a_fit_stops_when_validation_has_not_improved_for_so_many_epochs() -> None:
    inputs, target = problem(24, noise=1.0)
    config = FitConfig(epochs=500, batch_size=8, learning_rate=1e-2, patience=7)
    history = fit_network(network(), inputs, target, validation=problem(100, 1), config=config, seed=0)
    assert len(history.validation_loss) == history.kept_epoch + 1 + 7 < 500


def test_a_missing_target_has_no_part_in_the_loss() -> None:
    inputs, target = problem(60)
    held_out = problem(40, 1)
    gaps = np.random.default_rng(2).random(target.shape) < 0.3
    config = FitConfig(epochs=4, batch_size=60, patience=None)
    fitted = network()
    history = fit_network(fitted, inputs, np.where(gaps, np.nan, target), validation=held_out, config=config, seed=0)
    reference = network()
    optimiser = torch.optim.Adam(reference.parameters(), lr=config.learning_rate)
    x, y, known = (torch.tensor(part, dtype=torch.float32) for part in (inputs, target, ~gaps))
    losses = []
    for _ in range(4):
        loss = (reference(x) - y)[known.bool()].square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    np.testing.assert_allclose(history.train_loss, losses, rtol=1e-5)  # float32 sums in another order
    np.testing.assert_allclose(weights(fitted), weights(reference), rtol=0, atol=1e-5)


def test_losses_are_means_over_galaxies_and_not_over_batches() -> None:
    inputs, target = problem(5000)
    held_out = problem(5001, 1)  # the last of the validation batches has 905 rows
    model = network()
    before = ((predict_network(model, held_out[0]) - held_out[1]) ** 2).mean()
    frozen = FitConfig(epochs=1, batch_size=4999, learning_rate=1e-12, patience=None)  # a second batch of one row
    history = fit_network(model, inputs, target, validation=held_out, config=frozen, seed=0)
    assert history.validation_loss[0] == pytest.approx(before, rel=1e-6)
    assert history.train_loss[0] == pytest.approx(((predict_network(model, inputs) - target) ** 2).mean(), rel=1e-5)


def test_the_order_of_rows_does_not_matter_and_the_seed_does() -> None:
    inputs, target = problem(100)
    target[::7, 1] = np.nan
    held_out, order = problem(50, 1), np.random.default_rng(3).permutation(100)
    config = FitConfig(epochs=3, batch_size=16)
    models = [network(dropout=0.2) for _ in range(3)]
    for model, rows, seed in zip(models, (np.arange(100), order, order), (0, 0, 1), strict=True):
        fit_network(model, inputs[rows], target[rows], validation=held_out, config=config, seed=seed)
    np.testing.assert_array_equal(weights(models[0]), weights(models[1]))
    assert np.abs(weights(models[0]) - weights(models[2])).max() > 1e-4


def test_a_galaxy_without_any_target_changes_nothing() -> None:
    inputs, target = problem(40)
    held_out, config = problem(30, 1), FitConfig(epochs=3, batch_size=8)
    models = [network(), network()]
    fit_network(models[0], inputs, target, validation=held_out, config=config, seed=0)
    more = np.vstack([inputs, inputs + 1]), np.vstack([target, np.full_like(target, np.nan)])
    fit_network(models[1], *more, validation=held_out, config=config, seed=0)
    np.testing.assert_array_equal(weights(models[0]), weights(models[1]))


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 2},
        {"batch_size": 5},
        {"learning_rate": 1e-2},
        {"optimiser": "adamw"},
        {"weight_decay": 0.5},
        {"cosine": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_option_has_a_visible_effect(change: dict[str, object]) -> None:
    inputs, target = problem(40)
    base = FitConfig(epochs=5, batch_size=20, learning_rate=1e-3, weight_decay=0.1, patience=None, keep="last")
    models = [network(), network()]
    for model, config in zip(models, (base, dataclasses.replace(base, **change)), strict=True):  # type: ignore[arg-type]
        fit_network(model, inputs, target, validation=problem(30, 1), config=config, seed=0)
    assert np.abs(weights(models[0]) - weights(models[1])).max() > 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs 0: must be at least 1"),
        ({"patience": 0}, "patience 0: must be at least 1"),
        ({"learning_rate": 0.0}, "the first must be positive"),
        ({"optimiser": "sgd"}, "optimiser 'sgd': must be 'adam' or 'adamw'"),
        ({"keep": "first"}, "keep 'first': must be 'best' or 'last'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FitConfig(**options)  # type: ignore[arg-type]


def test_a_choice_on_validation_needs_validation_rows() -> None:
    inputs, target = problem(20)
    empty = np.empty((0, 3)), np.empty((0, 2))
    with pytest.raises(ValueError, match="none of 0 validation rows has a target"):
        fit_network(network(), inputs, target, validation=empty, config=FitConfig(), seed=0)
    history = fit_network(
        network(), inputs, target, validation=empty, config=FitConfig(epochs=2, keep="last", patience=None), seed=0
    )
    assert history.validation_loss == ()
    with pytest.raises(ValueError, match="none of 20 training rows has a target"):
        fit_network(network(), inputs, target * np.nan, validation=empty, config=FitConfig(), seed=0)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_fit_that_diverges_says_so(keep: str) -> None:
    inputs, target = problem(20)
    config = FitConfig(epochs=3, patience=None, keep=keep)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="training diverged: the loss of epoch"):
        fit_network(network(), inputs * 1e30, target, validation=(inputs * 1e30, target), config=config, seed=0)


def test_an_epoch_whose_loss_is_not_a_number_is_never_the_best() -> None:
    inputs, target = problem(40)
    model, calls = network(), []

    def poison(module: torch.nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor | None:
        if module.training:
            return None
        calls.append(len(calls))
        return output * float("nan") if len(calls) >= 3 else None

    handle = model.register_forward_hook(poison)
    config = FitConfig(epochs=5, batch_size=40, learning_rate=1e-3, patience=None)
    history = fit_network(model, inputs, target, validation=problem(20, 1), config=config, seed=0)
    handle.remove()
    assert history.kept_epoch == 1
    assert np.isfinite(predict_network(model, inputs)).all()


def test_cross_entropy_takes_logits_and_leaves_out_galaxies_without_a_class() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 5, generator=generator, dtype=torch.float64)
    first, second = (torch.randint(size, (50,), generator=generator) for size in (2, 3))
    target = torch.cat([nn.functional.one_hot(first, 2), nn.functional.one_hot(second, 3)], dim=1).double()
    known = torch.ones(50, 5, dtype=torch.float64)
    known[:20, :2] = 0
    loss = CrossEntropy((2, 3))
    total, n_terms = loss(logits, target * known, known)
    expected = nn.functional.cross_entropy(logits[20:, :2], first[20:], reduction="sum")
    expected = expected + nn.functional.cross_entropy(logits[:, 2:], second, reduction="sum")
    assert n_terms == 30 + 50
    assert total.item() == pytest.approx(expected.item(), rel=1e-12)
    sure, _ = loss(200 * (target - 0.5), target, torch.ones_like(known))
    assert sure.item() == pytest.approx(0, abs=1e-12)  # can be driven to zero: the softmax is taken once
    found = loss.probabilities(logits.numpy())
    np.testing.assert_allclose(found[:, 2:], logits[:, 2:].softmax(dim=1).numpy(), rtol=1e-12)

"""What training rows decide of a fit: its decay and size, by pilots where rows are many, and by nothing where few."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from problems import banana, linear_gaussian

from posteriors import FlowEnsemble, FlowEnsembleConfig
from posteriors.flows import pilots
from posteriors.flows.pilots import Pilot, settle
from posteriors.flows.recipes import SIZES
from posteriors.flows.training import Rows

SPELLED_OUT = FlowEnsembleConfig(
    members=2, n_couplings=2, hidden=32, epochs=30, learning_rate=1.5e-2, max_steps=1_500, weight_decay=0.1
)


def rows_of(context: np.ndarray, target: np.ndarray) -> Rows:
    return Rows(*(torch.from_numpy(values).float() for values in (context, target)))


def ring(n: int, seed: int) -> Rows:
    """A thin ring whose size depends on the context: one coupling cannot close it."""
    rng = np.random.default_rng(seed)
    context, angle = rng.normal(size=(n, 2)), rng.uniform(0, 2 * math.pi, n)
    radius = np.exp(0.5 * np.tanh(context[:, 0])) * (1 + 0.05 * rng.normal(size=n))
    return rows_of(context, radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1))


def many_zeros(n_context: int = 3, n_targets: int = 2) -> Rows:
    return Rows(torch.zeros(9_000, n_context), torch.zeros(9_000, n_targets))


class Pretended:
    """Pilots that are not trained: their NLL by size and decay; each row's differs a little."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **nll: float) -> None:
        self.spread = 0.5
        self.nll, self.tried = {"small": 1.0, "strong": 1.1, "large": 0.9} | nll, []
        self.linear = 1.2
        monkeypatch.setattr(pilots, "_try", self)
        monkeypatch.setattr(pilots, "_linear_nll", lambda *_: self.linear)

    def __call__(self, config, size, decay, *_):
        name = "strong" if decay == 1.0 else size
        self.tried.append(name)
        noise = torch.linspace(-1, 1, 100).double() * (self.spread if size == "large" else 0.0)
        candidate = pilots._candidate(config, size, decay)
        return pilots._Trial(candidate, Pilot(size, decay, 1, self.nll[name]), noise - self.nll[name])


def test_a_fit_on_few_rows_is_bit_for_bit_the_small_one_with_the_weaker_decay() -> None:
    problem = banana(100)
    arguments = problem.target, problem.context
    found = FlowEnsemble.fit(problem.context, problem.target, config=FlowEnsembleConfig(members=2), seed=3)
    spelled_out = FlowEnsemble.fit(problem.context, problem.target, config=SPELLED_OUT, seed=3)
    assert found.config == SPELLED_OUT
    assert found.pilots == ()
    np.testing.assert_array_equal(found.member_log_prob(*arguments), spelled_out.member_log_prob(*arguments))


@pytest.mark.parametrize(("problem", "chosen"), [(linear_gaussian, 1.0), (banana, 0.1)])
def test_many_rows_choose_their_own_decay_on_the_validation_rows(monkeypatch, problem, chosen: float) -> None:
    monkeypatch.setattr(pilots, "_MANY_ROWS", 1_000)
    rows = problem(2_500)
    flow = FlowEnsemble.fit(rows.context, rows.target, config=FlowEnsembleConfig(members=2, epochs=12))
    assert flow.config.weight_decay == chosen
    assert [pilot.weight_decay for pilot in flow.pilots if pilot.chosen] == [chosen]
    assert len(flow.members) == 2


@pytest.mark.parametrize(("small", "large", "chosen"), [(1, 4, "large"), (4, 1, "small")])
def test_the_size_is_the_one_that_validation_rows_prefer(monkeypatch, small: int, large: int, chosen: str) -> None:
    """Four couplings are better on a ring whether they stand as the small size or as the large one."""
    monkeypatch.setattr(pilots, "_MANY_ROWS", 1_000)
    sizes = {"small": small, "large": large}
    for size, n_couplings in sizes.items():
        values = {"n_couplings": n_couplings, "hidden": 24, "epochs": 24, "learning_rate": 1.5e-2, "max_steps": 1_500}
        monkeypatch.setitem(SIZES, size, values)
    config, found = settle(FlowEnsembleConfig(weight_decay=0.1), 2, ring(2_000, 0), ring(1_000, 1), 0)
    assert [(pilot.size, pilot.chosen) for pilot in found] == [(size, size == chosen) for size in sizes]
    assert (config.n_couplings, config.weight_decay) == (4, 0.1)


@pytest.mark.parametrize(
    ("nll", "spread", "n_couplings"),
    [(0.98, 0.5, 6), (0.987, 0.5, 2), (1.2, 0.5, 2), (0.987, 0.1, 6), (0.995, 0.0, 2)],
)
def test_the_large_size_is_taken_only_for_more_than_the_noise_and_what_is_worth_it(
    monkeypatch, nll: float, spread: float, n_couplings: int
) -> None:
    """A spread of .5 is a standard error of .029, one of .1 of .006; a hundredth of a nat is worth it."""
    Pretended(monkeypatch, large=nll).spread = spread
    config, found = settle(FlowEnsembleConfig(), 3, many_zeros(), many_zeros(), 0)
    assert config.n_couplings == n_couplings
    assert [pilot.chosen for pilot in found] == [n_couplings == 2, False, n_couplings == 6]


@pytest.mark.parametrize(
    ("options", "n_context", "n_targets", "linear", "tried"),
    [
        ({}, 16, 2, 1.06, ["small", "strong", "large"]),
        ({}, 17, 2, 1.06, ["small", "strong"]),  # a wide context
        ({}, 3, 1, 1.06, ["small", "strong"]),  # nothing to be coupled
        ({}, 3, 2, 1.04, ["small", "strong"]),  # nearly a linear Gaussian
        ({"hidden": 32}, 3, 2, 1.06, ["small", "strong"]),
        ({"weight_decay": 0.7}, 3, 2, 1.06, ["small", "large"]),
        ({"weight_decay": 0.7, "epochs": 9}, 3, 2, 1.06, []),
        ({"recipe": "coupling"}, 3, 2, 1.06, []),
    ],
)
def test_pilots_are_trained_only_for_what_is_open(monkeypatch, options, n_context, n_targets, linear, tried) -> None:
    pretended = Pretended(monkeypatch)
    pretended.linear = linear
    rows = many_zeros(n_context, n_targets)
    given = FlowEnsembleConfig(**options)
    config, found = settle(given, n_context, rows, rows, 0)
    assert pretended.tried == tried
    assert len(found) == len(tried)
    assert not config.has_open_size
    assert all(getattr(config, name) == value for name, value in options.items())
    assert settle(given, n_context, Rows(rows.context[:7_999], rows.target[:7_999]), rows, 0)[1] == ()


def test_the_linear_gaussian_that_pilots_are_held_against_is_the_right_one() -> None:
    """The truth is one: on 5,000 rows its 17 numbers cost 17 / 10,000 nats, the mean's standard error is .014."""
    train, held = linear_gaussian(5_000), linear_gaussian(5_000, seed=1)
    rows = [rows_of(part.context, (part.target - 50) / train.target.std(0)) for part in (train, held)]
    exact = -held.log_prob.mean() - np.log(train.target.std(0)).sum()
    assert pilots._linear_nll(*rows) == pytest.approx(exact, abs=0.005)  # paired: both see the same held rows


def test_a_pilot_that_diverges_is_not_chosen_and_stands_in_the_file_as_such(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pilots, "_MANY_ROWS", 100)
    for size, rate in (("small", 1e-2), ("large", 1e30)):
        monkeypatch.setitem(SIZES, size, SIZES[size] | {"hidden": 8, "epochs": 4, "learning_rate": rate})
    monkeypatch.setattr(pilots, "_CURVED", -math.inf)
    problem = banana(1_000)
    config = FlowEnsembleConfig(members=1, weight_decay=0.1)
    flow = FlowEnsemble.fit(problem.context, problem.target, config=config)
    small, large = flow.pilots
    assert (small.size, small.chosen, large.size, large.chosen, large.validation_nll) == (
        "small", True, "large", False, None,
    )  # fmt: skip
    assert small.validation_nll is not None
    assert abs(small.validation_nll - flow.validation_nll[0]) < 1  # both in z-scored nats
    flow.save(tmp_path / "flow.safetensors")
    again = FlowEnsemble.load(tmp_path / "flow.safetensors")
    assert (again.pilots, again.config) == (flow.pilots, flow.config)

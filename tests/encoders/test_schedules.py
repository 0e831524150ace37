"""Schedules against closed forms and torch's own."""

from __future__ import annotations

import math

import pytest
import torch

from encoders.training.schedules import constant, cosine, linear_ramp, warmup_cosine


def test_a_cosine_is_torchs_annealing() -> None:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=50, eta_min=0.01)
    ours = cosine(0.3, 0.01, 50)
    for step in range(51):
        assert ours(step) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9)  # theirs is a recurrence
        optimiser.step()
        theirs.step()
    assert ours(51) == ours(1_000) == 0.01


def test_a_cosine_may_rise_and_passes_its_middle_half_way() -> None:
    rising = cosine(0.992, 1.0, 10)
    assert [rising(0), rising(5), rising(10)] == pytest.approx([0.992, 0.996, 1.0], abs=1e-15)
    assert rising(3) == pytest.approx(1.0 - 0.004 * (1 + math.cos(0.3 * math.pi)), abs=1e-15)


def test_a_ramp_is_straight_and_then_stays() -> None:
    ramp = linear_ramp(0.04, 0.07, 30)
    assert [ramp(0), ramp(10), ramp(30), ramp(99)] == pytest.approx([0.04, 0.05, 0.07, 0.07])
    assert linear_ramp(0.0, 2.0, 0)(0) == 2.0
    assert constant(3.0)(17) == 3.0


def test_a_warm_up_ends_at_the_peak_and_wastes_no_step() -> None:
    rate = warmup_cosine(1e-3, 1e-6, n_steps=100, n_warmup=10)
    assert [rate(0), rate(4), rate(9), rate(10)] == pytest.approx([1e-4, 5e-4, 1e-3, 1e-3])
    assert rate(100) == 1e-6
    values = [rate(step) for step in range(10, 101)]
    assert values == sorted(values, reverse=True)


def test_a_schedule_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="n_warmup 11: must be at most n_steps, 10"):
        warmup_cosine(1.0, 0.0, n_steps=10, n_warmup=11)
    with pytest.raises(ValueError, match="n_ramp -1: must be 0 or more"):
        linear_ramp(0.0, 1.0, -1)

"""The table of a training: verdicts both ways, the file and the figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoders.training.history import History, levelled_off

STEPS = np.arange(400)


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.04])
def test_a_loss_that_is_flat_at_the_end_has_levelled_off(noise: float) -> None:
    loss = np.exp(-STEPS / 40) + noise * np.random.default_rng(0).normal(size=400)
    assert levelled_off(loss)


def test_a_loss_that_rises_to_a_plateau_has_levelled_off() -> None:
    assert levelled_off(3.0 - np.exp(-STEPS / 40))  # self-distillation rises while the teacher sharpens


@pytest.mark.parametrize("scale", [150, 300, 1_000])
def test_a_loss_that_still_falls_has_not(scale: float) -> None:
    assert not levelled_off(np.exp(-STEPS / scale))


def test_a_loss_too_noisy_too_short_or_without_any_change_has_not() -> None:
    rng = np.random.default_rng(1)
    assert not levelled_off(0.1 * np.exp(-STEPS / 40) + rng.normal(size=400))
    assert not levelled_off(np.exp(-np.arange(15) / 2.0))
    assert not levelled_off(np.full(400, 6.93))
    assert not levelled_off(np.r_[np.exp(-STEPS / 40), np.nan])


def test_sixteen_rows_suffice_for_a_verdict_both_ways() -> None:
    rows = np.arange(16)
    noise = 0.005 * np.random.default_rng(3).normal(size=16)
    assert levelled_off(np.exp(-rows / 2) + noise)
    assert not levelled_off(np.exp(-rows / 12) + noise)


def test_a_verdict_does_not_hang_on_the_unit_of_the_loss() -> None:
    loss = np.exp(-STEPS / 40) + 0.02 * np.random.default_rng(2).normal(size=400)
    falling = np.exp(-STEPS / 300)
    for factor, offset in ((1e-3, 0.0), (1e4, -7.0)):
        assert levelled_off(factor * loss + offset)
        assert not levelled_off(factor * falling + offset)


def _history() -> History:
    rows = [
        {
            "step": 10.0 * i,
            "epoch": i / 3,
            "learning_rate": 1e-3,
            "weight_decay": 0.0,
            "loss": 1 / i,
            "grad_norm_all": 1,
        }
        | ({"effective_rank": 3.0 + i} if i % 2 else {})
        | {"data_wait_s": 0.1, "wall_s": 1.0, "cpu_s": 0.5}
        for i in range(1, 5)
    ]
    return History(rows, n_steps=40, batch_size=16)


def test_a_table_comes_back_from_its_file(tmp_path: Path) -> None:
    history = _history()
    history.to_csv(tmp_path / "curve.csv")
    back = History.read_csv(tmp_path / "curve.csv")
    assert back.rows == history.rows
    assert back.n_steps == 40
    header = (tmp_path / "curve.csv").read_text().splitlines()[0]
    assert header.startswith("step,epoch,learning_rate,weight_decay,loss,")


def test_facts_count_galaxies_by_second() -> None:
    facts = _history().facts()
    assert facts["samples_per_cpu_s"] == 40 * 16 / 2.0
    assert facts["samples_per_s"] == 40 * 16 / 4.0
    assert facts["data_wait_share"] == pytest.approx(0.1)
    assert facts["converged"] is False
    assert facts["last"]["loss"] == 0.25  # type: ignore[index]


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_table_plots_itself(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"curve.{suffix}"
    _history().plot(path)
    assert path.stat().st_size > 5_000
    if suffix == "svg":
        drawn = path.read_text()
        assert all(f"<!-- {name} -->" in drawn for name in ("loss", "effective_rank", "grad_norm_all", "step"))


def test_nothing_is_plotted_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without rows cannot be plotted"):
        History().plot(tmp_path / "x.svg")

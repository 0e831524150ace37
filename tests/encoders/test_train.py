"""The training loop: what a step sees, resuming digit for digit, several processes, verdicts and refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_objective import Autoencoder, N, built, config, read, same, untimed

from encoders.training.batches import batches
from encoders.training.checkpoint import latest_step
from encoders.training.order import monitor_rows, rows_of_step, steps_per_epoch, stream_seed
from encoders.training.train import ParameterGroup, train

HERE = Path(__file__).parent


class Killed(Exception):
    """Stands for a kill at a given step."""


def stop_at(step: int) -> Any:
    def watch(done: int, total: int) -> None:
        if done == step:
            raise Killed

    return watch


def test_an_epoch_sees_every_galaxy_once_and_the_next_one_in_another_order() -> None:
    first, second = (
        np.concatenate([rows_of_step(100, 20, seed=3, step=5 * epoch + step) for step in range(5)]) for epoch in (0, 1)
    )
    assert sorted(first) == sorted(second) == list(range(100))
    assert not np.array_equal(first, second)


def test_rows_and_draws_of_a_step_follow_from_seed_and_step_alone() -> None:
    later = rows_of_step(100, 16, seed=3, step=40)
    for step in range(60):
        rows_of_step(100, 16, seed=3, step=step)
    assert np.array_equal(later, rows_of_step(100, 16, seed=3, step=40))
    assert not np.array_equal(later, rows_of_step(100, 16, seed=4, step=40))
    seeds = {stream_seed(seed, step, rank) for seed in range(3) for step in range(-1, 20) for rank in range(3)}
    assert len(seeds) == 3 * 21 * 3
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert np.array_equal(monitor_rows(1_000, seed=1), monitor_rows(1_000, seed=1))
    assert len(set(monitor_rows(1_000, seed=1))) == 128


def test_a_batch_larger_than_the_sample_is_refused() -> None:
    assert steps_per_epoch(100, 16) == 6
    with pytest.raises(ValueError, match="batch_size 101: must be from 1 to the number of galaxies, 100"):
        steps_per_epoch(100, 101)


def test_training_learns_moves_only_what_it_should_and_leaves_no_trace() -> None:
    objective, before = built(noise=0.0, dropout=0.0), built()
    calls: list[tuple[int, int]] = []
    history = train(objective, read, N, config(), seed=0, progress=lambda *call: calls.append(call))
    assert history.rows[-1]["loss"] < 0.8 * history.rows[0]["loss"]
    assert [row["step"] for row in history.rows] == [4, 8, 12, 16, 20, 24, 28, 30]
    assert calls == [(step, 30) for step in range(1, 31)]
    assert not objective.training
    assert int(objective.n_updates) == 30
    for name, weight in objective.named_parameters():
        assert not torch.equal(weight, dict(before.named_parameters())[name]), f"{name} did not move"


def test_one_step_is_adamws_by_hand() -> None:
    plain = config(n_steps=1, n_warmup=0, clip=None, learning_rate=0.01, weight_decay=0.1, final_weight_decay=None)
    objective, oracle = (built(noise=0.0, dropout=0.0) for _ in range(2))
    train(objective, read, N, plain, seed=0)
    batch = read(rows_of_step(N, 16, seed=0, step=0))
    oracle(batch, step=0, generator=torch.Generator())["loss"].backward()
    for name, scale, decay in (("encode.weight", 1.0, 0.1), ("encode.bias", 0.5, 0.0), ("decode.weight", 1.0, 0.1)):
        old, grad = (getattr(oracle.get_parameter(name), part).detach() for part in ("data", "grad"))
        # the first step of Adam has the size of the rate and the sign of the gradient
        new = old * (1 - 0.01 * scale * decay) - 0.01 * scale * grad / (grad.abs() + 1e-8)
        assert torch.allclose(objective.get_parameter(name), new, atol=1e-6), name


def test_frozen_parameters_wait_and_clipping_groups_are_clipped_apart() -> None:
    objective, before = built(frozen_steps=6), built()
    history = train(objective, read, N, config(n_steps=6, log_every=1, clip=1e-3), seed=0)
    assert torch.equal(objective.decode.bias, before.decode.bias)
    assert not torch.equal(objective.encode.bias, before.encode.bias)
    assert all(row["grad_norm_weights"] != row["grad_norm_biases"] for row in history.rows)
    assert all(row["grad_norm_weights"] > 1e-3 for row in history.rows)


def test_clipping_is_to_a_common_norm() -> None:
    objective = built()
    seen: list[float] = []
    objective.after_step = lambda step: seen.append(  # type: ignore[method-assign]
        float(torch.cat([objective.encode.weight.grad.flatten(), objective.decode.weight.grad.flatten()]).norm())
    )
    train(objective, read, N, config(n_steps=3, n_warmup=0, clip=1e-3), seed=0)
    assert seen == pytest.approx([1e-3] * 3, rel=2e-3)  # clip_grad_norm_ adds 1e-6 to the norm


def test_two_trainings_with_one_seed_agree_in_every_digit_and_with_two_seeds_do_not() -> None:
    one, other, third = built(), built(), built()
    histories = [train(model, read, N, config(), seed=seed) for model, seed in ((one, 0), (other, 0), (third, 1))]
    assert same(one, other)
    assert untimed(histories[0]) == untimed(histories[1])
    assert not same(one, third)
    assert one.seen == other.seen


@pytest.mark.parametrize("killed_at", [3, 8, 14, 29])
def test_a_training_that_was_stopped_and_resumed_equals_the_unbroken_one(killed_at: int, tmp_path: Path) -> None:
    unbroken, stopped, resumed = built(), built(), built()
    expected = train(unbroken, read, N, config(), seed=0)
    with pytest.raises(Killed):
        train(stopped, read, N, config(), seed=0, folder=tmp_path, progress=stop_at(killed_at))
    assert latest_step(tmp_path) == (killed_at // 7 * 7 or None)
    history = train(resumed, read, N, config(), seed=0, folder=tmp_path, resume=True)
    assert same(unbroken, resumed)
    assert untimed(history) == untimed(expected)
    assert history.n_steps == 30
    assert resumed.seen == unbroken.seen[killed_at // 7 * 7 :]
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-21", "step-28"]


def test_a_state_written_under_bfloat16_is_resumed_digit_for_digit(tmp_path: Path) -> None:
    settings = config(precision="bfloat16")
    unbroken, resumed = built(), built()
    expected = train(unbroken, read, N, settings, seed=0)
    with pytest.raises(Killed):
        train(built(), read, N, settings, seed=0, folder=tmp_path, progress=stop_at(15))
    history = train(resumed, read, N, settings, seed=0, folder=tmp_path, resume=True)
    assert same(unbroken, resumed)
    assert expected.precision == history.precision == "bfloat16"
    assert not same(unbroken, _trained_in_float32())


def _trained_in_float32() -> Autoencoder:
    objective = built()
    train(objective, read, N, config(precision="float32"), seed=0)
    return objective


def test_a_changed_setting_or_a_started_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(built(), read, N, config(), seed=0, folder=tmp_path, progress=stop_at(8))
    with pytest.raises(ValueError, match=r"was started with batch_size 16, now 20: go on with the same settings"):
        train(built(), read, N, config(batch_size=20), seed=0, folder=tmp_path, resume=True)
    with pytest.raises(ValueError, match="n_rows 100, now 90, seed 0, now 1"):
        train(built(), read, 90, config(), seed=1, folder=tmp_path, resume=True)
    with pytest.raises(ValueError, match="holds the state of a training: resume it, or choose"):
        train(built(), read, N, config(), seed=0, folder=tmp_path)


def test_a_damaged_state_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(built(), read, N, config(), seed=0, folder=tmp_path, progress=stop_at(8))
    (tmp_path / "step-7" / ".metadata").write_bytes(b"no pickle")
    with pytest.raises(ValueError, match=r"step-7: not a readable state of this training .* delete .* and start again"):
        train(built(), read, N, config(), seed=0, folder=tmp_path, resume=True)


def run_script(*arguments: Any) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": f"{HERE.parents[1]}{os.pathsep}{HERE}", "OMP_NUM_THREADS": "1"}
    line = [sys.executable, str(HERE / "training_script.py"), *map(str, arguments)]
    return subprocess.Popen(line, env=environment, stderr=subprocess.PIPE)


def test_a_training_killed_while_it_writes_is_resumed_from_a_whole_state(tmp_path: Path) -> None:
    process = run_script("kill", tmp_path)  # kills itself in the middle of its third state
    _, errors = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, errors.decode()
    assert latest_step(tmp_path) == 14
    assert (tmp_path / ".step-21.tmp").is_dir()
    unbroken, resumed = built(), built()
    train(unbroken, read, N, config(), seed=0)
    train(resumed, read, N, config(), seed=0, folder=tmp_path, resume=True)
    assert same(unbroken, resumed)
    assert not list(tmp_path.glob(".*"))


def test_two_processes_give_the_result_of_one(tmp_path: Path) -> None:
    alone = built(noise=0.0, dropout=0.0)
    expected = train(alone, read, N, config(), seed=0)
    processes = [run_script("pair", tmp_path, rank) for rank in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    for rank in range(2):
        state = torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True)
        for name, value in alone.state_dict().items():
            # float32 sums in another order, over 30 steps of Adam: 1e-7 a step and number of order 1
            assert torch.allclose(state["objective"][name], value, atol=1e-5), name
        for row, known in zip(state["rows"], untimed(expected), strict=True):
            assert row == pytest.approx(known, rel=1e-4)
    # the state that two wrote is read by one, which goes on to the same end
    resumed = built(noise=0.0, dropout=0.0)
    history = train(resumed, read, N, config(), seed=0, folder=tmp_path / "state", resume=True)
    assert len(resumed.seen) == 2  # steps 28 and 29
    assert torch.allclose(resumed.encode.weight, alone.encode.weight, atol=1e-5)
    assert history.rows[-1]["loss"] == pytest.approx(expected.rows[-1]["loss"], rel=1e-4)
    refused = (tmp_path / "refused.txt").read_text()
    full = [(tmp_path / f"full-{rank}.txt").read_text() for rank in range(2)]  # the disk of one of them was
    assert full[0] == full[1]
    assert full[0].endswith("step-7: No space left on device; free some space and run again, what is done is kept")
    assert refused.startswith("batch_size 15 on 2 processes: must be a multiple of their number")


def test_reading_ahead_changes_nothing() -> None:
    rows = [rows_of_step(N, 16, seed=0, step=step) for step in range(9)]
    for steps in (range(9), range(4, 9), range(9, 9)):
        ahead, plain = (
            list(batches(read, lambda step: rows[step], steps, torch.device("cpu"), ahead=ahead))
            for ahead in (True, False)
        )
        assert len(ahead) == len(plain) == len(steps)
        assert all(torch.equal(a, b) for a, b in zip(ahead, plain, strict=True))


def test_a_training_that_is_done_says_whether_it_has_levelled_off() -> None:
    long, short = config(n_steps=600, log_every=10, learning_rate=3e-2), config(n_steps=25, log_every=1)
    assert train(built(noise=0.0, dropout=0.0), read, N, long, seed=0).converged
    assert not train(built(noise=0.0, dropout=0.0), read, N, short, seed=0).converged


def test_a_training_that_diverges_says_so() -> None:
    def huge(rows: np.ndarray) -> torch.Tensor:
        return 1e30 * read(rows)

    with pytest.raises(ValueError, match=r"training diverged: the loss of the steps before step 4 is nan with learn"):
        train(built(), huge, N, config(), seed=0)


def test_a_parameter_in_no_group_in_two_or_frozen_is_refused() -> None:
    objective = built()
    groups = objective.parameter_groups()
    for wrong, message in (
        (groups[1:], "in no group: encode.weight, decode.weight"),
        ([*groups, groups[1]], "in two groups: encode.bias"),
        ([*groups, ParameterGroup([objective.average.bias])], "a parameter that is frozen or not of the objective"),
    ):
        objective.parameter_groups = lambda wrong=wrong: wrong  # type: ignore[method-assign]
        with pytest.raises(ValueError, match=message):
            train(objective, read, N, config(), seed=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_steps": -1}, "n_steps -1: must be at least 0"),
        ({"n_warmup": 31}, "n_warmup 31: must be at most n_steps, 30"),
        ({"min_learning_rate": 1.0}, "the second must be from 0 to the first"),
        ({"weight_decay": -0.1}, "must not be negative"),
        ({"clip": 0.0}, "clip 0.0: must be positive"),
        ({"precision": "float16"}, "precision 'float16': must be one of"),
        ({"checkpoint_every": 0}, "checkpoint_every 0: must be at least 1"),
    ],
)
def test_settings_outside_their_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes)

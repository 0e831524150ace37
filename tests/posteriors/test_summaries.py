"""Modes, quantiles, files of draws, limits: what an astronomer takes away from an ensemble."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from problems import Problem, heteroscedastic, linear_gaussian
from scipy import stats

from posteriors import FlowEnsemble, FlowEnsembleConfig
from posteriors.flows.draw_files import write_draws

TINY = FlowEnsembleConfig(members=2, epochs=2, hidden=8, affine_hidden=8)


@pytest.fixture(scope="module")
def fitted() -> tuple[FlowEnsemble, Problem]:
    problem = linear_gaussian(400)
    return FlowEnsemble.fit(problem.context, problem.target, config=TINY), problem


def test_quantiles_are_those_of_the_draws(fitted) -> None:
    flows, problem = fitted
    found = flows.quantile(problem.context[:30], [0.16, 0.5, 0.84], n_draws=200, seed=3)
    draws = flows.draw(problem.context[:30], 200, seed=3)
    np.testing.assert_allclose(found, np.quantile(draws, [0.16, 0.5, 0.84], axis=0), rtol=1e-6)
    assert flows.quantile(problem.context[:2], 0.5, n_draws=10).shape == (1, 2, 2)
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        flows.quantile(problem.context[:2], [1.5])


def test_the_mode_is_denser_than_any_draw_and_all_its_neighbours(fitted) -> None:
    flows, problem = fitted
    context = problem.context[:20]
    mode = flows.mode(context, n_draws=50)
    density = flows.log_prob(mode, context)
    for draw in flows.draw(context, 200, seed=1).astype(np.float64):
        assert (density >= flows.log_prob(draw, context) - 1e-4).all()
    spread = flows.draw(context, 200).std(0)
    for column in range(2):
        for sign in (-1, 1):
            moved = mode.copy()
            moved[:, column] += sign * 0.05 * spread[:, column]
            assert (density > flows.log_prob(moved, context)).all()


def test_files_of_draws_hold_what_draw_returns(fitted, tmp_path: Path) -> None:
    flows, problem = fitted
    context, ids = problem.context[:300], np.arange(300) + 10**12
    expected = flows.draw(context, 150, seed=2)
    flows.sample(tmp_path / "draws.npz", context, ids, names=["z", "mass"], n_draws=150, seed=2)
    with np.load(tmp_path / "draws.npz") as file:
        np.testing.assert_array_equal(file["target_id"], ids)
        np.testing.assert_array_equal(file["draws"], expected.swapaxes(0, 1))
        assert file["targets"].tolist() == ["z", "mass"]
    flows.sample(tmp_path / "draws.parquet", context, ids, names=["z", "mass"], n_draws=150, seed=2)
    table = pq.read_table(tmp_path / "draws.parquet")
    assert table.column_names == ["target_id", "z", "mass"]
    np.testing.assert_array_equal(table["target_id"].to_numpy(), ids)
    np.testing.assert_array_equal(np.stack(table["mass"].to_numpy()), expected[:, :, 1].T)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["draws.npz", "draws.parquet"]


_MEASURE = """
import resource, sys
import numpy as np
from posteriors import FlowEnsemble, FlowEnsembleConfig

rng = np.random.default_rng(0)
config = FlowEnsembleConfig(members=2, epochs=1, hidden=4, affine_hidden=4)
flows = FlowEnsemble.fit(rng.normal(size=(60, 2)), rng.normal(size=(60, 8)), config=config)
for n in (5_000, 20_000):
    context = np.zeros((n, 2), np.float32)
    for suffix in ("npz", "parquet"):
        flows.sample(f"{sys.argv[1]}/draws.{suffix}", context, np.arange(n), n_draws=40)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_more_galaxies_are_written_in_the_same_memory(tmp_path: Path) -> None:
    """In a process of its own, whose peak holds what numpy, torch and arrow have."""
    run = subprocess.run([sys.executable, "-c", _MEASURE, tmp_path], capture_output=True, text=True, check=True)
    few, many = (int(line) * 1024 for line in run.stdout.split())
    more = 4 * 15_000 * 40 * 8  # bytes of the further draws, 19 MB; up to 7 were seen, and none from 20,000 on
    assert many - few < 0.6 * more
    assert pq.read_metadata(tmp_path / "draws.parquet").num_rows == 20_000


def test_a_context_on_disk_is_read_a_block_at_a_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    flows = FlowEnsemble.fit(rng.normal(size=(60, 256)), rng.normal(size=60), config=TINY)
    shape = (20_000, 256)
    context = np.lib.format.open_memmap(tmp_path / "context.npy", "w+", np.float32, shape)
    context[:] = rng.normal(size=(1, 256))

    def peak(n_galaxies: int) -> int:
        tracemalloc.start()
        flows.sample(tmp_path / "draws.npz", context[:n_galaxies], np.arange(n_galaxies), n_draws=10)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    # a block of 1,000 galaxies is what either holds; ids are the rest. All of the context would be 41 MB in float64
    assert peak(20_000) - peak(2_000) < 3_000_000


def test_row_groups_of_parquet_are_few_and_bounded_in_bytes(tmp_path: Path) -> None:
    for n_galaxies, n_draws, n_targets, expected in ((2_500, 10, 2, 3), (7, 500_000, 2, 4), (9, 3, 1, 1)):
        draws = np.arange(n_galaxies * n_draws * n_targets, dtype=np.float32).reshape(n_galaxies, n_draws, n_targets)
        names = tuple(f"t{number}" for number in range(n_targets))
        blocks = (draws[start : start + 70] for start in range(0, n_galaxies, 70))
        path = tmp_path / "draws.parquet"
        write_draws(path, blocks, ids=np.arange(n_galaxies), names=names, n_draws=n_draws)
        metadata = pq.read_metadata(path)
        assert metadata.num_row_groups == expected
        encodings = {metadata.row_group(0).column(column).encodings for column in range(1, 1 + n_targets)}
        assert all("DICTIONARY" not in str(each) and "BYTE_STREAM_SPLIT" in each for each in encodings)
        read = pq.read_table(path)
        found = [read[name].combine_chunks().flatten().to_numpy().reshape(n_galaxies, n_draws) for name in names]
        np.testing.assert_array_equal(np.stack(found, axis=2), draws)
        assert read["target_id"].to_pylist() == list(range(n_galaxies))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("draws.csv", {}, "written as .npz or .parquet"),
        ("draws.npz", {"ids": np.zeros(4)}, "ids are repeated"),
        ("draws.npz", {"ids": np.arange(4) + 0.5}, "integers are needed"),
        ("draws.npz", {"ids": np.arange(3)}, "one for each row"),
        ("draws.npz", {"names": ["z"]}, "2 different ones are needed"),
        ("draws.npz", {"n_draws": 0}, "n_draws = 0"),
    ],
)
def test_files_that_cannot_be_written_are_refused(fitted, tmp_path: Path, name, options, message) -> None:
    flows, problem = fitted
    arguments = {"ids": np.arange(4)} | options
    with pytest.raises(ValueError, match=message):
        flows.sample(tmp_path / name, problem.context[:4], **arguments)
    assert not list(tmp_path.iterdir())


def test_a_limited_target_has_its_density_inside_and_none_outside(tmp_path: Path) -> None:
    """A gamma density that ends at 0: with the limit the flow is near it, normalised, and draws stay positive."""
    rng = np.random.default_rng(0)
    target = rng.gamma(1.5, 1.0, 3_000)
    config = FlowEnsembleConfig(members=1, epochs=15)
    flow = FlowEnsemble.fit(np.zeros((3_000, 1)), target, config=config, limits=[(0.0, None)])
    fresh = rng.gamma(1.5, 1.0, 4_000)
    gap = stats.gamma(1.5).logpdf(fresh).mean() - flow.log_prob(fresh, np.zeros((4_000, 1))).mean()
    assert -0.01 < gap < 0.03
    assert (flow.draw(np.zeros((1, 1)), 2_000) > 0).all()
    assert flow.log_prob([-0.1, 0.0], np.zeros((2, 1))).tolist() == [-np.inf, -np.inf]
    assert flow.mode(np.zeros((1, 1))).item() == pytest.approx(0.5, abs=0.2)  # (a - 1) scale, far enough from 0
    assert flow.log_jacobian == pytest.approx(np.log(target.std()), abs=0.02)  # a tenth is held out
    flow.save(tmp_path / "flow.safetensors")
    again = FlowEnsemble.load(tmp_path / "flow.safetensors")
    np.testing.assert_array_equal(
        again.log_prob(fresh, np.zeros((4_000, 1))), flow.log_prob(fresh, np.zeros((4_000, 1)))
    )
    with pytest.raises(ValueError, match="on or beyond its limits"):
        FlowEnsemble.fit(np.zeros((3_000, 1)), target, config=config, limits=[(0.5, None)])


def test_the_order_of_rows_does_not_matter() -> None:
    problem, order = heteroscedastic(120), np.random.default_rng(3).permutation(120)
    first = FlowEnsemble.fit(problem.context, problem.target, config=TINY)
    second = FlowEnsemble.fit(problem.context[order], problem.target[order], config=TINY)
    arguments = problem.target, problem.context
    np.testing.assert_array_equal(first.log_prob(*arguments), second.log_prob(*arguments))

"""Head, losses and stretch of AstroDINO: numbers of the published code, and the definitions written out in numpy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.data.views import rgb_stretch
from encoders.astrodino.dino_loss import TeacherCentre, cross_entropy, dino_loss, sinkhorn_knopp
from encoders.astrodino.head import DINOHead
from encoders.astrodino.ibot_loss import ibot_loss
from encoders.astrodino.koleo import koleo_loss
from encoders.randomness import seeded_torch
from encoders.reading.stretch import asinh_rgb

ROOT = Path(__file__).parents[2]
GOLDEN = json.loads((ROOT / "tests" / "golden" / "dino.json").read_text())


def wave(shape: tuple[int, ...], frequency: float, amplitude: float = 1.0, offset: float = 0.0) -> torch.Tensor:
    t = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    return torch.tensor(offset + amplitude * np.sin(frequency * t + 0.1), dtype=torch.float32)


def agrees(got: torch.Tensor, expected: dict) -> None:
    assert list(got.shape) == expected["shape"]
    flat = got.detach().double().numpy().ravel()
    # 1e-5: float32; a sum over n values moves with their norm
    np.testing.assert_allclose(flat[:6], expected["first"], rtol=0, atol=1e-5)
    sums = (flat.sum(), np.linalg.norm(flat), (flat * np.cos(0.3 * np.arange(flat.size))).sum())
    for name, value in zip(("sum", "norm", "wsum"), sums):
        assert abs(value - expected[name]) <= 1e-5 + 2e-6 * expected["norm"], name


def fill(module: torch.nn.Module) -> None:
    for place, (name, parameter) in enumerate(sorted(module.named_parameters())):
        shape = tuple(parameter.shape)
        u = np.sin(0.7 * np.arange(np.prod(shape), dtype=np.float64).reshape(shape) + 1.3 * place + 0.2)
        if name.endswith("weight_g"):
            u = 1 + 0.2 * u
        else:
            u = u / np.sqrt(shape[-1]) if len(shape) == 2 else 0.1 * u
        parameter.data = torch.tensor(u, dtype=torch.float32)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_the_head_reproduces_the_published_code() -> None:
    with seeded_torch(0):
        head = DINOHead(32, hidden=48, bottleneck=16, n_prototypes=64)
    fill(head)
    agrees(head(wave((5, 32), 0.23)), GOLDEN["dino_head"])


def test_centring_and_its_loss_reproduce_the_published_code() -> None:
    golden, teacher, centre = GOLDEN["dino_loss"], wave((4, 64), 0.19, 2.0), TeacherCentre(64)
    first = centre.probabilities(teacher, 0.05)
    agrees(first.reshape(2, 2, 64), golden["first_probs"])
    students = [wave((2, 64), 0.29 + 0.1 * j, 3.0) for j in range(3)]
    pairs = [cross_entropy(p, s, 0.1).mean() for s in students for p in first.chunk(2)]
    assert float(sum(pairs)) == pytest.approx(golden["loss"], rel=1e-5)
    centre.observe(teacher)
    assert not centre.centre.any()  # lazy: a step does not see its own mean
    centre.apply_observed()
    agrees(centre.centre, golden["center_after"])
    agrees(centre.probabilities(teacher, 0.05), golden["second_probs"])


def test_sinkhorn_reproduces_the_published_code() -> None:
    agrees(sinkhorn_knopp(wave((4, 64), 0.19, 2.0), 0.05), GOLDEN["dino_loss"]["sk"])


def test_the_patch_loss_reproduces_the_published_code() -> None:
    golden, teacher = GOLDEN["ibot_loss"], wave((1, 8, 64), 0.17, 2.0)[0]
    centre, weight = TeacherCentre(64), torch.tensor([1 / 5] * 5 + [1 / 3] * 3)
    loss = ibot_loss(wave((8, 64), 0.41, 3.0), centre.probabilities(teacher, 0.06), weight, 4)
    assert float(loss) == pytest.approx(golden["loss"], rel=1e-5)
    centre.observe(teacher)
    centre.apply_observed()
    agrees(centre.centre[None], golden["center_after"])


def test_koleo_and_its_gradient_reproduce_the_published_code() -> None:
    rows = wave((6, 16), 0.83).requires_grad_()
    loss = koleo_loss(rows)
    assert loss.item() == pytest.approx(GOLDEN["koleo"]["loss"], abs=1e-5)
    loss.backward()
    agrees(rows.grad, GOLDEN["koleo"]["grad"])


def test_the_stretch_reproduces_the_published_code_and_that_of_the_views() -> None:
    flux = wave((3, 20, 20), 0.9, 0.05, 0.04)
    agrees(asinh_rgb(flux).permute(1, 2, 0), GOLDEN["to_rgb"]["out"])
    rng = np.random.default_rng(0)
    five = rng.normal(0.1, 1.0, (2, 5, 9, 7)).astype(np.float32)
    scales = (5.0, 4.0, 3.0, 2.0, 1.0)
    # 1e-5: asinh of float32 in two libraries
    np.testing.assert_allclose(asinh_rgb(torch.from_numpy(five), scales), rgb_stretch(five, scales), rtol=0, atol=1e-5)


def test_the_dino_loss_is_the_mean_over_all_pairs_of_different_crops() -> None:
    rng = np.random.default_rng(0)
    seen, local = rng.normal(size=(2, 5, 7)), rng.normal(size=(3, 5, 7))
    teacher = softmax(rng.normal(size=(2, 5, 7)))

    def h(p: np.ndarray, s: np.ndarray) -> float:
        return float(-(p * np.log(softmax(s / 0.1))).sum(-1).mean())

    pairs = [h(teacher[1], seen[0]), h(teacher[0], seen[1]), *(h(p, s) for p in teacher for s in local)]
    got = dino_loss(torch.from_numpy(seen), torch.from_numpy(local), torch.from_numpy(teacher))
    assert float(got) == pytest.approx(np.mean(pairs), rel=1e-12)  # float64 throughout
    alone = dino_loss(torch.from_numpy(seen), torch.from_numpy(local[:0]), torch.from_numpy(teacher))
    assert float(alone) == pytest.approx(np.mean(pairs[:2]), rel=1e-12)
    with pytest.raises(ValueError, match="must be the same two crops"):
        dino_loss(torch.zeros(3, 5, 7), torch.zeros(0, 5, 7), torch.zeros(3, 5, 7))


def test_the_patch_loss_is_a_mean_over_patches_then_over_all_images() -> None:
    rng = np.random.default_rng(1)
    student, teacher = rng.normal(size=(6, 9)), softmax(rng.normal(size=(6, 9)))
    h = -(teacher * np.log(softmax(student / 0.1))).sum(-1)
    weight = torch.tensor([1 / 4] * 4 + [1 / 2] * 2, dtype=torch.float64)
    got = ibot_loss(torch.from_numpy(student), torch.from_numpy(teacher), weight, 5)
    assert float(got) == pytest.approx((h[:4].mean() + h[4:].mean()) / 5, rel=1e-12)
    assert float(ibot_loss(torch.zeros(0, 9), torch.zeros(0, 9), torch.zeros(0), 5)) == 0
    with pytest.raises(ValueError, match="must be the same patches"):
        ibot_loss(torch.zeros(3, 9), torch.zeros(2, 9), torch.zeros(3), 5)


def test_koleo_is_minus_the_log_distance_to_the_nearest_direction() -> None:
    rows = np.random.default_rng(2).normal(size=(12, 4))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    distance = np.linalg.norm(unit[:, None] - unit, axis=-1)
    np.fill_diagonal(distance, np.inf)
    # 1e-6: the published code adds 1e-8 to each difference
    assert float(koleo_loss(torch.from_numpy(rows))) == pytest.approx(-np.log(distance.min(1)).mean(), abs=1e-6)
    assert float(koleo_loss(torch.from_numpy(rows[:1]))) == 0
    assert float(koleo_loss(torch.ones(4, 3))) > 15  # rows that coincide cost -log(1e-8) at most


def test_koleo_pushes_neighbours_apart() -> None:
    rows = torch.tensor([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.0]], requires_grad=True)
    koleo_loss(rows).backward()
    after = torch.nn.functional.normalize((rows - 0.01 * rows.grad).detach(), dim=-1)
    before = torch.nn.functional.normalize(rows.detach(), dim=-1)
    assert (after[0] - after[1]).norm() > (before[0] - before[1]).norm()


@pytest.mark.parametrize("temperature", [0.01, 0.07])
def test_sinkhorn_uses_prototypes_equally_and_gives_every_galaxy_one_unit(temperature: float) -> None:
    with seeded_torch(3):
        logits = torch.randn(40, 8) + torch.tensor([3.0, *[0.0] * 7])  # one prototype is far ahead of the others
    plain = torch.softmax(logits / temperature, -1)
    balanced = sinkhorn_knopp(logits, temperature, n_iterations=200)
    torch.testing.assert_close(balanced.sum(1), torch.ones(40), rtol=0, atol=1e-5)
    assert plain.mean(0).max() > 0.8
    assert balanced.mean(0).max() < 0.2  # 1/8 once converged, which takes long at low temperatures
    assert sinkhorn_knopp(logits[:0], temperature).shape == (0, 8)


def test_sinkhorn_agrees_with_scalings_in_double_precision() -> None:
    logits = np.random.default_rng(4).normal(size=(30, 6))
    q = np.exp(logits / 0.1)
    for _ in range(3):
        q /= q.sum(0)
        q /= q.sum(1, keepdims=True)
    np.testing.assert_allclose(sinkhorn_knopp(torch.from_numpy(logits), 0.1), q, rtol=1e-10)


def test_a_centre_takes_off_what_all_galaxies_share() -> None:
    centre, logits = TeacherCentre(4, momentum=0.5), torch.tensor([[5.0, 0.0, 0.0, 0.0]]).repeat(3, 1)
    for _ in range(40):
        centre.observe(logits)
        centre.apply_observed()
    torch.testing.assert_close(centre.probabilities(logits, 0.1), torch.full((3, 4), 0.25), rtol=0, atol=1e-5)
    kept = centre.centre.clone()
    centre.observe(logits[:0])  # a step in which nothing was masked
    centre.apply_observed()
    assert torch.equal(centre.centre, kept)


_TWO_PROCESSES = """
import sys, numpy as np, torch, torch.distributed as dist
from encoders.astrodino.dino_loss import TeacherCentre, sinkhorn_knopp
rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
logits = torch.from_numpy(np.load(f"{folder}/logits.npy"))
mine, centre = logits[:7] if rank == 0 else logits[7:], TeacherCentre(6).double()
centre.observe(mine)
centre.apply_observed()
np.savez(f"{folder}/{rank}.npz", sinkhorn=sinkhorn_knopp(mine, 0.1), centre=centre.centre)
dist.destroy_process_group()
"""


def test_two_processes_balance_their_prototypes_together(tmp_path: Path) -> None:
    logits = np.random.default_rng(5).normal(size=(20, 6))
    np.save(tmp_path / "logits.npy", logits)
    line = [sys.executable, "-c", _TWO_PROCESSES]
    running = [subprocess.Popen([*line, str(rank), str(tmp_path)], cwd=ROOT) for rank in range(2)]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    first, second = (np.load(tmp_path / f"{rank}.npz") for rank in range(2))
    alone, whole = TeacherCentre(6).double(), torch.from_numpy(logits)
    alone.observe(whole)
    alone.apply_observed()
    # float64 sums in another order
    together = np.concatenate([first["sinkhorn"], second["sinkhorn"]])
    np.testing.assert_allclose(together, sinkhorn_knopp(whole, 0.1), rtol=1e-10)
    np.testing.assert_allclose(first["centre"], alone.centre, rtol=1e-10)
    np.testing.assert_allclose(second["centre"], alone.centre, rtol=1e-10)

"""AstroDINO and its training step: sizes, gradients, the teacher, packing, drop path, collapse."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from encoders.astrodino.network import AstroDINO, AstroDINOConfig
from encoders.astrodino.objective import DINOConfig, DINOObjective
from encoders.augment import Augmentation, LogNormal
from encoders.layers import drop_path_rows
from encoders.randomness import seeded_torch
from encoders.reading.stretch import ImageNorm
from encoders.training.schedules import constant
from encoders.vit import VisionTransformer

SMALL: dict[str, Any] = {
    "image_size": 24, "patch_size": 6, "dim": 24, "depth": 2, "n_heads": 3, "drop_path": 0.0,
    "head_hidden": 32, "head_bottleneck": 12, "n_prototypes": 40,
}  # fmt: skip


def small(**changes: Any) -> AstroDINO:
    with seeded_torch(0):
        return AstroDINO(AstroDINOConfig(**{**SMALL, **changes}))


def objective(model: AstroDINO | None = None, momentum: float = 0.9, **losses: Any) -> DINOObjective:
    return DINOObjective(
        small() if model is None else model,
        Augmentation(global_size=24, local_size=12, n_local=3, probabilities=(1.0, 0.1, 0.5)),
        ImageNorm("rgb", None, mean=[0.0] * 3, std=[1.0] * 3, noise=[1.0] * 3),
        DINOConfig(**losses),
        teacher_temperature=constant(0.04),
        teacher_momentum=constant(momentum),
    )


def galaxies(n: int, seed: int = 0, side: int = 28) -> torch.Tensor:
    """Blobs of unequal size, brightness and colour on a noisy sky."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((side, side)) - (side - 1) / 2
    size, flux = rng.uniform(2, 6, (n, 1, 1, 1)), rng.uniform(0.2, 1.0, (n, 3, 1, 1))
    image = flux * np.exp(-(x**2 + y**2) / (2 * size**2)) + 0.02 * rng.normal(size=(n, 3, side, side))
    return torch.tensor(image, dtype=torch.float32)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_paper_size_has_the_parameters_of_the_released_files() -> None:
    with torch.device("meta"):
        model = AstroDINO()
    assert sum(p.numel() for p in model.teacher.backbone.parameters()) == 302_954_496
    assert sum(p.numel() for p in model.teacher.dino_head.parameters()) == 23_662_848
    assert model.teacher.ibot_head is None
    assert all(block.drop_path == 0.3 for block in model.student.backbone.blocks)


def test_the_model_is_a_function_of_images_to_the_teachers_class_token() -> None:
    model, image = small().eval(), galaxies(4)[..., :24, :24]
    with torch.no_grad():
        before = model(image)
        assert torch.equal(before, model.teacher.backbone(image).cls)
        torch.testing.assert_close(model(image[:1]), before[:1], rtol=0, atol=1e-5)  # float32 in another batch
        for parameter in model.student.parameters():
            parameter += 1.0
        assert torch.equal(model(image), before)
        model.update_teacher(0.5)
    assert not torch.equal(model(image), before)


def test_the_teacher_is_the_moving_average_of_the_student() -> None:
    model = small()
    start = copy.deepcopy(model.teacher.state_dict())
    with torch.no_grad():
        for parameter in model.student.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator()))
    model.update_teacher(0.75)
    student = model.student.state_dict()
    for name, value in model.teacher.state_dict().items():
        # float32 rounding of one interpolation
        torch.testing.assert_close(value, 0.75 * start[name] + 0.25 * student[name], rtol=1e-5, atol=1e-6)
    model.train()
    assert model.student.training
    assert not model.teacher.training


@pytest.mark.parametrize("separate", [False, True])
def test_gradients_reach_every_parameter_of_the_student_and_none_of_the_teacher(separate: bool) -> None:
    step = objective(small(separate_heads=separate)).train()
    losses = step(galaxies(8), step=0, generator=generator())
    losses["loss"].backward()
    parts = losses["dino"] + losses["ibot"] + 0.1 * losses["koleo"]
    torch.testing.assert_close(losses["loss"].detach(), parts)
    without = [name for name, p in step.model.student.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    assert all(p.grad is None and not p.requires_grad for p in step.model.teacher.parameters())


def test_each_loss_and_option_has_a_visible_effect() -> None:
    def loss(**changes: Any) -> float:
        return objective(**changes)(galaxies(8), step=0, generator=generator())["loss"].item()

    plain = loss()
    for change in (
        {"dino_weight": 0.0}, {"ibot_weight": 0.0}, {"koleo_weight": 0.0}, {"balance": "sinkhorn"},
        {"student_temperature": 0.2}, {"mask_share": 1.0}, {"mask_ratio": (0.5, 0.6)},
    ):  # fmt: skip
        assert loss(**change) != pytest.approx(plain, rel=1e-3), change
    assert loss() == plain
    with pytest.raises(ValueError, match="balance 'sharpen': must be centre, sinkhorn or none"):
        objective(balance="sharpen")


def test_a_batch_of_one_and_a_batch_without_masks_have_a_finite_loss() -> None:
    for options in ({}, {"mask_share": 0.0}):
        losses = objective(**options)(galaxies(1), step=0, generator=generator())
        losses["loss"].backward()
        assert torch.isfinite(losses["loss"])
    assert losses["ibot"] == 0


def test_half_precision_takes_products_only() -> None:
    step, blur = objective(koleo_weight=1.0), LogNormal(0.5, 0.0, 1.0)
    step.augmentation = Augmentation(
        global_size=24, local_size=12, n_local=3, probabilities=(1.0, 1.0, 1.0), psf=[blur] * 3, noise=[blur] * 3
    )
    full = step(galaxies(8), step=0, generator=generator())
    with torch.autocast("cpu", torch.bfloat16):
        half = step(galaxies(8), step=0, generator=generator())
        assert step.augmentation(galaxies(8), generator())[0].dtype == torch.float32
    half["loss"].backward()
    for name in full:
        # bfloat16 keeps 8 bits, a logit of 1 over a temperature of .04 moves by .1
        assert half[name].item() == pytest.approx(full[name].item(), rel=0.1), name


def test_packed_groups_equal_groups_one_by_one() -> None:
    with seeded_torch(1):
        network = VisionTransformer(image_size=24, patch_size=6, dim=24, depth=2, n_heads=3).double()
        groups = [torch.rand(4, 3, 24, 24).double(), torch.rand(6, 3, 12, 12).double()]
        mask = torch.rand(4, 16) < 0.3
    packed = network.forward_groups(groups, [mask, None])
    for output, image, masks in zip(packed, groups, [mask, None], strict=True):
        alone = network(image, masks_BN=masks)
        torch.testing.assert_close(output.cls, alone.cls, rtol=0, atol=1e-12)  # float64 rounding
        torch.testing.assert_close(output.patches, alone.patches, rtol=0, atol=1e-12)


def test_drop_path_skips_a_share_of_the_batch_and_keeps_the_mean() -> None:
    with seeded_torch(2):
        network = VisionTransformer(image_size=12, patch_size=6, dim=12, depth=1, n_heads=2, drop_path=0.25)
        image = torch.rand(1, 3, 12, 12).expand(40, -1, -1, -1)
    block, token = network.blocks[0], network._tokens(image, None)
    with torch.no_grad():
        added = block._add(token, block._attend, generator(1)) - token
        full = block._attend(token[:1])
    skipped = (added == 0).all((1, 2))
    assert skipped.sum() == 10
    torch.testing.assert_close(added.mean(0, keepdim=True), full, rtol=0, atol=1e-6)
    network.eval()
    assert torch.equal(network(image).cls, network(image, generator=generator(3)).cls)
    network.train()
    first, again = (network(image, generator=generator(seed)).cls for seed in (4, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, network(image, generator=generator(5)).cls)
    assert len(drop_path_rows(1, 0.9, None)) == 1
    with pytest.raises(ValueError, match=r"drop_path 1\.0: must be from 0 to below 1"):
        VisionTransformer(image_size=12, drop_path=1.0)


def test_learning_rates_fall_with_depth_and_every_parameter_is_in_one_group() -> None:
    step = objective(layer_decay=0.5, patch_lr_scale=0.2, frozen_steps=7)
    groups = step.parameter_groups()
    by_name = {id(p): name for name, p in step.model.student.named_parameters()}
    found = {by_name[id(p)]: group for group in groups for p in group.parameters}
    assert len(found) == sum(len(group.parameters) for group in groups) == len(by_name)
    scale = {name: group.lr_scale for name, group in found.items()}
    assert scale["backbone.blocks.1.mlp.fc1.weight"] == 0.5
    assert scale["backbone.blocks.0.mlp.fc1.weight"] == 0.25
    assert scale["backbone.pos_embed"] == scale["backbone.cls_token"] == scale["backbone.mask_token"] == 0.125
    assert scale["backbone.patch_embed.proj.weight"] == pytest.approx(0.025)
    assert scale["backbone.norm.weight"] == scale["dino_head.mlp.0.weight"] == 1
    for name, group in found.items():
        assert group.decay == (not (name.endswith("bias") or "norm" in name or "gamma" in name)), name
        assert group.clip == ("backbone" if name.startswith("backbone") else "head")
        assert group.frozen_steps == (7 if "last_layer" in name else 0)
    assert found["backbone.pos_embed"].decay


def trained(n_steps: int, **options: Any) -> tuple[DINOObjective, list[dict[str, float]]]:
    """A short training by plain AdamW, with the diagnostics before and after it."""
    step, data = objective(**options).train(), galaxies(256)
    optimiser = torch.optim.AdamW(step.model.student.parameters(), lr=2e-3)
    seen = [step.diagnostics(data[:64], generator=generator(9))]
    step.train()
    for number in range(n_steps):
        rows = torch.randperm(256, generator=generator(number))[:32]
        optimiser.zero_grad()
        step(data[rows], step=number, generator=generator(number))["loss"].backward()
        torch.nn.utils.clip_grad_norm_(step.model.student.parameters(), 3.0)
        optimiser.step()
        step.after_step(number)
    return step, [*seen, step.diagnostics(data[:64], generator=generator(9))]


@pytest.mark.parametrize("balance", ["centre", "sinkhorn"])
def test_a_training_neither_collapses_nor_stays_uniform(balance: str) -> None:
    step, (_, after) = trained(60, balance=balance)
    assert after["effective_rank"] > 4
    assert after["prototype_entropy"] > 0.4 * np.log(40)
    assert after["teacher_entropy"] < after["prototype_entropy"] - 0.2
    assert bool(step.cls_centre.centre.any()) == (balance == "centre")


def test_collapse_is_seen_where_nothing_balances_the_prototypes() -> None:
    _, (_, after) = trained(60, balance="none", koleo_weight=0.0)
    assert after["prototype_entropy"] < 0.35 * np.log(40)
    assert after["teacher_entropy"] < 0.35 * np.log(40)

"""The vision transformer against numbers of the published code, and against what its parts must do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from encoders.layers import Attention, Mlp
from encoders.randomness import seeded_torch
from encoders.vit import VisionTransformer

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "vit.json").read_text())


def chunked(name: str) -> str:
    """Name of a parameter in the published code, which keeps its four blocks in two chunks."""
    return re.sub(r"^blocks\.(\d+)\.", lambda found: f"blocks.{int(found[1]) // 2}.{found[1]}.", name)


def fill(network: torch.nn.Module) -> torch.nn.Module:
    """Give every parameter the value that the golden numbers were made with (the rule stands in the JSON file)."""
    parameters = {chunked(name): parameter for name, parameter in network.named_parameters()}
    for place, name in enumerate(sorted(parameters)):
        shape, leaf = tuple(parameters[name].shape), name.rsplit(".", 1)[-1]
        t = np.arange(np.prod(shape, dtype=int), dtype=np.float64).reshape(shape)
        u = np.sin(0.7 * t + 1.3 * place + 0.2)
        if leaf == "gamma":
            value = 0.2 + 0.1 * u
        elif len(shape) == 2:
            value = u / np.sqrt(shape[-1])
        else:
            value = 1 + 0.2 * u if len(shape) == 1 and leaf == "weight" else 0.1 * u
        parameters[name].data = torch.tensor(value, dtype=torch.float32)
    return network


def wave(shape: tuple[int, ...], frequency: float) -> torch.Tensor:
    t = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    return torch.tensor(0.5 + 0.5 * np.sin(frequency * t + 0.1), dtype=torch.float32)


@pytest.fixture(scope="module")
def golden_outputs() -> dict[str, torch.Tensor]:
    with seeded_torch(0):
        network = VisionTransformer(image_size=48, patch_size=12, dim=32, depth=4, n_heads=4)
    fill(network).eval()
    image, local = wave((2, 3, 48, 48), 0.37), wave((3, 3, 24, 24), 0.53)
    masks = torch.zeros(2, 16, dtype=torch.bool)
    masks[0, :5] = masks[1, 9:12] = True
    with torch.inference_mode():
        whole, small = network(image), network(local)
        return {
            "cls": whole.cls,
            "patch": whole.patches,
            "cls_local24": small.cls,
            "patch_local24": small.patches,
            "masked_patch": network(image, masks_BN=masks).patches,
            "nopos_patch": network(image, patches_only=True).patches,
        }


@pytest.mark.parametrize("entry", sorted(GOLDEN["outputs"]))
def test_the_network_reproduces_the_published_code(entry: str, golden_outputs: dict[str, torch.Tensor]) -> None:
    expected, got = GOLDEN["outputs"][entry], golden_outputs[entry].double().numpy()
    assert list(got.shape) == expected["shape"]
    flat = got.ravel()
    # 1e-5: float32 through four blocks; a sum over n values moves with their norm (another kernel moves it by 1.6e-5)
    np.testing.assert_allclose(flat[:6], expected["first"], rtol=0, atol=1e-5)
    sums = {
        "sum": flat.sum(),
        "norm": np.linalg.norm(flat),
        "wsum": (flat * np.cos(0.3 * np.arange(flat.size))).sum(),
    }
    for name, value in sums.items():
        assert abs(value - expected[name]) <= 1e-5 + 2e-6 * expected["norm"], name


def test_parameters_carry_the_published_names_and_shapes() -> None:
    with seeded_torch(0):
        network = VisionTransformer(image_size=48, patch_size=12, dim=32, depth=4, n_heads=4)
    ours = {chunked(name): "x".join(map(str, p.shape)) for name, p in network.named_parameters()}
    assert sorted(f"{name} {shape}" for name, shape in ours.items()) == sorted(GOLDEN["parameters"])


def test_linear_weights_are_drawn_with_a_width_scaled_spread() -> None:
    with seeded_torch(3):
        network = VisionTransformer(image_size=24, patch_size=12, dim=256, depth=2, n_heads=4)
    for name, weight in network.named_parameters():
        if name.endswith(("qkv.weight", "proj.weight", "fc1.weight", "fc2.weight")) and weight.ndim == 2:
            # a normal cut at two standard deviations keeps 0.8796 of its spread; 2 %: over 65,536 draws
            assert weight.std().item() == pytest.approx(0.8796 * 0.64 / weight.shape[1] ** 0.5, rel=0.02), name
        if name.endswith(("qkv.bias", "proj.bias", "fc1.bias", "fc2.bias")) and "patch" not in name:
            assert not weight.any(), name


@pytest.mark.parametrize(("depth", "expected"), [(3, 1.0), (12, 1e-5)])
def test_layer_scale_starts_at_one_in_shallow_networks_only(depth: int, expected: float) -> None:
    with seeded_torch(0):
        network = VisionTransformer(image_size=12, patch_size=12, dim=8, depth=depth, n_heads=2)
    assert all(torch.all(block.ls1.gamma == expected) for block in network.blocks)


def test_attention_is_softmax_of_scaled_products() -> None:
    with seeded_torch(1):
        attention, token = Attention(8, 2).double(), torch.randn(2, 5, 8, dtype=torch.float64)
    query, key, value = attention.qkv(token).reshape(2, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
    weight = torch.softmax(query @ key.transpose(-1, -2) / 4**0.5, dim=-1)
    expected = attention.proj((weight @ value).transpose(1, 2).reshape(2, 5, 8))
    torch.testing.assert_close(attention(token), expected, rtol=0, atol=1e-12)  # float64 rounding


def test_the_mlp_uses_the_exact_gelu() -> None:
    with seeded_torch(1):
        mlp, token = Mlp(4, 8).double(), torch.randn(3, 4, dtype=torch.float64)
    hidden = mlp.fc1(token)
    expected = mlp.fc2(0.5 * hidden * (1 + torch.erf(hidden / 2**0.5)))
    torch.testing.assert_close(mlp(token), expected, rtol=0, atol=1e-12)


def test_gradients_reach_every_parameter() -> None:
    with seeded_torch(2):
        network, image = VisionTransformer(image_size=24, dim=12, depth=2, n_heads=3), torch.rand(2, 3, 24, 24)
        masks = torch.tensor([[True, False, False, False], [False] * 4])
        output = network(image, masks_BN=masks)
        (output.cls.square().sum() + output.patches.square().sum() + output.patches[:, 0, 0].sum()).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 5), (6, 6), (13, 4), (25, 25)])
def test_any_number_of_patches_is_read(rows: int, columns: int) -> None:
    with seeded_torch(0):
        network = VisionTransformer(image_size=24, patch_size=4, dim=8, depth=1, n_heads=2)
        output = network(torch.rand(1, 3, 4 * rows, 4 * columns))
    assert output.patches.shape == (1, rows * columns, 8)


def test_misfitting_sizes_are_refused_in_words() -> None:
    with seeded_torch(0):
        network = VisionTransformer(image_size=24, patch_size=12, dim=8, depth=1, n_heads=2)
        with pytest.raises(ValueError, match=r"24 x 25 pixels: each side must be a multiple of the patch, 12"):
            network(torch.zeros(1, 3, 24, 25))
        with pytest.raises(ValueError, match=r"masks of shape \(1, 3\): must be \(1, 4\)"):
            network(torch.zeros(1, 3, 24, 24), masks_BN=torch.zeros(1, 3, dtype=torch.bool))
        with pytest.raises(ValueError, match=r"image_size 25: must be a positive multiple of patch_size 12"):
            VisionTransformer(image_size=25, patch_size=12)
        with pytest.raises(ValueError, match=r"width 10 with 3 heads"):
            VisionTransformer(image_size=24, dim=10, n_heads=3)

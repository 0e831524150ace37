"""Released weights: the layout comes back digit for digit, what does not fit is refused, and nothing of a file runs."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from released_layout import astrodino_file, specformer_file

from encoders import load_official
from encoders.astrodino.encoder import AstroDINOEncoder
from encoders.official import read_official
from encoders.randomness import seeded_torch
from encoders.reading.spectra import DESI_WAVE_ANGSTROM
from encoders.specformer.encoder import SpecFormerEncoder
from encoders.specformer.network import SpecFormer
from encoders.vit import VisionTransformer

DEPTH = 4


@pytest.fixture(scope="module")
def vit() -> VisionTransformer:
    with seeded_torch(0):
        network = VisionTransformer(image_size=36, patch_size=12, dim=384, depth=DEPTH, n_heads=6)
        torch.nn.init.normal_(network.mask_token)
    return network.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def specformer() -> SpecFormer:
    with seeded_torch(1):
        return SpecFormer(window=20, dim=48, depth=2, n_heads=4, max_tokens=800).requires_grad_(False).eval()


Save = Callable[[Any], Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(content: Any) -> Path:
        torch.save(content, tmp_path / "file.ckpt")
        return tmp_path / "file.ckpt"

    return write


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("n_chunks", [0, 2, 4])
def test_astrodinos_layout_comes_back_whatever_its_chunks(n_chunks: int, vit: VisionTransformer, save: Save) -> None:
    network = load_official(save(astrodino_file(vit, n_chunks, DEPTH)))
    assert isinstance(network, VisionTransformer)
    assert same(network, vit)
    image = torch.rand(2, 3, 36, 36, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(image).cls, vit(image).cls)


def test_specformers_layout_comes_back(specformer: SpecFormer, save: Save) -> None:
    network = load_official(save(specformer_file(specformer, 4)))
    assert isinstance(network, SpecFormer)
    assert same(network, specformer)
    tokens = torch.randn(2, 30, 22, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(tokens).tokens, specformer(tokens).tokens)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_prefixes_of_wrappers_are_taken_off(prefix: str, vit: VisionTransformer, save: Save) -> None:
    teacher = astrodino_file(vit, 4, DEPTH)["teacher"]
    wrapped = {prefix + name: value for name, value in teacher.items()}
    one, other = read_official(save({"model": wrapped})), read_official(save(teacher))
    assert one.digest == other.digest
    assert same(load_official(save(wrapped)), vit)
    bare = {name.removeprefix("backbone."): value for name, value in teacher.items() if name.startswith("backbone.")}
    assert read_official(save(bare)).digest == one.digest


def test_the_digest_follows_the_numbers(vit: VisionTransformer, save: Save) -> None:
    content = astrodino_file(vit, 0, DEPTH)
    before = read_official(save(content)).digest
    content["teacher"]["backbone.norm.bias"] = content["teacher"]["backbone.norm.bias"] + 1e-3
    assert read_official(save(content)).digest != before
    assert len(before) == 16


def _without(content: dict[str, Any], name: str) -> None:
    del content[name]


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "missing": (lambda state: _without(state, "backbone.norm.bias"), "Missing key.*norm.bias"),
    "missing block": (lambda state: _without(state, "backbone.blocks.0.1.mlp.fc1.bias"), "blocks.1.mlp.fc1.bias"),
    "unknown": (lambda state: state.update({"backbone.register_tokens": torch.zeros(1)}), "register_tokens"),
    "shape": (lambda state: state.update({"backbone.norm.bias": torch.zeros(5)}), "size mismatch for norm.bias"),
    "positions": (lambda state: state.update({"backbone.pos_embed": torch.zeros(1, 11, 384)}), "11 positions: must"),
    "no positions": (lambda state: _without(state, "backbone.pos_embed"), "0 positions: must be those of a square"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_file_that_does_not_fit_is_refused_whole(what: str, vit: VisionTransformer, save: Save) -> None:
    content = astrodino_file(vit, 2, DEPTH)
    DAMAGE[what][0](content["teacher"])
    with pytest.raises(ValueError, match=DAMAGE[what][1]):
        load_official(save(content))


def test_a_missing_array_of_specformer_is_named(specformer: SpecFormer, save: Save) -> None:
    content = specformer_file(specformer, 4)
    del content["state_dict"]["blocks.1.attention.projection.bias"]
    with pytest.raises(ValueError, match=r"SpecFormer that do not fit its network: .*blocks.1.attn.proj.bias"):
        load_official(save(content))
    content = specformer_file(specformer, 4)
    del content["hyper_parameters"]["num_heads"]
    with pytest.raises(ValueError, match="width 48: the number of heads is known for 768 only"):
        load_official(save(content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list: must be a dictionary of weights"),
        ({"weights": torch.zeros(2)}, "holds weights, ...: not the names of AstroDINO's or SpecFormer's"),
        ({"teacher": {"a": 1}}, "a: not tensors"),
        (
            {"teacher": {"_fsdp_wrapped_module.flat_param": torch.zeros(2)}},
            "give the teacher_checkpoint.pth",
        ),
    ],
)
def test_another_file_of_torch_is_one_clear_line(content: Any, message: str, save: Save) -> None:
    with pytest.raises(ValueError, match=message):
        load_official(save(content))


def test_a_file_that_torch_did_not_write_is_one_clear_line(tmp_path: Path, vit: VisionTransformer, save: Save) -> None:
    (tmp_path / "text.ckpt").write_text("target_id,z\n")
    with pytest.raises(ValueError, match=r"text\.ckpt: .*(nothing of it was run|is no whole file of torch)"):
        load_official(tmp_path / "text.ckpt")
    path = save(astrodino_file(vit, 0, DEPTH))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"is no whole file of torch; copy it again|nothing of it was run"):
        load_official(path)
    with pytest.raises(ValueError, match="cannot be read"):
        load_official(tmp_path / "absent.ckpt")


class Attack:
    """Unpickled carelessly, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def test_what_a_file_would_run_is_not_run(vit: VisionTransformer, save: Save, tmp_path: Path) -> None:
    content = astrodino_file(vit, 0, DEPTH) | {"hyper_parameters": Attack(tmp_path / "run")}
    path = save(content)
    with pytest.raises(ValueError, match=r"holds more than tensors and plain containers.*nothing of it was run"):
        load_official(path)
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(Attack(tmp_path / "run")))
    with pytest.raises(ValueError, match="nothing of it was run"):
        load_official(tmp_path / "plain.ckpt")
    assert not (tmp_path / "run").exists()
    assert not {"lightning", "astroclip", "dinov2"} & set(sys.modules)


def test_astrodino_embeds_with_released_weights(vit: VisionTransformer, save: Save) -> None:
    found = read_official(save(astrodino_file(vit, 2, DEPTH)))
    encoder = AstroDINOEncoder(**found.options)
    encoder.load_state(found.encoder_state())
    images = np.random.default_rng(0).random((3, 3, 36, 36), dtype=np.float32)  # pictures: no stretch
    expected = vit(torch.from_numpy(images)).cls.numpy()
    assert np.allclose(encoder.embed(images), expected, atol=2e-3)  # pixels are kept as float16
    assert np.allclose(encoder.embed(images[:1]), expected[:1], atol=2e-3)


def test_specformer_embeds_with_released_weights(specformer: SpecFormer, save: Save) -> None:
    found = read_official(save(specformer_file(specformer, 4)))
    assert found.options["step"] == 10
    encoder = SpecFormerEncoder(**found.options)
    encoder.load_state(found.encoder_state())
    rng = np.random.default_rng(0)
    flux = rng.normal(3.0, 1.0, (2, len(DESI_WAVE_ANGSTROM)))
    spectra = np.stack([flux, np.ones_like(flux)], axis=1).astype(np.float32)
    embedding = encoder.embed(spectra)
    assert embedding.shape == (2, 48)
    # by hand, as the released code: mean and scatter, 777 windows of 20 in steps of 10, a token of both in front
    mean, scatter = spectra[:, 0].mean(1), np.maximum(spectra[:, 0].std(1, ddof=1), 0.2)
    scaled = (spectra[:, 0] - mean[:, None]) / scatter[:, None]
    tokens = np.zeros((2, 778, 22), dtype=np.float32)
    tokens[:, 0, :2] = np.stack([(mean - 2) / 2, (scatter - 2) / 8], axis=1)
    for number in range(777):
        tokens[:, number + 1, 2:] = scaled[:, 10 * number : 10 * number + 20]
    expected = specformer(torch.from_numpy(tokens)).tokens.mean(1).numpy()
    assert np.allclose(embedding, expected, atol=2e-5)  # float32 over 778 tokens
    with pytest.raises(ValueError, match="wavelengths"):
        encoder.embed(spectra[:, :, :700])


def test_the_published_width_brings_its_heads(save: Save) -> None:
    with torch.device("meta"):
        network = VisionTransformer(image_size=144, patch_size=12, dim=1024, depth=1, n_heads=16)
    state = {name: torch.zeros(value.shape) for name, value in network.state_dict().items()}
    found = read_official(save({"teacher": {f"backbone.{name}": value for name, value in state.items()}}))
    assert found.sizes["n_heads"] == 16
    assert {name: found.options[name] for name in ("image_side", "global_crop", "local_crop")} == {
        "image_side": 152,
        "global_crop": 144,
        "local_crop": 60,
    }

"""Released weights of AstroDINO and SpecFormer, read fully or not at all, and without running what a file holds.

Files are opened with torch's restricted reader, which rebuilds tensors and plain containers and refuses all else. The
names of the released code become ours by fixed rules, and every array must then have its place.
"""

from __future__ import annotations

import hashlib
import math
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders.reading.spectra import DESI_WAVE_ANGSTROM
from encoders.specformer.network import SpecFormer
from encoders.vit import VisionTransformer

__all__ = ["OfficialWeights", "load_official", "read_official"]

_WRAPPERS = ("teacher", "state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")
_HEADS_OF_VIT = {1024: 16, 768: 12, 384: 6}
_HEADS_OF_SPECFORMER = {768: 6}
_STEP = 10  # bins from one window of the released SpecFormer to the next; no shape tells it
_SPECFORMER_NAMES = (
    (r"^data_embed\.", "embed."),
    (r"^position_embed\.weight$", "pos_embed"),
    (r"\.layernorm([12])\.", r".norm\1."),
    (r"\.attention\.attention\.", ".attn.qkv."),
    (r"\.attention\.projection\.", ".attn.proj."),
    (r"\.mlp\.encoder\.", ".mlp.fc1."),
    (r"\.mlp\.decoder\.", ".mlp.fc2."),
    (r"^final_layernorm\.", "norm."),
)


@dataclass(frozen=True)
class OfficialWeights:
    """Weights of a released file under our names.

    Attributes
    ----------
    model : ``AstroDINO`` or ``SpecFormer``.
    sizes : arguments of the network's class.
    options : arguments of the encoder's class, with the released way of preparing galaxies.
    state : arrays of the network by name.
    digest : 16 hexadecimal digits over names, shapes, dtypes and sums.
    """

    model: str
    sizes: Mapping[str, Any]
    options: Mapping[str, Any]
    state: Mapping[str, Tensor]
    digest: str

    def encoder_state(self) -> dict[str, NDArray]:
        """What the encoder's ``load_state`` takes: the network, and what else the encoder keeps."""
        arrays = {name: value.numpy() for name, value in self.state.items()}
        if self.model == "SpecFormer":
            return arrays | {"wave_angstrom": DESI_WAVE_ANGSTROM}
        n_bands = self.sizes["in_channels"]
        constants = {"mean": 0.0, "std": 1.0, "noise": 1.0}  # the released stretch has no constants of a survey
        norm = {f"norm.{name}": np.full(n_bands, value, dtype=np.float32) for name, value in constants.items()}
        return {f"backbone.{name}": array for name, array in arrays.items()} | norm


def load_official(path: str | Path) -> nn.Module:
    """The network of a released file, in evaluation mode: `VisionTransformer` (the teacher) or `SpecFormer`.

    Raises
    ------
    ValueError
        As `read_official`.
    """
    return _network(read_official(Path(path)))


def read_official(path: Path) -> OfficialWeights:
    """Read ``astrodino.ckpt`` or ``specformer.ckpt`` of AstroCLIP's authors, or files of their layout.

    Sizes follow from the shapes of the arrays, numbers of heads from the file's hyperparameters or, for the published
    widths, from the papers.

    Parameters
    ----------
    path : a file that ``torch.save`` wrote.

    Raises
    ------
    ValueError
        If the file holds more than tensors and plain containers, weights of another network, or arrays that are
        missing, unknown or of a wrong shape.

    References
    ----------
    Parker et al. 2024, arXiv:2310.03024; Oquab et al. 2023, arXiv:2304.07193.
    """
    content = _content(path)
    state = _stripped(_unwrapped(content, path))
    if any("_fsdp_wrapped_module" in name or "flat_param" in name for name in state):
        raise ValueError(f"{path}: a part of a sharded training; give the teacher_checkpoint.pth of its eval folder")
    hyperparameters = content.get("hyper_parameters") or {}
    if "data_embed.weight" in state:
        found = _specformer(state, hyperparameters, path)
    elif "backbone.patch_embed.proj.weight" in state or "patch_embed.proj.weight" in state:
        found = _astrodino(state, path)
    else:
        first = ", ".join(list(state)[:3]) or "nothing"
        raise ValueError(f"{path}: holds {first}, ...: not the names of AstroDINO's or SpecFormer's released weights")
    _network(found)  # every array must have its place
    return found


def _content(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as stream:
            is_zip = zipfile.is_zipfile(stream)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that are refused below
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: holds more than tensors and plain containers, or is no file of torch; nothing of it was run. "
            "Give astrodino.ckpt or specformer.ckpt"
        ) from error
    except Exception as error:  # the reader of a file of another kind fails in any way
        raise ValueError(f"{path}: is no whole file of torch; copy it again") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: holds a {type(content).__name__}: must be a dictionary of weights")
    return content


def _unwrapped(content: Mapping[str, Any], path: Path) -> Mapping[str, Tensor]:
    inner = next((content[name] for name in _WRAPPERS if isinstance(content.get(name), Mapping)), content)
    wrong = [str(name) for name, value in inner.items() if not isinstance(value, Tensor)]
    if wrong:
        raise ValueError(f"{path}: {', '.join(wrong[:3])}: not tensors; give a file of weights")
    return inner


def _stripped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without what wrappers put in front of all of them."""
    found = dict(state)
    for prefix in _PREFIXES:
        if found and all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def _astrodino(state: Mapping[str, Tensor], path: Path) -> OfficialWeights:
    """The backbone; heads, which no embedding needs, are left aside."""
    if any(name.startswith("backbone.") for name in state):
        heads = ("dino_head.", "ibot_head.")
        state = {name: value for name, value in state.items() if not name.startswith(heads)}
        state = {re.sub(r"^backbone\.", "", name): value for name, value in state.items()}
    # blocks.{chunk}.{i}: the inner number counts through all chunks
    state = {re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", name): value for name, value in state.items()}
    dim, n_bands, patch, _ = state["patch_embed.proj.weight"].shape
    n_positions = state["pos_embed"].shape[1] if "pos_embed" in state else 0
    grid = math.isqrt(max(n_positions - 1, 0))
    if grid < 1 or grid**2 + 1 != n_positions:
        raise ValueError(f"{path}: {n_positions} positions: must be those of a square of patches and a class token")
    side = grid * patch
    field = side + 8 if side == 144 else side  # the released images have 152 pixels, of which 144 are looked at
    sizes = {
        "image_size": side,
        "patch_size": patch,
        "in_channels": n_bands,
        "dim": dim,
        "depth": _depth(state),
        "n_heads": _heads(_HEADS_OF_VIT, dim, path),
    }
    options = {name: sizes[name] for name in ("dim", "depth", "n_heads", "patch_size")} | {
        "image_side": field,
        "field_side": field,
        "global_crop": side,
        "local_crop": patch * max(1, round(5 / 12 * grid)),
        "image_norm": "rgb",
        "n_steps": 0,
        **dict.fromkeys(("n_prototypes", "head_hidden", "head_bottleneck"), 8),  # heads are not embedded with
    }
    return OfficialWeights("AstroDINO", sizes, options, _float32(state), _digest(state))


def _specformer(state: Mapping[str, Tensor], hyperparameters: Mapping[str, Any], path: Path) -> OfficialWeights:
    for pattern, ours in _SPECFORMER_NAMES:
        state = {re.sub(pattern, ours, name): value for name, value in state.items()}
    dim, n_numbers = state["embed.weight"].shape
    max_tokens = state["pos_embed"].shape[0] if "pos_embed" in state else 0
    n_heads = hyperparameters.get("num_heads") or _heads(_HEADS_OF_SPECFORMER, dim, path)
    overlap = hyperparameters.get("slice_overlap", _STEP)
    window = n_numbers - 2
    sizes = {
        "window": window,
        "dim": dim,
        "depth": _depth(state),
        "n_heads": int(n_heads),
        "max_tokens": max_tokens,
    }
    options = {
        **sizes,
        "step": int(overlap) if "slice_overlap" not in hyperparameters else window - int(overlap),
        "bin_dex": None,
        "objective": "masked",
        "init": "released",
        "n_steps": 0,
    }
    return OfficialWeights("SpecFormer", sizes, options, _float32(state), _digest(state))


def _network(weights: OfficialWeights) -> nn.Module:
    """The network with these weights; an array that is missing, unknown or of a wrong shape is named."""
    classes: dict[str, Callable[..., nn.Module]] = {"AstroDINO": VisionTransformer, "SpecFormer": SpecFormer}
    try:
        with torch.device("meta"):
            network = classes[weights.model](**weights.sizes)
        network.load_state_dict(dict(weights.state), strict=True, assign=True)
    except RuntimeError as error:
        problems = " ".join(str(error).split())
        raise ValueError(f"weights of {weights.model} that do not fit its network: {problems}") from error
    return network.requires_grad_(False).eval()


def _depth(state: Mapping[str, Tensor]) -> int:
    return 1 + max((int(found[1]) for name in state if (found := re.match(r"blocks\.(\d+)\.", name))), default=-1)


def _heads(known: Mapping[int, int], dim: int, path: Path) -> int:
    if dim not in known:
        raise ValueError(f"{path}: width {dim}: the number of heads is known for {', '.join(map(str, known))} only")
    return known[dim]


def _float32(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.float() for name, value in state.items()}


def _digest(state: Mapping[str, Tensor]) -> str:
    lines = (
        f"{name} {tuple(value.shape)} {value.dtype} {value.double().sum().item():.9e}" for name, value in state.items()
    )
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]

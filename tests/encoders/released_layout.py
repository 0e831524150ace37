"""Our networks' weights in the layout of the released files, written from the published lists of names."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

SPECFORMER = {
    "embed.weight": "data_embed.weight",
    "embed.bias": "data_embed.bias",
    "pos_embed": "position_embed.weight",
    "norm.weight": "final_layernorm.weight",
    "norm.bias": "final_layernorm.bias",
    "head.weight": "head.weight",
    "head.bias": "head.bias",
}
BLOCK = {
    "norm1": "layernorm1",
    "norm2": "layernorm2",
    "attn.qkv": "attention.attention",
    "attn.proj": "attention.projection",
    "mlp.fc1": "mlp.encoder",
    "mlp.fc2": "mlp.decoder",
}


def astrodino_file(network: nn.Module, n_chunks: int, depth: int) -> dict[str, Any]:
    """``{"teacher": ...}`` with a head beside the backbone; blocks in chunks, 0 for none."""
    teacher: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        parts = name.split(".")
        if parts[0] == "blocks" and n_chunks:
            chunk = int(parts[1]) // (depth // n_chunks)
            name = ".".join(["blocks", str(chunk), *parts[1:]])
        teacher[f"backbone.{name}"] = value
    return {"teacher": teacher | {"dino_head.mlp.0.weight": torch.zeros(4, 4), "dino_head.mlp.0.bias": torch.zeros(4)}}


def specformer_file(network: nn.Module, n_heads: int) -> dict[str, Any]:
    """Lightning's dictionary with plain hyperparameters."""
    state = {}
    for name, value in network.state_dict().items():
        if name.startswith("blocks."):
            _, number, *rest = name.split(".")
            layer, leaf = ".".join(rest[:-1]), rest[-1]
            state[f"blocks.{number}.{BLOCK[layer]}.{leaf}"] = value
        else:
            state[SPECFORMER[name]] = value
    known = {"num_heads": n_heads, "slice_section_length": 20, "slice_overlap": 10, "_class_path": "astroclip.models"}
    return {"state_dict": state, "hyper_parameters": known, "epoch": 3}

"""AstroDINO's sizes and hyperparameters, beside those that were published."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from encoders.astrodino.encoder import AUG_P, AstroDINOEncoder
from encoders.astrodino.network import AstroDINO, AstroDINOConfig

__all__ = ["architecture"]

_PUBLISHED: tuple[tuple[str, str, str], ...] = (
    ("parameters of the backbone", "307M", "302,954,496"),
    ("parameters of the heads", "", "23,662,848"),
    ("patch", "12", "12"),
    ("width, depth, heads", "1024, 24, 16", "1024, 24, 16"),
    ("crops", "144 and 60 px", "144 and 60 of 152 px"),
    ("views", "2 global, 8 local", "2 global, 8 local"),
    ("prototypes", "", "65536"),
    ("heads of the two losses", "separate", "one shared"),
    ("balance of the teacher", "", "centre"),
    ("loss weights: patches, KoLeo", "", "1, 0.1"),
    ("teacher temperature", "", "0.04 to 0.07"),
    ("teacher momentum", "0.992 to 1", "0.992 to 1"),
    ("blur and noise", "1.0, 0.1, 0.5", "0.0, 0.9, 0.5"),
    ("normalisation", "zscore", "rgb"),
    ("rotation", "yes", "no"),
    ("learning rate", "0.0002", "0.0002 sqrt(batch / 1024)"),
    ("weight decay", "0.001 to 0.01", "0.001 to 0.01"),
    ("layer-wise decay of the learning rate", "", "0.9"),
    ("drop path", "0.3", "0.3"),
    ("clip", "3", "3"),
    ("batch", "1536", "1440"),
    ("steps", "200 epochs", "250000"),
)
"""item, in print, in the released code. Sizes and optimiser are tables 1 and 2 of the 2026 paper, the rest is Parker et
al. 2024, arXiv:2310.03024."""


def architecture(options: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Rows (item, ours, published paper, published code) of a model with these options.

    Parameters
    ----------
    options : keyword arguments of `AstroDINOEncoder`, for three bands. The network is counted without being made.
    """
    ours = _values({**_defaults(), **options})
    return [(item, ours[item], paper, code) for item, paper, code in _PUBLISHED]


def _values(o: dict[str, Any]) -> dict[str, str]:
    fields = AstroDINOConfig.__dataclass_fields__
    config = AstroDINOConfig(
        **{name: o[name] for name in fields if name in o}, image_size=o["global_crop"], in_channels=3
    )
    with torch.device("meta"):
        student = AstroDINO(config).student
    backbone = _count(student.backbone)
    rate = f"{o['learning_rate']:g}" + (" sqrt(batch / 1024)" if o["lr_scaling"] == "sqrt" else "")
    decay = o["final_weight_decay"]
    return {
        "parameters of the backbone": f"{backbone:,}",
        "parameters of the heads": f"{_count(student) - backbone:,}",
        "patch": f"{o['patch_size']}",
        "width, depth, heads": f"{o['dim']}, {o['depth']}, {o['n_heads']}",
        "crops": f"{o['global_crop']} and {o['local_crop']} of {o['field_side']} px",
        "views": f"2 global, {o['n_local']} local",
        "prototypes": f"{o['n_prototypes']}",
        "heads of the two losses": "separate" if o["separate_heads"] else "one shared",
        "balance of the teacher": o["balance"],
        "loss weights: patches, KoLeo": f"{o['ibot_weight']:g}, {o['koleo_weight']:g}",
        "teacher temperature": f"{o['teacher_temperature']:g} to {o['final_teacher_temperature']:g}",
        "teacher momentum": f"{o['teacher_momentum']:g} to 1",
        "blur and noise": ", ".join(map(str, AUG_P[o["aug_p"]])),
        "normalisation": o["image_norm"],
        "rotation": "yes" if o["rotate"] else "no",
        "learning rate": rate,
        "weight decay": f"{o['weight_decay']:g}" + (f" to {decay:g}" if decay is not None else ""),
        "layer-wise decay of the learning rate": f"{o['layer_decay']:g}",
        "drop path": f"{o['drop_path']:g}",
        "clip": "none" if o["clip"] is None else f"{o['clip']:g}",
        "batch": f"{o['batch_size']}",
        "steps": f"{o['n_steps']}",
    }


def _defaults() -> dict[str, Any]:
    """What the encoder takes where an option is not given."""
    parameters = inspect.signature(AstroDINOEncoder).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

"""An ensemble as one safetensors file: weights and scalings as tensors, configuration and digest in the metadata."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from posteriors.flows.backends import make_member
from posteriors.flows.config import FlowEnsembleConfig
from posteriors.flows.limits import TargetLimits
from posteriors.flows.scaling import ContextScaling, TargetScaling
from posteriors.flows.training import TrainedMember

if TYPE_CHECKING:
    from posteriors.flows.ensemble import FlowEnsemble

__all__ = ["read_ensemble", "write_ensemble"]

_MEMBER_SIZES = ("n_context", "n_couplings", "hidden")
_FORMAT = "galaxybench flow ensemble, version 3"


def write_ensemble(ensemble: FlowEnsemble, path: Path) -> None:
    """Write the ensemble; the file appears under its name only when it is complete."""
    tensors = {
        **{f"context.{name}": torch.from_numpy(v) for name, v in ensemble.context_scaling.arrays().items()},
        "target.mean": torch.from_numpy(ensemble.target_scaling.mean),
        "target.scale": torch.from_numpy(ensemble.target_scaling.scale),
        "target.spread": torch.from_numpy(ensemble.target_scaling.spread),
        "target.lower": torch.from_numpy(ensemble.target_scaling.limits.lower),
        "target.upper": torch.from_numpy(ensemble.target_scaling.limits.upper),
        "target.reach": torch.from_numpy(ensemble.target_scaling.limits.reach),
    }
    for index, member in enumerate(ensemble.members):
        tensors |= {f"{index}.{name}": value for name, value in member.state_dict().items()}
    tensors = {name: value.contiguous().cpu() for name, value in tensors.items()}
    description = {
        "config": ensemble.config.to_dict(),
        "members": [{name: getattr(member, name) for name in _MEMBER_SIZES} for member in ensemble.members],
        "validation_nll": ensemble.validation_nll.tolist(),
        "best_epoch": ensemble.best_epoch.tolist(),
        "n_diverged": ensemble.n_diverged,
    }
    metadata = {"format": _FORMAT, "ensemble": json.dumps(description), "sha256": _digest(tensors)}
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file(tensors, partial, metadata=metadata)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_ensemble(path: Path) -> dict[str, Any]:
    """Arguments of `FlowEnsemble` from a file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not an ensemble or was damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if metadata.get("format") != _FORMAT:
            raise ValueError(f"its format is {metadata.get('format')!r}, not {_FORMAT!r}")
        if metadata["sha256"] != _digest(tensors):
            raise ValueError("its tensors differ from the digest they were written with")
        return _rebuild(json.loads(metadata["ensemble"]), tensors)
    except (SafetensorError, KeyError, TypeError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} is not a readable flow ensemble ({reason}): fit and save it again") from error


def _rebuild(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    config = FlowEnsembleConfig.from_dict(description["config"])
    target = {name: tensors[f"target.{name}"].numpy() for name in ("mean", "scale", "spread")}
    limits = TargetLimits(*(tensors[f"target.{name}"].numpy() for name in ("lower", "upper", "reach")))
    members = []
    for index, sizes in enumerate(description["members"]):
        own = replace(config, n_couplings=sizes["n_couplings"], hidden=sizes["hidden"])
        with torch.random.fork_rng(devices=[]):
            flow = make_member(own, len(target["mean"]), sizes["n_context"]).to(getattr(torch, config.dtype))
        prefix = f"{index}."
        flow.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        trained = flow.eval().requires_grad_(False)
        members.append(TrainedMember(trained, description["best_epoch"][index], description["validation_nll"][index]))
    context = {name.removeprefix("context."): v.numpy() for name, v in tensors.items() if name.startswith("context.")}
    return {
        "config": config,
        "context_scaling": ContextScaling(**context),
        "target_scaling": TargetScaling(**target, limits=limits),
        "members": members,
        "n_diverged": description["n_diverged"],
    }


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

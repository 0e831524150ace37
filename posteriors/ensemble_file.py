"""An ensemble as one safetensors file: weights and scalings as tensors, configuration and digest in the metadata."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from posteriors.config import FlowEnsembleConfig
from posteriors.flows import make_flow
from posteriors.scaling import ContextScaling, TargetScaling
from posteriors.training import TrainedMember

if TYPE_CHECKING:
    from posteriors.ensemble import FlowEnsemble

__all__ = ["read_ensemble", "write_ensemble"]

_FORMAT = "galaxybench flow ensemble, version 1"


def write_ensemble(ensemble: FlowEnsemble, path: Path) -> None:
    """Write the ensemble; the file appears under its name only when it is complete."""
    tensors = {
        "context.mean": torch.from_numpy(ensemble.context_scaling.mean),
        "context.matrix": torch.from_numpy(ensemble.context_scaling.matrix),
        "target.mean": torch.from_numpy(ensemble.target_scaling.mean),
        "target.scale": torch.from_numpy(ensemble.target_scaling.scale),
    }
    for index, member in enumerate(ensemble.members):
        tensors |= {f"{index}.{name}": value for name, value in member.state_dict().items()}
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    description = {
        "config": ensemble.config.to_dict(),
        "member_contexts": [member.n_context for member in ensemble.members],
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
    target_scaling = TargetScaling(tensors["target.mean"].numpy(), tensors["target.scale"].numpy())
    members = []
    for index, n_context in enumerate(description["member_contexts"]):
        with torch.random.fork_rng(devices=[]):
            flow = make_flow(config, len(target_scaling.mean), n_context).to(getattr(torch, config.dtype))
        prefix = f"{index}."
        flow.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        trained = flow.eval().requires_grad_(False)
        members.append(TrainedMember(trained, description["best_epoch"][index], description["validation_nll"][index]))
    return {
        "config": config,
        "context_scaling": ContextScaling(tensors["context.mean"].numpy(), tensors["context.matrix"].numpy()),
        "target_scaling": target_scaling,
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

"""An ensemble as one safetensors file: weights and scalings as tensors, configuration and digest in the metadata."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from posteriors.flows.backends import make_member
from posteriors.flows.config import FlowEnsembleConfig
from posteriors.flows.limits import TargetLimits
from posteriors.flows.pilots import Pilot
from posteriors.flows.scaling import ContextScaling, TargetScaling
from posteriors.flows.training import TrainedMember

__all__ = ["FittedEnsemble", "read_ensemble", "write_ensemble"]

_MEMBER_SIZES = ("n_context", "n_couplings", "hidden")
_FORMAT = "galaxybench flow ensemble, version 7"


@dataclass(frozen=True)
class FittedEnsemble:
    """What a fit has found, and a file holds.

    Attributes
    ----------
    config : how it was made, resolved.
    context_scaling, target_scaling : of the training rows.
    members : those that did not diverge twice.
    n_diverged : the number of the others.
    stacked_weights : (members,) with which the mixture has the lowest NLL on the validation rows.
    pilots : by which the open values of the configuration were chosen.
    """

    config: FlowEnsembleConfig
    context_scaling: ContextScaling
    target_scaling: TargetScaling
    members: Sequence[TrainedMember]
    n_diverged: int
    stacked_weights: NDArray[np.float64]
    pilots: Sequence[Pilot]


def write_ensemble(ensemble: FittedEnsemble, path: Path) -> None:
    """Write the ensemble; the file appears under its name only when it is complete."""
    tensors = {
        **{f"context.{name}": torch.from_numpy(v) for name, v in ensemble.context_scaling.arrays().items()},
        "target.mean": torch.from_numpy(ensemble.target_scaling.mean),
        "target.scale": torch.from_numpy(ensemble.target_scaling.scale),
        "target.spread": torch.from_numpy(ensemble.target_scaling.spread),
        "target.lower": torch.from_numpy(ensemble.target_scaling.limits.lower),
        "target.upper": torch.from_numpy(ensemble.target_scaling.limits.upper),
        "target.reach": torch.from_numpy(ensemble.target_scaling.limits.reach),
        "stacked_weights": torch.from_numpy(ensemble.stacked_weights),
    }
    for index, member in enumerate(ensemble.members):
        tensors |= {f"{index}.{name}": value for name, value in member.flow.state_dict().items()}
    tensors = {name: value.contiguous().cpu() for name, value in tensors.items()}
    description = {
        "config": ensemble.config.to_dict(),
        "members": [{name: getattr(member.flow, name) for name in _MEMBER_SIZES} for member in ensemble.members],
        "validation_nll": [member.validation_nll for member in ensemble.members],
        "best_epoch": [member.best_epoch for member in ensemble.members],
        "n_diverged": ensemble.n_diverged,
        "pilots": [pilot.to_dict() for pilot in ensemble.pilots],
    }
    metadata = {"format": _FORMAT, "ensemble": json.dumps(description), "sha256": _digest(tensors)}
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file(tensors, partial, metadata=metadata)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_ensemble(path: Path) -> FittedEnsemble:
    """The inverse of `write_ensemble`.

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


def _rebuild(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FittedEnsemble:
    config = FlowEnsembleConfig.from_dict(description["config"])
    target = {name: tensors[f"target.{name}"].numpy() for name in ("mean", "scale", "spread")}
    limits = TargetLimits(*(tensors[f"target.{name}"].numpy() for name in ("lower", "upper", "reach")))
    members = []
    for index, sizes in enumerate(description["members"]):
        own = replace(config, n_couplings=sizes["n_couplings"], hidden=sizes["hidden"])
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            flow = make_member(own, len(target["mean"]), sizes["n_context"]).to(getattr(torch, config.dtype))
        prefix = f"{index}."
        flow.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        trained = flow.eval().requires_grad_(False)
        members.append(TrainedMember(trained, description["best_epoch"][index], description["validation_nll"][index]))
    context = {name.removeprefix("context."): v.numpy() for name, v in tensors.items() if name.startswith("context.")}
    return FittedEnsemble(
        config,
        ContextScaling(**context),
        TargetScaling(**target, limits=limits),
        members,
        description["n_diverged"],
        tensors["stacked_weights"].numpy(),
        [Pilot(**pilot) for pilot in description["pilots"]],
    )


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

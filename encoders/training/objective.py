"""What the training loop asks of that which it trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

__all__ = ["Objective", "ParameterGroup", "require_every_parameter_once"]


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that are treated alike.

    Attributes
    ----------
    parameters : what is trained; each in one group only.
    lr_scale : factor on the learning rate.
    decay : whether weight decay applies.
    clip : gradients of the groups with one such name are clipped together, by their common norm.
    frozen_steps : steps for which the learning rate is 0.
    """

    parameters: list[nn.Parameter]
    lr_scale: float = 1.0
    decay: bool = True
    clip: str = "all"
    frozen_steps: int = 0


class Objective(Protocol):
    """What is trained: an ``nn.Module`` whose forward is the loss, so that DistributedDataParallel can wrap it.

    Losses are means over the galaxies of a batch, so that the mean over processes is the loss of the whole batch; every
    trainable parameter has part in the loss of every step.
    """

    def forward(self, batch: Tensor, *, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars: ``loss`` is minimised, further ones are logged; all that is drawn comes from ``generator``."""
        ...

    def parameter_groups(self) -> list[ParameterGroup]:
        """Every trainable parameter, once."""
        ...

    def after_step(self, step: int) -> None:
        """What follows the optimiser's step: the average of a teacher, centres."""
        ...

    def diagnostics(self, batch: Tensor, *, generator: torch.Generator) -> dict[str, float]:
        """Numbers about the present state on a batch that is the same every time, with the same draws."""
        ...


def require_every_parameter_once(objective: nn.Module, groups: Sequence[ParameterGroup]) -> None:
    """Check that the groups name every trainable parameter of an objective, and nothing else.

    Raises
    ------
    ValueError
        If a parameter is in no group or in two, or a group names one that is frozen or not of the objective.
    """
    grouped = [id(parameter) for group in groups for parameter in group.parameters]
    names = {id(parameter): name for name, parameter in objective.named_parameters() if parameter.requires_grad}
    for what, found in (
        ("in no group", [name for key, name in names.items() if key not in grouped]),
        ("in two groups", [name for key, name in names.items() if grouped.count(key) > 1]),
    ):
        if found:
            raise ValueError(f"{what}: {', '.join(found)}; parameter_groups must name every trained parameter once")
    if set(grouped) - set(names):
        raise ValueError("parameter_groups names a parameter that is frozen or not of the objective: leave it out")

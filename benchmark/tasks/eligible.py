"""Which of a survey's targets a task is about."""

from __future__ import annotations

from benchmark.contracts import Target

__all__ = ["every_target", "joint_targets"]


def every_target(targets: tuple[Target, ...]) -> tuple[str, ...]:
    """Names of all targets."""
    return tuple(target.name for target in targets)


def joint_targets(targets: tuple[Target, ...]) -> tuple[str, ...]:
    """Names of the default targets, over which posteriors are joint."""
    return tuple(target.name for target in targets if target.joint)

"""What is known of a survey before any of its galaxies is read, and what can be learned from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.contracts import SIMULATOR, Labels, Modality, Target

__all__ = ["SurveyFacts", "class_columns", "target_of"]


@dataclass(frozen=True)
class SurveyFacts:
    """What a plan needs to know of a survey.

    ``digest`` is empty for a survey that is not built yet; ``flavour`` is that in which this version of ``builder``
    made it, empty for surveys that came otherwise. ``uncertain`` names the targets whose labels have errors or draws,
    ``label_digest`` tells which.
    """

    name: str
    version: str
    digest: str
    modalities: tuple[Modality, ...]
    targets: tuple[Target, ...]
    n_galaxies: int
    votes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    flavour: str = ""
    builder: str = SIMULATOR
    uncertain: tuple[str, ...] = ()
    label_digest: str = ""

    def labels(self, kind: Labels) -> tuple[Target, ...]:
        """What a probe can learn: quantities; or a column ``<question>_<answer>`` for every answer of the votes; or a
        column ``<target>=<class>`` for every class.
        """
        if kind == "targets":
            return tuple(target for target in self.targets if not target.classes)
        if kind == "classes":
            return tuple(
                Target(name, low=0.0, high=1.0, ranked=target.ranked, joint=False)
                for target in self.targets
                for name in class_columns(target)
            )
        return tuple(
            Target(f"{question}_{answer}", low=0.0, high=1.0, ranked=False, joint=False)
            for question, answers in self.votes.items()
            for answer in answers
        )

    def ranked(self, kind: Labels, names: Sequence[str]) -> list[str]:
        """Questions, or targets among the columns ``names``, over which a score may be averaged."""
        if kind == "votes":
            return list(self.votes)
        columns = [target.name for target in self.labels(kind) if target.ranked and target.name in names]
        return columns if kind == "targets" else list(dict.fromkeys(target_of(column) for column in columns))


def class_columns(target: Target) -> tuple[str, ...]:
    """``<target>=<class>`` for every class: the columns in which probabilities of classes are kept."""
    return tuple(f"{target.name}={name}" for name in target.classes)


def target_of(column: str) -> str:
    """The target of a column of `class_columns`; neither it nor a class has a '=' in its name."""
    return column.partition("=")[0]

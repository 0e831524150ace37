"""What a run is asked to do, as frozen dataclasses that are written into every record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from benchmark.contracts import UsageError

__all__ = ["N_RESAMPLES", "PRESETS", "RECIPES", "HeadInputs", "Preset", "Recipe", "RunConfig", "store_folder"]

Recipe = Literal["default", "paper", "code"]
HeadInputs = Literal["raw", "standardised", "l2"]
RECIPES: tuple[Recipe, ...] = get_args(Recipe)

N_RESAMPLES = 10_000
"""Bootstrap resamples behind every interval."""


@dataclass(frozen=True)
class Preset:
    """Sizes of a run; a model's and a probe's own sizes stand on their cards under the preset's name.

    Attributes
    ----------
    name : ``smoke``, ``laptop`` or ``paper``.
    n_galaxies : size of a simulated survey.
    n_draws : posterior draws a galaxy.
    """

    name: str
    n_galaxies: int
    n_draws: int


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("smoke", n_galaxies=1_000, n_draws=250),
        Preset("laptop", n_galaxies=4_000, n_draws=1_000),
        Preset("paper", n_galaxies=20_000, n_draws=1_000),
    )
}


@dataclass(frozen=True)
class RunConfig:
    """The settings of a run that change its numbers.

    Attributes
    ----------
    preset : sizes and epochs.
    recipe : ``default`` (ours), ``paper`` (as the papers say), ``code`` (as the released code does).
    seed : first probe seed; a survey has its own.
    n_seeds : number of probe seeds, counted from ``seed``.
    n_labels : training galaxies a probe may see (few-shot), None for all.
    inputs : how a probe sees an embedding, None for the probe's own choice.
    """

    preset: str = "laptop"
    recipe: Recipe = "default"
    seed: int = 0
    n_seeds: int = 1
    n_labels: int | None = None
    inputs: HeadInputs | None = None

    def __post_init__(self) -> None:
        _one_of("--preset", self.preset, tuple(PRESETS))
        _one_of("--recipe", self.recipe, RECIPES)
        if self.inputs is not None:
            _one_of("--inputs", self.inputs, get_args(HeadInputs))
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"--seed {self.seed}: must be from 0 to 2147483647")
        if self.n_seeds < 1:
            raise UsageError(f"--seeds {self.n_seeds}: must be at least 1")
        if self.n_labels is not None and self.n_labels < 10:
            raise UsageError(f"--n-labels {self.n_labels}: must be at least 10 galaxies")

    @property
    def seeds(self) -> tuple[int, ...]:
        """The probe seeds of the run."""
        return tuple(range(self.seed, self.seed + self.n_seeds))


def store_folder(survey_name: str, preset: str) -> Path:
    """Where results go unless ``--out`` says otherwise."""
    return Path("runs") / f"{survey_name}-{preset}"


def _one_of(option: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise UsageError(f"{option} '{given}': must be one of {', '.join(allowed)}")

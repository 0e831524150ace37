"""An analytic problem as a survey folder: its inputs stand in the place of magnitudes, its parameters are the targets.

Nothing here is light: ``mag_x1 = 20 + 2 (x1 - centre) / spread`` puts a problem's first input where models of
photometry look, and the survey's facts say so.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from benchmark.analytic.problem import Array, Problem
from benchmark.analytic.problems import find_problem
from benchmark.contracts import Progress, Target, UsageError
from benchmark.data import Survey, SurveyInfo, hash_split, write_survey
from benchmark.data.writing import refuse_existing

__all__ = ["SURVEY_VERSION", "build_survey", "inputs_of_magnitudes", "magnitudes_of_inputs", "targets_of"]

SURVEY_VERSION = "1"
"""Raised whenever the same seed may give other galaxies."""

GALAXIES_PER_SEED = 10**9
MAX_SEED = 2**63 // GALAXIES_PER_SEED - 1
MAX_GALAXIES = 10**8
_BLOCK = 1_000  # galaxies that share a generator: any number of galaxies is a prefix of more
_MIDDLE, _STRETCH = 20.0, 2.0  # magnitudes and their spread


def targets_of(flavour: str) -> tuple[Target, ...]:
    """The targets of a problem's survey, ``theta1`` and so on."""
    problem = find_problem(flavour)
    low, high = problem.support or (None, None)
    return tuple(
        Target(f"theta{i + 1}", provenance=f"drawn with the problem '{flavour}'", low=low, high=high)
        for i in range(problem.n_targets)
    )


def magnitudes_of_inputs(problem: Problem, inputs: Array) -> Array:
    """A problem's inputs (n, n_inputs) as a survey's columns."""
    return _MIDDLE + _STRETCH * (inputs - problem.centre) / problem.spread


def inputs_of_magnitudes(problem: Problem, magnitudes: ArrayLike) -> Array:
    """The inverse of `magnitudes_of_inputs`."""
    return problem.centre + problem.spread * (np.asarray(magnitudes, dtype=np.float64) - _MIDDLE) / _STRETCH


def build_survey(
    folder: Path,
    n_galaxies: int = 4000,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    flavour: str,
) -> Survey:
    """Draw galaxies of a problem and write them as a survey folder.

    A galaxy follows from (seed, its number) alone: fewer galaxies are a prefix of more.

    Parameters
    ----------
    folder : where to, must not exist.
    n_galaxies : 1 to 10^8.
    seed : of the survey, from 0; ``target_id`` = seed * 10^9 + number.
    progress : called with (galaxies so far, n_galaxies).
    flavour : name of the problem, of `benchmark.analytic.PROBLEMS`.

    Raises
    ------
    UsageError
        A number is out of range, there is no such problem, or the folder may not be written to.
    """
    folder = Path(folder)
    refuse_existing(folder.absolute(), overwrite=False)
    problem = find_problem(flavour)
    if not 1 <= n_galaxies <= MAX_GALAXIES:
        raise UsageError(f"n_galaxies={n_galaxies}: 1 to {MAX_GALAXIES} galaxies can be drawn")
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"seed={seed}: 0 to {MAX_SEED} are allowed, as target_id = seed * 10^9 + number")
    inputs, target = _galaxies(problem, n_galaxies, seed, progress)
    target_id = seed * GALAXIES_PER_SEED + np.arange(n_galaxies, dtype=np.int64)
    bands = tuple(f"x{i + 1}" for i in range(problem.n_inputs))
    magnitudes = magnitudes_of_inputs(problem, inputs)
    targets = targets_of(flavour)
    columns: dict[str, NDArray] = {"target_id": target_id, "split": hash_split(target_id)}
    columns |= {f"mag_{band}": magnitudes[:, i] for i, band in enumerate(bands)}
    columns |= {target_.name: target[:, i] for i, target_ in enumerate(targets)}
    info = SurveyInfo(
        name=f"analytic-{flavour}",
        version=SURVEY_VERSION,
        targets=targets,
        photometry_bands=bands,
        licence="BSD-3-Clause",
        reference=problem.reference,
        simulated=True,
        facts={
            "problem": flavour,
            "summary": problem.summary,
            "seed": seed,
            "magnitudes": "no light: mag_x<i> = 20 + 2 (x_i - centre) / spread of the problem's inputs",
            "centre": problem.centre,
            "spread": problem.spread,
        },
    )
    return write_survey(folder, info, pd.DataFrame(columns))


def _galaxies(problem: Problem, n_galaxies: int, seed: int, progress: Progress | None) -> tuple[Array, Array]:
    name = zlib.crc32(problem.name.encode())
    blocks = []
    for number in range(-(-n_galaxies // _BLOCK)):
        blocks.append(problem.simulate(_BLOCK, np.random.default_rng([seed, name, number])))
        if progress is not None:
            progress(min((number + 1) * _BLOCK, n_galaxies), n_galaxies)
    inputs, target = (np.concatenate(parts)[:n_galaxies] for parts in zip(*blocks, strict=True))
    return inputs, target

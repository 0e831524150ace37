"""How far flow ensembles are from posteriors that are known exactly: the tables of docs/statistics.md.

    python tools/distance_from_truth.py --problems gaussian5,banana --recipes default,coupling
    python tools/distance_from_truth.py --problems two-moons,slcp,gaussian-mixture --recipes default --n 10000 \\
        --seeds 3 --c2st-draws 5000 --limits --peer
    python tools/distance_from_truth.py --problems two-moons --recipes default --n 10000 \\
        --fields '{"n_couplings": 6, "hidden": 64}'

A line is one fit: the gap is mean log p(truth) - log q(truth), paired over fresh galaxies, with its 95 % interval; C2ST
is the mean over galaxies that no fit has seen; the couplings are those that the fit's pilots chose, where they were
open. ``--peer`` adds sbi's NPE (neural spline flow, its defaults), where sbi is installed; ``--fields`` sets
fields of the `posteriors.FlowEnsembleConfig`. Each line is also written as JSON with ``--out``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.analytic import Problem, find_problem
from posteriors import FlowEnsemble, FlowEnsembleConfig
from posteriors.calibration.c2st import c2st

SLOW_DENSITY = {"slcp": 1_000}  # galaxies whose exact density is had in some ten seconds
FRESH_SEED = 10**6

Density = Callable[[np.ndarray, np.ndarray], np.ndarray]
Draw = Callable[[np.ndarray, int, int], np.ndarray]
Fit = tuple[Density, Draw, dict[str, Any]]


def fit_ensemble(
    problem: Problem, inputs: np.ndarray, target: np.ndarray, recipe: str, seed: int, options: argparse.Namespace
) -> Fit:
    """Log density, draws and pilots of a flow ensemble; a tenth of the rows chooses epochs."""
    bounds = [problem.support] * problem.n_targets if options.limits and problem.support else None
    config = FlowEnsembleConfig.from_dict({"recipe": recipe, **options.fields})
    flows = FlowEnsemble.fit(inputs, target, config=config, seed=seed, limits=bounds)
    facts = {"n_couplings": flows.config.n_couplings, "weight_decay": flows.config.weight_decay}
    facts["pilots"] = [pilot.to_dict() for pilot in flows.pilots]
    return flows.log_prob, lambda rows, n_draws, seed: flows.draw(rows, n_draws, seed), facts


def fit_peer(
    problem: Problem, inputs: np.ndarray, target: np.ndarray, recipe: str, seed: int, options: argparse.Namespace
) -> Fit:
    """Log density and draws of sbi's NPE with its default training; it is told the prior, and rejects beyond it."""
    from sbi.inference import NPE
    from sbi.utils import BoxUniform
    from torch.distributions import Independent, Normal

    torch.manual_seed(seed)
    t = problem.n_targets
    if problem.support:
        prior: Any = BoxUniform(*(torch.full((t,), edge) for edge in problem.support))
    else:
        prior = Independent(Normal(torch.tensor(target.mean(0)).float(), torch.tensor(target.std(0)).float()), 1)
    inference = NPE(prior=prior, density_estimator=recipe, show_progress_bars=False)
    x, theta = (torch.tensor(array, dtype=torch.float32) for array in (inputs, target))
    with contextlib.redirect_stdout(io.StringIO()):  # what it says of its convergence would break the table
        posterior = inference.append_simulations(theta, x).train()
    sampler = inference.build_posterior(posterior)

    def log_prob(fresh: np.ndarray, rows: np.ndarray) -> np.ndarray:
        theta, x = (torch.tensor(array, dtype=torch.float32) for array in (fresh, rows))
        with torch.no_grad():
            parts = zip(theta.split(10_000), x.split(10_000), strict=True)
            return torch.cat([posterior.log_prob(a[None], b)[0] for a, b in parts]).double().numpy()

    def draw(rows: np.ndarray, n_draws: int, seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        draws = [
            sampler.sample((n_draws,), x=torch.tensor(row, dtype=torch.float32)[None], show_progress_bars=False)
            for row in rows
        ]
        return torch.stack(draws, dim=1).numpy()

    return log_prob, draw, {}


FITS = {"nsf": fit_peer, "maf": fit_peer}


def measure(problem: Problem, recipe: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """One fit and its distances from the truth."""
    inputs, target = problem.simulate(options.n, np.random.default_rng([seed, 1]))
    began = time.process_time()
    log_prob, draw, facts = FITS.get(recipe, fit_ensemble)(problem, inputs, target, recipe, seed, options)
    fit_s = time.process_time() - began
    n_fresh = min(options.fresh, SLOW_DENSITY.get(problem.name, options.fresh))
    fresh_inputs, fresh_target = problem.simulate(n_fresh, np.random.default_rng([FRESH_SEED, 2]))
    gap = problem.log_prob(fresh_target, fresh_inputs) - log_prob(fresh_target, fresh_inputs)
    error = 1.96 * gap.std() / np.sqrt(n_fresh)
    found = {"problem": problem.name, "recipe": recipe, "fields": options.fields, "limits": options.limits}
    found |= {"n": options.n, "seed": seed, "fit_cpu_s": round(fit_s, 1), **facts}
    found |= {"gap": gap.mean(), "gap_low": gap.mean() - error, "gap_high": gap.mean() + error, "n_fresh": n_fresh}
    if options.c2st_draws:
        rows, _ = problem.simulate(options.c2st_galaxies, np.random.default_rng([FRESH_SEED, 3]))
        ours, exact = draw(rows, options.c2st_draws, seed), problem.draw(rows, options.c2st_draws, seed)
        accuracy = c2st(ours, exact, seed=seed)
        found |= {"c2st": accuracy.mean(), "c2st_each": accuracy.round(3).tolist(), "c2st_draws": options.c2st_draws}
    return found


def lines(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every problem, recipe and seed in turn."""
    recipes = options.recipes.split(",")
    if options.peer:
        if importlib.util.find_spec("sbi") is None:
            print("sbi is not installed: its lines are left out (pip install sbi)")
        else:
            recipes += ["nsf"]
    for name in options.problems.split(","):
        for recipe in recipes:
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                yield measure(find_problem(name), recipe, seed, options)


def main() -> None:
    """Print a line a fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", default="gaussian1,gaussian5,correlated5,heteroscedastic,two-modes,banana")
    parser.add_argument("--recipes", default="default,coupling", help="of posteriors.FlowEnsembleConfig")
    parser.add_argument("--n", type=int, default=20_000, help="simulations to learn from, validation included")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--fresh", type=int, default=100_000, help="galaxies of the gap")
    parser.add_argument("--c2st-draws", type=int, default=1_000, help="0: no C2ST")
    parser.add_argument("--c2st-galaxies", type=int, default=10)
    parser.add_argument("--limits", action="store_true", help="tell the ensemble the prior's box, as sbi is told it")
    parser.add_argument("--fields", type=json.loads, default={}, help="JSON of FlowEnsembleConfig's, for all recipes")
    parser.add_argument("--peer", action="store_true", help="also sbi's NPE")
    parser.add_argument("--out", type=Path, help="a file of JSON lines to add to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{'problem':17}{'recipe':10}{'seed':>4}{'gap [95 %]':>28}{'C2ST':>8}{'fit':>10}{'couplings':>11}", flush=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sbi's own dependencies
        for found in lines(options):
            report(found, options.out)


def report(found: dict[str, Any], out: Path | None) -> None:
    """Print a line, and add it to a file where one is named."""
    gap = f"{found['gap']:.4f} [{found['gap_low']:.4f}, {found['gap_high']:.4f}]"
    accuracy = f"{found['c2st']:.3f}" if "c2st" in found else "-"
    head = f"{found['problem']:17}{found['recipe']:10}{found['seed']:4}"
    print(f"{head}{gap:>28}{accuracy:>8}{found['fit_cpu_s']:8} s{found.get('n_couplings', '-'):>11}", flush=True)
    if out:
        with out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()

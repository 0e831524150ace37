"""How fast a self-supervised encoder trains on this machine: galaxies a second, FLOPs, memory, loss curve.

    python tools/training_throughput.py AstroDINO --survey surveys/simulated --minutes 1 --out /tmp/speed
    python tools/training_throughput.py AstroDINO --survey surveys/simulated --preset paper --minutes 5 \\
        --options '{"depth": 12, "batch_size": 256}' --peak-tflops 989 --out /tmp/half-depth

The second is half of AstroDINO's ViT-L; 989 is what the maker of an H100 gives for dense bfloat16. A few steps time a
step, then as many are trained as fit in the minutes; schedules span those steps. FLOPs are those of the matrix products
of one step, forward and backward, as PyTorch counts them; the share of the peak (model FLOPs utilisation, Chowdhery et
al. 2022, arXiv:2204.02311) is theirs over the steady time of a step. ``--out`` receives figures and loss curve.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark.contracts import GalaxybenchError
from benchmark.data import load_survey
from benchmark.registry import MODELS, resolve
from benchmark.training import galaxies

N_TRIAL_STEPS = 8


def encoder(model: str, preset: str, options: Mapping[str, Any], n_steps: int, n_rows: int = 20) -> Any:
    """An encoder that trains for ``n_steps`` steps, with some ``n_rows`` rows of its history."""
    given = {**MODELS[model].options[preset], **options, "n_steps": n_steps, "log_every": max(1, n_steps // n_rows)}
    if "n_warmup" in given:
        given["n_warmup"] = min(given["n_warmup"], n_steps)
    return resolve(MODELS[model].factory)(**given)


def step_flops(model: str, preset: str, options: Mapping[str, Any], inputs: Any) -> float:
    """Floating point operations of one training step's matrix products, two for a multiplication and an addition."""
    counts = []
    for n_steps in (1, 1 + N_TRIAL_STEPS):  # the difference leaves out what is looked at once, at the end
        counted = encoder(model, preset, options, n_steps, n_rows=1)
        # fused attention is not counted on every device, and repeats a product in its backward pass
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            counted.fit(inputs, seed=0)
        counts.append(counter.get_total_flops())
    return (counts[1] - counts[0]) / N_TRIAL_STEPS


def measure(model: str, preset: str, options: Mapping[str, Any], inputs: Any, minutes: float) -> tuple[dict, Any]:
    """The figures of a training of ``minutes``, and its history."""
    flops = step_flops(model, preset, options, inputs)
    trial = encoder(model, preset, options, N_TRIAL_STEPS)
    trial.fit(inputs, seed=0)
    cuda = trial.device.type == "cuda"
    n_steps = max(2 * N_TRIAL_STEPS, int(60 * minutes / _steady_step_s(trial.history)))
    del trial
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    trained = encoder(model, preset, options, n_steps)
    trained.fit(inputs, seed=0, progress=_progress if sys.stderr.isatty() else None)
    step_s, history = _steady_step_s(trained.history), trained.history
    figures = {
        "model": model,
        "preset": preset,
        "options": dict(options),
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "precision": history.precision,
        "n_parameters": history.n_parameters,
        "n_steps": n_steps,
        "batch_size": history.batch_size,
        "galaxies_per_s": history.batch_size / step_s,
        "step_s": step_s,
        "data_wait_share": history.facts()["data_wait_share"],
        "flops_per_galaxy": flops / history.batch_size,
        "tflops_per_s": flops / step_s / 1e12,
        "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
        "first_loss": history.rows[0]["loss"],
        "last_loss": history.rows[-1]["loss"],
    }
    return figures, history


def _steady_step_s(history: Any) -> float:
    """Seconds a step, without the first row: it holds what happens once."""
    rows = history.rows[1:]
    return sum(row["wall_s"] for row in rows) / (rows[-1]["step"] - history.rows[0]["step"])


def _progress(done: int, n_steps: int) -> None:
    print(f"\r{done} of {n_steps} steps", end="" if done < n_steps else "\n", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    trained = [card.name for card in MODELS if card.train_seconds]
    parser.add_argument("model", choices=trained)
    parser.add_argument("--survey", type=Path, required=True, help="folder of a survey")
    parser.add_argument("--preset", choices=("smoke", "laptop", "paper"), default="laptop")
    parser.add_argument("--options", type=json.loads, default={}, help="JSON object of options of the encoder")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--peak-tflops", type=float, help="what the device reaches at most, in TFLOP/s")
    parser.add_argument("--out", type=Path, help="folder for figures.json, loss.csv and loss.png")
    given = parser.parse_args(arguments)
    try:
        survey = load_survey(given.survey)
    except GalaxybenchError as error:
        parser.error(str(error))
    card = MODELS[given.model]
    seen = galaxies({"modality": card.modality, "images": card.images}, survey, survey.rows("train"))
    figures, history = measure(given.model, given.preset, given.options, seen, given.minutes)
    if given.peak_tflops:
        figures["share_of_peak"] = figures["tflops_per_s"] / given.peak_tflops
    print(json.dumps(figures, indent=1))
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
        history.to_csv(given.out / "loss.csv")
        history.plot(given.out / "loss.png")


if __name__ == "__main__":
    main()

"""Draw how calibrated a posterior of one target is, raw and recalibrated: from the store of a run to a PNG.

python tools/draw_posterior_calibration.py RUN MODEL FILE.png
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmark.artefacts import Posterior
from benchmark.store import Store, load_records
from benchmark.tasks.recalibration import recalibrated_draws
from posteriors.scores.density import pit_values

N_PIT_BINS = 20
KINDS = (("as it is", "#0072B2", "o", -0.06), ("recalibrated", "#D55E00", "s", 0.06))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("model")
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    score, evidence = _read(arguments.run, arguments.model)
    mended = recalibrated_draws(evidence)
    if mended is None:
        raise SystemExit(f"{arguments.model} has too few validation galaxies to recalibrate by")
    details = (score["details"], score["details"]["recalibrated"])
    draws = (evidence.draws, mended)
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.3), layout="constrained")
    for (kind, colour, marker, shift), each, drawn in zip(KINDS, details, draws, strict=True):
        curve = each["coverage_curve"]
        level, ecp, low, high = (np.array(curve[name]) for name in ("credibility", "ecp", "ecp_low", "ecp_high"))
        axes[0].plot(level, ecp - level, color=colour, label=kind)
        axes[0].fill_between(level, low - level, high - level, color=colour, alpha=0.15, linewidth=0)
        pit = pit_values(evidence.truth, drawn, seed=0)[:, 0]
        share = np.full(len(pit), N_PIT_BINS / len(pit))
        axes[1].hist(pit, N_PIT_BINS, range=(0, 1), weights=share, histtype="step", color=colour)
        bins = each["conditional"]["bins"]
        place = np.array([row["centre"] for row in bins]) + shift
        value = np.array([row["coverage_68"] for row in bins])
        ends = np.abs(np.array([[row["low"], row["high"]] for row in bins]).T - value)
        axes[2].errorbar(place, value, ends, color=colour, marker=marker, linestyle="none")
    reach = 1.96 * (N_PIT_BINS / len(evidence.truth)) ** 0.5
    axes[1].axhspan(1 - reach, 1 + reach, color="0.85", zorder=0)
    axes[0].axhline(0, color="0.4", linewidth=0.8)
    axes[1].axhline(1, color="0.4", linewidth=0.8)
    axes[2].axhline(0.68, color="0.4", linewidth=0.8)
    axes[0].set(xlabel="credibility", ylabel="TARP coverage − credibility", xlim=(0, 1))
    axes[1].set(xlabel="PIT", ylabel="density (grey: 95 % of calibrated bins)", xlim=(0, 1), ylim=(0.6, 1.4))
    axes[2].set(xlabel=details[0]["conditional"]["by"], ylabel="coverage of 68 %", ylim=(0.58, 0.78))
    axes[0].legend(frameon=False)
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.file, dpi=110)


def _read(run: Path, model: str) -> tuple[dict[str, Any], Posterior]:
    """The scored record of a model's posterior, and the posterior itself."""
    for record in load_records(run):
        if (record["task"]["name"], record["model"]["name"], record["status"]) == ("posterior", model, "done"):
            return record, Posterior.read(Store(run).checked_artefact(record["needs"][0]))
    raise SystemExit(f"{run} has no scored posterior of {model}")


if __name__ == "__main__":
    main()

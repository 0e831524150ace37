"""The values that each recipe of a flow ensemble gives to what a configuration leaves open."""

from __future__ import annotations

from typing import Any, Literal

__all__ = ["DECAYS", "RECIPES", "SIZES", "Recipe", "Size"]

Recipe = Literal["default", "coupling", "paper", "code"]
Size = Literal["small", "large"]

# What the training rows of a fit decide for ``default``: posteriors.flows.pilots
SIZES: dict[Size, dict[str, Any]] = {
    # tuned on the validation NLL of the simulated survey's embeddings and photometry: docs/performance.md
    "small": {"n_couplings": 2, "hidden": 32, "epochs": 30, "learning_rate": 1.5e-2, "max_steps": 1_500},
    # found on two-moons and gaussian-mixture: docs/statistics.md
    "large": {"n_couplings": 6, "hidden": 64, "epochs": 60, "learning_rate": 5e-3, "max_steps": 4_000},
}
DECAYS = (0.1, 1.0)  # the first is right for few rows, and for many where the density is far from a Gaussian

RECIPES: dict[str, dict[str, Any]] = {
    "default": {
        "backend": "stacked",
        "tail_bound": 5.0,
        "patience": 0,
        "average": True,
        "shared_batches": False,
    },
    "coupling": {
        "backend": "stacked",
        "n_couplings": 3,
        "hidden": 64,
        "tail_bound": 5.0,
        "epochs": 100,
        "learning_rate": 2e-3,
        "weight_decay": 0.0,
        "max_steps": 10_000,
        "patience": 4,
        "average": False,
        "shared_batches": True,
    },
    # Parker et al. 2024, appendix B6; what the text leaves open (batch, rate, bound, blocks) is ours
    "paper": {
        "backend": "stacked",
        "n_couplings": (3, 6),
        "hidden": (32, 128),
        "tail_bound": 5.0,
        "epochs": 500,
        "batch_size": 128,
        "learning_rate": 5e-4,
        "weight_decay": 0.0,
        "max_steps": 1_000_000,
        "patience": 20,
        "average": False,
        "shared_batches": False,
    },
    # posterior_estimation.py of AstroCLIP's repository, commit 9d85069
    "code": {
        "backend": "pyro",
        "n_couplings": (2, 3),
        "hidden": (16, 32),
        "tail_bound": 3.0,
        "epochs": 25,
        "batch_size": 128,
        "learning_rate": 5e-4,
        "weight_decay": 0.0,
        "max_steps": 1_000_000,
        "patience": 5,
        "average": False,
        "shared_batches": False,
    },
}

"""Metrics of the board: the functions, and in the modules of this folder the facts about each."""

from benchmark.metrics.probabilities import brier, roc_auc
from posteriors.scores import (
    accuracy,
    balanced_accuracy,
    bias,
    crps,
    energy_score,
    f1_weighted,
    outlier_fraction,
    r2,
    rmse,
    sigma_nmad,
)

__all__ = [
    "accuracy",
    "balanced_accuracy",
    "bias",
    "brier",
    "crps",
    "energy_score",
    "f1_weighted",
    "outlier_fraction",
    "r2",
    "rmse",
    "roc_auc",
    "sigma_nmad",
]

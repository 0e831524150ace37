"""Scores of predictions and densities, each with its form for resampling. Numpy only."""

from posteriors.scores.classification import accuracy, balanced_accuracy, f1_weighted
from posteriors.scores.density import (
    cde_loss_per_galaxy,
    central_coverage,
    crps,
    crps_per_galaxy,
    energy_score,
    energy_score_per_galaxy,
    nll_member_mean,
    nll_mixture,
    nll_per_dim,
    pit_values,
    sharpness_per_galaxy,
)
from posteriors.scores.point import bias, outlier_fraction, r2, rmse, sigma_nmad
from posteriors.scores.resampling import (
    POINT_SCORES,
    BoundScore,
    DerivedScore,
    MomentScore,
    OrderScore,
    mean_of_scores,
    mean_over_galaxies,
)

__all__ = [
    "POINT_SCORES",
    "BoundScore",
    "DerivedScore",
    "MomentScore",
    "OrderScore",
    "accuracy",
    "balanced_accuracy",
    "bias",
    "cde_loss_per_galaxy",
    "central_coverage",
    "crps",
    "crps_per_galaxy",
    "energy_score",
    "energy_score_per_galaxy",
    "f1_weighted",
    "mean_of_scores",
    "mean_over_galaxies",
    "nll_member_mean",
    "nll_mixture",
    "nll_per_dim",
    "outlier_fraction",
    "pit_values",
    "r2",
    "rmse",
    "sharpness_per_galaxy",
    "sigma_nmad",
]

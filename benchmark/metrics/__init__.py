"""Metrics of the board: the functions, and in the modules of this folder the facts about each."""

from posteriors.scores import bias, crps, energy_score, outlier_fraction, r2, rmse, sigma_nmad

__all__ = ["bias", "crps", "energy_score", "outlier_fraction", "r2", "rmse", "sigma_nmad"]

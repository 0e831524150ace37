"""Metrics of class predictions."""

from benchmark.contracts import MetricCard

__all__ = ["METRICS"]

METRICS = (
    MetricCard("accuracy", "higher", "share of galaxies whose class is right; a constant reaches the prevalence"),
    MetricCard("f1_weighted", "higher", "F1 of each class, averaged by true counts; a constant reaches 2p^2/(1+p)"),
    MetricCard("balanced_accuracy", "higher", "mean recall of the classes that occur; a constant reaches 1/classes"),
)

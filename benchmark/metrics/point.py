"""Metrics of point predictions."""

from benchmark.contracts import MetricCard

__all__ = ["METRICS"]

METRICS = (
    MetricCard("r2", "higher", "coefficient of determination, 1 - residual / total sum of squares on the test split"),
    MetricCard(
        "r2_ceiling",
        "higher",
        "R2 of labels drawn anew within their errors against the labels: that of a prediction that knows the truth",
    ),
    MetricCard("rmse", "lower", "root of the mean squared residual", unit="of the target"),
    MetricCard("sigma_nmad", "lower", "1.4826 x median |dz - median dz|, dz = (z_predicted - z) / (1 + z)"),
    MetricCard("bias", "zero", "median of dz = (z_predicted - z) / (1 + z)"),
    MetricCard("outlier_fraction", "lower", "share of galaxies with |dz| > 0.15"),
)

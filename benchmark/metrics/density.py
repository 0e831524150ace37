"""Metrics of posteriors: density, width and calibration."""

from benchmark.contracts import MetricCard

__all__ = ["METRICS"]

METRICS = (
    MetricCard("nll_mixture", "lower", "mean -log p(truth) of the members' mixture, joint over targets", unit="nat"),
    MetricCard(
        "nll_stacked",
        "lower",
        "nll_mixture with members weighted as the validation galaxies like best; not ranked",
        unit="nat",
    ),
    MetricCard("nll_member_mean", "lower", "mean over members of their mean -log p(truth), joint", unit="nat"),
    MetricCard(
        "nll_per_dim",
        "lower",
        "member mean of the joint -log p(truth) of z-scored targets, divided by their number (papers' column)",
        unit="nat",
    ),
    MetricCard(
        "nll_ceiling",
        "lower",
        "mean entropy of the labels' errors, joint over targets: -log p(truth) of a posterior that knows the truth",
        unit="nat",
    ),
    MetricCard("crps", "lower", "continuous ranked probability score of the draws", unit="of the target"),
    MetricCard("energy_score", "lower", "CRPS of all targets together, each in units of its training spread"),
    MetricCard(
        "cde_loss",
        "lower",
        "integral of the squared joint density less twice the density at the truth, in z-scored targets; no zero point",
    ),
    MetricCard(
        "sharpness_68",
        "lower",
        "mean width of the central 68 % interval; of calibrated posteriors",
        unit="of the target",
    ),
    MetricCard("coverage_68", "nominal", "share of truths inside the central 68 % interval of the draws", nominal=0.68),
    MetricCard("coverage_95", "nominal", "share of truths inside the central 95 % interval of the draws", nominal=0.95),
    MetricCard(
        "pit_ks", "lower", "largest distance of the PIT values' distribution from the uniform one", interval="band"
    ),
    MetricCard(
        "hpd_ks",
        "lower",
        "largest distance of the truths' ranks in joint density among draws from the uniform distribution",
        interval="band",
    ),
    MetricCard(
        "tarp_p",
        "higher",
        "TARP: p-value of a Kolmogorov-Smirnov test of the credibilities against U(0, 1); low = miscalibrated",
        interval="references",
    ),
    MetricCard(
        "tarp_width_p",
        "higher",
        "TARP: p-value of a test of the credibilities' variance; low = too narrow or too wide",
        interval="references",
    ),
    MetricCard(
        "nll_gap",
        "lower",
        "mean -log p(truth) less that of the reference: exact and joint in validity; of one target at a time, both by "
        "kernels from draws, in reference",
        unit="nat",
    ),
    MetricCard(
        "c2st",
        "lower",
        "accuracy with which networks tell draws from exact ones, mean over some galaxies; 0.5: they cannot",
    ),
    MetricCard(
        "crps_gap", "lower", "continuous ranked probability score less that of the reference", unit="of the target"
    ),
    MetricCard(
        "reference_ks",
        "lower",
        "mean over galaxies of the KS distance between marginal draws and those of the reference, less that of equals",
    ),
)

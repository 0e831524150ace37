"""Figures of the galaxies themselves: redshift, mass, colours, sizes, star formation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.simulator.flavours import SOUTH

from .populations import RED_SLOPE, main_sequence, shen2003_early, shen2003_late, two_sequences
from .style import BLUE, GREY, PURPLE, VERMILLION, cloud, running

__all__ = [
    "colour_colour",
    "colour_magnitude",
    "detrended",
    "locus",
    "population",
    "red_sequence",
    "sequences",
    "sizes",
]

Frames = Mapping[str, pd.DataFrame]

SLICES = ((0.05, 0.15), (0.15, 0.25), (0.25, 0.35), (0.35, 0.45))
LOCUS = (0.5, 0.8, 1.1, 1.4)
SIMULATED, ZCOSMOS, STRIPE82 = "simulated", "zCOSMOS", "SDSS Stripe 82"


def population(frame: pd.DataFrame, real: Frames) -> Figure:
    """Redshifts beside zCOSMOS under the same selection, masses by type, and the star-forming sequence."""
    figure = Figure(figsize=(9.2, 3.0), layout="constrained")
    redshift, mass, sequence = figure.subplots(1, 3)
    bins = np.arange(0, 0.62, 0.04)
    redshift.hist(frame["z"], bins, density=True, color=BLUE, alpha=0.35, label=SIMULATED)
    if ZCOSMOS in real:
        z, weight = bgs_selected(real[ZCOSMOS])
        redshift.hist(z, bins, weights=weight, density=True, histtype="step", color=VERMILLION, linewidth=1.5)
        redshift.plot([], [], color=VERMILLION, label=f"zCOSMOS, {len(z)} galaxies")
    redshift.axvline(0.2, color=GREY, linestyle=":", label="median of DESI's survey, ~.2")
    redshift.set(xlabel="redshift", ylabel="density", ylim=(0, 8.5))
    redshift.legend()
    quiescent = frame["quiescent"].to_numpy()
    for rows, colour, name in ((~quiescent, BLUE, "star-forming"), (quiescent, VERMILLION, "quiescent")):
        mass.hist(frame["log10_mstar"][rows], np.arange(8, 12.01, 0.125), histtype="step", color=colour, label=name)
        cloud(sequence, frame["log10_mstar"][rows], frame["log10_ssfr"][rows], colour)
    mass.set(xlabel="log10 M*", ylabel="galaxies")
    mass.legend(loc="upper left")
    near = ~quiescent & (frame["z"] < 0.25).to_numpy()
    edges = np.arange(8.5, 11.6, 0.5)
    running(sequence, frame["log10_mstar"][near], frame["log10_ssfr"][near], edges, "black", "star-forming, z < .25")
    line = np.linspace(8.5, 11.5, 20)
    sequence.plot(line, main_sequence(line), color="black", linestyle="--", label="Salim et al. 2007")
    sequence.set(xlabel="log10 M*", ylabel="log10 sSFR / yr", ylim=(-13.2, -8.6))
    sequence.legend(loc="lower left")
    return figure


def bgs_selected(galaxies: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Redshifts and weights of galaxies under the survey's selection: 1 to r = 19.5, .35 to 20.175; z < .6."""
    r, z = galaxies["r"].to_numpy(), galaxies["z"].to_numpy()
    kept = (r < SOUTH.faint_limit) & (z < SOUTH.z_max)
    return z[kept], np.where(r[kept] < SOUTH.complete_limit, 1.0, SOUTH.faint_fraction)


def colour_magnitude(frame: pd.DataFrame, real: Frames) -> Figure:
    """g-r against r, simulated and real."""
    return _planes(
        frame, real, "r", "gr", {"xlabel": "r", "ylabel": "g - r", "xlim": (15.5, 20.6), "ylim": (-0.1, 2.1)}
    )


def colour_colour(frame: pd.DataFrame, real: Frames) -> Figure:
    """r-z against g-r, simulated and real."""
    limits = {"xlabel": "g - r", "ylabel": "r - z", "xlim": (-0.1, 2.1), "ylim": (-0.3, 1.5)}
    return _planes(frame, real, "gr", "rz", limits)


def _planes(frame: pd.DataFrame, real: Frames, x: str, y: str, settings: dict[str, object]) -> Figure:
    samples = {SIMULATED: frame, **real}
    figure = Figure(figsize=(3.1 * len(samples), 3.0), layout="constrained")
    panels = figure.subplots(1, len(samples), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (name, galaxies), colour in zip(panels, samples.items(), (BLUE, VERMILLION, PURPLE), strict=False):
        shown = galaxies[(galaxies["r"] < SOUTH.faint_limit) & (galaxies["z"] < SOUTH.z_max)]
        cloud(axes, shown[x], shown[y], colour)
        _contours(axes, frame[x], frame[y])
        axes.set(**settings)
        axes.set_title(f"{name}, r < 20.175, {min(len(shown), 4000)} shown")
        axes.label_outer()
    return figure


def _contours(axes: Axes, x: pd.Series, y: pd.Series) -> None:
    """Lines around 50 and 90 % of the simulated galaxies, to compare with in each panel."""
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=40)
    smooth = counts.copy()
    for axis in (0, 1, 0, 1):
        smooth = np.apply_along_axis(np.convolve, axis, smooth, [0.25, 0.5, 0.25], mode="same")
    ordered = np.sort(smooth.ravel())[::-1]
    levels = [ordered[np.searchsorted(np.cumsum(ordered), share * ordered.sum())] for share in (0.9, 0.5)]
    middle = [(edges[1:] + edges[:-1]) / 2 for edges in (x_edges, y_edges)]
    axes.contour(*middle, smooth.T, levels=levels, colors="black", linewidths=0.7)


def detrended(galaxies: pd.DataFrame, low: float, high: float) -> np.ndarray:
    """g-r of galaxies with low < z < high and r < 20.175, moved along the red sequence's slope to the middle z."""
    rows = (galaxies["z"] > low) & (galaxies["z"] < high) & (galaxies["r"] < SOUTH.faint_limit)
    some = galaxies[rows]
    return (some["gr"] - RED_SLOPE * (some["z"] - (low + high) / 2)).to_numpy()


def sequences(samples: Frames) -> pd.DataFrame:
    """Red and blue sequence of each sample in each slice of redshift, one row a pair; at least 60 galaxies."""
    rows = []
    for name, galaxies in samples.items():
        for low, high in SLICES:
            colour = detrended(galaxies, low, high)
            colour = colour[(colour > -0.5) & (colour < 2.5)]
            if len(colour) >= 60:
                rows.append({"sample": name, "z": (low + high) / 2, "n": len(colour), **vars(two_sequences(colour))})
    return pd.DataFrame(rows)


def locus(samples: Frames) -> pd.DataFrame:
    """Median r-z and half its central 68 % at a given g-r, in each slice of redshift: one row a sample and slice."""
    rows = []
    for name, galaxies in samples.items():
        for low, high in SLICES:
            some = galaxies[(galaxies["z"] > low) & (galaxies["z"] < high) & (galaxies["r"] < SOUTH.faint_limit)]
            row: dict[str, object] = {"sample": name, "z": (low + high) / 2}
            for colour in LOCUS:
                there = some["rz"][(some["gr"] - colour).abs() < 0.1]
                low_rz, middle, high_rz = np.quantile(there, (0.16, 0.5, 0.84)) if len(there) > 15 else (np.nan,) * 3
                row |= {f"at {colour}": middle, f"width {colour}": (high_rz - low_rz) / 2}
            rows.append(row)
    return pd.DataFrame(rows)


def red_sequence(frame: pd.DataFrame, real: Frames) -> Figure:
    """Distributions of g-r in four slices of redshift, the change of colour with redshift within a slice taken out."""
    figure = Figure(figsize=(9.2, 2.8), layout="constrained")
    bins = np.arange(-0.2, 2.31, 0.06)
    for axes, (low, high) in zip(figure.subplots(1, len(SLICES), sharex=True), SLICES, strict=True):
        samples = {SIMULATED: frame, **real}
        for (name, galaxies), colour in zip(samples.items(), (BLUE, VERMILLION, PURPLE), strict=False):
            filled = {"color": colour, "alpha": 0.35} if name == SIMULATED else {"color": colour, "histtype": "step"}
            axes.hist(detrended(galaxies, low, high), bins, density=True, **filled)
        axes.set_title(f"{low:.2f} < z < {high:.2f}")
        axes.set(xlabel="g - r", yticks=[])
    figure.axes[0].set_ylabel("density")
    for name, colour in zip((SIMULATED, *real), (BLUE, VERMILLION, PURPLE), strict=False):
        figure.axes[-1].plot([], [], color=colour, label=name)
    figure.axes[-1].legend(loc="upper left", fontsize=7)
    return figure


def sizes(frame: pd.DataFrame) -> Figure:
    """Half-light radius against stellar mass at z < .25, beside Shen et al. 2003."""
    figure = Figure(figsize=(6.8, 3.1), layout="constrained")
    near = (frame["z"] < 0.25).to_numpy()
    quiescent = frame["quiescent"].to_numpy()
    line = np.linspace(8.5, 11.7, 50)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    kinds = (("star-forming", ~quiescent, BLUE, shen2003_late), ("quiescent", quiescent, VERMILLION, shen2003_early))
    for axes, (name, kind, colour, relation) in zip(panels, kinds, strict=True):
        rows = near & kind
        cloud(axes, frame["log10_mstar"][rows], frame["radius_kpc"][rows], colour)
        running(axes, frame["log10_mstar"][rows], frame["radius_kpc"][rows], np.arange(8.5, 11.8, 0.4), "black", name)
        kind_name = "late" if relation is shen2003_late else "early"
        axes.plot(line, relation(line), color="black", linestyle="--", label=f"Shen et al. 2003, {kind_name} types")
        axes.set(yscale="log", xlabel="log10 M*", ylabel="half-light radius in r, kpc", ylim=(0.3, 40))
        axes.legend(loc="upper left")
        axes.label_outer()
    return figure

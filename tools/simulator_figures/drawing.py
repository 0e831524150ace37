"""All figures by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmark.data import Survey
from benchmark.simulator import simulate

from . import galaxies, images, real, sky, spectral
from .sample import Sample

__all__ = ["FIGURES", "figures", "quoted_numbers", "samples"]

N_CLUSTERING = 20_000
FIGURES = (
    *("population", "colour_magnitude", "colour_colour", "red_sequence", "sizes", "bpt", "signal_to_noise", "dn4000"),
    *("votes", "clustering", "mosaic", "noise_power"),
)

Picture = Figure | NDArray[np.float64]


def samples(survey: Survey, folder: Path | None) -> dict[str, pd.DataFrame]:
    """The simulated galaxies with their truth and what their spectra show, and real ones where ``folder`` is given."""
    found = {galaxies.SIMULATED: spectral.with_spectra(Sample(survey).frame, survey)}
    if folder is not None:
        found |= {galaxies.ZCOSMOS: real.zcosmos(folder), galaxies.STRIPE82: real.stripe82(folder)}
    return found


def figures(
    survey: Survey, galaxy_samples: dict[str, pd.DataFrame], folder: Path | None, n_clustering: int = N_CLUSTERING
) -> dict[str, Callable[[], Picture]]:
    """Name of each figure -> what draws it.

    Parameters
    ----------
    survey : simulated, with images and spectra.
    galaxy_samples : what `samples` returned.
    folder : real data, or None for simulated galaxies alone.
    n_clustering : galaxies of the same seed, without pixels, for correlation functions.
    """
    frame = galaxy_samples[galaxies.SIMULATED]
    catalogues = {name: rows for name, rows in galaxy_samples.items() if name != galaxies.SIMULATED}

    def clustering() -> Figure:
        wide = simulate(n_clustering, int(survey.info.facts["seed"])).frame
        return sky.clustering(sky.correlations(wide))

    return {
        "population": lambda: galaxies.population(frame, catalogues),
        "colour_magnitude": lambda: galaxies.colour_magnitude(frame, catalogues),
        "colour_colour": lambda: galaxies.colour_colour(frame, catalogues),
        "red_sequence": lambda: galaxies.red_sequence(frame, catalogues),
        "sizes": lambda: galaxies.sizes(frame),
        "bpt": lambda: spectral.bpt(frame),
        "signal_to_noise": lambda: spectral.signal_to_noise(frame, None if folder is None else real.desi_snr(folder)),
        "dn4000": lambda: spectral.break_strength(frame),
        "votes": lambda: images.votes(frame),
        "clustering": clustering,
        "mosaic": lambda: images.mosaic(frame, survey, folder),
        "noise_power": lambda: images.noise_power(survey, folder),
    }


def quoted_numbers(galaxy_samples: dict[str, pd.DataFrame]) -> str:
    """Numbers that the text beside the figures quotes, a table or line each."""
    frame = galaxy_samples[galaxies.SIMULATED]
    quiescent = frame["quiescent"].to_numpy()
    lines = [galaxies.sequences(galaxy_samples).round(3).to_string(index=False)]
    lines.append(galaxies.locus(galaxy_samples).round(2).to_string(index=False))
    for column in ("z", "log10_mstar"):
        lines.append(f"{column}: {frame[column].quantile([0.01, 0.16, 0.5, 0.84, 0.99]).round(2).tolist()}")
    if galaxies.ZCOSMOS in galaxy_samples:
        z, weight = galaxies.bgs_selected(galaxy_samples[galaxies.ZCOSMOS])
        order = np.argsort(z)
        cumulative = np.cumsum(weight[order]) / weight.sum()
        lines.append(
            f"z of zCOSMOS, 16, 50, 84 %: {np.interp((0.16, 0.5, 0.84), cumulative, z[order]).round(2).tolist()}"
        )
    near = frame["z"].to_numpy() < 0.25
    for name, rows, relation, sequence in (
        ("star-forming", near & ~quiescent, galaxies.shen2003_late, galaxies.main_sequence),
        ("quiescent", near & quiescent, galaxies.shen2003_early, None),
    ):
        some = frame[rows]
        mass = some["log10_mstar"]
        offset = {"log10 size by Shen et al. 2003": np.log10(some["radius_kpc"] / relation(mass))}
        if sequence is not None:
            offset["sSFR by Salim et al. 2007"] = some["log10_ssfr"] - sequence(mass)
        for what, values in offset.items():
            table = values.groupby(mass.round(0)).agg(["median", "std", "size"]).round(2)
            lines.append(f"{name}: {what}, by log10 M*\n{table.to_string()}")
    kinds = spectral.line_ratios(frame)["kind"].to_numpy()
    for name, rows in (("star-forming", ~quiescent), ("quiescent", quiescent)):
        shares = np.bincount(kinds[rows], minlength=3) / max(rows.sum(), 1)
        lines.append(f"{name}: star-forming, composite, active lines {shares.round(2).tolist()}")
        lines.append(f"{name}: Dn4000 {frame['dn4000'][rows].quantile([0.16, 0.5, 0.84]).round(2).tolist()}")
    return "\n".join(lines)

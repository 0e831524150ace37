"""Figures of what spectra show: emission-line ratios, signal to noise, the break at 4000 A."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmark.data import Survey

from .spectra import abundance_sequence, bpt_class, dn4000, kauffmann2003, kewley2001, median_snr
from .style import BLUE, GREEN, PURPLE, VERMILLION, cloud, running

__all__ = ["bpt", "break_strength", "line_ratios", "signal_to_noise", "with_spectra"]

SPECTRA_AT_ONCE = 500


def with_spectra(frame: pd.DataFrame, survey: Survey) -> pd.DataFrame:
    """The frame with ``snr`` (median a pixel), ``snr_red`` (of 5800-7600 A) and ``dn4000_noisy`` of the spectra."""
    wave, flux, ivar = survey.wave_angstrom, survey.spectra, survey.spectra_ivar
    if wave is None or flux is None or ivar is None:
        raise ValueError(f"{survey.folder}: the survey has no spectra; build one that has")
    red = (wave > 5800) & (wave < 7600)
    parts: list[dict[str, np.ndarray]] = []
    z = frame["z"].to_numpy()
    for start in range(0, len(frame), SPECTRA_AT_ONCE):
        rows = slice(start, start + SPECTRA_AT_ONCE)
        some, weight = np.asarray(flux[rows], np.float64), np.asarray(ivar[rows], np.float64)
        columns = {"snr": median_snr(some, weight), "snr_red": median_snr(some[:, red], weight[:, red])}
        parts.append({**columns, "dn4000_noisy": dn4000(wave, some, z[rows])})
    return frame.assign(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def line_ratios(frame: pd.DataFrame) -> pd.DataFrame:
    """log10 [NII]6585/H-alpha and [OIII]5008/H-beta as emitted behind dust, with the class they fall into."""
    x = np.log10(frame["line_NII_6585"] / frame["line_Halpha"]).to_numpy()
    y = np.log10(frame["line_OIII_5008"] / frame["line_Hbeta"]).to_numpy()
    return pd.DataFrame({"nii": x, "oiii": y, "kind": bpt_class(x, y)}, index=frame.index)


def bpt(frame: pd.DataFrame) -> Figure:
    """[OIII]/H-beta against [NII]/H-alpha, true values, of star-forming and of quiescent galaxies."""
    ratio = line_ratios(frame)
    quiescent = frame["quiescent"].to_numpy()
    figure = Figure(figsize=(6.8, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, rows, name in zip(panels, (~quiescent, quiescent), ("star-forming", "quiescent"), strict=True):
        some = ratio[rows]
        for kind, colour in enumerate((BLUE, GREEN, VERMILLION)):
            cloud(axes, some["nii"][some["kind"] == kind], some["oiii"][some["kind"] == kind], colour)
        x = np.linspace(-1.8, 0.4, 400)
        for curve, style, label in (
            (kauffmann2003, "--", "Kauffmann et al. 2003"),
            (kewley2001, "-", "Kewley et al. 2001"),
            (abundance_sequence, ":", "ridge in SDSS (Kewley et al. 2013)"),
        ):
            y = curve(x)
            axes.plot(x[y > -1.6], y[y > -1.6], color="black", linestyle=style, linewidth=1, label=label)
        shares = np.bincount(some["kind"], minlength=3) / max(len(some), 1)
        low, middle, high = (f"{100 * share:.0f}" for share in shares)
        axes.set_title(f"{name}: {low} / {middle} / {high} %")
        axes.set(
            xlim=(-1.8, 0.5), ylim=(-1.3, 1.3), xlabel="log10 [NII] 6585 / H-alpha", ylabel="log10 [OIII] 5008 / H-beta"
        )
        axes.label_outer()
    panels[1].legend(loc="lower left", fontsize=6.5)
    return figure


def signal_to_noise(frame: pd.DataFrame, desi: tuple[float, float] | None) -> Figure:
    """S/N of spectra against r and against r in the fibre, and errors of the photometry against r."""
    figure = Figure(figsize=(9.2, 3.0), layout="constrained")
    total, fibre, errors = figure.subplots(1, 3)
    cloud(total, frame["r"], frame["snr"], BLUE)
    running(total, frame["r"], frame["snr"], np.arange(16, 20.3, 0.5), "black", "median, 16-84 %")
    total.set(yscale="log", xlim=(15, 20.4), ylim=(0.2, 30), xlabel="r", ylabel="median S/N a pixel of .8 A")
    total.legend()
    cloud(fibre, frame["fibre_mag"], frame["snr_red"], BLUE)
    running(fibre, frame["fibre_mag"], frame["snr_red"], np.arange(17, 22.1, 0.5), "black")
    if desi is not None:
        fibre.plot(*desi, "*", color=VERMILLION, markersize=12, label="a DESI galaxy, scaled to 180 s")
        fibre.legend()
    fibre.set(yscale="log", ylim=(0.2, 30), xlabel="r in the fibre", ylabel="median S/N, 5800-7600 A")
    for band, colour in zip("grz", (BLUE, GREEN, PURPLE), strict=True):
        running(errors, frame["r"], frame[f"mag_err_{band}"], np.arange(16, 20.3, 0.5), colour, band)
    errors.set(xlabel="r", ylabel="error of a magnitude", ylim=(0, None))
    errors.legend(loc="lower right")
    return figure


def break_strength(frame: pd.DataFrame) -> Figure:
    """Narrow 4000 A break before noise: its distribution, against mass, and as noisy spectra have it."""
    good = frame[np.isfinite(frame["dn4000"])]
    quiescent = good["quiescent"].to_numpy()
    figure = Figure(figsize=(9.2, 3.0), layout="constrained")
    counts, mass, noisy = figure.subplots(1, 3)
    for rows, colour, name in ((~quiescent, BLUE, "star-forming"), (quiescent, VERMILLION, "quiescent")):
        counts.hist(good["dn4000"][rows], np.arange(0.9, 2.4, 0.04), histtype="step", color=colour, label=name)
        cloud(mass, good["log10_mstar"][rows], good["dn4000"][rows], colour)
        cloud(noisy, good["dn4000"][rows], good["dn4000_noisy"][rows], colour)
    for peak in (1.3, 1.85):
        counts.axvline(peak, color="black", linestyle=":")
    counts.plot([], [], color="black", linestyle=":", label="peaks in SDSS")
    counts.set(xlabel="Dn4000", ylabel="galaxies")
    counts.legend()
    running(mass, good["log10_mstar"], good["dn4000"], np.arange(8.5, 11.8, 0.4), "black")
    mass.axvline(10.5, color="black", linestyle=":")
    mass.set(xlabel="log10 M*", ylabel="Dn4000", ylim=(0.9, 2.4))
    noisy.plot([0.9, 2.4], [0.9, 2.4], color="black", linewidth=0.8)
    noisy.set(xlabel="Dn4000 before noise", ylabel="with noise", xlim=(0.9, 2.4), ylim=(0.5, 3.5))
    return figure

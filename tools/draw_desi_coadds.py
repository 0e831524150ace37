"""The picture of docs/surveys.md of a DESI coadd and its lines: ``python tools/draw_desi_coadds.py DIR OUT``.

DIR is the survey that ``configs/surveys/desi_coadds.toml`` makes, OUT the PNG. The cameras' limits are those of the
files: B to 5800 A, R from 5760 to 7620 A, Z from 7520 A on.
"""

from __future__ import annotations

import sys

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmark.data import load_survey

TARGET_ID = 39633345008634465
OVERLAPS = ((5760.0, 5800.0, "B and R"), (7520.0, 7620.0, "R and Z"))
# vacuum wavelengths in Angstrom (classic.sdss.org/dr7/algorithms/linestable.php; NIST for the doublets)
WINDOWS = (
    (3700.0, 3760.0, {"[O II] 3727": 3727.09, "[O II] 3730": 3729.88}),
    (4845.0, 5025.0, {"H beta": 4862.68, "[O III] 4960": 4960.30, "[O III] 5008": 5008.24}),
    (
        6540.0,
        6750.0,
        {"[N II]": 6549.85, "H alpha": 6564.61, "[N II] ": 6585.27, "[S II]": 6718.29, "[S II] ": 6732.67},
    ),
)


def main(folder: str, path: str) -> None:
    survey = load_survey(folder)
    row = int(np.flatnonzero(survey.target_id == TARGET_ID)[0])
    assert survey.wave_angstrom is not None
    assert survey.spectra is not None
    assert survey.spectra_ivar is not None
    z, wave, flux = float(survey.catalogue["z"][row]), survey.wave_angstrom, survey.spectra[row]
    error = np.sqrt(1 / survey.spectra_ivar[row])
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplot_mosaic([["all"] * 3, ["0", "1", "2"]])
    draw(axes["all"], wave, flux, error)
    axes["all"].set_title(f"TARGETID {TARGET_ID}, redrock z = {z:.5f}: {len(wave)} pixels, 3600 + 0.8 i Å", loc="left")
    for low, high, cameras in OVERLAPS:
        axes["all"].axvspan(low, high, color="#56B4E9", alpha=0.4, linewidth=0)
        axes["all"].annotate(cameras, (high + 15, 0.8 * flux.max()), fontsize=8)
    for number, (low, high, lines) in enumerate(WINDOWS):
        axis, inside = axes[str(number)], (wave > low * (1 + z)) & (wave < high * (1 + z))
        draw(axis, wave[inside], flux[inside], error[inside], steps=True)
        axis.set_ylim(top=1.35 * flux[inside].max())
        for name, rest in lines.items():
            axis.axvline(rest * (1 + z), color="#D55E00", linewidth=0.8, zorder=0.5)
            place = axis.get_xaxis_transform()
            axis.annotate(
                name.strip(), (rest * (1 + z), 0.98), xycoords=place, fontsize=7, rotation=90, va="top", ha="right"
            )
    figure.supxlabel("observed wavelength [Å]", fontsize=9)
    figure.supylabel("flux density [1e-17 erg/s/cm²/Å]", fontsize=9)
    figure.savefig(path, dpi=100)


def draw(axis: Axes, wave: NDArray, flux: NDArray, error: NDArray, *, steps: bool = False) -> None:
    style = {"step": "mid"} if steps else {}
    axis.fill_between(wave, flux - error, flux + error, color="0.8", linewidth=0, **style)
    axis.plot(wave, flux, color="black", linewidth=0.7, drawstyle="steps-mid" if steps else "default")
    axis.set_xlim(wave[0], wave[-1])
    axis.tick_params(labelsize=8)


if __name__ == "__main__":
    main(*sys.argv[1:])

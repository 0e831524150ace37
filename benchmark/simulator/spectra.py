"""Spectra of simulated galaxies as DESI's spectrographs take them: 7781 pixels of .8 A from 3600 to 9824 A.

Stars are summed at the templates' full resolution (R ~ 1800 from rest 3622 A on, 20 A below, sampled in steps of 20 A
below 2150 A, which flavours beyond z = .67 reach), bulge and disc behind
their own dust and through their own share of the fibre, then widened by their motions, redshifted and sampled;
f_lambda = L_lambda / (4 pi d_L^2 (1 + z)). Emission lines are Gaussians of the gas's dispersion and the instrument's
width of .78 A, which enter with the disc's share. `exposure` adds noise and calibration error.

A galaxy's spectrum does not depend, bit for bit, on which others are asked for with it: each is summed by itself over
the two metallicities that bracket its own, and blocks for the FFT are filled up to sixteen with copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.interpolate import interp1d

from benchmark.simulator import cosmology
from benchmark.simulator.candidates import Candidates
from benchmark.simulator.dust import BIRTH_CLOUD_GYR, V_ANGSTROM, calzetti
from benchmark.simulator.exposure import expose
from benchmark.simulator.fibre import fibre_shares
from benchmark.simulator.kinematics import C_KM_S, Kinematics, broaden, draw_kinematics
from benchmark.simulator.latents import STREAMS, Block
from benchmark.simulator.lines import L_SUN, WAVES
from benchmark.simulator.pack import TemplatePack
from benchmark.simulator.photometry import MPC_CM

__all__ = ["N_WAVE", "WAVE_ANGSTROM", "WAVE_START", "WAVE_STEP", "noiseless_spectra", "simulate_spectra"]

Array = NDArray[np.float64]
Spectra = NDArray[np.float32]
Aperture = Literal["fibre", "total"]

WAVE_START, WAVE_STEP, N_WAVE = 3600.0, 0.8, 7781
WAVE_ANGSTROM: Array = WAVE_START + WAVE_STEP * np.arange(N_WAVE, dtype=np.float64)
INSTRUMENT_ANGSTROM = 0.78  # standard deviation of an unresolved line
LINE_REACH = 6.0  # standard deviations
FLUX_UNIT = 1e-17  # erg/s/cm2/A
GALAXIES_AT_ONCE = 16  # a multiple of the float32 numbers in any vector register
FINE_ANGSTROM = 2150.0  # where the templates' finer part begins
REST_PIXELS = 6912  # at least: to 10560 A from there on
MARGIN = 0.015  # of the blue end in ln wavelength: the widest galaxy's five dispersions and more

_DRAWS = (
    *("dispersion", "gas_dispersion", "sky_level"),
    *("calibration_level", "calibration_slope", "calibration_curve"),
)


def simulate_spectra(drawn: Candidates, pack: TemplatePack) -> tuple[Spectra, Spectra]:
    """Observed spectra of candidates, each the same in whatever company.

    Parameters
    ----------
    drawn : the galaxies.
    pack : the templates that they were drawn with.

    Returns
    -------
    Flux and inverse variance, (n, 7781) float32 each, in 1e-17 erg/s/cm2/A at `WAVE_ANGSTROM`; every pixel is valid.
    """
    flux, ivar = np.empty((len(drawn), N_WAVE), np.float32), np.empty((len(drawn), N_WAVE), np.float32)
    for rows, clean in _clean_blocks(drawn, pack, "fibre"):
        block = exposure_block(drawn.take(rows))
        flux[rows], ivar[rows] = expose(block, drawn.seed, clean, WAVE_ANGSTROM, pack.sky_lines, drawn.flavour)
    return flux, ivar


def noiseless_spectra(drawn: Candidates, pack: TemplatePack, *, aperture: Aperture = "fibre") -> Spectra:
    """What `simulate_spectra` adds noise to, (n, 7781): of the light in the fibre or, scaled alike, of all light.

    Through ``aperture="total"`` the photometry of a spectrum is that of the catalogue before noise.
    """
    flux = np.empty((len(drawn), N_WAVE), np.float32)
    for rows, clean in _clean_blocks(drawn, pack, aperture):
        flux[rows] = clean
    return flux


def spectrum_block(drawn: Candidates) -> Block:
    """The random numbers of candidates for the motions that their spectra show."""
    return _block(drawn, STREAMS["spectrum"])


def exposure_block(drawn: Candidates) -> Block:
    """The random numbers of candidates for the exposures of their spectra, pixel noise apart."""
    return _block(drawn, drawn.flavour.stream(STREAMS["spectrum"]))


def _block(drawn: Candidates, stream: int) -> Block:
    candidate = drawn.block.candidate
    first, last = int(candidate.min()), int(candidate.max())
    return Block(drawn.seed, first, last - first + 1, stream=stream, names=_DRAWS).take(candidate - first)


def _clean_blocks(drawn: Candidates, pack: TemplatePack, aperture: Aperture) -> Iterator[tuple[NDArray, Spectra]]:
    """Rows of some of the galaxies, and their spectra without noise."""
    for start in range(0, len(drawn), GALAXIES_AT_ONCE):
        rows = np.arange(start, min(start + GALAXIES_AT_ONCE, len(drawn)))
        some = drawn.take(np.pad(rows, (0, GALAXIES_AT_ONCE - len(rows)), mode="edge"))
        kinematics = draw_kinematics(spectrum_block(some), some.latents)
        yield rows, _clean_block(some, kinematics, pack, aperture)[: len(rows)]


@dataclass(frozen=True, eq=False)
class _RestTemplates:
    """The templates on a grid even in log10 wavelength.

    ``old`` and ``young`` are (n_metal, n_age, n_pixels) Lsun/A; young stars sit behind birth clouds.
    """

    log10_start: float
    log10_step: float
    old: Spectra
    young: Spectra
    n_young: int
    attenuation: Spectra  # (n_pixels,) of Calzetti's law, by that in V
    log_wave: Spectra  # ln(wave / V)


@lru_cache(maxsize=4)
def _rest_templates(pack: TemplatePack, z_max: float) -> _RestTemplates:
    """Templates out to where a spectrum begins at ``z_max``: finer pixels as they are, coarser ones interpolated."""
    first = int(np.searchsorted(pack.wave_angstrom, FINE_ANGSTROM * (1 - 1e-9)))
    step = np.log10(pack.wave_angstrom[first + 1] / pack.wave_angstrom[first])
    bluest = WAVE_START / (1 + z_max) * np.exp(-MARGIN)
    needed = max(int(np.ceil(np.log10(FINE_ANGSTROM / bluest) / step)), 0)
    n_pixels = next_fast_len(REST_PIXELS + needed, real=True)
    fine = slice(first, first + n_pixels - needed)
    below = pack.wave_angstrom[first] * 10.0 ** (-step * np.arange(needed, 0, -1))
    wave = np.concatenate([below, pack.wave_angstrom[fine]])
    n_young = int(np.sum(pack.age_gyr < BIRTH_CLOUD_GYR))
    coarse = interp1d(pack.wave_angstrom[: first + 1], pack.luminosity[..., : first + 1])(below).astype(np.float32)
    luminosity = np.concatenate([coarse, pack.luminosity[..., fine]], axis=-1)
    return _RestTemplates(
        log10_start=float(np.log10(wave[0])),
        log10_step=float(np.log10(wave[-1] / wave[0]) / (n_pixels - 1)),
        old=np.ascontiguousarray(luminosity[:, n_young:]),
        young=np.ascontiguousarray(luminosity[:, :n_young]),
        n_young=n_young,
        attenuation=(calzetti(wave) / calzetti(np.array(V_ANGSTROM))).astype(np.float32),
        log_wave=np.log(wave / V_ANGSTROM).astype(np.float32),
    )


def _clean_block(drawn: Candidates, kinematics: Kinematics, pack: TemplatePack, aperture: Aperture) -> Spectra:
    shares = np.ones((len(drawn), 2)) if aperture == "total" else fibre_shares(drawn.latents)
    templates = _rest_templates(pack, drawn.flavour.z_max)
    stars = _rest_stars(drawn, shares, templates)
    pixel_km_s = np.log(10) * templates.log10_step * C_KM_S
    flux = _redshifted(broaden(stars, kinematics.stars, pixel_km_s), drawn.latents.z, templates)
    _add_lines(flux, drawn, kinematics.gas, shares[:, 1])
    return flux


def _rest_stars(drawn: Candidates, shares: Array, templates: _RestTemplates) -> Spectra:
    """Stars (n, n_pixels) at rest wavelengths, behind dust and through the aperture, in units of observed flux."""
    n, n_young = len(drawn), templates.n_young
    distance_cm = cosmology.luminosity_distance_mpc(drawn.latents.z) * MPC_CM
    received = L_SUN / (4 * np.pi * distance_cm**2 * (1 + drawn.latents.z)) / FLUX_UNIT
    formed = drawn.history.formed * (shares * (10.0**drawn.latents.log10_mstar * received)[:, None])[..., None]
    nodes = drawn.metallicity.node_weights
    old = _weighted_sum(nodes, formed[..., n_young:], templates.old)
    young = _weighted_sum(nodes, formed[..., :n_young], templates.young)

    slope = drawn.dust.slope.astype(np.float32)[:, None]
    exponent = np.float32(-0.4 * np.log(10)) * templates.attenuation * np.exp(slope * templates.log_wave)
    a_v, a_v_birth = drawn.dust.a_v.astype(np.float32), drawn.dust.a_v_birth.astype(np.float32)[:, None]
    in_cloud = np.exp(a_v_birth * exponent)
    total = np.zeros((n, len(templates.log_wave)), np.float32)
    for component in (0, 1):
        emitted = old[:, component] + young[:, component] * in_cloud
        total += emitted * np.exp(a_v[:, component, None] * exponent)
    return total


def _weighted_sum(node_weights: Array, formed: Array, templates: Spectra) -> Spectra:
    """(n, 2, m): templates (n_metal, n_age, m) summed with the masses formed (n, 2, n_age) at the metallicities.

    Row by row, as a product of matrices would round a row by its place among the others.
    """
    total = np.empty((*formed.shape[:2], templates.shape[2]), np.float32)
    lower = np.minimum((node_weights > 0).argmax(axis=-1), templates.shape[0] - 2)
    pair = np.take_along_axis(node_weights, np.stack([lower, lower + 1], axis=-1), axis=-1)
    weights = (pair[..., None] * formed[:, :, None, :]).astype(np.float32)
    for row in np.ndindex(*formed.shape[:2]):
        two = templates[lower[row] : lower[row] + 2]
        np.matmul(weights[row].ravel(), two.reshape(-1, two.shape[2]), out=total[row])
    return total


def _redshifted(rest: Spectra, z: Array, templates: _RestTemplates) -> Spectra:
    """Spectra (n, 7781) at the pixels of the spectrograph, linear between the templates' pixels."""
    pixel = (np.log10(WAVE_ANGSTROM) - templates.log10_start - np.log10(1 + z)[:, None]) / templates.log10_step
    left = pixel.astype(np.intp)
    upper = (pixel - left).astype(np.float32)
    low = np.take_along_axis(rest, left, axis=1)
    return low + upper * (np.take_along_axis(rest, left + 1, axis=1) - low)


def _add_lines(flux: Spectra, drawn: Candidates, gas_km_s: Array, shares: Array) -> None:
    """Add the emission lines to ``flux`` (n, 7781): of all galaxies one line after another."""
    z = drawn.latents.z
    distance_cm = cosmology.luminosity_distance_mpc(z) * MPC_CM
    received = drawn.line_luminosity * (shares / (4 * np.pi * distance_cm**2) / FLUX_UNIT)[:, None]
    rows = np.arange(len(z))[:, None]
    for i, wave in enumerate(WAVES):
        centre = wave * (1 + z)
        sigma = np.hypot(gas_km_s / C_KM_S * centre, INSTRUMENT_ANGSTROM)
        reach = int(np.ceil(LINE_REACH * sigma.max() / WAVE_STEP)) + 1
        middle = np.rint((centre - WAVE_START) / WAVE_STEP).astype(np.intp)
        columns = middle[:, None] + np.arange(-reach, reach + 1)
        offset = (WAVE_START + WAVE_STEP * columns - centre[:, None]) / sigma[:, None]
        profile = np.exp(-0.5 * offset**2) * (received[:, i] / (np.sqrt(2 * np.pi) * sigma))[:, None]
        seen = (np.abs(offset) < LINE_REACH) & (columns >= 0) & (columns < N_WAVE)
        np.add.at(flux, (np.broadcast_to(rows, columns.shape)[seen], columns[seen]), profile[seen].astype(np.float32))

"""From the spectrum that enters a fibre to the one that a survey publishes: noise, calibration error, inverse variance.

The noise of a pixel has the variance sky^2 + .10 sky max(f, 0): the sky's own, and the source's photons. The sky's
standard deviation follows a table in wavelength (blue throughput and the ends of the three arms), is raised at the
night sky's emission lines by sqrt(1 + 3.5 brightness), 4.5 times at the strongest, and differs by .06 dex from galaxy
to galaxy (exposure time, moon, airmass).

The flux calibration of each spectrum is off by a factor 1 + a + b x + c (x^2 - .33), x = (wavelength - 6700) / 3100,
with a, b, c = N(0, .05), N(0, .03), N(0, .02). It multiplies flux and noise alike; the inverse variance knows the noise
alone.

The published inverse variance takes the source's share from the noisy spectrum, the mean of four neighbouring pixels,
as a pipeline must: were it computed from the true spectrum, a model could read that from it without noise. The pixel
itself is left out, or high pixels would have low weights.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from benchmark.simulator.flavours import SOUTH, Flavour
from benchmark.simulator.latents import STREAMS, Block

__all__ = ["calibration_factor", "expose", "inverse_variance", "pixel_noise", "sky_sigma"]

Array = NDArray[np.float64]
Spectra = NDArray[np.float32]

SKY_NODES = {  # Angstrom -> standard deviation of a .8 A pixel between sky lines, 1e-17 erg/s/cm2/A
    3600: 4.2,
    3800: 2.6,
    4200: 1.7,
    4800: 1.25,
    5700: 1.05,
    5900: 1.15,
    6500: 0.95,
    7400: 0.95,
    7800: 0.9,
    8500: 0.85,
    9300: 1.05,
    9824: 1.5,
}
SKY_LINE_VARIANCE = 3.5
SOURCE_NOISE = 0.10
SKY_LEVEL_DEX = 0.06
NEIGHBOURS = np.array([0.25, 0.25, 0.0, 0.25, 0.25], np.float32)


def sky_sigma(block: Block, wave_angstrom: Array, sky_lines: Spectra, flavour: Flavour = SOUTH) -> Spectra:
    """Standard deviation (n, m) of the sky in 1e-17 erg/s/cm2/A, of the candidates of ``block``."""
    between = np.interp(wave_angstrom, list(SKY_NODES), list(SKY_NODES.values()))
    typical = between * np.sqrt(1 + SKY_LINE_VARIANCE * sky_lines)
    level = flavour.spectrum_noise * 10.0 ** block.normal("sky_level", scatter=SKY_LEVEL_DEX)
    return (level[:, None] * typical).astype(np.float32)


def noise_variance(flux: Spectra, sky: Spectra, flavour: Flavour = SOUTH) -> Spectra:
    """Variance (n, m) of the noise on a flux (n, m) under a sky of standard deviation ``sky``.

    Both parts fall with the exposure time, the square of ``flavour.spectrum_noise``.
    """
    source = np.maximum(flux, np.float32(0))
    return np.asarray(sky * (sky + np.float32(SOURCE_NOISE * flavour.spectrum_noise) * source), np.float32)


def pixel_noise(seed: int, candidate: NDArray[np.int64], n_wave: int, flavour: Flavour = SOUTH) -> Spectra:
    """Standard Gaussian numbers (n, n_wave); each galaxy has its own counter, so that its company changes nothing.

    The counters lie 2^64 apart and far from those of the stream's `Block`.
    """
    noise = np.empty((len(candidate), n_wave), np.float32)
    key = (flavour.stream(STREAMS["spectrum"]) << 64) | seed
    for row, number in zip(noise, candidate, strict=True):
        bits = np.random.Philox(key=key, counter=(int(number) + 1) << 64)
        np.random.Generator(bits).standard_normal(out=row, dtype=np.float32)
    return noise


def calibration_factor(block: Block, wave_angstrom: Array) -> Spectra:
    """What each spectrum (n, m) is multiplied by because its flux calibration is off."""
    x = (wave_angstrom - 6700.0) / 3100.0
    level, slope, curve = (block.normal(f"calibration_{name}")[:, None] for name in ("level", "slope", "curve"))
    return np.asarray(1 + 0.05 * level + 0.03 * slope * x + 0.02 * curve * (x**2 - 0.33), np.float32)


def inverse_variance(noisy: Spectra, sky: Spectra, flavour: Flavour = SOUTH) -> Spectra:
    """Inverse variance (n, m) as estimated from a noisy flux (n, m) before its calibration."""
    smooth = correlate1d(noisy, NEIGHBOURS, axis=1, mode="nearest")
    return np.reciprocal(noise_variance(smooth, sky, flavour))


def expose(
    block: Block, seed: int, flux: Spectra, wave_angstrom: Array, sky_lines: Spectra, flavour: Flavour = SOUTH
) -> tuple[Spectra, Spectra]:
    """Published flux and inverse variance, (n, m) each.

    Parameters
    ----------
    block : of the stream ``spectrum``; its candidates are the rows of ``flux``.
    seed : the survey's.
    flux : (n, m) that entered the fibre, 1e-17 erg/s/cm2/A.
    wave_angstrom : (m,) of the pixels.
    sky_lines : (m,) of the template pack.
    flavour : whose noise it is.
    """
    sky = sky_sigma(block, wave_angstrom, sky_lines, flavour)
    noise = np.sqrt(noise_variance(flux, sky, flavour)) * pixel_noise(seed, block.candidate, flux.shape[1], flavour)
    noisy = np.asarray(flux + noise, np.float32)
    factor = calibration_factor(block, wave_angstrom)
    ivar = inverse_variance(noisy, sky, flavour) / factor**2
    return np.asarray(noisy * factor, np.float32), np.asarray(ivar, np.float32)

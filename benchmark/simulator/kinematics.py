"""Motions of stars and gas, and how they widen a spectrum.

The velocity dispersion of the stars follows the mass and the bulge's share of it,

    log10 sigma = 2.05 + .27 (log10 M* - 10.5) + .12 B/T + N(0, .07),  45 to 380 km/s,

close to the Faber-Jackson relation of SDSS early types and its extension to discs seen through a fibre (Hyde & Bernardi
2009, MNRAS 394, 1978); the gas moves a little less, sigma_gas = sigma 10^N(-.12, .10).

Spectra are widened on a logarithmic grid, where a dispersion is one width for all wavelengths, by FFT. The templates
have about 70 km/s already (R ~ 1800), so sqrt(sigma^2 - 60^2) is added: below 60 km/s spectra stay as they are, and no
absorption line is sharper than the templates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from benchmark.simulator.latents import Block, Latents

__all__ = ["C_KM_S", "TEMPLATE_KM_S", "Kinematics", "broaden", "draw_kinematics"]

Array = NDArray[np.float64]

C_KM_S = 299792.458
TEMPLATE_KM_S = 60.0
SLOWEST, FASTEST = 45.0, 380.0


@dataclass(frozen=True, eq=False)
class Kinematics:
    """Velocity dispersions of n galaxies, km/s, (n,) each.

    Attributes
    ----------
    stars : 45 to 380.
    gas : of the emission lines.
    """

    stars: Array
    gas: Array


def draw_kinematics(block: Block, latents: Latents) -> Kinematics:
    """Dispersions of the candidates of ``block``, which is of the stream ``spectrum``."""
    log10_sigma = 2.05 + 0.27 * (latents.log10_mstar - 10.5) + 0.12 * latents.bulge_fraction
    stars = np.clip(10.0 ** block.normal("dispersion", log10_sigma, 0.07), SLOWEST, FASTEST)
    return Kinematics(stars=stars, gas=stars * 10.0 ** block.normal("gas_dispersion", -0.12, 0.10))


def broaden(spectra: NDArray[np.float32], stars_km_s: Array, pixel_km_s: float) -> NDArray[np.float32]:
    """Spectra of stars at rest, widened by their motions.

    Parameters
    ----------
    spectra : (n, m) on a grid even in the logarithm of wavelength; treated as periodic, so that the first and last
        5 sigma of pixels are not to be used.
    stars_km_s : (n,) dispersions, those of the templates included.
    pixel_km_s : width of a pixel.
    """
    pixels = np.sqrt(np.maximum(stars_km_s**2 - TEMPLATE_KM_S**2, 0.0)) / pixel_km_s
    frequency = fft.rfftfreq(spectra.shape[1])
    damping = np.exp(-2 * (np.pi * pixels[:, None] * frequency) ** 2).astype(np.float32)
    return fft.irfft(fft.rfft(spectra, axis=1) * damping, n=spectra.shape[1], axis=1)

"""Emission lines: hydrogen recombination from the ionising photons, metals from empirical ratios.

L(Ha) = 1.367e-12 erg (case B, 10^4 K: Kennicutt 1998, ARA&A 36, 189) times the share of the ionising photons Q(H0)
that dust inside the HII regions leaves to the gas. That share is below .5 in the regions of nearby spirals (Inoue 2001,
AJ 122, 1788, astro-ph/0106520); .6 is taken here, which
brings equivalent widths of H-alpha to 20-50 A along the star-forming sequence (all photons: twice too much).

Metal lines follow the gas metallicity 12 + log10(O/H) = 8.79 + .45 [M/H] with .08 dex scatter; [NII] as in Marino et
al. 2013 (A&A 559, A114, eq. 4), [OIII], [OII] and [SII] as polynomials that trace the star-forming sequence, with one
Gaussian number u a galaxy for the scatter along it. Active and LINER-like galaxies shift the logarithms of the ratios
linearly towards fixed values. Old stars add H-alpha of about .7 A equivalent width (Cid Fernandes et al. 2011, MNRAS
413, 1687). [SIII] 9071 is .06 of H-alpha.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from benchmark.simulator.dust import Dust
from benchmark.simulator.latents import Block, Latents
from benchmark.simulator.metallicity import Metallicity
from benchmark.simulator.pack import TemplatePack
from benchmark.simulator.sfh import History

__all__ = ["HALPHA_PER_PHOTON", "LINES", "LineTemplates", "draw_lines"]

Array = NDArray[np.float64]

HALPHA_PER_PHOTON = 1.367e-12  # erg
IONISING_SHARE = 0.6  # of the photons meet gas, the others dust
L_SUN = 3.828e33  # erg/s

LINES: dict[str, float] = {  # vacuum wavelength, Angstrom
    "OII_3727": 3727.1,
    "OII_3730": 3729.9,
    "NeIII_3870": 3870.0,
    "Hdelta": 4102.9,
    "Hgamma": 4341.7,
    "Hbeta": 4862.7,
    "OIII_4960": 4960.3,
    "OIII_5008": 5008.2,
    "HeI_5877": 5877.2,
    "NII_6550": 6549.9,
    "Halpha": 6564.6,
    "NII_6585": 6585.3,
    "SII_6718": 6718.3,
    "SII_6733": 6732.7,
    "SIII_9071": 9071.1,
    "SIII_9533": 9533.2,
}
WAVES = np.array(list(LINES.values()))
AGN_RATIOS = {"nii_halpha": 1.1, "oiii_hbeta": 2.2, "oii_hbeta": 4.0, "sii_halpha": 0.9}


class LineTemplates:
    """What the lines need from the pack, per template: ionising photons, and the continuum at H-alpha in erg/s/A."""

    def __init__(self, pack: TemplatePack) -> None:
        near_halpha = (np.abs(pack.wave_angstrom - LINES["Halpha"]) < 80) & (
            np.abs(pack.wave_angstrom - LINES["Halpha"]) > 25
        )
        self.ionising_rate = pack.ionising_rate
        self.continuum = pack.luminosity[..., near_halpha].mean(axis=-1, dtype=np.float64) * L_SUN


def draw_lines(
    block: Block,
    latents: Latents,
    history: History,
    metallicity: Metallicity,
    dust: Dust,
    templates: LineTemplates,
) -> Array:
    """Luminosities (n, 16) in erg/s of the lines in `LINES`, behind the disc's and the birth clouds' dust."""
    mstar = 10.0**latents.log10_mstar
    weights = (metallicity.node_weights[..., None] * history.formed[:, :, None, :]).sum(axis=1)
    photons = mstar * np.sum(weights * templates.ionising_rate, axis=(1, 2))
    continuum = mstar * np.sum(weights * templates.continuum, axis=(1, 2))
    old_width = 0.7 * 10.0 ** block.normal("old_star_lines", scatter=0.35)
    halpha = HALPHA_PER_PHOTON * IONISING_SHARE * photons + old_width * continuum
    emitted = halpha[:, None] * _relative_to_halpha(block, latents, metallicity)
    screen = (dust.a_v[:, 1] + dust.a_v_birth)[:, None] * dust.curve(WAVES)
    return emitted * 10.0 ** (-0.4 * screen)


def _relative_to_halpha(block: Block, latents: Latents, metallicity: Metallicity) -> Array:
    """(n, 16) intrinsic line ratios to H-alpha."""
    oxygen = block.normal("oxygen", 8.79 + 0.45 * metallicity.component[:, 1], 0.08)
    u = block.normal("line_ratios")
    x = np.clip(oxygen - 8.7, -0.9, 0.8)
    log10_ratio = {
        "nii_halpha": np.clip((oxygen - 8.743) / 0.462 - 0.1 * u, -2.2, -0.3),
        "oiii_hbeta": -0.35 - 1.6 * x - 0.6 * x**2 + 0.25 * u,
        "oii_hbeta": 0.42 - 0.9 * np.clip(oxygen - 8.6, -0.3, 0.6) - 0.1 * u,
        "sii_halpha": -0.5 - 0.15 * u - 0.2 * (oxygen - 8.6),
    }
    mix = _agn_mix(block, latents)
    ratio = {k: 10.0 ** ((1 - mix) * v + mix * np.log10(AGN_RATIOS[k])) for k, v in log10_ratio.items()}
    one = np.ones_like(u)
    hbeta = one / 2.86
    oii, oiii = ratio["oii_hbeta"] * hbeta, ratio["oiii_hbeta"] * hbeta
    nii, sii = ratio["nii_halpha"], ratio["sii_halpha"]
    by_line = {
        "OII_3727": 0.42 * oii,
        "OII_3730": 0.58 * oii,
        "NeIII_3870": 0.09 * oiii,
        "Hdelta": 0.259 * hbeta,
        "Hgamma": 0.468 * hbeta,
        "Hbeta": hbeta,
        "OIII_4960": oiii / 2.98,
        "OIII_5008": oiii,
        "HeI_5877": 0.13 * hbeta,
        "NII_6550": nii / 3.05,
        "Halpha": one,
        "NII_6585": nii,
        "SII_6718": sii * 1.35 / 2.35,
        "SII_6733": sii / 2.35,
        "SIII_9071": 0.06 * one,
        "SIII_9533": 0.06 * 2.47 * one,
    }
    return np.stack([by_line[name] for name in LINES], axis=1)


def _agn_mix(block: Block, latents: Latents) -> Array:
    """(n,) 0 = star-forming ratios, 1 = active: Beta(2, 1.5) for some, Beta(1, 25) for the rest."""
    active = block.chance("agn", np.where(latents.quiescent, 0.30, 0.08))
    u = block.uniform("agn_mix")
    return np.where(active, betaincinv(2.0, 1.5, u), 1 - (1 - u) ** (1 / 25))

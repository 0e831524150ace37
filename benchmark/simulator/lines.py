"""Emission lines: three gases, each lit by its own source, whose lines add up.

- **HII regions** around stars younger than 100 Myr. L(Ha) = 1.367e-12 erg (case B, 10^4 K: Kennicutt 1998, ARA&A 36,
  189) times the share of the ionising photons Q(H0) that dust inside the regions leaves to the gas. That share is below
  .5 in nearby spirals (Inoue 2001, AJ 122, 1788, astro-ph/0106520); .6 is taken here, which brings equivalent widths
  of H-alpha to 15-40 A along the star-forming sequence (all photons: twice too much).
- **Gas lit by hot evolved stars**, in all galaxies: H-alpha of about .7 A equivalent width (Cid Fernandes et al. 2011,
  MNRAS 413, 1687), with the ratios of a LINER. It stands for the photons of the templates' stars above 100 Myr.
- **Narrow-line regions of active nuclei**, in massive galaxies: H-alpha lognormal about 2 A, ratios of a Seyfert.

The metal lines of HII regions follow the oxygen abundance by the calibrations of Curti et al. 2020 (MNRAS 491, 944,
table 2), all on one (Te) scale, so that [NII], [OIII], [OII] and [SII] trace the observed sequence together. Abundance
follows the mass-metallicity relation of the same paper (eq. 2, table 4), and with a slope of .2 the deviation of the
disc's stars from theirs. Around the calibrations ratios scatter with the ionisation parameter (more [OIII], less [NII],
[SII], [OII]) and with N/O. Galaxies between the star-forming sequence and the LINERs or Seyferts of the BPT diagram are
mixtures. All hydrogen lines have case B ratios (2.86, .468, .259); [SIII] 9071 is .06 of H-alpha.

Changed against the prototype: it mixed the logarithms of the ratios, with [NII]/Ha by Marino et al. 2013 clipped at -.3
dex, which put half of the star-forming galaxies above the demarcation of Kauffmann et al. 2003.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial.polynomial import polyval
from numpy.typing import NDArray

from benchmark.simulator.dust import Dust
from benchmark.simulator.latents import Block, Latents
from benchmark.simulator.metallicity import Metallicity, stellar_median
from benchmark.simulator.pack import TemplatePack
from benchmark.simulator.sfh import History

__all__ = ["HALPHA_PER_PHOTON", "LINES", "LineTemplates", "draw_lines", "oxygen_abundance"]

Array = NDArray[np.float64]

HALPHA_PER_PHOTON = 1.367e-12  # erg
IONISING_SHARE = 0.6  # of the photons meet gas, the others dust
HII_GYR = 0.1
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

SUN_OXYGEN = 8.69  # 12 + log10(O/H), Asplund et al. 2009, ARA&A 47, 481
# log10 of [NII] 6585 / Ha, [OIII] 5008 / Hb, [OII] 3728 / Hb and [SII] 6725 / Ha: powers of 12 + log10(O/H) - 8.69, and
# what one standard deviation of the ionisation parameter adds
CALIBRATIONS: dict[str, tuple[tuple[float, ...], float]] = {
    "nii_halpha": ((-0.489, 1.513, -2.554, -5.293, -2.867), -0.05),
    "oiii_hbeta": ((-0.277, -3.549, -3.593, -0.981), 0.09),
    "oii_hbeta": ((0.435, -1.362, -5.655, -4.851, -0.478, 0.736), -0.05),
    "sii_halpha": ((-0.442, -0.360, -6.271, -8.339, -3.559), -0.05),
}
CALIBRATED = (-1.09, 0.16)  # 7.6 to 8.85
NITROGEN_SCATTER = 0.06  # dex of N/O at fixed O/H
# linear: middles of the LINER and the Seyfert branch of the BPT diagrams of Kewley et al. 2006, MNRAS 372, 961
LINER = {"nii_halpha": 1.1, "oiii_hbeta": 2.2, "oii_hbeta": 4.0, "sii_halpha": 0.9}
SEYFERT = {"nii_halpha": 0.9, "oiii_hbeta": 7.0, "oii_hbeta": 2.5, "sii_halpha": 0.5}


class LineTemplates:
    """What the lines need from the pack, per template: ionising photons, and the continuum at H-alpha in erg/s/A."""

    def __init__(self, pack: TemplatePack) -> None:
        near_halpha = (np.abs(pack.wave_angstrom - LINES["Halpha"]) < 80) & (
            np.abs(pack.wave_angstrom - LINES["Halpha"]) > 25
        )
        self.ionising_rate = pack.ionising_rate * (pack.age_gyr < HII_GYR)
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
    hii = HALPHA_PER_PHOTON * IONISING_SHARE * photons
    evolved = 0.7 * 10.0 ** block.normal("old_star_lines", scatter=0.35) * continuum
    nucleus = _nuclear_width(block, latents) * continuum
    emitted = hii[:, None] * _by_line(_hii_ratios(block, latents, metallicity))
    emitted += evolved[:, None] * _by_line(_scattered(block, LINER))
    emitted += nucleus[:, None] * _by_line(_scattered(block, SEYFERT))
    screen = (dust.a_v[:, 1] + dust.a_v_birth)[:, None] * dust.curve(WAVES)
    return emitted * 10.0 ** (-0.4 * screen)


def oxygen_abundance(log10_mstar: Array) -> Array:
    """Median 12 + log10(O/H) of star-forming galaxies: 8.793 - .28 / 1.2 log10(1 + (M / 10^10.02)^-1.2).

    References
    ----------
    Curti et al. 2020, MNRAS 491, 944, eq. 2.
    """
    return 8.793 - 0.28 / 1.2 * np.log10(1 + 10.0 ** (-1.2 * (log10_mstar - 10.02)))


def _hii_ratios(block: Block, latents: Latents, metallicity: Metallicity) -> dict[str, Array]:
    """Linear ratios (n,) of metal lines of HII regions, behind no dust."""
    richer = metallicity.component[:, 1] - stellar_median(latents)
    oxygen = block.normal("oxygen", oxygen_abundance(latents.log10_mstar) + 0.2 * np.clip(richer, -0.6, 0.6), 0.05)
    x = np.clip(oxygen - SUN_OXYGEN, *CALIBRATED)
    ionisation = block.normal("line_ratios")
    log10_ratio = {name: polyval(x, powers) + slope * ionisation for name, (powers, slope) in CALIBRATIONS.items()}
    log10_ratio["nii_halpha"] += block.normal("nitrogen", scatter=NITROGEN_SCATTER)
    return {name: 10.0**value for name, value in log10_ratio.items()}


def _scattered(block: Block, linear: dict[str, float]) -> dict[str, Array]:
    """The ratios, each times a lognormal of .1 dex: [NII] by N/O, the others by the ionisation of the galaxy's gas."""
    by_nitrogen, by_ionisation = block.normal("nitrogen", scatter=0.1), block.normal("line_ratios", scatter=0.1)
    return {
        name: value * 10.0 ** (by_nitrogen if name == "nii_halpha" else by_ionisation) for name, value in linear.items()
    }


def _nuclear_width(block: Block, latents: Latents) -> Array:
    """(n,) equivalent width of H-alpha of active nuclei, Angstrom; 0 in most galaxies.

    Nuclei are active in up to a fifth of galaxies above 10^10.5 and in few below 10^9.5, as in Kauffmann et al. 2003,
    MNRAS 346, 1055; half as often in quiescent galaxies.
    """
    share = 0.2 * np.clip(latents.log10_mstar - 9.5, 0.0, 1.0) * np.where(latents.quiescent, 0.5, 1.0)
    return block.chance("agn", share) * 2.0 * 10.0 ** block.normal("agn_mix", scatter=0.4)


def _by_line(ratio: dict[str, Array]) -> Array:
    """(n, 16) luminosities relative to H-alpha, from four ratios (n,) each."""
    one = np.ones_like(ratio["nii_halpha"])
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

"""Targets: the truth, and the same quantities as a fit in the manner of PROVABGS would report them.

The second set follows the mock challenge of Hahn et al. 2022 (arXiv:2202.01809) in shape: ages end near 8 Gyr,
star-formation rates have a floor near .05 Msun/yr, quiescent rates are wide, errors of age and metallicity are
anticorrelated and grow with magnitude. The amplitudes were tuned by hand until photometry predicts these labels about
as well as in AstroCLIP's table: agreement of scores on them with the paper is no evidence of realism.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from benchmark.contracts import Target
from benchmark.simulator import cosmology
from benchmark.simulator.latents import Block, Latents
from benchmark.simulator.metallicity import Metallicity
from benchmark.simulator.sfh import History

__all__ = ["LABEL_ERRORS", "TARGETS", "provabgs_errors", "provabgs_labels", "ssfr_astroclip", "true_labels"]

Array = NDArray[np.float64]

LN10 = float(np.log(10))

ERROR_CORRELATION = np.array(  # age, log10 Z, log10 M*, log10 sSFR
    [
        [1.00, -0.55, 0.45, -0.35],
        [-0.55, 1.00, -0.25, 0.15],
        [0.45, -0.25, 1.00, -0.45],
        [-0.35, 0.15, -0.45, 1.00],
    ]
)
_CHOLESKY = np.linalg.cholesky(ERROR_CORRELATION)

_TRUTH = "simulator truth"
_FITTED = "simulator, as a PROVABGS-like fit would report it: shape after arXiv:2202.01809, amplitudes hand-tuned"
_QUANTITIES: tuple[tuple[str, str, Literal["10", "e", "none"], str], ...] = (
    ("log10_mstar", "dex(Msun)", "10", "surviving stellar mass, Chabrier"),
    (
        "ln_z_mw",
        "",
        "e",
        "natural log of the stellar metallicity Z (mass fraction; Sun .02), weighted by surviving mass",
    ),
    ("t_age_gyr", "Gyr", "none", "mean stellar age, weighted by surviving mass"),
    ("log10_ssfr", "dex(1/yr)", "10", "star-formation rate over the last 1 Gyr by surviving stellar mass"),
)
TARGETS: tuple[Target, ...] = (
    Target("z", provenance=_TRUTH, description="redshift", low=0.0),
    *(
        Target(name, unit, base, provenance=_TRUTH, description=text, low=0.0 if name == "t_age_gyr" else None)
        for name, unit, base, text in _QUANTITIES
    ),
    *(
        Target(
            f"{name}_provabgs",
            unit,
            base,
            provenance=_FITTED,
            description=text,
            ranked=False,
            joint=False,
            low=0.0 if name == "t_age_gyr" else None,
        )
        for name, unit, base, text in _QUANTITIES
    ),
    Target(
        "ssfr_astroclip",
        "",
        "e",
        provenance="ln SFR - ln Z from the PROVABGS-like labels, as AstroCLIP's cross_match.py computes its 'sSFR'",
        description="not a specific star-formation rate: metallicity stands where mass should; kept for parity",
        ranked=False,
        joint=False,
    ),
)


LABEL_ERRORS = (*(f"{name}_provabgs" for name, *_ in _QUANTITIES), "ssfr_astroclip")
"""Targets that are known with an error, which stands in ``<target>_err``."""


def true_labels(latents: Latents, history: History, metallicity: Metallicity) -> dict[str, Array]:
    """The ranked targets, (n,) each."""
    return {
        "z": latents.z,
        "log10_mstar": latents.log10_mstar,
        "ln_z_mw": LN10 * metallicity.mass_weighted,
        "t_age_gyr": history.age_gyr,
        "log10_ssfr": np.log10(history.ssfr_per_yr),
    }


def provabgs_labels(block: Block, truth: dict[str, Array], mag_r: Array) -> dict[str, Array]:
    """PROVABGS-like values (n,) of the four properties, from the truth and noise-free r (``*_provabgs``)."""
    names = ("label_age", "label_metallicity", "label_mass", "label_ssfr")
    independent = [block.normal(name) for name in names]
    scale = _error_scale(mag_r)
    age, metal, mass, rate = (
        scale * sum(_CHOLESKY[i, j] * independent[j] for j in range(i + 1)) for i in range(len(names))
    )
    log10_mstar, log10_ssfr = truth["log10_mstar"], truth["log10_ssfr"]
    log10_z = truth["ln_z_mw"] / LN10
    fitted_age = 4.6 + 0.75 * (8.3 * np.tanh(truth["t_age_gyr"] / 8.3) - 4.6) + 0.85 * age
    floored = np.log10(10.0**log10_ssfr + 10.0 ** (-1.3 - log10_mstar) + 10.0**-12.3)
    return {
        "log10_mstar_provabgs": log10_mstar + 0.14 * mass,
        "ln_z_mw_provabgs": LN10 * (-1.95 + 0.95 * (log10_z + 1.95) + 0.14 * metal),
        "t_age_gyr_provabgs": np.clip(fitted_age, 0.4, 0.95 * cosmology.age_gyr(truth["z"])),
        "log10_ssfr_provabgs": floored + _rate_error(log10_ssfr) * rate,
    }


def _error_scale(mag_r: Array) -> Array:
    return 10.0 ** (0.08 * (mag_r - 18.9))


def _rate_error(log10_ssfr: Array) -> Array:
    """Error of log10 sSFR at r = 18.9: quiescent rates are wide."""
    return 0.25 + 0.48 * expit(-(log10_ssfr + 10.8) / 0.25)


def provabgs_errors(truth: dict[str, Array], mag_r: Array) -> dict[str, Array]:
    """One-sigma errors (n,) of the PROVABGS-like values, with which `provabgs_labels` drew them (``*_provabgs_err``).

    Ages are clipped after the error is added, so that those at the limits scatter less. The error of
    ``ssfr_astroclip`` follows from the three it is made of, correlations included.
    """
    scale = _error_scale(mag_r)
    metal, mass, rate = 0.14 * scale, 0.14 * scale, _rate_error(truth["log10_ssfr"]) * scale
    with_mass, with_rate, mass_with_rate = ERROR_CORRELATION[1, 2], ERROR_CORRELATION[1, 3], ERROR_CORRELATION[2, 3]
    covariance = mass_with_rate * mass * rate - with_mass * metal * mass - with_rate * metal * rate
    variance = metal**2 + mass**2 + rate**2 + 2 * covariance  # of log10 (M* sSFR / Z)
    return {
        "log10_mstar_provabgs_err": mass,
        "ln_z_mw_provabgs_err": LN10 * metal,
        "t_age_gyr_provabgs_err": 0.85 * scale,
        "log10_ssfr_provabgs_err": rate,
        "ssfr_astroclip_err": LN10 * np.sqrt(variance),
    }


def ssfr_astroclip(fitted: dict[str, Array]) -> Array:
    """ln SFR - ln Z, (n,): what the papers call specific star-formation rate (SFR in Msun/yr = sSFR times M*)."""
    ln_sfr = LN10 * (fitted["log10_ssfr_provabgs"] + fitted["log10_mstar_provabgs"])
    return ln_sfr - fitted["ln_z_mw_provabgs"]

"""Star-formation histories: how much mass a galaxy formed how long ago, for its bulge and its disc.

Each component follows a delayed exponential, SFR ~ x exp(-x / tau) with x the time since its start, integrated exactly
over the age bins of the template pack: with G(x) = (1 + x/tau) exp(-x/tau), a bin forms G(x_young edge) - G(x_old edge)
up to sign. Recent stochasticity, a burst in the disc and a small residual star formation (which keeps specific rates of
dead galaxies above 1e-13 / yr) come on top. Bin edges are the geometric means of neighbouring ages.

Choices that the prototype's description leaves open: both components share the stochasticity, and the residual is
spread over them by mass. Changed against it:

- discs of star-forming galaxies: log10 tau/Gyr = .36 - .20 mm +- .20 with mm = log10 M* - 10.3, not
  .72 - .22 mm +- .40, and less stochasticity, so that specific rates follow the main sequence of Speagle et al. 2014
  (ApJS 214, 15, eq. 28);
- quiescent galaxies started later, the more so at low mass (downsizing: Thomas et al. 2010, MNRAS 404, 1775), and end
  faster: they are 6.5 to 8.5 Gyr old, less red and a quarter brighter at their mass;
- their residual is centred on 10^-12.2 / yr, not 10^-11, whose scatter made the red sequence .12 mag wide and more;
- bursts are rarer at high mass (Kauffmann et al. 2003, MNRAS 341, 54) and form up to a tenth of the disc, not a fifth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.simulator import cosmology
from benchmark.simulator.latents import Block, Latents

__all__ = ["SFR_WINDOW_GYR", "AgeBins", "History", "draw_history", "remaining_fraction"]

Array = NDArray[np.float64]

SFR_WINDOW_GYR = 1.0  # the average of PROVABGS's AVG_SFR
BURST_WIDTH_DEX = 0.09


def remaining_fraction(age_gyr: Array) -> Array:
    """Share of the formed mass that is still in stars and remnants: 1 - .05 ln(1 + t / 1.4 Myr).

    References
    ----------
    Behroozi, Wechsler & Conroy 2013, ApJ 770, 57, eq. 14 (Chabrier initial mass function).
    """
    return 1 - 0.05 * np.log1p(age_gyr / 1.4e-3)


class AgeBins:
    """The pack's ages (n_age,) in Gyr as bins of star formation."""

    def __init__(self, age_gyr: Array) -> None:
        self.age_gyr = age_gyr
        inner = np.sqrt(age_gyr[1:] * age_gyr[:-1])
        self.edges_gyr = np.concatenate([[0.0], inner, [np.inf]])
        self.remaining = remaining_fraction(age_gyr)

    def overlap_gyr(self, window_gyr: float) -> Array:
        """(n_age,) time within the last ``window_gyr`` that falls into each bin."""
        return np.diff(np.minimum(self.edges_gyr, window_gyr))


@dataclass(frozen=True, eq=False)
class History:
    """Mass formed per surviving solar mass of the galaxy.

    Attributes
    ----------
    formed : (n, 2, n_age), bulge first; ``sum(formed * remaining)`` is 1 for every galaxy.
    age_gyr : (n,) mean age, weighted by surviving mass.
    ssfr_per_yr : (n,) mean star-formation rate over the last Gyr by surviving mass.
    """

    formed: Array
    age_gyr: Array
    ssfr_per_yr: Array


def draw_history(block: Block, latents: Latents, bins: AgeBins) -> History:
    """Histories of the block's candidates."""
    disc = _disc_shape(block, latents, bins)
    bulge = _bulge_shape(block, latents, bins)
    share = np.stack([latents.bulge_fraction, 1 - latents.bulge_fraction], axis=1)

    recent = bins.overlap_gyr(SFR_WINDOW_GYR)
    rate = 10.0 ** np.clip(block.normal("residual", np.where(latents.quiescent, -12.2, -11.0), 0.55), -13.0, -10.3)
    residual = rate[:, None] * (recent * 1e9)
    left_over = 1 - rate * float(np.sum(recent * 1e9 * bins.remaining))
    shapes = np.stack([bulge, disc], axis=1)
    shapes *= (left_over[:, None] / np.sum(shapes * bins.remaining, axis=-1))[..., None]
    formed = share[..., None] * (shapes + residual[:, None, :])

    total = formed.sum(axis=1)
    share_of_last_gyr = np.divide(recent, np.diff(bins.edges_gyr))
    return History(
        formed=formed,
        age_gyr=np.sum(total * (bins.remaining * bins.age_gyr), axis=-1),
        ssfr_per_yr=np.sum(total * share_of_last_gyr, axis=-1) / (SFR_WINDOW_GYR * 1e9),
    )


def delayed_exponential(edges_gyr: Array, duration_gyr: Array, tau_gyr: Array) -> Array:
    """Share (n, n_age) of the mass formed in each age bin, for a history that began ``duration_gyr`` (n,) ago."""
    since_start = np.maximum(duration_gyr[:, None] - edges_gyr, 0.0) / tau_gyr[:, None]
    unformed = (1 + since_start) * np.exp(-since_start)
    return np.diff(unformed, axis=1) / (1 - unformed[:, :1])


def _disc_shape(block: Block, latents: Latents, bins: AgeBins) -> Array:
    offset, quiescent = latents.log10_mstar - 10.3, latents.quiescent
    universe = cosmology.age_gyr(latents.z)
    start = np.where(quiescent, 0.35 - 0.12 * offset, 0.29) + block.normal("disc_start", scatter=0.10)
    scatter = block.normal("disc_tau")
    log10_tau = np.where(quiescent, -0.15 + 0.12 * scatter, 0.36 - 0.20 * offset + 0.20 * scatter)
    ending = np.minimum(log10_tau, np.log10(2.0)) + block.normal("transition_tau", scatter=0.1)
    tau = 10.0 ** np.where(latents.transition, ending, log10_tau)
    shape = delayed_exponential(bins.edges_gyr, universe * (1 - np.clip(start, 0.03, 0.6)), tau)
    shape = _stochastic(block, latents, bins, shape)
    return _with_burst(block, latents, bins, shape)


def _bulge_shape(block: Block, latents: Latents, bins: AgeBins) -> Array:
    offset, universe = latents.log10_mstar - 10.3, cosmology.age_gyr(latents.z)
    start = block.normal("bulge_start", 0.24 - 0.12 * offset, 0.10) + 0.06 * block.uniform("bulge_delay")
    tau = 10.0 ** block.normal("bulge_tau", -0.25 - 0.10 * offset, 0.12)
    shape = delayed_exponential(bins.edges_gyr, universe * (1 - np.clip(start, 0.02, 0.6)), tau)
    return _stochastic(block, latents, bins, shape)


def _stochastic(block: Block, latents: Latents, bins: AgeBins, shape: Array) -> Array:
    """Bins younger than 1 Gyr times 10^s2, those younger than 120 Myr again times 10^s1; sums to 1."""
    very_recent, recent = block.normal("recent_120myr"), block.normal("recent_1gyr")
    s1 = np.where(latents.quiescent, -1.0 + 0.6 * very_recent, -0.02 + 0.25 * very_recent)
    s2 = np.where(latents.quiescent, -0.35 + 0.3 * recent, 0.25 * recent)
    exponent = s2[:, None] * (bins.age_gyr < 1.0) + s1[:, None] * (bins.age_gyr < 0.12)
    changed = shape * 10.0**exponent
    return changed / changed.sum(axis=1, keepdims=True)


def _with_burst(block: Block, latents: Latents, bins: AgeBins, shape: Array) -> Array:
    """A share of the disc's formed mass moved into a Gaussian in log age; ``shape`` and the result sum to 1."""
    forming = 0.15 * 10.0 ** (-0.4 * np.clip(latents.log10_mstar - 10, 0.0, 1.0))
    happens = block.chance("burst", np.where(latents.quiescent, 0.04, forming))
    fraction = happens * 10.0 ** (-2.5 + 1.5 * block.uniform("burst_mass"))
    centre = 7.6 + 1.7 * block.uniform("burst_age")
    distance = (np.log10(bins.age_gyr * 1e9) - centre[:, None]) / BURST_WIDTH_DEX
    burst = np.exp(-0.5 * distance**2)
    burst /= burst.sum(axis=1, keepdims=True)
    return (1 - fraction[:, None]) * shape + fraction[:, None] * burst

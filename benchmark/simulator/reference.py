"""The reference posterior: what magnitudes alone can tell of a simulated galaxy, by Monte Carlo instead of learning.

The prior is a `Pool` of noise-free galaxies of the simulator, the likelihood is the catalogue's own error model: with
the selection S, which acts on noise-free magnitudes,

    p(targets | f) ~ sum_j w_j S_j prod_b N(f_b; f_jb, sigma_b(f_j, radius_j)),

over the galaxies j of the pool. No model of photometry can have a better expected log density, CRPS or R2.

Few galaxies of a pool lie within errors of 1.5 % in three bands, so each stands for a range of masses: all that is
intensive (redshift, star-formation history, metallicity, dust, size) stays, mass and light shift together by s, up to
half of `MASS_WIDTH_DEX`, and the mass function gives the weight of it. s is drawn near the brightness of the galaxy at
hand by importance sampling. This is exact but for one thing: what a population is like at a mass is averaged over that
width, which changes means to second order only (``mass_width_dex=0`` switches it off, at a twentieth of the effective
sample size). Missing magnitudes are left out of the likelihood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree
from scipy.special import ndtr, ndtri

from benchmark.contracts import UsageError
from benchmark.simulator import labels, photometry, selection
from benchmark.simulator.flavours import Flavour
from benchmark.simulator.pool import MASS_WIDTH_DEX, Pool, draw_pool

__all__ = ["FEW_EFFECTIVE", "ReferenceDraws", "drawn_pool", "reference_posterior"]

Array = NDArray[np.float64]

LN10 = float(np.log(10))
FEW_EFFECTIVE = 50
"""Effective draws below which a galaxy's posterior is called poorly determined."""

SHIFT_PER_DEX = {"log10_mstar": 1.0, "log10_mstar_provabgs": 1.0, "ssfr_astroclip": LN10}  # the others are intensive
REACH_SIGMA = 4.5  # of a colour; beyond it a galaxy has 4e-5 of the likelihood of one that agrees
LEAST_NEIGHBOURS, MOST_NEIGHBOURS = 16, 20_000
NEGLIGIBLE = 12.0  # nats below a galaxy's best pool member
WIDER = 1.1  # of the proposals of s than the likelihood: weights stay bounded


@dataclass(frozen=True, eq=False)
class ReferenceDraws:
    """Posterior of n galaxies.

    Attributes
    ----------
    names : of the t targets.
    draws : (n_draws, n, t) float32, equally probable, in the targets' units.
    mean, spread : (n, t) posterior means and standard deviations, by all weights.
    ess : (n,) effective sample sizes, (sum w)^2 / sum w^2; below `FEW_EFFECTIVE` do not trust a galaxy's tails.
    facts : counts and quantiles for a record.
    """

    names: tuple[str, ...]
    draws: NDArray[np.float32]
    mean: Array
    spread: Array
    ess: Array
    facts: dict[str, float]


def reference_posterior(
    photometry: ArrayLike,
    *,
    targets: Sequence[str] | None = None,
    flavour: str | Flavour = "south",
    pool: Pool | None = None,
    n_candidates: int = 10**6,
    n_draws: int = 1000,
    seed: int = 0,
    mass_width_dex: float = MASS_WIDTH_DEX,
) -> ReferenceDraws:
    """Posterior of the targets of simulated galaxies, given their magnitudes.

    Parameters
    ----------
    photometry : (n, n_bands) AB magnitudes in the flavour's bands, NaN where missing.
    targets : names from `labels.TARGETS`; those of the joint posterior by default.
    flavour : or its name, see `FLAVOURS`; the one that the galaxies were simulated in.
    pool : a pool of the flavour. Without it one of ``n_candidates`` is drawn, 35 CPU-seconds for 10^6, and kept for
        the next call of this process.
    n_candidates : of the pool to be drawn.
    n_draws : at least 1.
    seed : of the pool to be drawn and of the draws, 0 to 2^31 - 1.
    mass_width_dex : range of masses for which a pool galaxy stands, 0 to .2.

    Returns
    -------
    draws : galaxies in the order of ``photometry``; a galaxy's posterior does not depend on the others.

    Raises
    ------
    UsageError
        An argument is out of range, or a galaxy has no magnitude at all.

    References
    ----------
    Owen 2013, Monte Carlo theory, methods and examples, ch. 9 (self-normalised importance sampling, eq. 9.13 for the
    effective sample size).
    """
    if pool is None:
        pool = drawn_pool(n_candidates, flavour, seed)
    names = tuple(targets) if targets is not None else tuple(t.name for t in labels.TARGETS if t.joint)
    magnitude = np.asarray(photometry, dtype=np.float64)
    _check(magnitude, names, pool, n_draws, mass_width_dex)
    pool = pool.side_by_side()
    wanted = pool.target[:, [pool.names.index(name) for name in names]]
    shift = np.array([SHIFT_PER_DEX.get(name, 0.0) for name in names]) / LN10
    stratum, order = _common_numbers(seed, len(pool), n_draws)

    n, t = len(magnitude), len(names)
    draws = np.empty((n_draws, n, t), dtype=np.float32)
    mean, spread, ess = np.empty((n, t)), np.empty((n, t)), np.empty(n)
    likelihood = _Likelihood(pool, mass_width_dex * LN10 / 2, stratum)
    for row in range(n):
        member, s, weight = likelihood.atoms(magnitude[row])
        value = wanted[member] + s[:, None] * shift
        mean[row] = weight @ value
        spread[row] = np.sqrt(weight @ (value - mean[row]) ** 2)
        ess[row] = 1 / np.sum(weight**2)
        chosen = np.searchsorted(np.cumsum(weight), order, side="right")
        draws[:, row] = value[np.minimum(chosen, len(weight) - 1)]
    return ReferenceDraws(names, draws, mean, spread, ess, _facts(pool, ess))


@lru_cache(maxsize=1)
def drawn_pool(n_candidates: int, flavour: str | Flavour, seed: int) -> Pool:
    """A pool as `draw_pool` makes it, kept for the next call of this process."""
    return draw_pool(n_candidates, flavour, seed)


def _check(magnitude: Array, names: tuple[str, ...], pool: Pool, n_draws: int, mass_width_dex: float) -> None:
    n_bands = pool.flux.shape[1]
    if magnitude.ndim != 2 or magnitude.shape[1] != n_bands:
        bands = ", ".join(pool.flavour.band_names)
        raise UsageError(f"photometry has shape {magnitude.shape}: must be (n, {n_bands}), magnitudes in {bands}")
    if np.isinf(magnitude).any():
        raise UsageError(f"photometry has {np.isinf(magnitude).sum()} infinite magnitudes: missing ones are NaN")
    if (missing := np.isnan(magnitude).all(axis=1)).any():
        raise UsageError(f"row {np.flatnonzero(missing)[0]} of photometry has no magnitude: give at least one a galaxy")
    if unknown := sorted(set(names) - set(pool.names)):
        raise UsageError(f"target '{unknown[0]}': known are {', '.join(pool.names)}")
    if n_draws < 1:
        raise UsageError(f"n_draws={n_draws}: at least 1")
    if not 0 <= mass_width_dex <= MASS_WIDTH_DEX:
        raise UsageError(f"mass_width_dex={mass_width_dex}: 0 to {MASS_WIDTH_DEX}, for which pools are made")


def _common_numbers(seed: int, n_members: int, n_draws: int) -> tuple[Array, Array]:
    """Numbers in (0, 1) that all galaxies share, so that none depends on the others: of the members, of the draws."""
    rng = np.random.default_rng([seed, 1])
    stratum = np.clip(rng.random(n_members), 1e-9, 1 - 1e-9)
    systematic = (np.arange(n_draws) + rng.random()) / n_draws
    return stratum, rng.permutation(systematic)


class _Likelihood:
    """Which members of a pool may be a galaxy of given magnitudes, at which shift of mass, and how probably.

    Parameters
    ----------
    pool : of noise-free galaxies.
    half : largest shift, natural logarithm of flux; 0 for none.
    stratum : (m,) which quantile of its proposal a member takes.
    """

    def __init__(self, pool: Pool, half: float, stratum: Array) -> None:
        self.pool, self.half, self.stratum = pool, half, stratum
        flux, self.radius = pool.flux.astype(np.float64), pool.radius_arcsec.astype(np.float64)
        self.log_flux = np.log(flux)
        self.error = photometry.flux_errors(flux, self.radius, pool.flavour) / flux
        self.log10_mstar = pool.target[:, pool.names.index("log10_mstar")].astype(np.float64)
        self.log_weight = np.log(pool.weight) - np.log(selection.mass_function(self.log10_mstar))
        self._near: dict[tuple[int, ...], _Neighbours] = {}

    def atoms(self, magnitude: Array) -> tuple[NDArray[np.intp], Array, Array]:
        """Members (k,), their shifts (k,) in ln flux and weights (k,), which sum to 1, for magnitudes (n_bands,)."""
        bands = np.flatnonzero(np.isfinite(magnitude))
        key = tuple(int(band) for band in bands)
        if key not in self._near:
            self._near[key] = _Neighbours(self.log_flux[:, bands], self.error[:, bands], self.half)
        near = self._near[key]
        log_flux = (22.5 - magnitude[bands]) * LN10 / 2.5
        member, difference, error = near.around(log_flux)
        precision = error**-2
        total = precision.sum(axis=1)
        centre = np.clip(np.sum(difference * precision, axis=1) / total, -self.half, self.half)
        promise = self.log_weight[member] - 0.5 * np.sum((difference - centre[:, None]) ** 2 * precision, axis=1)
        kept = promise > promise.max() - NEGLIGIBLE
        member = member[kept]
        s, log_density = self._shifts(member, centre[kept], WIDER / np.sqrt(total[kept]))
        log_weight = self._log_target(np.exp(log_flux), bands, member, s) - log_density
        weight = np.exp(log_weight - log_weight.max())
        return member, s, weight / weight.sum()

    def _shifts(self, member: NDArray[np.intp], centre: Array, width: Array) -> tuple[Array, Array]:
        """One shift a member from a Gaussian cut off at the largest shift, and the logarithm of its density."""
        if not self.half:
            return np.zeros(len(member)), np.zeros(len(member))
        low, high = (ndtr((end - centre) / width) for end in (-self.half, self.half))
        x = ndtri(low + (high - low) * self.stratum[member])
        return centre + width * x, -0.5 * x**2 - np.log(width * (high - low))

    def _log_target(self, flux: Array, bands: NDArray[np.intp], member: NDArray[np.intp], s: Array) -> Array:
        """Logarithm of prior, selection and likelihood of shifted members, up to a constant."""
        flavour = self.pool.flavour
        shifted = np.exp(self.log_flux[member] + s[:, None])
        sigma = photometry.flux_errors(shifted, self.radius[member], flavour)[:, bands]
        chi = (flux - shifted[:, bands]) / sigma
        mag = 22.5 - 2.5 * np.log10(shifted[:, flavour.band_names.index(flavour.selection_band)])
        share = _acceptance(mag, flavour)
        if not share.any():  # no survey would keep this galaxy: judge it by its light alone
            share = np.ones_like(share)
        with np.errstate(divide="ignore"):
            log_share = np.log(share)
        mass_function = selection.mass_function(self.log10_mstar[member] + s / LN10)
        return self.log_weight[member] + np.log(mass_function) + log_share - (0.5 * chi**2 + np.log(sigma)).sum(axis=1)


def _acceptance(mag: Array, flavour: Flavour) -> Array:
    """Probability (k,) that a survey keeps galaxies of noise-free magnitudes."""
    always, ever = (selection.accept(mag, np.full(mag.shape, u), flavour) for u in (1 - 1e-12, 1e-12))
    return np.where(always, 1.0, np.where(ever, flavour.faint_fraction, 0.0))


class _Neighbours:
    """Members of a pool whose colours are near those of a galaxy, and their brightness within the largest shift."""

    def __init__(self, log_flux: Array, error: Array, half: float) -> None:
        # of adjacent colours; of a single band itself
        self.colour_error = np.hypot(error[:, 1:], error[:, :-1]).max(axis=1) if error.shape[1] > 1 else error[:, 0]
        least = REACH_SIGMA * float(self.colour_error.min())
        self.brightness_scale = least / (half + least)  # one radius then serves colours and brightness
        self.tree = cKDTree(self._place(log_flux))
        self.light = np.concatenate([log_flux, error], axis=1)

    def _place(self, log_flux: Array) -> Array:
        brightness = log_flux.mean(axis=-1, keepdims=True) * self.brightness_scale
        return np.concatenate([np.diff(log_flux, axis=-1), brightness], axis=-1)

    def around(self, log_flux: Array) -> tuple[NDArray[np.intp], Array, Array]:
        """Members (k,) within reach of a galaxy, `LEAST_NEIGHBOURS` (or the whole pool) to `MOST_NEIGHBOURS`.

        With them ln flux of the galaxy less that of the members, and the members' relative errors, (k, n_bands) each.
        """
        place = self._place(log_flux)
        _, nearest = self.tree.query(place, k=min(LEAST_NEIGHBOURS, self.tree.n), p=np.inf)
        nearest = np.atleast_1d(nearest)
        reach = REACH_SIGMA * float(self.colour_error[nearest].max())
        member = np.array(self.tree.query_ball_point(place, reach, p=np.inf, return_sorted=True), dtype=np.intp)
        if len(member) < len(nearest):
            member = np.union1d(member, nearest)
        member = member[:: -(-len(member) // MOST_NEIGHBOURS)]  # every third of those next to each other is fair
        light, n_bands = self.light[member], len(log_flux)
        return member, log_flux - light[:, :n_bands], light[:, n_bands:]


def _facts(pool: Pool, ess: Array) -> dict[str, float]:
    quantiles = np.quantile(ess, (0.05, 0.5, 0.95)) if len(ess) else np.full(3, np.nan)
    return {
        "n_candidates": pool.n_candidates,
        "n_pool": len(pool),
        "pool_seed": pool.seed,
        **{f"ess_{name}": round(float(q), 1) for name, q in zip(("5", "50", "95"), quantiles, strict=True)},
        f"n_ess_below_{FEW_EFFECTIVE}": int(np.sum(ess < FEW_EFFECTIVE)),
    }

"""Broad-band fluxes of composite galaxies without computing their spectra, and the errors of a survey's catalogue.

A table holds, for nodes in redshift, the AB flux of every template through each sixth of each band (equal throughput);
a galaxy is a weighted sum of templates, dimmed by its dust at the middle of each sixth. Fluxes are observed-frame, so
k-corrections are implicit. Emission lines are added one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmark.simulator import cosmology
from benchmark.simulator.dust import BIRTH_CLOUD_GYR, Dust
from benchmark.simulator.flavours import SOUTH, Flavour
from benchmark.simulator.latents import STREAMS, Block, Latents
from benchmark.simulator.lines import L_SUN, WAVES
from benchmark.simulator.metallicity import Metallicity
from benchmark.simulator.pack import FilterCurve, TemplatePack
from benchmark.simulator.sfh import History

__all__ = [
    "BandTables",
    "band_tables",
    "catalogue_block",
    "flux_errors",
    "kpc_per_arcsec",
    "line_fluxes",
    "magnitudes",
    "observe",
    "stellar_fluxes",
]

Array = NDArray[np.float64]

N_SUB_BANDS = 6
Z_STEP = 0.004  # between nodes
REBIN = 4  # pixels of 1e-4 dex averaged for the tables: 5 A at 5500 A, half the filters' own sampling
MPC_CM = 3.0856775814913673e24

SIZE_SCALE_ARCSEC = 1.5
MIN_BULGE_ARCSEC = 0.12
ARCSEC_PER_RADIAN = 206264.80624709636


@dataclass(frozen=True, eq=False)
class BandTables:
    """Fluxes of the templates at 1 Mpc, nanomaggies per solar mass formed.

    Attributes
    ----------
    old, young : (n_z, n_metal * n_old or n_young, n_bands * 6) float32; young stars sit behind birth clouds.
    n_young : number of ages below `BIRTH_CLOUD_GYR`.
    centre_angstrom : (n_bands * 6,) observed wavelength at which dust is applied.
    bands : their names.
    """

    old: NDArray[np.float32]
    young: NDArray[np.float32]
    n_young: int
    centre_angstrom: Array
    bands: tuple[str, ...]


@lru_cache(maxsize=8)
@threadpool_limits.wrap(limits=1, user_api="blas")  # the order of sums is that of the threads
def band_tables(pack: TemplatePack, z_max: float = SOUTH.z_max) -> BandTables:
    """Tables of a pack's bands out to a redshift, the same for any number of threads; computed once in a process."""
    n_z = round(z_max / Z_STEP) + 2
    wave, luminosity = _rebinned(pack)
    edges, centres = zip(*(_sub_bands(pack.filters[b]) for b in pack.bands))
    table = np.empty((n_z, luminosity.shape[0], N_SUB_BANDS * len(pack.bands)), np.float32)
    for i in range(n_z):
        observed = wave * (1 + i * Z_STEP)
        dimming = L_SUN / (4 * np.pi * MPC_CM**2 * (1 + i * Z_STEP))
        weights = np.zeros((len(wave), table.shape[2]), np.float32)
        for k, band in enumerate(pack.bands):
            share = pack.filters[band].weights(observed) * dimming
            inside = np.flatnonzero(share)
            sixth = np.searchsorted(edges[k], observed[inside])
            weights[inside, k * N_SUB_BANDS + sixth] = share[inside]
        table[i] = luminosity @ weights
    n_metal, n_age = pack.ionising_rate.shape
    cube = table.reshape(n_z, n_metal, n_age, -1)
    n_young = int(np.sum(pack.age_gyr < BIRTH_CLOUD_GYR))
    return BandTables(
        old=np.ascontiguousarray(cube[:, :, n_young:]).reshape(n_z, -1, table.shape[2]),
        young=np.ascontiguousarray(cube[:, :, :n_young]).reshape(n_z, -1, table.shape[2]),
        n_young=n_young,
        centre_angstrom=np.concatenate(centres),
        bands=pack.bands,
    )


def _rebinned(pack: TemplatePack) -> tuple[Array, NDArray[np.float32]]:
    """Wavelength (n,) and templates (n_metal * n_age, n), the fine part averaged over `REBIN` pixels."""
    coarse = int(np.searchsorted(pack.wave_angstrom, 2149.0))
    n_groups = (len(pack.wave_angstrom) - coarse) // REBIN
    fine = slice(coarse, coarse + n_groups * REBIN)
    flat = pack.luminosity.reshape(-1, len(pack.wave_angstrom))
    wave = pack.wave_angstrom[fine].reshape(n_groups, REBIN).mean(axis=1)
    mean = flat[:, fine].reshape(len(flat), n_groups, REBIN).mean(axis=2)
    return np.concatenate([pack.wave_angstrom[:coarse], wave]), np.hstack([flat[:, :coarse], mean])


def _sub_bands(curve: FilterCurve) -> tuple[Array, Array]:
    """Inner edges (5,) between sixths of equal photon throughput, and the middles (6,) of the sixths, Angstrom."""
    fine = np.linspace(curve.wave_angstrom[0], curve.wave_angstrom[-1], 4001)
    cumulative = np.cumsum(curve.at(fine))
    cumulative /= cumulative[-1]
    shares = np.arange(1, 2 * N_SUB_BANDS) / (2 * N_SUB_BANDS)
    quantiles = np.interp(shares, cumulative, fine)
    return quantiles[1::2], quantiles[::2]


def stellar_fluxes(
    latents: Latents, history: History, metallicity: Metallicity, dust: Dust, tables: BandTables
) -> Array:
    """Fluxes (n, 2, n_bands) of bulge and disc stars in nanomaggies, behind their dust."""
    n, n_bands = len(latents.z), len(tables.bands)
    node = np.minimum((latents.z / Z_STEP).astype(np.intp), len(tables.old) - 2)
    upper = (latents.z / Z_STEP - node).astype(np.float32)[:, None, None]
    curve = dust.curve(tables.centre_angstrom / (1 + latents.z[:, None]))[:, None, :]
    scale = (10.0**latents.log10_mstar / cosmology.luminosity_distance_mpc(latents.z) ** 2)[:, None, None]
    total = np.zeros((n, 2, n_bands * N_SUB_BANDS))
    ages = ((tables.young, slice(None, tables.n_young), 1.0), (tables.old, slice(tables.n_young, None), 0.0))
    for table, chosen, in_cloud in ages:
        weights = metallicity.node_weights[..., None] * history.formed[:, :, None, chosen]
        flat = weights.reshape(n, 2, -1).astype(np.float32)
        fluxes = (1 - upper) * (flat @ table[node]) + upper * (flat @ table[node + 1])
        a_v = dust.a_v + in_cloud * dust.a_v_birth[:, None]
        total += fluxes * 10.0 ** (-0.4 * a_v[..., None] * curve)
    return (scale * total).reshape(n, 2, n_bands, N_SUB_BANDS).sum(axis=-1)


def line_fluxes(z: Array, luminosity: Array, pack: TemplatePack) -> Array:
    """Fluxes (n, n_bands) in nanomaggies that emission lines of (n, 16) erg/s bring into the bands."""
    observed = WAVES * (1 + z[:, None])
    received = luminosity / (4 * np.pi * (cosmology.luminosity_distance_mpc(z) * MPC_CM) ** 2)[:, None]
    curves = (pack.filters[b] for b in pack.bands)
    return np.stack([np.sum(received * c.at(observed) * observed, axis=1) / c.ab_norm for c in curves], axis=1)


def kpc_per_arcsec(z: Array) -> Array:
    """Proper length (n,) in kpc that spans one arcsecond at z."""
    return 1e3 * cosmology.comoving_distance_mpc(z) / (1 + z) / ARCSEC_PER_RADIAN


def effective_radius_arcsec(latents: Latents, bulge_share: Array) -> Array:
    """Half-light radius (n,) of the whole: the components' radii averaged in the logarithm by r-band light."""
    scale = kpc_per_arcsec(latents.z)
    bulge = np.maximum(latents.bulge_kpc / scale, MIN_BULGE_ARCSEC)
    return bulge**bulge_share * (latents.disc_kpc / scale) ** (1 - bulge_share)


def flux_errors(flux: Array, radius_arcsec: Array, flavour: Flavour = SOUTH) -> Array:
    """Standard deviations (n, n_bands) of catalogue fluxes (n, n_bands), nanomaggies.

    sigma^2 = (sky sqrt(1 + (radius / 1.5 arcsec)^2))^2 + (floor flux)^2: sky noise grown by the galaxy's area, and a
    floor for model magnitudes and extinction.
    """
    small = np.array([band.catalogue_sigma_nanomaggy for band in flavour.bands])
    sky = small * np.sqrt(1 + (radius_arcsec / SIZE_SCALE_ARCSEC) ** 2)[:, None]
    return np.sqrt(sky**2 + (flavour.error_floor * flux) ** 2)


def catalogue_block(seed: int, candidate: NDArray[np.int64], flavour: Flavour = SOUTH) -> Block:
    """The random numbers of candidates for the noise of their catalogue fluxes."""
    names = tuple(f"noise_{band}" for band in flavour.band_names)
    return Block.at(seed, candidate, stream=flavour.stream(STREAMS["catalogue"]), names=names)


def observe(block: Block, flux: Array, radius_arcsec: Array, flavour: Flavour = SOUTH) -> tuple[Array, Array]:
    """Noisy fluxes and their standard deviations by `flux_errors`, (n, n_bands) nanomaggies each.

    Parameters
    ----------
    block : the galaxies' `catalogue_block`.
    flux : (n, n_bands) without noise.
    radius_arcsec : (n,) half-light radii.
    flavour : whose bands and depths.
    """
    sigma = flux_errors(flux, radius_arcsec, flavour)
    noise = np.stack([block.normal(f"noise_{band}") for band in flavour.band_names], axis=1)
    return flux + sigma * noise, sigma


def magnitudes(flux: Array, sigma: Array) -> tuple[Array, Array]:
    """AB magnitudes 22.5 - 2.5 log10(flux) and errors 1.0857 sigma / flux; NaN in both unless flux > 0."""
    positive = np.where(flux > 0, flux, np.nan)
    return 22.5 - 2.5 * np.log10(positive), 2.5 / np.log(10) * sigma / positive

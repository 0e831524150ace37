"""Resampling of spectra: what must hold by arithmetic, and beside an independent sum over fine pixels."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.contracts import GalaxybenchError
from benchmark.data.importing.resample import (
    WaveGrid,
    air_to_vacuum,
    merge_cameras,
    resample,
    scatter_ivar,
    uniform_grid,
)


@pytest.fixture
def spectrum() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    wave = np.cumsum(rng.uniform(0.5, 2.0, 300)) + 4000  # uneven
    return wave, rng.normal(5, 2, 300), rng.uniform(0.5, 3, 300)


def edges_of(wave: np.ndarray) -> np.ndarray:
    middle = (wave[1:] + wave[:-1]) / 2
    return np.concatenate([[2 * wave[0] - middle[0]], middle, [2 * wave[-1] - middle[-1]]])


def test_flux_times_width_is_conserved_on_any_grid(spectrum) -> None:
    wave, flux, ivar = spectrum
    total = (flux * np.diff(edges_of(wave))).sum()
    for step in (0.31, 1.7, 5.0):
        grid = WaveGrid(wave[0] - 20, step, int((wave[-1] - wave[0] + 40) / step))
        new_flux, new_ivar = resample(wave, flux, ivar, grid)
        # the two partly covered end pixels are the mean over what is covered: less than two pixels' flux
        assert abs((new_flux * step).sum() - total) < 2 * step * np.abs(flux).max()
        assert (new_ivar > 0).sum() > 0.9 * (wave[-1] - wave[0]) / step
    inner = (flux * np.diff(edges_of(wave)))[50:250].sum()
    edges = edges_of(wave)
    one = WaveGrid((edges[50] + edges[250]) / 2 - (edges[250] - edges[50]), edges[250] - edges[50], 3)
    np.testing.assert_allclose(resample(wave, flux, ivar, one)[0][1] * one.step, inner, rtol=1e-12)


def test_means_and_variances_are_those_of_a_sum_over_fine_pixels(spectrum) -> None:
    wave, flux, ivar = spectrum
    ivar[40:45] = 0
    grid = WaveGrid(4050.3, 3.3, 60)
    new_flux, new_ivar = resample(wave, flux, ivar, grid)
    edges = edges_of(wave)
    for pixel in range(grid.n):
        low, high = grid.start + (pixel - 0.5) * grid.step, grid.start + (pixel + 0.5) * grid.step
        overlap = np.clip(np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1]), 0, None) * (ivar > 0)
        if overlap.sum() < grid.step / 2:
            assert new_ivar[pixel] == new_flux[pixel] == 0
            continue
        weight = overlap / overlap.sum()
        np.testing.assert_allclose(new_flux[pixel], (weight * flux).sum(), rtol=1e-10)
        used = weight > 0
        np.testing.assert_allclose(1 / new_ivar[pixel], (weight[used] ** 2 / ivar[used]).sum(), rtol=1e-10)


def test_the_variance_of_resampled_noise_is_what_ivar_says() -> None:
    rng = np.random.default_rng(1)
    wave, grid = 5000 + np.arange(400.0), WaveGrid(5010.4, 2.5, 140)
    draws = np.stack([resample(wave, rng.normal(0, 0.5, 400), np.full(400, 4.0), grid)[0] for _ in range(400)])
    ivar = resample(wave, np.zeros(400), np.full(400, 4.0), grid)[1]
    ratio = (draws.var(axis=0) * ivar).mean()
    assert abs(ratio - 1) < 4 * np.sqrt(2 / (400 * 140 / 2))  # neighbouring pixels share an old one: half independent


def test_the_same_grid_changes_no_bit_and_masked_pixels_stay_out(spectrum) -> None:
    _, flux, ivar = spectrum
    grid = WaveGrid(3600.0, 0.8, 500)
    ivar[7], flux[7] = 0, 1e30
    new_flux, new_ivar = resample(grid.wave_angstrom[100:400], flux, ivar, grid)
    valid = ivar > 0
    np.testing.assert_array_equal(new_flux[100:400][valid], flux[valid])
    np.testing.assert_array_equal(new_ivar[100:400], ivar)
    assert new_flux[107] == 0
    assert not new_ivar[:100].any()
    assert not new_ivar[400:].any()


def test_a_constant_spectrum_stays_constant_beside_masked_pixels(spectrum) -> None:
    wave, _, ivar = spectrum
    ivar[100:110] = 0
    flux = np.where(ivar > 0, 3.0, -1e9)
    new_flux, new_ivar = resample(wave, flux, ivar, WaveGrid(4010, 2.2, 100))
    np.testing.assert_allclose(new_flux[new_ivar > 0], 3.0, rtol=1e-12)


def test_grids_that_do_not_overlap_or_ascend_are_refused(spectrum) -> None:
    wave, flux, ivar = spectrum
    with pytest.raises(GalaxybenchError, match=r"400\.\d+ to 4\d\d\.\d+ Angstrom do not overlap the grid 3600 to 3679"):
        resample(wave / 10, flux, ivar, WaveGrid(3600, 0.8, 100))
    with pytest.raises(GalaxybenchError, match="300 wavelengths that do not ascend"):
        resample(wave[::-1], flux, ivar, WaveGrid(4000, 0.8, 100))
    with pytest.raises(GalaxybenchError, match="step = -1, n = 100: must be positive"):
        WaveGrid(4000, -1, 100)


def test_cameras_are_merged_as_the_best_estimate_of_one_flux() -> None:
    rng = np.random.default_rng(5)
    ivars = rng.uniform(0.5, 4, (2, 20_000))
    fluxes = 7 + rng.normal(size=ivars.shape) / np.sqrt(ivars)
    ivars[0, :50], ivars[1, 50:100], ivars[:, 100:110] = 0, 0, 0
    flux, ivar = merge_cameras(list(zip(fluxes, ivars)))
    np.testing.assert_array_equal(flux[:50], fluxes[1, :50])  # bit for bit where one camera sees
    np.testing.assert_array_equal(flux[50:100], fluxes[0, 50:100])
    np.testing.assert_array_equal(ivar, ivars.sum(axis=0))
    assert not flux[100:110].any()
    chi2 = ((flux[110:] - 7) ** 2 * ivar[110:]).mean()
    assert abs(chi2 - 1) < 4 * np.sqrt(2 / 19_890)


def test_noise_is_found_from_the_scatter_of_neighbours() -> None:
    rng = np.random.default_rng(6)
    x = np.arange(40_000)
    sigma = np.where(x < 20_000, 0.1, 0.5)
    valid = rng.random(40_000) > 0.1
    ivar = scatter_ivar(10 + 3 * np.sin(x / 300) + rng.normal(size=40_000) * sigma, valid)
    assert not ivar[~valid].any()
    for part in (slice(200, 19_800), slice(20_200, 39_800)):
        found = np.median(1 / np.sqrt(ivar[part][valid[part]]))
        assert abs(found / sigma[part][0] - 1) < 0.05  # a median of 18,000 terms that share pixels: 1 %
    assert not scatter_ivar(np.ones(300), np.ones(300, bool)).any()
    assert not scatter_ivar(np.ones(4), np.ones(4, bool)).any()


def test_air_wavelengths_become_the_vacuum_ones_of_the_line_lists() -> None:
    # air and vacuum wavelengths of [O II], H beta, [O III], H alpha as SDSS lists them
    air = np.array([3726.032, 4861.325, 5006.843, 6562.801])
    vacuum = np.array([3727.092, 4862.683, 5008.240, 6564.614])
    np.testing.assert_allclose(air_to_vacuum(air), vacuum, atol=0.005)


def test_an_even_grid_is_recognised_in_single_precision_and_an_uneven_one_is_not() -> None:
    grid = WaveGrid(3600.0, 0.8, 7781)
    assert uniform_grid(grid.wave_angstrom.astype(np.float32).astype(np.float64)) == grid
    assert uniform_grid(10 ** (3.58 + 1e-4 * np.arange(500))) is None
    assert uniform_grid(np.array([1.0, np.nan])) is None

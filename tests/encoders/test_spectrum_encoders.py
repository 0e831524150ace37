"""Redshift scans against direct least squares and known redshifts; components of spectra against their truth."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from encoders import SpectrumPCA, SpectrumZscanPCA
from encoders.classical.components import drawn_rows, principal_components
from encoders.classical.zscan import LINE_GROUPS, TemplateScan, redshift_templates
from encoders.classical.zscan_pca import _RestFrame
from encoders.reading.spectra import DESI_WAVE_ANGSTROM, LogBins, mean_level, wavelengths
from encoders.row_order import content_keys

WAVE = 3600.0 + 2.4 * np.arange(2594)


class Stack:
    """Spectra (n, 2, n_wave) with wavelengths; remembers the longest batch that was read."""

    def __init__(self, flux: NDArray, ivar: NDArray, wave_angstrom: NDArray = WAVE) -> None:
        self.rows = np.stack([flux, ivar], axis=1).astype(np.float32)
        self.wave_angstrom, self.longest = wave_angstrom, 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        found = self.rows[rows]
        self.longest = max(self.longest, len(found))
        return found


def galaxies(
    n: int, sigma: float = 0.3, seed: int = 0, redshifts: tuple[float, float] = (0.02, 0.6)
) -> tuple[Stack, NDArray, NDArray]:
    """Spectra of mixtures of the templates with lines, redshifts (n,) and mixing weights (n, 2)."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(*redshifts, n)
    grid = np.arange(np.log10(1360), np.log10(9900), 1e-4)
    templates = redshift_templates(grid)
    share, lines = rng.uniform(0, 1, n), rng.lognormal(1.5, 0.8, n)
    rest = (share[:, None] * templates[4] + (1 - share)[:, None] * templates[1]) + lines[:, None] * templates[5]
    flux = np.stack([np.interp(WAVE, 10**grid * (1 + z[i]), rest[i]) for i in range(n)])
    ivar = np.full(flux.shape, sigma**-2) * (rng.random(flux.shape) > 0.03)
    noisy = flux + rng.normal(0, sigma, flux.shape)
    noisy[ivar == 0] = 1e4  # what an invalid pixel holds must not matter
    return Stack(noisy, ivar), z, np.column_stack([share, lines])


def test_bins_hold_every_pixel_once_and_average_by_inverse_variance() -> None:
    bins = LogBins.of(DESI_WAVE_ANGSTROM, 3e-4)
    edge = bins.log10_wave - bins.step / 2
    number = np.floor((np.log10(DESI_WAVE_ANGSTROM) - edge[0]) / bins.step).astype(int)
    assert (np.diff(bins.start) > 0).all()
    rng = np.random.default_rng(0)
    flux, ivar = rng.normal(size=(2, 7781)), rng.uniform(0, 1, (2, 7781)) * (rng.random((2, 7781)) > 0.3)
    mean, total = bins.average(flux, ivar)
    for chosen in (0, 700, len(bins.start) - 1):
        inside = number == chosen
        np.testing.assert_allclose(total[:, chosen], ivar[:, inside].sum(axis=1))
        expected = (flux * ivar)[:, inside].sum(axis=1) / ivar[:, inside].sum(axis=1)
        np.testing.assert_allclose(mean[:, chosen], expected)
    nothing = bins.average(flux, np.zeros_like(ivar))
    assert not np.any(nothing)
    coarse = LogBins.of(np.linspace(3600, 9800, 100), 3e-4)
    assert coarse.step == pytest.approx(np.log10(1 + 6200 / 99 / 3600))  # as wide as the widest pixel
    assert len(coarse.start) < 100


def test_the_scan_is_the_least_squares_fit_at_every_redshift() -> None:
    stack, _, _ = galaxies(3)
    bins = LogBins.of(WAVE, 6e-4)
    flux, ivar = bins.average(stack.rows[:, 0].astype(float), stack.rows[:, 1].astype(float))
    scan = TemplateScan(bins.log10_wave, z_max=0.62)
    found = scan.run(flux, ivar)
    n_shifts = len(scan.log10_zp1)
    templates = redshift_templates(scan.rest_log10_wave)
    for galaxy in range(3):
        gain = np.empty(n_shifts)
        for shift in range(n_shifts):
            first = n_shifts - 1 - shift  # rest bin of the first observed bin
            design = templates[:, first : first + len(flux[0])].T * np.sqrt(ivar[galaxy])[:, None]
            data = flux[galaxy] * np.sqrt(ivar[galaxy])
            gain[shift] = (data**2).sum() - ((data - design @ np.linalg.lstsq(design, data, rcond=None)[0]) ** 2).sum()
        best = int(gain.argmax())
        assert found.z[galaxy] == pytest.approx(10 ** scan.log10_zp1[best] - 1, abs=0.6 * 6e-4 * np.log(10) * 1.6)
        away = np.abs(np.arange(n_shifts) - best) * 6e-4 >= 0.0022
        # 2 %: the scan shrinks amplitudes by 1e-4 of the templates' norm
        assert found.dchi2[galaxy] == pytest.approx(gain[best] - gain[away].max(), rel=0.02)


def test_scanned_redshifts_are_right_and_unsure_where_there_is_no_signal() -> None:
    stack, z, _ = galaxies(60)
    bins = LogBins.of(WAVE, 3e-4)
    scan = TemplateScan(bins.log10_wave)
    flux, ivar = (stack.rows[:, part].astype(float) for part in (0, 1))
    found = scan.run(*bins.average(flux, ivar))
    residual = (found.z - z) / (1 + z)
    assert np.abs(residual).max() < 1e-3
    # a tenth of a bin of 207 km/s
    assert np.median(np.abs(residual)) < 1e-4
    assert found.dchi2.min() > 25
    noise = np.random.default_rng(3).normal(0, 1, flux.shape)
    empty = scan.run(*bins.average(noise, np.ones_like(noise)))
    assert np.median(empty.dchi2) < 9
    blind = scan.run(*bins.average(flux, np.zeros_like(ivar)))
    assert np.isfinite(blind.z).all()
    assert not blind.dchi2.any()


def test_a_spectrum_gives_the_same_redshift_in_any_company() -> None:
    stack, _, _ = galaxies(70)
    bins = LogBins.of(WAVE, 3e-4)
    scan = TemplateScan(bins.log10_wave)
    flux, ivar = bins.average(stack.rows[:, 0].astype(float), stack.rows[:, 1].astype(float))
    together, alone = scan.run(flux, ivar), scan.run(flux[66:67], ivar[66:67])
    np.testing.assert_allclose(together.z[66:67], alone.z, rtol=1e-9)
    assert scan.run(flux[:0], ivar[:0]).z.shape == (0,)


def test_templates_are_normalised_and_hold_the_lines_where_they_belong() -> None:
    grid = np.arange(np.log10(2200), np.log10(9900), 3e-4)
    templates = redshift_templates(grid)
    assert templates.shape == (5 + len(LINE_GROUPS), len(grid))
    inside = (10**grid > 4000) & (10**grid < 6000)
    np.testing.assert_allclose(templates[:5, inside].mean(axis=1), 1, atol=0.02)  # even in the logarithm here
    young, old = templates[0], templates[4]
    dn4000 = [
        one[(10**grid > 4000) & (10**grid < 4100)].mean() / one[(10**grid > 3850) & (10**grid < 3950)].mean()
        for one in (young, old)
    ]
    assert dn4000[0] < 1.1 < 1.7 < dn4000[1] * 1.1
    for row, lines in zip(templates[5:], LINE_GROUPS.values(), strict=True):
        assert row.sum() == pytest.approx(sum(lines.values()), rel=1e-6)
        assert 10 ** grid[row.argmax()] == pytest.approx(max(lines, key=lambda wave: lines[wave]), rel=1e-3)
    with pytest.raises(ValueError, match="fewer than 3 bins"):
        TemplateScan(grid, z_max=0.004)


def test_redshifts_are_found_as_far_as_the_spectra_hold_a_line() -> None:
    stack, z, _ = galaxies(60, seed=4, redshifts=(0.5, 1.45))
    encoder = SpectrumZscanPCA(n_components=3)
    encoder.fit(stack, seed=0)
    state = encoder.state()
    found = encoder.embed(stack)[:, 0] * state["column_scale"][0] + state["column_mean"][0]
    # [OII] alone is left beyond z = 1.2: a tenth may take it for another line
    assert np.mean(np.abs(found - z) < 2e-3) > 0.9
    near = SpectrumZscanPCA(n_components=3, z_max=0.9)
    near.fit(stack, seed=0)
    state = near.state()
    assert near.embed(stack)[:, 0].max() * state["column_scale"][0] + state["column_mean"][0] < 0.91
    blue = Stack(*(stack.rows[:, part, WAVE < 4500] for part in (0, 1)), WAVE[WAVE < 4500])
    encoder.fit(blue, seed=0)  # spectra that end at [OII] of z = .2 are scanned to .3
    state = encoder.state()
    assert encoder.embed(blue)[:, 0].max() * state["column_scale"][0] + state["column_mean"][0] < 0.301


def test_a_level_that_was_not_observed_is_that_of_the_templates() -> None:
    stack, _, _ = galaxies(40, sigma=0.05, redshifts=(1.25, 1.4))  # rest 5600 A is beyond the spectra from z = .75 on
    frame = _RestFrame(WAVE, 3e-4, 1.6)
    found = frame.bring(stack.rows[:, 0].astype(float) * (stack.rows[:, 1] > 0), stack.rows[:, 1].astype(float))
    angstrom = 10**frame.rest_log10_wave
    window, seen = (angstrom > 4400) & (angstrom < 5600), (angstrom > 3700) & (angstrom < 4000)
    assert not found.ivar[:, window].any()
    np.testing.assert_allclose(found.model[:, window].mean(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(found.flux[:, seen].mean(axis=1), found.model[:, seen].mean(axis=1), rtol=0.1)


@pytest.fixture(scope="module")
def learned() -> tuple[SpectrumZscanPCA, NDArray, NDArray]:
    stack, _, _ = galaxies(150)
    encoder = SpectrumZscanPCA(n_components=6)
    encoder.fit(stack, seed=0)
    test, z, weights = galaxies(80, seed=1)
    return encoder, encoder.embed(test), np.column_stack([z, weights])


def test_the_embedding_at_rest_holds_redshift_and_what_the_galaxies_are_made_of(learned) -> None:
    encoder, embedding, truth = learned
    assert embedding.shape == (80, 9 + 6)
    state = encoder.state()
    z = embedding[:, 0] * state["column_scale"][0] + state["column_mean"][0]
    np.testing.assert_allclose(z, truth[:, 0], atol=2e-3)
    for column in (
        1,
        2,
    ):  # share of old stars, strength of the lines: nearly linear in the components
        design = np.column_stack([np.ones(80), embedding[:, 9:]])
        target = truth[:, column]
        left = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
        # noise leaves open .3 % of the variance of the share, 5 % of the lines'
        assert left.var() < 0.1 * target.var()


def test_components_at_rest_tell_more_than_components_as_observed() -> None:
    train, test = galaxies(150)[0], galaxies(80, seed=1)
    explained = []
    for encoder in (SpectrumPCA(n_components=5), SpectrumZscanPCA(n_components=5)):
        encoder.fit(train, seed=0)
        coefficients = encoder.embed(test[0])
        shape = coefficients[:, :5] if isinstance(encoder, SpectrumPCA) else coefficients[:, 9:]
        design = np.column_stack([np.ones(80), shape])
        target = test[2][:, 0]
        explained.append(1 - (target - design @ np.linalg.lstsq(design, target, rcond=None)[0]).var() / target.var())
    assert explained[1] > explained[0]
    assert explained[1] > 0.9


@pytest.mark.parametrize("make", [SpectrumPCA, SpectrumZscanPCA])
def test_invalid_pixels_and_spectra_without_any_valid_one_give_finite_embeddings(make) -> None:
    stack, _, _ = galaxies(40)
    encoder = make(n_components=4)
    encoder.fit(stack, seed=0)
    expected = encoder.embed(stack)
    other = Stack(np.where(stack.rows[:, 1] > 0, stack.rows[:, 0], np.nan), stack.rows[:, 1])
    np.testing.assert_allclose(encoder.embed(other), expected, atol=1e-5)
    blind = Stack(stack.rows[:, 0], np.zeros_like(stack.rows[:, 1]))
    assert np.isfinite(encoder.embed(blind)).all()
    half = Stack(stack.rows[:, 0], np.where(WAVE < 6000, stack.rows[:, 1], 0))
    assert np.isfinite(encoder.embed(half)).all()
    fitted = make(n_components=4)
    fitted.fit(half, seed=0)
    assert np.isfinite(fitted.embed(stack)).all()


def test_the_level_is_the_last_column_of_the_components_as_observed() -> None:
    stack, _, _ = galaxies(100)
    encoder = SpectrumPCA(n_components=3)
    encoder.fit(stack, seed=0)
    level = np.log10(mean_level(np.where(stack.rows[:, 1] > 0, stack.rows[:, 0], 0), stack.rows[:, 1]))
    np.testing.assert_allclose(encoder.embed(stack)[:, -1], (level - level.mean()) / level.std(), atol=1e-4)
    brighter = Stack(stack.rows[:, 0] * 10, stack.rows[:, 1] / 100)
    change = encoder.embed(brighter) - encoder.embed(stack)
    np.testing.assert_allclose(change[:, -1], 1 / level.std(), rtol=1e-3)
    np.testing.assert_allclose(change[:, :-1], 0, atol=1e-3)


@pytest.mark.parametrize("make", [SpectrumPCA, SpectrumZscanPCA])
def test_an_encoder_reads_no_more_than_a_batch_and_draws_rows_by_content(make) -> None:
    stack, _, _ = galaxies(40)
    encoder = make(n_components=3, max_rows=15, batch_size=7)
    encoder.fit(stack, seed=0)
    assert 0 < stack.longest <= 7
    order = np.random.default_rng(0).permutation(40)
    shuffled = make(n_components=3, max_rows=15)
    shuffled.fit(Stack(stack.rows[order, 0], stack.rows[order, 1]), seed=0)
    np.testing.assert_allclose(shuffled.state()["components"], encoder.state()["components"], atol=1e-6)
    other = make(n_components=3, max_rows=15)
    other.fit(stack, seed=1)
    assert np.abs(other.state()["components"] - encoder.state()["components"]).max() > 1e-3


def test_drawn_rows_are_those_with_the_smallest_keys() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    keys = content_keys(rows, 4)
    batches = [(rows[i : i + 7], keys[i : i + 7]) for i in range(0, 50, 7)]
    for most in (1, 10, 50, 99):
        np.testing.assert_array_equal(drawn_rows(batches, most), rows[np.argsort(keys)[:most]])
    assert drawn_rows([], 3).shape == (0, 0)


def test_components_are_those_of_a_full_decomposition() -> None:
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(200, 3)) * (5, 2, 1) @ rng.normal(size=(3, 40))).astype(np.float32)
    mean, components, variance = principal_components(rows, 3, seed=0)
    np.testing.assert_allclose(mean, rows.mean(axis=0), atol=1e-4)
    singular = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)[:3]
    np.testing.assert_allclose(variance, singular**2 / 199, rtol=1e-3)
    np.testing.assert_allclose(components @ components.T, np.eye(3), atol=1e-5)


@pytest.mark.parametrize("make", [SpectrumPCA, SpectrumZscanPCA])
def test_what_does_not_fit_is_refused(make) -> None:
    stack, _, _ = galaxies(10)
    name = make.__name__
    with pytest.raises(ValueError, match=f"{name} has no components yet"):
        make().embed(stack)
    with pytest.raises(ValueError, match="1 training spectra: at least 2"):
        make().fit(Stack(stack.rows[:1, 0], stack.rows[:1, 1]), seed=0)
    with pytest.raises(ValueError, match="n_components 0: must be at least 1"):
        make(n_components=0)
    with pytest.raises(ValueError, match=r"step 0: must be a positive|step 0, z_max None: both must be positive"):
        make(step=0)
    with pytest.raises(ValueError, match="its state is wave_angstrom"):
        make().load_state({"mean": np.zeros(3)})
    fitted = make(n_components=2)
    fitted.fit(stack, seed=0)
    with pytest.raises(ValueError, match=f"{name} with bins of 0.001 dex"):
        make(step=1e-3).load_state(fitted.state())
    falling = Stack(stack.rows[:, 0], stack.rows[:, 1], WAVE[::-1])
    with pytest.raises(ValueError, match=r"wave_angstrom of shape \(2594,\): must be \(2594,\), positive and incr"):
        wavelengths(falling, name)
    assert len(wavelengths(np.zeros((1, 2, 7781)), name)) == 7781

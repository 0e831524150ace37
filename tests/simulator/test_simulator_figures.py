"""Statistics behind the figures of docs/simulator.md, against known truth, and that each figure can be drawn."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy.integrate import quad
from scipy.ndimage import convolve
from scipy.special import gamma
from scipy.stats import kstest

from benchmark.data import Survey
from benchmark.simulator import SimulatedCatalogue, build_survey
from benchmark.simulator.appearance import draw_appearance
from benchmark.simulator.candidates import draw_candidates
from benchmark.simulator.pack import TemplatePack
from benchmark.simulator.sky import ROSETTE_RADIUS_DEG, ROSETTES
from tools.simulator_figures import clustering, drawing, galaxies, noise, populations, real, sky, spectra
from tools.simulator_figures.sample import truth
from tools.simulator_figures.style import write_png

SIGMA, PARENTS, CHILDREN = 1.5, 400, 8.0  # Thomas process: Mpc, a box, a parent
SIDE, DISTANCE, BOXES = 100.0, 4000.0, 4


@pytest.fixture(scope="module")
def thomas() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Galaxies around parents that lie at random, in boxes far away, with random points: the correlation is known."""
    rng = np.random.default_rng(3)
    data, random = [], []
    for _ in range(BOXES):
        margin = 6 * SIGMA
        n = rng.poisson(PARENTS * (1 + 2 * margin / SIDE) ** 3)
        parents = rng.uniform(-SIDE / 2 - margin, SIDE / 2 + margin, (n, 3))
        points = np.repeat(parents, rng.poisson(CHILDREN, n), axis=0)
        points = points + rng.normal(0, SIGMA, points.shape)
        data.append(points[(np.abs(points) < SIDE / 2).all(axis=1)])
        random.append(rng.uniform(-SIDE / 2, SIDE / 2, (3000, 3)))
    field, random_field = (np.repeat(np.arange(BOXES), [len(p) for p in some]) for some in (data, random))
    away = np.array([DISTANCE, 0.0, 0.0])
    return np.concatenate(data) + away, field, np.concatenate(random) + away, random_field


def test_landy_szalay_recovers_the_correlation_of_a_thomas_process(thomas: tuple[np.ndarray, ...]) -> None:
    edges = np.array([1.0, 2.0, 3.0, 5.0, 15.0])
    found = clustering.landy_szalay(clustering.count_pairs(*thomas, edges))
    density = PARENTS / SIDE**3

    def known(r: float) -> float:  # Moller & Waagepetersen 2003, Statistical Inference for Spatial Point Processes
        return np.exp(-(r**2) / (4 * SIGMA**2)) / ((4 * np.pi * SIGMA**2) ** 1.5 * density)

    for k, (low, high) in enumerate(pairwise(edges)):
        expected = quad(lambda r: known(r) * r**2, low, high)[0] / ((high**3 - low**3) / 3)
        # 1600 parents with 8 +- 2.8 children: 5 %, and as much again from counts of 500 random pairs
        assert found[k] == pytest.approx(expected, rel=0.15, abs=0.05)
    assert known(1.5) > 8


def test_projection_along_the_line_of_sight_keeps_the_excess(thomas: tuple[np.ndarray, ...]) -> None:
    r_edges, pi_edges = np.array([0.5, 1.5, 2.5, 4.0]), np.linspace(0, 12, 4)
    counts = clustering.count_pairs(*thomas, r_edges, pi_edges)
    found = clustering.projected(counts, pi_edges)
    density = PARENTS / SIDE**3
    middle = (r_edges[1:] + r_edges[:-1]) / 2
    expected = np.exp(-(middle**2) / (4 * SIGMA**2)) / (4 * np.pi * SIGMA**2 * density)
    error = clustering.jackknife(np.array([clustering.projected(counts, pi_edges, k) for k in range(BOXES)]))
    assert found == pytest.approx(expected, rel=0.2)
    assert (error < 0.2 * found).all()
    assert (error > 0.001 * found).all()


def test_random_points_do_not_correlate(thomas: tuple[np.ndarray, ...]) -> None:
    _, _, random, field = thomas
    half = np.arange(len(random)) % 2 == 0
    counts = clustering.count_pairs(random[half], field[half], random[~half], field[~half], np.array([3.0, 8.0, 15.0]))
    assert clustering.landy_szalay(counts) == pytest.approx(0, abs=5 / np.sqrt(counts.dd.sum(axis=0).min()))


def test_pairs_of_different_fields_are_not_counted() -> None:
    points = np.array([[100.0, 0, 0], [100.0, 1, 0], [100.0, 0.5, 0]])
    counts = clustering.count_pairs(points, np.array([0, 0, 1]), points, np.array([0, 0, 1]), np.array([0.1, 2.0]))
    assert counts.dd.tolist() == [[1], [0]]
    assert counts.rr.tolist() == [[1], [0]]
    assert counts.n_data.tolist() == [2, 1]
    # across and along the line of sight: 1 Mpc apart on the sky, 3 in depth
    deep = np.array([[1000.0, 0, 0], [1003.0, 1, 0]])
    one = np.zeros(2)
    across = clustering.count_pairs(deep, one, deep, one, np.array([0.0, 0.5, 1.5]), np.array([0.0, 2.0, 4.0]))
    assert across.dd[0].tolist() == [[0, 0], [0, 1]]


def test_jackknife_of_means_is_the_standard_error_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(size=(20, 3))
    left_out = (values.sum(axis=0) - values) / 19
    assert clustering.jackknife(left_out) == pytest.approx(values.std(axis=0, ddof=1) / np.sqrt(20))


def test_power_law_projects_to_its_closed_form() -> None:
    r_p, r_0, slope = np.array([0.3, 1.0, 5.0]), 8.0, 1.84
    closed = r_p * (r_p / r_0) ** -slope * gamma(0.5) * gamma((slope - 1) / 2) / gamma(slope / 2)
    assert clustering.power_law_wp(r_p, r_0, slope, 1e7) == pytest.approx(closed, rel=2e-3)  # 2e-3 lie beyond 1e7


def test_random_positions_fill_their_rosettes_evenly() -> None:
    field = np.repeat(np.arange(len(ROSETTES)), 100)
    points = sky.random_positions(field, np.random.default_rng(0))
    assert np.linalg.norm(points, axis=1) == pytest.approx(1)
    a, d = np.radians(ROSETTES[field]).T
    centre = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1)
    height = (1 - np.sum(points * centre, axis=1)) / (1 - np.cos(np.radians(ROSETTE_RADIUS_DEG)))
    assert kstest(height, "uniform").pvalue > 0.001
    north = points[:, 2] > centre[:, 2]
    assert np.mean(north) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(points)))


def test_white_noise_has_flat_power_and_smoothed_noise_that_of_its_kernel() -> None:
    white = np.random.default_rng(1).normal(0, 2.0, (12, 96, 96))
    blank = np.random.default_rng(2).random(white.shape) < 0.8
    correlation = noise.autocorrelation(white, blank, 10)
    assert correlation[10, 10] == pytest.approx(4.0, rel=0.02)
    _, power = noise.radial_power(correlation)
    assert power == pytest.approx(1, abs=0.12)  # 9e4 pixels; the innermost ring holds few modes
    kernel = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25])
    smooth = np.stack([convolve(image, kernel, mode="wrap") for image in white])
    _, found = noise.radial_power(noise.autocorrelation(smooth, np.ones_like(blank), 10))
    angle = 2 * np.pi * np.fft.fftfreq(420)  # averaged over the same rings, finely
    transfer = (np.outer(1 + np.cos(angle), 1 + np.cos(angle)) / 4) ** 2
    ring = np.digitize(np.hypot(*np.meshgrid(np.fft.fftfreq(420), np.fft.fftfreq(420))), np.linspace(0, 0.5, 13)) - 1
    expected = np.array([transfer[ring == k].mean() for k in range(12)]) / np.sum(kernel**2)
    assert found == pytest.approx(expected, abs=0.12 * expected.max())  # the taper smooths peaks
    assert expected[0] > 5 * expected[8]


def test_blank_pixels_leave_out_sources_and_missing_pixels_only() -> None:
    image = np.random.default_rng(4).normal(0, 1, (80, 80))
    y, x = np.mgrid[:80, :80]
    distance = np.hypot(x - 30, y - 50)
    image += 40 * np.exp(-0.5 * (distance / 3) ** 2)
    image[:5] = 0
    blank = noise.blank_pixels(image)
    assert not blank[distance < 8].any()
    assert not blank[:5].any()
    assert blank[(distance > 16) & (y >= 5)].mean() > 0.95


def test_the_break_is_the_ratio_of_mean_f_nu_at_rest() -> None:
    wave = 3600 + 0.8 * np.arange(7781)
    z = np.array([0.0, 0.1, 0.5, 1.5])
    flat = np.broadcast_to(wave**-2.0, (4, len(wave)))
    step = flat * np.where(wave / (1 + z[:, None]) < 3975, 1.0, 1.7)
    assert spectra.dn4000(wave, flat, z)[:3] == pytest.approx(1, abs=1e-9)
    assert spectra.dn4000(wave, step, z)[:3] == pytest.approx(1.7, abs=1e-9)
    assert np.isnan(spectra.dn4000(wave, flat, z)[3])  # 4100 A at rest lie beyond the red end
    assert np.isnan(spectra.dn4000(wave, -flat[:1], z[:1]))


def test_signal_to_noise_ignores_invalid_pixels() -> None:
    flux = np.full((1, 9), 4.0)
    ivar = np.full((1, 9), 0.25)
    flux[0, :5], ivar[0, :5] = 1000.0, 0.0
    assert spectra.median_snr(flux, ivar) == pytest.approx(2.0)


def test_emission_line_classes_follow_the_published_curves() -> None:
    x = np.array([-0.8, -0.5, -0.2, 0.0, 0.2, 0.6])
    y = np.array([0.2, 0.0, -0.2, -0.3, 0.6, -1.0])
    assert spectra.bpt_class(x, y).tolist() == [0, 0, 1, 1, 2, 2]
    # worked by hand: .61 / (-.55) + 1.3 and .61 / (-.97) + 1.19 at [NII]/Ha = -.5
    assert spectra.kauffmann2003(np.array(-0.5)) == pytest.approx(0.1909, abs=1e-4)
    assert spectra.kewley2001(np.array(-0.5)) == pytest.approx(0.5611, abs=1e-4)
    line = np.linspace(-1.2, -0.15, 50)
    assert (spectra.abundance_sequence(line) < spectra.kauffmann2003(line)).all()
    assert (spectra.kauffmann2003(line) < spectra.kewley2001(line)).all()


def test_half_of_the_light_lies_within_the_half_light_radius() -> None:
    share, bulge, disc = np.array([0.0, 1.0, 0.3, 0.7]), np.array([1.0, 2.0, 0.5, 3.0]), np.array([4.0, 1.0, 3.0, 3.0])
    found = populations.half_light_radius(share, bulge, disc)
    assert found[:2] == pytest.approx([4.0, 2.0], rel=1e-6)
    assert found[3] == pytest.approx(3.0, rel=1e-6)

    def inside(radius: float, n: int, scale: float, b: float) -> float:
        def light(r: float) -> float:
            return float(np.exp(-b * (r / scale) ** (1 / n)) * r)

        return quad(light, 0, radius, limit=200)[0] / quad(light, 0, 400 * scale, limit=500)[0]

    mixed = 0.3 * inside(found[2], 4, 0.5, 7.669249) + 0.7 * inside(found[2], 1, 3.0, 1.678347)
    assert mixed == pytest.approx(0.5, abs=2e-3)  # a thousandth of a de Vaucouleurs profile lies beyond 400 radii


def test_published_sizes_are_those_of_the_paper_s_figure() -> None:
    assert populations.shen2003_early(11.0) == pytest.approx(4.2, abs=0.2)  # figure 11
    assert populations.shen2003_late(10.6) == pytest.approx(3.6, abs=0.2)


def test_two_sequences_are_told_apart() -> None:
    rng = np.random.default_rng(5)
    colour = np.concatenate([rng.normal(0.5, 0.18, 3000), rng.normal(0.95, 0.05, 2000)])
    found = populations.two_sequences(colour)
    assert (found.red, found.red_width) == pytest.approx((0.95, 0.05), abs=0.01)
    assert (found.blue, found.blue_width) == pytest.approx((0.5, 0.18), abs=0.02)
    assert found.blue_share == pytest.approx(0.6, abs=0.03)


def test_truth_joins_by_id_and_not_by_order(catalogue: SimulatedCatalogue, pack: TemplatePack) -> None:
    ids = catalogue.frame["target_id"].to_numpy()[:40]
    known = truth(ids).set_index("target_id")
    turned = truth(ids[::-1].copy()).set_index("target_id")
    assert known.loc[ids].equals(turned.loc[ids])
    numbers = ids % 10**9
    drawn = draw_candidates(1, 0, int(numbers.max()) + 1, pack).take(numbers)
    assert (known.loc[ids, "quiescent"].to_numpy() == drawn.latents.quiescent).all()
    shape = draw_appearance(drawn, pack).morphology
    ratio = known.loc[ids, "radius_arcsec"] / shape.effective_radius  # circles lie within ellipses
    assert ratio.max() < 1.3
    assert ratio.min() > 0.3
    assert (known.loc[ids, "fibre_mag"] > drawn.mag_r).all()


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return build_survey(tmp_path_factory.mktemp("drawn") / "small", 160, 4, n_workers=0)


@pytest.fixture(scope="module")
def found(survey: Survey) -> dict:
    return drawing.samples(survey, None)


@pytest.mark.parametrize("name", list(drawing.FIGURES))
def test_each_figure_can_be_drawn_without_real_data(name: str, survey: Survey, found: dict, tmp_path: Path) -> None:
    with matplotlib.rc_context():
        drawn = drawing.figures(survey, found, None, n_clustering=600)[name]()
        if isinstance(drawn, Figure):
            write_png(drawn, tmp_path / "drawn.png")
            drawn = np.asarray(Image.open(tmp_path / "drawn.png").convert("RGB")) / 255
    assert min(drawn.shape[:2]) > 200
    assert drawn.shape[2] == 3
    assert np.mean((drawn < 0.8).any(axis=2)) > 0.005  # something stands there


def test_pictures_become_small_files(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).random((60, 90, 3)) ** 3
    write_png(picture, tmp_path / "picture.png")
    stored = np.asarray(Image.open(tmp_path / "picture.png").convert("RGB")) / 255
    assert stored.shape == picture.shape
    assert np.abs(stored - picture).mean() < 0.06  # 256 colours for a cube of random ones


def test_quoted_numbers_name_what_the_text_needs(found: dict) -> None:
    text = drawing.quoted_numbers({galaxies.SIMULATED: pd.concat([found[galaxies.SIMULATED]] * 4)})
    for words in ("red_width", "size by Shen", "Dn4000", "composite", "log10_mstar"):
        assert words in text


def test_documents_show_every_figure_and_no_file_is_large() -> None:
    root = Path(__file__).parents[2] / "docs"
    text = (root / "simulator.md").read_text()
    files = {path.stem: path.stat().st_size for path in (root / "figures" / "simulator").glob("*.png")}
    assert set(files) == set(drawing.FIGURES)
    assert all(f"figures/simulator/{name}.png" in text for name in files)
    assert max(files.values()) < 200_000
    assert sum(files.values()) < 1_500_000


@pytest.mark.real_data
def test_real_catalogues_have_the_colours_of_galaxies(real_data: Path) -> None:
    stripe82, zcosmos = real.stripe82(real_data), real.zcosmos(real_data)
    assert len(stripe82) == 33410
    assert 8000 < len(zcosmos) < 17358  # secure redshifts with all three magnitudes
    for sample in (stripe82, zcosmos):
        near = sample[(sample["z"] > 0.08) & (sample["z"] < 0.12) & (sample["r"] < 20)]
        found = populations.two_sequences(near["gr"].to_numpy())
        assert found.red == pytest.approx(0.90, abs=0.06)  # 9 Gyr at solar metallicity, z = .1
        assert near["rz"].between(0, 1.2).mean() > 0.95
    z, weight = galaxies.bgs_selected(zcosmos)
    assert 0.1 < np.average(z, weights=weight) < 0.3
    assert set(np.unique(weight)) == {0.35, 1.0}


@pytest.mark.real_data
def test_real_images_and_spectra_are_read(real_data: Path) -> None:
    assert real.legacy_cube(real_data).shape == (3, 256, 256)
    cutouts = real.zoo_cutouts(real_data, 5)
    assert cutouts.shape == (5, 152, 152, 3)
    assert cutouts[:, 60:92, 60:92].mean() > 2 * cutouts[:, :16, :16].mean()  # a galaxy in the middle
    magnitude, snr = real.desi_snr(real_data)
    assert magnitude == pytest.approx(20.87, abs=0.01)
    assert snr == pytest.approx(1.68, abs=0.02)

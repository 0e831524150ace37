"""The catalogue as a whole: its distributions, labels, learnability and positions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import r2_score

from benchmark.simulator import SimulatedCatalogue, cosmology
from benchmark.simulator.flavours import SOUTH
from benchmark.simulator.labels import (
    ERROR_CORRELATION,
    LABEL_ERRORS,
    LN10,
    TARGETS,
    provabgs_errors,
    provabgs_labels,
    ssfr_astroclip,
)
from benchmark.simulator.latents import Block
from benchmark.simulator.selection import Proposal, accept, mass_function
from benchmark.simulator.sky import FIELD, ROSETTE_RADIUS_DEG, ROSETTES

QUANTILES = [0.01, 0.16, 0.50, 0.84, 0.99]


def test_redshifts_and_masses_are_those_of_a_bright_galaxy_survey(catalogue: SimulatedCatalogue) -> None:
    # quantiles of the specification (seed 1, n = 4000): the middle ones are known to sqrt(.25 / 4000) = .8 % in rank,
    # about .003 in z and .02 in mass; twice the envelope's change on top. The 1 and 99 % ones stand on 40 galaxies.
    z = np.quantile(catalogue.frame["z"], QUANTILES)
    mass = np.quantile(catalogue.frame["log10_mstar"], QUANTILES)
    assert z[1:4] == pytest.approx([0.11, 0.20, 0.33], abs=0.02)
    assert z[[0, 4]] == pytest.approx([0.03, 0.50], abs=0.06)
    assert mass[1:4] == pytest.approx([9.8, 10.5, 10.95], abs=0.06)
    assert mass[[0, 4]] == pytest.approx([8.5, 11.3], abs=0.15)


def test_few_galaxies_beat_the_envelope_of_the_selection(catalogue: SimulatedCatalogue) -> None:
    assert 0 <= catalogue.facts["n_brighter_than_envelope"] <= 0.003 * 4000
    assert catalogue.facts["n_missing_magnitudes"] == 0


def test_a_galaxy_brighter_than_the_envelope_is_seen() -> None:
    proposal = Proposal()
    mass, z = np.array([9.0, 9.0]), np.array([0.05, 0.05])
    assert proposal.beats_envelope(mass, z, np.array([14.0, 20.0])).tolist() == [True, False]
    # at 11.9 the envelope reaches beyond z = .6: nothing is missing, however bright
    assert not proposal.beats_envelope(np.array([11.9]), np.array([0.1]), np.array([10.0])).any()


def test_the_cut_keeps_bright_galaxies_and_a_third_of_the_faint_ones() -> None:
    mag = np.array([19.4, 19.6, 19.6, 20.1, 20.2])
    kept = accept(mag, np.array([0.9, 0.1, 0.9, 0.34, 0.0]))
    assert kept.tolist() == [True, True, False, True, False]


def test_candidates_follow_the_mass_function_times_volume() -> None:
    u = (np.arange(400_000) + 0.5) / 400_000
    mass, z = Proposal().draw(u, np.random.default_rng(0).permutation(u))
    assert mass.min() > 8
    assert mass.max() < 12
    assert z.min() > 0.01
    assert z.max() < 0.6
    # from 10.7 on z = .6 is the limit and all masses share one volume: counts go as the mass function, z as volume
    counts, edges = np.histogram(mass, bins=np.linspace(10.9, 11.3, 9))
    density = counts / mass_function(0.5 * (edges[1:] + edges[:-1]))
    assert density / density.mean() == pytest.approx(1, abs=0.02)  # the function bends within bins of .05 dex
    massive = cosmology.comoving_distance_mpc(z[mass > 10.9]) ** 3
    share = (massive - massive.min()) / (massive.max() - massive.min())
    assert np.quantile(share, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.01)


def test_the_catalogue_is_cut_in_r(catalogue: SimulatedCatalogue) -> None:
    r = catalogue.frame["mag_r"]
    assert r.max() < SOUTH.faint_limit + 5 * 0.035  # the cut is on noise-free r
    bright, blurred = SOUTH.complete_limit, 0.08  # by noise, which carries galaxies over the step
    beyond = np.mean((r > bright + blurred) & (r < bright + blurred + 0.3))
    before = np.mean((r < bright - blurred) & (r > bright - blurred - 0.3))
    assert beyond / before == pytest.approx(0.35 * 10 ** (0.3 * (0.3 + 2 * blurred)), abs=0.1)


def test_older_galaxies_are_redder(catalogue: SimulatedCatalogue) -> None:
    frame = catalogue.frame[catalogue.frame["z"].between(0.1, 0.2)]
    colour = frame["mag_g"] - frame["mag_r"]
    young, old = frame["t_age_gyr"] < 4, frame["t_age_gyr"] > 8
    assert np.median(colour[old]) > np.median(colour[young]) + 0.2
    assert np.corrcoef(colour, frame["log10_ssfr"])[0, 1] < -0.5


def test_provabgs_like_labels_correlate_with_the_truth_as_specified(catalogue: SimulatedCatalogue) -> None:
    frame = catalogue.frame
    expected = {"log10_mstar": 0.95, "ln_z_mw": 0.83, "t_age_gyr": 0.53, "log10_ssfr": 0.74}
    for name, squared in expected.items():
        found = np.corrcoef(frame[name], frame[f"{name}_provabgs"])[0, 1] ** 2
        assert found == pytest.approx(squared, abs=0.04), name  # .02 from n = 4000, .02 from the population


def test_provabgs_like_labels_scatter_by_the_errors_that_stand_beside_them(catalogue: SimulatedCatalogue) -> None:
    frame = catalogue.frame
    n = len(frame)
    expected = {
        "log10_mstar_provabgs": frame["log10_mstar"],
        "ln_z_mw_provabgs": LN10 * (-1.95 + 0.95 * (frame["ln_z_mw"] / LN10 + 1.95)),
        "log10_ssfr_provabgs": np.log10(10 ** frame["log10_ssfr"] + 10 ** (-1.3 - frame["log10_mstar"]) + 10**-12.3),
    }
    ssfr = expected["log10_ssfr_provabgs"] + expected["log10_mstar_provabgs"]
    expected["ssfr_astroclip"] = LN10 * ssfr - expected["ln_z_mw_provabgs"]
    for name, without_error in expected.items():
        pull = (frame[name] - without_error) / frame[f"{name}_err"]
        assert pull.mean() == pytest.approx(0, abs=4 / np.sqrt(n))
        assert pull.std() == pytest.approx(1, abs=4 / np.sqrt(2 * n))
        # the ceiling is the R2 of a model that knows what the label would be without its error
        ceiling = 1 - (frame[f"{name}_err"] ** 2).sum() / ((frame[name] - frame[name].mean()) ** 2).sum()
        residual = ((frame[name] - without_error) ** 2).sum() / ((frame[name] - frame[name].mean()) ** 2).sum()
        assert 1 - residual == pytest.approx(ceiling, abs=0.03)
    assert set(catalogue.frame.columns) >= {f"{name}_err" for name in LABEL_ERRORS}


def test_errors_of_the_fit_are_those_with_which_labels_were_drawn() -> None:
    n = 40_000
    one = np.ones(n)
    truth = {"z": 0.1 * one, "log10_mstar": 10.5 * one, "ln_z_mw": -4.0 * one, "t_age_gyr": 5 * one}
    truth["log10_ssfr"] = -9.5 * one
    for mag in (17.0, 19.5):
        errors = provabgs_errors(truth, mag * one)
        fitted = provabgs_labels(Block(0, 0, n), truth, mag * one)
        fitted["ssfr_astroclip"] = ssfr_astroclip(fitted)
        assert {f"{name}_err" for name in fitted} == set(errors)
        for name, values in fitted.items():
            assert values.std() == pytest.approx(errors[f"{name}_err"][0], rel=0.02)  # 40,000 draws: .35 %


def test_provabgs_like_errors_have_the_stated_correlation() -> None:
    n = 20000
    truth = {
        "z": np.full(n, 0.1),
        "log10_mstar": np.full(n, 10.5),
        "ln_z_mw": np.full(n, -1.95 * LN10),
        "t_age_gyr": np.full(n, 5.0),
        "log10_ssfr": np.full(n, -9.5),
    }
    fitted = provabgs_labels(Block(0, 0, n), truth, np.full(n, 18.9))
    order = ["t_age_gyr_provabgs", "ln_z_mw_provabgs", "log10_mstar_provabgs", "log10_ssfr_provabgs"]
    found = np.corrcoef([fitted[name] for name in order])
    assert found == pytest.approx(ERROR_CORRELATION, abs=4 / np.sqrt(n) + 0.01)  # ages are clipped in the far tails
    assert fitted["log10_mstar_provabgs"].std() == pytest.approx(0.14, rel=0.03)
    assert fitted["ln_z_mw_provabgs"].std() == pytest.approx(0.14 * LN10, rel=0.03)
    assert fitted["log10_ssfr_provabgs"].std() == pytest.approx(0.25, rel=0.03)


def test_ages_of_the_labels_end_early_and_dead_galaxies_get_a_floor(catalogue: SimulatedCatalogue) -> None:
    frame = catalogue.frame
    assert np.quantile(frame["t_age_gyr_provabgs"], 0.99) < np.quantile(frame["t_age_gyr"], 0.99) - 1.5
    dead = frame["log10_ssfr"] < -11.5
    assert (frame["log10_ssfr_provabgs"] - frame["log10_ssfr"])[dead].mean() > 0


def test_the_papers_ssfr_is_ln_sfr_minus_ln_z_and_is_not_ranked(catalogue: SimulatedCatalogue) -> None:
    row = catalogue.frame.iloc[17]
    sfr = 10 ** row["log10_ssfr_provabgs"] * 10 ** row["log10_mstar_provabgs"]
    assert row["ssfr_astroclip"] == pytest.approx(np.log(sfr) - row["ln_z_mw_provabgs"])
    target = next(t for t in TARGETS if t.name == "ssfr_astroclip")
    assert not target.ranked
    assert not target.joint
    assert "not a specific star-formation rate" in target.description


def test_the_five_truths_are_ranked_and_joint_and_nothing_else_is() -> None:
    truths = ["z", "log10_mstar", "ln_z_mw", "t_age_gyr", "log10_ssfr"]
    assert [t.name for t in TARGETS if t.ranked] == truths
    assert [t.name for t in TARGETS if t.joint] == truths


@pytest.fixture(scope="session")
def learned(catalogue: SimulatedCatalogue) -> dict[str, float]:
    """R2 of gradient boosting on magnitudes and colours, last 800 of 4000 galaxies held out."""
    frame: pd.DataFrame = catalogue.frame
    inputs = np.column_stack([frame["mag_g"] - frame["mag_r"], frame["mag_r"] - frame["mag_z"], frame["mag_r"]])
    learner = HistGradientBoostingRegressor(max_iter=120, learning_rate=0.05, max_leaf_nodes=12, random_state=0)
    names = [t.name for t in TARGETS]
    return {
        n: r2_score(frame[n][3200:], learner.fit(inputs[:3200], frame[n][:3200]).predict(inputs[3200:])) for n in names
    }


@pytest.mark.parametrize(
    ("target", "expected"),
    [("z", 0.68), ("log10_mstar", 0.73), ("ln_z_mw", 0.48), ("t_age_gyr", 0.61), ("log10_ssfr", 0.68)],
)
def test_photometry_tells_as_much_about_the_truth_as_specified(
    learned: dict[str, float], target: str, expected: float
) -> None:
    assert learned[target] == pytest.approx(expected, abs=0.09)  # .02-.04 from seed to seed, .05 of the model


@pytest.mark.parametrize(
    ("target", "expected"),
    [("log10_mstar", 0.70), ("ln_z_mw", 0.40), ("t_age_gyr", 0.31), ("log10_ssfr", 0.55)],
)
def test_photometry_tells_as_much_about_the_labels_as_specified(
    learned: dict[str, float], target: str, expected: float
) -> None:
    assert learned[f"{target}_provabgs"] == pytest.approx(expected, abs=0.09)


def test_galaxies_outside_of_groups_fill_the_rosettes_evenly(catalogue: SimulatedCatalogue) -> None:
    field = catalogue.frame[catalogue.frame["group_id"] == FIELD]
    ra, dec = np.radians(field["ra"].to_numpy()), np.radians(field["dec"].to_numpy())
    ra0, dec0 = np.radians(ROSETTES).T
    cosine = np.sin(dec)[:, None] * np.sin(dec0) + np.cos(dec)[:, None] * np.cos(dec0) * np.cos(ra[:, None] - ra0)
    distance = np.degrees(np.arccos(np.minimum(cosine, 1.0)))
    nearest = distance.min(axis=1)
    assert nearest.max() < ROSETTE_RADIUS_DEG * (1 + 1e-9)
    counts = np.bincount(distance.argmin(axis=1), minlength=len(ROSETTES))
    mean = len(field) / len(ROSETTES)
    assert counts == pytest.approx(mean, abs=4 * np.sqrt(mean))
    # even in area: half of the galaxies beyond radius / sqrt(2)
    assert np.mean(nearest > ROSETTE_RADIUS_DEG / np.sqrt(2)) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(field)))
    assert catalogue.frame["ra"].between(0, 360).all()

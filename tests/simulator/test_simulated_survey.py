"""Determinism, limits and files: a galaxy follows from (survey seed, candidate number) alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.contracts import GalaxybenchError, UsageError
from benchmark.data import load_survey
from benchmark.registry import SURVEYS
from benchmark.simulator import SURVEY_VERSION, SimulatedCatalogue, build_survey, pack, simulate, survey
from benchmark.simulator.latents import DRAWS, Block
from benchmark.simulator.survey import MAX_GALAXIES, MAX_SEED


def test_fewer_galaxies_are_a_prefix_of_more_bit_for_bit(catalogue: SimulatedCatalogue) -> None:
    pd.testing.assert_frame_equal(simulate(700, seed=1).frame, catalogue.frame.head(700), check_exact=True)


@pytest.mark.parametrize("chunk", [1, 37, 5000])
def test_the_chunk_size_changes_nothing_bit_for_bit(
    catalogue: SimulatedCatalogue, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(survey, "CHUNK", chunk)
    n = 12 if chunk == 1 else 300
    pd.testing.assert_frame_equal(simulate(n, seed=1).frame, catalogue.frame.head(n), check_exact=True)


def test_two_seeds_share_no_galaxy(catalogue: SimulatedCatalogue) -> None:
    other = simulate(500, seed=2).frame
    assert not set(other["target_id"]) & set(catalogue.frame["target_id"])
    assert not np.isin(other["z"], catalogue.frame["z"]).any()
    assert np.abs(np.corrcoef(other["z"], catalogue.frame["z"][:500])[0, 1]) < 4 / np.sqrt(500)


def test_ids_are_the_seed_and_the_candidate_number(catalogue: SimulatedCatalogue) -> None:
    ids = catalogue.frame["target_id"].to_numpy()
    assert ids.dtype == np.int64
    assert (ids // 10**9 == 1).all()
    assert np.all(np.diff(ids) > 0)
    assert ids[-1] % 10**9 + 1 == catalogue.facts["n_candidates"]


def test_a_galaxy_can_be_made_alone(catalogue: SimulatedCatalogue) -> None:
    row = catalogue.frame.iloc[123]
    alone = survey.simulate_candidates(1, int(row["target_id"]) % 10**9, 1, pack.load_pack())
    for name in ("z", "mag_g", "mag_err_z", "t_age_gyr", "ssfr_astroclip", "ra"):
        assert alone[name][0] == row[name]


def test_the_largest_seed_gives_ids_that_fit() -> None:
    ids = simulate(5, seed=MAX_SEED).frame["target_id"]
    assert (ids > 0).all()
    assert (ids // 10**9 == MAX_SEED).all()
    assert np.iinfo(np.int64).max < (MAX_SEED + 1) * 10**9 + 10**9 - 1


@pytest.mark.parametrize(
    ("n_galaxies", "seed", "message"),
    [
        (0, 0, r"n_galaxies=0: 1 to 100000000"),
        (-3, 0, r"n_galaxies=-3: 1 to"),
        (MAX_GALAXIES + 1, 0, r"n_galaxies=100000001: 1 to"),
        (10, -1, r"seed=-1: 0 to"),
        (10, MAX_SEED + 1, rf"seed={MAX_SEED + 1}: 0 to {MAX_SEED} are allowed"),
    ],
)
def test_numbers_out_of_range_are_refused(n_galaxies: int, seed: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        simulate(n_galaxies, seed)


def test_a_seed_that_runs_out_of_candidates_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "CANDIDATES_PER_SEED", 3 * survey.CHUNK)
    with pytest.raises(GalaxybenchError, match=r"seed=0 has candidates for \d+ galaxies, not 4000; ask for fewer"):
        simulate(4000)


def test_progress_ends_at_the_number_asked_for() -> None:
    seen: list[tuple[int, int]] = []
    simulate(400, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (400, 400)
    assert seen == sorted(seen)


def test_draws_are_even_independent_and_the_candidates_own() -> None:
    block = Block(5, 0, 20000)
    values = np.array([block.uniform(name) for name in DRAWS])
    assert values.min() > 0
    assert values.max() < 1
    assert values.mean(axis=1) == pytest.approx(0.5, abs=5 * np.sqrt(1 / 12 / 20000))
    assert np.abs(np.corrcoef(values) - np.eye(len(DRAWS))).max() < 5 / np.sqrt(20000)
    assert np.abs(np.corrcoef(values[:, 1:].ravel(), values[:, :-1].ravel())[0, 1]) < 5 / np.sqrt(values.size)
    later = Block(5, 12345, 10)
    assert np.array_equal(later.uniform("dust"), block.uniform("dust")[12345:12355])
    assert not np.isin(Block(5, 0, 100, stream=1).uniform("dust"), values).any()


def test_the_survey_folder_carries_the_catalogue_and_its_facts(tmp_path: Path) -> None:
    written = build_survey(tmp_path / "sim", n_galaxies=200, seed=3, modalities=("photometry",))
    survey_read = load_survey(tmp_path / "sim")
    assert survey_read.info.name == written.info.name == "simulated"
    assert survey_read.info.version == SURVEY_VERSION == SURVEYS["simulated"].version
    assert survey_read.info.simulated
    assert survey_read.info.facts["seed"] == 3
    assert survey_read.info.facts["z_sun"] == 0.02
    assert len(str(survey_read.info.facts["pack_sha256"])) == 64
    assert survey_read.modalities == ("photometry",)
    frame = pd.read_parquet(tmp_path / "sim" / "catalogue.parquet")
    expected = simulate(200, seed=3).frame
    # votes and the conditions of the cutouts come with the images
    pd.testing.assert_frame_equal(frame, expected[list(frame)], check_exact=True)
    left_out = set(expected) - set(frame)
    assert {"psf_fwhm_arcsec_g", "sky_sigma_nanomaggy_z", "bar_strong", "bar_total", "bar_strong_debiased"} <= left_out
    assert not {name for name in frame if name.endswith("_total") or name.startswith("psf_")}
    assert survey_read.info.votes == {}
    assert set(frame["split"]) == {"train", "validation", "test"}

"""Groups on the sky: galaxies of dense environments lie together in position and redshift, all others do not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree

from benchmark.simulator import SimulatedCatalogue
from benchmark.simulator.candidates import draw_candidates
from benchmark.simulator.cosmology import comoving_distance_mpc
from benchmark.simulator.pack import TemplatePack
from benchmark.simulator.sky import FIELD, GROUPS_PER_ROSETTE, ROSETTE_RADIUS_DEG, ROSETTES


def unit(frame: pd.DataFrame) -> np.ndarray:
    ra, dec = np.radians(frame["ra"].to_numpy()), np.radians(frame["dec"].to_numpy())
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def pairs(points: np.ndarray, reach: float) -> int:
    return len(cKDTree(points).query_pairs(reach))


def test_galaxies_cluster_in_space(catalogue: SimulatedCatalogue) -> None:
    frame = catalogue.frame
    distance = comoving_distance_mpc(frame["z"].to_numpy())
    shuffled = distance[np.random.default_rng(0).permutation(len(frame))]
    direction = unit(frame)
    near, chance = (pairs(direction * d[:, None], 6.0) for d in (distance, shuffled))
    assert chance > 20  # so that the ratio means something
    assert near > 2.5 * chance
    # the same without groups: none, within the scatter of counts
    alone = (frame["group_id"] == FIELD).to_numpy()
    field = pairs(direction[alone] * distance[alone, None], 25.0)
    order = np.random.default_rng(1).permutation(alone.sum())
    expected = pairs(direction[alone] * distance[alone][order][:, None], 25.0)
    assert field == pytest.approx(expected, abs=6 * np.sqrt(expected))


def test_members_share_their_groups_place_and_redshift(catalogue: SimulatedCatalogue) -> None:
    frame = catalogue.frame[catalogue.frame["group_id"] != FIELD]
    assert 0.12 < len(frame) / 4000 < 0.30
    rich = [g for _, g in frame.groupby("group_id") if len(g) >= 6]
    assert len(rich) > 15
    for group in rich:
        centre = unit(group).mean(axis=0)
        separation = np.arccos(np.clip(unit(group) @ (centre / np.linalg.norm(centre)), -1, 1))
        mpc = separation * comoving_distance_mpc(group["z"].to_numpy()) / (1 + group["z"].to_numpy())
        assert np.median(mpc) < 1.5
        velocity = 299792.458 * (group["z"] - group["z"].median()) / (1 + group["z"].median())
        assert velocity.abs().max() < 5 * 800
    assert frame["group_id"].between(1, len(ROSETTES) * GROUPS_PER_ROSETTE).all()


def test_groups_hold_more_quiescent_galaxies(pack: TemplatePack) -> None:
    drawn = draw_candidates(8, 0, 12000, pack)
    middle = np.abs(drawn.latents.log10_mstar - 10.5) < 0.4
    joined = drawn.places.group_id != FIELD
    share = [np.mean(drawn.latents.quiescent[middle & rows]) for rows in (joined, ~joined)]
    assert share[0] > share[1] + 0.08


def test_joining_a_group_hardly_moves_the_redshift(catalogue: SimulatedCatalogue) -> None:
    assert catalogue.frame["z"].between(0.01, 0.6).all()
    z = catalogue.frame["z"].to_numpy()
    grouped = (catalogue.frame["group_id"] != FIELD).to_numpy()
    # the field is where the groups are, within .03 and the scatter of quantiles
    assert np.quantile(z[grouped], [0.2, 0.5, 0.8]) == pytest.approx(
        np.quantile(z[~grouped], [0.2, 0.5, 0.8]), abs=0.06
    )


def test_members_stay_near_their_rosette(catalogue: SimulatedCatalogue) -> None:
    ra0, dec0 = np.radians(ROSETTES).T
    centres = np.stack([np.cos(dec0) * np.cos(ra0), np.cos(dec0) * np.sin(ra0), np.sin(dec0)])
    distance = np.degrees(np.arccos(np.clip(unit(catalogue.frame) @ centres, -1, 1))).min(axis=1)
    assert np.mean(distance > ROSETTE_RADIUS_DEG) < 0.03  # nearby groups reach over the edge
    assert distance.max() < ROSETTE_RADIUS_DEG + 3
    assert catalogue.frame["dec"].between(-90, 90).all()

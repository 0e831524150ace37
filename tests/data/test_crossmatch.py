"""Matching by position: each galaxy and each row once, whatever their order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.contracts import GalaxybenchError
from benchmark.data import import_survey
from benchmark.data.importing.crossmatch import match_positions

ARCSEC = 1 / 3600


def test_matches_are_the_true_pairs_all_over_the_sky() -> None:
    rng = np.random.default_rng(3)
    ra = np.concatenate([rng.uniform(0, 360, 300), [0.0, 359.9999, 10.0, 10.0]])
    dec = np.concatenate([np.degrees(np.arcsin(rng.uniform(-1, 1, 300))), [0.0, 45.0, 89.9999, -89.9999]])
    order = rng.permutation(len(ra))
    angle = rng.uniform(0, 2 * np.pi, len(ra))
    shift = 0.3 * ARCSEC
    other_dec = dec + shift * np.sin(angle) * np.sign(-dec + 1e-9)  # never over a pole
    other_ra = (ra + 0.5 * shift * np.cos(angle)) % 360
    found = match_positions(ra, dec, other_ra[order], other_dec[order], 1.0)
    np.testing.assert_array_equal(order[found.row], np.arange(len(ra)))
    assert (found.separation_arcsec < 0.5).all()
    assert not len(found.ambiguous)
    assert not len(found.repeated)


def test_the_nearest_pair_wins_and_the_others_are_listed() -> None:
    ra = np.array([10.0, 10.0 + 0.8 * ARCSEC, 50.0, np.nan])
    dec = np.zeros(4)
    other_ra = np.array([10.0 + 0.1 * ARCSEC, 50.0 + 0.5 * ARCSEC, 50.0 - 0.2 * ARCSEC, 120.0])
    found = match_positions(ra, dec, other_ra, np.zeros(4), 1.0)
    np.testing.assert_array_equal(found.row, [0, -1, 2, -1])  # row 0 goes to its nearest galaxy, galaxy 1 has none
    np.testing.assert_array_equal(found.repeated, [0])
    np.testing.assert_array_equal(found.ambiguous, [2])
    np.testing.assert_allclose(found.separation_arcsec[[0, 2]], [0.1, 0.2], rtol=1e-6)


def test_impossible_radii_and_declinations_are_refused() -> None:
    one = np.array([1.0])
    with pytest.raises(GalaxybenchError, match="radius_arcsec = 0: must be above 0"):
        match_positions(one, one, one, one, 0)
    with pytest.raises(GalaxybenchError, match="dec = 91: must lie within"):
        match_positions(one, np.array([91.0]), one, one, 1)


def test_a_source_is_joined_by_position_with_its_doubts_counted(tmp_path: Path) -> None:
    n = 40
    rng = np.random.default_rng(9)
    table = pd.DataFrame({"id": 10**17 + np.arange(n), "ra": rng.uniform(0, 360, n), "dec": rng.uniform(-60, 60, n)})
    table["z"] = rng.uniform(0, 1, n)
    table.to_parquet(tmp_path / "a.parquet")
    other = table[["ra", "dec"]].assign(mag=np.arange(n, dtype=float)).sample(frac=1, random_state=1)
    other["dec"] += 0.4 * ARCSEC
    double = other.iloc[[0]].assign(mag=99.5, dec=other["dec"].iloc[0] + 0.5 * ARCSEC)
    far = other.iloc[[1]].assign(dec=0.0, ra=0.0)
    pd.concat([double, other, far]).to_parquet(tmp_path / "b.parquet")
    spec = tmp_path / "s.toml"
    spec.write_text(
        'name = "m"\n[[source]]\npath = "a.parquet"\nid = "id"\nra = "ra"\ndec = "dec"\ntargets = {z = "z"}\n'
        '[[source]]\npath = "b.parquet"\nmatch = {ra = "ra", dec = "dec", radius_arcsec = 1.0}\n'
        'photometry = {r = "mag"}\n'
    )
    survey, report = import_survey(spec, tmp_path / "out", data_dir=tmp_path)
    np.testing.assert_array_equal(survey.catalogue["mag_r"], np.arange(n))
    text = report.text()
    assert "42 rows read, 40 kept; 2 dropped: no galaxy within 1 arcsec, or a nearer row" in text
    assert "median separation 0.400 arcsec" in text
    assert (
        f"ambiguous: 1 galaxies have several rows within the radius, the nearest was taken: {10**17 + other.index[0]}"
        in text
    )
    # the other way round one row lies by two galaxies: the nearer one has it, the other one has none
    pd.concat([double, other, far]).assign(id=np.arange(n + 2)).to_parquet(tmp_path / "turned.parquet")
    turned_spec = tmp_path / "turned.toml"
    turned_spec.write_text(
        'name = "m"\n[[source]]\npath = "turned.parquet"\nid = "id"\nra = "ra"\ndec = "dec"\ntargets = {m = "mag"}\n'
        '[[source]]\npath = "a.parquet"\nmatch = {ra = "ra", dec = "dec", radius_arcsec = 1.0}\ntargets = {z = "z"}\n'
    )
    turned, report = import_survey(turned_spec, tmp_path / "turned", data_dir=tmp_path)
    assert turned.n_galaxies == n + 2
    assert turned.catalogue["z"].notna().sum() == n
    assert (
        "repeated: 1 rows have several galaxies within the radius, the nearest has it: "
        f"rows {other.index[0]} (1 in all)" in report.text()
    )
    assert "40 of 42 galaxies matched" in report.text()
    (tmp_path / "b.parquet").rename(tmp_path / "c.parquet")
    spec.write_text(
        spec.read_text().replace("b.parquet", "c.parquet").replace('ra = "ra"\ndec = "dec"\ntargets', "targets")
    )
    with pytest.raises(GalaxybenchError, match="match needs ra and dec of the galaxies"):
        import_survey(spec, tmp_path / "out2", data_dir=tmp_path)

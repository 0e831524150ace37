"""The pack against known facts of stellar populations and of the AB system, and what happens when it is damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmark.contracts import GalaxybenchError
from benchmark.simulator.flavours import FLAVOURS
from benchmark.simulator.lines import HALPHA_PER_PHOTON
from benchmark.simulator.pack import PACK_PATH, TemplatePack, load_pack, seen_by
from benchmark.simulator.sfh import AgeBins


def colour(pack: TemplatePack, metal: int, age: int, blue: str, red: str, z: float = 0.0) -> float:
    wave = pack.wave_angstrom * (1 + z)
    flux = {b: pack.filters[b].weights(wave) @ pack.luminosity[metal, age] for b in (blue, red)}
    return float(-2.5 * np.log10(flux[blue] / flux[red]))


def test_the_pack_is_small_and_holds_no_pickled_objects() -> None:
    assert PACK_PATH.stat().st_size < 2.5e6
    with np.load(PACK_PATH, allow_pickle=False) as arrays:
        facts = json.loads(str(arrays["facts_json"]))
        assert all(arrays[name].dtype != object for name in arrays.files)
    assert len(facts["inputs_sha256"]) == 1 + 54 + 11 + 1  # PopStar, the MaStar grid, eleven filters, sky lines
    assert all(len(digest) == 64 for digest in facts["inputs_sha256"].values())
    assert "Molla" in (PACK_PATH.parent / "NOTICE").read_text()


def test_the_grid_reaches_what_the_survey_sees(pack: TemplatePack) -> None:
    assert np.all(np.diff(pack.wave_angstrom) > 0)
    for flavour in FLAVOURS.values():
        for curve in seen_by(pack, flavour).filters.values():
            assert pack.wave_angstrom[0] <= curve.wave_angstrom[0] / (1 + flavour.z_max)
            assert pack.wave_angstrom[-1] >= curve.wave_angstrom[-1] / (1 + flavour.z_min)
    assert np.isfinite(pack.luminosity).all()
    assert (pack.luminosity > 0).all()


def test_constant_star_formation_has_the_known_halpha_luminosity(pack: TemplatePack) -> None:
    # 1 Msun/yr for 100 Myr at solar metallicity; log10 L = 41.262 by an independent integral over PopStar's own ages,
    # 41.27 in Kennicutt & Evans 2012. The tolerance is what 44 ages instead of 106 may cost.
    formed = AgeBins(pack.age_gyr).overlap_gyr(0.1) * 1e9
    solar = list(pack.metallicity).index(pack.z_sun)
    assert np.log10(HALPHA_PER_PHOTON * formed @ pack.ionising_rate[solar]) == pytest.approx(41.262, abs=0.03)


def test_an_old_metal_rich_population_has_the_colours_of_the_red_sequence(pack: TemplatePack) -> None:
    old, solar = int(np.abs(pack.age_gyr - 10).argmin()), list(pack.metallicity).index(0.02)
    # rest g-r .77 +- .05 and r-z .67 for the most massive early types (Schombert 2016, AJ 152, 214; DECam ~ SDSS)
    assert colour(pack, solar, old, "g", "r") == pytest.approx(0.79, abs=0.06)
    assert colour(pack, solar, old, "r", "z") == pytest.approx(0.68, abs=0.08)
    # luminous red galaxies at z = .4: g-r 1.8 (Eisenstein et al. 2001, AJ 122, 2267, table 1)
    assert colour(pack, solar, old, "g", "r", z=0.4) == pytest.approx(1.8, abs=0.12)


def test_populations_redden_and_fade_with_age_and_metallicity(pack: TemplatePack) -> None:
    ages = [int(np.abs(pack.age_gyr - t).argmin()) for t in (0.1, 0.3, 1, 3, 10)]
    by_age = [colour(pack, 3, age, "g", "r") for age in ages]
    assert np.all(np.diff(by_age) > 0)
    by_metal = [colour(pack, metal, ages[-1], "g", "r") for metal in range(len(pack.metallicity))]
    assert np.all(np.diff(by_metal) > 0)
    v_band = pack.luminosity[3, ages][:, np.abs(pack.wave_angstrom - 5500) < 50].mean(axis=1)
    assert np.all(np.diff(v_band) < 0)


def test_a_flat_spectrum_of_r_19_5_has_the_same_ab_magnitude_in_every_band(pack: TemplatePack) -> None:
    wave = np.arange(3000.0, 11000.0)
    f_lambda = 3.631e-20 * 10 ** (-0.4 * 19.5) * 2.99792458e18 / wave**2
    assert f_lambda[wave == 6400][0] == pytest.approx(4.2e-17, rel=0.01)
    for curve in pack.curves.values():
        nanomaggies = curve.weights(wave) @ f_lambda
        assert 22.5 - 2.5 * np.log10(nanomaggies) == pytest.approx(19.5, abs=1e-4)  # 1-A steps against 10-A curves


def test_the_bands_lie_where_decam_has_them(pack: TemplatePack) -> None:
    expected = {"g": 4810, "r": 6420, "z": 9170}  # Abbott et al. 2018, ApJS 239, 18 (effective wavelengths)
    assert list(pack.filters) == list(expected)
    for band, wave in expected.items():
        assert pack.filters[band].pivot_angstrom == pytest.approx(wave, rel=0.01)


@pytest.mark.parametrize(
    ("flavour", "expected"),
    [
        ("north", {"g": 4810, "r": 6420, "z": 9170}),  # made to be like DECam's
        # mean wavelengths of Subaru/HSC in the SVO Filter Profile Service
        ("deep", {"g": 4816, "r": 6234, "i": 7741, "z": 8912, "Y": 9780}),
    ],
)
def test_bands_of_other_flavours_lie_where_their_telescopes_have_them(
    pack: TemplatePack, flavour: str, expected: dict[str, float]
) -> None:
    seen = seen_by(pack, FLAVOURS[flavour])
    assert {band: curve.pivot_angstrom for band, curve in seen.filters.items()} == pytest.approx(expected, rel=0.012)
    assert seen_by(pack, FLAVOURS[flavour]) is seen
    assert seen_by(pack, FLAVOURS["south"]) is pack


@pytest.fixture
def copied_pack(tmp_path: Path) -> Path:
    for name in ("templates.npz", "templates.npz.sha256"):
        shutil.copy(PACK_PATH.parent / name, tmp_path / name)
    return tmp_path / "templates.npz"


def test_a_copy_of_the_pack_loads(copied_pack: Path, pack: TemplatePack) -> None:
    assert load_pack(copied_pack).sha256 == pack.sha256


@pytest.mark.parametrize("name", ["templates.npz", "templates.npz.sha256"])
def test_a_missing_file_is_one_clear_error(copied_pack: Path, name: str) -> None:
    (copied_pack.parent / name).unlink()
    with pytest.raises(GalaxybenchError, match=rf"{name} is missing; reinstall galaxybench"):
        load_pack(copied_pack)


@pytest.mark.parametrize("damage", ["truncate", "alter", "empty"])
def test_a_damaged_pack_is_one_clear_error(copied_pack: Path, damage: str) -> None:
    content = bytearray(copied_pack.read_bytes())
    content[1000] ^= 1
    damaged = {"truncate": bytes(content[:5000]), "alter": bytes(content), "empty": b""}
    copied_pack.write_bytes(damaged[damage])
    with pytest.raises(GalaxybenchError, match=r"was truncated or altered; reinstall galaxybench"):
        load_pack(copied_pack)


def test_an_empty_checksum_is_no_licence(copied_pack: Path) -> None:
    copied_pack.with_name("templates.npz.sha256").write_text("")
    with pytest.raises(GalaxybenchError, match="says nothing"):
        load_pack(copied_pack)

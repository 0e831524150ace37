"""Each latent moves the light of a galaxy the way physics says, everything else being equal.

Images and spectra have such tests of their own; here it is magnitudes and emission lines.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from benchmark.simulator import fibre, lines, photometry
from benchmark.simulator.candidates import Candidates, draw_candidates
from benchmark.simulator.dust import draw_dust
from benchmark.simulator.lines import LINES, LineTemplates
from benchmark.simulator.pack import TemplatePack, seen_by
from benchmark.simulator.sfh import AgeBins

NAMES = list(LINES)


class Universe:
    """Some galaxies, and what they would look like if something about them were different."""

    def __init__(self, pack: TemplatePack) -> None:
        drawn = draw_candidates(41, 0, 4000, pack)
        self.drawn: Candidates = drawn.take(np.flatnonzero(drawn.kept)[:300])
        self.pack = seen_by(pack, drawn.flavour)
        self.bins = AgeBins(pack.age_gyr)
        self.quiescent = self.drawn.latents.quiescent

    def magnitudes(self, **changes: Any) -> np.ndarray:
        """(n, 3) noise-free g, r, z of stars and lines."""
        d = replace(self.drawn, **changes)
        tables = photometry.band_tables(self.pack, d.flavour.z_max)
        stars = photometry.stellar_fluxes(d.latents, d.history, d.metallicity, d.dust, tables).sum(axis=1)
        return 22.5 - 2.5 * np.log10(stars + photometry.line_fluxes(d.latents.z, self.lines(**changes), self.pack))

    def lines(self, **changes: Any) -> np.ndarray:
        d = replace(self.drawn, **changes)
        return lines.draw_lines(d.block, d.latents, d.history, d.metallicity, d.dust, LineTemplates(self.pack))

    def line(self, name: str, **changes: Any) -> np.ndarray:
        return self.lines(**changes)[:, NAMES.index(name)]

    def formed_at(self, age_gyr: float, share: float, component: slice) -> Any:
        """Histories of which ``share`` of the surviving mass of a component was formed at one age."""
        formed = self.drawn.history.formed.copy()
        place = np.abs(self.bins.age_gyr - age_gyr).argmin()
        kept = np.sum(formed[:, component] * self.bins.remaining, axis=-1)
        formed[:, component] *= 1 - share
        formed[:, component, place] += share * kept / self.bins.remaining[place]
        return replace(self.drawn.history, formed=formed)


@pytest.fixture(scope="module")
def universe(pack: TemplatePack) -> Universe:
    return Universe(pack)


BOTH, DISC = slice(0, 2), slice(1, 2)


def colour(magnitudes: np.ndarray) -> np.ndarray:
    return magnitudes[:, 0] - magnitudes[:, 1]


def test_the_galaxies_are_those_of_the_survey(universe: Universe) -> None:
    assert universe.magnitudes()[:, 1] == pytest.approx(universe.drawn.mag_r, abs=1e-6)


def test_age_fades_and_reddens(universe: Universe) -> None:
    steps = [universe.magnitudes(history=universe.formed_at(age, 1.0, BOTH)) for age in (0.1, 0.4, 1.5, 4.0, 10.0)]
    for younger, older in pairwise(steps):
        assert (older[:, 1] > younger[:, 1]).all()
        assert np.mean(colour(older) > colour(younger)) > 0.97


def test_a_burst_brightens_makes_blue_and_lights_the_gas(universe: Universe) -> None:
    before, after = universe.magnitudes(), universe.magnitudes(history=universe.formed_at(0.005, 0.03, DISC))
    old = universe.quiescent & (universe.drawn.latents.bulge_fraction < 0.9)
    assert (after[old, 1] < before[old, 1]).all()
    assert np.median(colour(before)[old] - colour(after)[old]) > 0.1
    gain = universe.line("Halpha", history=universe.formed_at(0.005, 0.03, DISC)) / universe.line("Halpha")
    assert (gain[old] > 3).all()


def test_metals_redden_old_stars(universe: Universe) -> None:
    old = universe.formed_at(8.0, 1.0, BOTH)
    metallicity = universe.drawn.metallicity
    steps = []
    for node in range(len(universe.pack.metallicity)):
        only = np.zeros_like(metallicity.node_weights)
        only[..., node] = 1.0
        steps.append(universe.magnitudes(history=old, metallicity=replace(metallicity, node_weights=only)))
    near = universe.drawn.latents.z < 0.3
    for poorer, richer in pairwise(steps):
        assert np.all(colour(richer)[near] > colour(poorer)[near])


def test_mass_scales_the_light_and_nothing_else(universe: Universe) -> None:
    latents = universe.drawn.latents
    heavier = replace(latents, log10_mstar=latents.log10_mstar + 0.4)
    tables = photometry.band_tables(universe.pack, universe.drawn.flavour.z_max)
    d = universe.drawn
    twice = photometry.stellar_fluxes(heavier, d.history, d.metallicity, d.dust, tables)
    assert twice == pytest.approx(d.stars * 10**0.4, rel=1e-5)


def test_distance_dims_and_redshift_reddens_dead_galaxies(universe: Universe) -> None:
    latents, dead = universe.drawn.latents, universe.quiescent
    steps = [universe.magnitudes(latents=replace(latents, z=np.full_like(latents.z, z))) for z in (0.05, 0.15, 0.3)]
    for near, far in pairwise(steps):
        assert np.all(far > near)
        assert np.all(colour(far)[dead] > colour(near)[dead])


def test_inclination_dims_and_reddens_the_disc_and_spares_the_bulge(universe: Universe) -> None:
    latents = universe.drawn.latents
    tables = photometry.band_tables(universe.pack, universe.drawn.flavour.z_max)
    d, seen = universe.drawn, []
    for cos_i in (1.0, 0.5, 0.05):
        tilted = replace(latents, cos_inclination=np.full_like(latents.z, cos_i))
        dust = replace(draw_dust(d.block, tilted), slope=d.dust.slope)
        seen.append(photometry.stellar_fluxes(tilted, d.history, d.metallicity, dust, tables))
    disc = latents.bulge_fraction < 1
    for face, edge in pairwise(seen):
        assert np.all(edge[disc, 1, :] < face[disc, 1, :])
        dimmed = edge[disc, 1] / face[disc, 1]
        assert np.all(dimmed[:, 0] < dimmed[:, 2])
        assert edge[:, 0] == pytest.approx(face[:, 0], rel=0.08)  # its few young stars sit in clouds of the disc's dust


def test_a_steeper_law_reddens_at_the_same_attenuation(universe: Universe) -> None:
    dust = replace(universe.drawn.dust, a_v=np.full_like(universe.drawn.dust.a_v, 1.0))
    grey, steep = (universe.magnitudes(dust=replace(dust, slope=np.full(300, s))) for s in (0.3, -0.7))
    assert np.all(colour(steep) > colour(grey))


def test_birth_clouds_raise_the_balmer_decrement(universe: Universe) -> None:
    dust = universe.drawn.dust
    clouded = replace(dust, a_v_birth=dust.a_v_birth + 1.0)
    before = universe.line("Halpha") / universe.line("Hbeta")
    after = universe.line("Halpha", dust=clouded) / universe.line("Hbeta", dust=clouded)
    # k(Hb) - k(Ha) = 1.27 by k(V) = 4.05 in Calzetti et al. 2000: .31 mag at slope 0
    flat = np.abs(dust.slope) < 0.05
    assert np.all(after > before)
    assert -2.5 * np.log10(before / after)[flat] == pytest.approx(0.31, abs=0.04)


def test_richer_gas_has_more_nitrogen_and_less_oxygen_lines(universe: Universe) -> None:
    d, forming = universe.drawn, ~universe.quiescent
    component = d.metallicity.component.copy()
    component[:, 1] += 0.4
    richer = replace(d.metallicity, component=component)

    def ratio(a: str, b: str, **changes: Any) -> np.ndarray:
        return universe.line(a, **changes) / universe.line(b, **changes)

    nitrogen = ratio("NII_6585", "Halpha", metallicity=richer) / ratio("NII_6585", "Halpha")
    oxygen = ratio("OIII_5008", "Hbeta", metallicity=richer) / ratio("OIII_5008", "Hbeta")
    assert np.all(nitrogen[forming] >= 1 - 1e-9)
    assert np.all(oxygen[forming] <= 1 + 1e-9)
    assert np.median(nitrogen[forming]) > 1.03
    assert np.median(oxygen[forming]) < 0.9


def test_an_active_nucleus_raises_the_excitation(universe: Universe, monkeypatch: pytest.MonkeyPatch) -> None:
    before = universe.line("OIII_5008") / universe.line("Hbeta")
    monkeypatch.setattr(lines, "_nuclear_width", lambda block, latents: np.full_like(latents.z, 20.0))
    after = universe.line("OIII_5008") / universe.line("Hbeta")
    massive = universe.drawn.latents.log10_mstar > 10
    assert np.all(after[massive] > before[massive])


def test_old_stars_light_the_gas_of_dead_galaxies(universe: Universe) -> None:
    none_young = universe.formed_at(10.0, 1.0, BOTH)
    assert (universe.line("Halpha", history=none_young) > 0).all()
    nitrogen = np.log10(universe.line("NII_6585", history=none_young) / universe.line("Halpha", history=none_young))
    assert np.mean(nitrogen > -0.25) > 0.95  # LINERs: Kewley et al. 2006, MNRAS 372, 961


def test_bulges_redden_and_concentrate(universe: Universe) -> None:
    latents, d = universe.drawn.latents, universe.drawn
    shares = d.history.formed * universe.bins.remaining
    both = (latents.bulge_fraction > 0.05) & (latents.bulge_fraction < 0.6) & ~universe.quiescent
    bulge = latents.bulge_fraction
    more = np.minimum(bulge + 0.3, 0.95)
    scale = np.stack([more / np.maximum(bulge, 1e-9), (1 - more) / (1 - bulge)], axis=1)
    moved = replace(d.history, formed=d.history.formed * scale[..., None])
    assert np.sum(shares * scale[..., None], axis=(1, 2))[both] == pytest.approx(1.0)
    clean = replace(d.dust, a_v=d.dust.a_v * 0, a_v_birth=d.dust.a_v_birth * 0)  # which bulges have less of
    before, after = universe.magnitudes(dust=clean), universe.magnitudes(dust=clean, history=moved)
    assert np.mean(colour(after)[both] > colour(before)[both]) > 0.95
    # and more of a bulge's light than of a disc's enters a fibre, where it is the smaller one
    share = fibre.fibre_shares(latents)
    smaller = both & (latents.bulge_kpc < 0.7 * latents.disc_kpc)
    assert np.mean(share[smaller, 0] > share[smaller, 1]) > 0.95  # discs seen from the side are narrow

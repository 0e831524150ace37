"""One simulated catalogue and one block of candidates, shared by all tests of the simulator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from benchmark.simulator import SimulatedCatalogue, simulate
from benchmark.simulator.dust import Dust, draw_dust
from benchmark.simulator.latents import Block, Latents, draw_latents
from benchmark.simulator.metallicity import Metallicity, draw_metallicity
from benchmark.simulator.pack import TemplatePack, load_pack
from benchmark.simulator.selection import Proposal
from benchmark.simulator.sfh import AgeBins, History, draw_history


@dataclass(frozen=True)
class Candidates:
    """What `simulate_candidates` draws before it computes light."""

    block: Block
    latents: Latents
    history: History
    metallicity: Metallicity
    dust: Dust


@pytest.fixture(scope="session")
def pack() -> TemplatePack:
    return load_pack()


@pytest.fixture(scope="session")
def catalogue() -> SimulatedCatalogue:
    return simulate(4000, seed=1)


@pytest.fixture(scope="session")
def candidates(pack: TemplatePack) -> Candidates:
    block = Block(7, 0, 4000)
    latents = draw_latents(block, Proposal())
    return Candidates(
        block,
        latents,
        draw_history(block, latents, AgeBins(pack.age_gyr)),
        draw_metallicity(block, latents, pack),
        draw_dust(block, latents),
    )

    """Every 50th candidate: enough for comparisons that are slow for each galaxy."""
    return np.arange(0, 4000, 50)

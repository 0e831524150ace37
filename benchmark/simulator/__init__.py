"""The embedded survey: a forward-simulated, DESI-like galaxy survey that needs no download."""

from benchmark.simulator.flavours import FLAVOURS, Band, Flavour
from benchmark.simulator.pool import Pool, draw_pool
from benchmark.simulator.reference import ReferenceDraws, reference_posterior
from benchmark.simulator.survey import SURVEY_VERSION, SimulatedCatalogue, build_survey, simulate

__all__ = [
    "FLAVOURS",
    "SURVEY_VERSION",
    "Band",
    "Flavour",
    "Pool",
    "ReferenceDraws",
    "SimulatedCatalogue",
    "build_survey",
    "draw_pool",
    "reference_posterior",
    "simulate",
]

"""The embedded survey: a forward-simulated, DESI-like galaxy survey that needs no download."""

from benchmark.simulator.survey import (
    SURVEY_VERSION,
    SimulatedCatalogue,
    build_photometry_survey,
    build_survey,
    simulate,
)

__all__ = ["SURVEY_VERSION", "SimulatedCatalogue", "build_photometry_survey", "build_survey", "simulate"]

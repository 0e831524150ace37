"""Surveys that have a name and are built on first use."""

from benchmark.contracts import Reference, SurveyCard

_REFERENCES = (
    Reference(
        "Hahn, C., Wilson, M. J., Ruiz-Macias, O., et al.", 2023, "The DESI Bright Galaxy Survey", "arXiv:2208.08512"
    ),
    Reference(
        "Molla, M., Garcia-Vargas, M. L., Bressan, A.",
        2009,
        "PopStar I: evolutionary synthesis models",
        "doi:10.1111/j.1365-2966.2009.15160.x",
    ),
)

SURVEYS: tuple[SurveyCard, ...] = (
    SurveyCard(
        name="simulated",
        build="benchmark.simulator:build_survey",
        options={"modalities": ("photometry",)},
        targets="benchmark.simulator.labels:TARGETS",
        modalities=("photometry",),
        seconds_per_galaxy=0.002,
        summary="forward-simulated DESI-like galaxies with known truth: g, r, z photometry, five physical targets",
        version="2",
        references=_REFERENCES,
    ),
    SurveyCard(
        name="simulated-multimodal",
        build="benchmark.simulator:build_survey",
        targets="benchmark.simulator.labels:TARGETS",
        modalities=("photometry", "image", "spectrum"),
        seconds_per_galaxy=0.011,
        votes="benchmark.simulator.votes:QUESTIONS",
        summary="the galaxies of 'simulated' with g, r, z images, DESI-like spectra and Galaxy Zoo votes too",
        version="2",
        references=_REFERENCES,
    ),
)

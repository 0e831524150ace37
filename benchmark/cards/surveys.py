"""Surveys that have a name and are built on first use."""

from benchmark.contracts import Reference, SurveyCard

SURVEYS: tuple[SurveyCard, ...] = (
    SurveyCard(
        name="simulated",
        build="benchmark.simulator:build_survey",
        targets="benchmark.simulator.labels:TARGETS",
        modalities=("photometry", "image", "spectrum"),
        seconds_per_galaxy=0.011,
        votes="benchmark.simulator.votes:QUESTIONS",
        summary="forward-simulated DESI-like galaxies with known truth: spectra, g, r, z images and photometry, votes",
        version="2",
        references=(
            Reference(
                "Hahn, C., Wilson, M. J., Ruiz-Macias, O., et al.",
                2023,
                "The DESI Bright Galaxy Survey",
                "arXiv:2208.08512",
            ),
            Reference(
                "Molla, M., Garcia-Vargas, M. L., Bressan, A.",
                2009,
                "PopStar I: evolutionary synthesis models",
                "doi:10.1111/j.1365-2966.2009.15160.x",
            ),
        ),
    ),
)

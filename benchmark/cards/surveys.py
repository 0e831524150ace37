"""Surveys that have a name and are built on first use; `benchmark.simulator.flavours` has their numbers."""

from typing import Any

from benchmark.contracts import Reference, SurveyCard

_BGS = Reference(
    "Hahn, C., Wilson, M. J., Ruiz-Macias, O., et al.", 2023, "The DESI Bright Galaxy Survey", "arXiv:2208.08512"
)
_POPSTAR = Reference(
    "Molla, M., Garcia-Vargas, M. L., Bressan, A.",
    2009,
    "PopStar I: evolutionary synthesis models",
    "doi:10.1111/j.1365-2966.2009.15160.x",
)
_LEGACY = Reference(
    "Dey, A., Schlegel, D. J., Lang, D., et al.",
    2019,
    "Overview of the DESI Legacy Imaging Surveys",
    "arXiv:1804.08657",
)
_HSC = Reference(
    "Aihara, H., AlSayyad, Y., Ando, M., et al.",
    2019,
    "Second data release of the Hyper Suprime-Cam Subaru Strategic Program",
    "arXiv:1905.12221",
)
_GALAXIESML = Reference(
    "Do, T., Boscoe, B., Jones, E., et al.",
    2024,
    "GalaxiesML: a dataset of galaxy images, photometry, redshifts, and structural parameters for machine learning",
    "arXiv:2410.00271",
)

_COMMON: dict[str, Any] = {
    "build": "benchmark.simulator:build_survey",
    "targets": "benchmark.simulator.labels:TARGETS",
    "modalities": ("photometry", "image", "spectrum"),
    "version": "3",
}
_VOTES = "benchmark.simulator.votes:QUESTIONS"

SURVEYS: tuple[SurveyCard, ...] = (
    SurveyCard(
        name="simulated",
        summary=(
            "forward-simulated DESI-like galaxies with known truth, r < 20.2: g, r, z photometry and images of 152 "
            "pixels, spectra, Galaxy Zoo votes, sky"
        ),
        seconds_per_galaxy=0.012,
        votes=_VOTES,
        options={"flavour": "south"},
        references=(_BGS, _LEGACY, _POPSTAR),
        **_COMMON,
    ),
    SurveyCard(
        name="simulated-north",
        summary=(
            "the galaxies of 'simulated' through the BASS and MzLS filters, with seeing of 1.6, 1.5, 1.0 arcsec and .5 "
            "mag shallower"
        ),
        seconds_per_galaxy=0.012,
        votes=_VOTES,
        options={"flavour": "north"},
        references=(_BGS, _LEGACY, _POPSTAR),
        **_COMMON,
    ),
    SurveyCard(
        name="simulated-faint",
        summary="galaxies of 19.5 < r < 21.5 observed as 'simulated': lower signal-to-noise, z < .9, no votes",
        seconds_per_galaxy=0.012,
        options={"flavour": "faint"},
        references=(_LEGACY, _POPSTAR),
        **_COMMON,
    ),
    SurveyCard(
        name="simulated-deep",
        summary=(
            "galaxies of i < 22.5 and z < 1.5 as Hyper Suprime-Cam sees them: g, r, i, z, Y photometry and images of "
            "64 pixels of .168 arcsec, spectra, no votes"
        ),
        seconds_per_galaxy=0.006,
        options={"flavour": "deep"},
        references=(_HSC, _GALAXIESML, _POPSTAR),
        **_COMMON,
    ),
)

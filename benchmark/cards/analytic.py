"""Surveys of problems whose posterior is known exactly, the set of them, and that posterior as a model."""

from benchmark.contracts import ModelCard, Reference, SurveyCard

_BUILD = "benchmark.analytic:build_survey"
_LUECKMANN = Reference(
    "Lueckmann, J.-M., Boelts, J., Greenberg, D. S., et al.",
    2021,
    "Benchmarking simulation-based inference",
    "arXiv:2101.04653",
)
_OURS = {
    "gaussian1": "one target linear in three inputs, independent Gaussian noise",
    "gaussian5": "five targets linear in three inputs, independent Gaussian noise",
    "correlated5": "five targets linear in three inputs, Gaussian noise with correlations of 0.95",
    "correlated8": "eight targets linear in three inputs, Gaussian noise with correlations of 0.95",
    "heteroscedastic": "one target whose Gaussian noise grows fourfold with an input",
    "two-modes": "two Gaussian modes whose places and weights depend on the inputs",
    "banana": "two targets, the second around the square of the first",
}
_THEIRS = {
    "two-moons": "two thin crescents, mirror images of each other",
    "slcp": "mean, widths and correlation of four points: simple likelihood, complex posterior of four modes",
    "gaussian-mixture": "a mean seen through either broad or narrow noise, one does not know which",
    "gaussian-linear": "ten Gaussian means, each seen once with Gaussian noise",
}


def _card(problem: str, summary: str) -> SurveyCard:
    return SurveyCard(
        name=f"analytic-{problem}",
        build=_BUILD,
        targets="benchmark.analytic:targets_of",
        modalities=("photometry",),
        summary=f"exact posterior known: {summary}; no galaxies, numbers in the place of magnitudes",
        version="1",
        seconds_per_galaxy=1e-5,
        options={"flavour": problem},
        references=(_LUECKMANN,) if problem in _THEIRS else (),
    )


_MEMBERS = tuple(_card(problem, summary) for problem, summary in (_OURS | _THEIRS).items())

SURVEYS: tuple[SurveyCard, ...] = (
    *_MEMBERS,
    SurveyCard(
        name="analytic",
        build=_BUILD,
        targets="benchmark.analytic:targets_of",
        modalities=("photometry",),
        summary=f"the {len(_MEMBERS)} surveys analytic-*, one after another: how far posteriors are from exact ones",
        version="1",
        seconds_per_galaxy=1e-5,
        members=tuple(card.name for card in _MEMBERS),
        references=(_LUECKMANN,),
    ),
)

CARDS: tuple[ModelCard, ...] = (
    ModelCard(
        name="ExactPosterior",
        modality="photometry",
        factory="benchmark.analytic.exact:ExactPosterior",
        kind="reference",
        knows=_BUILD,
        revision=2,
        probes=("reference",),
        summary="the exact posterior of an analytic survey, by formula: what no posterior can be better than",
        options={"smoke": {}, "laptop": {}, "paper": {}},
        references=(_LUECKMANN,),
        training_data="none: it knows the equations",
        notes=(
            "Not a competitor. It exists for the surveys analytic-* of this version only. Densities are exact (of slcp "
            "to some .005 nat), draws independent; its predictions are means of 400 draws."
        ),
    ),
)

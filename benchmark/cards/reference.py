"""What can be known at all: posteriors of those who know how the galaxies were simulated."""

from benchmark.contracts import ModelCard, Reference

CARDS: tuple[ModelCard, ...] = (
    ModelCard(
        name="ReferencePosterior",
        modality="photometry",
        factory="benchmark.simulator.ceiling:ReferencePosterior",
        kind="reference",
        probes=("reference",),
        summary="the posterior that magnitudes allow, by Monte Carlo from the simulator: the ceiling of photometry",
        options={
            "smoke": {"n_candidates": 100_000},
            "laptop": {"n_candidates": 1_000_000},
            "paper": {"n_candidates": 1_000_000},
        },
        references=(
            Reference(
                "Owen, A. B.", 2013, "Monte Carlo theory, methods and examples", "https://artowen.su.domains/mc/"
            ),
        ),
        training_data="the simulator itself; no galaxy of the survey",
        notes=(
            "Not a competitor: it knows the prior, the selection and the errors of the simulation, so no model of "
            "photometry can be expected to do better, and what a photometry row lacks to it is what the model or its "
            "training has lost. It exists where a survey was made by this version of the simulator, and says nothing "
            "about images and spectra. Its predictions are posterior means."
        ),
    ),
)

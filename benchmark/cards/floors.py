"""Models that know nothing about a galaxy: what any score has to exceed."""

from benchmark.contracts import ModelCard

CARDS: tuple[ModelCard, ...] = (
    ModelCard(
        name="Constant",
        modality="none",
        factory="baselines.constant:Constant",
        kind="supervised",
        classifies=True,
        probes=("supervised", "flow"),
        summary="the training mean for every galaxy; with the flow, the unconditional density",
        options={"smoke": {}, "laptop": {}, "paper": {}},
        training_data="the survey's own training labels",
        notes="R2 is at or just below 0 by construction; a model that does not exceed it has learned nothing.",
    ),
)

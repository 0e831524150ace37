"""Models that read a row of magnitudes."""

from benchmark.contracts import ModelCard, Reference

_ASTROCLIP = {"colours": False, "shared_scaling": True, "learning_rate": 5e-4, "cosine": False}

CARDS: tuple[ModelCard, ...] = (
    ModelCard(
        name="PhotometryMLP",
        modality="photometry",
        factory="baselines.photometry_mlp:PhotometryRegressor",
        kind="supervised",
        classifies=True,
        probes=("supervised", "flow"),
        summary="small network on magnitudes and adjacent colours, trained from scratch on the labels",
        options={"smoke": {"epochs": 20}, "laptop": {"epochs": 100}, "paper": {"epochs": 200}},
        recipes={"paper": _ASTROCLIP, "code": _ASTROCLIP},
        references=(
            Reference(
                "Parker, L., Lanusse, F., Golkar, S., et al.",
                2024,
                "AstroCLIP: a cross-modal foundation model for galaxies",
                "arXiv:2310.03024",
            ),
        ),
        training_data="the survey's own training galaxies and their labels",
        notes=(
            "Ours scales each column by itself, adds adjacent colours, marks missing bands and anneals the learning "
            "rate; the recipes paper and code take the magnitudes alone, scaled by one mean and one standard "
            "deviation, at a constant 5e-4, as AstroCLIP's code does. Layers 64-64, Adam, batches of 128, the epochs "
            "of the preset and the best validation epoch are common to all. The flow is conditioned on magnitudes and "
            "colours, not on the network."
        ),
    ),
    ModelCard(
        name="GradientBoosting",
        modality="photometry",
        factory="baselines.gradient_boosting:GradientBoosting",
        kind="supervised",
        classifies=True,
        probes=("supervised",),
        summary="gradient-boosted trees on magnitudes and adjacent colours, rounds chosen on validation",
        options={"smoke": {"max_rounds": 100}, "laptop": {"max_rounds": 400}, "paper": {"max_rounds": 1000}},
        references=(
            Reference(
                "Friedman, J. H.",
                2001,
                "Greedy function approximation: a gradient boosting machine",
                "doi:10.1214/aos/1013203451",
            ),
            Reference(
                "Pedregosa, F., Varoquaux, G., Gramfort, A., et al.",
                2011,
                "Scikit-learn: machine learning in Python",
                "arXiv:1201.0490",
            ),
        ),
        training_data="the survey's own training galaxies and their labels",
        notes="One ensemble a target, on the rows that have it; missing bands are branched on, not filled.",
    ),
)

"""Embeddings of images that need no deep training."""

from benchmark.contracts import ModelCard, Probe, Reference

_PROBES: tuple[Probe, ...] = ("knn", "linear", "mlp", "flow")

CARDS: tuple[ModelCard, ...] = (
    ModelCard(
        name="ImagePixels",
        modality="image",
        factory="encoders.classical.linear:ImagePixels",
        kind="encoder",
        probes=_PROBES,
        summary="mean pixels of an 8 x 8 grid in every band: no weights, a floor for every image network",
        options={"smoke": {"grid": 8}, "laptop": {"grid": 8}, "paper": {"grid": 8}},
        notes="Colour, brightness, size and rough shape are all in it; it is not a weak floor.",
    ),
    ModelCard(
        name="ImagePCA",
        modality="image",
        factory="encoders.classical.linear:ImagePCA",
        kind="encoder",
        probes=_PROBES,
        summary="64 principal components of images averaged to 32 x 32 pixels",
        fitted=True,
        options={
            "smoke": {"n_components": 32, "grid": 16},
            "laptop": {"n_components": 64, "grid": 32},
            "paper": {"n_components": 128, "grid": 32},
        },
        references=(
            Reference(
                "Halko, N., Martinsson, P.-G., Tropp, J. A.",
                2011,
                "Finding structure with randomness: probabilistic algorithms for approximate matrix decompositions",
                "arXiv:0909.4061",
            ),
        ),
        training_data="images of the survey's training and unlabelled galaxies, at most 10,000 of them drawn by hash",
        notes="Components are not whitened: what a probe makes of their scale is the probe's choice.",
    ),
)

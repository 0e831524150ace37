"""Measurements of images that astronomers made before networks."""

from benchmark.contracts import ModelCard, Reference

CARDS: tuple[ModelCard, ...] = (
    ModelCard(
        name="ImageHandFeatures",
        modality="image",
        factory="encoders.handcrafted:ImageHandFeatures",
        kind="encoder",
        probes=("knn", "linear", "mlp", "flow"),
        summary="65 measurements of three bands: aperture magnitudes, colours, sizes, concentration, shape, Gini, M20",
        images="flux",
        options={"smoke": {}, "laptop": {}, "paper": {}},
        references=(
            Reference(
                "Conselice, C. J.",
                2003,
                "The relationship between stellar light distributions of galaxies and their formation histories",
                "arXiv:astro-ph/0303065",
            ),
            Reference(
                "Lotz, J. M., Primack, J., Madau, P.",
                2004,
                "A new nonparametric approach to galaxy morphological classification",
                "arXiv:astro-ph/0311352",
            ),
        ),
        notes=(
            "Reads nanomaggies, not the stretched colours that networks see. 18 columns a band and 11 more; nothing is "
            "learned."
        ),
    ),
)

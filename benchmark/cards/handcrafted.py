"""Measurements of images that astronomers made before networks."""

from benchmark.contracts import ModelCard, Reference

CARDS: tuple[ModelCard, ...] = (
    ModelCard(
        name="ImageHandFeatures",
        modality="image",
        factory="encoders.classical.handcrafted:ImageHandFeatures",
        kind="encoder",
        probes=("knn", "linear", "mlp", "flow"),
        summary="65 measurements of three bands: colours, bulge and disc, sizes, shape, asymmetry, Gini, M20",
        images="flux",
        options={"smoke": {}, "laptop": {}, "paper": {}},
        revision=2,
        references=(
            Reference(
                "Simard, L., et al.",
                2011,
                "A catalog of bulge+disk decompositions and updated photometry for 1.12 million galaxies in the SDSS",
                "arXiv:1107.1518",
            ),
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
            "Reads nanomaggies, not the stretched colours that networks see. 15 columns a band and 20 more; nothing is "
            "learned. The fit takes the point-spread function for one of 1.2 arcsec on pixels of .262 arcsec."
        ),
    ),
)

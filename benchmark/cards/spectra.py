"""Embeddings of spectra that need no deep training."""

from benchmark.contracts import ModelCard, Probe, Reference

_PROBES: tuple[Probe, ...] = ("knn", "linear", "mlp", "flow")
_TRAINING_DATA = "spectra of the survey's training and unlabelled galaxies, at most 10,000 of them drawn by hash"

CARDS: tuple[ModelCard, ...] = (
    ModelCard(
        name="SpectrumPCA",
        modality="spectrum",
        factory="encoders.classical.spectrum_pca:SpectrumPCA",
        kind="encoder",
        probes=_PROBES,
        summary="64 principal components of spectra as observed, and their level: a floor, as lines move with redshift",
        fitted=True,
        options={"smoke": {"n_components": 32}, "laptop": {"n_components": 64}, "paper": {"n_components": 128}},
        training_data=_TRAINING_DATA,
    ),
    ModelCard(
        name="SpectrumZscanPCA",
        modality="spectrum",
        factory="encoders.classical.zscan_pca:SpectrumZscanPCA",
        kind="encoder",
        probes=_PROBES,
        summary="redshift by a scan of templates, then 24 principal components of the spectrum at rest",
        revision=3,
        fitted=True,
        options={"smoke": {"n_components": 16}, "laptop": {"n_components": 24}, "paper": {"n_components": 40}},
        references=(
            Reference(
                "Guy, J., Bailey, S., Kremin, A., et al.",
                2023,
                "The spectroscopic data processing pipeline for the Dark Energy Spectroscopic Instrument",
                "arXiv:2209.14482",
            ),
            Reference(
                "Connolly, A. J., Szalay, A. S.",
                1999,
                "A robust classification of galaxy spectra: dealing with noisy and incomplete data",
                "doi:10.1086/300839",
            ),
        ),
        training_data=_TRAINING_DATA,
        notes=(
            "Five stellar templates and three groups of lines, fixed beforehand; no label is used, and the scan goes "
            "as far as the spectra hold [OII]. On the simulated survey the templates are made from the same stellar "
            "populations as the galaxies: redshifts are easier than on real spectra."
        ),
    ),
)

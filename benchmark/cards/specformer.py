"""SpecFormer, and the same network with random weights."""

from benchmark.contracts import ModelCard, Probe, Reference

_PROBES: tuple[Probe, ...] = ("knn", "linear", "mlp", "flow")

_LOOK = {
    "smoke": {"bin_dex": 1.12e-3, "bin_pixels": 10, "window": 40, "step": 20, "dim": 48, "depth": 2, "n_heads": 4},
    "laptop": {"bin_dex": 2.24e-4, "bin_pixels": 4, "window": 256, "step": 128, "dim": 128, "depth": 3, "n_heads": 4},
    "paper": {"bin_dex": 9.7e-5, "bin_pixels": 1, "window": 128, "step": 64, "dim": 768, "depth": 6, "n_heads": 6},
}
"""What a network sees and how wide it is: the same for the trained one and its random twin."""

_TRAINING = {
    "smoke": {
        "n_steps": 20, "n_warmup": 2, "batch_size": 32, "learning_rate": 3e-3, "weight_decay": 0.05,
        "betas": (0.9, 0.95), "clip": 1.0, "log_every": 1,
    },
    "laptop": {
        "n_steps": 3000, "n_warmup": 50, "batch_size": 32, "learning_rate": 3e-3, "weight_decay": 0.05,
        "betas": (0.9, 0.95), "clip": 1.0, "log_every": 20, "checkpoint_every": 400, "precision": "float32",
    },
    "paper": {
        "n_steps": 500_000, "n_warmup": 2000, "batch_size": 64, "learning_rate": 3e-4, "weight_decay": 0.05,
        "betas": (0.9, 0.95), "clip": 1.0, "log_every": 100, "checkpoint_every": 5000,
    },
}  # fmt: skip

_PUBLISHED_LOOK = {
    "bin_dex": None, "window": 20, "step": 10, "max_tokens": 800, "objective": "masked", "init": "released",
}  # fmt: skip
_PUBLISHED = {
    **_PUBLISHED_LOOK, "n_mask_chunks": 6, "mask_overlap_guard": False, "masked_spectra": 1.0, "learning_rate": 1e-5,
    "min_learning_rate": 0.0, "weight_decay": 0.1, "betas": (0.9, 0.95), "clip": 1.0, "batch_size": 64,
}  # fmt: skip
_RECIPES = {
    "paper": {**_PUBLISHED, "mask_share": 180 / 778},
    "code": {**_PUBLISHED, "mask_share": 300 / 778},
}

_REFERENCE = Reference(
    "Parker, L., Lanusse, F., Golkar, S., et al.",
    2024,
    "AstroCLIP: a cross-modal foundation model for galaxies",
    "arXiv:2310.03024",
)

CARDS: tuple[ModelCard, ...] = (
    ModelCard(
        name="SpecFormer",
        modality="spectrum",
        factory="encoders.specformer.encoder:SpecFormerEncoder",
        kind="encoder",
        probes=_PROBES,
        summary="transformer over windows of a spectrum that predicts hidden windows and independent noise",
        fitted=True,
        options={preset: {**_LOOK[preset], **_TRAINING[preset]} for preset in _LOOK},
        recipes=_RECIPES,
        train_seconds={"smoke": 2, "laptop": 130, "paper": 2e7},
        architecture="encoders.specformer.sizes:architecture",
        references=(
            _REFERENCE,
            Reference(
                "Neufeld, A., Dharamshi, A., Gao, L. L., Witten, D.",
                2024,
                "Data thinning for convolution-closed distributions",
                "arXiv:2301.07276",
            ),
        ),
        training_data="spectra of the survey's training and unlabelled galaxies",
        notes=(
            "The embedding is the mean over all tokens. Recipe default bins in log wavelength, weights by inverse "
            "variance, predicts a version of the spectrum with independent noise, and predicts the spectrum from the "
            "embedding; recipes paper and code only fill in hidden windows, 23 % and 39 % of them. Their published "
            "learning rate, 1e-5, is meant for 500,000 steps: with the steps of smoke or laptop they learn little."
        ),
    ),
    ModelCard(
        name="RandomSpecFormer",
        modality="spectrum",
        factory="encoders.specformer.encoder:SpecFormerEncoder",
        kind="encoder",
        probes=_PROBES,
        summary="SpecFormer's network with random frozen weights: what the architecture alone is worth",
        options={preset: {**look, "n_steps": 0} for preset, look in _LOOK.items()},
        recipes={"paper": _PUBLISHED_LOOK, "code": _PUBLISHED_LOOK},
        references=(_REFERENCE,),
        notes="The same bins, tokens, network and mean as SpecFormer of the same preset and recipe, as drawn.",
    ),
)

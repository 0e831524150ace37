"""AstroDINO, and the same network with random weights.

At laptop size AstroDINO sees brightness and colours apart (`encoders.reading.stretch`), balances prototypes by
Sinkhorn-Knopp and weighs KoLeo by .05. Chosen on training and validation galaxies of the simulated survey (version 3,
4 folds, seed 0, mean R2 of five properties, probe mlp; ImagePCA .541):

=====  ==========================================================================================================
.573   the colour composite, rate 2e-3, no KoLeo, 400 steps; local views that hold the centre .577
.568   KoLeo .05, which tells edge-on discs (balanced accuracy .78 instead of .68) and roundness (.53 for .41)
.621   brightness and colours of equal spread; 1,200 steps .621, and shapes are lost (.65, .42)
.617   colours of half the spread (.75, .51); of a third .611 (.77, .48)
.639   rate 1e-3, 800 steps (.76, .49)
.643   rate 5e-4, local views that hold the centre (.75, .48): the preset; ImagePCA (.78, .54)
=====  ==========================================================================================================

What lost: KoLeo .2 (.573), teacher temperatures of .04 to .07 (.582 beside .613), less blur and noise (.608), the same
stretch without colours (.581), softer or harder stretches (.610 at 2.5 times, .563 at an eighth).
"""

from collections.abc import Mapping

from benchmark.contracts import ModelCard, Probe, Reference

_PROBES: tuple[Probe, ...] = ("knn", "linear", "mlp", "flow")

_LOOK: Mapping[str, Mapping[str, object]] = {
    "smoke": {
        "image_side": 48, "field_side": 48, "global_crop": 36, "local_crop": 24, "patch_size": 12,
        "dim": 48, "depth": 2, "n_heads": 3, "image_norm": "rgb_zscore",
    },
    "laptop": {
        "image_side": 76, "field_side": 48, "global_crop": 36, "local_crop": 24, "patch_size": 12,
        "dim": 192, "depth": 3, "n_heads": 6, "image_norm": "colours",
    },
    "paper": {
        "image_side": 152, "field_side": 152, "global_crop": 144, "local_crop": 60, "patch_size": 12,
        "dim": 1024, "depth": 24, "n_heads": 16,
    },
}  # fmt: skip
"""What a network sees and how wide it is: the same for the trained one and its random twin."""

_TRAINING: Mapping[str, Mapping[str, object]] = {
    "smoke": {
        "n_steps": 20, "batch_size": 16, "learning_rate": 2e-3, "weight_decay": 0.04, "clip": 3.0, "n_local": 2,
        "n_prototypes": 256, "head_hidden": 96, "head_bottleneck": 32, "teacher_momentum": 0.9,
    },
    "laptop": {
        "n_steps": 800, "log_every": 25, "batch_size": 32, "learning_rate": 5e-4, "min_learning_rate": 5e-6,
        "weight_decay": 0.04, "clip": 3.0, "n_local": 4, "n_prototypes": 512, "head_hidden": 192, "head_bottleneck": 48,
        "balance": "sinkhorn", "koleo_weight": 0.05, "teacher_temperature": 0.02, "final_teacher_temperature": 0.04,
        "temperature_ramp": 0.3, "teacher_momentum": 0.95, "local_contains_centre": True,
    },
    "paper": {
        "n_steps": 250_000, "batch_size": 1440, "learning_rate": 2e-4, "lr_scaling": "sqrt", "min_learning_rate": 1e-6,
        "warmup": 0.16, "weight_decay": 0.001, "final_weight_decay": 0.01, "clip": 3.0, "drop_path": 0.3,
        "layer_decay": 0.9, "patch_lr_scale": 0.2, "frozen": 0.005, "n_local": 8, "n_prototypes": 65_536,
        "head_hidden": 2048, "head_bottleneck": 256, "teacher_temperature": 0.04, "final_teacher_temperature": 0.07,
        "temperature_ramp": 0.15, "teacher_momentum": 0.992, "log_every": 100, "checkpoint_every": 1250,
    },
}  # fmt: skip

_RECIPES: Mapping[str, Mapping[str, object]] = {
    "paper": {
        "aug_p": "paper", "noise_fits": "legacy", "separate_heads": True, "image_norm": "zscore", "rotate": True,
        "local_contains_centre": True, "learning_rate": 0.004, "lr_scaling": "none", "layer_decay": 1.0,
        "patch_lr_scale": 1.0, "weight_decay": 0.001, "final_weight_decay": None, "teacher_momentum": 0.994,
        "balance": "centre", "koleo_weight": 0.1,
    },
    "code": {
        "aug_p": "code", "noise_fits": "legacy", "separate_heads": False, "image_norm": "rgb", "rotate": False,
        "local_contains_centre": False, "learning_rate": 2e-4, "min_learning_rate": 1e-6, "lr_scaling": "sqrt",
        "layer_decay": 0.9, "patch_lr_scale": 0.2, "weight_decay": 0.001, "final_weight_decay": 0.01,
        "teacher_momentum": 0.992, "balance": "centre", "koleo_weight": 0.1,
    },
}  # fmt: skip

_REFERENCES = (
    Reference(
        "Parker, L., Lanusse, F., Golkar, S., et al.",
        2024,
        "AstroCLIP: a cross-modal foundation model for galaxies",
        "arXiv:2310.03024",
    ),
    Reference(
        "Oquab, M., Darcet, T., Moutakanni, T., et al.",
        2023,
        "DINOv2: learning robust visual features without supervision",
        "arXiv:2304.07193",
    ),
    Reference(
        "Stein, G., Blaum, J., Harrington, P., Medan, T., Lukic, Z.",
        2021,
        "Mining for strong gravitational lenses with self-supervised learning",
        "arXiv:2110.00023",
    ),
)

CARDS: tuple[ModelCard, ...] = (
    ModelCard(
        name="AstroDINO",
        modality="image",
        factory="encoders.astrodino.encoder:AstroDINOEncoder",
        kind="encoder",
        probes=_PROBES,
        summary="vision transformer that learns from its own moving average (DINOv2) on galaxies in linear flux",
        revision=4,
        fitted=True,
        images="flux",
        options={preset: {**_LOOK[preset], **_TRAINING[preset]} for preset in _LOOK},
        recipes=_RECIPES,
        train_seconds={"smoke": 5, "laptop": 100, "paper": 5e8},
        architecture="encoders.astrodino.sizes:architecture",
        references=_REFERENCES,
        training_data="images of the survey's training and unlabelled galaxies",
        notes=(
            "The embedding is the teacher's class token of the central crop. Views are cropped, flipped, blurred and "
            "made noisier in nanomaggies, then stretched. Pictures instead of fluxes are cropped and flipped only, and "
            "the record says that they are out of the model's domain. Recipes: where paper and released code differ; "
            "sizes and steps are the preset's. The default at laptop size shows brightness and colours as "
            "channels and uses Sinkhorn-Knopp."
        ),
    ),
    ModelCard(
        name="RandomViT",
        modality="image",
        factory="encoders.random_vit:RandomViT",
        kind="encoder",
        probes=_PROBES,
        summary="AstroDINO's network with random frozen weights: what the architecture alone is worth",
        revision=3,
        images="flux",
        options={"smoke": _LOOK["smoke"], "laptop": _LOOK["laptop"], "paper": {**_LOOK["paper"], "layer_scale": 1.0}},
        references=(
            Reference(
                "Dosovitskiy, A., Beyer, L., Kolesnikov, A., et al.",
                2021,
                "An image is worth 16x16 words: transformers for image recognition at scale",
                "arXiv:2010.11929",
            ),
            *_REFERENCES[1:2],
        ),
        notes=(
            "The same binning, crop, stretch, network and class token as AstroDINO of the same preset, as drawn. At "
            "paper size LayerScale is 1 instead of 1e-5, which would turn untrained blocks off."
        ),
    ),
)

"""Encoders of galaxies: plain torch modules and array models, useful without the rest of the suite.

Names are imported when they are first used, so that ``import encoders`` loads neither torch nor scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encoders.astrodino import AstroDINO, AstroDINOConfig
    from encoders.astrodino_encoder import AstroDINOEncoder
    from encoders.handcrafted import ImageHandFeatures
    from encoders.linear import ImagePCA, ImagePixels
    from encoders.official import load_official
    from encoders.random_vit import RandomViT
    from encoders.self_supervised import SelfSupervisedEncoder
    from encoders.specformer import SpecFormer
    from encoders.specformer_encoder import SpecFormerEncoder
    from encoders.spectrum_pca import SpectrumPCA
    from encoders.train import TrainingConfig
    from encoders.vit import VisionTransformer
    from encoders.zscan_pca import SpectrumZscanPCA

__all__ = [
    "AstroDINO",
    "AstroDINOConfig",
    "AstroDINOEncoder",
    "ImageHandFeatures",
    "ImagePCA",
    "ImagePixels",
    "RandomViT",
    "SelfSupervisedEncoder",
    "SpecFormer",
    "SpecFormerEncoder",
    "SpectrumPCA",
    "SpectrumZscanPCA",
    "TrainingConfig",
    "VisionTransformer",
    "load_official",
]

_MODULES = {
    "AstroDINO": "encoders.astrodino",
    "AstroDINOConfig": "encoders.astrodino",
    "AstroDINOEncoder": "encoders.astrodino_encoder",
    "ImageHandFeatures": "encoders.handcrafted",
    "ImagePCA": "encoders.linear",
    "ImagePixels": "encoders.linear",
    "RandomViT": "encoders.random_vit",
    "SelfSupervisedEncoder": "encoders.self_supervised",
    "SpecFormer": "encoders.specformer",
    "SpecFormerEncoder": "encoders.specformer_encoder",
    "SpectrumPCA": "encoders.spectrum_pca",
    "SpectrumZscanPCA": "encoders.zscan_pca",
    "TrainingConfig": "encoders.train",
    "VisionTransformer": "encoders.vit",
    "load_official": "encoders.official",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'encoders' has no attribute '{name}': it has {', '.join(__all__)}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

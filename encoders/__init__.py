"""Encoders of galaxies: plain torch modules and array models, useful without the rest of the suite.

Names are imported when they are first used, so that ``import encoders`` loads neither torch nor scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encoders.astrodino.encoder import AstroDINOEncoder
    from encoders.astrodino.network import AstroDINO, AstroDINOConfig
    from encoders.classical.handcrafted import ImageHandFeatures
    from encoders.classical.linear import ImagePCA, ImagePixels
    from encoders.classical.spectrum_pca import SpectrumPCA
    from encoders.classical.zscan_pca import SpectrumZscanPCA
    from encoders.official import load_official
    from encoders.random_vit import RandomViT
    from encoders.specformer.encoder import SpecFormerEncoder
    from encoders.specformer.network import SpecFormer
    from encoders.training.self_supervised import SelfSupervisedEncoder
    from encoders.training.train import TrainingConfig
    from encoders.vit import VisionTransformer

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
    "AstroDINO": "encoders.astrodino.network",
    "AstroDINOConfig": "encoders.astrodino.network",
    "AstroDINOEncoder": "encoders.astrodino.encoder",
    "ImageHandFeatures": "encoders.classical.handcrafted",
    "ImagePCA": "encoders.classical.linear",
    "ImagePixels": "encoders.classical.linear",
    "RandomViT": "encoders.random_vit",
    "SelfSupervisedEncoder": "encoders.training.self_supervised",
    "SpecFormer": "encoders.specformer.network",
    "SpecFormerEncoder": "encoders.specformer.encoder",
    "SpectrumPCA": "encoders.classical.spectrum_pca",
    "SpectrumZscanPCA": "encoders.classical.zscan_pca",
    "TrainingConfig": "encoders.training.train",
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

"""AstroDINO: a vision transformer that learns from its own moving average which views belong to one galaxy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from encoders.astrodino.head import DINOHead
from encoders.vit import VisionTransformer

__all__ = ["AstroDINO", "AstroDINOConfig", "Tower"]


@dataclass(frozen=True)
class AstroDINOConfig:
    """Sizes of the network; the defaults are those of the paper, 302,954,496 parameters in the backbone.

    Attributes
    ----------
    image_size : side of the global crops in pixels, a multiple of ``patch_size``.
    patch_size, in_channels, dim, depth, n_heads, mlp_ratio, layer_scale, drop_path : see `VisionTransformer`.
    head_hidden, head_bottleneck, n_prototypes : see `DINOHead`.
    separate_heads : class token and patches have a head each (AstroCLIP's paper), or share one (its code).
    """

    image_size: int = 144
    patch_size: int = 12
    in_channels: int = 3
    dim: int = 1024
    depth: int = 24
    n_heads: int = 16
    mlp_ratio: float = 4.0
    layer_scale: float | None = None
    drop_path: float = 0.3
    head_hidden: int = 2048
    head_bottleneck: int = 256
    n_prototypes: int = 65536
    separate_heads: bool = False


class Tower(nn.Module):
    """A backbone with its heads: the student, or the teacher, which has the same layout.

    Attributes
    ----------
    backbone : `VisionTransformer`.
    dino_head : scores of class tokens.
    ibot_head : scores of patch tokens; None where `dino_head` serves both.
    """

    def __init__(self, config: AstroDINOConfig) -> None:
        super().__init__()
        self.backbone = VisionTransformer(
            image_size=config.image_size,
            patch_size=config.patch_size,
            in_channels=config.in_channels,
            dim=config.dim,
            depth=config.depth,
            n_heads=config.n_heads,
            mlp_ratio=config.mlp_ratio,
            layer_scale=config.layer_scale,
            drop_path=config.drop_path,
        )
        self.dino_head = self._head(config)
        self.ibot_head = self._head(config) if config.separate_heads else None

    def scores(self, cls_ND: Tensor, patch_MD: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) of class tokens and (M, K) of patch tokens; one pass where one head serves both."""
        if self.ibot_head is not None:
            return self.dino_head(cls_ND), self.ibot_head(patch_MD)
        logits = self.dino_head(torch.cat([cls_ND, patch_MD]))
        return logits[: len(cls_ND)], logits[len(cls_ND) :]

    @staticmethod
    def _head(config: AstroDINOConfig) -> DINOHead:
        return DINOHead(
            config.dim,
            hidden=config.head_hidden,
            bottleneck=config.head_bottleneck,
            n_prototypes=config.n_prototypes,
        )


class AstroDINO(nn.Module):
    """Student and teacher; as a function of images it is the teacher's class token.

    Parameters
    ----------
    config : sizes; None for those of the paper.

    Notes
    -----
    The teacher starts as a copy of the student, gets no gradient, and always runs in evaluation mode. Weights are
    drawn from torch's global generator.

    References
    ----------
    Parker et al. 2024, arXiv:2310.03024, section 3; Oquab et al. 2023, arXiv:2304.07193.
    """

    def __init__(self, config: AstroDINOConfig | None = None) -> None:
        super().__init__()
        self.config = config or AstroDINOConfig()
        self.student = Tower(self.config)
        self.teacher = Tower(self.config)
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False).eval()

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """The embedding (B, D): the teacher's class token after the last LayerNorm, without a head.

        Parameters
        ----------
        image_BCHW : normalised images, each side a multiple of the patch; ``image_size`` in training and evaluation.
        """
        cls = self.teacher.backbone(image_BCHW).cls
        assert cls is not None
        return cls

    def train(self, mode: bool = True) -> AstroDINO:
        """As in torch, but the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    @torch.no_grad()
    def update_teacher(self, momentum: float) -> None:
        """teacher <- momentum * teacher + (1 - momentum) * student, every parameter."""
        student: list[Tensor] = list(self.student.parameters())
        teacher: list[Tensor] = list(self.teacher.parameters())
        torch._foreach_lerp_(teacher, student, 1 - momentum)

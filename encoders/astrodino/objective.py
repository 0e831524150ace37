"""AstroDINO's training step: views, masks, the two towers, three losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from encoders.astrodino.block_masks import block_masks
from encoders.astrodino.dino_loss import TeacherCentre, dino_loss, sinkhorn_knopp
from encoders.astrodino.ibot_loss import ibot_loss
from encoders.astrodino.koleo import koleo_loss
from encoders.astrodino.network import AstroDINO
from encoders.augment import Augmentation
from encoders.training.collapse import alignment, effective_rank, uniformity
from encoders.training.schedules import Schedule
from encoders.training.train import ParameterGroup

__all__ = ["DINOConfig", "DINOObjective"]


@dataclass(frozen=True)
class DINOConfig:
    """What the losses weigh and how the teacher is kept from collapse.

    Attributes
    ----------
    balance : ``centre`` (a running mean is taken off), ``sinkhorn`` (prototypes are used equally often) or ``none``,
        with which it does collapse.
    dino_weight, ibot_weight, koleo_weight : of the three losses; 0 leaves a loss out.
    student_temperature : of the student's softmax.
    centre_momentum : of the running mean.
    mask_share, mask_ratio : see `block_masks`.
    layer_decay, patch_lr_scale : the learning rate of block i of n is ``layer_decay ** (n - i)``, that of what comes
        before the blocks ``layer_decay ** (n + 1)``, times ``patch_lr_scale`` for the patches.
    frozen_steps : for which the prototypes stay as drawn.
    """

    balance: Literal["centre", "sinkhorn", "none"] = "centre"
    dino_weight: float = 1.0
    ibot_weight: float = 1.0
    koleo_weight: float = 0.1
    student_temperature: float = 0.1
    centre_momentum: float = 0.9
    mask_share: float = 0.5
    mask_ratio: tuple[float, float] = (0.1, 0.5)
    layer_decay: float = 1.0
    patch_lr_scale: float = 1.0
    frozen_steps: int = 0

    def __post_init__(self) -> None:
        if self.balance not in ("centre", "sinkhorn", "none"):
            raise ValueError(f"balance '{self.balance}': must be centre, sinkhorn or none")


class DINOObjective(nn.Module):
    """The loss of a batch of images in linear units, and what a step does besides.

    Parameters
    ----------
    model : student and teacher.
    augmentation : makes views of a batch.
    norm : makes of a view what a network sees.
    config : weights of the losses.
    teacher_temperature, teacher_momentum : by step.
    """

    def __init__(
        self,
        model: AstroDINO,
        augmentation: Augmentation,
        norm: nn.Module,
        config: DINOConfig,
        *,
        teacher_temperature: Schedule,
        teacher_momentum: Schedule,
    ) -> None:
        super().__init__()
        self.model, self.augmentation, self.norm, self.config = model, augmentation, norm, config
        self._temperature, self._momentum = teacher_temperature, teacher_momentum
        self._step = 0  # the last one done
        n_prototypes = model.config.n_prototypes
        self.cls_centre = TeacherCentre(n_prototypes, config.centre_momentum)
        self.patch_centre = TeacherCentre(n_prototypes, config.centre_momentum)

    def forward(self, batch: Tensor, *, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Losses of images (B, C, H, W): ``loss`` is minimised, the others are its parts before weighting."""
        global_view, local_view = (self.norm(view) for view in self.augmentation(batch, generator))
        mask = self._masks(len(global_view), generator).to(batch.device)
        temperature = self._temperature(step)
        teacher_cls, teacher_patch = self._teacher(global_view, mask, temperature)
        student = self.model.student
        seen, local = student.backbone.forward_groups([global_view, local_view], [mask, None], generator)
        assert seen.cls is not None
        assert local.cls is not None
        n_global = len(global_view)
        cls_logits, patch_logits = student.scores(torch.cat([seen.cls, local.cls]), seen.patches[mask])
        by_view = cls_logits.reshape(-1, len(batch), cls_logits.shape[-1])
        parts = {
            "dino": dino_loss(
                by_view[:2],
                by_view[2:],
                teacher_cls.reshape(2, len(batch), -1),
                temperature=self.config.student_temperature,
            ),
            "ibot": ibot_loss(
                patch_logits,
                teacher_patch,
                (1 / mask.sum(1).clamp_min(1))[:, None].expand_as(mask)[mask],
                n_global,
                temperature=self.config.student_temperature,
            ),
            "koleo": sum((koleo_loss(view) for view in seen.cls.chunk(2)), seen.cls.new_zeros(())),
        }
        config = self.config
        loss = (
            config.dino_weight * parts["dino"]
            + config.ibot_weight * parts["ibot"]
            + config.koleo_weight * parts["koleo"]
        )
        return {"loss": loss, **{name: part.detach() for name, part in parts.items()}}

    @torch.no_grad()
    def _teacher(self, global_view: Tensor, mask: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Probabilities of the class tokens (2 B, K) and of the patches that the student does not see (M, K)."""
        teacher = self.model.teacher
        output = teacher.backbone(global_view)
        cls_logits, patch_logits = teacher.scores(output.cls, output.patches[mask])
        if self.config.balance == "sinkhorn":
            return sinkhorn_knopp(cls_logits, temperature), sinkhorn_knopp(patch_logits, temperature)
        probabilities = (
            self.cls_centre.probabilities(cls_logits, temperature),
            self.patch_centre.probabilities(patch_logits, temperature),
        )
        if self.config.balance == "centre":
            self.cls_centre.observe(cls_logits)
            self.patch_centre.observe(patch_logits)
        return probabilities

    def _masks(self, n_views: int, generator: torch.Generator) -> Tensor:
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        grid = self.model.student.backbone.grid
        drawn = block_masks(
            n_views,
            grid,
            np.random.default_rng(seed),
            share=self.config.mask_share,
            ratio=self.config.mask_ratio,
        )
        return torch.from_numpy(drawn)

    def after_step(self, step: int) -> None:
        """Move teacher and centres by what the step did."""
        self._step = step
        self.model.update_teacher(self._momentum(step))
        self.cls_centre.apply_observed()
        self.patch_centre.apply_observed()

    def parameter_groups(self) -> list[ParameterGroup]:
        """The student's parameters by learning rate, weight decay and clipping; the teacher has none.

        Biases, norms and LayerScale do not decay; gradients of backbone and heads are clipped apart.
        """
        groups: dict[tuple[float, bool, str, int], list[nn.Parameter]] = {}
        for name, parameter in self.model.student.named_parameters():
            decay = not (name.endswith("bias") or "norm" in name or "gamma" in name)
            part = "backbone" if name.startswith("backbone.") else "head"
            frozen = self.config.frozen_steps if "last_layer" in name else 0
            groups.setdefault((self._lr_scale(name), decay, part, frozen), []).append(parameter)
        return [
            ParameterGroup(parameters, lr_scale=scale, decay=decay, clip=part, frozen_steps=frozen)
            for (scale, decay, part, frozen), parameters in groups.items()
        ]

    def _lr_scale(self, name: str) -> float:
        """Factor on the learning rate of a student's parameter; 1 for the last norm and the heads."""
        depth, decay = self.model.config.depth, self.config.layer_decay
        parts = name.split(".")
        if parts[:2] == ["backbone", "blocks"]:
            return decay ** (depth - int(parts[2]))
        if parts[0] == "backbone" and parts[1] in ("pos_embed", "cls_token", "mask_token", "patch_embed"):
            return decay ** (depth + 1) * (self.config.patch_lr_scale if parts[1] == "patch_embed" else 1.0)
        return 1.0

    @torch.no_grad()
    def diagnostics(self, batch: Tensor, *, generator: torch.Generator) -> dict[str, float]:
        """Whether the teacher still tells galaxies apart, on two global views of a batch.

        ``teacher_entropy`` is that of a galaxy's prototypes, ``prototype_entropy`` that of their mean over galaxies, in
        nats: both at ln K is the uniform solution, both near 0 is one prototype for all. The others are those of
        `encoders.training.collapse`, of class tokens.
        """
        self.eval()
        view, _ = self.augmentation(batch, generator)
        cls = self.model(self.norm(view))
        logits = self.model.teacher.dino_head(cls)
        if self.config.balance == "sinkhorn":
            p_NK = sinkhorn_knopp(logits, self._temperature(self._step))
        else:
            p_NK = self.cls_centre.probabilities(logits, self._temperature(self._step))
        first, second = (part.float().cpu().numpy() for part in cls.chunk(2))
        return {
            "teacher_entropy": float(torch.special.entr(p_NK).sum(1).mean()),
            "prototype_entropy": float(torch.special.entr(p_NK.mean(0)).sum()),
            "effective_rank": effective_rank(first),
            "uniformity": uniformity(first),
            "alignment": alignment(first, second),
        }

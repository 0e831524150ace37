"""AstroDINO's training as one would first write it down: the peer of the loop, correct in every part, packed in none.

Images are read and binned anew at every step and augmented one by one with scipy; each crop passes the network by
itself; all patch tokens pass the head and the masked ones are picked afterwards; the optimiser, the clipping and the
teacher's average go parameter by parameter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from encoders.astrodino.block_masks import block_masks
from encoders.astrodino.dino_loss import cross_entropy
from encoders.astrodino.encoder import AUG_P, AstroDINOEncoder
from encoders.astrodino.koleo import koleo_loss
from encoders.astrodino.objective import DINOObjective
from encoders.reading.images import binned, centre_crop


def plain_view(image: NDArray, size: int, augmentation: Any, probability: float, rng: np.random.Generator) -> NDArray:
    """A crop of one image (C, H, W): a random place, flips, and blur and noise band by band."""
    top, left = rng.integers(0, np.array(image.shape[1:]) - size + 1)
    view = image[:, top : top + size, left : left + size]
    view = view[:, :: rng.choice((-1, 1)), :: rng.choice((-1, 1))].copy()
    sigmas = []
    for fits in (augmentation.psf, augmentation.noise):
        drawn = np.array([[f.loc + f.scale * np.exp(f.shape * rng.normal()) for f in fits] for _ in range(2)]).clip(0)
        sigmas.append(np.sqrt((drawn[1] ** 2 - drawn[0] ** 2).clip(0)) * (rng.random() < probability))
    for band, (blur, noise) in enumerate(zip(*sigmas, strict=True)):
        if blur > 0:
            view[band] = gaussian_filter(view[band], blur)
        if noise > 0:
            view[band] += noise * rng.normal(size=view[band].shape)
    return view


class PlainTraining:
    """Steps of AstroDINO on ``galaxies``, with the networks, losses and settings of an encoder that was built."""

    def __init__(self, encoder: AstroDINOEncoder, objective: DINOObjective, galaxies: Any) -> None:
        self.objective, self.galaxies, self.config = objective, galaxies, encoder.training
        self.binning = encoder._geometry(galaxies)
        self.probabilities = AUG_P[encoder.aug_p]
        self.optimiser = torch.optim.AdamW(
            list(objective.model.student.parameters()), lr=1e-3, weight_decay=0.04, foreach=False
        )
        self.rng = np.random.default_rng(0)
        objective.train()

    def step(self, step: int) -> float:
        """One step; returns the loss."""
        losses = self._loss(step)
        self.optimiser.zero_grad()
        losses.backward()
        student = self.objective.model.student
        for part in (student.backbone, student.dino_head):
            torch.nn.utils.clip_grad_norm_(part.parameters(), 3.0, foreach=False)
        self.optimiser.step()
        momentum = self.objective._momentum(step)
        with torch.no_grad():
            for slow, fast in zip(self.objective.model.teacher.parameters(), student.parameters(), strict=True):
                slow.copy_(momentum * slow + (1 - momentum) * fast)
        self.objective.cls_centre.apply_observed()
        self.objective.patch_centre.apply_observed()
        return losses.item()

    def _views(self) -> list[Tensor]:
        augmentation = self.objective.augmentation
        rows = np.sort(self.rng.choice(len(self.galaxies), self.config.batch_size, replace=False))
        factor, side = self.binning
        images = centre_crop(binned(self.galaxies[rows], factor), side)
        sizes = [(augmentation.global_size, p) for p in self.probabilities[:2]]
        sizes += [(augmentation.local_size, self.probabilities[2])] * augmentation.n_local
        views = [
            np.stack([plain_view(image, size, augmentation, probability, self.rng) for image in images])
            for size, probability in sizes
        ]
        return [self.objective.norm(torch.from_numpy(view.astype(np.float32))) for view in views]

    def _loss(self, step: int) -> Tensor:
        views, objective = self._views(), self.objective
        student, teacher = objective.model.student, objective.model.teacher
        n, grid = len(views[0]), student.backbone.grid
        masks = torch.from_numpy(block_masks(2 * n, grid, self.rng)).split(n)
        temperature = objective._temperature(step)
        with torch.no_grad():
            seen = [teacher.backbone(view) for view in views[:2]]
            logits = [(teacher.dino_head(one.cls), teacher.dino_head(one.patches)) for one in seen]
            targets = [objective.cls_centre.probabilities(cls, temperature) for cls, _ in logits]
            patch_targets = [objective.patch_centre.probabilities(patches, temperature) for _, patches in logits]
            objective.cls_centre.observe(torch.cat([cls for cls, _ in logits]))
            hidden = [patches[mask] for (_, patches), mask in zip(logits, masks, strict=True)]
            objective.patch_centre.observe(torch.cat(hidden))
        dino, ibot, koleo = (torch.zeros(()) for _ in range(3))
        for number, view in enumerate(views):
            is_global = number < 2
            output = student.backbone(view, masks_BN=masks[number] if is_global else None)
            scores = student.dino_head(output.cls)
            for other, target in enumerate(targets):
                if other != number:
                    dino = dino + cross_entropy(target, scores, 0.1).mean()
            if is_global:
                koleo = koleo + koleo_loss(output.cls)
                every = cross_entropy(patch_targets[number], student.dino_head(output.patches), 0.1)
                mask = masks[number].float()
                ibot = ibot + ((every * mask).sum(1) / mask.sum(1).clamp_min(1)).sum()
        n_pairs = 2 * len(views) - 2
        return dino / n_pairs + ibot / (2 * n) + 0.1 * koleo

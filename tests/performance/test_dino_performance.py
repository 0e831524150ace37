"""AstroDINO's step beside a plain one, and its views beside image by image: ``tox -e benchmark``.

The plain step is what a first version would do: one forward pass for each group of crops, a head call for each loss
and for all patch tokens, of which the masked ones are then picked, and teacher and student alike. Losses are the same
numbers. The plain views are made one by one with scipy. ``extra_info`` holds galaxies per CPU-second of both and
their ratio; no time is asserted, agreement is.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from benchmark.cards.astrodino import CARDS
from encoders.astrodino.dino_loss import cross_entropy
from encoders.astrodino.encoder import AstroDINOEncoder
from encoders.astrodino.koleo import koleo_loss
from encoders.astrodino.objective import DINOObjective
from encoders.augment import Augmentation
from encoders.reading.images import ImageFacts

N_GALAXIES = 32


class Stack(np.ndarray):
    """An array of fluxes that says so."""

    facts = ImageFacts("nanomaggy", ("g", "r", "z"), 0.262)


@pytest.fixture(scope="module")
def objective() -> DINOObjective:
    """The laptop preset as drawn, with centring and KoLeo, which `plain_loss` has."""
    options = {**CARDS[0].options["laptop"], "n_steps": 1, "batch_size": 4, "learning_rate": 0.0}
    options |= {"balance": "centre", "koleo_weight": 0.1}
    options["min_learning_rate"] = 0.0
    encoder = AstroDINOEncoder(**options)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    encoder.fit(rng.normal(0.01, 0.01, (8, 3, 152, 152)).astype(np.float32).view(Stack), seed=0)
    return encoder.objective.train()


def flux(side: int) -> Tensor:
    return torch.tensor(np.random.default_rng(1).normal(0.01, 0.01, (N_GALAXIES, 3, side, side)), dtype=torch.float32)


def plain_loss(objective: DINOObjective, batch: Tensor, generator: torch.Generator) -> Tensor:
    """The same loss, written without packing and without gathering."""
    model, config = objective.model, objective.config
    seen, local = (objective.norm(view) for view in objective.augmentation(batch, generator))
    mask = objective._masks(len(seen), generator)
    with torch.no_grad():
        target = model.teacher.backbone(seen)
        cls, patch = model.teacher.dino_head(target.cls), model.teacher.dino_head(target.patches)
        p_cls = objective.cls_centre.probabilities(cls, objective._temperature(0))
        p_patch = objective.patch_centre.probabilities(patch, objective._temperature(0))
    student = model.student
    big, small = student.backbone(seen, masks_BN=mask), student.backbone(local)
    views = [*student.dino_head(big.cls).chunk(2), *student.dino_head(small.cls).chunk(objective.augmentation.n_local)]
    pairs = [
        cross_entropy(p, view, config.student_temperature).mean()
        for number, view in enumerate(views)
        for place, p in enumerate(p_cls.chunk(2))
        if number != place
    ]
    rows = cross_entropy(p_patch, student.dino_head(big.patches), config.student_temperature) * mask
    ibot = (rows.sum(1) / mask.sum(1).clamp_min(1)).mean()
    koleo = sum(koleo_loss(part) for part in big.cls.chunk(2))
    return torch.stack(pairs).mean() + config.ibot_weight * ibot + config.koleo_weight * koleo


def plain_views(augmentation: Augmentation, batch: Tensor, rng: np.random.Generator) -> list[np.ndarray]:
    """As many views, each cropped, flipped, blurred and made noisier by itself."""
    views = []
    sizes = [augmentation.global_size] * 2 + [augmentation.local_size] * augmentation.n_local
    p_views = [*augmentation.probabilities[:2], *[augmentation.probabilities[2]] * augmentation.n_local]
    for image in batch.numpy():
        for size, probability in zip(sizes, p_views, strict=True):
            top, left = rng.integers(0, image.shape[-1] - size + 1, 2)
            view = image[:, top : top + size, left : left + size][:, :: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
            if rng.random() < probability:
                bands = zip(view, augmentation.psf, augmentation.noise, strict=True)
                view = np.stack([_worse(band, psf, noise, rng) for band, psf, noise in bands])
            views.append(view)
    return views


def _worse(band: np.ndarray, psf, noise, rng: np.random.Generator) -> np.ndarray:
    def added(fit) -> float:
        first, second = np.maximum(fit.loc + fit.scale * np.exp(fit.shape * rng.normal(size=2)), 0)
        return float(np.sqrt(max(second**2 - first**2, 0)))

    sigma = added(psf)
    band = gaussian_filter(band, sigma, mode="reflect", truncate=4.0) if sigma > 0 else band
    return band + rng.normal(0, added(noise), band.shape)


def test_the_plain_step_has_the_same_loss_and_gradient(objective: DINOObjective) -> None:
    losses, gradients = [], []
    for loss_of in (_packed_loss, plain_loss):
        objective.zero_grad()
        loss = loss_of(objective, flux(48)[:4], torch.Generator().manual_seed(2))
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in objective.model.student.parameters()]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)  # float32 in another order
    assert (gradients[0] - gradients[1]).norm() < 1e-3 * gradients[0].norm()


def test_the_packed_step_beside_a_plain_one(objective: DINOObjective, benchmark) -> None:
    def steps(loss_of: Callable) -> None:
        objective.zero_grad()
        loss_of(objective, flux(48), torch.Generator().manual_seed(3)).backward()

    _beside(benchmark, lambda: steps(_packed_loss), lambda: steps(plain_loss))


def test_batched_views_beside_scipy_on_single_images(objective: DINOObjective, benchmark) -> None:
    augmentation, batch = objective.augmentation, flux(48)
    rng, generator = np.random.default_rng(4), torch.Generator().manual_seed(4)
    _beside(benchmark, lambda: augmentation(batch, generator), lambda: plain_views(augmentation, batch, rng))


def _packed_loss(objective: DINOObjective, batch: Tensor, generator: torch.Generator) -> Tensor:
    return objective(batch, step=0, generator=generator)["loss"]


def _beside(benchmark, ours: Callable[[], object], plain: Callable[[], object], n_rounds: int = 7) -> None:
    """CPU time of one thread of both, in turns, so that a busy machine hurts both."""
    benchmark.pedantic(ours, rounds=2, warmup_rounds=1)
    seconds: list[tuple[float, float]] = []
    for _ in range(n_rounds):
        start = time.process_time()
        ours()
        middle = time.process_time()
        plain()
        seconds.append((middle - start, time.process_time() - middle))
    mine, theirs = np.array(seconds).T
    benchmark.extra_info["galaxies_per_cpu_second"] = round(float(N_GALAXIES / np.median(mine)), 1)
    benchmark.extra_info["plain_galaxies_per_cpu_second"] = round(float(N_GALAXIES / np.median(theirs)), 1)
    benchmark.extra_info["ours_over_plain"] = round(float(np.median(theirs / mine)), 2)

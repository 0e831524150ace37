"""AstroDINO as an encoder of a survey's images: sizes that fit them, training, the teacher's class token."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders.astrodino.network import AstroDINO, AstroDINOConfig
from encoders.astrodino.objective import DINOConfig, DINOObjective
from encoders.augment import STEIN_NOISE, STEIN_PSF, Augmentation, LogNormal
from encoders.reading.image_reader import Sky, facts_of, image_centres, shown_bands, survey_images
from encoders.reading.images import ImageFacts, ImageStack, require_images
from encoders.reading.prepared_galaxies import Prepare, PreparedGalaxies
from encoders.reading.stretch import NORMS, ImageNorm
from encoders.training.schedules import cosine, linear_ramp
from encoders.training.self_supervised import SelfSupervisedEncoder
from encoders.training.train import Reader

__all__ = ["AstroDINOEncoder", "crop_sizes"]

_STEIN_SCALE_ARCSEC = 0.262  # of the pixels that the fits of blur and noise were made on
_LIKE = {"u": 0, "g": 0, "r": 1, "i": 1}  # the band of the fits that another one resembles; z, y, J, ...: 2
_KNOWN = {
    "aug_p": ("paper", "code"),
    "noise_fits": ("survey", "legacy"),
    "image_norm": NORMS,
    "lr_scaling": ("none", "sqrt"),
}
AUG_P = {"paper": (1.0, 0.1, 0.5), "code": (0.0, 0.9, 0.5)}


class AstroDINOEncoder(SelfSupervisedEncoder):
    """AstroDINO, trained on images in linear flux, which are augmented and only then stretched.

    Parameters
    ----------
    image_side : images are averaged over k x k pixels, k the largest factor that leaves this many on a side.
    field_side : of these, the central pixels that are looked at.
    global_crop, local_crop : sides of the views, multiples of ``patch_size``; smaller ones where the images are
        smaller, see `crop_sizes`. The embedding is that of the central global crop.
    patch_size, dim, depth, n_heads, layer_scale, drop_path : see `encoders.VisionTransformer`.
    n_local : local views of every galaxy.
    head_hidden, head_bottleneck, n_prototypes, separate_heads : see `AstroDINOConfig`.
    balance, ibot_weight, koleo_weight, student_temperature, layer_decay, patch_lr_scale : see `DINOConfig`.
    teacher_temperature, final_teacher_temperature, temperature_ramp : a straight line over this share of the steps.
    teacher_momentum : of the moving average, cosine to 1 at the last step.
    aug_p : probabilities of blur and noise for global view 1, 2 and local views: ``paper`` (1, .1, .5) or ``code``
        (0, .9, .5), which is what the released code does.
    noise_fits : ``survey``: the noise that is added is scaled to the noise of the survey's sky; ``legacy``: it is that
        of the Legacy Survey, whatever the survey.
    image_norm : see `encoders.reading.stretch.ImageNorm`.
    rotate : turn every view by a random angle.
    local_contains_centre : local views always hold the central pixel.
    warmup, frozen : shares of the steps in which the learning rate rises and the prototypes stay as drawn.
    lr_scaling : ``none``, or ``sqrt``: ``learning_rate`` is for 1024 galaxies a step.
    n_steps, batch_size, learning_rate, min_learning_rate, weight_decay, final_weight_decay, clip, log_every,
        checkpoint_every : see `encoders.training.train.TrainingConfig`.
    embed_batch_size, training : see `SelfSupervisedEncoder`.

    Notes
    -----
    Images that are pictures (``display``) are cropped and flipped only: there is no flux to blur, to add noise to or to
    stretch. The network was made for flux, and `facts` says that such images are out of its domain. Fits of blur and
    noise exist for g, r, z; u takes those of g, i those of r, redder bands those of z.

    Where paper and released code differ (options in brackets; the recipe `default` is ours):

    ==================  =================================  ==================================  =======================
    item                AstroCLIP's paper (recipe paper)   released code (recipe code)         option
    ==================  =================================  ==================================  =======================
    blur and noise      1.0, 0.1, 0.5                      0.0, 0.9, 0.5 as run                aug_p
    heads               one for each loss                  one shared                          separate_heads
    normalisation       z-score                            asinh colours in [0, 1]             image_norm
    rotation            uniform in 0 to pi                 none                                rotate
    local views         hold the galaxy                    anywhere (42 % hold the centre)     local_contains_centre
    learning rate       0.004                              2e-4 sqrt(B / 1024)                 lr_scaling
    layer-wise decay    not mentioned                      0.9, patches another 0.2            layer_decay
    weight decay        0.001                              0.001 to 0.01                       final_weight_decay
    teacher momentum    0.994 to 1                         0.992 to 1                          teacher_momentum
    batch, steps        1536; 500 epochs                   1440; 200 x 1250 steps              batch_size, n_steps
    crops               94.7 % and 39.4 % of the area      of the side: 144 and 60 of 152 px   global_crop, local_crop
    cutouts             256 px                             152 px                              (the survey's)
    KoLeo               printed as + log, no weight        - log, weight 0.1                   koleo_weight
    optimiser           Adam                               AdamW                               (AdamW in both)
    ==================  =================================  ==================================  =======================

    Sizes (batch, steps, crops) are the preset's in every recipe.

    References
    ----------
    Parker et al. 2024, arXiv:2310.03024; Oquab et al. 2023, arXiv:2304.07193; Stein et al. 2021, arXiv:2110.00023.
    """

    name = "AstroDINO"

    def __init__(
        self,
        *,
        image_side: int = 76,
        field_side: int = 76,
        global_crop: int = 72,
        local_crop: int = 36,
        patch_size: int = 12,
        dim: int = 96,
        depth: int = 3,
        n_heads: int = 3,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        n_local: int = 4,
        head_hidden: int = 192,
        head_bottleneck: int = 48,
        n_prototypes: int = 512,
        separate_heads: bool = False,
        balance: Literal["centre", "sinkhorn", "none"] = "centre",
        ibot_weight: float = 1.0,
        koleo_weight: float = 0.1,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.02,
        final_teacher_temperature: float = 0.04,
        temperature_ramp: float = 0.15,
        teacher_momentum: float = 0.95,
        layer_decay: float = 1.0,
        patch_lr_scale: float = 1.0,
        aug_p: Literal["paper", "code"] = "paper",
        noise_fits: Literal["survey", "legacy"] = "survey",
        image_norm: Literal["rgb", "rgb_zscore", "zscore", "asinh", "colours"] = "rgb",
        rotate: bool = False,
        local_contains_centre: bool = False,
        warmup: float = 0.1,
        frozen: float = 0.0,
        lr_scaling: Literal["none", "sqrt"] = "none",
        n_steps: int = 0,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        min_learning_rate: float = 0.0,
        weight_decay: float = 0.04,
        final_weight_decay: float | None = None,
        clip: float | None = 3.0,
        log_every: int = 10,
        checkpoint_every: int = 200,
        embed_batch_size: int = 256,
        **training: Any,
    ) -> None:
        _require_known(aug_p=aug_p, noise_fits=noise_fits, image_norm=image_norm, lr_scaling=lr_scaling)
        _require_nested((local_crop, global_crop, field_side, image_side), patch_size)
        if lr_scaling == "sqrt":
            learning_rate *= math.sqrt(batch_size / 1024)
        super().__init__(
            n_steps=n_steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            n_warmup=int(warmup * n_steps),
            min_learning_rate=min_learning_rate,
            weight_decay=weight_decay,
            final_weight_decay=final_weight_decay,
            clip=clip,
            log_every=log_every,
            checkpoint_every=checkpoint_every,
            embed_batch_size=embed_batch_size,
            **training,
        )
        self.image_side, self.field_side = image_side, field_side
        self.crops, self.patch_size = (global_crop, local_crop), patch_size
        self._network: dict[str, Any] = {
            "dim": dim, "depth": depth, "n_heads": n_heads, "layer_scale": layer_scale, "drop_path": drop_path,
            "head_hidden": head_hidden, "head_bottleneck": head_bottleneck, "n_prototypes": n_prototypes,
            "separate_heads": separate_heads,
        }  # fmt: skip
        self._losses = DINOConfig(
            balance=balance,
            ibot_weight=ibot_weight,
            koleo_weight=koleo_weight,
            student_temperature=student_temperature,
            layer_decay=layer_decay,
            patch_lr_scale=patch_lr_scale,
            frozen_steps=int(frozen * n_steps),
        )
        self._temperature = linear_ramp(teacher_temperature, final_teacher_temperature, int(temperature_ramp * n_steps))
        self._momentum = cosine(teacher_momentum, 1.0, n_steps)
        self.n_local, self.aug_p, self.noise_fits, self.image_norm = n_local, aug_p, noise_fits, image_norm
        self.rotate, self.local_contains_centre = rotate, local_contains_centre
        self._images: ImageFacts | None = None
        self._ready: Reader | None = None  # images that were read when the network was built, for the training

    def embed(self, inputs: ImageStack) -> NDArray[np.float32]:
        """Embedding (n, dim) of images (n, bands, height, width): the class token of the central crop.

        Images smaller than the network's are surrounded by zeros. Each survey's images get its own stretch.

        Raises
        ------
        ValueError
            If there are no weights yet, or ``inputs`` are no images, hold NaN or infinite pixels, or have other bands.
        """
        require_images(inputs, self.name)
        self._require_objective(inputs)
        bands, scales = shown_bands(facts_of(inputs), self.name)
        n_bands, trained = inputs.shape[1] if bands is None else len(bands), self.objective.model.config.in_channels
        if n_bands != trained:
            raise ValueError(f"{self.name} was given {n_bands} bands: it has weights for {trained}; fit it on these")
        self._images, self.objective.norm.scales = facts_of(inputs), scales
        return super().embed(inputs)

    def facts(self) -> dict[str, object]:
        """What a record says of the training, and whether the images are of the kind that the model is made for."""
        facts = super().facts()
        if self._images is not None:
            facts["image_unit"] = self._images.unit
            if self._images.unit == "display":
                facts["out_of_domain"] = "pictures instead of fluxes: cropped and flipped only, no blur, noise, stretch"
        return facts

    def _geometry(self, inputs: ImageStack) -> tuple[int, int]:
        """Factor of the binning and the side of the field, which holds one patch at least."""
        shortest = min(inputs.shape[2:])
        factor = max(1, shortest // self.image_side)
        return factor, max(self.patch_size, min(self.field_side, shortest // factor))

    def _training_reader(self, inputs: ImageStack) -> Reader:
        ready, self._ready = self._ready, None
        assert ready is not None, "a network that is to be trained is built first"
        return ready

    def _prepare(self, inputs: ImageStack) -> Prepare:
        bands, _ = shown_bands(facts_of(inputs), self.name)
        factor, side = self._geometry(inputs)
        if self.objective is not None:
            side = max(side, self.objective.model.config.image_size)  # of smaller images than in training
        return image_centres(inputs, factor, side, self.name, bands)

    def _build(self, inputs: ImageStack) -> nn.Module:
        require_images(inputs, self.name)
        self._images, self.objective = facts_of(inputs), None
        factor, side = self._geometry(inputs)
        bands, scales = shown_bands(self._images, self.name)
        n_bands = inputs.shape[1] if bands is None else len(bands)
        global_crop, local_crop = crop_sizes(side, *self.crops, self.patch_size)
        if "backbone.pos_embed" in self._loaded:  # weights for images of another size
            global_crop = math.isqrt(self._loaded["backbone.pos_embed"].shape[1] - 1) * self.patch_size
            local_crop = min(local_crop, global_crop)
        sky = self._survey(inputs, n_bands, scales)
        psf, noise = self._conditions(self._images, bands, factor, sky)
        network = AstroDINO(
            AstroDINOConfig(image_size=global_crop, patch_size=self.patch_size, in_channels=n_bands, **self._network)
        )
        return DINOObjective(
            network,
            Augmentation(
                global_size=global_crop,
                local_size=local_crop,
                n_local=self.n_local,
                probabilities=AUG_P[self.aug_p],
                psf=psf,
                noise=noise,
                local_contains_centre=self.local_contains_centre,
                rotate=self.rotate,
            ),
            self._norm(scales, sky),
            self._losses,
            teacher_temperature=self._temperature,
            teacher_momentum=self._momentum,
        )

    def _survey(self, inputs: ImageStack, n_bands: int, scales: tuple[float, ...] | None) -> Sky:
        """What the sky of the images is like, where that is needed; images of a training are put into their order."""
        blank = Sky((0.0,) * n_bands, (1.0,) * n_bands, (1.0,) * n_bands)
        if self._loaded or not (self.training.n_steps or self.image_norm != "rgb"):
            return blank
        read = PreparedGalaxies(inputs, self._prepare(inputs), keep=bool(self.training.n_steps))
        sky, order = survey_images(read, self._norm(scales, blank).stretched)
        if self.image_norm == "colours":  # whose stretch needs the noise that was measured just now
            sky, _ = survey_images(read, self._norm(scales, sky).stretched)
        if self.training.n_steps:
            self._ready = lambda rows: read(order[rows])
        return sky

    def _norm(self, scales: tuple[float, ...] | None, sky: Sky) -> ImageNorm:
        return ImageNorm(self.image_norm, scales, mean=sky.mean, std=sky.std, noise=sky.noise)

    def _conditions(
        self, facts: ImageFacts, bands: tuple[int, ...] | None, factor: int, sky: Sky
    ) -> tuple[list[LogNormal], list[LogNormal]]:
        """Fits of blur and noise for each shown band, in binned pixels; none for pictures."""
        if facts.unit == "display":
            return [], []
        names = facts.bands if bands is None else [facts.bands[band] for band in bands]
        like = [_LIKE.get(name, 2) for name in names]
        pixels = _STEIN_SCALE_ARCSEC / (facts.pixel_scale_arcsec or _STEIN_SCALE_ARCSEC) / factor
        psf = [STEIN_PSF[place].scaled(pixels) for place in like]
        noise = [STEIN_NOISE[place].scaled(1 / factor) for place in like]
        if self.noise_fits == "survey":
            noise = [fit.scaled(level / fit.median) for fit, level in zip(noise, sky.noise, strict=True)]
        return psf, noise

    def _embed(self, batch: Tensor) -> Tensor:
        size = self.objective.model.config.image_size
        margin = (batch.shape[-1] - size) // 2
        crop = batch[..., margin : margin + size, margin : margin + size]
        return self.objective.model(self.objective.norm(crop))

    def _deployed(self, objective: DINOObjective) -> nn.Module:
        """The teacher's backbone and the constants of the normalisation: all that an embedding needs."""
        return nn.ModuleDict({"backbone": objective.model.teacher.backbone, "norm": objective.norm})


def crop_sizes(side: int, global_crop: int, local_crop: int, patch_size: int) -> tuple[int, int]:
    """Sides of the global and local crops for images of ``side`` pixels, multiples of the patch.

    The wanted ones where they fit; else the largest that fit, the local crop in proportion, and one patch at least.
    """
    largest = min(global_crop, max(patch_size, side // patch_size * patch_size))
    in_proportion = round(largest * local_crop / global_crop / patch_size) * patch_size
    local = local_crop if largest == global_crop else in_proportion
    return largest, min(largest, max(patch_size, local))


def _require_known(**choices: str) -> None:
    for name, value in choices.items():
        if value not in _KNOWN[name]:
            raise ValueError(f"{name} '{value}': must be {' or '.join(_KNOWN[name])}")


def _require_nested(sides: tuple[int, int, int, int], patch_size: int) -> None:
    """Local crops fit into global ones, these into the field, and the field into the image."""
    if list(sides) != sorted(sides) or sides[0] < 1 or sides[0] % patch_size or sides[1] % patch_size:
        raise ValueError(
            f"local_crop, global_crop, field_side, image_side = {', '.join(map(str, sides))}: must ascend, the crops "
            f"multiples of patch_size {patch_size}"
        )

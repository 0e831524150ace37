"""iBOT's loss on patch tokens: a masked patch must choose the prototypes that the teacher, who sees it, chooses."""

from __future__ import annotations

from torch import Tensor

from encoders.astrodino.dino_loss import cross_entropy

__all__ = ["ibot_loss"]


def ibot_loss(
    student_MK: Tensor, teacher_MK: Tensor, weight_M: Tensor, n_images: int, *, temperature: float = 0.1
) -> Tensor:
    """Cross entropy of masked patches: mean over those of an image, then over all images, unmasked ones being zero.

    Parameters
    ----------
    student_MK, teacher_MK : the student's logits and the teacher's probabilities of the M masked patches.
    weight_M : 1 / number of masked patches in the image that each belongs to.
    n_images : images in the batch, masked or not.
    temperature : of the student.

    References
    ----------
    Zhou et al. 2022, arXiv:2111.07832, eq. 2; weights as in DINOv2 (Oquab et al. 2023, arXiv:2304.07193).
    """
    if not len(student_MK) == len(teacher_MK) == len(weight_M):
        raise ValueError(
            f"{len(student_MK)} masked patches of the student, {len(teacher_MK)} of the teacher, {len(weight_M)} "
            "weights: must be the same patches"
        )
    return (cross_entropy(teacher_MK, student_MK, temperature) * weight_M).sum() / n_images

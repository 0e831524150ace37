"""DINO's loss on class tokens: crops of one galaxy must choose the same prototypes as the teacher does.

Axes in suffixes: V crops (views), B images, N rows, K prototypes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["TeacherCentre", "cross_entropy", "dino_loss", "sinkhorn_knopp"]


class TeacherCentre(nn.Module):
    """A running mean of the teacher's logits, taken off before its softmax so that no prototype wins everywhere.

    Parameters
    ----------
    n_prototypes : K.
    momentum : of the running mean.

    Notes
    -----
    The update is lazy, as in DINOv2: step k uses the centre of the steps before it. `observe` keeps the mean of this
    step's logits, over the rows of all processes, and `apply` moves the centre once the step is done.

    References
    ----------
    Caron et al. 2021, arXiv:2104.14294, eq. 4.
    """

    centre: Tensor

    def __init__(self, n_prototypes: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("centre", torch.zeros(1, n_prototypes))
        self._observed: Tensor | None = None

    def probabilities(self, logits_NK: Tensor, temperature: float) -> Tensor:
        """softmax((logits - centre) / temperature) in float32 at least."""
        return torch.softmax((_at_least_float32(logits_NK) - self.centre) / temperature, dim=-1)

    @torch.no_grad()
    def observe(self, logits_NK: Tensor) -> None:
        """Remember the mean of these logits; a step without rows (no token was masked) leaves the centre alone."""
        total = _summed(_at_least_float32(logits_NK).sum(0, keepdim=True))
        n_rows = _summed(total.new_tensor(float(len(logits_NK))))
        self._observed = total / n_rows if n_rows > 0 else None

    @torch.no_grad()
    def apply_observed(self) -> None:
        """Move the centre by what was observed in this step."""
        if self._observed is not None:
            self.centre.mul_(self.momentum).add_(self._observed, alpha=1 - self.momentum)
        self._observed = None


@torch.no_grad()
def sinkhorn_knopp(logits_NK: Tensor, temperature: float, n_iterations: int = 3) -> Tensor:
    """Teacher probabilities (N, K) under which every prototype is chosen equally often, instead of centring.

    Rows of exp(logits / temperature) of all processes are scaled to equal mass for each prototype, then for each
    galaxy, in turns; the last turn is the galaxies', so that every row sums to 1.

    References
    ----------
    Cuturi 2013, arXiv:1306.0895; Caron et al. 2020, arXiv:2006.09882.
    """
    log_mass_NK = _at_least_float32(logits_NK) / temperature  # logarithms: exp(1 / .02) has no room in float32
    for _ in range(n_iterations):
        log_mass_NK = log_mass_NK - _log_sum_of_all_rows(log_mass_NK)
        log_mass_NK = log_mass_NK - torch.logsumexp(log_mass_NK, dim=1, keepdim=True)
    return log_mass_NK.exp()


def cross_entropy(teacher_NK: Tensor, student_NK: Tensor, temperature: float) -> Tensor:
    """-sum p log softmax(student / temperature) of every row (N,), ``teacher_NK`` being the probabilities p."""
    return -(teacher_NK * torch.log_softmax(_at_least_float32(student_NK) / temperature, dim=-1)).sum(-1)


def dino_loss(global_VBK: Tensor, local_VBK: Tensor, teacher_VBK: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Mean cross entropy over all pairs of a student's crop with another crop of the teacher.

    Parameters
    ----------
    global_VBK, local_VBK : the student's logits of its 2 global crops, which the teacher sees too, and of the others
        (there may be none).
    teacher_VBK : the teacher's probabilities of the same 2 global crops.
    temperature : of the student.

    Notes
    -----
    With 2 global and L local crops there are 2 + 2 L pairs; a global crop is not compared with itself.

    References
    ----------
    Caron et al. 2021, arXiv:2104.14294, eq. 3; the division by the number of pairs is DINOv2's.
    """
    if len(teacher_VBK) != 2 or global_VBK.shape != teacher_VBK.shape:
        raise ValueError(
            f"global crops of shape {tuple(global_VBK.shape)} with teacher's of {tuple(teacher_VBK.shape)}: "
            "must be the same two crops"
        )
    total = cross_entropy(teacher_VBK.flip(0), global_VBK, temperature).mean(-1).sum()
    if len(local_VBK):
        # the two teachers' cross entropies with one crop share its logarithms
        total = total + cross_entropy(teacher_VBK.sum(0), local_VBK, temperature).mean(-1).sum()
    return total / (2 + 2 * len(local_VBK))


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _summed(value: Tensor) -> Tensor:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        value = value.clone()
        torch.distributed.all_reduce(value)
    return value


def _log_sum_of_all_rows(log_mass_NK: Tensor) -> Tensor:
    """log of the sum over the rows (1, K) of all processes."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return torch.logsumexp(log_mass_NK, dim=0, keepdim=True)
    largest = log_mass_NK.max(dim=0, keepdim=True).values
    torch.distributed.all_reduce(largest, op=torch.distributed.ReduceOp.MAX)
    return torch.log(_summed((log_mass_NK - largest).exp().sum(0, keepdim=True))) + largest

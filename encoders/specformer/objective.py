"""What SpecFormer learns from: hidden windows as published, or the half of the noise that it was not shown.

Batches are (B, 2, N): flux and inverse variance of binned spectra. Axes in suffixes: B spectra, N pixels, T tokens,
W numbers of a token, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.specformer.network import SpecFormer
from encoders.specformer.segment_masks import chunk_length, covered_pixels, segment_masks
from encoders.specformer.tokens import (
    N_EXTRA,
    WindowFit,
    n_windows,
    relative_spectra,
    released_tokens,
    window_fits,
    window_tokens,
)
from encoders.training.collapse import effective_rank, uniformity
from encoders.training.objective import ParameterGroup

__all__ = ["MaskedWindows", "Masking", "ThinnedWindows", "masked_error", "misfit"]

_PIXEL_FLOOR = 0.1  # errors of the level of a spectrum; the brightest have 0.05 a bin
_LINE_FLOOR = 0.02
_LEVEL_FLOOR = 0.3  # 0.15 dex, in units of the first token: a smaller one, a heavier loss, slows the others
_LINE_WEIGHT = 0.1  # of heights and slopes of single windows, beside their pixels
_PIXEL_WEIGHT = 0.3  # of pixels predicted from the embedding, beside heights and slopes


@dataclass(frozen=True)
class Masking:
    """How tokens are hidden in training.

    Attributes
    ----------
    n_chunks, share : chunks, and the part of all tokens that they make up together; of fewer than two tokens for each
        chunk, every second at most is hidden.
    guard : hide the pixels of a hidden window in the windows that overlap it too.
    spectra : part of the spectra of a batch of which anything is hidden, the first ones; the others are shown whole.
    """

    n_chunks: int = 6
    share: float = 0.4
    guard: bool = False
    spectra: float = 1.0

    def draw(self, n_spectra: int, n_tokens: int, generator: torch.Generator) -> Tensor:
        """Masks (n_spectra, n_tokens), see `segment_masks`."""
        n_chunks = min(self.n_chunks, max(1, n_tokens // 2))
        length = chunk_length(n_tokens, n_chunks, self.share)
        mask_BT = segment_masks(n_spectra, n_tokens, n_chunks=n_chunks, length=length, generator=generator)
        mask_BT[round(self.spectra * n_spectra) :] = False
        return mask_BT


class _Windows(nn.Module):
    """What both objectives share: the network, the tokens of whole spectra, the embedding, diagnostics."""

    def __init__(self, network: SpecFormer, window: int, step: int, masking: Masking) -> None:
        super().__init__()
        if not 1 <= step <= window:
            raise ValueError(f"step {step}: must be from 1 to the window, {window}, or pixels would be left out")
        self.network, self.window, self.step, self.masking = network, window, step, masking

    def tokens(self, batch: Tensor) -> Tensor:
        """Tokens (B, T, W) of spectra (B, 2, N), nothing hidden."""
        raise NotImplementedError

    def embedding(self, batch: Tensor) -> Tensor:
        """Mean (B, D) over all tokens of the network, the statistics token included."""
        tokens: Tensor = self.network(self.tokens(batch)).tokens
        return tokens.mean(1)

    def parameter_groups(self) -> list[ParameterGroup]:
        """One group: weight decay on everything, as in the released code."""
        return [ParameterGroup(list(self.parameters()))]

    def after_step(self, step: int) -> None:
        """Nothing follows a step."""

    def diagnostics(self, batch: Tensor, *, generator: torch.Generator) -> dict[str, float]:
        """Effective rank and uniformity of the embedding."""
        embedding = self.embedding(batch).float().cpu().numpy()
        return {"effective_rank": effective_rank(embedding), "uniformity": uniformity(embedding)}


def masked_error(reconstruction_BTW: Tensor, token_BTW: Tensor, hidden_BTW: Tensor) -> Tensor:
    """Mean squared error over the numbers of tokens that hiding has changed: hidden ones that are not 0."""
    changed = (hidden_BTW & (token_BTW != 0)).to(token_BTW.dtype)
    squared = (reconstruction_BTW - token_BTW).square()
    return (squared * changed).sum() / changed.sum().clamp(min=1)


class MaskedWindows(_Windows):
    """The published objective: windows standardised by mean and scatter, some set to 0, predicted from the others.

    Every changed number counts alike; inverse variances say only which pixels are valid. Invalid pixels are 0 in the
    input and never part of the loss.

    References
    ----------
    Parker et al. 2024, arXiv:2310.03024, section 3.2 and appendix A.2.
    """

    def tokens(self, batch: Tensor) -> Tensor:
        return released_tokens(batch[:, 0], batch[:, 1] > 0, self.window, self.step)

    def forward(self, batch: Tensor, *, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        token_BTW = self.tokens(batch)
        mask_BT = self.masking.draw(token_BTW.shape[0], token_BTW.shape[1], generator)
        hidden_BTW = mask_BT.unsqueeze(-1).expand_as(token_BTW)
        if self.masking.guard:
            covered_BN = covered_pixels(mask_BT[:, 1:], batch.shape[2], self.window, self.step)
            shown_BTW = covered_BN.unfold(1, self.window, self.step)[:, : token_BTW.shape[1] - 1]
            hidden_BTW = hidden_BTW | F.pad(shown_BTW, (N_EXTRA, 0, 1, 0))
        output = self.network(torch.where(hidden_BTW, 0.0, token_BTW))
        return {"loss": masked_error(output.reconstruction, token_BTW, hidden_BTW)}


class ThinnedWindows(_Windows):
    """Predict one noisy version of a spectrum from another whose noise is independent of it, partly hidden.

    With fresh noise e of the spectrum's own inverse variance, ``x + e`` and ``x - e`` have independent errors: the
    first is shown, the second is to be predicted. So a window that was shown cannot be copied, and every pixel teaches,
    hidden or not. Errors are weighted by inverse variance.

    Parameters
    ----------
    network, window, step, masking : see `SpecFormer` and `Masking`.
    n_pixels : of the spectra.
    summary_weight : weight of the second loss, that of a spectrum and its level predicted linearly from the embedding
        alone, so that the mean over tokens keeps what every window holds.

    References
    ----------
    Neufeld et al. 2024, arXiv:2301.07276 (splitting a Gaussian into independent parts).
    """

    def __init__(
        self,
        network: SpecFormer,
        window: int,
        step: int,
        masking: Masking,
        *,
        n_pixels: int,
        summary_weight: float = 2.0,
    ) -> None:
        super().__init__(network, window, step, masking)
        if summary_weight <= 0:
            raise ValueError(f"summary_weight {summary_weight:g}: must be positive")
        self.summary_weight = summary_weight
        self.apart = -(-window // step)  # windows this far apart do not overlap
        n_apart = -(-n_windows(n_pixels, window, step) // self.apart)
        self.summary = nn.Linear(network.head.in_features, n_apart * network.n_numbers)
        self.level = nn.Linear(network.head.in_features, 1)

    def tokens(self, batch: Tensor) -> Tensor:
        relative_BN, ivar_BN, log10_level = relative_spectra(batch[:, 0], batch[:, 1])
        return window_tokens(window_fits(relative_BN, ivar_BN, self.window, self.step), log10_level)

    def forward(self, batch: Tensor, *, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        relative_BN, ivar_BN, log10_level = relative_spectra(batch[:, 0], batch[:, 1])
        error_BN = torch.where(ivar_BN > 0, ivar_BN, torch.inf).rsqrt()
        error_BN = error_BN * torch.randn(ivar_BN.shape, generator=generator, device=ivar_BN.device)
        half_ivar_BN = ivar_BN / 2
        mask_BT = self.masking.draw(len(batch), 1 + n_windows(batch.shape[2], self.window, self.step), generator)
        shown_ivar_BN = half_ivar_BN
        if self.masking.guard:
            covered_BN = covered_pixels(mask_BT[:, 1:], batch.shape[2], self.window, self.step)
            shown_ivar_BN = torch.where(covered_BN, 0.0, half_ivar_BN)
        shown = window_fits(relative_BN + error_BN, shown_ivar_BN, self.window, self.step)
        wanted = window_fits(relative_BN - error_BN, half_ivar_BN, self.window, self.step)
        whole_BTW = window_tokens(shown, log10_level)
        output = self.network(torch.where(mask_BT.unsqueeze(-1), 0.0, whole_BTW))
        pixels, lines = _misfits(output.reconstruction[:, 1:], wanted)
        apart = WindowFit(*(part[:, :: self.apart] for part in wanted))
        embedding = output.tokens.mean(1)
        summary_BTW = self.summary(embedding).unflatten(1, (-1, self.network.n_numbers))
        summary_pixels, summary_lines = _misfits(summary_BTW, apart)
        level_error = torch.where(mask_BT[:, 0], 0.0, self.level(embedding)[:, 0] - whole_BTW[:, 0, 0])
        level = (level_error / _LEVEL_FLOOR).square().mean()
        loss = pixels + _LINE_WEIGHT * lines + self.summary_weight * (summary_lines + level)
        loss = loss + self.summary_weight * _PIXEL_WEIGHT * summary_pixels
        return {"loss": loss, "pixels": pixels, "lines": lines, "summary_lines": summary_lines, "level": level}


def _misfits(predicted_BTW: Tensor, wanted: WindowFit) -> tuple[Tensor, Tensor]:
    """Misfits of the pixels and of the lines of windows."""
    line_BT2, pixel_BTP = predicted_BTW.split([N_EXTRA, predicted_BTW.shape[-1] - N_EXTRA], dim=-1)
    pixels = misfit(pixel_BTP, wanted.pixel_BTP, wanted.pixel_ivar_BTP, _PIXEL_FLOOR)
    return pixels, misfit(line_BT2, wanted.line_BT2, wanted.line_ivar_BT2, _LINE_FLOOR)


def misfit(predicted: Tensor, wanted: Tensor, ivar: Tensor, floor: float) -> Tensor:
    """Squared error over variance, averaged over the valid numbers of a spectrum and then over spectra.

    ``floor`` is added to the errors in quadrature: without it the few brightest galaxies would be all that counts.
    """
    valid = ivar > 0
    variance = torch.where(valid, ivar, torch.inf).reciprocal() + floor**2
    terms = torch.where(valid, (predicted - wanted).square() / variance, 0.0).flatten(1)
    return (terms.sum(1) / valid.flatten(1).sum(1).clamp(min=1)).mean()

"""Masks of tokens in chunks, one in each segment of a spectrum, and the pixels that such masks touch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["chunk_length", "covered_pixels", "segment_masks"]


def chunk_length(n_tokens: int, n_chunks: int, share: float) -> int:
    """Tokens of a chunk when ``n_chunks`` of them make up about ``share`` of all tokens; at least 1.

    Raises
    ------
    ValueError
        If there are fewer tokens than chunks, or a chunk would not fit its segment of ``n_tokens // n_chunks``.
    """
    if n_chunks < 1 or not 0 < share < 1:
        raise ValueError(f"n_chunks {n_chunks}, share {share:g}: at least 1, and between 0 and 1")
    if n_tokens < n_chunks:
        raise ValueError(
            f"{n_tokens} tokens: too few for {n_chunks} masked chunks; use shorter windows or fewer chunks"
        )
    return min(max(1, round(share * n_tokens / n_chunks)), n_tokens // n_chunks)


def segment_masks(n_spectra: int, n_tokens: int, *, n_chunks: int, length: int, generator: torch.Generator) -> Tensor:
    """Masks (n_spectra, n_tokens), True where a token is hidden: one chunk of ``length`` tokens in each segment.

    Segment i starts at ``floor(i * n_tokens / n_chunks)``; the chunk starts there plus 0 to ``n_tokens // n_chunks -
    length``, drawn uniformly. The first token is hidden like any other.

    References
    ----------
    Parker et al. 2024, arXiv:2310.03024, appendix A.2 (6 chunks of 30 tokens; its released code: 6 of 50).
    """
    device = generator.device
    room = n_tokens // n_chunks - length
    if length < 1 or room < 0:
        raise ValueError(f"chunks of {length} tokens: must be from 1 to a segment's length, {n_tokens // n_chunks}")
    first = torch.arange(n_chunks, device=device) * n_tokens // n_chunks
    offset = torch.randint(0, room + 1, (n_spectra, n_chunks), generator=generator, device=device)
    hidden = ((first + offset)[..., None] + torch.arange(length, device=device)).flatten(1)
    return torch.zeros(n_spectra, n_tokens, dtype=torch.bool, device=device).scatter_(1, hidden, True)


def covered_pixels(mask_BT: Tensor, n_pixels: int, window: int, step: int) -> Tensor:
    """Pixels (B, n_pixels) that lie in a hidden window, whatever other window shows them too.

    ``mask_BT`` is True for hidden windows, window t from pixel ``t * step`` on. Windows that overlap a hidden chunk
    show its first and last pixels: hiding these pixels everywhere closes that leak.
    """
    marked = mask_BT.float().unsqueeze(1)
    spread = F.conv_transpose1d(marked, torch.ones(1, 1, window, device=mask_BT.device), stride=step)[:, 0]
    return F.pad(spread, (0, max(0, n_pixels - spread.shape[1])))[:, :n_pixels] > 0

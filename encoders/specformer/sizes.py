"""SpecFormer's sizes and hyperparameters, beside those that were published."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from encoders.reading.spectra import DESI_WAVE_ANGSTROM
from encoders.specformer.encoder import SpecFormerEncoder
from encoders.specformer.segment_masks import chunk_length

__all__ = ["architecture"]

_PUBLISHED: tuple[tuple[str, str, str], ...] = (
    ("parameters", "43M", "43,177,750"),
    ("bins", "pixels", "pixels, 7781"),
    ("window, step", "20, 10", "20, 10"),
    ("tokens", "", "778"),
    ("width, depth, heads", "768, 6, 6", "768, 6, 6"),
    ("first token", "class token", "mean and scatter"),
    ("hidden chunks", "6 of 30 tokens", "6 of 50 tokens"),
    ("loss over", "hidden windows", "hidden windows"),
    ("learning rate", "", "1e-05"),
    ("weight decay", "", "0.1"),
    ("betas", "", "0.9, 0.95"),
    ("clip", "", "1"),
    ("warm-up", "", "2000"),
    ("batch", "", "64 a GPU"),
    ("steps", "500,000", "500,000"),
)
"""item, in print, in the released code: Parker et al. 2024, arXiv:2310.03024, and the 2026 paper, which has 500,000
steps where its predecessor has 500 epochs (the README of the code: 30,000 steps)."""


def architecture(options: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Rows (item, ours, published paper, published code) of a model with these options.

    Parameters
    ----------
    options : keyword arguments of `SpecFormerEncoder`, for spectra of DESI. The network is counted without being made.
    """
    ours = _values({**_defaults(), **options})
    return [(item, ours[item], paper, code) for item, paper, code in _PUBLISHED]


def _values(o: dict[str, Any]) -> dict[str, str]:
    encoder = SpecFormerEncoder(**o)
    with torch.device("meta"):
        network = encoder.network(DESI_WAVE_ANGSTROM)
    n_bins, n_tokens = encoder.n_bins(DESI_WAVE_ANGSTROM), encoder.n_tokens(DESI_WAVE_ANGSTROM)
    masked = o["objective"] == "masked"
    chunk = chunk_length(n_tokens, o["n_mask_chunks"], o["mask_share"])
    return {
        "parameters": f"{sum(parameter.numel() for parameter in network.parameters()):,}",
        "bins": f"{o['bin_dex']:g} dex, {n_bins}" if o["bin_dex"] else f"{o['bin_pixels']} pixels, {n_bins}",
        "window, step": f"{o['window']}, {o['step']}",
        "tokens": f"{n_tokens}",
        "width, depth, heads": f"{o['dim']}, {o['depth']}, {o['n_heads']}",
        "first token": "mean and scatter" if masked else "level",
        "hidden chunks": f"{o['n_mask_chunks']} of {chunk} tokens, in {o['masked_spectra']:.0%} of the spectra",
        "loss over": "hidden windows" if masked else "all windows, with independent noise",
        "learning rate": f"{o['learning_rate']:g}",
        "weight decay": f"{encoder.training.weight_decay:g}",
        "betas": ", ".join(map(str, encoder.training.betas)),
        "clip": "none" if encoder.training.clip is None else f"{encoder.training.clip:g}",
        "warm-up": f"{encoder.training.n_warmup}",
        "batch": f"{o['batch_size']}",
        "steps": f"{o['n_steps']:,}",
    }


def _defaults() -> dict[str, Any]:
    """What the encoder takes where an option is not given."""
    parameters = inspect.signature(SpecFormerEncoder).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}

"""SpecFormer as an encoder of surveys: how spectra become batches, and where recipes differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.reading.prepared_galaxies import Galaxies, Prepare, PreparedGalaxies
from encoders.reading.spectra import LogBins, PixelBins, flux_and_ivar, wavelengths
from encoders.row_order import content_keys
from encoders.specformer.network import SpecFormer
from encoders.specformer.objective import MaskedWindows, Masking, ThinnedWindows
from encoders.specformer.tokens import n_released_windows, n_windows
from encoders.training.batches import Reader
from encoders.training.precision import Precision
from encoders.training.self_supervised import SelfSupervisedEncoder
from encoders.training.train import Watcher

__all__ = ["SpecFormerEncoder"]


class SpecFormerEncoder(SelfSupervisedEncoder):
    """Spectra on any grid, binned, and embedded by the mean over all tokens of a `SpecFormer`.

    Parameters
    ----------
    n_steps : steps of the optimiser; 0 is the random frozen twin.
    batch_size : spectra a step; as many as there are, where there are fewer.
    bin_dex : width of bins in log10 wavelength, or of the widest pixel where that is more; None for ``bin_pixels``.
    bin_pixels : neighbouring pixels that are averaged, weighted by inverse variance, where ``bin_dex`` is None.
    window, step : bins of a window, and from one to the next.
    dim, depth, n_heads : see `SpecFormer`.
    max_tokens : positions that are learned; None for as many as the spectra have tokens.
    objective : ``masked`` as published (`MaskedWindows`), or ``thinned`` (`ThinnedWindows`).
    init : see `SpecFormer`.
    n_mask_chunks, mask_share, mask_overlap_guard, masked_spectra : see `Masking`.
    summary_weight : see `ThinnedWindows`.
    learning_rate, n_warmup, min_learning_rate, weight_decay, betas, clip, precision, log_every, checkpoint_every,
        training : see `encoders.training.train.TrainingConfig`.
    embed_batch_size : see `SelfSupervisedEncoder`.

    Notes
    -----
    Pixels with an inverse variance of 0 are treated as hidden: they are 0 in the input, whatever their flux, and never
    part of a loss. Weights belong to the wavelengths they were trained on; other ones are refused.

    Where paper and released code differ, and where recipe ``default`` goes its own way, since it learns from thousands
    of faint spectra in minutes. Sizes, steps and warm-up are those of the preset.

    ==================== ===================== ===================== ================================================
    option               recipe ``paper``      recipe ``code``       recipe ``default``
    ==================== ===================== ===================== ================================================
    ``bin_dex``          None: pixels          None: pixels          bins of equal width in log wavelength, in which a
                                                                     redshift is a shift; weighted by inverse variance
    ``window, step``     20, 10                20, 10                256, 128 (paper size: 128, 64)
    ``n_mask_chunks``    6                     6                     6
    ``mask_share``       180/778: chunks of 30 300/778: chunks of 50 0.4
    ``masked_spectra``   1                     1                     0.5: the others are shown whole, as in use
    ``objective``        masked                masked                thinned
    - first token        mean and scatter      mean and scatter      log10 of the level
    - standardised by    mean, scatter >= 0.2  mean, scatter >= 0.2  level, the mean weighted by inverse variance
    - tokens in front    0, 0                  0, 0                  height and slope of a line through the window
    - tokens behind      pixels                pixels                pixels less that line, shrunk by their noise
    - last window        dropped               dropped               kept, beyond the end invalid
    - loss               hidden windows        hidden windows        all windows, in a version of the spectrum whose
                                                                     noise is independent of the input's
    - weights            equal                 equal                 inverse variance
    - second loss        none                  none                  spectrum and level, predicted from the embedding
    ``init``             released              released              width
    ``learning_rate``    1e-5                  1e-5                  3e-3 (paper size: 3e-4)
    ``weight_decay``     0.1                   0.1                   0.05
    ``batch_size``       64                    64                    32 (paper size: 64)
    ==================== ===================== ===================== ================================================

    The paper speaks of a class token; the released code, and so all recipes, have the token of the whole spectrum
    instead. AdamW with betas 0.9 and 0.95, gradients clipped at 1 and a cosine to 0 are common to all.

    References
    ----------
    Parker et al. 2024, arXiv:2310.03024, section 3.2 and appendix A.2.
    """

    name = "SpecFormer"

    def __init__(
        self,
        *,
        n_steps: int,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        bin_dex: float | None = 2.24e-4,
        bin_pixels: int = 1,
        window: int = 256,
        step: int = 128,
        dim: int = 128,
        depth: int = 3,
        n_heads: int = 4,
        max_tokens: int | None = None,
        objective: Literal["masked", "thinned"] = "thinned",
        init: Literal["released", "width"] = "width",
        n_mask_chunks: int = 6,
        mask_share: float = 0.4,
        mask_overlap_guard: bool = False,
        masked_spectra: float = 0.5,
        summary_weight: float = 2.0,
        n_warmup: int = 0,
        min_learning_rate: float = 0.0,
        weight_decay: float = 0.05,
        betas: tuple[float, float] = (0.9, 0.95),
        clip: float | None = 1.0,
        precision: Precision = "auto",
        log_every: int = 10,
        checkpoint_every: int = 200,
        embed_batch_size: int = 256,
        **training: Any,
    ) -> None:
        super().__init__(
            n_steps=n_steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            n_warmup=n_warmup,
            min_learning_rate=min_learning_rate,
            weight_decay=weight_decay,
            betas=betas,
            clip=clip,
            precision=precision,
            log_every=log_every,
            checkpoint_every=checkpoint_every,
            embed_batch_size=embed_batch_size,
            **training,
        )
        if objective not in ("masked", "thinned"):
            raise ValueError(f"objective '{objective}': must be 'masked' or 'thinned'")
        if bin_dex is not None and bin_dex <= 0:
            raise ValueError(f"bin_dex {bin_dex:g}: must be a positive width in dex, or None")
        self.bin_dex, self.bin_pixels = bin_dex, bin_pixels
        self.window, self.step, self.max_tokens = window, step, max_tokens
        self.sizes: dict[str, Any] = {"dim": dim, "depth": depth, "n_heads": n_heads, "init": init}
        self.objective_name, self.summary_weight = objective, summary_weight
        self.masking = Masking(n_mask_chunks, mask_share, mask_overlap_guard, masked_spectra)
        self._wave_angstrom: NDArray[np.float64] = np.empty(0)
        self._wanted_batch = batch_size

    def fit(self, inputs: Galaxies, *, seed: int, folder: Path | None = None, progress: Watcher | None = None) -> None:
        """Draw the weights and train them, in an order of the spectra that follows from what they hold.

        Parameters are those of `SelfSupervisedEncoder.fit`; ``inputs`` are spectra (n, 2, n_wave).

        Raises
        ------
        ValueError
            If ``inputs`` are not spectra, hold values that are not allowed, or are fewer than 2.
        """
        wavelengths(inputs, self.name)
        if self.training.n_steps:
            if len(inputs) < 2:
                raise ValueError(f"{self.name} was given {len(inputs)} training spectra: at least 2 are needed")
            self.training = replace(self.training, batch_size=min(self._wanted_batch, len(inputs)))
        super().fit(inputs, seed=seed, folder=folder, progress=progress)

    def embed(self, inputs: Galaxies) -> NDArray[np.float32]:
        """Embedding (n, dim) of spectra (n, 2, n_wave).

        Raises
        ------
        ValueError
            If there are no weights yet, or ``inputs`` are not spectra on the wavelengths the weights belong to, or hold
            values that are not allowed.
        """
        wave = wavelengths(inputs, self.name)
        if self._wave_angstrom.size and not _same_pixels(wave, self._wave_angstrom):
            raise ValueError(
                f"{self.name} was given {len(wave)} other wavelengths than in training: train it on these, or bring "
                "the spectra to those"
            )
        return super().embed(inputs)

    def state(self) -> dict[str, NDArray]:
        """Weights by name and ``wave_angstrom``; empty before there are any."""
        weights = super().state()
        return weights | {"wave_angstrom": self._wave_angstrom} if weights else {}

    def load_state(self, state: Mapping[str, NDArray]) -> None:
        """The inverse of `state`.

        Raises
        ------
        ValueError
            If there are no weights or no wavelengths in it.
        """
        weights = dict(state)
        wave = weights.pop("wave_angstrom", None)
        super().load_state(weights)
        if wave is None:
            raise ValueError(f"{self.name} was given weights without wave_angstrom: give what {self.name}.state gave")
        self._wave_angstrom = np.asarray(wave, dtype=np.float64)

    def network(self, wave_angstrom: NDArray[np.float64]) -> SpecFormer:
        """A network for spectra at these wavelengths (n_wave,), its weights drawn from torch's global generator.

        Raises
        ------
        ValueError
            If they have more tokens than ``max_tokens``, or too few bins for one.
        """
        n_tokens = self.n_tokens(wave_angstrom)
        if self.max_tokens is not None and n_tokens > self.max_tokens:
            raise ValueError(
                f"{self.name}: spectra of {self.n_bins(wave_angstrom)} bins make {n_tokens} tokens: at most "
                f"{self.max_tokens} fit; bin them more coarsely or raise max_tokens"
            )
        return SpecFormer(window=self.window, max_tokens=self.max_tokens or n_tokens, **self.sizes)

    def n_bins(self, wave_angstrom: NDArray[np.float64]) -> int:
        """Bins of spectra at these wavelengths."""
        return len(self._bins(wave_angstrom).start)

    def n_tokens(self, wave_angstrom: NDArray[np.float64]) -> int:
        """Tokens of spectra at these wavelengths, the one of the whole spectrum included."""
        counted = n_released_windows if self.objective_name == "masked" else n_windows
        return 1 + counted(self.n_bins(wave_angstrom), self.window, self.step)

    def _bins(self, wave_angstrom: NDArray[np.float64]) -> LogBins | PixelBins:
        if self.bin_dex is not None:
            return LogBins.of(wave_angstrom, self.bin_dex)
        return PixelBins.of(len(wave_angstrom), self.bin_pixels)

    def _build(self, inputs: Galaxies) -> MaskedWindows | ThinnedWindows:
        self._wave_angstrom = wavelengths(inputs, self.name)
        network = self.network(self._wave_angstrom)
        if self.objective_name == "masked":
            return MaskedWindows(network, self.window, self.step, self.masking)
        return ThinnedWindows(
            network,
            self.window,
            self.step,
            self.masking,
            n_pixels=self.n_bins(self._wave_angstrom),
            summary_weight=self.summary_weight,
        )

    def _prepare(self, inputs: Galaxies) -> Prepare:
        bins = self._bins(wavelengths(inputs, self.name))

        def prepare(spectra: NDArray[np.float32], rows: NDArray[np.int64]) -> Tensor:
            binned = np.stack(bins.average(*flux_and_ivar(spectra, rows, self.name)), axis=1)
            return torch.from_numpy(binned.astype(np.float32))

        return prepare

    def _training_reader(self, inputs: Galaxies) -> Reader:
        """A reader for which the order of the rows is made from their content."""
        read = PreparedGalaxies(inputs, self._prepare(inputs), keep=True)
        keys = [content_keys(spectra.numpy(), 0) for spectra in read.consecutive()]
        order = np.argsort(np.concatenate(keys), kind="stable")
        return lambda rows: read(order[rows])

    def _embed(self, batch: Tensor) -> Tensor:
        embedding: Tensor = self.objective.embedding(batch)
        return embedding

    def _deployed(self, objective: Any) -> SpecFormer:
        network: SpecFormer = objective.network
        return network


def _same_pixels(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    """Whether wavelengths agree to 1e-6 (0.3 km/s): two files of one grid may round it differently."""
    return first.shape == second.shape and bool(np.allclose(first, second, rtol=1e-6, atol=0))

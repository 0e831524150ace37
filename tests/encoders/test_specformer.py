"""SpecFormer against numbers of the published code; its windows and masks against direct computation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from encoders.randomness import seeded_torch
from encoders.specformer.network import SpecFormer
from encoders.specformer.objective import masked_error, misfit
from encoders.specformer.segment_masks import chunk_length, covered_pixels, segment_masks
from encoders.specformer.tokens import (
    n_released_windows,
    n_windows,
    relative_spectra,
    released_tokens,
    window_fits,
    window_tokens,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "specformer.json").read_text())
PUBLISHED_NAMES = (
    (r"^embed\.", "data_embed."),
    (r"^pos_embed$", "position_embed.weight"),
    (r"\.norm(\d)\.", r".layernorm\1."),
    (r"\.attn\.qkv\.", ".attention.attention."),
    (r"\.attn\.proj\.", ".attention.projection."),
    (r"\.mlp\.fc1\.", ".mlp.encoder."),
    (r"\.mlp\.fc2\.", ".mlp.decoder."),
    (r"^norm\.", "final_layernorm."),
)


def published(name: str) -> str:
    """Name of a parameter in the published code."""
    for ours, theirs in PUBLISHED_NAMES:
        name = re.sub(ours, theirs, name)
    return name


def fill(network: torch.nn.Module) -> torch.nn.Module:
    """Give every parameter the value that the golden numbers were made with (the rule stands in the JSON file)."""
    parameters = {published(name): parameter for name, parameter in network.named_parameters()}
    for place, name in enumerate(sorted(parameters)):
        shape = tuple(parameters[name].shape)
        u = np.sin(0.7 * np.arange(np.prod(shape, dtype=int), dtype=np.float64).reshape(shape) + 1.3 * place + 0.2)
        if len(shape) == 2:
            value = u / np.sqrt(shape[-1])
        else:
            value = 1 + 0.2 * u if name.endswith("weight") else 0.1 * u
        parameters[name].data = torch.tensor(value, dtype=torch.float32)
    return network


def golden_spectra() -> torch.Tensor:
    t = np.arange(2 * 511, dtype=np.float64).reshape(2, 511)
    return torch.tensor(2 + np.sin(0.11 * t + 0.1) + 0.3 * np.sin(1.7 * t + 0.1), dtype=torch.float32)


@pytest.fixture(scope="module")
def golden_network() -> SpecFormer:
    with seeded_torch(0):
        network = SpecFormer(window=20, dim=24, depth=2, n_heads=6, max_tokens=60)
    assert sorted(
        f"{published(name)} {'x'.join(map(str, value.shape))}" for name, value in network.named_parameters()
    ) == sorted(GOLDEN["recipe"]["keys"])
    return fill(network).eval()


@pytest.fixture(scope="module")
def golden_outputs(golden_network: SpecFormer) -> dict[str, torch.Tensor]:
    flux = golden_spectra()
    tokens = released_tokens(flux, torch.ones_like(flux, dtype=torch.bool))
    with torch.inference_mode():
        output = golden_network(tokens)
    mean = output.tokens.mean(1)
    return {"tokens": tokens, "embedding": output.tokens, "recon": output.reconstruction, "mean": mean}


@pytest.mark.parametrize("entry", sorted(GOLDEN["outputs"]))
def test_the_network_reproduces_the_published_code(entry: str, golden_outputs: dict[str, torch.Tensor]) -> None:
    expected, got = GOLDEN["outputs"][entry], golden_outputs[entry].double().numpy()
    assert list(got.shape) == expected["shape"]
    flat = got.ravel()
    # 1e-5: float32 through two blocks; a sum over n values moves with their norm (another kernel moves it by 1.6e-5)
    np.testing.assert_allclose(flat[:6], expected["first"], rtol=0, atol=1e-5)
    sums = {
        "sum": flat.sum(),
        "norm": np.sqrt((flat**2).sum()),
        "wsum": (flat * np.cos(0.3 * np.arange(flat.size))).sum(),
    }
    for name, value in sums.items():
        assert value == pytest.approx(expected[name], abs=1e-5 + 2e-6 * expected["norm"]), name


def golden_mask() -> torch.Tensor:
    mask = torch.zeros(2, 51, dtype=torch.bool)
    for row, offsets in enumerate(((4, 0, 11), (7, 2, 5))):
        for chunk, offset in enumerate(offsets):
            start = chunk * 51 // 3 + offset
            mask[row, start : start + 5] = True
    return mask


def test_the_masked_loss_is_that_of_the_published_code(golden_network: SpecFormer, golden_outputs: dict) -> None:
    tokens = golden_outputs["tokens"]
    hidden = golden_mask().unsqueeze(-1).expand_as(tokens)
    with torch.inference_mode():
        reconstruction = golden_network(torch.where(hidden, 0.0, tokens)).reconstruction
    loss = float(masked_error(reconstruction, tokens, hidden))
    assert loss == pytest.approx(GOLDEN["masked_loss"], rel=1e-5)  # rounding of float32
    zeros = torch.cat([reconstruction[:, :, :2] + 100, reconstruction[:, :, 2:]], -1)  # numbers that are 0 in a token
    zeros[:, 0] = reconstruction[:, 0]
    assert float(masked_error(zeros, tokens, hidden)) == pytest.approx(loss, rel=1e-6)
    assert float(masked_error(reconstruction + 1, tokens, hidden)) > loss


def test_the_network_of_the_paper_has_as_many_parameters_as_the_released_file() -> None:
    with torch.device("meta"):
        network = SpecFormer()
    assert sum(parameter.numel() for parameter in network.parameters()) == 43_177_750


@pytest.mark.parametrize(("n_pixels", "n_tokens"), [(7780, 777), (7781, 778), (7789, 778), (7514, 751)])
def test_released_tokens_are_as_many_as_the_released_code_makes(n_pixels: int, n_tokens: int) -> None:
    assert 1 + n_released_windows(n_pixels) == n_tokens
    flux = torch.linspace(0, 1, n_pixels).unsqueeze(0)
    assert released_tokens(flux, torch.ones_like(flux, dtype=torch.bool)).shape == (1, n_tokens, 22)


def test_the_weights_are_drawn_as_the_released_code_draws_them() -> None:
    with seeded_torch(0):
        network = SpecFormer(window=20, dim=96, depth=3, n_heads=6, max_tokens=100)
        narrow = SpecFormer(window=20, dim=96, depth=3, n_heads=6, max_tokens=100, init="width")
    inner = (2 * 96 * 3) ** -0.5
    for weight, std in (
        (network.blocks[0].attn.qkv.weight, inner),
        (network.blocks[2].mlp.fc2.weight, inner / 2),  # four times the inputs
        (network.head.weight, 96**-0.5),
        (network.embed.weight, 96**-0.5),
        (network.pos_embed, 96**-0.5),
        (narrow.blocks[0].attn.qkv.weight, 0.88 * 0.64 * 96**-0.5),  # cut at two standard deviations
        (narrow.pos_embed, 0.5),
    ):
        # 2,000 and more numbers: 1.6 % standard error; a normal cut at three deviations has 0.987 of its own
        assert float(weight.detach().std()) == pytest.approx(std, rel=0.06)
    assert float(narrow.head.weight.detach().abs().max()) < 0.01


def test_a_token_of_the_released_code_is_the_standardised_window_behind_two_zeros() -> None:
    rng = np.random.default_rng(0)
    flux = rng.normal(3, 2, (3, 75)).astype(np.float32)
    valid = rng.random((3, 75)) > 0.2
    flux[2] = 1.5 + 0.01 * flux[2]
    tokens = released_tokens(torch.from_numpy(flux), torch.from_numpy(valid), window=20, step=10).numpy()
    for row in range(3):
        kept = flux[row][valid[row]].astype(np.float64)
        mean, scatter = kept.mean(), max(kept.std(ddof=1), 0.2)
        np.testing.assert_allclose(tokens[row, 0, :2], [(mean - 2) / 2, (scatter - 2) / 8], rtol=1e-4, atol=1e-5)
        assert not tokens[row, 0, 2:].any()
        assert not tokens[row, 1:, :2].any()
        expected = np.where(valid[row], (flux[row] - mean) / scatter, 0)[20:40]
        np.testing.assert_allclose(tokens[row, 3, 2:], expected, atol=1e-5)
    assert tokens[2, 0, 1] == pytest.approx(-0.225, rel=1e-6)  # the scatter is not taken below 0.2


def test_lines_through_windows_are_weighted_least_squares() -> None:
    rng = np.random.default_rng(1)
    flux, ivar = rng.normal(size=(2, 50)), rng.uniform(0.5, 2, (2, 50)) * (rng.random((2, 50)) > 0.3)
    ivar[1, 16:32] = 0
    fit = window_fits(torch.from_numpy(flux), torch.from_numpy(ivar), window=16, step=8)
    assert fit.line_BT2.shape[1] == n_windows(50, 16, 8) == 6
    position = np.linspace(-1, 1, 16)
    for window in (0, 3, 5):
        pixels = slice(8 * window, 8 * window + 16)
        y, w = flux[0, pixels], ivar[0, pixels]
        x = position[: len(y)]  # the last window reaches beyond the end
        centre = (w * x).sum() / w.sum()
        assert float(fit.line_BT2[0, window, 0]) == pytest.approx((w * y).sum() / w.sum())
        moment = (w * (x - centre) ** 2).sum()
        slope = (w * (x - centre) * y).sum() / moment
        # a hundredth of the weights steadies the slope
        assert float(fit.line_BT2[0, window, 1]) == pytest.approx(slope / (1 + 0.01 * w.sum() / moment))
        assert float(fit.line_ivar_BT2[0, window, 0]) == pytest.approx(w.sum())
    assert not fit.line_BT2[1, 2].any()
    assert not fit.line_ivar_BT2[1, 2].any()
    assert not fit.pixel_BTP[1, 2].any()
    exact = window_fits(torch.from_numpy(2 + 0 * flux), torch.from_numpy(ivar), window=16, step=8)
    assert float(exact.pixel_BTP.abs().max()) < 1e-12  # float64


def test_every_pixel_is_in_a_window_and_windows_are_no_more_than_needed() -> None:
    for n_pixels in range(1, 60):
        count = n_windows(n_pixels, 16, 8)
        assert (count - 1) * 8 + 16 >= n_pixels
        assert count == 1 or (count - 2) * 8 + 16 < n_pixels


def test_relative_spectra_lose_their_unit_and_keep_their_signal_to_noise() -> None:
    rng = np.random.default_rng(2)
    flux = torch.from_numpy(rng.normal(4, 1, (3, 40)))
    ivar = torch.from_numpy(rng.uniform(1, 2, (3, 40)))
    ivar[2] = 0
    relative, scaled, level = relative_spectra(flux, ivar)
    brighter = relative_spectra(100 * flux, ivar / 100**2)
    torch.testing.assert_close(brighter[0][:2], relative[:2])
    torch.testing.assert_close(brighter[1][:2], scaled[:2])
    torch.testing.assert_close(brighter[2][:2], level[:2] + 2)
    torch.testing.assert_close((relative * scaled).sum(1)[:2], torch.zeros(2, dtype=torch.float64), atol=1e-9, rtol=0)
    assert not relative[2].any()
    assert float(level[2]) == 0
    faint = relative_spectra(-flux, ivar)
    assert bool(torch.isfinite(faint[2]).all())


def test_tokens_shrink_with_noise_and_vanish_where_nothing_is_valid() -> None:
    flux = torch.from_numpy(np.random.default_rng(3).normal(1, 0.3, (1, 64)))
    sizes = []
    for ivar in (1e6, 10.0, 0.1):
        relative, scaled, level = relative_spectra(flux, torch.full((1, 64), ivar, dtype=torch.float64))
        sizes.append(float(window_tokens(window_fits(relative, scaled, 16, 8), level)[:, 1:].square().sum()))
    assert sizes[0] > sizes[1] > sizes[2] > 0
    half = torch.cat([torch.ones(1, 32), torch.zeros(1, 32)], 1).double()
    relative, scaled, level = relative_spectra(flux, half)
    tokens = window_tokens(window_fits(relative, scaled, 16, 8), level)
    assert not tokens[:, 1 + 4 :].any()  # windows from pixel 32 on
    assert bool(tokens[:, 1:4].any())


def test_a_chunk_is_hidden_in_every_segment_and_starts_anywhere_in_it() -> None:
    n_tokens, n_chunks, length = 778, 6, chunk_length(778, 6, 300 / 778)
    assert length == 50
    assert chunk_length(778, 6, 180 / 778) == 30
    mask = segment_masks(4000, n_tokens, n_chunks=n_chunks, length=length, generator=torch.Generator().manual_seed(0))
    assert (mask.sum(1) == 300).all()
    first = [i * n_tokens // n_chunks for i in range(n_chunks)]
    assert first == [0, 129, 259, 389, 518, 648]
    for start in first:
        inside = mask[:, start : start + n_tokens // n_chunks]
        offset = inside.int().argmax(1).numpy()
        assert (inside.sum(1) == length).all()
        assert offset.min() == 0
        assert offset.max() == 129 - 50
        # a uniform draw of 80 offsets: mean 39.5, its error 23.1 / sqrt(4000) = 0.37
        assert offset.mean() == pytest.approx(39.5, abs=1.5)
    again = segment_masks(4000, n_tokens, n_chunks=n_chunks, length=length, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mask, again)


def test_pixels_of_hidden_windows_are_found_in_every_window() -> None:
    mask = torch.zeros(1, 9, dtype=torch.bool)
    mask[0, 3:5] = True
    covered = covered_pixels(mask, 96, window=20, step=10)
    expected = torch.zeros(1, 96, dtype=torch.bool)
    expected[0, 30:60] = True
    assert torch.equal(covered, expected)
    assert covered_pixels(mask, 130, window=20, step=10).shape == (1, 130)


def test_misfit_is_one_where_only_the_noise_is_left_and_grows_with_what_is_wrong() -> None:
    rng = np.random.default_rng(4)
    truth, ivar = rng.normal(size=(400, 50)), rng.uniform(0.1, 5, (400, 50))
    ivar[rng.random(ivar.shape) < 0.2] = 0
    noisy = truth + rng.normal(size=truth.shape) / np.sqrt(np.where(ivar > 0, ivar, 1))
    noisy[ivar == 0] = 1e3
    given = [torch.from_numpy(array) for array in (truth, noisy, ivar)]
    # 16,000 squares of normals: standard error 0.011
    assert float(misfit(*given, floor=0.0)) == pytest.approx(1, abs=0.04)
    assert float(misfit(given[0] + 1, *given[1:], floor=0.0)) > 2
    assert float(misfit(*given, floor=3.0)) < 0.3
    assert float(misfit(*given[:2], torch.zeros_like(given[2]), floor=0.1)) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpecFormer(init="other"), "init 'other': must be 'released' or 'width'"),
        (lambda: SpecFormer(depth=0), "depth 0: must be at least 1"),
        (lambda: n_released_windows(15), "spectra of 15 pixels: too short for windows of 20 every 10"),
        (lambda: chunk_length(5, 6, 0.4), "5 tokens: too few for 6 masked chunks"),
        (lambda: chunk_length(50, 6, 1.0), "between 0 and 1"),
        (
            lambda: segment_masks(1, 12, n_chunks=6, length=3, generator=torch.Generator()),
            "chunks of 3 tokens: must be from 1 to a segment's length, 2",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_tokens_that_do_not_fit_the_network_are_refused(golden_network: SpecFormer) -> None:
    for shape in ((1, 61, 22), (1, 50, 21)):
        with pytest.raises(ValueError, match="at most 60 tokens of 22 numbers fit this network"):
            golden_network(torch.zeros(shape))

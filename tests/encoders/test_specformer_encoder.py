"""SpecFormer at work: what its objectives see and learn from, any grid, and whether training beats its random twin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmark.cards.specformer import CARDS
from benchmark.data import import_survey
from benchmark.data.views import inputs
from encoders import SpecFormerEncoder
from encoders.randomness import seeded_torch
from encoders.reading.spectra import DESI_WAVE_ANGSTROM
from encoders.specformer.network import SpecFormer, SpecFormerOutput
from encoders.specformer.objective import MaskedWindows, Masking, ThinnedWindows
from encoders.specformer.sizes import architecture
from encoders.specformer.tokens import n_windows, relative_spectra, window_fits
from encoders.training.collapse import collapsed, effective_rank

WAVE = 3600.0 + 8.0 * np.arange(779)
SMALL: dict[str, Any] = {
    "bin_dex": 1.12e-3, "window": 40, "step": 20, "dim": 32, "depth": 2, "n_heads": 4, "batch_size": 32,
}  # fmt: skip
PUBLISHED: dict[str, Any] = SMALL | {
    "bin_dex": None, "window": 20, "step": 10, "objective": "masked", "init": "released", "masked_spectra": 1.0,
}  # fmt: skip


class Stack:
    """Spectra (n, 2, n_wave) with wavelengths."""

    def __init__(self, rows: NDArray, wave_angstrom: NDArray = WAVE) -> None:
        self.rows, self.wave_angstrom = rows.astype(np.float32), wave_angstrom

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        return self.rows[rows]


def galaxies(n: int, seed: int = 0, wave_angstrom: NDArray = WAVE) -> tuple[Stack, NDArray]:
    """Noisy spectra with a break and two lines that move with redshift, and the redshifts (n,)."""
    rng = np.random.default_rng(seed)
    z, height = rng.uniform(0.05, 0.5, n), rng.lognormal(0, 0.3, n)
    rest = wave_angstrom / (1 + z[:, None])
    shape = (rest / 5000) ** rng.normal(0, 1, (n, 1)) * (1 - rng.uniform(0.1, 0.6, (n, 1)) * (rest < 4000))
    for line in (5008.0, 6565.0):
        shape = shape + rng.uniform(0.2, 1.5, (n, 1)) * np.exp(-0.5 * ((rest - line) / 12) ** 2)
    flux = 3 * height[:, None] * shape
    ivar = rng.uniform(0.5, 1.5, (n, 1)) * np.ones_like(flux)
    ivar[rng.random(ivar.shape) < 0.05] = 0
    noisy = flux + rng.normal(size=flux.shape) / np.sqrt(np.where(ivar > 0, ivar, 1))
    return Stack(np.stack([noisy, ivar], axis=1), wave_angstrom), z


@dataclass(frozen=True)
class Fixed:
    """A mask that is known."""

    mask_BT: Tensor
    guard: bool

    def draw(self, n_spectra: int, n_tokens: int, generator: torch.Generator) -> Tensor:
        assert self.mask_BT.shape == (n_spectra, n_tokens)
        return self.mask_BT


class Recorder(nn.Module):
    """A network that keeps what it is given and predicts a multiple of it."""

    def __init__(self, window: int, factor: float = 0.0) -> None:
        super().__init__()
        self.n_numbers, self.factor, self.seen = window + 2, factor, torch.empty(0)
        self.head = nn.Linear(8, 1)

    def forward(self, token_BTW: Tensor) -> SpecFormerOutput:
        self.seen = token_BTW
        return SpecFormerOutput(token_BTW[..., :8], token_BTW * self.factor)


def objective(name: str, masking: Any, network: Any, n_pixels: int, window: int = 20) -> Any:
    if name == "masked":
        return MaskedWindows(network, window, window // 2, masking)
    return ThinnedWindows(network, window, window // 2, masking, n_pixels=n_pixels)


def network(n_pixels: int, window: int = 20) -> SpecFormer:
    with seeded_torch(0):
        return SpecFormer(
            window=window, dim=24, depth=2, n_heads=4, max_tokens=1 + n_windows(n_pixels, window, window // 2)
        )


def spectra(n: int = 4, n_pixels: int = 305, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    ivar = rng.uniform(1, 3, (n, n_pixels)) * (rng.random((n, n_pixels)) > 0.1)
    flux = 2 + np.sin(0.1 * np.arange(n_pixels) + rng.uniform(0, 6, (n, 1))) + rng.normal(size=(n, n_pixels)) * 0.3
    return torch.tensor(np.stack([flux, ivar], 1), dtype=torch.float32)


def loss_of(model: Any, batch: Tensor) -> dict[str, Tensor]:
    return model(batch, step=0, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", ["masked", "thinned"])
@pytest.mark.parametrize("guard", [False, True])
def test_the_gradient_of_the_loss_reaches_every_parameter(name: str, guard: bool) -> None:
    with seeded_torch(1):
        model = objective(name, Masking(guard=guard), network(305), 305)
    losses = loss_of(model, spectra())
    losses["loss"].backward()
    trained = [parameter for group in model.parameter_groups() for parameter in group.parameters]
    assert len(trained) == len(list(model.parameters()))
    for place, parameter in model.named_parameters():
        assert parameter.grad is not None, place
        # positions beyond the tokens of these spectra are never used: released tokens are one fewer here
        assert bool(parameter.grad.abs().sum() > 0), place


@pytest.mark.parametrize("name", ["masked", "thinned"])
@pytest.mark.parametrize("guard", [False, True])
def test_the_flux_of_invalid_pixels_changes_neither_loss_nor_embedding(name: str, guard: bool) -> None:
    with seeded_torch(1):
        model = objective(name, Masking(guard=guard), network(305), 305).eval()
    batch = spectra()
    other = batch.clone()
    other[:, 0] = torch.where(batch[:, 1] > 0, batch[:, 0], 1e4)
    assert torch.equal(model.embedding(other), model.embedding(batch))
    assert torch.equal(loss_of(model, other)["loss"], loss_of(model, batch)["loss"])
    other[:, 0] = torch.where(batch[:, 1] > 0, batch[:, 0] + (torch.arange(305) < 150), 0)
    assert not torch.allclose(model.embedding(other), model.embedding(batch))


@pytest.mark.parametrize("name", ["masked", "thinned"])
def test_the_guard_hides_what_overlapping_windows_show_of_a_hidden_one(name: str) -> None:
    mask = torch.zeros(1, 30, dtype=torch.bool)
    mask[0, 10:13] = True  # windows 9 to 11: pixels 90 to 129
    batch = spectra(1)
    batch[:, 1] = 2.0
    swapped = batch.clone()  # mean and scatter of the spectrum stay as they are
    swapped[0, 0, [92, 126]] = batch[0, 0, [126, 92]]
    assert name == "thinned" or 1 + n_windows(305, 20, 10) == 31
    if name == "thinned":
        mask = torch.cat([mask, torch.zeros(1, 1, dtype=torch.bool)], 1)
    for guard in (True, False):
        seen = []
        for given in (batch, swapped):
            with seeded_torch(0):
                recorder = Recorder(20)
                model = objective(name, Fixed(mask, guard), recorder, 305)
            loss_of(model, given)
            seen.append(recorder.seen)
        # rounding of means over 305 pixels
        assert torch.allclose(*seen, atol=1e-5) == guard
        assert not seen[0][0, 10:13].any()


def test_what_is_to_be_predicted_has_noise_that_is_independent_of_what_is_shown() -> None:
    rng = np.random.default_rng(5)
    n_pixels = 400
    ivar = rng.uniform(50, 200, (300, n_pixels))
    flux = 1 + rng.normal(size=ivar.shape) / np.sqrt(ivar)  # featureless: the truth is 0 in every pixel
    batch = torch.tensor(np.stack([flux, ivar], 1), dtype=torch.float32)
    nothing = Fixed(torch.zeros(300, 1 + n_windows(n_pixels, 20, 10), dtype=torch.bool), False)
    with seeded_torch(0):
        tokens = Recorder(20)
        truth = objective("thinned", nothing, tokens, n_pixels)
    losses = loss_of(truth, batch)
    relative, scaled, _ = relative_spectra(batch[:, 0], batch[:, 1])
    generator = torch.Generator().manual_seed(3)
    error = torch.randn(scaled.shape, generator=generator) / scaled.sqrt()
    shown = window_fits(relative + error, scaled / 2, 20, 10).pixel_BTP
    reliability = (scaled / 2 * 0.09).unfold(1, 20, 10)
    torch.testing.assert_close(tokens.seen[:, 1:, 2:], shown * reliability / (1 + reliability), atol=1e-4, rtol=1e-3)
    hidden = window_fits(relative - error, scaled / 2, 20, 10).pixel_BTP
    # the two noises are independent: 234,000 products, standard error 0.003 (neighbouring windows share pixels)
    assert float((shown * hidden).mean() / (shown.square().mean() * hidden.square().mean()).sqrt()) == pytest.approx(
        0, abs=0.02
    )
    # variances are 0.02 at the median, the floor adds 0.01; a line through 20 pixels takes a tenth of their variance
    assert 0.4 < float(losses["pixels"]) < 0.9


@pytest.mark.parametrize("options", [SMALL, PUBLISHED], ids=["default", "published"])
def test_an_embedding_does_not_depend_on_company_or_order(options: dict[str, Any]) -> None:
    stack, _ = galaxies(9)
    encoder = SpecFormerEncoder(**options, n_steps=0, embed_batch_size=4)
    encoder.fit(stack, seed=0)
    together = encoder.embed(stack)
    assert together.shape == (9, 32)
    order = np.random.default_rng(0).permutation(9)
    # float32 matrix products of other sizes are summed in another order
    np.testing.assert_allclose(encoder.embed(Stack(stack.rows[order])), together[order], atol=2e-6)
    np.testing.assert_allclose(encoder.embed(Stack(stack.rows[4:5])), together[4:5], atol=2e-6)
    assert encoder.embed(Stack(stack.rows[:0])).shape == (0, 32)
    other = SpecFormerEncoder(**options, n_steps=0)
    other.load_state(encoder.state())
    np.testing.assert_allclose(other.embed(stack), together, atol=2e-6)
    other.fit(stack, seed=1)
    assert np.abs(other.embed(stack) - together).max() > 1e-2


@pytest.fixture(scope="module")
def trained() -> SpecFormerEncoder:
    encoder = SpecFormerEncoder(
        **SMALL, n_steps=120, n_warmup=10, learning_rate=4e-3, weight_decay=0.05, betas=(0.9, 0.95), clip=1.0,
        log_every=5,
    )  # fmt: skip
    encoder.fit(galaxies(600)[0], seed=0)
    return encoder


def r2_of_redshift(encoder: SpecFormerEncoder) -> float:
    """R2 of a ridge regression on the embedding of 400 galaxies, for 300 others."""
    (train, z_train), (test, z_test) = galaxies(400, seed=1), galaxies(300, seed=2)
    x, y = (encoder.embed(stack).astype(np.float64) for stack in (train, test))
    mean, scale = x.mean(axis=0), x.std(axis=0)
    x, y = (x - mean) / scale, (y - mean) / scale
    weights = np.linalg.solve(x.T @ x + 4 * np.eye(x.shape[1]), x.T @ (z_train - z_train.mean()))
    return 1 - ((y @ weights + z_train.mean() - z_test) ** 2).mean() / z_test.var()


def test_a_short_training_tells_more_about_redshift_than_its_random_twin(trained: SpecFormerEncoder) -> None:
    twin = SpecFormerEncoder(**SMALL, n_steps=0)
    twin.fit(galaxies(600)[0], seed=0)
    # 0.55 against 0.37; the standard error of an R2 of 300 galaxies is about 0.04, less of a difference
    assert r2_of_redshift(trained) > r2_of_redshift(twin) + 0.08
    losses = [row["loss"] for row in trained.history.rows]
    assert losses[-1] < 0.7 * losses[0]
    assert trained.facts()["n_weights"] == twin.facts()["n_weights"]


def test_collapse_is_told_from_a_training_that_works(trained: SpecFormerEncoder) -> None:
    stack, _ = galaxies(100, seed=3)
    embedding = trained.embed(stack)
    assert collapsed(embedding) == ""
    last = trained.history.rows[-1]
    assert last["effective_rank"] > 3
    assert last["uniformity"] < -0.05
    broken = SpecFormerEncoder(**SMALL, n_steps=0)
    broken.load_state({name: 0 * value if name == "embed.weight" else value for name, value in trained.state().items()})
    assert "nearly the same embedding" in collapsed(broken.embed(stack))
    assert effective_rank(broken.embed(stack)) < 1.5 or not np.ptp(broken.embed(stack), axis=0).any()


def test_a_training_is_the_same_for_any_order_of_rows_and_differs_by_seed() -> None:
    stack, _ = galaxies(40)
    states = []
    for seed in (0, 0, 1):
        encoder = SpecFormerEncoder(**SMALL, n_steps=3)
        encoder.fit(stack if states else Stack(stack.rows[::-1]), seed=seed)
        states.append(encoder.state())
    for name in states[0]:
        np.testing.assert_array_equal(states[0][name], states[1][name])
    assert np.abs(states[0]["embed.weight"] - states[2]["embed.weight"]).max() > 1e-3


GRIDS = {
    "two grisms": np.concatenate([4400 + 1.66 * np.arange(1500), 6890 + 3.36 * np.arange(700)]),
    "7514 pixels": 3600 + 0.8 * np.arange(7514),
    "30 pixels": np.linspace(5000, 6000, 30),
    "2 pixels": np.array([5000.0, 5001.0]),
}


@pytest.mark.parametrize("grid", sorted(GRIDS))
def test_spectra_on_any_grid_are_learned_from(grid: str) -> None:
    stack, _ = galaxies(40, wave_angstrom=GRIDS[grid])
    encoder = SpecFormerEncoder(**SMALL | {"batch_size": 8}, n_steps=2)
    encoder.fit(stack, seed=0)
    embedding = encoder.embed(stack)
    assert embedding.shape == (40, 32)
    assert np.isfinite(embedding).all()
    assert collapsed(embedding) == ""


def test_spectra_without_any_valid_pixel_are_embedded_and_learned_from() -> None:
    stack, _ = galaxies(20)
    stack.rows[:3, 1] = 0
    stack.rows[0, 0] = np.nan
    for options in (SMALL, PUBLISHED):
        encoder = SpecFormerEncoder(**options | {"batch_size": 20}, n_steps=2, clip=1.0)
        encoder.fit(stack, seed=0)
        embedding = encoder.embed(stack)
        assert np.isfinite(embedding).all()
        np.testing.assert_array_equal(embedding[0], embedding[1])


@pytest.mark.parametrize("card", CARDS, ids=[card.name for card in CARDS])
@pytest.mark.parametrize("recipe", ["default", "paper", "code"])
def test_every_recipe_trains_at_smoke_size(card, recipe: str) -> None:
    stack, _ = galaxies(40)
    options: dict[str, Any] = {**card.options["smoke"], **card.recipes.get(recipe, {})}
    steps = min(options["n_steps"], 2)
    encoder = SpecFormerEncoder(**options | {"n_steps": steps, "batch_size": 16, "n_warmup": 0})
    encoder.fit(stack, seed=0)
    assert np.isfinite(encoder.embed(stack)).all()
    assert len(encoder.history.rows) == steps


def test_the_options_of_paper_and_code_have_the_published_sizes() -> None:
    card = CARDS[0]
    for recipe, chunk in (("paper", "6 of 30 tokens"), ("code", "6 of 50 tokens")):
        rows = {row[0]: row for row in architecture({**card.options["paper"], **card.recipes[recipe]})}
        assert rows["parameters"][1] == rows["parameters"][3] == "43,177,750"
        assert rows["hidden chunks"][1].startswith(chunk)
        for item in (
            "window, step",
            "width, depth, heads",
            "learning rate",
            "weight decay",
            "betas",
            "clip",
            "warm-up",
        ):
            assert rows[item][1] == rows[item][3], item
        assert rows["tokens"][1] == rows["tokens"][3] == "778"
    ours = {row[0]: row[1] for row in architecture(card.options["laptop"])}
    assert ours["tokens"] == "16"
    assert ours["bins"] == "0.000224 dex, 1947"


def test_what_does_not_fit_is_refused() -> None:
    stack, _ = galaxies(4)
    with pytest.raises(ValueError, match="SpecFormer has no weights yet"):
        SpecFormerEncoder(n_steps=0).embed(stack)
    with pytest.raises(ValueError, match="objective 'other': must be 'masked' or 'thinned'"):
        SpecFormerEncoder(n_steps=0, objective="other")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bin_dex 0: must be a positive width"):
        SpecFormerEncoder(n_steps=0, bin_dex=0)
    with pytest.raises(ValueError, match="step 50: must be from 1 to the window, 40"):
        SpecFormerEncoder(**SMALL | {"step": 50}, n_steps=0).fit(stack, seed=0)
    with pytest.raises(ValueError, match="spectra of 390 bins make 20 tokens: at most 5 fit"):
        SpecFormerEncoder(**SMALL, n_steps=0, max_tokens=5).fit(stack, seed=0)
    encoder = SpecFormerEncoder(**SMALL, n_steps=0)
    encoder.fit(stack, seed=0)
    with pytest.raises(ValueError, match="other wavelengths than in training"):
        encoder.embed(Stack(stack.rows, WAVE + 1))
    with pytest.raises(ValueError, match="778 other wavelengths than in training"):
        encoder.embed(Stack(stack.rows[:, :, 1:], WAVE[1:]))
    np.testing.assert_array_equal(encoder.embed(Stack(stack.rows, WAVE * (1 + 1e-8))), encoder.embed(stack))
    state = encoder.state()
    del state["wave_angstrom"]
    with pytest.raises(ValueError, match="without wave_angstrom"):
        SpecFormerEncoder(**SMALL, n_steps=0).load_state(state)
    broken = Stack(stack.rows.copy())
    broken.rows[2, 0, 5], broken.rows[2, 1, 5] = np.nan, 1
    with pytest.raises(ValueError, match="SpecFormer: 1 spectra of rows 0 to 3 hold NaN"):
        encoder.embed(broken)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["desi_coadds", "fors2"])
def test_real_spectra_are_learned_from_and_embedded(name: str, real_data: Path, tmp_path: Path) -> None:
    spec = Path(__file__).parents[2] / "configs" / "surveys" / f"{name}.toml"
    survey, _ = import_survey(spec, tmp_path / name, data_dir=real_data)
    stack = inputs(survey, "spectrum", np.arange(min(survey.n_galaxies, 200)))
    for recipe in ("default", "code"):
        options: dict[str, Any] = {**CARDS[0].options["smoke"], **CARDS[0].recipes.get(recipe, {})}
        encoder = SpecFormerEncoder(**options | {"n_steps": 5, "batch_size": 32, "n_warmup": 0})
        encoder.fit(stack, seed=0)
        embedding = encoder.embed(stack)
        assert np.isfinite(embedding).all()
        if len(stack) >= 10:  # two galaxies, as among the coadds, differ in one direction
            assert collapsed(embedding) == ""
        assert np.abs(embedding - embedding[0]).max() > 1e-3


@pytest.mark.real_data
def test_weights_learned_elsewhere_embed_real_coadds_on_the_same_pixels(real_data: Path, tmp_path: Path) -> None:
    spec = Path(__file__).parents[2] / "configs" / "surveys" / "desi_coadds.toml"
    survey, _ = import_survey(spec, tmp_path / "desi", data_dir=real_data)
    coadds = inputs(survey, "spectrum", np.arange(survey.n_galaxies))
    encoder = SpecFormerEncoder(**CARDS[0].options["smoke"])
    encoder.fit(galaxies(60, wave_angstrom=DESI_WAVE_ANGSTROM)[0], seed=0)
    embedding = encoder.embed(coadds)
    assert embedding.shape == (survey.n_galaxies, 48)
    assert np.isfinite(embedding).all()
    assert np.abs(embedding[0] - embedding[1]).max() > 1e-2

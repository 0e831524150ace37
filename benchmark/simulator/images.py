"""Cutouts: candidates with their shapes, neighbours and night sky become images in nanomaggies.

The noise of a pixel has the variance sigma (sigma + .08 light): the photons of the sky and those of the sources, whose
light is in nanomaggies a pixel; it is white. Every galaxy draws it from its own Philox counter, so that neither the
size of a chunk nor that of a batch changes a pixel.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.simulator.appearance import Appearance, draw_appearance
from benchmark.simulator.candidates import Candidates
from benchmark.simulator.flavours import SOUTH, Flavour
from benchmark.simulator.latents import STREAMS
from benchmark.simulator.pack import TemplatePack
from benchmark.simulator.renderer import Blobs, Discs, Ellipses, psf_sigma_per_fwhm, render

__all__ = ["add_noise", "noiseless_images", "render_images"]

Array = NDArray[np.float64]

SHOT_NOISE = 0.08
BATCH = 16  # galaxies at a time: 60 MB of maps
N_TAIL = 8  # Gaussians of a merger's tail
_OF_DISC = (
    *("n_arms", "arm_pitch", "arm_strength", "arm_phase", "handedness", "lopsided", "lopsided_angle"),
    *("bar_share", "bar_length", "bar_ratio", "bar_angle", "lane_depth"),
)


def render_images(drawn: Candidates, pack: TemplatePack, appearance: Appearance | None = None) -> NDArray[np.float32]:
    """Cutouts (n, bands, size, size) of candidates in nanomaggies, with noise; bands and size are their flavour's.

    Parameters
    ----------
    drawn : the candidates, ascending in their numbers.
    pack : the templates they were drawn from.
    appearance : of the same candidates; None to draw it here.
    """
    appearance = draw_appearance(drawn, pack) if appearance is None else appearance
    images = noiseless_images(drawn, appearance)
    for i, candidate in enumerate(drawn.block.candidate):
        add_noise(images[i], appearance.conditions.sigma[i], drawn.seed, int(candidate), drawn.flavour)
    return images


def add_noise(image: NDArray[np.float32], sigma: Array, seed: int, candidate: int, flavour: Flavour = SOUTH) -> None:
    """Add to one image (bands, height, width), in place, its sky (bands,) nanomaggies a pixel and photon noise."""
    bits = np.random.Philox(key=(flavour.stream(STREAMS["pixels"]) << 64) | seed, counter=candidate << 64)
    noise = np.random.Generator(bits).standard_normal(image.shape, dtype=np.float32)
    level = sigma.astype(np.float32)[:, None, None]
    noise *= np.sqrt(level * (level + np.float32(SHOT_NOISE) * np.maximum(image, 0)))
    image += noise


def noiseless_images(drawn: Candidates, appearance: Appearance) -> NDArray[np.float32]:
    """Cutouts (n, bands, size, size) of candidates as they would be without noise, seeing included."""
    size = drawn.flavour.image_size
    flux = drawn.stars.copy()
    flux[:, 1] += drawn.line_flux
    images = np.empty((len(drawn), flux.shape[2], size, size), np.float32)
    for start in range(0, len(drawn), BATCH):
        rows = slice(start, start + BATCH)
        with torch.inference_mode():
            images[rows] = _render_batch(flux[rows], appearance, rows, drawn.flavour).numpy()
    return images


def _render_batch(flux: Array, appearance: Appearance, rows: slice, flavour: Flavour) -> torch.Tensor:
    pixel = flavour.pixel_scale_arcsec
    shape = {name: value[rows] for name, value in vars(appearance.morphology).items()}
    around = {name: value[rows] for name, value in appearance.neighbours.items()}
    zero = np.zeros(len(flux))
    young = flux[:, 1] * shape["young_share"]
    knots = young * shape["knot_share"][:, None]
    bulges = Ellipses(
        **_tensors(
            flux=flux[:, 0],
            radius=shape["bulge_radius"] / pixel,
            ratio=shape["bulge_ratio"],
            angle=shape["angle"],
            x=zero,
            y=zero,
        )
    )
    discs = Discs(
        **_tensors(
            old=flux[:, 1] - young,
            young=young - knots,
            scale=shape["disc_scale"] / pixel,
            ratio=shape["disc_ratio"],
            angle=shape["angle"],
            **{name: shape[name] for name in _OF_DISC},
        )
    )
    total = flux.sum(axis=1)
    companions = Ellipses(
        **_tensors(
            flux=0.9 * total * shape["merger_flux"][:, None],
            radius=0.7 * shape["effective_radius"] / pixel,
            ratio=shape["merger_ratio"],
            angle=shape["merger_turn"],
            x=shape["merger_x"] / pixel,
            y=shape["merger_y"] / pixel,
        )
    )
    blobs = _joined(pixel, _knots(shape, knots), _tail(shape, 0.1 * total * shape["merger_flux"][:, None]), around)
    fwhm = torch.from_numpy(appearance.conditions.fwhm_arcsec[rows] / pixel).float()
    return render(bulges, discs, companions, blobs, psf_sigma_per_fwhm() * fwhm, flavour.image_size)


def _tensors(**arrays: NDArray) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32)) for name, value in arrays.items()}


def _knots(shape: dict[str, NDArray], flux: Array) -> dict[str, Array]:
    """Knots as Gaussians in the image plane, arcseconds."""
    scale = shape["disc_scale"][:, None]
    along, across = scale * shape["knot_x"], scale * shape["disc_ratio"][:, None] * shape["knot_y"]
    cos, sin = np.cos(shape["angle"])[:, None], np.sin(shape["angle"])[:, None]
    return {
        "x": along * cos - across * sin,
        "y": along * sin + across * cos,
        "sigma": scale * shape["knot_size"],
        "flux": shape["knot_weight"][..., None] * flux[:, None, :],
    }


def _tail(shape: dict[str, NDArray], flux: Array) -> dict[str, Array]:
    """A merger's tail: Gaussians along an arc that leads away from the companion's far side, wider and fainter out."""
    step = np.linspace(0.0, 1.0, N_TAIL)
    start = np.arctan2(shape["merger_y"], shape["merger_x"])[:, None] + 0.5 * np.pi
    distance = np.hypot(shape["merger_x"], shape["merger_y"])[:, None] * (0.6 + 1.2 * step)
    angle = start + shape["handedness"][:, None] * 1.8 * step
    share = (1.2 - step) / np.sum(1.2 - step)
    return {
        "x": distance * np.cos(angle),
        "y": distance * np.sin(angle),
        "sigma": shape["effective_radius"][:, None] * (0.2 + 0.25 * step),
        "flux": share[None, :, None] * flux[:, None, :],
    }


def _joined(pixel_arcsec: float, *parts: dict[str, Array]) -> Blobs:
    """Gaussians of several origins as one set, in pixels."""
    lengths = {k: np.concatenate([part[k] for part in parts], axis=1) / pixel_arcsec for k in ("x", "y", "sigma")}
    return Blobs(**_tensors(**lengths, flux=np.concatenate([part["flux"] for part in parts], axis=1)))

"""Measurements of galaxies in images, as astronomers made them before networks: fluxes, colours, sizes, shapes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from encoders.handcrafted_shapes import (
    asymmetry,
    clumpiness,
    fourier_amplitudes,
    gini_m20,
    moments,
    pooled,
    weighted_light,
)
from encoders.images import ImageStack, image_batches, require_images

__all__ = ["APERTURES", "ImageHandFeatures"]

Array = NDArray[np.float64]
Pixels = NDArray[np.float32]

APERTURES = (0.02, 0.04, 0.08, 0.16, 0.32)
"""Radii in units of the image's side: .8, 1.6, 3.2, 6.4 and 12.7 arcsec on 152 pixels of .262 arcsec."""
LIGHT_SHARES = (0.2, 0.5, 0.8, 0.9)
_COLOUR_APERTURE = 1  # large against the point-spread function, small against the sky
_FAINTEST = 0.05  # nanomaggies: where magnitudes turn from logarithmic to linear
_NEIGHBOUR_SIGMA = 4.0


class ImageHandFeatures:
    """Aperture magnitudes, colours, light radii, concentration, shape, asymmetry, clumpiness, Gini, M20, arms.

    Reads flux, best in nanomaggies; any number of bands. With 3 bands there are 65 columns: 15 aperture magnitudes;
    4 colours (adjacent bands; in the second aperture, and weighted by one Gaussian of 1.5 half-light radii in all
    bands); 12 radii of 20, 50, 80 and 90 % of the light (log10 pixels); for each band concentration 5 log10(r80 / r20),
    ellipticity, log10 of the second moments over r50^2, asymmetry, clumpiness, Gini and M20 (21); amplitudes m = 1 to 4
    of the azimuthal light in three deprojected annuli of all bands together (12); and the share of light that belongs
    to neighbours (1).

    Parameters
    ----------
    batch_size : images in memory at a time.

    Notes
    -----
    The background is the median of the image's frame. A neighbour is where an image exceeds itself, turned by 180
    degrees, by more than 4 sigma outside the innermost aperture; it is replaced by what lies opposite, so that only
    symmetric light counts (asymmetry sees the whole). Magnitudes are inverse hyperbolic sines. An image without any
    light in it gives finite numbers that mean nothing.

    References
    ----------
    Lupton, Gunn & Szalay 1999, astro-ph/9903081 (asinh magnitudes); Conselice 2003, astro-ph/0303065 (concentration,
    asymmetry, clumpiness); Lotz, Primack & Madau 2004, astro-ph/0311352 (Gini, M20).
    """

    def __init__(self, batch_size: int = 64) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size}: must be at least 1")
        self.batch_size = batch_size

    def fit(self, inputs: ImageStack, *, seed: int) -> None:
        """Nothing is learned and nothing is drawn; the shape of ``inputs`` (n, bands, height, width) is checked."""
        require_images(inputs, "ImageHandFeatures")

    def embed(self, inputs: ImageStack) -> NDArray[np.float32]:
        """Columns (n, 18 * bands + 11) of images (n, bands, height, width).

        Raises
        ------
        ValueError
            If ``inputs`` are not images or hold NaN or infinite pixels.
        """
        bands, _, _ = require_images(inputs, "ImageHandFeatures")
        parts = [np.empty((0, 18 * bands + 11))]
        for batch in image_batches(inputs, self.batch_size, "ImageHandFeatures"):
            parts.append(_features(batch))
        return np.concatenate(parts).astype(np.float32)

    def state(self) -> dict[str, NDArray]:
        """Empty: there are no weights."""
        return {}

    def load_state(self, state: Mapping[str, NDArray]) -> None:
        """Accept the empty state; anything else belongs to another model."""
        if state:
            raise ValueError(
                f"ImageHandFeatures has no weights, was given {', '.join(sorted(state))}: load it elsewhere"
            )


def _features(image: Pixels) -> Array:
    """Columns (b, 18 * bands + 11) of images (b, bands, height, width)."""
    side = min(image.shape[2:])
    flux, sigma = _background_removed(image)
    clean, neighbours = _without_neighbours(flux, sigma, APERTURES[0] * side)
    growth = _growth(clean)
    magnitude = np.stack([_magnitude(_at_radius(growth, share * side)) for share in APERTURES], axis=-1)
    radii = np.stack([_light_radius(growth, APERTURES[-1] * side, share) for share in LIGHT_SHARES], axis=-1)
    small, small_flux, noise = pooled(clean), pooled(flux), sigma / 2  # of 2 x 2 pixels, averaged
    r50, r80 = radii[..., 1] / 2, radii[..., 2] / 2
    ellipticity, size, _ = moments(small, r50)
    whole, r50_whole = small.sum(axis=1), r50.mean(axis=1)
    matched = _magnitude(4 * weighted_light(small, r50_whole))  # 4 pixels were averaged
    colours = [-np.diff(one, axis=1) for one in (magnitude[..., _COLOUR_APERTURE], matched)]
    flattening, _, angle = moments(whole[:, None], r50_whole[:, None])
    arms = fourier_amplitudes(whole, r50_whole, flattening[:, 0], angle[:, 0])
    gini, m20 = gini_m20(small, 1.5 * r80)
    per_band = [
        5 * np.log10(radii[..., 2] / radii[..., 0]),
        ellipticity,
        np.log10(size / r50**2 + 1e-3),
        asymmetry(small_flux, noise, 1.5 * r80),
        clumpiness(small, noise, 1.5 * r80),
        gini,
        m20,
    ]
    n = len(image)
    columns = [magnitude, *colours, np.log10(radii), np.stack(per_band, axis=-1), arms, neighbours]
    return np.concatenate([column.reshape(n, -1) for column in columns], axis=1)


def _background_removed(image: Pixels) -> tuple[Pixels, Pixels]:
    """Images less the median of their frame, and the standard deviation (b, bands) of a pixel there."""
    width = max(1, min(image.shape[2:]) // 12)
    frame = np.ones(image.shape[2:], dtype=bool)
    frame[width:-width, width:-width] = False
    outer = image[:, :, frame]
    median = np.median(outer, axis=-1, keepdims=True)
    sigma = np.float32(1.4826) * np.median(np.abs(outer - median), axis=-1)
    return image - median[..., None], np.maximum(sigma, np.float32(1e-6))


def _without_neighbours(flux: Pixels, sigma: Pixels, inner: float) -> tuple[Pixels, Pixels]:
    """Images with what is brighter than its opposite replaced by it, and the share (b,) of light that this removes."""
    opposite = flux[:, :, ::-1, ::-1]
    summed = _smooth(((flux - opposite) / sigma[..., None, None]).sum(axis=1))
    # the mean of 9 pixels of the sum over bands of differences of two pixels
    limit = _NEIGHBOUR_SIGMA * float(np.sqrt(2 * flux.shape[1] / 9))
    foreign = (summed > limit) & (_radius(flux.shape[2:]) > inner)
    clean = np.where(foreign[:, None], opposite, flux)
    total = np.abs(flux).sum(axis=(1, 2, 3)) + 1e-12
    return clean, np.abs(flux - clean).sum(axis=(1, 2, 3)) / total


def _smooth(image: Pixels) -> Pixels:
    """Running mean over 3 x 3 pixels of (b, height, width), the edge repeated."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / 9


def _radius(shape: tuple[int, ...]) -> Array:
    """Distance (height, width) in pixels from the middle of an image."""
    y, x = (np.arange(length) - (length - 1) / 2 for length in shape)
    return np.hypot(y[:, None], x)


def _growth(flux: Pixels) -> Array:
    """Flux (b, bands, n) within n radii of 0, 1, 2, ... pixels."""
    ring = np.ceil(_radius(flux.shape[2:])).astype(np.int64).ravel()
    outwards = np.argsort(ring, kind="stable")
    radius, first = np.unique(ring[outwards], return_index=True)
    light = np.add.reduceat(flux.reshape(*flux.shape[:2], -1)[:, :, outwards], first, axis=-1, dtype=np.float64)
    growth = np.zeros((*flux.shape[:2], int(radius[-1]) + 1))
    growth[..., radius] = light
    return np.cumsum(growth, axis=-1)


def _at_radius(growth: Array, radius: float) -> Array:
    """The curve of growth (b, bands, n) at a radius in pixels."""
    lower = min(int(radius), growth.shape[-1] - 2)
    weight = min(radius - lower, 1.0)
    return (1 - weight) * growth[..., lower] + weight * growth[..., lower + 1]


def _light_radius(growth: Array, outermost: float, share: float) -> Array:
    """Radius (b, bands) in pixels, at least half of one, that holds a share of the light within ``outermost``."""
    rising = np.maximum.accumulate(growth[..., : int(outermost) + 2], axis=-1)
    wanted = share * np.maximum(_at_radius(growth, outermost), 1e-12)[..., None]
    upper = np.clip((rising < wanted).sum(axis=-1, keepdims=True), 1, rising.shape[-1] - 1)
    above, below = (np.take_along_axis(rising, place, axis=-1) for place in (upper, upper - 1))
    part = np.clip((wanted - below) / np.maximum(above - below, 1e-12), 0, 1)
    return np.maximum((upper - 1 + part)[..., 0], 0.5)


def _magnitude(flux: Array) -> Array:
    """AB magnitudes 22.5 - 2.5 log10 f of nanomaggies, linear below .05."""
    return 22.5 - 2.5 / np.log(10) * (np.arcsinh(flux / (2 * _FAINTEST)) + np.log(_FAINTEST))

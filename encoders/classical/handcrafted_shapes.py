"""Shapes of light in images (b, bands, height, width): moments, asymmetry, clumpiness, Gini, M20, azimuthal waves.

Radii are in pixels of the images that are given, and every function looks at each image and band by itself.
"""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["asymmetry", "clumpiness", "fourier_amplitudes", "gini_m20", "moments", "pooled", "weighted_light"]

Array = NDArray[np.float64]

_TINY = 1e-12
_ANNULI = (0.5, 1.0, 2.0, 3.0)  # half-light radii between which azimuthal waves are measured
_WAVES = 4
_MEAN_DIFFERENCE = 2 / np.sqrt(np.pi)  # E|a - b| of two Gaussian pixels of unit noise


def pooled(image: NDArray[np.float32]) -> Array:
    """Means over 2 x 2 pixels; an odd last row or column is left out. An image of a single row or column stays."""
    height, width = (length - length % 2 for length in image.shape[2:])
    if not height or not width:
        return image.astype(np.float64)
    rows = image[:, :, 0:height:2] + image[:, :, 1:height:2]
    return (rows[..., 0:width:2] + rows[..., 1:width:2]).astype(np.float64) / 4


def moments(image: Array, r50: Array) -> tuple[Array, Array, Array]:
    """Ellipticity, trace of the second moments (pixels^2) and position angle (rad), (b, bands) each.

    Moments are weighted by a round Gaussian of 1.5 r50, which rounds the shape: for a Gaussian galaxy of r50 = 1.18
    sigma the weight has 1.77 sigma. Ellipticity is (a^2 - b^2) / (a^2 + b^2), 0 round, towards 1 flat.
    """
    y, x = _coordinates(image.shape[2:])
    weight = np.exp(-0.5 * (x**2 + y**2) / (1.5 * np.maximum(r50, 0.5)[..., None]) ** 2)
    light = image.reshape(*image.shape[:2], -1) * weight
    total = np.maximum(light.sum(axis=-1), _TINY)
    xx, yy, xy = ((light @ power) / total for power in (x**2, y**2, x * y))
    size = np.maximum(xx + yy, _TINY)
    return np.clip(np.hypot(xx - yy, 2 * xy) / size, 0, 0.98), size, 0.5 * np.arctan2(2 * xy, xx - yy)


def weighted_light(image: Array, r50: Array) -> Array:
    """Sum (b, bands) of the light weighted by a round Gaussian of 1.5 r50 (b,), the same in all bands."""
    y, x = _coordinates(image.shape[2:])
    weight = np.exp(-0.5 * (x**2 + y**2) / (1.5 * np.maximum(r50, 0.5)[:, None]) ** 2)
    return (image.reshape(*image.shape[:2], -1) * weight[:, None]).sum(axis=-1)


def asymmetry(image: Array, sigma: Array, radius: Array) -> Array:
    """Mean difference from the image turned by 180 degrees within a radius, less what noise makes of it, (b, bands)."""
    inside = _inside(image, radius)
    difference = np.abs(image - image[:, :, ::-1, ::-1]).reshape(inside.shape) * inside
    expected = _MEAN_DIFFERENCE * sigma * inside.sum(axis=-1)
    return np.clip((difference.sum(axis=-1) - expected) / (2 * _light(image, inside)), -2, 5)


def clumpiness(image: Array, sigma: Array, radius: Array) -> Array:
    """Mean difference from the four neighbouring pixels' mean within a radius, less that of noise, (b, bands)."""
    padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    around = padded[:, :, :-2, 1:-1] + padded[:, :, 2:, 1:-1] + padded[:, :, 1:-1, :-2] + padded[:, :, 1:-1, 2:]
    inside = _inside(image, radius)
    difference = np.abs(image - around / 4).reshape(inside.shape) * inside
    expected = np.sqrt(2 / np.pi * 1.25) * sigma * inside.sum(axis=-1)  # variance 1 + 4 / 16
    return np.clip((difference.sum(axis=-1) - expected) / _light(image, inside), -2, 5)


def gini_m20(image: Array, radius: Array) -> tuple[Array, Array]:
    """Gini coefficient of the pixels within a radius, and M20: log10 of the share of second moment that the brightest
    fifth of the light has, (b, bands) each.

    References
    ----------
    Lotz, Primack & Madau 2004, astro-ph/0311352, eq. 6 and 8.
    """
    inside = _inside(image, radius)
    values = np.where(inside, image.reshape(inside.shape), -np.inf)
    order = np.argsort(-values, axis=-1)
    falling = np.take_along_axis(values, order, axis=-1)
    known = np.isfinite(falling)
    count = known.sum(axis=-1)

    size = np.where(known, np.abs(falling), 0.0)
    rising = np.sort(np.where(known, size, np.inf), axis=-1)
    rising = np.where(np.isfinite(rising), rising, 0.0)
    rank = 2 * np.arange(1, inside.shape[-1] + 1) - count[..., None] - 1
    gini = (rank * rising).sum(axis=-1) / np.maximum(size.sum(axis=-1) * np.maximum(count - 1, 1), _TINY)

    positive = np.where(known, np.maximum(falling, 0.0), 0.0)
    y, x = _coordinates(image.shape[2:])
    moment = positive * np.take_along_axis(np.broadcast_to(x**2 + y**2, inside.shape), order, axis=-1)
    brightest = np.cumsum(positive, axis=-1) <= 0.2 * positive.sum(axis=-1, keepdims=True)
    share = (moment * brightest).sum(axis=-1) / np.maximum(moment.sum(axis=-1), _TINY)
    return np.clip(gini, 0, 1), np.log10(np.maximum(share, 1e-4))


def fourier_amplitudes(image: Array, r50: Array, ellipticity: Array, angle: Array) -> Array:
    """Amplitudes (b, 3, 4) of waves m = 1 to 4 around the centre, relative to the mean light of three annuli.

    Parameters
    ----------
    image : (b, height, width).
    r50, ellipticity, angle : (b,) of the ellipses along which the annuli lie; the image is deprojected to them.
    """
    y, x = _coordinates(image.shape[1:])
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    flat = np.sqrt((1 - ellipticity) / (1 + ellipticity))[:, None]
    along, across = x * cosine + y * sine, (y * cosine - x * sine) / flat
    radius = np.hypot(along, across)
    turn = (along + 1j * across) / np.maximum(radius, _TINY)
    waves = list(accumulate([turn] * _WAVES, np.multiply))
    scaled, light = radius / np.maximum(r50, 0.5)[:, None], image.reshape(len(image), -1)
    found = []
    for low, high in pairwise(_ANNULI):
        ring = light * ((scaled >= low) & (scaled < high))
        amplitude = np.stack([np.abs((ring * wave).sum(axis=1)) for wave in waves], axis=1)
        found.append(amplitude / np.maximum(np.abs(ring).sum(axis=1, keepdims=True), _TINY))
    return np.stack(found, axis=1)


def _coordinates(shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Row and column (pixels,) from the middle of an image."""
    y, x = np.indices(shape[:2])
    return (y - (shape[0] - 1) / 2).ravel(), (x - (shape[1] - 1) / 2).ravel()


def _inside(image: Array, radius: Array) -> NDArray[np.bool_]:
    """Pixels (b, bands, pixels) within a radius (b, bands), at least the innermost ones."""
    y, x = _coordinates(image.shape[2:])
    return x**2 + y**2 <= np.maximum(radius, 1.5)[..., None] ** 2


def _light(image: Array, inside: NDArray[np.bool_]) -> Array:
    return np.maximum(np.abs((image.reshape(inside.shape) * inside).sum(axis=-1)), 1e-6)

"""Measurements of galaxies in images, as astronomers made them before networks: fluxes, colours, sizes, shapes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from encoders.classical.handcrafted_fit import BulgeDisc, fit_bulge_disc
from encoders.classical.handcrafted_shapes import (
    asymmetry,
    clumpiness,
    fourier_amplitudes,
    gini_m20,
    moments,
    pooled,
    weighted_light,
)
from encoders.reading.images import ImageStack, image_batches, require_images

__all__ = ["APERTURES", "ImageHandFeatures"]

Array = NDArray[np.float64]
Pixels = NDArray[np.float32]

APERTURES = (0.02, 0.04, 0.08, 0.16, 0.32)
"""Radii in units of the image's side: .8, 1.6, 3.2, 6.4 and 12.7 arcsec on 152 pixels of .262 arcsec."""
LIGHT_SHARES = (0.2, 0.5, 0.8, 0.9)
_FAINTEST = 0.05  # nanomaggies: where magnitudes turn from logarithmic to linear
_NEIGHBOUR_SIGMA = 4.0


class ImageHandFeatures:
    """Aperture colours, a bulge and a disc, light radii, shape, asymmetry, clumpiness, Gini, M20, arms.

    Reads flux, best in nanomaggies; any number of bands, the middle one of which is the reference. With 3 bands there
    are 65 columns: the magnitude of the fitted galaxy and of five apertures less that (6, reference band); colours of
    adjacent bands in the apertures (10), weighted by one Gaussian of 1.5 half-light radii (2), of the fitted galaxy,
    its bulge and its disc (6); the bulge's share of the light in every band (3); log10 radii and axis ratios of bulge
    and disc, log10 of the fit's residuals over their errors (5); log10 radii of 20, 50, 80 and 90 % of the light of all
    bands (4), and the half-light radii of adjacent bands by each other (2); ellipticity and log10 second moment over
    r50^2 (2); asymmetry, clumpiness, Gini and M20 of every band (12); amplitudes m = 1 to 4 of the azimuthal light in
    three deprojected annuli (12); the share of light that belongs to neighbours (1).

    Parameters
    ----------
    batch_size : images in memory at a time.
    psf_sigma : sigma in pixels of the point-spread function's core, which the fit takes for that of all images: 1.9 is
        1.2 arcsec full width on pixels of .262 arcsec.

    Notes
    -----
    The background is the median of the image's frame. A neighbour is where an image exceeds itself, turned by 180
    degrees, by more than 4 sigma outside the innermost aperture; it is replaced by what lies opposite, so that only
    symmetric light counts (asymmetry sees the whole). Magnitudes are inverse hyperbolic sines. Colours of bulge and
    disc are those of the component and a tenth of the whole, so that a component without light has the colour of the
    whole instead of none. An image without any light in it gives finite numbers that mean nothing.

    References
    ----------
    Lupton, Gunn & Szalay 1999, astro-ph/9903081 (asinh magnitudes); Simard et al. 2011, arXiv:1107.1518 (bulges and
    discs); Conselice 2003, astro-ph/0303065 (asymmetry, clumpiness); Lotz, Primack & Madau 2004, astro-ph/0311352
    (Gini, M20).
    """

    def __init__(self, batch_size: int = 64, psf_sigma: float = 1.9) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size}: must be at least 1")
        if not 0 < psf_sigma < np.inf:
            raise ValueError(f"psf_sigma {psf_sigma}: must be a positive number of pixels")
        self.batch_size, self.psf_sigma = batch_size, psf_sigma

    def fit(self, inputs: ImageStack, *, seed: int) -> None:
        """Nothing is learned and nothing is drawn; the shape of ``inputs`` (n, bands, height, width) is checked."""
        require_images(inputs, "ImageHandFeatures")

    def embed(self, inputs: ImageStack) -> NDArray[np.float32]:
        """Columns (n, 15 * bands + 20) of images (n, bands, height, width).

        Raises
        ------
        ValueError
            If ``inputs`` are not images or hold NaN or infinite pixels.
        """
        bands, _, _ = require_images(inputs, "ImageHandFeatures")
        parts = [np.empty((0, 15 * bands + 20))]
        for batch in image_batches(inputs, self.batch_size, "ImageHandFeatures"):
            parts.append(_features(batch, self.psf_sigma))
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


def _features(image: Pixels, psf_sigma: float) -> Array:
    """Columns (b, 15 * bands + 20) of images (b, bands, height, width)."""
    side, middle = min(image.shape[2:]), image.shape[1] // 2
    flux, sigma = _background_removed(image)
    clean, neighbours = _without_neighbours(flux, sigma, APERTURES[0] * side)
    growth = _growth(clean)
    summed = growth.sum(axis=1, keepdims=True)
    radii = np.stack([_light_radius(summed, APERTURES[-1] * side, share)[:, 0] for share in LIGHT_SHARES], axis=-1)
    half = _light_radius(growth, APERTURES[-1] * side, 0.5)
    fitted = fit_bulge_disc(clean, sigma, radii[:, 1], psf_sigma)
    total = _magnitude(fitted.bulge + fitted.disc)
    apertures = np.stack([_magnitude(_at_radius(growth, share * side)) for share in APERTURES], axis=-1)
    columns = [
        total[:, middle],
        apertures[:, middle] - total[:, [middle]],
        -np.diff(apertures, axis=1),
        -np.diff(total, axis=1),
        *_components(fitted),
        np.log10(radii),
        np.diff(np.log10(half), axis=1),
        *_shapes(clean, flux, sigma, radii),
        neighbours,
    ]
    return np.concatenate([column.reshape(len(image), -1) for column in columns], axis=1)


def _components(fitted: BulgeDisc) -> list[Array]:
    """Colours of bulge and disc, the bulge's shares, radii and axis ratios of both, the misfit."""
    total = np.maximum(fitted.bulge + fitted.disc, _FAINTEST)
    colours = [-np.diff(_magnitude(part + 0.1 * total), axis=1) for part in (fitted.bulge, fitted.disc)]
    radii = np.log10([fitted.bulge_radius, fitted.disc_radius])
    shares = np.clip(fitted.bulge / total, 0, 1)
    return [*colours, shares, radii.T, fitted.bulge_ratio, fitted.disc_ratio, np.log10(fitted.misfit + 0.01)]


def _shapes(clean: Pixels, flux: Pixels, sigma: Pixels, radii: Array) -> list[Array]:
    """Matched colours, ellipticity, size, the four shape parameters of every band, waves around the centre."""
    small, small_flux, noise = pooled(clean), pooled(flux), sigma / 2  # of 2 x 2 pixels, averaged
    r50, r80 = radii[:, 1] / 2, np.repeat(radii[:, 2:3] / 2, clean.shape[1], axis=1)
    whole = small.sum(axis=1)
    matched = _magnitude(4 * weighted_light(small, r50))  # 4 pixels were averaged
    ellipticity, size, angle = (value[:, 0] for value in moments(whole[:, None], r50[:, None]))
    gini, m20 = gini_m20(small, 1.5 * r80)
    per_band = [asymmetry(small_flux, noise, 1.5 * r80), clumpiness(small, noise, 1.5 * r80), gini, m20]
    arms = fourier_amplitudes(whole, r50, ellipticity, angle)
    return [-np.diff(matched, axis=1), ellipticity, np.log10(size / r50**2 + 1e-3), np.stack(per_band, axis=-1), arms]


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

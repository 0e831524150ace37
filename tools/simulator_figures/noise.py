"""Noise of images where there are no sources: its level, correlation between pixels and power spectrum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter

__all__ = ["autocorrelation", "blank_pixels", "radial_power"]

Array = NDArray[np.float64]


def blank_pixels(image: Array, n_sigma: float = 3.0, smoothing: float = 2.0, margin: int = 4) -> NDArray[np.bool_]:
    """True (height, width) where an image holds no source that can be seen.

    The image is smoothed by a Gaussian of ``smoothing`` pixels; what stands ``n_sigma`` above the median of the
    smoothed image, by its scatter as the median absolute deviation tells it, is a source with all pixels within
    ``margin``. The scatter is found three times, each time without the sources before.

    Parameters
    ----------
    image : (height, width), any unit; pixels that are exactly 0 or not finite count as missing.
    n_sigma, smoothing, margin : see above.
    """
    valid = np.isfinite(image) & (image != 0)
    smooth = gaussian_filter(np.where(valid, image, 0.0), smoothing)
    blank = valid.copy()
    for _ in range(3):
        level = np.median(smooth[blank])
        scatter = 1.4826 * np.median(np.abs(smooth[blank] - level))
        blank = valid & ~binary_dilation(smooth > level + n_sigma * scatter, iterations=margin)
    return blank


def autocorrelation(images: Array, blank: NDArray[np.bool_], reach: int) -> Array:
    """Mean product of pixels by their distance, over pairs of blank pixels of the same image.

    Parameters
    ----------
    images : (n, height, width); the mean of each image's blank pixels is subtracted.
    blank : (n, height, width) True where pixels may be used.
    reach : largest distance in pixels along an axis.

    Returns
    -------
    (2 reach + 1, 2 reach + 1) in the unit of the image squared, distance 0 in the middle: there stands the variance.
    """
    total = np.zeros((2 * reach + 1, 2 * reach + 1))
    n_pairs = np.zeros_like(total)
    lags = np.arange(-reach, reach + 1)
    for image, mask in zip(images, blank, strict=True):
        values = np.where(mask, image - image[mask].mean(), 0.0)
        size = [length + reach for length in image.shape]  # padding keeps opposite edges apart
        for what, into in ((values, total), (mask.astype(np.float64), n_pairs)):
            power = np.abs(np.fft.rfft2(what, size)) ** 2
            into += np.fft.irfft2(power, size)[np.ix_(lags, lags)]
    return total / np.maximum(n_pairs, 1)


def radial_power(correlation: Array, n_bins: int = 12) -> tuple[Array, Array]:
    """Power of noise by spatial frequency, by that of white noise of the same variance.

    Parameters
    ----------
    correlation : (2 reach + 1, 2 reach + 1) as `autocorrelation` returns it.
    n_bins : rings between frequency 0 and .5 (Nyquist).

    Returns
    -------
    Frequencies (n_bins,) in cycles a pixel, and power (n_bins,): 1 throughout for white noise.
    """
    side = len(correlation)
    taper = np.hanning(side + 2)[1:-1]
    spectrum = np.fft.fft2(np.fft.ifftshift(correlation * np.outer(taper, taper))).real
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :])
    edges = np.linspace(0, 0.5, n_bins + 1)
    ring = np.digitize(frequency.ravel(), edges) - 1
    inside = ring < n_bins
    count = np.bincount(ring[inside], minlength=n_bins)
    power = np.bincount(ring[inside], spectrum.ravel()[inside], minlength=n_bins) / np.maximum(count, 1)
    middle = correlation[side // 2, side // 2]
    return (edges[1:] + edges[:-1]) / 2, power / middle

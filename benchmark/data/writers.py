"""What a survey's arrays are written from: arrays, or functions that make them row by row; and whether they fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from benchmark.contracts import GalaxybenchError
from benchmark.data.schema import SurveyInfo
from benchmark.data.survey import IMAGE_DTYPES

__all__ = [
    "DrawWriter",
    "ImageWriter",
    "SpectrumContent",
    "SpectrumWriter",
    "refuse_draws",
    "refuse_images",
    "refuse_spectra",
]

LEAST_DRAWS = 10  # a galaxy; of fewer no covariance can be had


@dataclass(frozen=True)
class ImageWriter:
    """Images that are made while they are written, so that memory stays bounded.

    Attributes
    ----------
    shape : (n, bands, height, width).
    dtype : of the file.
    fill : called once as ``fill(array, target_id)``: writes row i of the memory-mapped array for galaxy
        ``target_id[i]``; ids come ascending.
    """

    shape: tuple[int, int, int, int]
    dtype: DTypeLike
    fill: Callable[[NDArray, NDArray[np.int64]], None]


@dataclass(frozen=True)
class SpectrumWriter:
    """Spectra that are made while they are written, so that memory stays bounded.

    Attributes
    ----------
    shape : (n, n_wave).
    fill : called once as ``fill(flux, ivar, target_id)``: writes row i of both memory-mapped float32 arrays for galaxy
        ``target_id[i]``; ids come ascending.
    """

    shape: tuple[int, int]
    fill: Callable[[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]], None]


@dataclass(frozen=True)
class DrawWriter:
    """Draws of labels that are read while they are written, so that memory stays bounded.

    Attributes
    ----------
    shape : (n, n_draws, t).
    fill : called once as ``fill(array, target_id)``: writes row i of the memory-mapped float32 array for galaxy
        ``target_id[i]``; ids come ascending.
    """

    shape: tuple[int, int, int]
    fill: Callable[[NDArray[np.float32], NDArray[np.int64]], None]


SpectrumContent = SpectrumWriter | tuple[NDArray, NDArray]


def refuse_images(images: NDArray | ImageWriter | None, info: SurveyInfo, n_galaxies: int) -> None:
    """Raise where images do not fit what the survey says.

    Raises
    ------
    GalaxybenchError
        If they are missing, or their shape or type is another.
    """
    if images is None:
        if info.image_bands:
            raise GalaxybenchError(f"image_bands = {', '.join(info.image_bands)} but no images were given")
        return
    expected = (n_galaxies, len(info.image_bands))
    if not info.image_bands or len(images.shape) != 4 or images.shape[:2] != expected:
        raise GalaxybenchError(
            f"images have shape {tuple(images.shape)}: {n_galaxies} galaxies in {len(info.image_bands)} image_bands "
            "need (n, bands, height, width)"
        )
    allowed = IMAGE_DTYPES[str(info.image_unit)]
    if np.dtype(images.dtype).name not in allowed:
        raise GalaxybenchError(f"images have dtype {images.dtype}: {info.image_unit} needs {' or '.join(allowed)}")


def refuse_spectra(spectra: SpectrumContent | None, info: SurveyInfo, n_galaxies: int) -> None:
    """Raise where spectra do not fit what the survey says.

    Raises
    ------
    GalaxybenchError
        If they are missing, or their shape or type is another.
    """
    if spectra is None:
        if info.n_wave:
            raise GalaxybenchError(f"n_wave = {info.n_wave} but no spectra were given")
        return
    expected = (n_galaxies, info.n_wave)
    parts = {"spectra": spectra} if isinstance(spectra, SpectrumWriter) else {"flux": spectra[0], "ivar": spectra[1]}
    for name, part in parts.items():
        if not info.n_wave or tuple(part.shape) != expected:
            raise GalaxybenchError(
                f"{name} of shape {tuple(part.shape)}: {n_galaxies} galaxies with n_wave = {info.n_wave} "
                "need (n, n_wave)"
            )
    if not isinstance(spectra, SpectrumWriter) and any(np.dtype(part.dtype).kind != "f" for part in spectra):
        raise GalaxybenchError(f"spectra have dtypes {spectra[0].dtype}, {spectra[1].dtype}: floats are stored")


def refuse_draws(draws: NDArray | DrawWriter | None, info: SurveyInfo, n_galaxies: int) -> None:
    """Raise where draws of labels do not fit what the survey says.

    Raises
    ------
    GalaxybenchError
        If they are missing, or their shape or type is another.
    """
    if draws is None:
        if info.label_draws:
            raise GalaxybenchError(f"label_draws = {', '.join(info.label_draws)} but no draws were given")
        return
    shape, t = tuple(draws.shape), len(info.label_draws)
    if not t or len(shape) != 3 or shape[0] != n_galaxies or shape[2] != t or shape[1] < LEAST_DRAWS:
        raise GalaxybenchError(
            f"label draws have shape {shape}: {n_galaxies} galaxies with draws of {t} targets need (n, n_draws, t), "
            f"at least {LEAST_DRAWS} draws"
        )
    if not isinstance(draws, DrawWriter) and np.dtype(draws.dtype).kind != "f":
        raise GalaxybenchError(f"label draws have dtype {draws.dtype}: must be floats")

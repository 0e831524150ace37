"""Folders of cutouts, a file a galaxy: as a table of file names, and JPEG or PNG files as pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from benchmark.contracts import GalaxybenchError
from benchmark.data.tables import ColumnKind, TableFile, TableReader

__all__ = ["READER", "image_shape", "read_image"]

SUFFIXES = (".jpg", ".jpeg", ".png")
CUTOUTS = (*SUFFIXES, ".fits", ".fit", ".fits.gz", ".fits.fz", ".npy")
CHANNELS = {"L": 1, "RGB": 3}


def image_shape(path: Path) -> tuple[int, int, int]:
    """Return (channels, height, width) of an image from its header.

    Raises
    ------
    GalaxybenchError
        If the file is missing, no image, or neither greyscale nor RGB with 8 bits.
    """
    with _open(path) as image:
        return (_channels(image, path), image.height, image.width)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return the pixels (channels, height, width) of a JPEG or PNG, rows from the top, channels as in the file.

    Raises
    ------
    GalaxybenchError
        If the file is missing, truncated, no image, or neither greyscale nor RGB with 8 bits.
    """
    with _open(path) as image:
        n_channels = _channels(image, path)
        try:
            pixels = np.asarray(image, dtype=np.uint8)
        except (OSError, SyntaxError, ValueError) as error:  # pillow raises SyntaxError on broken PNG chunks
            raise GalaxybenchError(f"{path} cannot be decoded ({error})") from error
    return np.moveaxis(pixels.reshape(*pixels.shape[:2], n_channels), -1, 0)


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except FileNotFoundError as error:
        raise GalaxybenchError(f"{path} is missing") from error
    except UnidentifiedImageError as error:
        raise GalaxybenchError(f"{path} is no image") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise GalaxybenchError(f"{path} cannot be opened ({error})") from error


def _channels(image: Image.Image, path: Path) -> int:
    if image.mode not in CHANNELS:
        raise GalaxybenchError(f"{path} has mode {image.mode}: images are 8-bit {' or '.join(CHANNELS)}")
    return CHANNELS[image.mode]


def _stem(name: str) -> str:
    ending = max((end for end in CUTOUTS if name.lower().endswith(end)), key=len)
    return name[: -len(ending)]


def _columns(file: TableFile) -> tuple[str, ...]:
    if not file.path.is_dir():
        raise GalaxybenchError(f"{file.path} is not a folder of images")
    return ("file", "stem")


def _read(file: TableFile, kinds: Mapping[str, ColumnKind]) -> pd.DataFrame:
    path = file.path
    for name, kind in kinds.items():
        if kind == "number":
            raise GalaxybenchError(f"{path}: column {name!r} of an image folder is text, not a number")
    files = sorted(entry.name for entry in path.iterdir() if entry.name.lower().endswith(CUTOUTS))
    if not files:
        raise GalaxybenchError(f"{path} holds no images: their names end in {', '.join(CUTOUTS)}")
    table = pd.DataFrame({"file": files, "stem": [_stem(name) for name in files]}, dtype=object)
    return table[list(kinds)]


READER = TableReader("images", ("/",), _columns, _read)

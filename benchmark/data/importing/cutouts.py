"""Images of a source: read from files or arrays, brought to (bands, height, width), cropped, dead pixels counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError
from benchmark.data.importing.pixelspec import ImageSpec
from benchmark.data.importing.rows import StackedRows
from benchmark.data.importing.verdicts import file_state
from benchmark.data.readers.fits import read_cube
from benchmark.data.readers.images import SUFFIXES, image_shape, read_image

__all__ = ["ImageSource"]

DTYPES = {"nanomaggy": np.float32, "display_uint8": np.uint8}


@dataclass
class ImageSource:
    """The images of one source.

    Attributes
    ----------
    spec : what they are.
    names : a file for each row of the source; None where an array holds them.
    arrays : the column with an image a row; None where files hold them.
    """

    spec: ImageSpec
    names: Sequence[str] | None = None
    arrays: StackedRows | None = None

    @property
    def places(self) -> list[Path]:
        """Folders of the files, or the files of the arrays."""
        if self.arrays is not None:
            return sorted({file.path for file in self.arrays.files})
        return sorted({Path(name).parent for name in self.names or ()})

    @property
    def dtype(self) -> type:
        """Of the stored pixels."""
        return DTYPES[self.spec.unit]

    def shape(self, row: int) -> tuple[int, int, int]:
        """(bands, height, width) of a row's image as it will be stored, from its header where there is one.

        Raises
        ------
        GalaxybenchError
            If the image is missing, unreadable, smaller than the crop or has other bands.
        """
        found: tuple[int, ...] | None = None
        if self.arrays is not None:
            found = self.arrays.row_shape(row)
        elif self._is_picture(row):
            found = image_shape(Path(self._name(row)))
        shape = self._channels_first(np.broadcast_to(0, self._raw(row).shape if found is None else found), row).shape
        return self._kept(shape, row)

    def read(self, row: int) -> tuple[NDArray, NDArray[np.float64]]:
        """Pixels (bands, height, width) of a row's image, and the share of dead pixels of each band.

        Raises
        ------
        GalaxybenchError
            If the image is missing or unreadable, has other bands, pixels that are no numbers, or too many dead ones.
        """
        pixels = self._channels_first(self._raw(row), row)
        n_bands, height, width = self._kept(pixels.shape, row)
        top, left = (pixels.shape[1] - height) // 2, (pixels.shape[2] - width) // 2
        pixels = pixels[:, top : top + height, left : left + width]
        if self.spec.use:
            pixels = pixels[[self.spec.bands.index(band) for band in self.spec.use]]
        if self.spec.unit == "display_uint8":
            if pixels.dtype != np.uint8:
                raise GalaxybenchError(f"{self._where(row)} has dtype {pixels.dtype}: display_uint8 images are uint8")
            return pixels, np.zeros(n_bands)
        return self._fluxes(pixels, row)

    @property
    def decides(self) -> bool:
        """Whether it takes pixels, and not headers alone, to tell which images are good."""
        return bool(self.spec.dead) or self.spec.bad == "drop"

    def state(self, row: int) -> tuple[int, int] | None:
        """Size and date of a row's own file, by which it is known again; None where an array holds the images."""
        return None if self.arrays is not None else file_state(self._name(row))

    def close(self) -> None:
        """Close what is open."""
        if self.arrays is not None:
            self.arrays.close()

    def _fluxes(self, pixels: NDArray, row: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        if pixels.dtype.kind not in "fiu":
            raise GalaxybenchError(f"{self._where(row)} has dtype {pixels.dtype}: must be numbers")
        values = pixels.astype(np.float32, copy=False)
        dead = np.zeros(values.shape, dtype=bool)
        for mark in self.spec.dead:
            dead |= np.isnan(values) if np.isnan(mark) else values == np.float32(mark)
        broken = ~np.isfinite(values) & ~dead
        if broken.any():
            raise GalaxybenchError(
                f"{self._where(row)} has {int(broken.sum())} NaN or infinite pixels: set dead = [nan] in images"
            )
        share = dead.reshape(len(dead), -1).mean(axis=1)
        if share.max() > self.spec.max_dead:
            raise GalaxybenchError(
                f"{self._where(row)} has {share.max():.0%} dead pixels in {self.spec.stored_bands[int(share.argmax())]}"
            )
        if self.spec.scale != 1.0:
            values = values * np.float32(self.spec.scale)
        return np.where(dead, np.float32(0), values), share

    def _raw(self, row: int) -> NDArray:
        if self.arrays is not None:
            return self.arrays.row(row)
        path = Path(self._name(row))
        if self._is_picture(row):
            return read_image(path)
        if path.name.lower().endswith((".fits", ".fit", ".fits.gz", ".fits.fz")):
            return read_cube(path)
        if path.suffix.lower() != ".npy":
            read_image(path)  # says what is wrong with a file that is neither picture, FITS nor NPY
        try:
            return np.asarray(np.lib.format.open_memmap(path, mode="r"))
        except (ValueError, OSError, EOFError) as error:
            missing = f"{path} is missing" if not path.exists() else f"{path} cannot be read as NPY ({error})"
            raise GalaxybenchError(missing) from error

    def _name(self, row: int) -> str:
        assert self.names is not None  # one of both is given
        return self.names[row]

    def _is_picture(self, row: int) -> bool:
        return self.arrays is None and self._name(row).lower().endswith(SUFFIXES)

    def _where(self, row: int) -> str:
        if self.arrays is None:
            return self._name(row)
        piece, inside = self.arrays.place(row)
        return f"{self.arrays.files[piece]}: {self.arrays.column!r}, row {inside},"

    def _channels_first(self, pixels: NDArray, row: int) -> NDArray:
        """Axes in the order (bands, height, width); pictures of files and cells have it already."""
        layout = self.spec.layout
        if pixels.ndim == 2 and layout in ("bhw", "hw"):
            return pixels[None]
        if pixels.ndim != 3 or layout == "hw":
            raise GalaxybenchError(f"{self._where(row)} has shape {pixels.shape}: layout = {layout!r} is expected")
        if self._is_picture(row):
            return pixels
        return pixels.transpose([layout.index(axis) for axis in "bhw"])

    def _kept(self, shape: tuple[int, ...], row: int) -> tuple[int, int, int]:
        n_bands, height, width = shape
        if n_bands != len(self.spec.bands):
            raise GalaxybenchError(
                f"images have {n_bands} channels: bands names {', '.join(self.spec.bands)} ({self._where(row)})"
            )
        crop = self.spec.crop
        if crop is None:
            return len(self.spec.stored_bands), height, width
        if min(height, width) < crop:
            raise GalaxybenchError(f"{self._where(row)} is {height} x {width}: smaller than crop = {crop}")
        return len(self.spec.stored_bands), crop, crop

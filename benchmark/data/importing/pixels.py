"""Pixels of an import: which galaxies have good images and spectra, on which grid, and how they are written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError, Progress
from benchmark.data.importing.assembling import IMAGE_SOURCE, SPECTRUM_SOURCE
from benchmark.data.importing.cutouts import ImageSource
from benchmark.data.importing.filling import Reasons, bad_pixels, file_order, fill_here, fill_in_processes
from benchmark.data.importing.resample import WaveGrid
from benchmark.data.importing.sources import IMAGE_ROW, SPECTRUM_ROW, SourcePart
from benchmark.data.importing.spec import ImportSpec
from benchmark.data.importing.spectra import SpectrumSource
from benchmark.data.importing.verdicts import Verdict, Verdicts
from benchmark.data.scratch import Journal, Scratch
from benchmark.data.survey import IMAGE_FILE, SPECTRA_FILE
from benchmark.data.views import STRETCH_M
from benchmark.data.writers import ImageWriter, SpectrumWriter

__all__ = ["Images", "Spectra", "image_sources", "spectrum_sources"]

DEAD_COLUMN = "image_dead"
N_STRETCH = 64  # images from which a stretch is measured


@dataclass(frozen=True)
class Images:
    """The images of all sources.

    Attributes
    ----------
    sources : number of the source -> its images.
    bands, unit, pixel_scale_arcsec : of the stored images.
    """

    sources: dict[int, ImageSource]
    bands: tuple[str, ...]
    unit: str
    pixel_scale_arcsec: float | None

    @property
    def decides(self) -> bool:
        """Whether it takes pixels, and not headers alone, to tell which galaxies stay."""
        return any(source.decides for source in self.sources.values())

    def check(
        self, table: pd.DataFrame, dropped: Counter[str], verdicts: Verdicts
    ) -> tuple[pd.DataFrame, tuple[int, int, int]]:
        """Return the galaxies with good images, with the share of dead pixels, and the (bands, height, width).

        Only headers are read, but where pixels decide who stays: then each image is decoded, unless ``verdicts`` has
        one on it.

        Raises
        ------
        GalaxybenchError
            If an image is bad and the spec refuses these.
        """
        specs = [source.spec for source in self.sources.values()]
        found: dict[int, Verdict] = {}
        for galaxy, number, row in file_order(table, IMAGE_SOURCE, IMAGE_ROW):
            if not self.decides:
                found[galaxy] = self._look(number, row)
                continue
            state = self.sources[number].state(row) if number >= 0 else None
            found[galaxy] = verdicts.of("images", galaxy, state, partial(self._look, number, row))
        shapes = {galaxy: verdict.shape for galaxy, verdict in found.items() if verdict.shape is not None}
        reasons = {galaxy: verdict.reason for galaxy, verdict in found.items() if verdict.reason is not None}
        if not shapes:
            raise GalaxybenchError(f"no image can be read: {next(iter(reasons.values()))}; check folder and name")
        usual = Counter(shapes.values()).most_common(1)[0][0]
        reasons |= {
            galaxy: f"wrong size {shape}, most are {usual}" for galaxy, shape in shapes.items() if shape != usual
        }
        table = _without_bad(table, reasons, specs[0].bad, "image", dropped)
        if any(spec.dead for spec in specs):
            table[DEAD_COLUMN] = [found[galaxy].dead for galaxy in table["target_id"]]
        return table, usual

    def _look(self, number: int, row: int) -> Verdict:
        try:
            if number < 0:
                raise GalaxybenchError("no source names its image")
            if not self.decides:
                return Verdict(shape=self.sources[number].shape(row))
            pixels, share = self.sources[number].read(row)
            return Verdict(shape=pixels.shape, dead=float(share.max()))
        except GalaxybenchError as error:
            return Verdict(str(error))

    @property
    def dtype(self) -> type:
        """Of the stored pixels."""
        return next(iter(self.sources.values())).dtype

    def stretch(self, table: pd.DataFrame, verdicts: Verdicts) -> tuple[float, ...]:
        """Return the scale of each band in the colour stretch; empty for pictures, and for g, r, z with their own.

        A band's noise comes to the softening of the stretch, .03: 1.4826 times the median of |pixel - median|, median
        over up to 64 images. The scales of g, r, z for Legacy Surveys images follow the same rule within a factor of 2.
        """
        if self.unit != "nanomaggy" or self.bands == ("g", "r", "z"):
            return ()
        found = list(file_order(table, IMAGE_SOURCE, IMAGE_ROW))
        noise = []
        for galaxy, number, row in found[:: max(1, len(found) // N_STRETCH)]:
            state = self.sources[number].state(row)
            noise.append(verdicts.of("noise", galaxy, state, partial(self._measure, number, row)).noise)
        typical = np.median(noise, axis=0)
        if not (typical > 0).all():
            band = self.bands[int(np.argmin(typical))]
            raise GalaxybenchError(f"images in {band} are empty: leave the band out by use = [...]")
        return tuple(float(f"{STRETCH_M / value:.3g}") for value in typical)

    def _measure(self, number: int, row: int) -> Verdict:
        flat = self.sources[number].read(row)[0].reshape(len(self.bands), -1).astype(np.float64)
        noise = 1.4826 * np.median(np.abs(flat - np.median(flat, axis=1, keepdims=True)), axis=1)
        return Verdict(noise=tuple(noise.tolist()))

    def writer(
        self,
        table: pd.DataFrame,
        shape: tuple[int, int, int],
        progress: Progress | None,
        workers: int = 1,
        scratch: Scratch | None = None,
    ) -> ImageWriter:
        """Return what writes the images of these galaxies, in one or several processes; ``scratch`` knows which are."""

        def fill(array: NDArray, target_id: NDArray[np.int64]) -> None:
            galaxies = file_order(table, IMAGE_SOURCE, IMAGE_ROW)
            journal = scratch.journal(IMAGE_FILE) if scratch is not None else Journal()

            def put(place: int, number: int, row: int) -> None:
                array[place] = self.sources[number].read(row)[0]

            if workers > 1:
                bad = fill_in_processes(galaxies, target_id, array, self.sources, workers, journal, progress)
            else:
                bad = fill_here(galaxies, target_id, [array], put, journal, progress)
            for source in self.sources.values():
                source.close()
            if bad:
                raise bad_pixels(bad, "image")

        return ImageWriter((len(table), *shape), self.dtype, fill)


@dataclass(frozen=True)
class Spectra:
    """The spectra of all sources.

    Attributes
    ----------
    sources : number of the source -> its spectra.
    grid : the survey's wavelengths.
    """

    sources: dict[int, SpectrumSource]
    grid: WaveGrid

    @property
    def decides(self) -> bool:
        """Whether each spectrum has to be read to tell which galaxies stay."""
        return any(source.decides for source in self.sources.values())

    def check(self, table: pd.DataFrame, dropped: Counter[str], verdicts: Verdicts) -> pd.DataFrame:
        """Return the galaxies with good spectra; each is read where bad ones are to be dropped, unless ``verdicts`` has
        one on it.

        Raises
        ------
        GalaxybenchError
            If a galaxy has no spectrum, or a bad one, and the spec refuses these.
        """
        bad = next(iter(self.sources.values())).spec.bad
        reasons: Reasons = {}
        for galaxy, number, row in file_order(table, SPECTRUM_SOURCE, SPECTRUM_ROW):
            if self.decides:
                state = self.sources[number].state(row) if number >= 0 else None
                verdict = verdicts.of(f"spectra on {self.grid}", galaxy, state, partial(self._look, number, row))
            else:
                verdict = self._look(number, row)
            if verdict.reason is not None:
                reasons[galaxy] = verdict.reason
        return _without_bad(table, reasons, bad, "spectrum", dropped)

    def _look(self, number: int, row: int) -> Verdict:
        if number < 0:
            return Verdict("no source has its spectrum")
        source = self.sources[number]
        try:
            if source.spec.resample is None and source.grid(row) != self.grid:
                raise GalaxybenchError(f"wavelengths differ from {self.grid}: add resample")
            if self.decides:
                source.read(row, self.grid)
        except GalaxybenchError as error:
            return Verdict(str(error))
        return Verdict()

    def writer(self, table: pd.DataFrame, progress: Progress | None, scratch: Scratch | None = None) -> SpectrumWriter:
        """Return what writes the spectra of these galaxies; ``scratch`` knows which are."""

        def fill(flux: NDArray[np.float32], ivar: NDArray[np.float32], target_id: NDArray[np.int64]) -> None:
            galaxies = file_order(table, SPECTRUM_SOURCE, SPECTRUM_ROW)
            journal = scratch.journal(SPECTRA_FILE) if scratch is not None else Journal()

            def put(place: int, number: int, row: int) -> None:
                flux[place], ivar[place] = self.sources[number].read(row, self.grid)

            bad = fill_here(galaxies, target_id, [flux, ivar], put, journal, progress)
            for source in self.sources.values():
                source.close()
            if bad:
                raise bad_pixels(bad, "spectrum")

        return SpectrumWriter((len(table), self.grid.n), fill)


def image_sources(spec: ImportSpec, parts: list[SourcePart]) -> Images | None:
    """Return the images of all sources, None without any.

    Raises
    ------
    GalaxybenchError
        If sources differ in what one survey has only once.
    """
    sources = {number: part.images for number, part in enumerate(parts) if part.images is not None}
    if not sources:
        return None
    first, *others = [source.spec for source in sources.values()]
    for other in others:
        if (other.stored_bands, other.pixel_scale_arcsec) != (first.stored_bands, first.pixel_scale_arcsec):
            raise GalaxybenchError(f"{spec.path}: images of the sources differ in bands or pixel_scale_arcsec")
        if other.unit != first.unit:
            raise GalaxybenchError(f"{spec.path}: images of the sources differ in unit")
        if other.bad != first.bad:
            raise GalaxybenchError(f"{spec.path}: images of the sources differ in bad: choose refuse or drop for all")
    return Images(sources, first.stored_bands, first.unit, first.pixel_scale_arcsec)


def spectrum_sources(spec: ImportSpec, parts: list[SourcePart], table: pd.DataFrame) -> Spectra | None:
    """Return the spectra of all sources on one grid, None without any.

    Raises
    ------
    GalaxybenchError
        If sources differ in grid, or the first spectrum's wavelengths are not even and no grid is given.
    """
    sources = {number: part.spectra for number, part in enumerate(parts) if part.spectra is not None}
    if not sources:
        return None
    specs = [source.spec for source in sources.values()]
    if any((other.resample, other.bad) != (specs[0].resample, specs[0].bad) for other in specs):
        raise GalaxybenchError(f"{spec.path}: spectra of the sources differ in resample or bad: give all the same")
    grid = specs[0].resample
    if grid is None:
        found = [(number, row) for _, number, row in file_order(table, SPECTRUM_SOURCE, SPECTRUM_ROW) if number >= 0]
        if not found:
            raise GalaxybenchError(f"{spec.path}: no galaxy has a spectrum: check how the sources are joined")
        grid = sources[found[0][0]].grid(found[0][1])
    return Spectra(sources, grid)


def _without_bad(table: pd.DataFrame, reasons: Reasons, bad: str, what: str, dropped: Counter[str]) -> pd.DataFrame:
    if reasons and bad == "refuse":
        raise bad_pixels(reasons, what)
    if reasons:
        key = "missing, unreadable or wrong-sized image" if what == "image" else "missing or unusable spectrum"
        dropped[key] = len(reasons)
    if len(reasons) == len(table):
        raise GalaxybenchError(f"no galaxy is left: {next(iter(reasons.values()))}")
    return table[~table["target_id"].isin(list(reasons))].reset_index(drop=True)

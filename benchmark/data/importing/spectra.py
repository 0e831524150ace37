"""Spectra of a source: cameras and flags put together, units and wavelengths made one, brought to the survey's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError
from benchmark.data.importing.pixelspec import SpectrumSpec
from benchmark.data.importing.resample import (
    WaveGrid,
    air_to_vacuum,
    merge_cameras,
    resample,
    scatter_ivar,
    uniform_grid,
)
from benchmark.data.importing.rows import StackedRows
from benchmark.data.importing.verdicts import file_state
from benchmark.data.tables import TableFile, reader_of, row_array

__all__ = ["SpectrumSource"]

TO_ANGSTROM = {"angstrom": 1.0, "nm": 10.0, "micron": 1e4}
Camera = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


@dataclass
class SpectrumSource:
    """The spectra of one source.

    Attributes
    ----------
    spec : what they are.
    where : file and table, for messages.
    names : a file for each row of the source; None where columns hold them.
    arrays : column -> arrays a row; empty where files hold them.
    """

    spec: SpectrumSpec
    where: str
    names: Sequence[str] | None = None
    arrays: dict[str, StackedRows] = field(default_factory=dict)

    @property
    def places(self) -> list[Path]:
        """Folders of the files, or the files of the columns."""
        if self.names is not None:
            return sorted({Path(name).parent for name in self.names})
        return sorted({file.path for column in self.arrays.values() for file in column.files})

    def grid(self, row: int) -> WaveGrid:
        """The wavelengths of a row as an even grid.

        Raises
        ------
        GalaxybenchError
            If the row's wavelengths are not even.
        """
        if self.spec.resample is not None:
            return self.spec.resample
        columns = self._columns(row)
        waves = [self._wave(columns, camera, row) for camera in range(len(self.spec.flux))]
        found = uniform_grid(waves[0]) if len(waves) == 1 else None
        if found is None:
            ends = min(wave[0] for wave in waves), max(wave[-1] for wave in waves)
            step = float(np.median(np.concatenate([np.diff(wave) for wave in waves])))
            n_pixels = round((ends[1] - ends[0]) / step) + 1
            raise GalaxybenchError(
                f"{self._where(row)} has no even wavelengths ({ends[0]:.6g} to {ends[1]:.6g} A, step {step:.3g}): "
                f"add resample = {{start = {ends[0]:.1f}, step = {step:.2f}, n = {n_pixels}}}"
            )
        return found

    def read(self, row: int, grid: WaveGrid) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Flux and ivar (n,) of a row on the survey's grid; invalid pixels are 0 in both.

        Raises
        ------
        GalaxybenchError
            If arrays do not fit each other, wavelengths miss the grid, or no pixel is valid.
        """
        columns = self._columns(row)
        parts = []
        for camera in range(len(self.spec.flux)):
            wave, flux, ivar = self._camera(columns, camera, row)
            try:
                parts.append(resample(wave, flux, ivar, grid))
            except GalaxybenchError as error:
                raise GalaxybenchError(f"{self._where(row)}: {error}") from error
        flux, ivar = parts[0] if len(parts) == 1 else merge_cameras(parts)
        if not (ivar > 0).any():
            raise GalaxybenchError(f"{self._where(row)} has no valid pixel on the grid")
        with np.errstate(over="ignore"):
            flux32, ivar32 = flux.astype(np.float32), ivar.astype(np.float32)
        valid = np.isfinite(flux32) & np.isfinite(ivar32) & (ivar32 > 0)
        return np.where(valid, flux32, np.float32(0)), np.where(valid, ivar32, np.float32(0))

    @property
    def decides(self) -> bool:
        """Whether each spectrum has to be read to tell which are good."""
        return self.spec.bad == "drop"

    def state(self, row: int) -> tuple[int, int] | None:
        """Size and date of a row's own file, by which it is known again; None where columns hold the spectra."""
        return None if self.names is None else file_state(self.names[row])

    def close(self) -> None:
        """Close what is open."""
        for array in self.arrays.values():
            array.close()

    def _columns(self, row: int) -> dict[str, NDArray]:
        """The arrays of a row, one axis each."""
        found: dict[str, NDArray] = {}
        if self.names is None:
            for name, array in self.arrays.items():
                found[name] = np.squeeze(array.row(row))
        else:
            file = TableFile(Path(self.names[row]), self.spec.table)
            reader = reader_of(file.path)
            for name in self.spec.columns:
                opened = row_array(file, name, reader)
                try:
                    whole = opened.whole
                    if whole is None and len(opened) == 1:  # a table whose one row holds arrays
                        whole = np.squeeze(opened.row(0))
                    if whole is None:
                        raise GalaxybenchError(f"{file}: column {name!r} has {opened.row_shape} a row: must be numbers")
                    found[name] = whole
                finally:
                    opened.close()
        for name, values in found.items():
            if values.ndim != 1 or values.dtype.kind not in "fiub":
                raise GalaxybenchError(
                    f"{self._where(row)}: {name!r} has shape {values.shape} and dtype {values.dtype}: "
                    "must be one number a pixel"
                )
        return found

    def _wave(self, columns: dict[str, NDArray], camera: int, row: int) -> NDArray[np.float64]:
        given = self.spec.wavelength
        if isinstance(given, WaveGrid):
            wave = given.wave_angstrom
        else:
            wave = columns[given[camera]].astype(np.float64)
            unit = self.spec.wavelength_unit
            wave = 10.0**wave if unit == "log10_angstrom" else wave * TO_ANGSTROM[unit]
        wave = np.where(wave > 0, wave, np.nan)  # MultimodalUniverse pads with -1
        if not np.isfinite(wave).any():
            raise GalaxybenchError(f"{self._where(row)} has no wavelengths")
        return air_to_vacuum(wave) if self.spec.medium == "air" else wave

    def _camera(self, columns: dict[str, NDArray], camera: int, row: int) -> Camera:
        """Wavelength, flux and ivar of one camera; pixels without wavelength are left out."""
        spec = self.spec
        wave = self._wave(columns, camera, row)
        flux = columns[spec.flux[camera]].astype(np.float64) * spec.scale
        if len(flux) != len(wave):
            raise GalaxybenchError(f"{self._where(row)} has {len(flux)} fluxes at {len(wave)} wavelengths")
        valid = np.isfinite(flux) & np.isfinite(wave)
        for names, good in ((spec.mask, False), (spec.good, True)):
            if names:
                flags = columns[names[camera]]
                if len(flags) != len(flux):
                    raise GalaxybenchError(
                        f"{self._where(row)}: {names[camera]!r} has {len(flags)} of {len(flux)} pixels"
                    )
                valid &= (np.nan_to_num(flags.astype(np.float64)) != 0) == good
        ivar = np.where(valid, self._ivar(columns, camera, row, flux, valid), 0.0)
        known = np.isfinite(wave)
        return wave[known], np.where(valid, flux, 0.0)[known], ivar[known]

    def _ivar(
        self, columns: dict[str, NDArray], camera: int, row: int, flux: NDArray[np.float64], valid: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        spec = self.spec
        if spec.noise == "unit":
            return np.ones(len(flux))
        if spec.noise == "scatter":
            return scatter_ivar(flux, valid)
        values = columns[(spec.ivar or spec.error)[camera]].astype(np.float64)
        if len(values) != len(flux):
            raise GalaxybenchError(f"{self._where(row)} has {len(values)} errors for {len(flux)} fluxes")
        positive = np.isfinite(values) & (values > 0)
        safe = np.where(positive, values, 1.0)
        return np.where(positive, safe / spec.scale**2 if spec.ivar else 1 / (safe * spec.scale) ** 2, 0.0)

    def _where(self, row: int) -> str:
        return self.where + f", row {row}" if self.names is None else str(self.names[row])

"""What an import spec says about images and spectra."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from benchmark.contracts import GalaxybenchError
from benchmark.data.importing.resample import WaveGrid
from benchmark.data.importing.specvalues import Kinds, check_table, choose, text_list

__all__ = ["IMAGE_KEYS", "SPECTRUM_KEYS", "ImageSpec", "SpectrumSpec", "parse_images", "parse_spectra"]

LAYOUTS = ("bhw", "hwb", "whb", "hw")
WAVE_UNITS = ("angstrom", "nm", "micron", "log10_angstrom")


@dataclass(frozen=True)
class ImageSpec:
    """Where a source's cutouts lie and what their numbers mean.

    Attributes
    ----------
    bands : the band of each channel, in the source's order (red, green, blue for a colour JPEG).
    folder, name : below the data folder, a file a galaxy; ``{target_id}``, ``{source_id}``, ``{file}``, ``{stem}`` and
        columns of the source stand for their values in ``name``.
    column : instead of files, a column of the source with an image a row.
    file : another file with ``column``, whose row i belongs to row i of the source.
    pixel_scale_arcsec : arcseconds a pixel.
    unit : ``nanomaggy`` or ``display_uint8``.
    layout : axes of one image: b bands, h height (rows), w width.
    use : the bands that are kept, in this order; all without it.
    crop : pixels a side that are kept about the centre.
    scale : what pixel values are multiplied by to be nanomaggies.
    dead : values of pixels that saw nothing; they are stored as 0 and counted in ``image_dead``.
    max_dead : the largest share of dead pixels that a band of a good image has.
    bad : what a missing, unreadable or wrong-sized image does: ``refuse`` the import or ``drop`` the galaxy.
    """

    bands: tuple[str, ...]
    folder: str | None = None
    name: str | None = None
    column: str | None = None
    file: str | None = None
    pixel_scale_arcsec: float | None = None
    unit: Literal["nanomaggy", "display_uint8"] = "display_uint8"
    layout: Literal["bhw", "hwb", "whb", "hw"] = "bhw"
    use: tuple[str, ...] = ()
    crop: int | None = None
    scale: float = 1.0
    dead: tuple[float, ...] = ()
    max_dead: float = 1.0
    bad: Literal["refuse", "drop"] = "refuse"

    @property
    def fields(self) -> tuple[str, ...]:
        """Names in braces in ``name``."""
        return fields_of(self.name)

    @property
    def stored_bands(self) -> tuple[str, ...]:
        """The bands of the survey's images."""
        return self.use or self.bands


@dataclass(frozen=True)
class SpectrumSpec:
    """Where a source's spectra lie, on which wavelengths, and how they come to the survey's grid.

    Attributes
    ----------
    flux : columns of flux density, one a camera.
    wavelength : as many columns, or the grid itself.
    ivar, error, mask, good : columns of inverse variance, of one-sigma errors, of flags that are 0 in valid pixels, of
        flags that are not 0 in valid pixels; as many as fluxes.
    noise : where there are no errors: ``scatter`` estimates them, ``unit`` gives every valid pixel ivar 1.
    wavelength_unit : of the columns.
    medium : ``air`` wavelengths become vacuum ones.
    scale : what fluxes are multiplied by to be 1e-17 erg/s/cm2/A (or 1 where their unit is unknown).
    resample : the survey's grid; without it all galaxies must share an even one.
    folder, name, table : instead of columns of the source, a file a galaxy whose columns these are; ``table`` is its
        extension or group.
    bad : what a missing spectrum, or one without a valid pixel on the grid, does.
    """

    flux: tuple[str, ...]
    wavelength: tuple[str, ...] | WaveGrid
    ivar: tuple[str, ...] = ()
    error: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    good: tuple[str, ...] = ()
    noise: Literal["scatter", "unit"] | None = None
    wavelength_unit: Literal["angstrom", "nm", "micron", "log10_angstrom"] = "angstrom"
    medium: Literal["vacuum", "air"] = "vacuum"
    scale: float = 1.0
    resample: WaveGrid | None = None
    folder: str | None = None
    name: str | None = None
    table: str | None = None
    bad: Literal["refuse", "drop"] = "refuse"

    @property
    def fields(self) -> tuple[str, ...]:
        """Names in braces in ``name``."""
        return fields_of(self.name)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read."""
        wave = () if isinstance(self.wavelength, WaveGrid) else self.wavelength
        return tuple(dict.fromkeys((*self.flux, *wave, *self.ivar, *self.error, *self.mask, *self.good)))


IMAGE_KEYS: Kinds = {
    "bands": list,
    "folder": str,
    "name": str,
    "column": str,
    "file": str,
    "pixel_scale_arcsec": (int, float),
    "unit": str,
    "layout": str,
    "use": list,
    "crop": int,
    "scale": (int, float),
    "dead": list,
    "max_dead": (int, float),
    "bad": str,
}
SPECTRUM_KEYS: Kinds = {
    "flux": (str, list),
    "wavelength": (str, list, dict),
    "ivar": (str, list),
    "error": (str, list),
    "mask": (str, list),
    "good": (str, list),
    "noise": str,
    "wavelength_unit": str,
    "medium": str,
    "scale": (int, float),
    "resample": dict,
    "folder": str,
    "name": str,
    "table": str,
    "bad": str,
}
GRID_KEYS: Kinds = {"start": (int, float), "step": (int, float), "n": int}


def fields_of(name: str | None) -> tuple[str, ...]:
    """Names in braces in the pattern of a file name."""
    parts = string.Formatter().parse(name or "")
    return tuple(dict.fromkeys(field for _, field, _, _ in parts if field is not None))


def parse_images(table: Mapping[str, Any], where: str) -> ImageSpec:
    """Return what the table ``images`` says.

    Raises
    ------
    GalaxybenchError
        On an unknown key, or values that do not fit together.
    """
    check_table(table, IMAGE_KEYS, where, required=("bands",))
    if ("column" in table) == ("folder" in table or "name" in table):
        raise GalaxybenchError(f"{where}: give folder and name, a file a galaxy, or column, an array a row")
    if "file" in table and "column" not in table:
        raise GalaxybenchError(f"{where}: file needs column, the name of the array in it")
    if "column" not in table:
        check_table(table, IMAGE_KEYS, where, required=("folder", "name"))
        _refuse_odd_name(table["name"], where)
    display = str(table.get("name", "")).lower().endswith((".jpg", ".jpeg", ".png", "}"))
    full: dict[str, Any] = {"unit": "display_uint8" if display else "nanomaggy", **table}
    for key, allowed in (("bad", ("refuse", "drop")), ("unit", ("nanomaggy", "display_uint8")), ("layout", LAYOUTS)):
        choose(full, key, allowed, where)
    for key in ("bands", "use"):
        if key in full:
            full[key] = text_list(full[key], f"{where}: {key}")
    unknown = [band for band in full.get("use", ()) if band not in full["bands"]]
    if unknown:
        raise GalaxybenchError(f"{where}: use names {', '.join(unknown)}: bands are {', '.join(full['bands'])}")
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in full.get("dead", ())):
        raise GalaxybenchError(f"{where}: dead = {full['dead']}: must be numbers")
    full["dead"] = tuple(float(value) for value in full.get("dead", ()))
    if full.get("crop", 1) < 1 or not 0 <= full.get("max_dead", 1.0) <= 1 or not full.get("scale", 1.0) > 0:
        raise GalaxybenchError(f"{where}: crop must be at least 1, max_dead a share of 0 to 1, scale above 0")
    if full["unit"] == "display_uint8" and (full["dead"] or full.get("scale", 1.0) != 1.0):
        raise GalaxybenchError(f"{where}: dead and scale belong to images in nanomaggy; these are display_uint8")
    return ImageSpec(**full)


def parse_spectra(table: Mapping[str, Any], where: str) -> SpectrumSpec:
    """Return what the table ``spectra`` says.

    Raises
    ------
    GalaxybenchError
        On an unknown key, or values that do not fit together.
    """
    check_table(table, SPECTRUM_KEYS, where, required=("flux", "wavelength"))
    full = dict(table)
    allowed = {"noise": ("scatter", "unit"), "wavelength_unit": WAVE_UNITS, "medium": ("vacuum", "air")}
    for key, words in {**allowed, "bad": ("refuse", "drop")}.items():
        choose(full, key, words, where)
    for key in ("flux", "wavelength", "ivar", "error", "mask", "good"):
        if key in full:
            full[key] = (
                _grid(full[key], f"{where}: {key}")
                if isinstance(full[key], dict)
                else text_list(full[key], f"{where}: {key}")
            )
            if isinstance(full[key], tuple) and len(full[key]) != len(full["flux"]):
                raise GalaxybenchError(f"{where}: {key} names {len(full[key])} columns, flux {len(full['flux'])}")
    if sum(key in full for key in ("ivar", "error", "noise")) != 1:
        raise GalaxybenchError(f"{where}: give one of ivar, error, noise = 'scatter' and noise = 'unit'")
    if isinstance(full["wavelength"], WaveGrid) and len(full["flux"]) > 1:
        raise GalaxybenchError(f"{where}: several cameras need a column of wavelengths each")
    if "resample" in full:
        full["resample"] = _grid(full["resample"], f"{where}: resample")
    if ("folder" in full) != ("name" in full) or ("table" in full and "folder" not in full):
        raise GalaxybenchError(f"{where}: give folder and name, a file a galaxy, and then table; or none of them")
    if "name" in full:
        _refuse_odd_name(full["name"], where)
    if not full.get("scale", 1.0) > 0:
        raise GalaxybenchError(f"{where}: scale = {full['scale']}: must be above 0")
    return SpectrumSpec(**full)


def _grid(table: Any, where: str) -> WaveGrid:
    check_table(table, GRID_KEYS, where, required=tuple(GRID_KEYS))
    try:
        return WaveGrid(float(table["start"]), float(table["step"]), table["n"])
    except GalaxybenchError as error:
        raise GalaxybenchError(f"{where}: {error}") from error


def _refuse_odd_name(name: str, where: str) -> None:
    try:
        parts = list(string.Formatter().parse(name))
    except ValueError as error:
        raise GalaxybenchError(f"{where}: name = {name!r} ({error})") from error
    fields = [(field, form, conversion) for _, field, form, conversion in parts if field is not None]
    if not fields or any(not field.isidentifier() or form or conversion for field, form, conversion in fields):
        raise GalaxybenchError(
            f"{where}: name = {name!r}: must hold plain names in braces, e.g. {{target_id}}.jpg or {{source_id}}.png"
        )

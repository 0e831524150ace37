"""What a survey says about itself."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from benchmark.contracts import GalaxybenchError, Target

__all__ = ["FORMAT", "LOG_BASES", "SPLITS", "SurveyInfo", "refuse_classes"]

FORMAT = 1
SPLITS = ("train", "validation", "test", "unlabelled")
RESERVED_COLUMNS = ("target_id", "source_id", "split", "ra", "dec")
PHOTOMETRY_UNITS = ("mag_ab",)
IMAGE_UNITS = ("nanomaggy", "display_uint8")
LOG_BASES = ("10", "e", "none")

Fact = str | int | float | bool


@dataclass(frozen=True)
class SurveyInfo:
    """All facts about a survey that are not one row a galaxy; maps one to one to ``survey.toml``.

    Attributes
    ----------
    name, version : what the survey is called in records and on the board.
    targets : the physical quantities that may be predicted; each is a column of the catalogue.
    photometry_bands : bands with a ``mag_<band>`` column, in the order in which models see them.
    photometry_unit : ``mag_ab``: AB magnitudes, NaN = missing.
    image_bands : the band of each channel of ``images.npy``, in its order.
    pixel_scale_arcsec : arcseconds a pixel.
    image_unit : ``nanomaggy`` (float16 or float32 a pixel) or ``display_uint8`` (0-255 of a JPEG or PNG).
    image_stretch : scale of each band in the colour stretch; empty for g, r, z nanomaggies, which have AstroCLIP's.
    wave_start_angstrom, wave_step_angstrom : the spectra's first wavelength and step, vacuum; None without spectra.
    n_wave : pixels of a spectrum; 0 = no spectra.
    split_rule : how train, validation and test were made: ``hash``, or a sentence.
    licence, reference : the data's terms and where they come from.
    simulated : True where the galaxies were made by a program.
    label_errors : targets with a column ``<target>_err`` of one-sigma errors.
    label_draws : targets of the last axis of ``label_draws.npy``: posterior draws of the labels, (n, n_draws, t).
    votes : question -> answers; columns ``<question>_<answer>`` and ``<question>_total`` count volunteers.
    facts : anything else worth writing down.
    files : file name -> sha256, filled on write.
    counts : split -> number of galaxies, filled on write.
    catalogue_digest, split_digest : sha256 of the catalogue's values and of ids with splits, filled on write.
    label_digest : sha256 of errors and draws of labels, filled on write; empty without any.

    Raises
    ------
    GalaxybenchError
        If a unit, name or band is not allowed.
    """

    name: str
    version: str
    targets: tuple[Target, ...]
    photometry_bands: tuple[str, ...] = ()
    photometry_unit: str = "mag_ab"
    image_bands: tuple[str, ...] = ()
    pixel_scale_arcsec: float | None = None
    image_unit: str | None = None
    image_stretch: tuple[float, ...] = ()
    wave_start_angstrom: float | None = None
    wave_step_angstrom: float | None = None
    n_wave: int = 0
    split_rule: str = "hash"
    licence: str = ""
    reference: str = ""
    simulated: bool = False
    label_errors: tuple[str, ...] = ()
    label_draws: tuple[str, ...] = ()
    votes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    catalogue_digest: str = ""
    split_digest: str = ""
    label_digest: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", self.name):
            raise GalaxybenchError(
                f"survey name {self.name!r}: must be letters, digits and . _ + - (it becomes part of file names)"
            )
        _refuse_repeats("targets", [target.name for target in self.targets])
        _refuse_repeats("photometry_bands", self.photometry_bands)
        _refuse_repeats("image_bands", self.image_bands)
        taken = (*RESERVED_COLUMNS, *(f"mag_{band}" for band in self.photometry_bands), *self.vote_columns)
        for target in self.targets:
            if target.name in taken or not target.name.strip():
                raise GalaxybenchError(
                    f"target name {target.name!r}: must not be empty or one of {', '.join(taken)}; rename it"
                )
            if target.classes:
                refuse_classes(target.name, target.classes, f"target {target.name!r}")
        self._refuse_label_errors(taken)
        if self.photometry_unit not in PHOTOMETRY_UNITS:
            raise GalaxybenchError(
                f"photometry_unit = {self.photometry_unit!r}: a survey folder stores {', '.join(PHOTOMETRY_UNITS)}; "
                "convert fluxes first"
            )
        if self.image_bands and self.image_unit not in IMAGE_UNITS:
            raise GalaxybenchError(f"image_unit = {self.image_unit!r}: images are in {' or '.join(IMAGE_UNITS)}")
        if not self.image_bands and self.image_unit is not None:
            raise GalaxybenchError(f"image_unit = {self.image_unit!r} but image_bands is empty: name the bands")
        if self.image_stretch and (
            len(self.image_stretch) != len(self.image_bands)
            or not all(math.isfinite(value) and value > 0 for value in self.image_stretch)
        ):
            raise GalaxybenchError(
                f"image_stretch = {list(self.image_stretch)}: must be a positive number for each of image_bands"
            )
        scale = self.pixel_scale_arcsec
        if scale is not None and not (math.isfinite(scale) and scale > 0):
            raise GalaxybenchError(f"pixel_scale_arcsec = {scale}: must be a positive number of arcseconds")
        _refuse_grid(self.wave_start_angstrom, self.wave_step_angstrom, self.n_wave)

    def _refuse_label_errors(self, taken: Iterable[str]) -> None:
        names = [target.name for target in self.targets if not target.classes]
        for key, found in (("label_errors", self.label_errors), ("label_draws", self.label_draws)):
            _refuse_repeats(key, found)
            known = ", ".join(names) or "none"
            for name in found:
                if name not in names:
                    raise GalaxybenchError(f"{key} names {name!r}, which is no number to predict: there are {known}")
        for column in self.error_columns:
            if column in (*names, *taken):
                raise GalaxybenchError(f"column {column!r} is the error of a target and something else: rename one")

    @property
    def error_columns(self) -> tuple[str, ...]:
        """Columns with errors of targets."""
        return tuple(f"{name}_err" for name in self.label_errors)

    @property
    def n_galaxies(self) -> int:
        """Rows of the catalogue."""
        return sum(self.counts.values())

    @property
    def vote_columns(self) -> tuple[str, ...]:
        """Columns with counts of volunteers, totals included."""
        return tuple(
            f"{question}_{answer}" for question, answers in self.votes.items() for answer in (*answers, "total")
        )

    @property
    def digest(self) -> str:
        """sha256 of what may move a score: values, units, limits and roles; not of licence, reference or facts.

        Errors of labels have a digest of their own: they add scores and move none.
        """
        content = {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "targets": [_target_content(target) for target in self.targets],
            "photometry": [list(self.photometry_bands), self.photometry_unit],
            "images": [list(self.image_bands), self.pixel_scale_arcsec, self.image_unit, self._sha256("images")],
            "votes": {question: list(answers) for question, answers in self.votes.items()},
            "catalogue": self.catalogue_digest,
        }
        if self.image_stretch:
            content["image_stretch"] = list(self.image_stretch)
        if self.n_wave:
            files = [self._sha256("spectra"), self._sha256("spectra_ivar")]
            grid = [float(self.wave_start_angstrom or 0), float(self.wave_step_angstrom or 0), self.n_wave]
            content["spectra"] = [*grid, *files]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _sha256(self, stem: str) -> str | list[str] | None:
        """Of an array's file, or of its shards."""
        shards = sorted(name for name in self.files if re.fullmatch(rf"{stem}-\d{{5}}\.npy", name))
        return [self.files[name] for name in shards] or self.files.get(f"{stem}.npy")


def refuse_classes(target: str, classes: tuple[object, ...], where: str) -> None:
    """Raise where classes of a target are no names, or cannot be told apart in the columns ``<target>=<class>``.

    Raises
    ------
    GalaxybenchError
        If they are fewer than two, repeated, empty or no text, or they or the target have a '=' in their name.
    """
    named = all(isinstance(name, str) and name.strip() and "=" not in name for name in classes)
    if not named or len(classes) < 2 or len(set(classes)) < len(classes) or "=" in target:
        raise GalaxybenchError(
            f"{where}: classes = {list(classes)}: must be two or more different names, for the numbers 0, 1, ... in "
            "this order; neither they nor the target's name may hold '='"
        )


def _target_content(target: Target) -> dict[str, object]:
    content = {key: value for key, value in asdict(target).items() if key not in ("description", "provenance")}
    if not target.classes:
        del content["classes"]  # surveys without classes keep the digest they had before there were any
    return content


def _refuse_repeats(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise GalaxybenchError(f"{what} names {name!r} twice: name each once")
        seen.add(name)


def _refuse_grid(start: float | None, step: float | None, n_wave: int) -> None:
    if n_wave < 0:
        raise GalaxybenchError(f"n_wave = {n_wave}: must be a number of pixels, 0 without spectra")
    for name, value in (("wave_start_angstrom", start), ("wave_step_angstrom", step)):
        if n_wave == 0 and value is not None:
            raise GalaxybenchError(f"{name} = {value} but n_wave = 0: give all three for spectra, or none")
        if n_wave and not (value is not None and math.isfinite(value) and value > 0):
            raise GalaxybenchError(f"{name} = {value}: n_wave = {n_wave} needs a positive number of Angstroms")

"""Images as fluxes, for models that measure galaxies instead of looking at pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import UsageError
from benchmark.data.survey import Survey
from benchmark.data.views import ImageView
from encoders.reading.images import ImageFacts

__all__ = ["flux_images"]


def flux_images(survey: Survey, rows: NDArray[np.int64]) -> ImageView:
    """Images (n, bands, height, width) float32 of some rows in nanomaggies a pixel, read when indexed.

    The view's ``facts`` name unit, bands, pixel scale and stretch. Of a survey whose images are pictures
    (``display_uint8``) it has the values divided by 255, which is all that is known of the flux, and no facts.

    Raises
    ------
    UsageError
        If the survey has no images.
    """
    if survey.images is None:
        raise UsageError(f"survey {survey.info.name} has no image: choose a model that reads what it has")
    rows = np.asarray(rows, dtype=np.int64)
    if survey.info.image_unit == "display_uint8":
        return ImageView(survey.images, rows, lambda pixels: pixels.astype(np.float32) / np.float32(255))
    facts = ImageFacts(
        "nanomaggy", tuple(survey.info.image_bands), survey.info.pixel_scale_arcsec, tuple(survey.info.image_stretch)
    )
    return ImageView(survey.images, rows, lambda pixels: pixels.astype(np.float32), facts=facts)

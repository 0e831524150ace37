"""Images as fluxes, for models that measure galaxies instead of looking at pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import UsageError
from benchmark.data.survey import Survey
from benchmark.data.views import ImageView

__all__ = ["flux_images"]


def flux_images(survey: Survey, rows: NDArray[np.int64]) -> ImageView:
    """Images (n, bands, height, width) float32 of some rows in nanomaggies a pixel, read when indexed.

    Of a survey whose images are pictures (``display_uint8``) the values divided by 255: what is known of the flux.

    Raises
    ------
    UsageError
        If the survey has no images.
    """
    if survey.images is None:
        raise UsageError(f"survey {survey.info.name} has no image: choose a model that reads what it has")
    unit = np.float32(255 if survey.info.image_unit == "display_uint8" else 1)
    return ImageView(survey.images, np.asarray(rows, dtype=np.int64), lambda pixels: pixels.astype(np.float32) / unit)

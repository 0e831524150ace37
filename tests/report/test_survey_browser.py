"""The page of a survey in a browser that has no network: nothing is loaded, nothing runs, nothing is cut off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark.contracts import Target
from benchmark.data import SurveyInfo, write_survey
from benchmark.report import write_survey_page

HOSTILE = "</title></style><script>alert(1)</script><img src=x onerror=alert(2)>\" onload='alert(3)' $x_{1}$"
N, N_TARGETS = 150, 6


@pytest.fixture(scope="module")
def survey_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with everything that a survey can have; hostile text stands wherever a file may bring text."""
    folder = tmp_path_factory.mktemp("survey_page")
    rng = np.random.default_rng(6)
    table = pd.DataFrame({"target_id": np.arange(N) + 10**17, "source_id": [f"{HOSTILE} {i}" for i in range(N)]})
    names = ["z", *(f"a_target_with_a_long_name_{number}" for number in range(N_TARGETS - 1))]
    for name in names:
        table[name] = rng.uniform(0.1, 0.5, N)
    table["z_err"], table["mag_g"], table["mag_err_g"] = 0.02, rng.normal(20, 1, N), 0.1
    table.loc[:3, ["z", "z_err"]] = np.nan
    table.loc[9, "z"] = -3.0
    table["ra"], table["dec"] = rng.uniform(10, 20, N), rng.uniform(-5, 5, N)
    facts: dict[str, Any] = {"licence": HOSTILE, "reference": HOSTILE, "photometry_bands": ("g",)}
    facts |= {"wave_start_angstrom": 4000.0, "wave_step_angstrom": 4.0, "n_wave": 400, "label_errors": ("z",)}
    facts |= {"image_bands": ("g", "r", "z"), "image_unit": "display_uint8"}
    flux = rng.normal(5, 1, (N, 400)).astype(np.float32)
    info = SurveyInfo("small", "1", tuple(Target(name, provenance=HOSTILE, low=0.0) for name in names), **facts)
    images = rng.integers(0, 255, (N, 3, 24, 24)).astype(np.uint8)
    survey = write_survey(folder / "s", info, table, images=images, spectra=(flux, np.ones_like(flux)))
    write_survey_page(survey, folder / "survey.html")
    return folder / "survey.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_opens_without_errors_at_any_width_and_theme(
    show: Callable[..., Any], survey_page: Path, scheme: str, width: int
) -> None:
    page = show(survey_page, color_scheme=scheme, viewport={"width": width, "height": 800})
    images = page.locator("img")
    assert images.count() == 4  # galaxies, spectra, targets, sky
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 100)")
    for number in range(4):
        box = images.nth(number).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    # the table of columns scrolls in its own box, the page itself does not
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(252, 252, 251)"
    assert light == (scheme == "light")


def test_a_wide_table_can_be_scrolled_from_the_keyboard(show: Callable[..., Any], survey_page: Path) -> None:
    page = show(survey_page, viewport={"width": 390, "height": 800})
    box = page.get_by_role("region", name="columns of small")
    assert box.evaluate("(box) => box.scrollWidth > box.clientWidth")
    box.focus()
    page.keyboard.press("ArrowRight")
    for _ in range(100):  # it may scroll smoothly
        if box.evaluate("(box) => box.scrollLeft") > 0:
            break
        page.wait_for_timeout(20)
    assert box.evaluate("(box) => box.scrollLeft") > 0


def test_what_is_for_the_record_opens_on_a_click(show: Callable[..., Any], survey_page: Path) -> None:
    page = show(survey_page)
    rest = page.locator("details")
    assert rest.locator("li").first.is_visible() is False
    rest.locator("summary").click()
    assert rest.locator("li", has_text="label_error_missing").count() == 0  # galaxies without a label need no error
    assert rest.locator("li").first.is_visible()
    assert page.locator(".remarks li", has_text="z outside its limits").first.is_visible()


def test_text_from_files_is_shown_and_never_run(show: Callable[..., Any], survey_page: Path) -> None:
    page = show(survey_page)  # an alert would fail the test as a dialog
    assert page.locator("script").count() == 0
    assert page.locator("img:not([src^='data:'])").count() == 0
    assert page.title() == "galaxybench: survey small"
    shown = page.locator("main").inner_text()
    assert shown.count(HOSTILE) == 2 + N_TARGETS  # licence, reference and the targets' provenance, letter by letter

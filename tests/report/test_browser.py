"""The page in a browser that has no network: nothing is loaded, nothing fails, tables sort and filter."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.board import leaderboard
from benchmark.report import write_page

HOSTILE = "</script><img src=x onerror=alert(1)>"


def names(page: Any) -> list[str]:
    """Models of the redshift table from top to bottom, as far as they are visible."""
    return page.locator("#part-1-redshift tbody tr:visible th .name").all_text_contents()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_opens_without_errors_at_any_width_and_theme(
    show: Callable[..., Any], small_page: Path, scheme: str, width: int
) -> None:
    page = show(small_page, color_scheme=scheme, viewport={"width": width, "height": 800})
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    for _ in range(100):  # wait_for_function would need eval, which the page's policy forbids
        if page.evaluate("[...document.images].every((image) => image.complete)"):
            break
        page.wait_for_timeout(50)
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 100)")
    assert page.locator("img").count() == 18
    # tables scroll in their own boxes, the page itself does not
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(252, 252, 251)"
    assert light == (scheme == "light")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_ceilings_of_label_noise_are_read_and_filtered(
    show: Callable[..., Any], noisy_page: Path, width: int
) -> None:
    page = show(noisy_page, viewport={"width": width, "height": 800})
    page.get_by_role("link", name="label noise").click()
    panels = page.locator("#part-1-ceilings article")
    assert panels.count() == 5
    lines = panels.first.locator("tbody tr:visible")
    assert lines.count() == 3
    assert "beyond" in lines.first.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_label("filter models").fill("knows")
    assert lines.count() == 1


def test_a_column_is_sorted_by_click_and_by_keyboard_failures_last(show: Callable[..., Any], small_page: Path) -> None:
    page = show(small_page)
    best_first = ["Sharp", "Middling", "Blurred", "Broken"]
    assert names(page) == best_first
    scatter = page.locator("#part-1-redshift thead th", has_text="sigma_nmad")
    scatter.get_by_role("button").click()
    assert scatter.get_attribute("aria-sort") == "ascending"
    assert names(page) == best_first
    page.keyboard.press("Enter")
    assert scatter.get_attribute("aria-sort") == "descending"
    assert names(page) == ["Blurred", "Middling", "Sharp", "Broken"]
    page.locator("#part-1-redshift thead th", has_text="model").get_by_role("button").press("Space")
    assert names(page) == ["Blurred", "Broken", "Middling", "Sharp"]
    assert page.locator("#part-1-redshift thead th[aria-sort]").count() == 1


def test_the_filter_keeps_what_holds_every_word(show: Callable[..., Any], small_page: Path) -> None:
    page = show(small_page)
    page.get_by_label("filter models").fill("shar SUPERVISED")
    assert names(page) == ["Sharp"]
    assert page.locator(".panels figure:visible").count() == 1
    assert page.locator("article.calibration:visible").count() == 0
    assert page.locator("#shown").text_content() == "3 of 16 rows and figures shown"
    page.get_by_label("filter models").fill("")
    assert len(names(page)) == 4
    assert page.locator("#shown").text_content() == ""


def test_all_scores_are_listed_filtered_and_saved(
    show: Callable[..., Any], small_page: Path, small_store: Path
) -> None:
    rows = leaderboard(small_store)
    page = show(small_page)
    page.locator("#list summary").click()
    listed = page.locator("#scores tbody tr")
    listed.first.wait_for()  # the list is made in the event that follows the click
    assert listed.count() == len(rows)
    page.get_by_label("filter rows").fill("sharp outlier")
    assert page.locator("#scores tbody tr:visible").count() == 1
    with page.expect_download() as saved:
        page.locator("#csv").click()
    with Path(saved.value.path()).open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [(row["model"], row["metric"], row["target"]) for row in table] == [
        (row["model"], row["metric"] or "", row["target"] or "") for row in rows
    ]
    for line, row in zip(table, rows, strict=True):
        assert (float(line["value"]) if line["value"] else None) == row["value"]
    assert any("<NaN> & co" in line["error"] for line in table)


def test_a_hostile_name_stays_inert(show: Callable[..., Any], make_store: Callable[..., Any], tmp_path: Path) -> None:
    maker = make_store()
    maker.add_model(HOSTILE, tasks=["redshift", "properties"])
    maker.write(maker.cell("score", HOSTILE + "2", "knn", "redshift", status="failed", reason=HOSTILE))
    write_page(maker.store.folder, tmp_path / "page.html")
    page = show(tmp_path / "page.html")
    page.locator("#list summary").click()
    page.locator("#scores tbody tr").first.wait_for()
    assert page.locator("img:not([src^='data:'])").count() == 0
    assert names(page) == [HOSTILE, HOSTILE + "2"]
    assert page.locator("#scores td", has_text=HOSTILE).count() > 10

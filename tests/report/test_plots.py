"""Figures: well-formed, in the reader's theme, with any name and any number of galaxies."""

from __future__ import annotations

import functools
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmark.report import calibration_plots, plots
from benchmark.report.theme import printable

AXES = ((0.0, 0.6), 0.3)
LOSSES: tuple[dict[str, list[float]], ...] = ({}, {"cde_loss": [-2.0, 0.3]})


def redshift(n: int, name: str = "Model · knn") -> str:
    rng = np.random.default_rng(1)
    truth = rng.uniform(0, 0.6, n)
    return plots.redshift_plot(name, ["bias 0.000"], truth, truth + rng.normal(0, 0.03, n), *AXES)


@functools.cache
def pictures(name: str = "Model · knn") -> dict[str, str]:
    """One of each."""
    level = np.linspace(0, 1, 11)
    curve = {"credibility": level, "ecp": level**1.1, "ecp_low": level**1.3, "ecp_high": level**0.9}
    dots = [plots.Dot(name, "image", 0.5, 0.4, 0.6), plots.Dot("b", "none", -80.0, None, None)]
    return {
        "interval": plots.interval_plot(dots, 0.0, "floor", "r2"),
        "redshift": redshift(100, name),
        "coverage": plots.coverage_plot(name, {key: list(values) for key, values in curve.items()}),
        "pit": plots.pit_plot(["z", name], np.random.default_rng(0).random((100, 2))),
        "ranks": ranks(name),
        "scores": calibration_plots.score_plot(["z", name], in_bins(["z", name])),
    }


def ranks(name: str, hpd: np.ndarray | None = None) -> str:
    return calibration_plots.rank_plot(["z", name], np.random.default_rng(0).random((100, 2)), None, hpd)


def in_bins(names: list[str], **joint: list[float]) -> dict[str, Any]:
    each = {"sharpness_68": [1.0, 0.1], "conformal_68": [1.2, 0.1], "crps": [0.3, 0.02]}
    rows = [{"target": name, "centre": 18.0 + i, "n": 30, **each} for name in names for i in range(4)]
    rows += [{"target": "joint", "centre": 18.0 + i, "n": 30, "energy_score": [0.6, 0.1], **joint} for i in range(4)]
    return {"by": f"mag_{names[-1]}", "n_calibration": 100, "bins": rows}


def test_what_is_not_known_has_no_line_and_no_panel() -> None:
    names = ["z", "mass"]

    def n_axes(svg: str) -> int:
        return len(re.findall(r'id="axes_\d+"', svg))

    without, with_loss = (calibration_plots.score_plot(names, in_bins(names, **more)) for more in LOSSES)
    assert (n_axes(without), n_axes(with_loss)) == (2, 3)
    plain = ranks("mass")
    assert len(ranks("mass", np.random.default_rng(1).random(100))) > 1.05 * len(plain)
    infinite = in_bins(names)
    for row in infinite["bins"]:
        row.pop("conformal_68", None)
    assert len(calibration_plots.score_plot(names, infinite)) < 0.95 * len(without)


@pytest.mark.parametrize("name", ["a$b^c$ $x <b>&--", "星系 🌌", "two\nlines " + "long " * 50])
def test_any_name_gives_a_well_formed_figure(name: str) -> None:
    for svg in pictures(name).values():
        assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_axes_take_the_colour_of_the_theme() -> None:
    for svg in pictures().values():
        assert "prefers-color-scheme: dark" in svg
        assert svg.count("currentColor") > 10
        assert not re.search(r"#(000000|ffffff|010203)\b", svg)
        assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg)


def test_the_same_numbers_give_the_same_text() -> None:
    assert pictures.__wrapped__() == pictures()


def test_many_galaxies_do_not_make_a_large_figure() -> None:
    few, many = redshift(1_500), redshift(50_000)
    assert len(many) < 1.5 * len(few) < 150_000


def test_names_are_cut_and_unknown_letters_boxed() -> None:
    assert printable("星 a\n b") == "□ a b"
    assert len(printable("x" * 500)) == 34
    assert printable("PhotometryMLP · flow") == "PhotometryMLP · flow"


def test_the_pit_band_holds_the_bins_of_uniform_values_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    for n in (100, 800):
        n_bins, low, high = plots.pit_band(n)
        counts = np.array([np.histogram(rng.random(n), n_bins, (0, 1), density=True)[0] for _ in range(2_000)])
        inside = ((counts >= low) & (counts <= high)).mean()
        # a discrete band holds at least 95 %, and one more count at each end adds up to 3 %; Monte Carlo error < 0.3 %
        assert 0.947 <= inside < 0.985
    assert plots.pit_band(20)[0] == 5
    assert plots.pit_band(10**6)[0] == 20

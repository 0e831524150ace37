"""Scores beside the ceiling of label noise: what is reached of it, by whom it is passed, and where it says nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import r2_score

from benchmark.board import leaderboard
from benchmark.report.ceilings import Ceiling, ceiling_panels
from benchmark.report.contents import read_contents
from benchmark.store import Store

ERROR = 0.06  # of redshifts whose standard deviation is .16


def panels(maker: Any) -> dict[str, Ceiling]:
    (part,) = read_contents(maker.store.folder).parts
    found, gaps = ceiling_panels(part, maker.store)
    assert gaps == []
    return {panel.title: panel for panel in found}


def reached(text: str) -> tuple[float, float, float]:
    value, low, high = (float(part.replace("−", "-")) for part in text.strip("]").replace("[", ",").split(","))
    return value, low, high


def test_score_ceiling_and_share_are_those_of_the_galaxies(noisy_maker: Any) -> None:
    found = panels(noisy_maker)
    assert list(found) == [
        *("redshift: z", "properties: z", "properties: log10_mstar", "properties: mean", "posterior: joint")
    ]
    panel = found["redshift: z"]
    truth = noisy_maker.truth[:, 0]
    ceiling = r2_score(truth, truth + ERROR)
    for line in panel.lines:
        (row,) = (
            row
            for row in leaderboard(noisy_maker.store.folder, task="redshift")
            if (row["model"], row["metric"], row["condition"]) == (line.model, "r2", None)
        )
        # all labels have errors: the score and its interval are those of the board
        assert reached(line.score) == pytest.approx((row["value"], row["ci_low"], row["ci_high"]), abs=6e-4)
        assert reached(line.ceiling)[0] == pytest.approx(ceiling, abs=6e-4)
        assert reached(line.reached)[0] == pytest.approx(row["value"] / ceiling, abs=6e-4)
        assert line.n == "120"
    mean = {line.model: reached(line.reached)[0] for line in found["properties: mean"].lines}
    parts = [{line.model: line for line in found[f"properties: {name}"].lines} for name in ("z", "log10_mstar")]
    for model, share in mean.items():
        scores, ceilings = (
            np.mean([reached(getattr(part[model], what))[0] for part in parts]) for what in ("score", "ceiling")
        )
        assert share == pytest.approx(scores / ceilings, abs=2e-3)


@pytest.mark.parametrize(("title", "best"), [("redshift: z", 1.0), ("posterior: joint", 0.0)])
def test_a_model_that_knows_the_truth_stands_at_the_ceiling_and_one_that_learned_the_noise_beyond(
    noisy_maker: Any, title: str, best: float
) -> None:
    lines = panels(noisy_maker)[title].lines
    assert [line.model for line in lines] == ["Learned", "Knows", "Blurred"]
    assert [line.is_beyond for line in lines] == [True, False, False]
    value, low, high = reached(lines[1].reached)
    assert low < best < high
    assert value == pytest.approx(best, abs=0.25)  # 1.96 sigma of the mean -log p of 120 galaxies in two dimensions
    worst = reached(lines[2].reached)
    assert worst[2] < best if best else worst[1] > best


def test_the_interval_of_the_share_is_paired(noisy_maker: Any) -> None:
    line = next(line for line in panels(noisy_maker)["redshift: z"].lines if line.model == "Blurred")
    (score, low, high), (ceiling, *_), (_, share_low, share_high) = map(
        reached, (line.score, line.ceiling, line.reached)
    )
    # both fall together where the resampled galaxies span less redshift: narrower than the quotient by a constant
    assert share_high - share_low < (high - low) / ceiling
    assert share_low < score / ceiling < share_high


def test_errors_that_exceed_the_scatter_leave_no_share(make_store: Callable[..., Any]) -> None:
    maker = make_store()
    maker.add_model("Model", 0.05, label_error=0.3, tasks=["redshift"])
    (line,) = panels(maker)["redshift: z"].lines
    assert line.ceiling.startswith("−")
    assert line.reached == "–"
    assert not line.is_beyond


def test_the_page_has_the_panel_only_where_labels_have_errors(noisy_page: Path, small_page: Path) -> None:
    html = noisy_page.read_text()
    assert 'id="part-1-ceilings"' in html
    assert 'href="#part-1-ceilings"' in html
    assert html.count("<strong>beyond</strong>") == 5
    assert "ceilings" not in small_page.read_text()


def test_predictions_that_are_gone_leave_a_stated_gap(noisy_maker: Any, tmp_path: Path) -> None:
    store = Store(Path(shutil.copytree(noisy_maker.store.folder, tmp_path / "store")))
    next(store.path("outputs", "").glob("predict-knows-supervised*")).unlink()
    (part,) = read_contents(store.folder).parts
    found, gaps = ceiling_panels(part, store)
    assert [(gap.model, gap.probe) for gap in gaps] == [("Knows", "supervised")] * 2
    assert "is missing or was altered" in gaps[0].reason
    assert [line.model for line in found[0].lines] == ["Learned", "Blurred"]

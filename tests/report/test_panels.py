"""Panels: what the page says about calibration, and by which score models are ordered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmark.report import plots
from benchmark.report.contents import Part, read_contents
from benchmark.report.panels import Calibration, calibration_panels, redshift_panels


@pytest.mark.parametrize(
    ("claimed", "said"),
    [
        (1.0, "No test rejects calibration; with n = 120"),
        (0.4, "they are too narrow"),
        (2.5, "they are too wide"),
    ],
)
def test_the_verdict_tells_calibrated_posteriors_from_a_wrong_width(
    make_store: Callable[..., Any], claimed: float, said: str
) -> None:
    maker = make_store()
    maker.add_model("Model", claimed=claimed, tasks=["posterior"])
    (part,) = read_contents(maker.store.folder).parts
    (panel,) = calibration_panels(part, maker.store)
    assert isinstance(panel, Calibration)
    assert said in panel.verdict
    assert ("Signs of miscalibration" in panel.verdict) == (claimed != 1.0)


def test_a_posterior_has_a_picture_of_every_statistic_and_none_of_what_its_record_lacks(
    make_store: Callable[..., Any],
) -> None:
    maker = make_store()
    maker.add_model("Model", tasks=["posterior"], n_validation=60)
    part = read_contents(maker.store.folder).parts[0]
    (panel,) = calibration_panels(part, maker.store)
    assert isinstance(panel, Calibration)
    coverage, histograms, ranks, in_bins = (picture.alt for picture in panel.pictures)
    assert "Expected coverage against credibility" in coverage
    assert "Histograms of the PIT" in histograms
    assert "joint density (HPD), p-value" in ranks
    for words in ("z at", "log10_mstar at", "joint at", "68 % width", "conformal width", "CRPS", "energy score"):
        assert words in in_bins
    assert in_bins.count("density loss") == 4  # one a bin
    assert {name for name, _ in panel.tests} >= {"hpd_ks", "nll_mixture", "nll_stacked", "cde_loss", "energy_score"}
    (record,) = part.of_task("posterior")
    for name in ("scores_in_bins", "hpd_p"):
        del record["details"][name]
    (older,) = calibration_panels(part, maker.store)
    assert isinstance(older, Calibration)
    assert len(older.pictures) == 3
    assert "HPD" not in older.pictures[2].alt


def test_panels_stand_in_the_order_of_the_table(make_store: Callable[..., Any]) -> None:
    maker = make_store()
    for name, scatter in (("a", 0.2), ("b", 0.02), ("c", 0.1)):
        maker.add_model(name, scatter, tasks=["redshift"])
    (part,) = read_contents(maker.store.folder).parts
    assert [panel.model for panel in redshift_panels(part, maker.store)] == ["b", "c", "a"]


def test_bins_outside_of_the_band_are_counted() -> None:
    n_bins, _, _ = plots.pit_band(400)
    even = (np.arange(400) + 0.5) / 400
    assert plots.pit_bins_outside(np.column_stack([even, even])) == (0, 2 * n_bins)
    assert plots.pit_bins_outside(np.full((400, 1), 0.51)) == (n_bins, n_bins)


def test_one_target_leads_a_task_where_there_is_no_mean_over_several() -> None:
    def row(target: str, ranked: bool) -> dict[str, Any]:
        return {"task": "properties", "metric": "r2", "target": target, "ranked": ranked}

    rows = (row("beside", False), row("oh_p50", True))
    assert Part("s", "smoke", "default", rows, ()).headline("properties") == ("r2", "oh_p50")
    rows = (*rows, row("mean", True))
    assert Part("s", "smoke", "default", rows, ()).headline("properties") == ("r2", "mean")
    assert Part("s", "smoke", "default", (), ()).headline("properties") == ("r2", "mean")

"""Training curves and collapsed encoders on the page."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from tiny_survey import PLUGINS

from benchmark import evaluate
from benchmark.config import RunConfig
from benchmark.data import Survey
from benchmark.registry import MODELS, load_plugin
from benchmark.report import write_page
from benchmark.store import load_records

PLUGIN = PLUGINS / "trained_models.py"


@pytest.fixture(scope="module")
def trained_store(tiny: Survey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an encoder that is sound, one that has collapsed, and one that is not trained; not to be changed."""
    out = tmp_path_factory.mktemp("trained") / "out"
    before = {card.name: card for card in MODELS}
    load_plugin(PLUGIN)
    try:
        config = RunConfig(preset="smoke")
        evaluate(["Trained", "Flat", "Constant"], tiny.folder, tasks=["redshift"], config=config, out=out)
    finally:
        MODELS._entries = before
        del sys.modules[PLUGIN.stem]
    return out


def page(out: Path, folder: Path) -> str:
    write_page(out, folder / "page.html")
    return " ".join((folder / "page.html").read_text().split())


def test_the_page_shows_how_encoders_were_trained(trained_store: Path, tmp_path: Path) -> None:
    html = page(trained_store, tmp_path)
    alts = re.findall(r'alt="(Training of [^"]*)"', html)
    assert [alt.split(",")[0] for alt in alts] == ["Training of Flat", "Training of Trained"]
    assert all("60 steps: at the end loss " in alt and "effective_rank " in alt for alt in alts)
    assert "60 steps of 16 galaxies, 24 parameters in float32, " in html
    assert "the loss has levelled off under its schedule." in html
    assert 'href="#part-1-training"' in html


def test_the_page_flags_a_collapsed_encoder_and_no_other(trained_store: Path, tmp_path: Path) -> None:
    flagged = re.findall(r"<strong>(\w+)</strong> has collapsed: ([^.<]*)", page(trained_store, tmp_path))
    assert [model for model, _ in flagged] == ["Flat"]
    assert flagged[0][1].startswith("all galaxies have nearly the same embedding")


def test_a_training_that_has_not_levelled_off_and_a_curve_that_is_gone_are_said(
    trained_store: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(trained_store, tmp_path / "out"))
    for record in load_records(out, "train"):
        if record["model"]["name"] == "Flat":
            (out / record["artefacts"][1]["path"]).unlink()
        else:
            record["details"]["training"]["converged"] = False
            (out / "records" / f"{record['name']}.json").write_text(json.dumps(record))
    html = page(out, tmp_path)
    assert "the loss has not been shown to have levelled off: a longer training may give better scores." in html
    assert re.search(r"<strong>Flat</strong> · training: not shown: [^<]*is missing or was altered", html)


def test_a_store_without_trained_encoders_has_no_such_section(small_store: Path, tmp_path: Path) -> None:
    assert "How the encoders were trained" not in page(small_store, tmp_path)

"""What a description says of the errors of labels, and errors that cannot be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark.artefacts import Predictions
from benchmark.contracts import Finding, Target
from benchmark.data import Survey, SurveyInfo, check_survey, describe, describe_text, write_survey
from benchmark.data.label_noise import label_noise
from benchmark.tasks import properties

N, N_DRAWS, ERROR, SPREAD = 1500, 40, 0.2, 0.5
CODES = (
    *("label_error_missing", "label_error_large", "label_error_scatter"),
    *("label_draws_equal", "label_draws_beyond"),
)


def table() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    made = pd.DataFrame({"target_id": np.arange(N), "kind": rng.normal(size=N)})
    for name in ("mass", "age"):
        made[name] = rng.normal(10, SPREAD, N)
    made["mass_err"] = np.exp(rng.normal(np.log(ERROR), 0.1, N))
    return made


def draws_of(made: pd.DataFrame, about: np.ndarray | None = None) -> np.ndarray:
    """Draws about labels that are themselves one draw of many, as of a fit."""
    rng = np.random.default_rng(4)
    centre = made["age"].to_numpy() if about is None else about
    return (centre[:, None] + rng.normal(0, ERROR, (N, N_DRAWS)))[:, :, None].astype(np.float32)


def written(folder: Path, made: pd.DataFrame, draws: np.ndarray) -> Survey:
    info = SurveyInfo(
        "n", "1", tuple(map(Target, ("mass", "age", "kind"))), label_errors=("mass",), label_draws=("age",)
    )
    return write_survey(folder / "s", info, made, label_draws=draws)


def about_labels(survey: Survey) -> dict[str, Finding]:
    return {finding.code: finding for finding in check_survey(survey) if finding.code.startswith("label_")}


def test_a_description_tells_errors_their_share_of_the_scatter_and_the_ceiling(tmp_path: Path) -> None:
    made = table()
    made.loc[:2, "mass_err"] = np.nan
    survey = written(tmp_path, made, draws_of(made))
    it = describe(survey, [])
    noise = {target["name"]: target["label_noise"] for target in it["targets"]}
    assert noise["kind"] is None
    known = made["mass_err"].notna()
    mass = noise["mass"]
    assert (mass["source"], mass["n_draws"], mass["n"], mass["n_missing"]) == ("errors", 0, N - 3, 3)
    assert mass["median_error"] == pytest.approx(made["mass_err"].median())
    assert mass["scatter"] == pytest.approx(made.loc[known, "mass"].std(ddof=0))
    age = noise["age"]
    assert (age["source"], age["n_draws"], age["n"], age["n_missing"]) == ("draws", N_DRAWS, N, 0)
    assert age["median_error"] == pytest.approx(ERROR, rel=0.03)  # of 1,500 galaxies with 40 draws each
    assert age["r2_ceiling"] == pytest.approx(1 - ERROR**2 / SPREAD**2, abs=0.03)  # 300 test labels
    text = describe_text(it)
    assert f"errors of the labels: median error {mass['median_error']:.4g}" in text
    assert f"{N_DRAWS} draws of a label: median error" in text
    assert "; 3 without" in text
    assert text.count("R2 of test galaxies at most") == 2


def test_the_ceiling_is_that_of_the_board(tmp_path: Path) -> None:
    made = table()
    survey = written(tmp_path, made, draws_of(made))
    rows = survey.rows("test")
    names = ["mass", "age"]
    noise = label_noise(survey, names, rows)
    assert noise is not None
    label = survey.target(names, rows)
    evidence = Predictions(
        survey.target_id[rows], names, label, label, label_error=noise.error, resampled=noise.resampled
    )
    scores, _ = properties.score(evidence, label, ranked=("mass",), seed=1, n_resamples=20)
    board = {score.target: score.value for score in scores if score.metric == "r2_ceiling"}
    described = {target["name"]: target["label_noise"] for target in describe(survey, [])["targets"]}
    for name in names:
        assert described[name]["r2_ceiling"] == pytest.approx(board[name], rel=1e-12)


def test_errors_and_draws_that_are_right_have_no_finding(tmp_path: Path) -> None:
    made = table()
    assert about_labels(written(tmp_path, made, draws_of(made))) == {}
    # nor have labels that are the truth, which lies beyond 40 draws of it for one galaxy in twenty
    truth = made["age"].to_numpy()
    beside = truth + np.random.default_rng(5).normal(0, ERROR, N)
    assert about_labels(written(tmp_path / "t", made, draws_of(made, beside))) == {}


def planted(made: pd.DataFrame, draws: np.ndarray, what: str) -> np.ndarray:
    if what == "label_error_missing":
        made.loc[:999, "mass_err"] = np.nan
    elif what == "label_error_large":
        made.loc[[3, 5], "mass_err"] = 50.0
    elif what == "label_error_scatter":
        made["mass_err"] *= 10
    elif what == "label_draws_equal":
        draws[[1, 2, 4]] = draws[[1, 2, 4], :1]
    else:
        draws = np.roll(draws, 1, axis=0)  # of the neighbour in the file
    return draws


@pytest.mark.parametrize(("code", "n"), list(zip(CODES, (1000, 2, N, 3, None), strict=True)))
def test_what_cannot_be_right_is_found_and_counted(tmp_path: Path, code: str, n: int | None) -> None:
    made = table()
    draws = planted(made, draws_of(made), code)
    findings = about_labels(written(tmp_path, made, draws))
    # draws of another galaxy also make errors larger than the scatter
    assert set(findings) - {code} <= ({"label_error_scatter"} if code == "label_draws_beyond" else set())
    assert findings[code].level == "warning"
    assert f"``{code}``" in (check_survey.__doc__ or "")
    assert findings[code].n == n if n else findings[code].n > N / 5


def test_a_few_labels_without_errors_are_for_the_record_and_said_once(tmp_path: Path) -> None:
    made = table()
    made.loc[:4, "mass_err"] = np.nan
    findings = [finding for finding in check_survey(written(tmp_path, made, draws_of(made))) if finding.n == 5]
    assert [(finding.level, finding.code) for finding in findings] == [("info", "label_error_missing")]


def test_a_target_none_of_whose_labels_has_an_error_is_said_to_have_none(tmp_path: Path) -> None:
    made: Any = table()
    made["mass_err"] = np.nan
    survey = written(tmp_path, made, draws_of(made))
    it = describe(survey)
    assert it["targets"][0]["label_noise"]["median_error"] is None
    assert "errors of the labels: none known" in describe_text(it)
    assert "label_error_missing" in {finding["code"] for finding in it["findings"]}

"""Morphology: shares of votes by hand, who is judged, floors, ceilings, and the way through plan and runner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark import evaluate
from benchmark.artefacts import Predictions
from benchmark.config import RunConfig
from benchmark.contracts import Score, Target
from benchmark.data import Survey, SurveyInfo, write_survey
from benchmark.data.votes import vote_shares
from benchmark.evaluation import survey_facts
from benchmark.plan import plan_models
from benchmark.registry import HEADS, MODELS, TASKS
from benchmark.tasks.morphology import noise_ceiling, score

VOTES = {"smooth-or-featured": ("smooth", "featured", "artifact"), "edge-on": ("yes", "no"), "bar": ("yes", "no")}


def write_votes(folder: Path, table: pd.DataFrame, votes: dict[str, tuple[str, ...]] = VOTES) -> Survey:
    info = SurveyInfo("voted", "1", (Target("z"),), photometry_bands=("g", "r", "z"), votes=votes)
    for name in ("mag_g", "mag_r", "mag_z", "z"):
        table[name] = table.get(name, 0.5)
    return write_survey(folder, info, table)


def tree(n: int, seed: int = 5) -> pd.DataFrame:
    """Blue galaxies are featured, and the fainter the rounder: votes follow the magnitudes."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"target_id": np.arange(n) + 10**12})
    colour = rng.normal(0, 1, n)
    table["mag_r"] = rng.normal(19, 0.5, n)
    table["mag_g"], table["mag_z"] = table["mag_r"] + 1 + colour, table["mag_r"] - 0.5
    table["z"] = rng.uniform(0.1, 0.5, n)
    total = np.where(rng.random(n) < 0.9, 40, 8)
    featured = rng.binomial(total, 1 / (1 + np.exp(2 * colour)))
    table["smooth-or-featured_featured"], table["smooth-or-featured_smooth"] = featured, total - featured
    table["smooth-or-featured_artifact"], table["smooth-or-featured_total"] = 0, total
    for question, chance in (("edge-on", 0.1), ("bar", 0.4)):
        yes = rng.binomial(featured, chance)
        table[f"{question}_yes"], table[f"{question}_no"], table[f"{question}_total"] = yes, featured - yes, featured
    return table


@pytest.fixture(scope="module")
def voted(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return write_votes(tmp_path_factory.mktemp("voted") / "survey", tree(1500))


def test_shares_of_a_worked_example(tmp_path: Path) -> None:
    table = pd.DataFrame({"target_id": [1, 2, 3, 4], "split": ["train", "validation", "test", "test"]})
    rows = {
        "smooth-or-featured": [(6, 4, 0), (7, 2, 1), (1, 1, 0), (0, 4, 0)],
        "edge-on": [(1, 4), (2, 0), (1, 0), (3, 1)],  # 5 of 10 were asked, 2 of 10, 1 of 2, 4 of 4
    }
    votes = {question: VOTES[question] for question in rows}
    for question, counts in rows.items():
        for number, answer in enumerate(VOTES[question]):
            table[f"{question}_{answer}"] = [count[number] for count in counts]
        table[f"{question}_total"] = [sum(count) for count in counts]
    survey = write_votes(tmp_path / "one", table, votes)
    found = vote_shares(survey, np.arange(4))
    nan = np.nan
    expected = [[0.6, 0.4, 0, 0.2, 0.8], [0.7, 0.2, 0.1, nan, nan], [nan] * 5, [0, 1, 0, 0.75, 0.25]]
    np.testing.assert_allclose(found.share, expected, atol=1e-12)
    assert found.names[3:] == ("edge-on_yes", "edge-on_no")
    assert found.asked["edge-on"].tolist() == [5, 2, 1, 4]
    assert found.debiased == ()
    turned = dict(reversed(votes.items()))
    other_order = vote_shares(write_votes(tmp_path / "turned", table, turned), np.arange(4), found.names)
    np.testing.assert_array_equal(other_order.share, found.share)
    some = vote_shares(survey, np.array([3, 0]), ["edge-on_no", "smooth-or-featured_smooth"])
    np.testing.assert_allclose(some.share, [[0.25, 0], [0.8, 0.6]], atol=1e-12)
    table["edge-on_yes_debiased"], table["edge-on_no_debiased"] = 0.3, 0.7
    debiased = vote_shares(write_votes(tmp_path / "two", table, votes), np.arange(4))
    assert debiased.debiased == ("edge-on",)
    np.testing.assert_allclose(debiased.share[0], [0.6, 0.4, 0, 0.3, 0.7], atol=1e-12)


def evidence(n: int = 800, right: float = 1.0, seed: int = 0, few: float = 0.0) -> Predictions:
    """Two questions, of which the second is put to half; a share ``few`` of galaxies has 34 volunteers."""
    rng = np.random.default_rng(seed)
    share = np.hstack([rng.dirichlet((4, 2, 0.5), n), rng.dirichlet((1, 2), n)])
    half = rng.random(n) < 0.5
    truth = share.copy()
    truth[~half, 3:] = np.nan
    total = np.where(rng.random(n) < few, 34, 35)
    other = np.hstack([rng.permutation(share[:, :3]), rng.permutation(share[:, 3:])])
    prediction = np.where(rng.random((n, 1)) < right, share, other)
    asked = {"smooth-or-featured": total, "edge-on": np.where(half, total // 2 + 1, 0)}
    names = [f"{question}_{answer}" for question in asked for answer in VOTES[question]]
    return Predictions(np.arange(n), names, truth, prediction, asked)


def judged(made: Predictions, training: np.ndarray | None = None) -> tuple[dict[tuple[str, str], Score], dict]:
    ranked = tuple(made.asked)
    scores, details = score(made, made.truth if training is None else training, ranked=ranked, seed=0, n_resamples=500)
    return {(one.metric, one.target): one for one in scores}, details["questions"]


def test_perfect_shares_give_perfect_scores_and_permuted_ones_those_of_chance() -> None:
    scores, details = judged(evidence())
    assert {target for _, target in scores} == {"smooth-or-featured", "edge-on", "mean"}
    assert {one.value for one in scores.values()} == {1.0}
    assert not any(entry["constant"] for entry in details.values())
    scores, details = judged(evidence(3000, right=0.0))
    for question in ("smooth-or-featured", "edge-on"):
        chance = sum(p**2 for p in details[question]["prevalence"].values())
        # 4 standard errors of a share of 1500 galaxies
        assert scores["accuracy", question].value == pytest.approx(chance, abs=0.05)


def test_a_constant_prediction_reaches_the_floor_and_is_named_constant() -> None:
    made = evidence()
    constant = replace(made, prediction=np.tile(np.nanmean(made.truth, axis=0), (800, 1)))
    scores, details = judged(constant)
    for (metric, target), one in scores.items():
        assert one.value == one.floor, (metric, target)
    assert all(entry["constant"] for entry in details.values())
    p = max(details["edge-on"]["prevalence"].values())
    assert scores["accuracy", "edge-on"].value == pytest.approx(p, abs=1e-4)  # details have 4 digits
    assert scores["f1_weighted", "edge-on"].value == pytest.approx(2 * p**2 / (1 + p), abs=1e-3)
    assert scores["balanced_accuracy", "edge-on"].value == 0.5
    mean = np.mean([scores["accuracy", question].value for question in made.asked])
    assert scores["accuracy", "mean"].value == pytest.approx(mean)


def test_the_floor_knows_the_training_galaxies_alone() -> None:
    made = evidence()
    training = made.truth.copy()
    training[:, 3:] = training[:, 4:2:-1]  # most training galaxies say yes, most test galaxies no
    scores, details = judged(made, training)
    assert scores["accuracy", "edge-on"].floor == pytest.approx(details["edge-on"]["prevalence"]["yes"], abs=1e-4)


def test_galaxies_with_34_volunteers_and_questions_with_99_galaxies_are_not_judged() -> None:
    made = evidence(few=0.3)
    _, details = judged(made)
    many = made.asked["smooth-or-featured"] > 34
    assert details["smooth-or-featured"]["n"] == many.sum()
    assert details["edge-on"]["n"] == (many & np.isfinite(made.truth[:, 3])).sum()
    truth = made.truth.copy()
    known = np.flatnonzero(many & np.isfinite(truth[:, 3]))
    truth[known[99:], 3:] = np.nan
    scores, details = judged(replace(made, truth=truth), made.truth)
    assert details["edge-on"] == {"answers": ["yes", "no"], "n": 99, "status": "insufficient"}
    assert {target for _, target in scores} == {"smooth-or-featured"}  # a mean needs two
    truth[known[99], 3:] = made.truth[known[99], 3:]
    assert judged(replace(made, truth=truth), made.truth)[1]["edge-on"]["status"] == "scored"
    nobody = replace(made, truth=np.full_like(truth, np.nan))
    assert judged(nobody, made.truth)[0] == {}


@pytest.mark.parametrize("n_votes", [8, 40])
def test_the_ceiling_is_the_accuracy_of_the_true_shares(n_votes: int) -> None:
    rng = np.random.default_rng(2)
    true = rng.dirichlet((1.5, 1.0, 0.5), 4000)
    votes = rng.multinomial(n_votes, true)
    accuracy = (votes.argmax(axis=1) == true.argmax(axis=1)).mean()
    ceiling = noise_ceiling(votes / n_votes, np.full(4000, n_votes), seed=0)
    assert ceiling == pytest.approx(accuracy, abs=0.02)  # 3 standard errors of the accuracy
    assert noise_ceiling(true, np.full(4000, 1_000_000), seed=0) > 0.99  # endless votes leave near ties


def test_a_run_learns_votes_in_cells_of_their_own_and_leaves_the_others_alone(voted: Survey, tmp_path: Path) -> None:
    facts = survey_facts(voted)
    models = [MODELS[name] for name in ("PhotometryMLP", "Constant")]
    config = RunConfig(preset="smoke")
    points = [task for task in TASKS if task.name != "morphology"]
    with_votes = {cell.name for cell in plan_models(facts, models, list(TASKS), list(HEADS), config).cells}
    assert {cell.name for cell in plan_models(facts, models, points, list(HEADS), config).cells} < with_votes
    without = plan_models(replace(facts, votes={}), models, list(TASKS), list(HEADS), config)
    assert {cell.name for cell in without.cells} < with_votes
    absent = {(entry.model, entry.task): entry.reason for entry in without.not_applicable}
    assert absent["Constant", "morphology"] == "survey 'voted' has no votes of volunteers"

    records = evaluate(
        ["PhotometryMLP", "Constant"], voted.folder, tasks=["morphology"], config=config, out=tmp_path / "out"
    )
    assert [record["reason"] for record in records] == ["", ""]
    by_model = {record["model"]["name"]: record for record in records}
    found = {
        name: {(one["metric"], one["target"]): one for one in record["scores"]} for name, record in by_model.items()
    }
    question = "smooth-or-featured"
    assert found["Constant"]["accuracy", question]["value"] == found["Constant"]["accuracy", question]["floor"]
    mlp = found["PhotometryMLP"]["accuracy", question]
    assert mlp["floor"] + 0.1 < mlp["value"] < 1
    details = by_model["PhotometryMLP"]["details"]
    # a model of votes that follow the magnitudes stays below what vote noise allows, within 3 standard errors
    assert mlp["value"] <= details["questions"][question]["ceiling_accuracy"] + 0.05
    assert details["debiased"] == []
    assert by_model["Constant"]["details"]["questions"][question]["constant"]
    test = voted.rows("test")
    many = voted.catalogue["smooth-or-featured_total"].to_numpy()[test] > 34
    assert mlp["n"] == many.sum()


def test_answers_that_no_training_galaxy_has_are_left_out(tmp_path: Path) -> None:
    table = tree(1000)
    for name in ("bar_yes", "bar_no", "bar_total"):
        table[name] = 0
    survey = write_votes(tmp_path / "survey", table)
    records = evaluate(
        "Constant", survey.folder, tasks=["morphology"], config=RunConfig(preset="smoke"), out=tmp_path / "out"
    )
    assert records[0]["reason"] == ""
    assert records[0]["details"]["questions"]["bar"] == {"answers": [], "n": 0, "status": "insufficient"}

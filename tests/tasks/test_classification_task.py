"""Classification: scores against scikit-learn, floors and limits, and the way through spec, plan, probes and files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from benchmark import evaluate, metrics
from benchmark.artefacts import Predictions
from benchmark.config import RunConfig
from benchmark.contracts import GalaxybenchError, Score, Target
from benchmark.data import Survey, SurveyInfo, import_survey, load_survey, write_survey
from benchmark.data.infofile import parse_target
from benchmark.evaluation import Execution, execute, plan_foreign, survey_facts
from benchmark.facts import class_columns
from benchmark.metrics.probabilities import bind_roc_auc
from benchmark.plan import plan_models
from benchmark.registry import HEADS, MODELS, TASKS
from benchmark.report import write_page
from benchmark.store import Store, load_records
from benchmark.tasks.classification import score
from posteriors.resampling.bootstrap import bootstrap_ci, shared_intervals

RING = Target("ring", joint=False, low=0, high=1, classes=("no ring", "ring"))
KIND = Target("kind", joint=False, low=0, high=2, classes=("spiral", "elliptical", "irregular"))


def evidence(n: int = 400, targets: tuple[Target, ...] = (RING,), sharp: float = 2.0, seed: int = 0) -> Predictions:
    """Galaxies whose classes are drawn with the probabilities that are predicted."""
    rng = np.random.default_rng(seed)
    probability, truth = [], []
    for target in targets:
        logits = sharp * rng.normal(size=(n, len(target.classes)))
        share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        drawn = (share.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
        probability.append(share)
        truth.append(np.eye(len(target.classes))[drawn])
    names = [name for target in targets for name in class_columns(target)]
    return Predictions(np.arange(n), names, np.hstack(truth), np.hstack(probability))


def judged(
    made: Predictions, training: np.ndarray | None = None, ranked: tuple[str, ...] = ("ring", "kind")
) -> tuple[dict[tuple[str, str], Score], dict]:
    training = made.truth if training is None else training
    scores, details = score(made, training, ranked=ranked, seed=0, n_resamples=500)
    return {(one.metric, one.target): one for one in scores}, details["targets"]


def test_two_classes_equal_scikit_learn_and_stand_inside_their_intervals() -> None:
    made = evidence()
    rounded = replace(made, prediction=made.prediction.round(1))  # ties
    scores, details = judged(rounded)
    truth, found = rounded.truth[:, 1], rounded.prediction[:, 1]
    assert scores["roc_auc", "ring"].value == pytest.approx(roc_auc_score(truth, found), abs=1e-12)
    assert scores["brier", "ring"].value == pytest.approx(brier_score_loss(truth, found), abs=1e-12)
    assert metrics.roc_auc(truth, found) == pytest.approx(scores["roc_auc", "ring"].value, abs=1e-12)
    assert metrics.brier(rounded.truth, rounded.prediction) == pytest.approx(scores["brier", "ring"].value)
    assert scores["accuracy", "ring"].value == np.mean((found > 0.5) == truth)
    for one in scores.values():
        assert one.n == 400
        assert one.ci_low < one.value < one.ci_high
    assert details["ring"]["status"] == "scored"
    assert not details["ring"]["constant"]


def test_more_classes_are_averaged_each_against_the_rest_and_targets_are_averaged_equally() -> None:
    made = evidence(targets=(RING, KIND))
    scores, details = judged(made)
    truth, found = made.truth[:, 2:], made.prediction[:, 2:]
    expected = roc_auc_score(truth.argmax(axis=1), found, multi_class="ovr", average="macro")
    assert scores["roc_auc", "kind"].value == pytest.approx(expected, abs=1e-12)
    assert scores["brier", "kind"].value == pytest.approx(0.5 * ((truth - found) ** 2).sum(axis=1).mean())
    for metric in ("roc_auc", "brier", "balanced_accuracy"):
        both = [scores[metric, name].value for name in ("ring", "kind")]
        assert scores[metric, "mean"].value == pytest.approx(np.mean(both))
    assert {target for _, target in scores} == {"ring", "kind", "mean"}
    assert sum(details["kind"]["prevalence"].values()) == pytest.approx(1, abs=2e-4)  # four decimals each
    assert ("roc_auc", "mean") not in judged(made, ranked=("ring",))[0]


@pytest.mark.parametrize(("power", "sign", "said"), [(1.0, 0, False), (2.5, 1, True), (0.4, -1, True)])
def test_calibration_tells_over_and_under_confidence_from_calibrated_probabilities(
    power: float, sign: int, said: bool
) -> None:
    made = evidence(500, targets=(RING, KIND), seed=1)
    sharpened = [made.prediction[:, columns] ** power for columns in (slice(0, 2), slice(2, 5))]
    claimed = np.hstack([part / part.sum(axis=1, keepdims=True) for part in sharpened])
    scores, details = judged(replace(made, prediction=claimed))
    for name in ("ring", "kind"):
        found = details[name]["calibration"]
        assert (found["p"] < 0.05) == said
        excess, reliability = scores["brier_excess", name], scores["reliability", name]
        assert (np.sign(excess.ci_low) + np.sign(excess.ci_high)) / 2 == sign
        assert reliability.ci_low < reliability.value < reliability.ci_high
        assert (reliability.ci_low > 0) == said
        assert found["reliability"] == pytest.approx(reliability.value, abs=1e-6)
        terms = found["reliability"] - found["resolution"] + found["uncertainty"] + found["within"]
        assert terms == pytest.approx(scores["brier", name].value, abs=3e-6)  # six decimals each
    assert list(details["ring"]["calibration"]["curve"]) == ["ring"]
    assert list(details["kind"]["calibration"]["curve"]) == ["spiral", "elliptical", "irregular"]
    for metric in ("brier_excess", "reliability"):
        both = [scores[metric, name].value for name in ("ring", "kind")]
        assert scores[metric, "mean"].value == pytest.approx(np.mean(both))


def test_galaxies_without_a_class_do_not_enter_the_calibration() -> None:
    made = evidence(300)
    truth = made.truth.copy()
    truth[200:] = np.nan
    first = Predictions(made.target_id[:200], made.names, made.truth[:200], made.prediction[:200])
    some, all_known = judged(replace(made, truth=truth)), judged(first)
    for metric in ("brier_excess", "reliability"):
        assert some[0][metric, "ring"].value == pytest.approx(all_known[0][metric, "ring"].value, abs=1e-12)
    assert some[1]["ring"]["calibration"] == all_known[1]["ring"]["calibration"]


def test_the_interval_of_the_roc_area_is_that_of_a_bootstrap_that_sorts_every_resample() -> None:
    made = evidence(150, sharp=1.0)
    truth, found = made.truth[:, 1], made.prediction[:, 1]
    bound = {"auc": bind_roc_auc(truth, found, np.ones(150, dtype=bool))}
    fast = shared_intervals(bound, n=150, n_resamples=4000, seed=1)["auc"]
    slow = bootstrap_ci(metrics.roc_auc, truth, found, n_resamples=1000, seed=1)
    width = slow.high - slow.low
    # quantiles of 1,000 replicates are known to 4 % of the width, the term left out is of the order of 1 / n
    assert abs(fast.low - slow.low) < 0.1 * width
    assert abs(fast.high - slow.high) < 0.1 * width


def test_perfect_probabilities_reach_the_best_scores_and_permuted_ones_those_of_chance() -> None:
    made = evidence(targets=(RING, KIND))
    perfect, _ = judged(replace(made, prediction=made.truth))
    for metric, best in (("roc_auc", 1), ("accuracy", 1), ("f1_weighted", 1), ("balanced_accuracy", 1), ("brier", 0)):
        assert perfect[metric, "mean"].value == pytest.approx(best, abs=1e-12)
    permuted, _ = judged(replace(made, prediction=made.prediction[::-1]))
    for name in ("ring", "kind"):
        assert permuted["roc_auc", name].ci_low < 0.5 < permuted["roc_auc", name].ci_high
        assert permuted["brier", name].ci_low > permuted["brier", name].floor


def test_shares_of_the_training_set_reach_the_floor_and_are_named_constant() -> None:
    made = evidence()
    training = evidence(seed=1).truth
    constant = replace(made, prediction=np.tile(training.mean(axis=0), (400, 1)))
    scores, details = judged(constant, training)
    assert details["ring"]["constant"]
    for one in scores.values():
        assert one.value == pytest.approx(one.floor, abs=1e-12)
    assert scores["roc_auc", "ring"].value == 0.5
    assert scores["balanced_accuracy", "ring"].value == 0.5


def test_the_true_probabilities_have_the_lowest_brier_score() -> None:
    made = evidence(4000)
    honest = judged(made)[0]["brier", "ring"].value
    for power in (0.5, 2.0):  # too timid, too sure; the same order of galaxies
        bent = made.prediction**power
        bent /= bent.sum(axis=1, keepdims=True)
        scores, _ = judged(replace(made, prediction=bent))
        assert scores["brier", "ring"].value > honest + 0.002
        assert scores["roc_auc", "ring"].value == pytest.approx(judged(made)[0]["roc_auc", "ring"].value, abs=1e-12)


def test_galaxies_without_a_class_are_left_out_and_rare_classes_are_not_judged() -> None:
    made = evidence(targets=(RING, KIND))
    truth = made.truth.copy()
    truth[:100, :2] = np.nan
    scores, _ = judged(replace(made, truth=truth))
    alone, _ = judged(Predictions(made.target_id[100:], made.names, made.truth[100:], made.prediction[100:]))
    assert scores["roc_auc", "ring"].n == 300
    assert scores["roc_auc", "ring"].value == pytest.approx(alone["roc_auc", "ring"].value)
    truth[:, :2] = (1, 0)
    truth[:4, :2] = (0, 1)
    scores, details = judged(replace(made, truth=truth))
    assert details["ring"]["status"] == "insufficient"
    assert {target for _, target in scores} == {"kind"}
    with pytest.raises(GalaxybenchError, match="ring: 400 test galaxies: at least 20 test galaxies with 5 in each"):
        judged(replace(made, truth=truth).select(class_columns(RING)))


@pytest.mark.parametrize("bad", [(0.9, 0.3), (1.2, -0.2), (0.0, 0.0)])
def test_predictions_that_are_no_probabilities_are_refused(bad: tuple[float, float]) -> None:
    made = evidence()
    prediction = made.prediction.copy()
    prediction[7] = bad
    with pytest.raises(GalaxybenchError, match=r"probabilities of 'ring' for target_id 7 .* sum to 1"):
        judged(replace(made, prediction=prediction))


def catalogue(n: int = 900) -> pd.DataFrame:
    """Red galaxies are the more often elliptical; one in ten has no class."""
    rng = np.random.default_rng(8)
    table = pd.DataFrame({"target_id": np.arange(n) + 10**15})
    colour = rng.normal(0, 1, n)
    table["mag_r"] = rng.normal(19, 0.5, n)
    table["mag_g"], table["mag_z"] = table["mag_r"] + 1 + 0.3 * colour, table["mag_r"] - 0.5
    table["z"] = rng.uniform(0.1, 0.5, n)
    table["early"] = (rng.random(n) < 1 / (1 + np.exp(-2.5 * colour))).astype(float)
    table.loc[rng.random(n) < 0.1, "early"] = np.nan
    return table


EARLY = parse_target({"name": "early", "classes": ["late", "early"]}, "here")


def classed(folder: Path) -> Survey:
    info = SurveyInfo("classed", "1", (Target("z"), EARLY), photometry_bands=("g", "r", "z"))
    return write_survey(folder, info, catalogue())


def test_models_learn_classes_and_classes_stay_out_of_the_other_tasks(tmp_path: Path) -> None:
    survey = classed(tmp_path / "survey")
    names = ("GradientBoosting", "PhotometryMLP", "Constant")
    records = evaluate(names, survey.folder, config=RunConfig(preset="smoke"), out=tmp_path / "out")
    assert {record["status"] for record in records} <= {"done", "skipped"}
    by_model = {r["model"]["name"]: r for r in records if r["task"]["name"] == "classification"}
    assert set(by_model) == set(names)
    for name, record in by_model.items():
        scores = {one["metric"]: one for one in record["scores"]}
        assert record["details"]["targets"]["early"]["constant"] == (name == "Constant")
        assert record["n_labels"] < survey.counts()["train"]  # some have no class
        if name == "Constant":
            assert scores["brier"]["value"] == pytest.approx(scores["brier"]["floor"])
        else:
            # the true probabilities reach .87; trees fitted to 600 galaxies stay behind
            assert scores["roc_auc"]["ci_low"] > 0.7
            assert scores["brier"]["ci_high"] < scores["brier"]["floor"]
    for record in records:
        targets = {one["target"] for one in record["scores"]}
        assert (targets == {"early"}) if record["task"]["name"] == "classification" else ("early" not in targets)
    assert [target.name for target in survey.joint_targets] == ["z"]
    write_page(tmp_path / "out", tmp_path / "page.html")
    page = re.sub(r"<[^>]*>", "", (tmp_path / "page.html").read_text())
    assert "One class for every galaxy, whatever it looks like: Constant · supervised (early)." in page
    verdicts = re.findall(r"(\w+) · supervised [\d,]+ labels · early: (No sign of miscalibration|Not calibrated)", page)
    assert sorted(name for name, _ in verdicts) == ["Constant", "GradientBoosting", "PhotometryMLP"]
    assert ("Constant", "No sign of miscalibration") in verdicts


def test_probes_learn_classes_by_their_own_cells_and_reasons_are_given_where_nothing_applies(tmp_path: Path) -> None:
    facts = survey_facts(classed(tmp_path / "survey"))
    pixels = replace(MODELS["ImagePixels"], modality="photometry")
    numbers = replace(MODELS["GradientBoosting"], name="Numbers", classifies=False)
    plan = plan_models(facts, [pixels, numbers], list(TASKS), list(HEADS), RunConfig())
    cells = [cell for cell in plan.cells if cell.kind == "predict" and cell.settings.get("labels") == "classes"]
    assert sorted(cell.labels["probe"] for cell in cells) == ["knn", "linear", "mlp"]
    assert {tuple(cell.settings["targets"]) for cell in cells} == {("early=late", "early=early")}
    assert {tuple(cell.settings["n_classes"]) for cell in cells} == {(2,)}
    absent = {(entry.model, entry.task): entry.reason for entry in plan.not_applicable}
    assert absent["Numbers", "classification"] == "Numbers predicts numbers, no probabilities of classes"
    without = replace(facts, targets=(Target("z"),))
    absent = {
        entry.task: entry.reason
        for entry in plan_models(without, [numbers], list(TASKS), list(HEADS), RunConfig()).not_applicable
    }
    assert absent["classification"] == "survey 'classed' has no target with classes"


def test_probabilities_made_elsewhere_are_scored_beside_numbers(tmp_path: Path) -> None:
    survey = classed(tmp_path / "survey")
    table = survey.catalogue
    found = pd.DataFrame({"target_id": table["target_id"], "z": table["z"]})
    found["early=early"] = np.where(table["mag_g"] - table["mag_r"] > 1, 0.8, 0.2)
    found["early=late"] = 1 - found["early=early"]
    found.to_csv(tmp_path / "mine.csv", index=False)
    plan = plan_foreign(survey, "mine", "predictions", tmp_path / "mine.csv", RunConfig(preset="smoke"))
    store = Store(tmp_path / "out")
    assert execute(plan, store, survey, Execution()).ok
    records = {record["task"]["name"]: record for record in load_records(store.folder)}
    assert set(records) == {"redshift", "properties", "classification"}
    test = survey.rows("test")
    truth = survey.target(["early"], test)[:, 0]
    known = np.isfinite(truth)
    expected = roc_auc_score(truth[known], found["early=early"].to_numpy()[test][known])
    scores = {one["metric"]: one["value"] for one in records["classification"]["scores"]}
    assert scores["roc_auc"] == pytest.approx(expected, abs=1e-12)
    for columns, message in (
        ({"early": 1.0}, "'early' is no target of survey classed: z, early=late, early=early"),
        ({"early=early": 0.5}, "some classes of 'early' only: give probabilities as early=late, early=early"),
    ):
        found[["target_id"]].assign(**columns).to_csv(tmp_path / "bad.csv", index=False)
        with pytest.raises(GalaxybenchError, match=message):
            plan_foreign(survey, "bad", "predictions", tmp_path / "bad.csv", RunConfig())


def test_classes_survive_the_survey_folder_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    survey = classed(tmp_path / "survey")
    assert load_survey(survey.folder).target_info("early").classes == ("late", "early")
    assert (EARLY.joint, EARLY.low, EARLY.high) == (False, 0.0, 1.0)
    other = replace(survey.info, targets=(Target("z"), replace(EARLY, classes=("early", "late"))))
    assert other.digest != survey.digest  # what a number stands for may move a score
    table = catalogue()
    table.loc[3, "early"] = 0.5
    with pytest.raises(
        GalaxybenchError, match=r"target 'early' is 0\.5 for target_id 1000000000000003 .* its classes are 0"
    ):
        write_survey(tmp_path / "other", replace(survey.info, files={}, counts={}), table)
    for classes in (["one"], ["a", "a"], ["a=b", "c"], [1, 2], ["", "b"]):
        with pytest.raises(GalaxybenchError, match="must be two or more different names"):
            parse_target({"name": "early", "classes": classes}, "here")
        with pytest.raises(GalaxybenchError, match="must be two or more different names"):
            SurveyInfo("other", "1", (Target("early", classes=tuple(classes)),))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("kind", ["names", "numbers", "truth values"])
def test_a_column_of_class_names_or_numbers_is_imported(tmp_path: Path, ending: str, kind: str) -> None:
    n = 40
    number = np.arange(n) % 2
    values: list[object] = {
        "names": [("spiral", " ring ")[i] for i in number],
        "numbers": number.tolist(),
        "truth values": (number == 1).tolist(),
    }[kind]
    if kind != "truth values":
        values[3] = None
    table = pd.DataFrame({"id": np.arange(n), "z": 0.5, "kind": pd.Series(values, dtype=object).convert_dtypes()})
    if ending == "csv":
        table.to_csv(tmp_path / "t.csv", index=False)
    else:
        table.to_parquet(tmp_path / "t.parquet")
    classes = ["False", "True"] if kind == "truth values" else ["spiral", "ring"]
    spec = tmp_path / "spec.toml"
    spec.write_text(
        f'name = "toy"\n[[source]]\npath = "t.{ending}"\nid = "id"\n[source.targets]\nz = "z"\n'
        f'kind = {{column = "kind", classes = {classes}}}\n'.replace("'", '"')
    )
    survey, _ = import_survey(spec, tmp_path / "out", data_dir=tmp_path)
    expected = number.astype(float)
    if kind != "truth values":
        expected[3] = np.nan
    np.testing.assert_array_equal(survey.target(["kind"], survey.rows())[:, 0], expected)
    if kind == "names":
        spec.write_text(spec.read_text().replace('"ring"', '"rings"'))
        with pytest.raises(GalaxybenchError, match=r"column 'kind' has 'ring' .*: classes of 'kind' are spiral, rings"):
            import_survey(spec, tmp_path / "other", data_dir=tmp_path)

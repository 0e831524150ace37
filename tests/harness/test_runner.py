"""One cell at a time: who sees which galaxies, what a record says, and what becomes of a model that fails."""

from __future__ import annotations

import importlib
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_survey import PLUGINS, write_tiny

from benchmark import evaluate, load_records
from benchmark.config import RunConfig
from benchmark.data import Survey
from benchmark.registry import HEADS, load_plugin
from benchmark.store import file_sha256

N = 300
SPLITS = np.array(["train"] * 5 + ["validation", "test", "test", "unlabelled"])
SMOKE = RunConfig(preset="smoke")

pytestmark = pytest.mark.usefixtures("registries")


def numbered_catalogue() -> pd.DataFrame:
    """Galaxy k has the magnitude k, the redshift k / 1000 and a split by the last digits of k."""
    k = np.arange(N)
    table = pd.DataFrame({"target_id": 10**15 + 7919 * ((k * 97) % N), "split": SPLITS[k % len(SPLITS)]})
    table["mag_g"] = table["mag_r"] = table["mag_z"] = k.astype(float)
    table["z"], table["log10_mstar"], table["log10_sfr"] = k / 1000, 9 + (37 * k % 100) / 50, k / 1000
    table.loc[k % 4 == 0, "log10_sfr"] = np.nan
    table.loc[k % 23 == 0, ["z", "log10_mstar"]] = np.nan  # and log10_sfr at every second of them
    return table


@pytest.fixture(scope="session")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """A survey whose galaxies can be told from what a model sees of them."""
    folder = tmp_path_factory.mktemp("numbered") / "survey"
    return write_tiny(folder, numbered_catalogue(), name="numbered", split_rule="by number")


Watch = Callable[..., tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]]


@pytest.fixture
def watch(numbered: Survey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Run models in this process; returns the score records and what the spies wrote down."""
    log = tmp_path / "log"
    monkeypatch.setenv("GALAXYBENCH_TEST_LOG", str(log))
    load_plugin(PLUGINS / "spying_models.py")
    probes = importlib.import_module("spying_probes")
    entries = {head.name: head for head in HEADS}
    monkeypatch.setattr(HEADS, "_entries", entries | {"linear": probes.LINEAR, "flow": probes.FLOW})

    def run(
        models: str | Sequence[str],
        tasks: Sequence[str] | None = None,
        probes: Sequence[str] | None = None,
        config: RunConfig = SMOKE,
        survey: Survey = numbered,
    ) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
        out = tmp_path / "out"
        records = evaluate(models, survey.folder, tasks=tasks, probes=probes, config=config, out=out)
        seen: dict[str, list[dict[str, Any]]] = {}
        for line in log.read_text().splitlines() if log.exists() else ():
            entry = json.loads(line)
            seen.setdefault(entry["what"], []).append(entry)
        return records, seen

    return run


def galaxies(entries: Sequence[dict[str, Any]]) -> set[int]:
    return {number for entry in entries for number in entry["galaxies"]}


def of_split(*splits: str, known: Sequence[str] = ()) -> set[int]:
    """Numbers of the galaxies of some splits, with any of these targets known (all galaxies without one)."""
    table = numbered_catalogue()
    rows = table["split"].isin(splits)
    if known:
        rows &= table[list(known)].notna().any(axis=1)
    return set(table["mag_g"][rows].astype(int))


def score(record: dict[str, Any], metric: str, target: str) -> dict[str, Any]:
    (found,) = [entry for entry in record["scores"] if (entry["metric"], entry["target"]) == (metric, target)]
    return found


def test_a_supervised_model_is_fitted_on_train_chooses_on_validation_and_predicts_test(watch: Watch) -> None:
    records, seen = watch("Spy", ["redshift", "properties"])
    targets = ("z", "log10_mstar", "log10_sfr")
    assert set(seen) == {"fit", "validation", "predict"}
    assert galaxies(seen["fit"]) == of_split("train", known=targets)
    assert galaxies(seen["validation"]) == of_split("validation", known=targets)
    assert galaxies(seen["predict"]) == of_split("test")
    assert [record["status"] for record in records] == ["done", "done"]


def test_a_model_is_shown_the_target_of_the_galaxy_it_is_shown(watch: Watch) -> None:
    records, seen = watch("Spy", ["redshift"])
    for entry in seen["fit"] + seen["validation"]:
        number, z = np.array(entry["galaxies"]), np.array(entry["target"])
        known = np.isfinite(z)
        np.testing.assert_array_equal(z[known], number[known] / 1000)
        assert set(number[~known] % 23) <= {0}
    # float32 carries the galaxy's number exactly, so the spy's redshift is the truth to rounding
    assert score(records[0], "r2", "z")["value"] == pytest.approx(1, abs=1e-12)
    assert score(records[0], "sigma_nmad", "z")["value"] == pytest.approx(0, abs=1e-12)


def test_an_encoder_learns_from_train_and_unlabelled_and_a_probe_from_train(watch: Watch) -> None:
    records, seen = watch("SpyEncoder", ["redshift", "posterior"], ["linear", "flow"])
    targets = ("z", "log10_mstar", "log10_sfr")
    assert galaxies(seen["encoder fit"]) == of_split("train", "unlabelled")
    assert galaxies(seen["embed"]) == of_split("train", "validation", "test")
    assert galaxies(seen["head fit"]) == of_split("train", known=targets)
    assert galaxies(seen["head validation"]) == of_split("validation", known=targets)
    assert galaxies(seen["head predict"]) == of_split("test")
    assert galaxies(seen["posterior fit"]) == of_split("train", known=("z",))  # z and mass are missing together
    assert galaxies(seen["posterior validation"]) == of_split("validation", known=("z",))
    # those of validation galaxies are what draws are recalibrated by
    assert galaxies(seen["posterior draw"]) == of_split("test", known=("z",)) | of_split("validation", known=("z",))
    for entry in seen["head fit"] + seen["posterior fit"]:
        number, z = np.array(entry["galaxies"]), np.array(entry["target"])
        np.testing.assert_array_equal(z[np.isfinite(z)], number[np.isfinite(z)] / 1000)
    assert {record["status"] for record in records} == {"done"}


def test_a_posterior_on_a_supervised_model_is_conditioned_on_an_unfitted_context(watch: Watch) -> None:
    _, seen = watch("Spy", ["posterior"], ["flow"])
    assert "fit" not in seen
    assert galaxies(seen["posterior fit"]) == of_split("train", known=("z",))
    # those of validation galaxies are what draws are recalibrated by
    assert galaxies(seen["posterior draw"]) == of_split("test", known=("z",)) | of_split("validation", known=("z",))


def test_rows_with_missing_targets_are_counted(watch: Watch) -> None:
    records, _ = watch("SpyEncoder", probes=["linear", "flow"])
    by_task = {record["task"]["name"]: record for record in records}
    all_missing = {
        split: len(of_split(split) - of_split(split, known=("z", "log10_sfr"))) for split in ("train", "validation")
    }
    assert all_missing["train"] > 0
    assert by_task["properties"]["n_dropped"] == all_missing | {"test": 0}
    incomplete = {
        split: len(of_split(split) - of_split(split, known=("z",))) for split in ("train", "validation", "test")
    }
    assert min(incomplete.values()) > 0
    assert by_task["posterior"]["n_dropped"] == incomplete
    assert by_task["posterior"]["n_labels"] == len(of_split("train", known=("z",)))
    assert by_task["properties"]["n_labels"] == len(of_split("train", known=("z", "log10_sfr")))
    # a target that a galaxy lacks costs that target alone
    assert score(by_task["properties"], "r2", "z")["n"] == len(of_split("test", known=("z",)))
    assert score(by_task["properties"], "r2", "log10_sfr")["n"] == len(of_split("test", known=("log10_sfr",)))
    assert score(by_task["posterior"], "crps", "z")["n"] == len(of_split("test", known=("z",)))


def test_the_score_of_a_known_posterior_is_its_score(watch: Watch) -> None:
    records, _ = watch("SpyEncoder", ["posterior"], ["flow"])
    table = numbered_catalogue().dropna(subset="z")
    train, test = (table[table["split"] == split][["z", "log10_mstar"]].to_numpy() for split in ("train", "test"))
    scaled = (test - train.mean(axis=0)) / train.std(axis=0)
    log_prob = (-0.5 * scaled**2 - 0.5 * math.log(2 * math.pi) - np.log(train.std(axis=0))).sum(axis=1)
    found = score(records[0], "nll_mixture", "joint")
    assert found["value"] == pytest.approx(-log_prob.mean(), abs=1e-9)
    assert found["ci_low"] < found["value"] < found["ci_high"]
    stacked = score(records[0], "nll_stacked", "joint")
    assert stacked["value"] == pytest.approx(found["value"], abs=1e-12)  # the one member has all of the weight
    # z-scored, the integral of the squared density is 1 / (4 pi); 50 draws a galaxy know it to 1 %
    at_truth = np.exp(log_prob) * train.std(axis=0).prod()
    loss = score(records[0], "cde_loss", "joint")
    assert loss["value"] == pytest.approx(1 / (4 * np.pi) - 2 * at_truth.mean(), abs=0.002)
    assert score(records[0], "hpd_ks", "joint")["n"] == len(test)
    per_dim = -(log_prob + np.log(train.std(axis=0)).sum()).mean() / 2
    assert score(records[0], "nll_per_dim", "joint")["value"] == pytest.approx(per_dim, abs=1e-9)


def test_few_labels_are_a_draw_of_training_galaxies_by_seed(watch: Watch, tmp_path: Path) -> None:
    few = RunConfig(preset="smoke", n_labels=20, n_seeds=2)
    records, seen = watch("Spy", ["redshift"], config=few)
    first, second = (set(entry["galaxies"]) for entry in seen["fit"])
    assert len(first) == len(second) == 20
    assert first | second <= of_split("train")
    assert first != second
    assert {record["n_labels"] for record in records} == {20}
    assert galaxies(seen["validation"]) == of_split("validation", known=("z", "log10_sfr"))
    shuffled = write_tiny(
        tmp_path / "shuffled",
        numbered_catalogue().sample(frac=1, random_state=np.random.default_rng(1)),
        name="numbered",
        split_rule="by number",
    )
    (tmp_path / "log").unlink()
    _, again = watch("Spy", ["redshift"], config=RunConfig(preset="smoke", n_labels=20), survey=shuffled)
    assert not again  # the same galaxies in another order are the same survey: nothing is done again


def test_more_labels_than_there_are_fail_with_the_number(watch: Watch, tmp_path: Path) -> None:
    records, _ = watch("Spy", ["redshift"], config=RunConfig(preset="smoke", n_labels=500))
    assert records[0]["status"] == "skipped"
    n_train = len(of_split("train", known=("z", "log10_sfr")))
    (failed,) = load_records(tmp_path / "out", "predict")
    assert failed["reason"] == f"--n-labels 500: only {n_train} training galaxies are labelled"


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("NaNPredictions", "1 of .* predictions are not finite, first for target_id 10"),
        ("OneRowShort", r"predictions of shape \(.*\): must be \(.*\), a row a test galaxy and a column each for z"),
        ("Raising", "ZeroDivisionError: three galaxies among none"),
    ],
)
def test_a_model_that_fails_is_recorded_with_its_reason_and_the_others_go_on(
    model: str, reason: str, watch: Watch, tmp_path: Path
) -> None:
    records, _ = watch([model, "Constant"], ["redshift"], ["supervised"])
    status = {record["model"]["name"]: record["status"] for record in records}
    assert status == {model: "skipped", "Constant": "done"}
    (failed,) = [record for record in load_records(tmp_path / "out", "predict") if record["status"] != "done"]
    assert failed["status"] == "failed"
    assert failed["model"]["name"] == model
    assert re.search(reason, failed["reason"])
    (skipped,) = [record for record in records if record["status"] == "skipped"]
    assert failed["name"] in skipped["reason"]


def test_an_embedding_that_is_no_table_is_refused(watch: Watch, tmp_path: Path) -> None:
    watch("FlatEmbedding", ["redshift"], ["knn"])
    (failed,) = [record for record in load_records(tmp_path / "out", None) if record["status"] == "failed"]
    assert failed["kind"] == "embed"
    assert "must be finite and (" in failed["reason"]


def test_a_record_says_where_its_numbers_come_from(watch: Watch, numbered: Survey, tmp_path: Path) -> None:
    (record,), _ = watch("SpyEncoder", ["redshift"], ["linear"], config=RunConfig(preset="smoke", seed=4))
    assert record["schema_version"] == 1
    assert record["model"]["name"] == "SpyEncoder"
    assert record["model"]["revision"] == 1
    assert (record["modality"], record["probe"], record["preset"], record["seed"]) == (
        "photometry",
        "linear",
        "smoke",
        4,
    )
    assert record["task"] == {"name": "redshift", "version": 2}
    facts = {"name": "numbered", "version": "1", "digest": numbered.digest, "simulated": False}
    assert record["survey"] == facts | {"n_per_split": numbered.counts()}
    assert record["split_digest"] == numbered.split_digest
    assert record["config"]["n_resamples"] == 10_000
    assert record["provenance"]["packages"]["numpy"] == np.__version__
    assert record["provenance"]["device"] == "cpu"
    assert len(record["provenance"]["git_commit"] or "0" * 40) == 40
    assert record["timings"]["wall_s"] > 0
    assert record["memory"]["peak_rss_mb"] > 10
    for entry in record["scores"]:
        assert set(entry) == {"metric", "target", "value", "ci_low", "ci_high", "n", "floor"}
        assert entry["ci_low"] <= entry["value"] <= entry["ci_high"]
    kinds = {kind: load_records(tmp_path / "out", kind) for kind in ("train", "embed", "predict", "score")}
    assert {kind: len(found) for kind, found in kinds.items()} == {"train": 1, "embed": 1, "predict": 1, "score": 1}
    assert kinds["score"][0]["needs"] == [kinds["predict"][0]["name"]]
    for found in kinds.values():
        for artefact in found[0]["artefacts"]:
            path = tmp_path / "out" / artefact["path"]
            assert path.stat().st_size == artefact["bytes"]
            assert file_sha256(path) == artefact["sha256"]


def test_an_altered_artefact_is_not_scored(watch: Watch, tmp_path: Path) -> None:
    (record,), _ = watch("Spy", ["redshift"])
    (predicted,) = load_records(tmp_path / "out", "predict")
    path = tmp_path / "out" / predicted["artefacts"][0]["path"]
    path.write_bytes(bytes(path.stat().st_size))
    (tmp_path / "out" / "records" / f"{record['name']}.json").unlink()
    (again,), seen = watch("Spy", ["redshift"])
    assert again["status"] == "failed"
    assert again["reason"].startswith(f"{path}: is missing or was altered; delete records/{predicted['name']}.json")
    assert len(seen["fit"]) == 1

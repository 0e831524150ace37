"""Files made elsewhere, from the command line to the board: joined by id, marked, and as good as what they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark import leaderboard
from benchmark.cli.main import main
from benchmark.data import Survey

Rows = dict[tuple[str, str, str], dict[str, Any]]


def galaxies_of_test(survey: Survey) -> pd.DataFrame:
    table = survey.catalogue
    return table[table["split"] == "test"]


def judge(survey: Survey, out: Path, name: str, option: str, file: Path) -> Rows:
    """Score a file in this process; rows by probe, metric and target."""
    line = ["score", "--survey", str(survey.folder), "--name", name, option, str(file), "--preset", "smoke"]
    assert main([*line, "--out", str(out), "--workers", "0", "--modality", "photometry"]) == 0
    return {(row["probe"], row["metric"], row["target"]): row for row in leaderboard(out) if row["model"] == name}


def values(rows: Rows) -> dict[tuple[str, str, str], tuple[Any, ...]]:
    return {key: (row["value"], row["ci_low"], row["ci_high"], row["n"]) for key, row in rows.items()}


@pytest.fixture
def predictions(tiny: Survey) -> pd.DataFrame:
    """The truth with a little noise; where the truth is missing a number all the same."""
    rng = np.random.default_rng(3)
    table = galaxies_of_test(tiny)[["target_id", "z", "log10_mstar", "log10_sfr"]].fillna(0.5).reset_index(drop=True)
    for name in ("z", "log10_mstar", "log10_sfr"):
        table[name] += rng.normal(0, 0.05, len(table))
    return table


def test_perfect_predictions_have_perfect_scores_and_a_mark(tiny: Survey, tmp_path: Path) -> None:
    table = galaxies_of_test(tiny)[["target_id", "z", "log10_mstar"]]
    table.to_parquet(tmp_path / "p.parquet")
    rows = judge(tiny, tmp_path / "out", "Perfect", "--predictions", tmp_path / "p.parquet")
    assert {(metric, target) for _, metric, target in rows} == {
        *((metric, "z") for metric in ("r2", "rmse", "sigma_nmad", "bias", "outlier_fraction")),
        *((metric, "log10_mstar") for metric in ("r2", "rmse")),
        ("r2", "mean"),
    }
    for (probe, metric, _), row in rows.items():
        assert probe == "external"
        ideal = 1.0 if metric == "r2" else 0.0
        assert (row["value"], row["ci_low"], row["ci_high"]) == (ideal, ideal, ideal)
        assert row["contamination"] == "training set unknown"
        assert row["modality"] == "photometry"
        assert row["n_labels"] is None


def test_rows_are_joined_by_id_and_never_by_position(tiny: Survey, predictions: pd.DataFrame, tmp_path: Path) -> None:
    shuffled = predictions.sample(frac=1, random_state=np.random.default_rng(0))
    known = tiny.catalogue.loc[tiny.catalogue["split"] == "train", ["target_id"]].assign(
        z=0.0, log10_mstar=0, log10_sfr=0
    )
    predictions.to_csv(tmp_path / "a.csv", index=False)
    shuffled.to_csv(tmp_path / "b.csv.gz", index=False)
    pd.concat([known, shuffled]).to_parquet(tmp_path / "c.parquet")  # further known ids are ignored
    out = tmp_path / "out"
    scores = [
        values(judge(tiny, out, name, "--predictions", tmp_path / file))
        for name, file in (("A", "a.csv"), ("B", "b.csv.gz"), ("C", "c.parquet"))
    ]
    assert scores[0] == scores[1] == scores[2]
    wrong = predictions.assign(target_id=np.roll(predictions["target_id"], 1))
    wrong.to_csv(tmp_path / "wrong.csv", index=False)
    rolled = judge(tiny, out, "Rolled", "--predictions", tmp_path / "wrong.csv")
    assert rolled["external", "r2", "z"]["value"] < 0 < scores[0]["external", "r2", "z"][0]


def test_a_score_is_what_scikit_learn_says_it_is(tiny: Survey, predictions: pd.DataFrame, tmp_path: Path) -> None:
    from sklearn.metrics import r2_score, root_mean_squared_error

    predictions.to_csv(tmp_path / "p.csv", index=False)
    rows = judge(tiny, tmp_path / "out", "Mine", "--predictions", tmp_path / "p.csv")
    merged = galaxies_of_test(tiny).merge(predictions, on="target_id", suffixes=("", "_predicted"))
    for name in ("z", "log10_mstar", "log10_sfr"):
        known = merged.dropna(subset=name)
        truth, predicted = known[name], known[f"{name}_predicted"]
        assert rows["external", "r2", name]["value"] == pytest.approx(r2_score(truth, predicted), abs=1e-12)
        assert rows["external", "rmse", name]["value"] == pytest.approx(root_mean_squared_error(truth, predicted))
        assert rows["external", "r2", name]["n"] == len(known)


def test_draws_are_judged_by_their_calibration(tiny: Survey, tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(5), galaxies_of_test(tiny)
    truth = rows[["z", "log10_mstar"]].to_numpy()
    spread = np.array([0.05, 0.2])
    centre = truth + rng.normal(0, spread, truth.shape)  # the truth is one more draw of the posterior
    exact = rng.normal(centre[:, None], spread, (len(truth), 200, 2))
    narrow = centre[:, None] + 0.3 * (exact - centre[:, None])
    order = rng.permutation(len(truth))
    out, found = tmp_path / "out", {}
    for name, draws in (("Exact", exact), ("Narrow", narrow)):
        np.savez(
            tmp_path / f"{name}.npz",
            target_id=rows["target_id"].to_numpy()[order],
            draws=draws[order][:, :, ::-1],
            targets=np.array(["log10_mstar", "z"]),
        )
        found[name] = judge(tiny, out, name, "--draws", tmp_path / f"{name}.npz")
    exact_rows, narrow_rows = found["Exact"], found["Narrow"]
    for target in ("z", "log10_mstar"):
        # 98 galaxies: a coverage of .68 has a standard error of .047
        assert abs(exact_rows["external", "coverage_68", target]["value"] - 0.68) < 0.15
        assert narrow_rows["external", "coverage_68", target]["value"] < 0.4
        assert narrow_rows["external", "crps", target]["value"] > exact_rows["external", "crps", target]["value"]
    assert narrow_rows["external", "tarp_width_p", "joint"]["value"] < 1e-3
    assert exact_rows["external", "tarp_width_p", "joint"]["value"] > 1e-3
    assert not [key for key in exact_rows if key[1].startswith("nll")]  # draws have no density


def test_draws_of_further_targets_are_judged_on_the_default_ones(tiny: Survey, tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(6), galaxies_of_test(tiny)
    names = ["log10_sfr", "z", "log10_mstar"]
    draws = rng.normal(rows[names].fillna(0).to_numpy()[:, None], 0.1, (len(rows), 50, 3))
    np.savez(tmp_path / "d.npz", target_id=rows["target_id"], draws=draws, targets=np.array(names))
    found = judge(tiny, tmp_path / "out", "Wide", "--draws", tmp_path / "d.npz")
    assert {target for _, _, target in found} - {"joint", "mean"} == {"z", "log10_mstar"}
    assert {row["n"] for row in found.values()} == {len(rows)}  # a gap in the further target costs no galaxy


def test_embeddings_are_tried_with_every_point_probe(
    tiny: Survey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import benchmark.evaluation as evaluation

    heads = [head for head in evaluation.HEADS if head.name in ("knn", "linear")]
    monkeypatch.setattr(evaluation, "HEADS", heads)  # the flow has its own tests, and takes half a minute
    table = tiny.catalogue[tiny.catalogue["split"] != "unlabelled"]
    # the embedding is the redshift itself and noise: a linear probe finds it
    embedding = np.stack([table["z"], np.random.default_rng(1).normal(0, 0.01, len(table))], axis=1)
    frame = pd.DataFrame({"target_id": table["target_id"].to_numpy(), "e0": embedding[:, 0], "e1": embedding[:, 1]})
    frame.to_csv(tmp_path / "columns.csv", index=False)
    lists = pd.DataFrame({"target_id": frame["target_id"], "embedding": list(embedding.astype(np.float32))})
    lists.sample(frac=1, random_state=np.random.default_rng(2)).to_parquet(tmp_path / "lists.parquet")
    out = tmp_path / "out"
    rows = judge(tiny, out, "Columns", "--embeddings", tmp_path / "columns.csv")
    assert {probe for probe, _, _ in rows} == {"knn", "linear"}
    assert rows["linear", "r2", "z"]["value"] > 0.999
    assert rows["linear", "r2", "log10_mstar"]["value"] < 0.1
    assert {row["contamination"] for row in rows.values()} == {"training set unknown"}
    assert {row["n_labels"] for row in rows.values()} == {int((table["split"] == "train").sum())}
    again = judge(tiny, out, "Lists", "--embeddings", tmp_path / "lists.parquet")
    assert values(again).keys() == values(rows).keys()
    for key, numbers in values(again).items():
        assert numbers == pytest.approx(values(rows)[key], abs=1e-5)  # the CSV went through float64 text


def test_one_file_is_scored_once_and_another_file_of_that_name_again(
    tiny: Survey, predictions: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "p.csv", tmp_path / "out"
    predictions.to_csv(file, index=False)
    first = judge(tiny, out, "Mine", "--predictions", file)
    capsys.readouterr()
    assert values(judge(tiny, out, "Mine", "--predictions", file)) == values(first)
    assert "3 cells cached, nothing to do" in capsys.readouterr().err
    predictions.assign(z=0.3).to_csv(file, index=False)
    changed = judge(tiny, out, "Mine", "--predictions", file)
    assert changed["external", "r2", "z"]["value"] < 0 < first["external", "r2", "z"]["value"]


def test_the_name_of_a_model_of_the_suite_is_not_given_away(
    tiny: Survey, predictions: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions.to_csv(tmp_path / "p.csv", index=False)
    line = ["score", "--survey", str(tiny.folder), "--name", "constant", "--predictions", str(tmp_path / "p.csv")]
    assert main([*line, "--out", str(tmp_path / "out")]) == 2
    assert "--name 'constant': is a model of the suite" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_printed_is_the_row_of_the_file(
    tiny: Survey, predictions: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions.to_csv(tmp_path / "p.csv", index=False)
    judge(tiny, tmp_path / "out", "Mine", "--predictions", tmp_path / "p.csv")
    printed = capsys.readouterr()
    assert "Mine" in printed.out
    assert "external" in printed.out
    assert "done" in printed.err
    assert main(["leaderboard", "--out", str(tmp_path / "out"), "--format", "json"]) == 0
    assert {row["model"] for row in json.loads(capsys.readouterr().out)} == {"Mine"}

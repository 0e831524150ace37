"""Files made elsewhere are joined by id and refused wherever they cannot be trusted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.contracts import GalaxybenchError, UsageError
from benchmark.data import Survey, foreign

DIM = 5


@pytest.fixture
def embedding(survey: Survey) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(survey.n_galaxies, DIM)).astype(np.float32)


def write_embedding(path: Path, ids: np.ndarray, values: np.ndarray) -> Path:
    """Write an embedding in the way that the suffix says, rows shuffled."""
    order = np.random.default_rng(3).permutation(len(ids))
    ids, values = ids[order], values[order]
    if path.suffix == ".npz":
        np.savez(path, target_id=ids, embedding=values)
    elif path.name.endswith("list.parquet"):
        pq.write_table(pa.table({"target_id": ids, "embedding": list(values)}), path)
    else:
        table = pd.DataFrame(values, columns=[f"e{i}" for i in range(values.shape[1])]).assign(target_id=ids)
        table = table.sample(frac=1, axis=1, random_state=1)  # columns by name, not by place
        table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)
    return path


FORMATS = ["e.npz", "list.parquet", "e.parquet", "e.csv", "e.csv.gz"]


@pytest.mark.parametrize("name", FORMATS)
def test_embeddings_are_joined_by_id_from_every_format(tmp_path, survey, embedding, name) -> None:
    path = write_embedding(tmp_path / name, survey.target_id, embedding)
    joined = foreign.read_embeddings(path).for_survey(survey)
    assert joined.dtype == np.float32
    rows = survey.rows("train", "validation", "test")
    np.testing.assert_array_equal(joined, embedding[rows])  # pandas writes the shortest text that reads back
    assert foreign.check(path, "embeddings", survey) == ()


def test_many_columns_come_in_numerical_order(tmp_path, survey) -> None:
    values = np.random.default_rng(0).normal(size=(survey.n_galaxies, 12)).astype(np.float32)
    path = write_embedding(tmp_path / "e.csv", survey.target_id, values)
    np.testing.assert_array_equal(foreign.read_embeddings(path).for_survey(survey), values)  # e10 after e9, not e1


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, v: (i[:-2], v[:-2]), r"no row for target_id .*\(2 in all\) of train, validation and test"),
        (lambda i, v: (np.r_[i, 7, 8], np.r_[v, v[:2]]), r"target_id .*\(2 in all\) unknown to survey toy"),
        (lambda i, v: (np.r_[i, i[:1]], np.r_[v, v[:1]]), r"duplicate target_id \d+ \(1 in all\)"),
        (lambda i, v: (i.astype(float), v), "float"),
        (lambda i, v: (i, np.where(np.arange(len(i))[:, None] == 50, np.nan, v)), r"NaN or infinite .*\(1 in all\)"),
        (lambda i, v: (i[:0], v[:0]), "no rows|must be a list"),
    ],
)
def test_bad_embeddings_are_refused_with_the_first_ids(tmp_path, survey, embedding, name, change, message) -> None:
    path = write_embedding(tmp_path / name, *change(survey.target_id, embedding))
    with pytest.raises(GalaxybenchError, match=message) as caught:
        foreign.check(path, "embeddings", survey)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_embeddings_of_wrong_shape_are_refused(tmp_path, survey, embedding) -> None:
    ids = survey.target_id
    np.savez(tmp_path / "flat.npz", target_id=ids, embedding=embedding[:, 0])
    with pytest.raises(GalaxybenchError, match=r"shape \(60,\): must be numbers with 2 axes"):
        foreign.read_embeddings(tmp_path / "flat.npz")
    np.savez(tmp_path / "short.npz", target_id=ids, embedding=embedding[:-1])
    with pytest.raises(GalaxybenchError, match=r"60 target_id but values of shape \(59, 5\)"):
        foreign.read_embeddings(tmp_path / "short.npz")
    np.savez(tmp_path / "noid.npz", embedding=embedding)
    with pytest.raises(GalaxybenchError, match="no array 'target_id': it has embedding"):
        foreign.read_embeddings(tmp_path / "noid.npz")
    np.savez(tmp_path / "objects.npz", target_id=ids, embedding=embedding.astype(object))
    with pytest.raises(GalaxybenchError, match=r"cannot be read as NPZ .*holds objects"):
        foreign.read_embeddings(tmp_path / "objects.npz")
    ragged = [row[: 1 + number % 2] for number, row in enumerate(embedding)]
    pq.write_table(pa.table({"target_id": ids, "embedding": ragged}), tmp_path / "ragged.parquet")
    with pytest.raises(GalaxybenchError, match="vectors of one length"):
        foreign.read_embeddings(tmp_path / "ragged.parquet")
    pd.DataFrame({"target_id": ids, "e0": 1.0, "e2": 1.0}).to_csv(tmp_path / "gap.csv", index=False)
    with pytest.raises(GalaxybenchError, match="found e0 to e2 with gaps"):
        foreign.read_embeddings(tmp_path / "gap.csv")
    pd.DataFrame({"target_id": ids, "x": 1.0}).to_csv(tmp_path / "none.csv", index=False)
    with pytest.raises(GalaxybenchError, match=r"need a column embedding .*: found target_id, x"):
        foreign.read_embeddings(tmp_path / "none.csv")
    np.savez(tmp_path / "large.npz", target_id=ids, embedding=embedding.astype(np.float64) + 1e300)
    with pytest.raises(GalaxybenchError, match=r"infinite values .*\(60 in all\)"):
        foreign.read_embeddings(tmp_path / "large.npz")


@pytest.mark.parametrize("read", [foreign.read_embeddings, foreign.read_predictions, foreign.read_draws])
def test_truncated_and_absent_files_are_refused(tmp_path, survey, embedding, read) -> None:
    path = write_embedding(tmp_path / "e.npz", survey.target_id, embedding)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(GalaxybenchError, match=r"e\.npz cannot be read as NPZ"):
        read(path)
    np.save(tmp_path / "plain.npy", embedding)
    with pytest.raises(GalaxybenchError, match="cannot be read as NPZ"):
        read((tmp_path / "plain.npy").rename(tmp_path / "plain.npz"))
    with pytest.raises(UsageError, match="does not exist"):
        read(tmp_path / "nowhere.npz")


def predictions_of(survey: Survey) -> pd.DataFrame:
    test = survey.catalogue.iloc[survey.rows("test")]
    return test[["target_id", "log10_mstar", "z"]].fillna(10.0).sample(frac=1, random_state=4)


def write_table(path: Path, table: pd.DataFrame) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **{name: table[name].to_numpy() for name in table})
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.parquet", "p.npz"])
def test_predictions_of_test_galaxies_come_in_the_survey_order(tmp_path, survey, name) -> None:
    path = write_table(tmp_path / name, predictions_of(survey))
    assert foreign.check(path, "predictions", survey) == ("log10_mstar", "z")
    values = foreign.read_result(path, "predictions", survey, ["z", "log10_mstar"])
    truth = survey.target(["z", "log10_mstar"], survey.rows("test"))
    np.testing.assert_array_equal(values, np.where(np.isnan(truth), 10.0, truth))


def test_predictions_of_further_known_galaxies_are_ignored(tmp_path, survey) -> None:
    train = survey.catalogue.iloc[survey.rows("train")][["target_id", "log10_mstar", "z"]].fillna(0.0)
    path = write_table(tmp_path / "p.csv", pd.concat([train, predictions_of(survey)]))
    values = foreign.read_result(path, "predictions", survey, ["z"])
    np.testing.assert_array_equal(values, survey.target(["z"], survey.rows("test")))


@pytest.mark.parametrize("name", ["p.csv", "p.parquet", "p.npz"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[3:], r"no row for target_id .*\(3 in all\) of test"),
        (lambda t: pd.concat([t, t[:2]]), r"duplicate target_id .*\(2 in all\)"),
        (lambda t: t.assign(target_id=np.arange(len(t))), "unknown to survey toy"),
        (lambda t: t.assign(target_id=t["target_id"].astype(float)), "float"),
        (lambda t: t.assign(z=np.nan), r"NaN or infinite values .*every row must be finite"),
        (lambda t: t.rename(columns={"z": "redshift"}), "'redshift' is no target of survey toy: z, log10_mstar"),
        (lambda t: t[["target_id"]], "need one column per target"),
        (lambda t: t.drop(columns="target_id"), "target_id"),
        (lambda t: t.assign(z=["low"] * len(t)), "number|objects|invalid value 'low'"),
    ],
)
def test_bad_predictions_are_refused(tmp_path, survey, name, change, message) -> None:
    path = write_table(tmp_path / name, change(predictions_of(survey)))
    with pytest.raises(GalaxybenchError, match=message) as caught:
        foreign.check(path, "predictions", survey)
    assert str(path) in str(caught.value)


def test_a_bad_row_at_the_very_end_of_a_long_file_is_found(tmp_path, survey) -> None:
    table = predictions_of(survey)
    known = survey.target_id[survey.rows("train")][-1]
    last = pd.DataFrame({"target_id": [known], "log10_mstar": [np.nan], "z": [1.0]})
    path = write_table(tmp_path / "p.parquet", pd.concat([table, last]))
    with pytest.raises(GalaxybenchError, match=rf"{known} \(1 in all\)"):  # though training rows are not used
        foreign.check(path, "predictions", survey)


def write_draws(path: Path, survey: Survey, **changes: object) -> Path:
    test = survey.target_id[survey.rows("test")]
    draws = np.random.default_rng(6).normal(size=(len(test), 7, 2))
    order = np.random.default_rng(7).permutation(len(test))
    given = {"target_id": test[order], "draws": draws[order], "targets": np.array(["log10_mstar", "z"])}
    np.savez(path, **{**given, **changes})
    return path


def test_draws_keep_their_galaxy_target_and_complete_rows(tmp_path, survey) -> None:
    path = write_draws(tmp_path / "d.npz", survey)
    assert foreign.check(path, "draws", survey) == ("log10_mstar", "z")
    rows = survey.rows("test")
    expected = np.random.default_rng(6).normal(size=(len(rows), 7, 2)).astype(np.float32)
    result = foreign.read_result(path, "draws", survey, ["z"])["draws"]
    np.testing.assert_array_equal(result, expected[:, :, [1]].transpose(1, 0, 2))
    complete = np.isfinite(survey.target(["z", "log10_mstar"], rows)).all(axis=1)
    both = foreign.read_result(path, "draws", survey, ["z", "log10_mstar"])["draws"]
    np.testing.assert_array_equal(both, expected[complete][:, :, ::-1].transpose(1, 0, 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"draws": np.zeros((3, 7))}, "must be numbers with 3 axes"),
        ({"draws": np.zeros((3, 7, 3))}, r"shape \(3, 7, 3\) for 2 targets"),
        ({"draws": np.zeros((3, 1, 2))}, "2 or more draws"),
        ({"draws": np.zeros((3, 7, 2))}, r"target_id but values of shape \(3, 7, 2\)"),
        ({"targets": np.array([1, 2])}, "targets has dtype int64"),
        ({"targets": np.array(["z", "z"])}, "name one twice"),
        ({"targets": np.array(["z", "mass"])}, "'mass' is no target"),
        ({"target_id": np.arange(3.0)}, "ids are floats"),
        ({"target_id": np.zeros((3, 2), np.int64)}, r"target_id has shape \(3, 2\)"),
    ],
)
def test_bad_draws_are_refused(tmp_path, survey, changes, message) -> None:
    path = write_draws(tmp_path / "d.npz", survey, **changes)
    with pytest.raises(GalaxybenchError, match=message):
        foreign.check(path, "draws", survey)


def test_draws_come_as_npz_only(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"draws are read from \.npz"):
        foreign.read_draws(tmp_path / "d.csv")


def test_a_target_that_the_file_lacks_is_refused(tmp_path, survey) -> None:
    path = write_table(tmp_path / "p.csv", predictions_of(survey)[["target_id", "z"]])
    with pytest.raises(GalaxybenchError, match="no target 'log10_mstar': it has z"):
        foreign.read_result(path, "predictions", survey, ["log10_mstar"])

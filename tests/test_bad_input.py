"""Bad input of ten kinds: one clear line that names what is wrong, the right exit code, and nothing lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_survey import tiny_catalogue, write_tiny

from benchmark import load_records
from benchmark.cli.main import main
from benchmark.data import Survey

Refuse = Callable[..., str]
Judge = Callable[..., str]


@pytest.fixture(scope="module")
def finished(tiny: Survey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results store with one model's scores, which no bad input may harm."""
    out = tmp_path_factory.mktemp("finished") / "out"
    line = ["run", "Constant", "--survey", str(tiny.folder), "--preset", "smoke", "--out", str(out), "--workers", "0"]
    assert main([*line, "--tasks", "redshift"]) == 0
    return out


@pytest.fixture
def store(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "store"))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refuse(store: Path, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Run a command that must be refused; returns its line. What the store held it still holds, byte by byte."""

    def call(code: int, *arguments: object) -> str:
        before = content(store)
        capsys.readouterr()
        assert main(list(map(str, arguments))) == code
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("error: ")
        assert 1 <= len(printed.err.splitlines()) <= 2
        assert "Traceback" not in printed.err
        assert "--debug" not in printed.err  # which is for surprises
        after = content(store)
        assert {name: after[name] for name in before} == before
        return printed.err

    return call


@pytest.fixture
def judge(refuse: Refuse, tiny: Survey, store: Path) -> Judge:
    """Score a file that must be refused before anything runs."""

    def call(option: str, file: Path, code: int = 1) -> str:
        before = content(store)
        line = ("score", "--survey", tiny.folder, "--name", "Mine", "--out", store, "--preset", "smoke", "--workers", 0)
        message = refuse(code, *line, option, file)
        assert content(store) == before
        assert file.name in message
        return message

    return call


@pytest.fixture
def predictions(tiny: Survey) -> pd.DataFrame:
    table = tiny.catalogue
    return table.loc[table["split"] == "test", ["target_id", "z", "log10_mstar"]].reset_index(drop=True)


def survey_spec(folder: Path, table: pd.DataFrame, more: str = "", source: str = "") -> Path:
    """An import spec beside its CSV."""
    table.to_csv(folder / "galaxies.csv", index=False)
    spec = folder / "spec.toml"
    spec.write_text(f"""
name = "mine"
{more}
[[source]]
path = "galaxies.csv"
id = "target_id"
photometry = {{g = "mag_g", r = "mag_r", z = "mag_z"}}
targets = {{z = "z", log10_mstar = {{column = "log10_mstar", unit = "dex(Msun)"}}}}
{source}
""")
    return spec


@pytest.fixture
def import_(refuse: Refuse, tmp_path: Path) -> Callable[..., str]:
    """Import a table that must be refused; no folder may be left."""

    def call(table: pd.DataFrame, more: str = "", source: str = "", code: int = 1) -> str:
        spec, out = survey_spec(tmp_path, table, more, source), tmp_path / "survey"
        message = refuse(code, "survey", "import", spec, "--data", tmp_path, "--out", out)
        assert not out.exists()
        return message

    return call


def test_a_good_spec_of_this_file_is_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = survey_spec(tmp_path, tiny_catalogue())
    assert main(["survey", "import", str(spec), "--data", str(tmp_path), "--out", str(tmp_path / "survey")]) == 0
    assert "400 galaxies" in capsys.readouterr().err


# 1 missing column


def test_a_missing_column_of_predictions(judge: Judge, predictions: pd.DataFrame, tmp_path: Path) -> None:
    predictions.rename(columns={"target_id": "id"}).to_csv(tmp_path / "p.csv", index=False)
    assert "target_id" in judge("--predictions", tmp_path / "p.csv")
    predictions.rename(columns={"z": "redshift"}).to_csv(tmp_path / "p.csv", index=False)
    assert "'redshift' is no target of survey tiny" in judge("--predictions", tmp_path / "p.csv")
    predictions[["target_id"]].to_csv(tmp_path / "p.csv", index=False)
    assert "one column per target" in judge("--predictions", tmp_path / "p.csv")


def test_a_missing_column_of_embeddings(judge: Judge, tiny: Survey, tmp_path: Path) -> None:
    table = pd.DataFrame({"target_id": tiny.target_id, "e0": 0.5, "e2": 0.5})
    table.to_parquet(tmp_path / "e.parquet")
    assert "e0 to e2 with gaps" in judge("--embeddings", tmp_path / "e.parquet")


def test_a_missing_column_of_a_catalogue(import_: Callable[..., str]) -> None:
    message = import_(tiny_catalogue().drop(columns="mag_r"))
    assert "mag_r" in message
    assert "galaxies.csv" in message


# 2 duplicate ids


def test_duplicate_ids_of_predictions(judge: Judge, predictions: pd.DataFrame, tmp_path: Path) -> None:
    pd.concat([predictions, predictions[:3]]).to_csv(tmp_path / "p.csv", index=False)
    message = judge("--predictions", tmp_path / "p.csv")
    assert "duplicate target_id" in message
    assert str(predictions["target_id"][0]) in message
    assert "3" in message


def test_duplicate_ids_of_a_catalogue(import_: Callable[..., str]) -> None:
    table = tiny_catalogue()
    message = import_(pd.concat([table, table[5:6]]))
    assert str(table["target_id"][5]) in message


def test_ids_that_lost_digits_as_floats(judge: Judge, predictions: pd.DataFrame, tmp_path: Path) -> None:
    predictions.astype({"target_id": float}).to_parquet(tmp_path / "p.parquet")
    assert "float" in judge("--predictions", tmp_path / "p.parquet")


def test_ids_that_are_unknown_or_missing(judge: Judge, predictions: pd.DataFrame, tmp_path: Path) -> None:
    predictions[4:].to_csv(tmp_path / "p.csv", index=False)
    message = judge("--predictions", tmp_path / "p.csv")
    assert "no row for target_id" in message
    assert str(predictions["target_id"][0]) in message
    predictions.assign(target_id=predictions["target_id"] + 1).to_csv(tmp_path / "p.csv", index=False)
    assert "unknown to survey tiny" in judge("--predictions", tmp_path / "p.csv")


# 3 NaN


def test_nan_among_predictions(judge: Judge, predictions: pd.DataFrame, tmp_path: Path) -> None:
    predictions.loc[7, "log10_mstar"] = np.nan
    predictions.to_csv(tmp_path / "p.csv", index=False)
    message = judge("--predictions", tmp_path / "p.csv")
    assert "NaN or infinite values" in message
    assert str(predictions["target_id"][7]) in message


def test_a_target_that_no_training_galaxy_has(
    refuse: Refuse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tiny_catalogue()
    table[["z", "log10_mstar", "log10_sfr"]] = np.nan
    folder = write_tiny(tmp_path / "empty", table, name="empty").folder
    line = ["run", "Constant", "--survey", str(folder), "--preset", "smoke", "--out", str(tmp_path / "new")]
    assert main([*line, "--workers", "0", "--tasks", "redshift"]) == 1
    printed = capsys.readouterr()
    assert "survey 'empty': no train galaxy has z, log10_mstar, log10_sfr" in printed.err
    assert "Traceback" not in printed.err


# 4 wrong shape


def test_draws_of_a_wrong_shape(judge: Judge, predictions: pd.DataFrame, tmp_path: Path) -> None:
    ids, rng = predictions["target_id"].to_numpy(), np.random.default_rng(0)
    draws = rng.normal(size=(len(ids), 20, 2))
    names = np.array(["z", "log10_mstar"])
    for changed, words in (
        ({"draws": draws[:, :, 0]}, "draws has dtype float64 and shape (98, 20): must be numbers with 3 axes"),
        ({"draws": draws.transpose(1, 0, 2)}, "98 target_id but values of shape (20, 98, 2)"),
        ({"draws": draws[:, :, :1]}, "draws has shape (98, 20, 1) for 2 targets"),
        ({"target_id": ids[None]}, "target_id has shape (1, 98): must be (n,)"),
    ):
        np.savez(tmp_path / "d.npz", **({"target_id": ids, "draws": draws, "targets": names} | changed))
        assert words in judge("--draws", tmp_path / "d.npz")


def test_embeddings_of_uneven_lengths(judge: Judge, tiny: Survey, tmp_path: Path) -> None:
    lists = [np.zeros(3 if number else 2) for number in range(tiny.n_galaxies)]
    pd.DataFrame({"target_id": tiny.target_id, "embedding": lists}).to_parquet(tmp_path / "e.parquet")
    judge("--embeddings", tmp_path / "e.parquet")


# 5 truncated file


@pytest.mark.parametrize("suffix", [".parquet", ".csv.gz", ".npz"])
def test_a_truncated_file(suffix: str, judge: Judge, predictions: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / f"p{suffix}"
    if suffix == ".parquet":
        predictions.to_parquet(path)
    elif suffix == ".npz":
        np.savez(path, **{name: predictions[name].to_numpy() for name in predictions})
    else:
        predictions.to_csv(path, index=False)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    judge("--predictions", path)


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_a_truncated_survey(keep: float, refuse: Refuse, tiny: Survey, store: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny.folder, tmp_path / "cut"))
    catalogue = folder / "catalogue.parquet"
    catalogue.write_bytes(catalogue.read_bytes()[: int(keep * catalogue.stat().st_size)])
    for command in (("run", "Constant", "--survey", folder, "--out", store), ("survey", "describe", folder)):
        message = refuse(1, *command)
        assert "catalogue.parquet was altered or truncated" in message


def test_a_truncated_survey_toml(refuse: Refuse, tiny: Survey, store: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny.folder, tmp_path / "cut"))
    text = (folder / "survey.toml").read_text()
    (folder / "survey.toml").write_text(text[: len(text) // 2])
    assert "survey.toml" in refuse(1, "run", "Constant", "--survey", folder, "--out", store)


# 6 wrong unit


def test_a_wrong_unit_of_a_catalogue(import_: Callable[..., str]) -> None:
    message = import_(tiny_catalogue(), source='photometry_unit = "jansky"')
    assert "jansky" in message
    assert "mag_ab" in message


def test_a_wrong_unit_of_a_survey(refuse: Refuse, tiny: Survey, store: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny.folder, tmp_path / "unit"))
    path = folder / "survey.toml"
    path.write_text(path.read_text().replace('photometry_unit = "mag_ab"', 'photometry_unit = "mag_vega"'))
    message = refuse(1, "run", "Constant", "--survey", folder, "--out", store)
    assert "photometry_unit" in message
    assert "mag_vega" in message
    assert "mag_ab" in message


# 7 unknown names


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "Constnat"], "unknown model 'Constnat': did you mean Constant?"),
        (["run", "all", "--tasks", "redshfit"], "unknown task 'redshfit': did you mean redshift?"),
        (["run", "all", "--probes", "lineer"], "unknown probe 'lineer': did you mean linear?"),
        (["run", "all", "--preset", "huge"], "--preset 'huge': must be one of smoke, laptop, paper"),
        (["run", "all", "--survey", "simulate"], "unknown survey 'simulate': did you mean simulated"),
        (["show", "Constnat"], "unknown name 'Constnat': did you mean Constant?"),
        (["leaderboard", "--task", "redshfit"], "unknown task 'redshfit': did you mean redshift?"),
    ],
)
def test_an_unknown_name(arguments: list[str], words: str, refuse: Refuse, store: Path) -> None:
    more = ["--out", str(store)] if arguments[0] != "show" else []
    assert words in refuse(2, *arguments, *more)


def test_an_unknown_key_of_a_spec(import_: Callable[..., str]) -> None:
    assert "did you mean" in import_(tiny_catalogue(), more='licens = "MIT"')


# 8 unwritable out folder


def test_an_out_folder_that_cannot_be_made(refuse: Refuse, tiny: Survey, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    out = file / "out"
    line = ("--survey", tiny.folder, "--preset", "smoke", "--workers", 0)
    assert f"--out {out}: cannot be written" in refuse(2, "run", "Constant", *line, "--out", out)
    assert str(out) in refuse(1, "survey", "build", "simulated", "--n", 50, "--out", out)
    assert str(out) in refuse(2, "leaderboard", "--out", out)
    assert file.read_text() == "mine"


def test_a_page_that_cannot_be_written(refuse: Refuse, store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert str(tmp_path / "file" / "page.html") in refuse(
        1, "report", "--out", store, "--html", tmp_path / "file" / "page.html"
    )


# 9 corrupt record


@pytest.mark.parametrize("text", ["", '{"half": ', "[]", '{"schema_version": 1}', "\x00\x01"])
def test_a_corrupt_record(
    text: str, refuse: Refuse, store: Path, tiny: Survey, capsys: pytest.CaptureFixture[str]
) -> None:
    n_before = len(load_records(store))
    (victim,) = (store / "records").glob("score-*.json")
    board_line = ["leaderboard", "--out", str(store), "--format", "json"]
    assert main(board_line) == 0
    board = json.loads(capsys.readouterr().out)
    victim.write_text(text)
    run_line = ["run", "Constant", "--survey", str(tiny.folder), "--preset", "smoke", "--out", str(store)]
    run_line += ["--workers", "0", "--tasks", "redshift"]
    for command in (board_line, run_line, ["report", "--out", str(store)]):
        message = refuse(1, *command)
        assert victim.name in message
        assert "delete this file and run again, the rest is kept" in message
    victim.unlink()  # as the line says
    assert main(run_line) == 0
    assert "1 cells cached, 1 done" in capsys.readouterr().err
    assert len(load_records(store)) == n_before
    assert main(board_line) == 0
    assert json.loads(capsys.readouterr().out) == board


# 10 files and folders that are something else


def test_a_file_of_another_kind(judge: Judge, predictions: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "p.xlsx").write_bytes(b"PK")
    assert ".parquet" in judge("--predictions", tmp_path / "p.xlsx", code=2)
    judge("--predictions", tmp_path / "nowhere.csv", code=2)
    predictions.to_csv(tmp_path / "d.csv", index=False)
    assert "draws are read from .npz" in judge("--draws", tmp_path / "d.csv", code=2)
    np.savez(tmp_path / "o.npz", target_id=predictions["target_id"], z=np.array([{}] * len(predictions)))
    judge("--predictions", tmp_path / "o.npz")


def test_two_files_at_once(refuse: Refuse, tiny: Survey, predictions: pd.DataFrame, tmp_path: Path) -> None:
    predictions.to_csv(tmp_path / "p.csv", index=False)
    line = ("score", "--survey", tiny.folder, "--name", "Mine", "--predictions", tmp_path / "p.csv")
    assert "2 files given" in refuse(2, *line, "--draws", tmp_path / "d.npz")


def test_a_folder_that_is_no_survey(refuse: Refuse, store: Path) -> None:
    message = refuse(2, "run", "Constant", "--survey", store, "--out", store)
    assert f"--survey {store}: no survey.toml there" in message


def test_a_plugin_that_cannot_be_read(refuse: Refuse, store: Path, tmp_path: Path) -> None:
    path = tmp_path / "my_broken_plugin.py"
    path.write_text("import no_such_module_at_all")
    message = refuse(1, "run", "all", "--plugin", path, "--out", store)
    assert str(path) in message
    assert "no_such_module_at_all" in message

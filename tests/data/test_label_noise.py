"""Errors and draws of labels: stored, imported, refused, and drawn anew with known results."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.contracts import GalaxybenchError, Target
from benchmark.data import DrawWriter, Survey, SurveyInfo, import_survey, load_survey, write_survey
from benchmark.data.label_noise import gaussian_entropy, label_noise

N, N_DRAWS = 4000, 50
COVARIANCE = np.array([[0.04, 0.018], [0.018, 0.09]])
TARGETS = tuple(Target(name) for name in ("z", "mass", "age", "kind"))
INFO = SurveyInfo("noisy", "1", TARGETS, label_errors=("z",), label_draws=("mass", "age"))


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    made = pd.DataFrame({"target_id": 10**17 + np.arange(N), "z": rng.uniform(0, 1, N), "kind": rng.normal(size=N)})
    made["mass"], made["age"] = rng.normal(10, 0.5, N), rng.normal(5, 2, N)
    made["z_err"] = rng.uniform(0.01, 0.05, N)
    made.loc[[3, 4], "z_err"] = np.nan
    return made


def draws_of(made: pd.DataFrame) -> np.ndarray:
    error = np.random.default_rng(1).multivariate_normal([0, 0], COVARIANCE, size=(N, N_DRAWS))
    draws = made[["mass", "age"]].to_numpy()[:, None] + error
    draws[7] = np.nan
    return draws.astype(np.float32)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    made = table()
    return write_survey(tmp_path_factory.mktemp("noisy") / "s", INFO, made, label_draws=draws_of(made))


def test_errors_and_draws_are_read_back_and_leave_the_digest_alone(noisy: Survey, tmp_path: Path) -> None:
    made = table()
    opened = load_survey(noisy.folder)
    assert (opened.info.label_errors, opened.info.label_draws) == (("z",), ("mass", "age"))
    np.testing.assert_array_equal(opened.label_draws, draws_of(made))
    np.testing.assert_array_equal(opened.catalogue["z_err"], made["z_err"])
    bare = dataclasses.replace(INFO, label_errors=(), label_draws=())
    without = write_survey(tmp_path / "bare", bare, made.drop(columns="z_err"))
    assert without.digest == opened.digest
    assert without.label_digest == ""
    draws, other = draws_of(made), made.copy()
    other.loc[0, "z_err"] *= 2
    draws[5, 5, 1] += 1
    changed = [
        write_survey(tmp_path / "errors", INFO, other, label_draws=draws_of(made)),
        write_survey(tmp_path / "draws", INFO, made, label_draws=draws),
    ]
    assert {survey.digest for survey in changed} == {opened.digest}
    assert len({opened.label_digest, *(survey.label_digest for survey in changed)}) == 3


def test_labels_are_drawn_anew_within_their_errors(noisy: Survey) -> None:
    found = label_noise(noisy, ["z", "mass", "age"], noisy.rows())
    assert found is not None
    label = noisy.target(["z", "mass", "age"], noisy.rows())
    pull = (found.resampled - label) / found.error
    np.testing.assert_allclose(np.nanstd(pull[:, 0]), 1, atol=3 / np.sqrt(2 * N))  # three standard errors
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(pull[:, 0])), [3, 4])
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(pull[:, 1])), [7])
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found.entropy)), [3, 4, 7])
    # the root mean square over 50 draws is chi-distributed about the true error
    np.testing.assert_allclose(
        np.sqrt(np.nanmean(np.square(found.error[:, 1:]), axis=0)), np.sqrt(np.diag(COVARIANCE)), rtol=0.02
    )
    # one draw serves all targets, so that their correlation is kept: .3, with an error of .014
    moved = (found.resampled - label)[~np.isnan(found.entropy)][:, 1:]
    assert np.corrcoef(moved.T)[0, 1] == pytest.approx(0.3, abs=0.05)
    assert noisy.label_draws is not None
    for row in (0, 11, N - 1):
        assert (np.float32(found.resampled[row, 1:]) == noisy.label_draws[row]).all(axis=1).sum() == 1


def test_what_is_drawn_depends_on_the_survey_alone(noisy: Survey) -> None:
    rows = np.random.default_rng(3).permutation(N)[:100]
    whole = label_noise(noisy, ["z", "mass", "age"], noisy.rows())
    part = label_noise(noisy, ["age", "z"], rows)
    assert whole is not None
    assert part is not None
    np.testing.assert_array_equal(part.resampled, whole.resampled[rows][:, [2, 0]])
    np.testing.assert_array_equal(part.error, whole.error[rows][:, [2, 0]])


def test_the_entropy_of_the_errors_is_that_of_the_gaussian_that_they_are(noisy: Survey) -> None:
    found = label_noise(noisy, ["z", "mass", "age"], noisy.rows())
    assert found is not None
    known = ~np.isnan(found.entropy)
    error = noisy.catalogue["z_err"].to_numpy()[known]
    exact = 0.5 * np.log((2 * np.pi * np.e) ** 3 * np.linalg.det(COVARIANCE) * error**2)
    # the log determinant of 49 degrees of freedom scatters by .2 a galaxy: .003 in the mean
    assert (found.entropy[known] - exact).mean() == pytest.approx(0, abs=0.015)


@pytest.mark.parametrize("n_draws", [10, 30, 300])
def test_the_entropy_from_few_draws_has_no_bias(n_draws: int) -> None:
    rng = np.random.default_rng(4)
    covariance = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, -0.4], [0.1, -0.4, 0.7]])
    draws = rng.multivariate_normal(np.zeros(3), covariance, size=(3000, n_draws))
    exact = 0.5 * np.log((2 * np.pi * np.e) ** 3 * np.linalg.det(covariance))
    found = gaussian_entropy(draws)
    assert found.mean() == pytest.approx(exact, abs=4 * found.std() / np.sqrt(3000))
    naive = 0.5 * np.log(np.linalg.det(2 * np.pi * np.e * np.array([np.cov(one.T) for one in draws])))
    if n_draws == 10:  # without the correction it is half a nat too low
        assert naive.mean() < exact - 0.3


def test_draws_without_volume_have_no_entropy() -> None:
    flat = np.ones((2, 20, 2))
    flat[1, :, 0] = np.arange(20)
    flat[1, :, 1] = 2 * flat[1, :, 0]
    assert np.isnan(gaussian_entropy(flat)[0])


def test_labels_drawn_anew_keep_within_hard_limits(tmp_path: Path) -> None:
    made = table()
    made["z_err"] = 0.3
    limited = Target("z", low=0.0, high=1.0)
    targets = (limited, *TARGETS[1:])
    surveys = [
        write_survey(tmp_path / name, SurveyInfo("s", "1", found, label_errors=("z",)), made)
        for name, found in (("limited", targets), ("free", TARGETS))
    ]
    inside, free = (label_noise(survey, ["z"], survey.rows()) for survey in surveys)
    assert inside is not None
    assert free is not None
    values, others = inside.resampled[:, 0], free.resampled[:, 0]
    assert values.min() >= 0
    assert values.max() <= 1
    kept = (others >= 0) & (others <= 1)
    np.testing.assert_array_equal(values[kept], others[kept])
    low = (others < 0) & (others > -1)
    np.testing.assert_array_equal(values[low], -others[low])
    np.testing.assert_array_equal(inside.error, free.error)


def test_targets_without_errors_have_no_noise(noisy: Survey) -> None:
    assert label_noise(noisy, ["kind"], noisy.rows()) is None
    found = label_noise(noisy, ["kind", "z"], noisy.rows())
    assert found is not None
    assert np.isnan(found.entropy).all()
    assert np.isfinite(found.resampled).sum(axis=0).tolist() == [0, N - 2]


@pytest.mark.parametrize(
    ("change", "draws", "message"),
    [
        ({"label_errors": ("size",)}, None, "label_errors names 'size', which is no number to predict: there are z"),
        ({"label_errors": ("z", "z")}, None, "label_errors names 'z' twice"),
        ({"targets": (*TARGETS, Target("z_err"))}, None, "column 'z_err' is the error of a target and something else"),
        ({"label_errors": ("mass",)}, None, "no column 'mass_err', the error of a target"),
        ({"label_draws": ("mass",)}, None, "label_draws = mass but no draws were given"),
        ({"label_draws": ("mass",)}, np.zeros((N, 20, 2)), rf"shape \({N}, 20, 2\): {N} galaxies with draws of 1"),
        ({"label_draws": ("mass",)}, np.zeros((N, 5, 1)), "at least 10 draws"),
        ({"label_draws": ("mass",)}, np.zeros((N, 20, 1), int), "label draws have dtype int64: must be floats"),
    ],
)  # fmt: skip
def test_errors_that_do_not_fit_are_refused(tmp_path: Path, change: dict, draws: np.ndarray, message: str) -> None:
    def write() -> None:
        info = dataclasses.replace(INFO, **{"label_draws": (), **change})
        write_survey(tmp_path / "s", info, table(), label_draws=draws)

    with pytest.raises(GalaxybenchError, match=message):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [0.0, -0.1])
def test_an_error_that_is_not_positive_is_refused_in_a_folder(tmp_path: Path, value: float) -> None:
    made = table()
    made.loc[2, "z_err"] = value
    info = dataclasses.replace(INFO, label_draws=())
    with pytest.raises(GalaxybenchError, match=r"'z_err' is not above 0 for target_id 100000000000000002 \(1 in all\)"):
        write_survey(tmp_path / "s", info, made)


def test_draws_can_be_made_while_they_are_written(tmp_path: Path) -> None:
    made = table()
    draws = draws_of(made)

    def fill(array: np.ndarray, target_id: np.ndarray) -> None:
        for row, galaxy in enumerate(target_id):
            array[row] = draws[galaxy - 10**17]

    written = write_survey(tmp_path / "s", INFO, made, label_draws=DrawWriter(draws.shape, fill))  # type: ignore[arg-type]
    np.testing.assert_array_equal(written.label_draws, draws)
    other = np.load(written.folder / "label_draws.npy")[:, :, :1]
    np.save(written.folder / "label_draws.npy", other)
    with pytest.raises(
        GalaxybenchError, match=r"label_draws\.npy has shape .* survey\.toml says 4000 galaxies with draws"
    ):
        load_survey(written.folder)


SPEC = """
name = "toy"
missing = [-99.0]
[[source]]
path = "t.npz"
id = "id"
targets = {z = "z", mass = "mass"}
%s
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    arrays = {"id": 10**17 + rng.permutation(30), "z": rng.uniform(0, 1, 30), "mass": rng.normal(10, 1, 30)}
    arrays["zerr"] = rng.uniform(0.01, 0.1, 30)
    arrays["zerr"][[2, 5, 6]] = 0.0, -99.0, -1.0
    arrays["mcmc"] = rng.normal(0, 1, (30, 40, 3))
    arrays["mcmc"][8, 3, 1] = np.nan
    arrays["mcmc"][9, 4, 1] = -99.0
    np.savez(tmp_path / "t.npz", **arrays)
    return tmp_path


def imported(data: Path, more: str, name: str = "out"):
    (data / "spec.toml").write_text(SPEC % more)
    return import_survey(data / "spec.toml", data / name, data_dir=data)


def test_errors_and_draws_are_imported_by_id(data: Path) -> None:
    survey, report = imported(data, 'errors = {z = "zerr"}\ndraws = {mass = "mcmc[:, 1] + 10", z = "mcmc[:, 0] / 10"}')
    with np.load(data / "t.npz") as arrays:
        order = np.argsort(arrays["id"])
        expected = np.stack([arrays["mcmc"][:, :, 1] + 10, arrays["mcmc"][:, :, 0] / 10], axis=2).astype(np.float32)
        expected[[8, 9]] = np.nan  # one missing draw spoils a galaxy's
        error = arrays["zerr"].copy()
        error[[2, 5, 6]] = np.nan
        np.testing.assert_array_equal(survey.label_draws, expected[order])
        np.testing.assert_array_equal(survey.catalogue["z_err"], error[order])
    assert (survey.info.label_errors, survey.info.label_draws) == (("z",), ("mass", "z"))
    assert report.sources[0].notes == ("z: 2 errors of zero or less, or infinite: missing",)
    bare, _ = imported(data, "", "bare")
    assert bare.digest == survey.digest


def test_joined_sources_bring_errors_and_draws_of_their_galaxies(data: Path) -> None:
    with np.load(data / "t.npz") as arrays:
        ids = arrays["id"][:20]
        np.savez(
            data / "more.npz",
            id=ids,
            age=np.arange(20.0),
            age_err=np.full(20, 0.5),
            d=np.ones((20, 12)) * ids[:, None] % 97,
        )
    joined = '[[source]]\npath = "more.npz"\nid = "id"\ntargets = {age = "age"}\n'
    joined += 'errors = {age = "age_err"}\ndraws = {age = "d"}'
    survey, _ = imported(data, joined)
    has = np.isin(survey.target_id, ids)
    np.testing.assert_array_equal(survey.catalogue["age_err"].notna(), has)
    assert survey.label_draws is not None
    np.testing.assert_array_equal(np.isfinite(survey.label_draws).all(axis=(1, 2)), has)
    np.testing.assert_array_equal(survey.label_draws[has, 0, 0], (survey.target_id[has] * 1.0 % 97).astype(np.float32))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('errors = {age = "zerr"}', "errors names 'age': targets of this source are z, mass"),
        ('draws = {age = "mcmc"}', "draws names 'age': targets of this source are z, mass"),
        ('errors = {z = "zer"}', r"has no column 'zer' \(did you mean 'zerr'\?\)"),
        ("errors = {z = 3}", "errors.z = 3: must be the name of a column"),
        ('draws = {z = "mcm[:, 0]"}', r"has no column 'mcm' \(did you mean 'mcmc'\?\)"),
        ('draws = {z = "mcmc"}', "it gives arrays of shape .40, 3. a row: a list of draws a row is needed"),
        ('draws = {z = "open(1)"}', "is not allowed"),
        ('draws = {z = "mcmc[:, 0]", mass = "mcmc[0]"}', "numbers of draws differ: {'z': 40, 'mass': 3}"),
        ('draws = {z = "mcmc[0]"}', r"label draws have shape \(30, 3, 1\).* at least 10 draws"),
    ],
)
def test_errors_and_draws_that_do_not_fit_are_refused_in_one_line(data: Path, more: str, message: str) -> None:
    with pytest.raises(GalaxybenchError, match=message) as caught:
        imported(data, more)
    assert "\n" not in str(caught.value)
    assert not (data / "out").exists()

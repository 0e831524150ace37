"""The check command: the models of the suite keep every promise, and each broken promise is found by its own check."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_survey import PLUGINS, CommandLine

from benchmark.cli.main import main
from benchmark.conformance import CheckResult, check_model
from benchmark.contracts import UsageError
from benchmark.registry import MODELS, load_plugin

BROKEN = PLUGINS / "broken_models.py"
SUITE = [card.name for card in MODELS]


def failed(results: list[CheckResult]) -> dict[str, str]:
    return {result.name: result.message for result in results if not result.ok}


@pytest.mark.parametrize("name", SUITE)
def test_a_model_of_the_suite_keeps_every_promise(name: str) -> None:
    results = check_model(MODELS[name], "smoke")
    assert failed(results) == {}
    assert len(results) == len({result.name for result in results}) >= 10


BROKEN_NAMES = {
    "WrongShape": "embedding has shape (17, 4, 1): must be (17, d) float32",
    "WrongType": "embedding has dtype float64: must be (17, d) float32",
    "SomeNaN": "numbers of the embedding are NaN or infinite",
    "BatchDependent": "galaxies one by one and together: differs by",
    "OrderDependent": "galaxies in another order: differs by",
    "Unseeded": "two models fitted with one seed: differs by",
    "Dropping": "the same model and galaxies, asked twice: differs by",
    "Forgetful": "before and after state, file and load_state: differs by",
    "Blind": "an image with a NaN pixel is accepted: must be refused",
    "Unclear": "refused without saying so: bad input",
    "Global": "the global generator of random, numpy moved",
    "ArraysOnly": "AttributeError: 'ImageView' object has no attribute 'mean'",
    "Half": "Half lacks embed, load_state, state: Encoder has them",
    "OneTarget": "prediction of 3 targets has shape (17, 1): must be (17, 3) float64",
    "NoGaps": "with some targets missing in training, are NaN or infinite",
    "LabelledContext": "the context after fits on different labels: differs by",
    "NaNContext": "numbers of the context are NaN or infinite",
    "Greedy": "the model wrote into its train inputs",
    "Nowhere": "cannot import 'broken_models:Absent'",
    "WrongProbe": "probes supervised: encoder models have flow, knn, linear, mlp",
    "WrongOption": "TypeError: Honest() takes no arguments",
    "WrongRecipe": "TypeError: Honest() takes no arguments",
}


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("name", BROKEN_NAMES)
def test_a_broken_promise_is_found_by_its_own_check_with_what_was_seen(name: str) -> None:
    load_plugin(BROKEN)
    found = failed(check_model(MODELS[name], "smoke"))
    assert MODELS[name].notes in found
    assert BROKEN_NAMES[name] in found[MODELS[name].notes]


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("name", ["Honest", "HonestRegressor"])
def test_the_models_that_the_broken_ones_are_made_from_keep_every_promise(name: str) -> None:
    load_plugin(BROKEN)
    assert failed(check_model(MODELS[name], "smoke")) == {}


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("name", ["Forgetful", "Unclear", "Global", "WrongProbe", "Greedy", "LabelledContext"])
def test_one_broken_promise_does_not_taint_the_other_checks(name: str) -> None:
    load_plugin(BROKEN)
    allowed = {MODELS[name].notes} | ({"context without labels"} if name == "LabelledContext" else set())
    assert set(failed(check_model(MODELS[name], "smoke"))) <= allowed


@pytest.mark.usefixtures("registries")
def test_the_global_generators_are_left_as_they_were_found() -> None:
    load_plugin(BROKEN)
    before = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    check_model(MODELS["Global"], "smoke")
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # type: ignore[index]  # noqa: NPY002


@pytest.mark.usefixtures("registries")
def test_the_exit_code_says_whether_every_promise_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "Honest", "--plugin", str(BROKEN)]) == 0
    assert "FAIL" not in capsys.readouterr().out
    assert main(["check", "blind", "--plugin", str(BROKEN)]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line.startswith("FAIL")] == [
        "FAIL NaN pixels: an image with a NaN pixel is accepted: must be refused with a ValueError that says NaN"
    ]
    assert "ok   shape: (17, 4) float32" in printed


@pytest.mark.usefixtures("registries")
def test_a_preset_and_a_modality_without_mock_galaxies_are_bad_usage() -> None:
    load_plugin(BROKEN)
    with pytest.raises(UsageError, match="--preset 'huge': must be one of smoke, laptop, paper"):
        check_model(MODELS["Constant"], "huge")
    with pytest.raises(UsageError, match=r"Radio reads image\+spectrum: mock galaxies exist for photometry, image, "):
        check_model(MODELS["Radio"], "smoke")


def test_the_check_of_a_plugin_runs_as_a_process(command_line: CommandLine) -> None:
    done = command_line("check", "BatchDependent", "--plugin", BROKEN)
    assert done.returncode == 1
    assert "FAIL batch size: galaxies one by one and together" in done.stdout
    assert "Traceback" not in done.stderr

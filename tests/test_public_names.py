"""What users script against: names of the four packages, fields of a row, options of the commands. Frozen lists:
extend them on purpose, and take nothing away."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import fields
from typing import Any

import pytest
import typer

from benchmark.board import FORMATS, ROW_FIELDS
from benchmark.cli.main import app
from benchmark.config import PRESETS, RECIPES
from benchmark.contracts import ModelCard, Score
from benchmark.registry import HEADS, METRICS, MODELS, SURVEYS, TASKS

NAMES = {
    "benchmark": ["ModelCard", "evaluate", "leaderboard", "load_records", "load_survey", "register_model"],
    "benchmark.metrics": [
        "accuracy",
        "balanced_accuracy",
        "bias",
        "brier",
        "crps",
        "energy_score",
        "f1_weighted",
        "outlier_fraction",
        "r2",
        "rmse",
        "roc_auc",
        "sigma_nmad",
    ],
    "encoders": [
        "AstroDINO",
        "AstroDINOConfig",
        "AstroDINOEncoder",
        "ImageHandFeatures",
        "ImagePCA",
        "ImagePixels",
        "RandomViT",
        "SelfSupervisedEncoder",
        "SpecFormer",
        "SpecFormerEncoder",
        "SpectrumPCA",
        "SpectrumZscanPCA",
        "TrainingConfig",
        "VisionTransformer",
        "load_official",
    ],
    "baselines": [
        "Constant",
        "FitConfig",
        "FitHistory",
        "GradientBoosting",
        "PhotometryMLP",
        "PhotometryRegressor",
        "fit_network",
    ],
    "posteriors": ["FlowEnsemble", "FlowEnsembleConfig", "bootstrap_ci", "expected_coverage", "paired_bootstrap"],
}

PARAMETERS = {
    "benchmark:evaluate": ["models", "survey", "tasks", "probes", "config", "out", "n_galaxies", "n_workers"],
    "benchmark:leaderboard": ["out", "task", "modality"],
    "benchmark:load_records": ["out", "kind"],
    "benchmark:load_survey": ["path"],
    "benchmark:register_model": ["card"],
    "posteriors:bootstrap_ci": ["metric", "y_true", "y_pred", "n_resamples", "seed"],
    "posteriors:paired_bootstrap": ["metric", "y_true", "y_pred_a", "y_pred_b", "n_resamples", "seed"],
    "posteriors:expected_coverage": ["draws", "target", "n_bootstrap", "seed"],
    "posteriors:FlowEnsemble.fit": ["context", "target", "config", "seed", "validation"],
    "posteriors:FlowEnsemble.log_prob": ["self", "target", "context"],
    "posteriors:FlowEnsemble.member_log_prob": ["self", "target", "context"],
    "posteriors:FlowEnsemble.draw": ["self", "context", "n_draws", "seed"],
    "posteriors:FlowEnsemble.save": ["self", "path"],
    "posteriors:FlowEnsemble.load": ["path"],
}

ROW = (
    "survey, model, modality, probe, recipe, preset, n_labels, task, task_version, target, condition, metric, better, "
    "value, ci_low, ci_high, n, rank_low, rank_high, tie_group, seed_spread, floor, status, error, contamination, "
    "published, ranked"
)

OPTIONS = {
    "run": "models --survey --tasks --probes --preset --recipe --out --seed --seeds --n-labels --inputs --workers "
    "--budget --cell-timeout --force --only-cached --dry-run --plugin --n-galaxies --json --checkpoint",
    "list": "what --json --plugin",
    "show": "name --json --plugin --preset --recipe",
    "check": "model --plugin --preset --checkpoint",
    "pretrain": "model --survey --out --preset --recipe --seed --resume --plugin --n-galaxies",
    "embed": "model --survey --out --checkpoint --preset --recipe --plugin --n-galaxies",
    "score": "--survey --name --embeddings --predictions --draws --out --preset --modality --seed --n-galaxies "
    "--workers",
    "leaderboard": "--out --format --task --modality",
    "report": "--out --html --survey",
    "survey build": "name --out --n --seed",
    "survey import": "spec --out --data --overwrite --workers --dry-run",
    "survey describe": "folder --json --pictures --html",
}


def commands(group: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, command in getattr(group, "commands", {}).items():
        inner = commands(command, f"{prefix}{name} ")
        found |= inner or {f"{prefix}{name}": command}
    return found


COMMANDS = commands(typer.main.get_command(app))


for module in NAMES:  # first imports leave traces: here, so that no test is blamed for them
    for name in importlib.import_module(module).__all__:
        getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("module", NAMES)
def test_the_names_of_a_package_are_these(module: str) -> None:
    package = importlib.import_module(module)
    assert sorted(package.__all__) == NAMES[module]
    for name in package.__all__:
        assert getattr(package, name).__doc__


@pytest.mark.parametrize("module", ["benchmark", "encoders", "baselines", "posteriors"])
def test_a_name_that_does_not_exist_is_an_attribute_error(module: str) -> None:
    package = importlib.import_module(module)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = package.no_such_name


@pytest.mark.parametrize("address", PARAMETERS)
def test_the_arguments_of_a_function_are_these(address: str) -> None:
    module, _, path = address.partition(":")
    found = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    expected = PARAMETERS[address]
    assert list(inspect.signature(found).parameters)[: len(expected)] == expected  # further ones may follow


def test_the_fields_of_a_row_are_these() -> None:
    assert ", ".join(ROW_FIELDS) == ROW
    # a row's key is everything before metric with it: no field may move across
    assert ROW_FIELDS.index("metric") == 11
    assert {field.name for field in fields(Score)} <= set(ROW_FIELDS)


def test_the_commands_are_these() -> None:
    assert set(COMMANDS) == set(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_options_of_a_command_are_these(name: str) -> None:
    given = [
        max(parameter.opts, key=len) if parameter.param_type_name == "option" else parameter.name
        for parameter in COMMANDS[name].params
    ]
    assert sorted(given) == sorted(OPTIONS[name].split())
    for parameter in COMMANDS[name].params:
        assert getattr(parameter, "help", ""), f"{name}: {parameter.name} has no help"


def test_presets_recipes_and_formats_are_these() -> None:
    assert list(PRESETS) == ["smoke", "laptop", "paper"]
    assert RECIPES == ("default", "paper", "code")
    assert list(FORMATS) == ["table", "json", "csv", "markdown"]


def test_models_probes_tasks_and_metrics_keep_their_names() -> None:
    assert {
        "Constant",
        "GradientBoosting",
        "ImagePCA",
        "ImagePixels",
        "PhotometryMLP",
        "RandomViT",
        "ExactPosterior",
    } <= {card.name for card in MODELS}
    assert {"knn", "linear", "mlp", "flow"} <= {card.name for card in HEADS}
    assert {"redshift", "properties", "posterior", "reference", "validity"} <= {card.name for card in TASKS}
    assert {card.name for card in SURVEYS} >= {"simulated", "analytic", "analytic-banana", "analytic-two-moons"}
    assert {
        "r2",
        "rmse",
        "sigma_nmad",
        "bias",
        "outlier_fraction",
        "nll_mixture",
        "nll_member_mean",
        "nll_per_dim",
        "crps",
        "coverage_68",
        "coverage_95",
        "tarp_p",
        "tarp_width_p",
        "pit_ks",
        "nll_gap",
        "c2st",
    } <= {card.name for card in METRICS}


def test_the_first_arguments_of_a_card_are_these() -> None:
    first = ["name", "modality", "factory", "kind", "probes", "summary"]
    assert [field.name for field in fields(ModelCard)][: len(first)] == first

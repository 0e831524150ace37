"""The configuration: complete, checked, and the same after a trip through JSON."""

import json
from dataclasses import replace

import pytest

import posteriors
from posteriors import FlowEnsembleConfig


@pytest.mark.parametrize("recipe", ["default", "coupling", "paper", "code"])
def test_a_configuration_survives_json_and_says_all_of_what_is_used(recipe) -> None:
    config = FlowEnsembleConfig(recipe=recipe, members=3, hidden=16)
    again = FlowEnsembleConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    unknown = {"default": ["batch_size", "weight_decay"], "coupling": ["batch_size"]}.get(recipe, [])
    assert [name for name, value in config.to_dict().items() if value is None] == unknown


def test_recipes_fill_in_their_own_values_and_given_ones_stay() -> None:
    assert FlowEnsembleConfig().tail_bound == 5
    assert FlowEnsembleConfig(recipe="coupling").learning_rate == 2e-3
    assert FlowEnsembleConfig(recipe="coupling", patience=0).patience == 0


def test_the_size_of_a_default_fit_is_open_until_one_of_its_values_is_given() -> None:
    config = FlowEnsembleConfig(members=3)
    assert config.has_open_size
    assert FlowEnsembleConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    small, large = config.of_size("small"), config.of_size("large")
    assert (small.n_couplings, small.hidden, small.epochs, small.learning_rate, small.max_steps) == (
        2, 32, 30, 1.5e-2, 1_500,
    )  # fmt: skip
    assert (large.n_couplings, large.hidden, large.epochs, large.learning_rate, large.max_steps) == (
        6, 64, 60, 5e-3, 4_000,
    )  # fmt: skip
    assert small.weight_decay is large.weight_decay is None
    for name in ("n_couplings", "hidden", "epochs", "learning_rate", "max_steps"):
        value = getattr(large, name)
        given = FlowEnsembleConfig(members=3, **{name: value})
        assert given == replace(small, **{name: value})
        assert given.of_size("large") == given


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "best"}, "allowed are 'default', 'coupling', 'paper', 'code'"),
        ({"backend": "pyro"}, "has no recipe 'default': allowed are 'stacked', 'nflows'"),
        ({"recipe": "code", "backend": "stacked"}, "has no recipe 'code': allowed are 'pyro'"),
        ({"faithful": True}, "only 'code' has slips to keep"),
        ({"hidden": (8, 4)}, "upper end of hidden = 4"),
        ({"hidden": (8,)}, "an integer or a pair"),
        ({"backend": "jax"}, "allowed are 'stacked', 'nflows', 'pyro'"),
        ({"dtype": "float16"}, "allowed are 'float32', 'float64'"),
        ({"shared_batches": "no"}, "True or False is needed"),
        ({"members": 0}, "members = 0"),
        ({"members": 2.0}, "members = 2.0"),
        ({"epochs": True}, "epochs = True"),
        ({"n_bins": 101}, "2 to 100"),
        ({"batch_size": 1}, "batch_size = 1"),
        ({"learning_rate": 0.0}, "nothing would be learned"),
        ({"learning_rate": float("nan")}, "finite number"),
        ({"tail_bound": 0.5}, "tail_bound = 0.5"),
        ({"average": 1}, "average = 1"),
    ],
)
def test_values_out_of_range_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlowEnsembleConfig(**changes)


def test_unknown_options_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"options transforms: allowed are .*n_couplings"):
        FlowEnsembleConfig.from_dict({"transforms": 5})


def test_the_public_names_are_these_and_are_imported_on_use() -> None:
    assert posteriors.__all__ == [
        "FlowEnsemble",
        "FlowEnsembleConfig",
        "bootstrap_ci",
        "expected_coverage",
        "paired_bootstrap",
    ]
    for name in posteriors.__all__:
        assert getattr(posteriors, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Flow'"):
        _ = posteriors.Flow

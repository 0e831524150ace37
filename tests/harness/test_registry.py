"""The registry: folders are scanned, names are forgiving, doubles are refused, plugins fail with a reason."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import benchmark
from benchmark.contracts import GalaxybenchError, MetricCard, ModelCard, UsageError
from benchmark.registry import HEADS, METRICS, MODELS, SURVEYS, TASKS, Registry, load_plugin, register_model, resolve

PLUGIN = """
from benchmark import ModelCard, register_model
register_model(ModelCard("Mine", "none", "{stem}:Model", "supervised", ("supervised",), "of a plugin"))
class Model: ...
"""


def write(path: Path, text: str = PLUGIN) -> Path:
    path.write_text(text.replace("{stem}", path.stem))
    return path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """An empty package on the path, with a name of its own for every test."""
    name = f"cards_{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return name


def metric(name: str) -> str:
    return f"MetricCard({name!r}, 'lower', 's')"


def fill(tmp_path: Path, package: str, **modules: str) -> Registry[MetricCard]:
    for name, text in modules.items():
        (tmp_path / package / f"{name}.py").write_text(f"from benchmark.contracts import MetricCard\n{text}\n")
    return Registry("metric", package, "METRICS")


def test_the_modules_of_a_folder_are_found_without_a_list(tmp_path: Path, package: str) -> None:
    registry = fill(tmp_path, package, b=f"METRICS = {metric('two')}", a=f"METRICS = ({metric('One')},)", c="OTHER = 1")
    assert [entry.name for entry in registry] == ["One", "two"]  # in the order of their names, case aside


def test_two_modules_may_not_define_one_name(tmp_path: Path, package: str) -> None:
    registry = fill(tmp_path, package, a=f"METRICS = {metric('one')}", b=f"METRICS = {metric('one')}")
    with pytest.raises(GalaxybenchError, match=f"metric 'one' is defined twice below {package}"):
        list(registry)


@pytest.mark.parametrize("name", ["Constant", "constant", "CONSTANT"])
def test_any_case_of_a_name_is_understood(name: str) -> None:
    assert MODELS[name].name == "Constant"


@pytest.mark.parametrize(
    ("registry", "name", "message"),
    [
        (MODELS, "Constnat", "unknown model 'Constnat': did you mean Constant?"),
        (MODELS, "imagepc", "unknown model 'imagepc': did you mean ImagePCA or"),
        (HEADS, "liner", "unknown probe 'liner': did you mean linear?"),
        (TASKS, "redshfit", "unknown task 'redshfit': did you mean redshift?"),
        (TASKS, "xyz", "unknown task 'xyz': known: .*posterior, properties, redshift"),
        (METRICS, "crsp", "unknown metric 'crsp': did you mean crps?"),
        (SURVEYS, "simulatd", "unknown survey 'simulatd': did you mean simulated or"),
        (MODELS, "", "unknown model '': known: "),
    ],
)
def test_an_unknown_name_is_bad_usage_and_near_misses_are_suggested(
    registry: Registry, name: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        registry[name]


@dataclass(frozen=True)
class _Entry:
    name: str
    fact: int = 0


def test_a_name_that_is_taken_is_refused_whatever_its_case(tmp_path: Path, package: str) -> None:
    registry: Registry[_Entry] = Registry("thing", package, "THINGS")
    registry.add(_Entry("Mine", 1))
    registry.add(_Entry("Mine", 1))  # the same entry again: a plugin that is loaded twice
    for name in ("Mine", "MINE"):
        with pytest.raises(UsageError, match=f"thing '{name}' is registered already: choose another name"):
            registry.add(_Entry(name, 2))
    assert [entry.fact for entry in registry] == [1]


def test_every_name_of_the_suite_is_unique_and_resolves() -> None:
    for registry in (MODELS, HEADS, TASKS, METRICS, SURVEYS):
        entries = list(registry)
        assert entries
        assert len({entry.name.lower() for entry in entries}) == len(entries)
        assert all(entry.summary for entry in entries)
    for address in [
        *(card.factory for card in MODELS),
        *(card.factory for card in HEADS),
        *(card.score for card in TASKS),
        *(card.build for card in SURVEYS),
    ]:
        assert callable(resolve(address))


def test_tasks_name_metrics_that_exist_and_a_headline_among_them() -> None:
    known = {card.name for card in METRICS}
    for task in TASKS:
        assert set(task.metrics) <= known
        assert task.headline[0] in task.metrics
    assert all((card.nominal is not None) == (card.better == "nominal") for card in METRICS)


@pytest.mark.parametrize("address", ["no_such_module:Model", "benchmark.contracts:NoSuchName", "nonsense"])
def test_an_address_that_names_nothing_is_refused(address: str) -> None:
    with pytest.raises(GalaxybenchError, match=f"cannot import '{address}': .*; an address reads 'module:attribute'"):
        resolve(address)


@pytest.mark.usefixtures("registries")
def test_a_plugin_registers_a_model_and_may_hold_its_code(tmp_path: Path) -> None:
    path = write(tmp_path / "my_plugin_of_today.py")
    digest = load_plugin(path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert benchmark.registry.MODELS["mine"].summary == "of a plugin"
    assert resolve(MODELS["Mine"].factory).__name__ == "Model"
    assert load_plugin(path) == digest  # a worker that has it already


def test_what_a_test_registers_does_not_stay() -> None:
    assert "Mine" not in [card.name for card in MODELS]
    assert "my_plugin_of_today" not in sys.modules


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize(
    ("name", "text", "kind", "message"),
    [
        ("broken_plugin.py", "import no_such_module_anywhere", GalaxybenchError, "ModuleNotFoundError: No module"),
        ("syntax_plugin.py", "def (", GalaxybenchError, "SyntaxError"),
        ("dividing_plugin.py", "1 / 0", GalaxybenchError, "ZeroDivisionError: division by zero"),
        ("taken_plugin.py", PLUGIN.replace("Mine", "constant"), UsageError, "model 'constant' is registered already"),
        ("json.py", PLUGIN, UsageError, "a module named 'json' exists already; rename the file"),
        ("plugin.txt", PLUGIN, UsageError, "not a Python file; its name must end in .py"),
    ],
)
def test_a_plugin_that_fails_says_which_and_why(
    name: str, text: str, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(GalaxybenchError, match=message) as caught:
        load_plugin(path)
    assert type(caught.value) is kind
    if message.startswith("model"):
        return  # the registry speaks of the name, which the plugin's author chose
    assert str(path) in str(caught.value)
    assert path.stem == "json" or path.stem not in sys.modules


def test_a_plugin_that_is_not_there_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.py: no such file; give a Python file"):
        load_plugin(tmp_path / "nowhere.py")


@pytest.mark.usefixtures("registries")
def test_a_registered_model_is_on_the_board_of_this_process() -> None:
    card = register_model(ModelCard("Mine", "none", "m:M", "supervised", ("supervised",), "s"))
    assert MODELS["MINE"] is card
    assert card in list(MODELS)

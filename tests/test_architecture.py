"""The shape of the code: arrows, start-up time, sizes and names, as CONTRIBUTING says."""

from __future__ import annotations

import ast
import graphlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGES = ("benchmark", "encoders", "posteriors", "baselines")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
NAMES = [str(path.relative_to(ROOT)) for path in MODULES]


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", code, *arguments]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, check=False)


def test_arrows_point_one_way() -> None:
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
    done = python(code)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


def test_no_module_of_the_harness_escapes_the_layers() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [contract["layers"] for contract in config["contracts"] if "inside" in contract["name"]]
    named = {name.strip() for layer in layers for name in layer.split("|")}
    present = {f"benchmark.{path.stem}" for path in (ROOT / "benchmark").iterdir() if _is_module(path)}
    assert present - named == {"benchmark.__main__"}
    assert not named - present


def _is_module(path: Path) -> bool:
    return path.name != "__init__.py" and (path.suffix == ".py" or (path / "__init__.py").is_file())


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError and names the cycle


LISTING = [
    ["--help"],
    ["run", "--help"],
    ["list", "models"],
    ["list", "surveys"],
    ["list", "metrics"],
    ["show", "ImagePCA"],
    ["list", "probes"],
    ["list", "tasks", "--json"],
    ["show", "posterior", "--json"],
]


def test_what_only_lists_imports_nothing_heavy() -> None:
    code = """
import json, sys
from benchmark.cli.main import main
for arguments in json.loads(sys.argv[1]):
    assert main(arguments) == 0
    heavy = {"torch", "sklearn", "nflows", "matplotlib", "pandas"} & set(sys.modules)
    assert not heavy, f"{arguments}: {heavy}"
"""
    done = python(code, json.dumps(LISTING))
    assert done.returncode == 0, done.stderr


def test_importing_a_package_imports_nothing_heavy() -> None:
    code = f"import sys, {', '.join(PACKAGES)}; print(*sorted({{'torch', 'sklearn', 'pandas'}} & set(sys.modules)))"
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_every_package_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    declared = {_canonical(Requirement(text).name) for text in named}
    homes = importlib.metadata.packages_distributions()
    for path in MODULES:
        for name in _imported(path) - sys.stdlib_module_names - set(PACKAGES):
            assert declared & set(map(_canonical, homes.get(name, [name]))), f"{path.relative_to(ROOT)} imports {name}"


def _imported(path: Path) -> set[str]:
    """First parts of the names that a module imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_no_requirement_pulls_torchvision() -> None:
    # it brings another torch, and has replaced ours
    seen = set(_requirements("galaxybench", set()))
    assert "torch" in seen
    assert "torchvision" not in seen


def _requirements(name: str, seen: set[str]) -> Iterator[str]:
    try:
        needed = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return  # needed on other machines only
    for requirement in map(Requirement, needed):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            needed_name = _canonical(requirement.name)
            if needed_name not in seen:
                seen.add(needed_name)
                yield needed_name
                yield from _requirements(needed_name, seen)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_a_module_is_small_and_named_by_a_noun_of_the_field(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc", "tools", "stuff"}
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert _body_lines(node) < 50, f"{node.name} has {_body_lines(node)} lines"
            assert not node.name.lstrip("_").startswith(("get_", "process_"))
        if isinstance(node, ast.ClassDef):
            assert not node.name.endswith("Manager")
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"bare except in line {node.lineno}"


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_public_names_have_docstrings_and_exist(path: Path) -> None:
    tree = ast.parse(path.read_text())
    defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets):
            public = ast.literal_eval(node.value)
            assert len(set(public)) == len(public)
            for name in set(public) & set(defined):
                assert ast.get_docstring(defined[name]), f"{name} has no docstring"


def test_tests_mirror_the_packages() -> None:
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    inside = {path.name for path in (ROOT / "benchmark").iterdir() if path.is_dir()}
    assert folders <= inside | set(PACKAGES) | {"harness", "performance", "regression", "golden"}

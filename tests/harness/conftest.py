"""Registries that forget what a test adds, and the command line as a process, shared by the tests of the harness."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_survey import CommandLine, cli_environment

from benchmark.registry import MODELS, TASKS


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten after it, and so are the modules of its plugins."""
    for registry in (MODELS, TASKS):
        monkeypatch.setattr(registry, "_entries", {entry.name: entry for entry in registry})
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").suffix == ".py" and "." not in name:
            del sys.modules[name]


@pytest.fixture
def command_line(tmp_path: Path) -> CommandLine:
    """``python -m benchmark ...`` as a process of its own, in the test's folder."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "benchmark", *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env=cli_environment(), check=False)

    return call

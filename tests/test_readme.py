"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.cli.main import main
from benchmark.registry import MODELS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The README's example of a model, as a file; the registry and the modules are as before afterwards."""
    match = re.search(r"```python\n# mine\.py\n(.*?)```", README, re.DOTALL)
    assert match is not None
    path = tmp_path / "readme_example.py"
    path.write_text(match[1].replace('"mine:', '"readme_example:'))
    monkeypatch.setattr(MODELS, "_entries", dict(MODELS._scanned()))
    yield path
    sys.modules.pop("readme_example", None)


def test_the_example_model_passes_its_check(plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "MeanColour", "--plugin", str(plugin)]) == 0
    assert "FAIL" not in capsys.readouterr().out


def test_ci_runs_the_test_command_of_the_readme() -> None:
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci" / "run").read_text()


def test_every_command_in_the_readme_exists() -> None:
    for line in re.findall(r"^python -m benchmark (.+?)(?:\s+#.*)?$", README, re.MULTILINE):
        words = line.split()
        command = words[:2] if words[0] == "survey" else words[:1]
        assert main([*command, "--help"]) == 0, line


def test_every_file_that_the_readme_links_exists() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_models_of_the_readme_are_those_of_the_registry() -> None:
    (listed,) = re.findall(r"^\| models \| read \|\n(.*?)\n\n", README, re.MULTILINE | re.DOTALL)
    assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(card.name for card in MODELS)

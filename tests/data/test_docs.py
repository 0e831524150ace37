"""The page on surveys names every key and finding, and its specs are valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmark.data import infofile
from benchmark.data.importing import pixelspec, spec
from benchmark.data.inspection import checks
from benchmark.data.tables import READERS

PAGE = (Path(__file__).parents[2] / "docs" / "surveys.md").read_text(encoding="utf-8")
SPECS = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
KEYS = [
    *spec.TOP_KEYS,
    *spec.SOURCE_KEYS,
    *spec.MATCH_KEYS,
    *pixelspec.IMAGE_KEYS,
    *pixelspec.SPECTRUM_KEYS,
    *(key for key in infofile.TARGET_TYPES if key != "name"),
]
LISTED = (checks.check_survey.__doc__ or "").partition("Codes:")[2]
CODES = re.findall(r"``([a-z_]+)``", LISTED)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_a_spec_is_on_the_page(key: str) -> None:
    assert re.search(rf"`{key}`|^{key} = |[{{ ]{key} = |\[\[{key}\]\]", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize("code", CODES)
def test_every_finding_is_on_the_page(code: str) -> None:
    assert f"`{code}`" in PAGE


def test_every_format_is_on_the_page() -> None:
    for reader in READERS:
        assert f"`{reader.name}`" in PAGE


@pytest.mark.parametrize("text", SPECS)
def test_every_spec_on_the_page_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "spec.toml").write_text(text)
    assert spec.read_spec(tmp_path / "spec.toml").sources

"""Files of weights: what they say of themselves, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.contracts import GalaxybenchError
from benchmark.weights import read_header, read_weights, write_weights

STATE = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(3, dtype=np.int64)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_weights(tmp_path / "w.safetensors", STATE, {"name": "Mine", "options": {"width": 3}})
    return tmp_path / "w.safetensors"


def test_arrays_and_facts_come_back(file: Path) -> None:
    header = read_header(file)
    assert header.facts == {"name": "Mine", "options": {"width": 3}}
    assert header.n_arrays == 2
    back = read_weights(file)
    assert {name: array.tobytes() for name, array in back.items()} == {n: a.tobytes() for n, a in STATE.items()}


@pytest.mark.parametrize("n_bytes", [0, 5, 40, -1])
def test_a_file_that_was_cut_is_one_clear_line(n_bytes: int, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:n_bytes])
    with pytest.raises(
        GalaxybenchError, match=r"w\.safetensors: (is no safetensors file; give|has .* the file was cut)"
    ):
        read_weights(file)


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 a zip file, as torch writes it", b"\x02\0\0\0\0\0\0\0[]", b"\xff" * 64]
)
def test_a_file_of_another_kind_is_one_clear_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(GalaxybenchError, match=r"w\.pt: is no safetensors file; give one that 'pretrain' wrote"):
        read_header(tmp_path / "w.pt")


def test_a_file_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(GalaxybenchError, match=r"cannot be read \(No such file"):
        read_header(tmp_path / "none")


def test_weights_of_another_program_say_nothing_of_themselves(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file(STATE, tmp_path / "other.safetensors")
    assert read_header(tmp_path / "other.safetensors").facts == {}


def test_a_file_of_weights_may_be_read_by_whoever_may_read_its_folder(file: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    assert file.stat().st_mode == (tmp_path / "plain").stat().st_mode

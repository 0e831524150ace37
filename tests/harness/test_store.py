"""The store: records whole or not at all, whatever dies, fills up or lies about."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark import store as store_module
from benchmark.contracts import GalaxybenchError, UsageError
from benchmark.store import Store, atomic_write, canonical_json, content_key, file_sha256, load_records

ROOT = Path(__file__).parents[2]
RECORD = {
    "schema_version": 1,
    "key": "k",
    "name": "cell",
    "kind": "score",
    "status": "done",
    "reason": "",
    "model": {"name": "M"},
    "task": None,
    "survey": {"name": "s"},
    "preset": "smoke",
    "recipe": "default",
    "seed": 0,
    "config": {},
    "scores": [],
    "created": "2026-01-01",
    "artefacts": [],
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "out")
    made.prepare()
    return made


def start(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], env=environment)


def files(store: Store) -> list[str]:
    return sorted(path.name for path in store.folder.rglob("*") if path.is_file())


def test_a_record_comes_back_as_it_was_written(store: Store) -> None:
    record = RECORD | {"scores": [{"value": 0.1 + 0.2, "n": 3, "name": "log10 M☉"}]}
    store.write_record("a", record)
    assert store.read_record("a") == record
    assert store.read_record("b") is None
    assert load_records(store.folder) == [record]
    assert load_records(store.folder, kind="train") == []
    assert files(store) == ["a.json"]


def test_numbers_that_are_not_finite_become_null_at_any_depth(store: Store) -> None:
    nan, inf = float("nan"), float("inf")
    store.write_record("a", RECORD | {"scores": [{"value": nan, "ci": (inf, -inf, 1.0)}], "details": {"x": {"y": nan}}})
    text = store.path("records", "a.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    read = store.read_record("a")
    assert read is not None
    assert read["scores"] == [{"value": None, "ci": [None, None, 1.0]}]
    assert read["details"] == {"x": {"y": None}}


def test_equal_content_has_one_key_whatever_its_order() -> None:
    assert content_key({"a": 1, "b": (2, 3)}) == content_key({"b": [2, 3], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})
    assert len(content_key("")) == 16
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


def test_a_writer_killed_in_the_middle_leaves_no_record_and_the_next_run_sweeps(store: Store) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from benchmark.store import atomic_write
def write(path):
    path.write_text('{"half": ')
    os.kill(os.getpid(), signal.SIGKILL)
atomic_write(Path(sys.argv[1]), write)
"""
    with start(code, store.path("records", "a.json")) as writer:
        assert writer.wait(60) == -signal.SIGKILL
    (left_over,) = files(store)
    assert left_over.startswith(".a.json.")
    assert store.read_record("a") is None
    assert store.records() == []
    store.prepare()
    assert files(store) == []


def test_the_temporary_file_of_a_live_process_is_not_swept(store: Store) -> None:
    live = store.path("records", f".a.json.{os.getpid()}.tmp.json")
    live.write_text("{")
    odd = store.path("outputs", ".b.parquet.whoknows.tmp.parquet")
    odd.write_text("")
    store.prepare()
    assert files(store) == [live.name]


def test_two_writers_of_one_cell_and_a_reader_never_see_a_torn_record(store: Store) -> None:
    code = f"""
import sys
from pathlib import Path
from benchmark.store import Store
store, who = Store(Path(sys.argv[1])), sys.argv[2]
record = {RECORD!r}
for number in range(150):
    store.write_record("cell", record | {{"who": who, "number": number, "filling": [who] * 2000}})
"""
    writers = [start(code, store.folder, who) for who in ("one", "other")]
    seen, n_reads = set(), 0
    while any(writer.poll() is None for writer in writers):
        record = store.read_record("cell")  # raises where it is torn
        if record is not None:
            assert record["filling"] == [record["who"]] * 2000
            seen.add(record["who"])
            n_reads += 1
    assert [writer.returncode for writer in writers] == [0, 0]
    assert n_reads > 50
    assert seen <= {"one", "other"}
    assert files(store) == ["cell.json"]


def test_a_full_disk_is_one_line_and_leaves_the_old_record(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_record("a", RECORD)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store_module.os, "fsync", full)
    with pytest.raises(GalaxybenchError, match=r"a\.json: No space left on device; free some space") as caught:
        store.write_record("a", RECORD | {"status": "failed"})
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, UsageError)
    assert store.read_record("a") == RECORD
    assert files(store) == ["a.json"]


def test_a_write_that_the_disk_cuts_short_leaves_nothing(store: Store) -> None:
    def write(path: Path) -> None:
        path.write_bytes(b"half of an arr")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(GalaxybenchError, match="free some space"):
        atomic_write(store.path("outputs", "big.npz"), write)
    assert files(store) == []


def test_a_writer_that_fails_for_another_reason_leaves_nothing_either(store: Store) -> None:
    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise ValueError("no such array")

    with pytest.raises(ValueError, match="no such array"):
        atomic_write(store.path("outputs", "big.npz"), write)
    assert files(store) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        (json.dumps(RECORD)[:30], "Unterminated|Expecting|delimiter"),
        ("[1, 2]", "it is not an object"),
        ("3", "it is not an object"),
        ("null", "it is not an object"),
        ('"schema_version key kind status model"', "it is not an object"),
        ('{"leaderboard": []}', "it lacks schema_version, key, name, kind, status, reason, model"),
        (json.dumps(RECORD | {"schema_version": 99}), "schema_version 99, this version reads 1"),
        ("\udcff\udcfe\x00", "decode"),
    ],
    ids=["empty", "cut", "list", "number", "null", "text", "foreign", "future", "bytes"],
)
def test_a_file_that_is_no_record_is_refused_by_name(store: Store, text: str, why: str) -> None:
    store.write_record("good", RECORD)
    store.path("records", "bad.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    for read in (lambda: store.read_record("bad"), lambda: load_records(store.folder)):
        with pytest.raises(GalaxybenchError, match=rf"records/bad\.json: not a readable record \(.*({why})") as caught:
            read()
        assert "\n" not in str(caught.value)
        assert "delete this file and run again" in str(caught.value)


def test_a_folder_that_is_no_results_store_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a results folder"):
        load_records(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_written_is_bad_usage(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UsageError, match=r"--out .*file/out: cannot be written \(Not a directory\); choose another"):
        Store(file / "out").prepare()


def test_a_cell_is_done_while_its_artefact_has_its_size_and_read_while_it_has_its_bytes(store: Store) -> None:
    path = store.path("outputs", "a.npz")
    atomic_write(path, lambda temporary: temporary.write_bytes(b"12345"))
    store.write_record("a", RECORD | {"artefacts": [store.artefact(path)]})
    assert store.is_done("a")
    assert store.checked_artefact("a") == path
    path.write_bytes(b"1234X")
    assert store.is_done("a")  # the size alone is looked at, so that a plan over thousands of cells is quick
    with pytest.raises(GalaxybenchError, match=r"outputs/a\.npz: is missing or was altered"):
        store.checked_artefact("a")
    path.write_bytes(b"1234")
    assert not store.is_done("a")
    path.unlink()
    assert not store.is_done("a")
    with pytest.raises(GalaxybenchError, match="no artefact of cell b"):
        store.checked_artefact("b")


@pytest.mark.parametrize("status", ["failed", "crashed", "timeout", "skipped"])
def test_a_cell_that_did_not_end_well_is_not_done(store: Store, status: str) -> None:
    store.write_record("a", RECORD | {"status": status})
    assert not store.is_done("a")


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

"""The results store: one record a cell, written whole or not at all, and the artefacts the records point to.

``records/*.json`` say what has run, ``models/*.safetensors`` hold weights, ``embeddings/*.parquet`` embeddings,
``outputs/*.parquet|npz`` per-galaxy predictions and draws; ``partial/*`` are states of trainings under way.
``ranks.json`` keeps what the board has computed from all of them, and may be deleted. A file appears under its name
only when it is complete: it is written beside its place under a temporary name, synced and then moved. A killed run
therefore leaves nothing but temporary files, which the next run sweeps, and states of trainings, which the next run
takes up.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmark.contracts import GalaxybenchError, UsageError

__all__ = ["SCHEMA_VERSION", "Store", "atomic_write", "canonical_json", "content_key", "file_sha256", "load_records"]

SCHEMA_VERSION = 1
_FOLDERS = ("records", "models", "embeddings", "outputs")
_LAST_RUN = "last_run.json"
_REQUIRED = (
    *("schema_version", "key", "name", "kind", "status", "reason", "model", "task", "survey", "preset", "recipe"),
    *("seed", "config", "scores", "created"),
)


def canonical_json(content: object) -> str:
    """JSON with sorted keys and no spaces: equal content gives equal text."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_key(content: object) -> str:
    """First 16 hexadecimal digits of the sha256 of `canonical_json`."""
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Sha256 of a file's bytes, as 64 hexadecimal digits, read in pieces.

    Raises
    ------
    GalaxybenchError
        If the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise GalaxybenchError(f"{path} cannot be read ({error.strerror})") from error


def atomic_write(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then move it there in one step.

    Raises
    ------
    GalaxybenchError
        If the disk is full or the folder cannot be written; ``path`` is then as it was before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        write(temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        hint = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another folder"
        raise GalaxybenchError(
            f"cannot write {path}: {error.strerror or error}; {hint} and run again, what is done is kept"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


class Store:
    """A results folder.

    Parameters
    ----------
    folder : the folder; made by `prepare` where it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def prepare(self) -> None:
        """Make the folders and sweep what killed processes left behind.

        Raises
        ------
        UsageError
            If the folder cannot be made or written.
        """
        try:
            for name in _FOLDERS:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".writable.{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise UsageError(
                f"--out {self.folder}: cannot be written ({error.strerror or error}); choose another folder"
            ) from error
        self._sweep()

    def _sweep(self) -> None:
        for left_over in (*self.folder.glob("*/.*.tmp*"), *self.folder.glob(".*.tmp*")):
            writer = left_over.name.rpartition(".tmp")[0].rpartition(".")[2]
            if not (writer.isdigit() and _is_alive(int(writer))):
                left_over.unlink(missing_ok=True)
        for folder in self.folder.glob("partial/*"):
            if self.is_done(folder.name):
                self.sweep_partial(folder.name)

    def partial(self, name: str) -> Path:
        """Where a long cell keeps its state until it is done; the folder is made by whoever writes there."""
        return self.folder / "partial" / name

    def sweep_partial(self, name: str) -> None:
        """Remove the state of a cell that is done."""
        shutil.rmtree(self.partial(name), ignore_errors=True)

    def path(self, folder: str, name: str) -> Path:
        """Place of an artefact, e.g. ``path("outputs", "predict-....parquet")``."""
        return self.folder / folder / name

    def write_record(self, name: str, record: Mapping[str, Any]) -> None:
        """Write ``records/NAME.json``; numbers that are not finite become null."""
        text = json.dumps(_without_nan(record), sort_keys=True, indent=1, allow_nan=False) + "\n"
        atomic_write(self.path("records", f"{name}.json"), lambda path: path.write_text(text))

    def read_record(self, name: str) -> dict[str, Any] | None:
        """The record of a cell, None where it has none yet."""
        path = self.path("records", f"{name}.json")
        return _read_record(path) if path.exists() else None

    def is_done(self, name: str) -> bool:
        """Whether the cell's record says done and every artefact it names lies there in its full size."""
        record = self.read_record(name)
        return record is not None and record["status"] == "done" and not list(self.missing_artefacts(record))

    def missing_artefacts(self, record: Mapping[str, Any]) -> Iterator[str]:
        """Artefacts of a record that are gone or do not have their recorded size."""
        for artefact in record.get("artefacts", []):
            path = self.folder / artefact["path"]
            if not path.is_file() or path.stat().st_size != artefact["bytes"]:
                yield artefact["path"]

    def artefact(self, path: Path) -> dict[str, Any]:
        """What a record says of one artefact: path below the store, size and sha256."""
        return {
            "path": path.relative_to(self.folder).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": file_sha256(path),
        }

    def checked_artefact(self, name: str) -> Path:
        """Path of the first artefact of a cell, after comparing its bytes with the record.

        Raises
        ------
        GalaxybenchError
            If the record or the file is missing, or the file was altered or cut.
        """
        record = self.read_record(name)
        if record is None or not record.get("artefacts"):
            raise GalaxybenchError(f"{self.folder}: no artefact of cell {name}; run again to make it")
        artefact = record["artefacts"][0]
        path = self.folder / artefact["path"]
        if not path.is_file() or file_sha256(path) != artefact["sha256"]:
            raise GalaxybenchError(f"{path}: is missing or was altered; delete records/{name}.json and run again")
        return path

    def write_last_run(self, names: Iterable[str]) -> None:
        """Note the cells that a run asked for, cached ones too, in ``last_run.json``."""
        text = json.dumps(sorted(names), indent=1) + "\n"
        atomic_write(self.folder / _LAST_RUN, lambda path: path.write_text(text))

    def last_run(self) -> frozenset[str]:
        """Names of the cells that the last run asked for; empty where no run is noted."""
        path = self.folder / _LAST_RUN
        try:
            return frozenset(json.loads(path.read_text()))
        except FileNotFoundError:
            return frozenset()
        except (OSError, ValueError, TypeError) as error:
            raise GalaxybenchError(f"{path}: not a readable list of cells ({error}); delete this file") from error

    def records(self) -> list[dict[str, Any]]:
        """Every record, in the order of their names."""
        return [_read_record(path) for path in sorted(self.path("records", "").glob("[!.]*.json"))]


def load_records(out: str | Path, kind: str | None = "score") -> list[dict[str, Any]]:
    """Records of a results folder.

    Parameters
    ----------
    out : the results folder (``--out`` of a run).
    kind : ``train``, ``embed``, ``predict`` or ``score``; None for all.

    Raises
    ------
    UsageError
        If the folder holds no records.
    GalaxybenchError
        If a record cannot be read.
    """
    store = Store(Path(out))
    if not store.path("records", "").is_dir():
        raise UsageError(f"{out}: not a results folder (it has no records/); give the --out of a run")
    return [record for record in store.records() if kind in (None, record["kind"])]


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise _corrupt(path, str(error)) from error
    if not isinstance(record, dict):
        raise _corrupt(path, "it is not an object")
    missing = [name for name in _REQUIRED if name not in record]
    if missing:
        raise _corrupt(path, f"it lacks {', '.join(missing)}")
    if record["schema_version"] != SCHEMA_VERSION:
        raise _corrupt(path, f"schema_version {record['schema_version']}, this version reads {SCHEMA_VERSION}")
    return record


def _corrupt(path: Path, why: str) -> GalaxybenchError:
    return GalaxybenchError(f"{path}: not a readable record ({why}); delete this file and run again, the rest is kept")


def _without_nan(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return content


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

"""Embedding the galaxies of a survey: at once, or in parts on disk, so that a killed run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError, Progress, UsageError
from benchmark.data import Survey
from benchmark.store import atomic_write
from benchmark.training import galaxies

__all__ = ["PART_ROWS", "claim_folder", "embed_rows"]

PART_ROWS = 8_192
"""Galaxies of a part; surveys that are not larger are embedded at once."""

_OWNER = "owner.json"


def embed_rows(
    encoder: Any,
    model: Mapping[str, Any],
    survey: Survey,
    rows: NDArray[np.int64],
    *,
    folder: Path,
    owner: str,
    progress: Progress | None = None,
    part_rows: int = PART_ROWS,
) -> NDArray[np.float32]:
    """Embedding (n, d) of some rows of a survey.

    Of more than ``part_rows`` galaxies, parts are embedded one after the other and kept in ``folder``: each is written
    whole or not at all, while the next one is computed, and parts that lie there are not computed again. The result
    is the same, byte for byte, whether the work was broken off or not.

    Parameters
    ----------
    encoder : an encoder with its weights.
    model : its facts, see `benchmark.models.model_facts`.
    survey : where the galaxies are.
    rows : (n,) which ones.
    folder : for the parts; whoever writes the result removes it then.
    owner : key of all that determines the result; parts of another one are refused.
    progress : called with (galaxies done, galaxies in all) after every part.
    part_rows : galaxies of a part.

    Raises
    ------
    GalaxybenchError
        If the encoder refuses the galaxies, an embedding is not finite or not (n, d), or a part cannot be written.
    UsageError
        If the folder holds parts of another embedding.
    """
    if rows.size <= part_rows:
        return _embed(encoder, model, survey, rows, 0)
    claim_folder(folder, f"{owner}-{part_rows}")
    paths: list[Path] = []
    writing: Future[None] | None = None
    with ThreadPoolExecutor(max_workers=1) as pool:
        for number, start in enumerate(range(0, rows.size, part_rows)):
            paths.append(folder / f"embedding-{number:05d}.npy")
            if not paths[-1].exists():
                part = _embed(encoder, model, survey, rows[start : start + part_rows], start)
                if writing:
                    writing.result()  # one part at a time; an error of the disk ends the work here
                writing = pool.submit(_write_part, paths[-1], part)
            if progress:
                progress(min(start + part_rows, rows.size), rows.size)
        if writing:
            writing.result()
    return np.concatenate(list(_parts(paths)))


def claim_folder(folder: Path, owner: str) -> None:
    """Make a folder for unfinished work, or see that the one that lies there is of the same work.

    Raises
    ------
    UsageError
        If it holds work of another owner.
    GalaxybenchError
        If it cannot be made.
    """
    path = folder / _OWNER
    if path.exists():
        if json.loads(path.read_text()) != owner:
            raise UsageError(
                f"{folder}: holds parts of an embedding of other weights or galaxies; remove it, or choose another file"
            )
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GalaxybenchError(f"cannot make {folder}: {error.strerror}; choose another folder") from error
    atomic_write(path, lambda temporary: temporary.write_text(json.dumps(owner)))


def _embed(
    encoder: Any, model: Mapping[str, Any], survey: Survey, rows: NDArray[np.int64], first: int
) -> NDArray[np.float32]:
    try:
        embedding: NDArray[np.float32] = encoder.embed(galaxies(model, survey, rows))
    except ValueError as error:
        counted = f" (rows are counted from galaxy {first}, target_id {survey.target_id[rows[0]]})" if first else ""
        raise GalaxybenchError(f"{error}{counted}") from error
    if embedding.shape[:1] != rows.shape or embedding.ndim != 2 or not np.isfinite(embedding).all():
        raise GalaxybenchError(
            f"embedding of shape {embedding.shape}: must be finite and ({rows.size}, d), a row a galaxy"
        )
    return embedding


def _write_part(path: Path, part: NDArray[np.float32]) -> None:
    def save(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            np.save(stream, part)

    atomic_write(path, save)


def _parts(paths: list[Path]) -> Iterator[NDArray[np.float32]]:
    for path in paths:
        try:
            yield np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise GalaxybenchError(f"{path}: not a readable part of an embedding; delete it and run again") from error

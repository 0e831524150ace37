"""Encoders outside of a run: training one into a file of weights, in one process or several, and embedding a survey."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.artefacts import write_embedding
from benchmark.contracts import ModelCard, Progress, TrainedEncoder, UsageError
from benchmark.data import Survey
from benchmark.embedding import PART_ROWS, claim_folder, embed_rows
from benchmark.models import Checkpoint
from benchmark.store import atomic_write, content_key
from benchmark.training import (
    build_model,
    embedding_facts,
    fit_encoder,
    load_weights,
    training_facts,
    weights_facts,
)
from benchmark.weights import write_weights

__all__ = ["Group", "embed", "joined_processes", "pretrain", "require_new_file", "require_trainable"]


@dataclass(frozen=True)
class Group:
    """The processes of a training: how many there are, and which one this is."""

    size: int = 1
    rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0

    def first_then_others(self, work: Callable[[], Any]) -> Any:
        """Let the first process do something, and then the others, which find it done."""
        if self.size == 1:
            return work()
        import torch.distributed as dist

        result = work() if self.is_first else None
        dist.barrier()
        return result if self.is_first else work()


@contextlib.contextmanager
def joined_processes() -> Iterator[Group]:
    """The processes that ``torchrun`` started, joined; this one alone without it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Group()
        return
    import torch
    import torch.distributed as dist

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Group(size, dist.get_rank())
    finally:
        dist.destroy_process_group()


def require_trainable(card: ModelCard) -> None:
    """Refuse models that learn nothing without labels.

    Raises
    ------
    UsageError
        If the model is no encoder or has nothing to learn.
    """
    if card.kind != "encoder" or not card.fitted:
        why = f"is {card.kind}" if card.kind != "encoder" else "learns nothing"
        raise UsageError(f"{card.name} {why}: only encoders that are fitted can be pretrained")


def require_new_file(path: Path, suffix: str) -> None:
    """Refuse to write over a file, into no folder, or under a name that says something else.

    Raises
    ------
    UsageError
        If the file exists, its folder does not, or its suffix is not ``suffix``.
    """
    if path.suffix != suffix:
        raise UsageError(f"--out {path}: must end in {suffix}")
    if path.exists():
        raise UsageError(f"--out {path}: exists already; choose another name or remove it")
    if not path.parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}; make it first")


def pretrain(
    model: dict[str, Any],
    survey: Survey,
    out: Path,
    labels: dict[str, str],
    *,
    seed: int,
    resume: bool,
    group: Group,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train an encoder on the training and unlabelled galaxies of a survey and write its weights.

    Parameters
    ----------
    model : facts, see `benchmark.models.model_facts`.
    survey : whose galaxies are learned from.
    out : file of weights. Beside it are written ``.csv`` and ``.svg`` with the course of the training, and, while it
        goes on, a folder ``.partial`` with its state.
    labels : ``preset`` and ``recipe``.
    seed : of all that is drawn.
    resume : take up the state in the folder.
    group : the processes that train together.
    progress : called with (steps done, steps in all).

    Returns
    -------
    facts : of the training, as a record holds them.

    Raises
    ------
    UsageError
        If a state lies there and is not to be taken up, or the encoder cannot be trained by several processes.
    """
    partial = out.with_name(f"{out.name}.partial")
    if partial.exists() and not resume:
        raise UsageError(f"{partial}: holds the state of a training; --resume takes it up, or remove the folder")
    encoder = build_model(model)
    if group.size > 1 and not isinstance(encoder, TrainedEncoder):
        raise UsageError(f"{model['name']} is fitted in one process: run it without torchrun")
    fit_encoder(encoder, model, survey, seed=seed, folder=partial, progress=progress)
    if group.is_first:
        write_weights(out, encoder.state(), weights_facts(model, survey, seed, labels))
        if isinstance(encoder, TrainedEncoder) and encoder.history.rows:
            atomic_write(out.with_suffix(".csv"), encoder.history.to_csv)
            atomic_write(out.with_suffix(".svg"), encoder.history.plot)
        shutil.rmtree(partial, ignore_errors=True)
    facts: dict[str, Any] = training_facts(encoder).get("training", {})
    return facts


def embed(
    model: dict[str, Any],
    survey: Survey,
    out: Path,
    *,
    weights: Checkpoint | None,
    training: Progress | None = None,
    embedding: Progress | None = None,
    part_rows: int = PART_ROWS,
) -> dict[str, Any]:
    """Embed every galaxy of a survey into a Parquet file that ``score --embeddings`` reads.

    Parameters
    ----------
    model : facts, see `benchmark.models.model_facts`.
    survey : whose galaxies are embedded, those of all splits.
    out : Parquet with ``target_id`` and ``embedding``. Beside it lies, while it is made, a folder ``.partial`` with
        what is done already, from which the same command goes on.
    weights : what the encoder takes; None to let it learn from the survey first, as a run does.
    training, embedding : called with (done, in all), steps while it learns and galaxies while it embeds.
    part_rows : see `benchmark.embedding.embed_rows`.

    Returns
    -------
    facts : of the embedding, as a record holds them.

    Raises
    ------
    GalaxybenchError
        If the weights do not fit the galaxies, an embedding is not finite, or the disk is full.
    UsageError
        If the folder holds what is done of another embedding.
    """
    partial, owner = out.with_name(f"{out.name}.partial"), content_key({"model": model, "survey": survey.digest})
    encoder = build_model(model)
    if weights:
        load_weights(encoder, Path(weights.path))
    else:
        _learn_once(encoder, model, survey, partial, owner, training)
    rows = np.arange(survey.n_galaxies, dtype=np.int64)
    found = embed_rows(
        encoder, model, survey, rows, folder=partial / "parts", owner=owner, progress=embedding, part_rows=part_rows
    )
    write_embedding(out, survey.target_id, found)
    shutil.rmtree(partial, ignore_errors=True)
    return embedding_facts(found)


def _learn_once(
    encoder: Any, model: dict[str, Any], survey: Survey, folder: Path, owner: str, progress: Progress | None
) -> None:
    """Train an encoder, or give it the weights that it was trained to before it was killed."""
    if not model["fitted"]:
        fit_encoder(encoder, model, survey, seed=0)
        return
    claim_folder(folder, owner)
    path = folder / "weights.safetensors"
    if not path.exists():
        fit_encoder(encoder, model, survey, seed=0, folder=folder / "training", progress=progress)
        write_weights(path, encoder.state(), model)
        shutil.rmtree(folder / "training", ignore_errors=True)
    load_weights(encoder, path)

"""Encoders at work on a survey: what they are given, their training, their weights, and what a record says of both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError, InputArray, Progress, TrainedEncoder
from benchmark.data import Survey, inputs
from benchmark.data.flux import flux_images
from benchmark.registry import resolve
from benchmark.weights import read_weights

__all__ = [
    "build_model",
    "embedding_facts",
    "fit_encoder",
    "galaxies",
    "load_weights",
    "training_facts",
    "weights_facts",
]

Facts = Mapping[str, Any]


def build_model(model: Facts) -> Any:
    """What the factory of a model makes of its options; ``model`` as it stands in a record's ``config``."""
    return resolve(model["factory"])(**model["options"])


def galaxies(model: Facts, survey: Survey, rows: NDArray[np.int64]) -> InputArray:
    """What a model reads of some rows of a survey."""
    if model["modality"] == "none":  # a model that reads nothing still has to know how many galaxies there are
        return np.zeros((rows.size, 0), dtype=np.float32)
    if model.get("images") == "flux":
        return flux_images(survey, rows)
    return inputs(survey, model["modality"], rows)


def fit_encoder(
    encoder: Any,
    model: Facts,
    survey: Survey,
    *,
    seed: int,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Let an encoder learn from the training and unlabelled galaxies of a survey, and from no others.

    They are given in the order of their ids, so that the order of the catalogue has no say in the weights.

    Parameters
    ----------
    encoder : what `build_model` made.
    model : its facts.
    survey : where the galaxies are.
    seed : of all that is drawn.
    folder : where a `TrainedEncoder` keeps its state, and takes up one that lies there.
    progress : called with (steps done, steps in all) by a `TrainedEncoder`.

    Raises
    ------
    GalaxybenchError
        If the survey has neither training nor unlabelled galaxies, or a state cannot be written.
    """
    rows = survey.rows("train", "unlabelled")
    if not rows.size:
        raise GalaxybenchError(f"survey '{survey.info.name}': has no training galaxy to learn from; check the split")
    seen = galaxies(model, survey, rows[np.argsort(survey.target_id[rows])])
    if isinstance(encoder, TrainedEncoder):
        try:
            encoder.fit(seen, seed=seed, folder=folder, progress=progress)
        except OSError as error:
            raise GalaxybenchError(str(error)) from error
    else:
        encoder.fit(seen, seed=seed)


def load_weights(encoder: Any, path: Path) -> None:
    """Give an encoder the weights of a file.

    Raises
    ------
    GalaxybenchError
        If the file cannot be read, or its arrays are not those of the encoder.
    """
    try:
        encoder.load_state(read_weights(path))
    except ValueError as error:
        raise GalaxybenchError(f"{path}: {error}") from error


def weights_facts(model: Facts, survey: Survey, seed: int, labels: Facts) -> dict[str, Any]:
    """What a file of weights says of itself: the model, its options, and what it was trained on."""
    return {
        **model,
        "seed": seed,
        "preset": labels["preset"],
        "recipe": labels["recipe"],
        "trained_on": {
            "survey": survey.info.name,
            "version": survey.info.version,
            "digest": survey.digest,
            "split_digest": survey.split_digest,
        },
    }


def training_facts(encoder: Any) -> dict[str, Any]:
    """What the record of a training says: nothing of encoders without a history."""
    return {"training": dict(encoder.facts())} if isinstance(encoder, TrainedEncoder) else {}


def embedding_facts(embedding: NDArray[np.float32]) -> dict[str, Any]:
    """Size of an embedding, how evenly it uses its directions, and why it has collapsed (empty where it has not)."""
    from encoders.training.collapse import collapsed, effective_rank, spread, uniformity

    facts: dict[str, Any] = {"embed_dim": int(embedding.shape[1])}
    if len(embedding) < 2:
        return facts
    return facts | {
        "effective_rank": effective_rank(embedding),
        "uniformity": uniformity(embedding),
        "spread": spread(embedding),
        "collapsed": collapsed(embedding),
    }

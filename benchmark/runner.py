"""One cell: read what it needs, do the work, write the artefact, then the record.

The only module that turns a cell's settings into calls of encoders, heads and tasks. It runs inside a worker process
(or in this one) and talks to the rest through the store alone.
"""

from __future__ import annotations

import functools
import resource
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.artefacts import Posterior, Predictions, read_embedding, write_embedding
from benchmark.contracts import ExactModel, GalaxybenchError, InputArray, Score, TooFewGalaxies, TrainedEncoder
from benchmark.data import Survey, foreign, load_survey
from benchmark.data.classes import one_hot
from benchmark.data.label_noise import LabelNoise, label_noise
from benchmark.data.votes import vote_shares
from benchmark.embedding import embed_rows
from benchmark.engine import advance
from benchmark.records import base_record
from benchmark.registry import load_plugin, resolve
from benchmark.store import Store, atomic_write, file_sha256
from benchmark.training import (
    build_model,
    embedding_facts,
    fit_encoder,
    galaxies,
    load_weights,
    training_facts,
    weights_facts,
)
from benchmark.weights import write_weights
from posteriors.calibration.hpd import hpd_ranks
from posteriors.scores.density import cde_loss_per_galaxy, pit_values

__all__ = ["run_cell"]

_LABELLED = ("train", "validation", "test")
_DENSITY_DRAWS = 50  # of a galaxy, at which the density is asked for: all members have to be asked


def run_cell(payload: Mapping[str, Any]) -> str:
    """Run the cell of a payload and write its record.

    Parameters
    ----------
    payload : ``cell`` (fields of `benchmark.plan.Cell`), ``survey`` and ``out`` (folders), ``plugins`` (files).

    Returns
    -------
    reason : empty where the cell is done, else why it failed or cannot be judged, as it stands in its record.
    """
    cell, store = payload["cell"], Store(Path(payload["out"]))
    wall, cpu = time.monotonic(), time.process_time()
    record = base_record(cell)
    try:
        for plugin in payload.get("plugins", ()):
            load_plugin(Path(plugin))
        survey = _survey(payload["survey"], cell["survey_digest"])
        record["survey"] = {
            "name": survey.info.name,
            "version": survey.info.version,
            "digest": survey.digest,
            "simulated": survey.info.simulated,
            "n_per_split": survey.counts(),
        }
        record["split_digest"] = survey.split_digest
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # convergence chatter of libraries; what matters stands in the record
            record |= _STEPS[cell["kind"]](cell, survey, store)
        record["status"] = "done"
    except TooFewGalaxies as error:
        record |= {"status": "skipped", "reason": str(error)}
    except Exception as error:  # whatever a model does, it costs its own cell only, and the board says why
        known = isinstance(error, GalaxybenchError | ValueError)
        record["reason"] = str(error) if known else f"{type(error).__name__}: {error}"
    record["timings"] = {"wall_s": time.monotonic() - wall, "cpu_s": time.process_time() - cpu}
    record["memory"] = {"peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    store.write_record(cell["name"], record)
    if record["status"] == "done":
        store.sweep_partial(cell["name"])
    return record["reason"]


@functools.lru_cache(maxsize=2)
def _survey(folder: str, digest: str) -> Survey:
    survey = load_survey(Path(folder))
    if survey.digest != digest:
        raise GalaxybenchError(f"{folder}: the survey changed since the run was planned; run again")
    return survey


def _train(cell: Mapping[str, Any], survey: Survey, store: Store) -> dict[str, Any]:
    facts, seed = cell["settings"]["model"], cell["settings"]["seed"]
    model = build_model(facts)
    if facts["kind"] == "reference":
        model.prepare(cell["settings"]["flavour"], seed=seed)
    else:
        fit_encoder(model, facts, survey, seed=seed, folder=store.partial(cell["name"]), progress=advance)
    path = store.path("models", f"{cell['name']}.safetensors")
    write_weights(path, model.state(), weights_facts(facts, survey, seed, cell["labels"]))
    artefacts = [store.artefact(path)]
    if isinstance(model, TrainedEncoder) and model.history.rows:
        curve = path.with_suffix(".csv")
        atomic_write(curve, model.history.to_csv)
        artefacts.append(store.artefact(curve))
    return {"artefacts": artefacts, "details": training_facts(model)}


def _embed(cell: Mapping[str, Any], survey: Survey, store: Store) -> dict[str, Any]:
    path = store.path("embeddings", f"{cell['name']}.parquet")
    rows = survey.rows(*_LABELLED)
    if "file" in cell["settings"]["model"]:
        embedding = foreign.read_embeddings(Path(cell["labels"]["path"])).for_survey(survey)
    else:
        embedding = embed_rows(
            _encoder(cell, survey, store),
            cell["settings"]["model"],
            survey,
            rows,
            folder=store.partial(cell["name"]),
            owner=cell["key"],
            progress=advance,
        )
    write_embedding(path, survey.target_id[rows], embedding)
    return {"artefacts": [store.artefact(path)], "details": embedding_facts(embedding)}


def _encoder(cell: Mapping[str, Any], survey: Survey, store: Store) -> Any:
    """An encoder with the weights of its train cell, of a file, or, where it learns nothing, as it is drawn."""
    facts = cell["settings"]["model"]
    encoder = build_model(facts)
    if cell["needs"]:
        load_weights(encoder, store.checked_artefact(cell["needs"][0]))
    elif "checkpoint" in facts:
        path = Path(cell["labels"]["path"])
        if file_sha256(path) != facts["checkpoint"]:
            raise GalaxybenchError(f"{path}: the file changed since the run was planned; run again")
        load_weights(encoder, path)
    else:
        encoder.fit(_inputs(cell, survey, survey.rows("train")), seed=cell["settings"]["seed"])
    return encoder


def _predict(cell: Mapping[str, Any], survey: Survey, store: Store) -> dict[str, Any]:
    settings = cell["settings"]
    names = _learnable(settings, survey)
    test = survey.rows("test")
    if settings["produces"] == "posterior":
        test = test[np.isfinite(survey.target(names, test)).all(axis=1)]
    target_id, truth = survey.target_id[test], _labels(settings, survey, names, test)
    if "file" in settings["model"] and not cell["needs"]:
        result = foreign.read_result(Path(cell["labels"]["path"]), settings["model"]["file"]["content"], survey, names)
        extra: dict[str, Any] = {}
    elif settings["model"].get("kind") == "reference":
        result, extra = _consult(cell, survey, store, names, test)
    else:
        result, extra = _fit_and_predict(cell, survey, store, names, test)
    known: dict[str, Any] = {"target_id": target_id, "names": names, "truth": truth}
    noise = _noise(settings, survey, names, test)
    if settings["produces"] == "posterior":
        posterior = Posterior(**known, **result, **_brightness(survey, test))
        path = posterior.write(store.path("outputs", f"{cell['name']}.npz"))
    else:
        if settings.get("labels") == "votes":
            votes = vote_shares(survey, test)
            known["asked"] = votes.asked
            extra["details"] = {"debiased": list(votes.debiased)}
        if noise is not None:
            known |= {"label_error": noise.error, "resampled": noise.resampled}
        path = Predictions(**known, prediction=result).write(store.path("outputs", f"{cell['name']}.parquet"))
    dropped = {"test": int(survey.rows("test").size - test.size)}
    return {
        "artefacts": [store.artefact(path), *extra.pop("artefacts", [])],
        "n_dropped": dropped | extra.pop("n_dropped", {}),
        **extra,
    }


def _fit_and_predict(
    cell: Mapping[str, Any], survey: Survey, store: Store, names: list[str], test: NDArray[np.int64]
) -> tuple[Any, dict[str, Any]]:
    """Fit the probe on training rows, choose on validation rows, predict the test rows (read here, once)."""
    settings = cell["settings"]
    complete = settings["produces"] == "posterior"
    train, validation = (_labelled_rows(settings, survey, split, names) for split in ("train", "validation"))
    dropped = {
        split: int(survey.rows(split).size - rows.size)
        for split, rows in (("train", train), ("validation", validation))
    }
    train = _few_labels(settings, survey, train)
    read = _reader(cell, survey, store)
    model = _learner(cell)
    held_out = _labels(settings, survey, names, validation)
    ends = {target.name: (target.low, target.high) for target in survey.info.targets}
    model.fit(
        read(train),
        _labels(settings, survey, names, train),
        validation=(read(validation), held_out),
        seed=settings["seed"],
        **({"limits": [ends[name] for name in names]} if complete else {}),
    )
    facts = {"n_labels": int(train.size), "n_dropped": dropped}
    if not complete:
        return model.predict(read(test)), facts
    weights = store.path("models", f"{cell['name']}.safetensors")
    model.save(weights)
    draw = functools.partial(model.draw, n_draws=settings["n_draws"], seed=settings["seed"])
    seen, truth = read(test), survey.target(names, test)
    draws = draw(seen)
    result = {
        "draws": draws,
        "validation_pit": pit_values(held_out, draw(read(validation)), seed=settings["seed"]),
        "validation_magnitude": _brightness(survey, validation).get("magnitude"),
        "member_log_prob": model.member_log_prob(truth, seen),
        "log_jacobian": model.log_jacobian,
        "stacked_weights": model.stacked_weights,
        **_density_at_draws(model, truth, draws[:_DENSITY_DRAWS], seen, settings["seed"]),
        **_resampled_density(model, _noise(settings, survey, names, test), read, test),
    }
    return result, facts | {"artefacts": [store.artefact(weights)], "details": model.facts()}


def _density_at_draws(
    model: Any, truth: NDArray[np.float64], draws: NDArray[np.float32], seen: InputArray, seed: int
) -> dict[str, Any]:
    """What is judged by the density at draws: ranks of highest-density regions, and the density loss of z-scores."""
    at_truth = model.log_prob(truth, seen)
    at_draws = np.stack([model.log_prob(each.astype(np.float64), seen) for each in draws])
    loss = cde_loss_per_galaxy(at_truth + model.log_jacobian, at_draws + model.log_jacobian)
    return {"hpd_rank": hpd_ranks(at_truth, at_draws, seed=seed), "cde_loss": loss}


def _noise(
    settings: Mapping[str, Any], survey: Survey, names: Sequence[str], rows: NDArray[np.int64]
) -> LabelNoise | None:
    return label_noise(survey, names, rows) if "label_noise" in settings else None


def _resampled_density(model: Any, noise: LabelNoise | None, read: Any, rows: NDArray[np.int64]) -> dict[str, Any]:
    """The density at labels drawn anew, of galaxies with errors of all targets, and the entropy of these errors."""
    if noise is None:
        return {}
    known = np.isfinite(noise.entropy) & np.isfinite(noise.resampled).all(axis=1)
    if not known.any():
        return {}
    found = model.member_log_prob(noise.resampled[known], read(rows[known]))
    log_prob = np.full((len(found), rows.size), np.nan)
    log_prob[:, known] = found
    return {"label_entropy": noise.entropy, "resampled_log_prob": log_prob}


def _consult(
    cell: Mapping[str, Any], survey: Survey, store: Store, names: list[str], test: NDArray[np.int64]
) -> tuple[Any, dict[str, Any]]:
    """What a model that learns nothing from the survey says of its test rows."""
    from safetensors.numpy import load_file

    settings, model = cell["settings"], build_model(cell["settings"]["model"])
    model.load_state(load_file(store.checked_artefact(cell["needs"][0])))
    seen = _inputs(cell, survey, test)
    result: Any
    if settings["produces"] == "posterior":
        draws, ess = model.draw(seen, names, n_draws=settings["n_draws"], seed=settings["seed"])
        result = {"draws": draws, "ess": ess}
        if isinstance(model, ExactModel):
            spread = survey.target(names, survey.rows("train")).std(axis=0)
            result["member_log_prob"] = model.log_prob(seen, names, survey.target(names, test))[None]
            result["log_jacobian"] = float(np.log(spread).sum())
    else:
        result = model.predict(seen, names, seed=settings["seed"])
    return result, {"n_labels": None, "details": model.facts()}


def _score(cell: Mapping[str, Any], survey: Survey, store: Store) -> dict[str, Any]:
    settings = cell["settings"]
    source = store.read_record(cell["needs"][0])
    assert source is not None
    path = store.checked_artefact(cell["needs"][0])
    found = (Posterior if path.suffix == ".npz" else Predictions).read(path)
    evidence = found.select([name for name in settings["targets"] if name in found.names])
    training = _labels(source["config"], survey, evidence.names, survey.rows("train"))
    against = {}
    if len(cell["needs"]) > 1:
        against["reference"] = Posterior.read(store.checked_artefact(cell["needs"][1])).select(evidence.names)
    scores, details = resolve(settings["task"]["score"])(
        evidence,
        training,
        ranked=tuple(settings["ranked"]),
        seed=settings["bootstrap_seed"],
        n_resamples=settings["n_resamples"],
        **against,
    )
    if source["config"].get("labels") == "votes":
        details |= source["details"]
    return {
        "scores": [_as_json(score) for score in scores],
        "details": details,
        "n_labels": source["n_labels"],
        "n_dropped": source["n_dropped"],
    }


_STEPS = {"train": _train, "embed": _embed, "predict": _predict, "score": _score}


def _as_json(score: Score) -> dict[str, Any]:
    return {name: value for name, value in vars(score).items() if name != "condition" or value is not None}


def _inputs(cell: Mapping[str, Any], survey: Survey, rows: NDArray[np.int64]) -> InputArray:
    return galaxies(cell["settings"]["model"], survey, rows)


def _brightness(survey: Survey, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Magnitudes in the r band, or in the middle one of the survey's: what a posterior is judged by, not given."""
    bands = survey.info.photometry_bands
    if not bands:
        return {}
    name = f"mag_{'r' if 'r' in bands else bands[len(bands) // 2]}"
    return {"magnitude": survey.catalogue[name].to_numpy()[rows].astype(np.float64), "magnitude_name": name}


def _learner(cell: Mapping[str, Any]) -> Any:
    """The probe of a cell, or its model; one that learns classes is told how many there are."""
    settings = cell["settings"]
    source = settings.get("probe") or settings["model"]
    n_classes = {"n_classes": tuple(settings["n_classes"])} if settings.get("labels") == "classes" else {}
    return resolve(source["factory"])(**source["options"], **n_classes)


def _reader(cell: Mapping[str, Any], survey: Survey, store: Store) -> Any:
    """A function from row numbers to what the probe sees of these galaxies."""
    if cell["needs"]:
        target_id, embedding = read_embedding(store.checked_artefact(cell["needs"][0]))
        place = pd.Index(target_id)
        return lambda rows: embedding[place.get_indexer(pd.Index(survey.target_id[rows]))]
    if cell["settings"].get("probe"):
        model = build_model(cell["settings"]["model"])
        return lambda rows: model.context(_inputs(cell, survey, rows))
    return lambda rows: _inputs(cell, survey, rows)


def _labels(
    settings: Mapping[str, Any], survey: Survey, names: Sequence[str], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """What a probe learns, (n, t): targets, shares of votes, or 0 and 1 for every class; NaN = missing."""
    if settings.get("labels") == "votes":
        return vote_shares(survey, rows, names).share
    if settings.get("labels") == "classes":
        return one_hot(survey, rows, names)
    return survey.target(names, rows)


def _learnable(settings: Mapping[str, Any], survey: Survey) -> list[str]:
    """The names of a cell's labels; of votes those answers that some training and some validation galaxy has."""
    names = list(settings["targets"])
    if settings.get("labels") != "votes":
        return names
    train, validation = (_labelled_rows(settings, survey, split, names) for split in ("train", "validation"))
    fitted = (_few_labels(settings, survey, train), validation)
    known = [np.isfinite(_labels(settings, survey, names, rows)).any(axis=0) for rows in fitted]
    return [name for name, kept in zip(names, np.all(known, axis=0), strict=True) if kept]


def _labelled_rows(settings: Mapping[str, Any], survey: Survey, split: str, names: list[str]) -> NDArray[np.int64]:
    rows = survey.rows(split)
    known = np.isfinite(_labels(settings, survey, names, rows))
    kept = rows[known.all(axis=1) if settings["produces"] == "posterior" else known.any(axis=1)]
    if kept.size == 0:
        raise GalaxybenchError(
            f"survey '{survey.info.name}': no {split} galaxy has {', '.join(names)}; check the split"
        )
    return kept


def _few_labels(settings: Mapping[str, Any], survey: Survey, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """``n_labels`` of the rows (all where none is set), chosen by a seeded order of the ids: not by file order."""
    n_labels = settings["n_labels"]
    if not n_labels:
        return rows
    if n_labels > rows.size:
        raise GalaxybenchError(f"--n-labels {n_labels}: only {rows.size} training galaxies are labelled")
    by_id = rows[np.argsort(survey.target_id[rows])]
    chosen = np.random.default_rng([settings["seed"], n_labels]).permutation(by_id.size)[:n_labels]
    return np.sort(by_id[chosen])

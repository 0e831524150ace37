"""The files between cells: embeddings, predictions and posteriors, and what they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError
from benchmark.store import atomic_write

__all__ = ["Posterior", "Predictions", "read_embedding", "write_embedding"]

_ASKED, _ERROR, _RESAMPLED = "_asked", "_true_err", "_true_resampled"
_OPTIONAL = (  # of a posterior
    *("ess", "label_entropy", "resampled_log_prob", "validation_pit", "validation_magnitude"),
    *("stacked_weights", "hpd_rank", "cde_loss"),
)
_JOINT = ("label_entropy", "resampled_log_prob", "stacked_weights", "hpd_rank", "cde_loss")  # of all targets together


def write_embedding(path: Path, target_id: NDArray[np.int64], embedding: NDArray[np.float32]) -> None:
    """Parquet with ``target_id`` and ``embedding``, a list of d float32 a galaxy."""
    flat = pa.array(np.ascontiguousarray(embedding, dtype=np.float32).reshape(-1))
    table = pa.table({"target_id": target_id, "embedding": pa.FixedSizeListArray.from_arrays(flat, embedding.shape[1])})
    atomic_write(path, lambda temporary: pq.write_table(table, temporary, use_dictionary=False))


def read_embedding(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Ids (n,) and embedding (n, d), the inverse of `write_embedding`."""
    table = pq.read_table(path)
    column = table["embedding"].combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return table["target_id"].to_numpy(), flat.reshape(len(table), column.type.list_size)


@dataclass(frozen=True)
class Predictions:
    """Point predictions of the test split.

    Attributes
    ----------
    target_id : (n,) ids.
    names : names of the t targets.
    truth, prediction : (n, t) in the targets' units; a truth may be NaN (missing), a prediction may not.
    asked : question -> (n,) volunteers who were asked it, where the targets are shares of votes; else empty.
    label_error : (n, t) one-sigma errors of the truths, NaN where none is known; None where no target has any.
    resampled : (n, t) truths drawn anew within their errors, the same for every model; NaN and None likewise.
    """

    target_id: NDArray[np.int64]
    names: Sequence[str]
    truth: NDArray[np.float64]
    prediction: NDArray[np.float64]
    asked: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    label_error: NDArray[np.float64] | None = None
    resampled: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.prediction.shape != self.truth.shape:
            raise GalaxybenchError(
                f"predictions of shape {self.prediction.shape}: must be {self.truth.shape}, a row a test galaxy and a "
                f"column each for {', '.join(self.names)}"
            )
        bad = ~np.isfinite(self.prediction).all(axis=1)
        if bad.any():
            raise GalaxybenchError(
                f"{bad.sum()} of {bad.size} predictions are not finite, first for target_id {self.target_id[bad][0]}"
            )

    def write(self, path: Path) -> Path:
        """Parquet: ``target_id``, one column a target and its truth as ``<target>_true``; ``<question>_asked``.

        Where labels have errors, these as ``<target>_true_err`` and truths drawn anew as ``<target>_true_resampled``.
        """
        columns: dict[str, Any] = {"target_id": self.target_id}
        for number, name in enumerate(self.names):
            columns |= {name: self.prediction[:, number], f"{name}_true": self.truth[:, number]}
        columns |= {question + _ASKED: count for question, count in self.asked.items()}
        for suffix, values in ((_ERROR, self.label_error), (_RESAMPLED, self.resampled)):
            if values is not None:
                columns |= {name + suffix: values[:, number] for number, name in enumerate(self.names)}
        atomic_write(path, lambda temporary: pq.write_table(pa.table(columns), temporary))
        return path

    @classmethod
    def read(cls, path: Path) -> Predictions:
        """The inverse of `write`."""
        table = pq.read_table(path)
        names = [name.removesuffix("_true") for name in table.column_names if name.endswith("_true")]
        truth, prediction = (
            np.stack([table[name + suffix].to_numpy() for name in names], axis=1) for suffix in ("_true", "")
        )
        asked = {
            column.removesuffix(_ASKED): table[column].to_numpy()
            for column in table.column_names
            if column.endswith(_ASKED) and column not in names
        }
        noise = {
            field: np.stack([table[name + suffix].to_numpy() for name in names], axis=1)
            for field, suffix in (("label_error", _ERROR), ("resampled", _RESAMPLED))
            if all(name + suffix in table.column_names for name in names)
        }
        return cls(table["target_id"].to_numpy(), names, truth, prediction, asked, **noise)

    def select(self, names: Sequence[str]) -> Predictions:
        """The same galaxies, only these targets."""
        columns = [list(self.names).index(name) for name in names]
        noise = [None if values is None else values[:, columns] for values in (self.label_error, self.resampled)]
        return Predictions(
            self.target_id, list(names), self.truth[:, columns], self.prediction[:, columns], self.asked, *noise
        )


@dataclass(frozen=True)
class Posterior:
    """Posterior draws of the test galaxies that have every target.

    Attributes
    ----------
    target_id, names, truth : as in `Predictions`, without missing truths.
    draws : (n_draws, n, t) float32 in the targets' units.
    member_log_prob : (members, n) nats in the targets' units; None where only draws are known.
    log_jacobian : nats to add for z-scored targets; None where only draws are known.
    ess : (n,) effective sample size behind the draws of each galaxy; None where they are independent.
    magnitude, magnitude_name : (n,) observed magnitudes, NaN where missing, for calibration by brightness, and their
        column; None where the survey has none.
    validation_pit, validation_magnitude : (m, t) PIT and (m,) magnitudes of the validation galaxies, by which draws can
        be recalibrated; None where unknown.
    label_entropy : (n,) nats of the distribution of the truths' errors, joint over the targets; NaN where it is not
        known, None where no galaxy has it.
    resampled_log_prob : (members, n) as ``member_log_prob``, at truths drawn anew within their errors; NaN and None
        likewise.
    stacked_weights : (members,) with which the mixture has the lowest NLL on the validation galaxies; None where
        unknown.
    hpd_rank, cde_loss : (n,) share of the posterior that is denser than the truth, and conditional density loss of
        z-scored targets; None where only draws are known.
    """

    target_id: NDArray[np.int64]
    names: Sequence[str]
    truth: NDArray[np.float64]
    draws: NDArray[np.float32]
    member_log_prob: NDArray[np.float64] | None = None
    log_jacobian: float | None = None
    ess: NDArray[np.float64] | None = None
    magnitude: NDArray[np.float64] | None = None
    magnitude_name: str = ""
    validation_pit: NDArray[np.float64] | None = None
    validation_magnitude: NDArray[np.float64] | None = None
    label_entropy: NDArray[np.float64] | None = None
    resampled_log_prob: NDArray[np.float64] | None = None
    stacked_weights: NDArray[np.float64] | None = None
    hpd_rank: NDArray[np.float64] | None = None
    cde_loss: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.draws.ndim != 3 or self.draws.shape[1:] != self.truth.shape:
            raise GalaxybenchError(
                f"draws of shape {self.draws.shape}: must be (n_draws, {self.truth.shape[0]}, {self.truth.shape[1]})"
            )
        bad = ~np.isfinite(self.draws).all(axis=(0, 2))
        if bad.any():
            raise GalaxybenchError(f"draws of {bad.sum()} galaxies are not finite, first {self.target_id[bad][0]}")

    def write(self, path: Path) -> Path:
        """NPZ: ``target_id``, ``targets``, ``truth``, ``draws`` (n, n_draws, t) and, where known, the rest."""
        arrays: dict[str, Any] = {
            "target_id": self.target_id,
            "targets": np.array(self.names, dtype=np.str_),
            "truth": self.truth,
            "draws": np.ascontiguousarray(self.draws.transpose(1, 0, 2)),
        }
        if self.member_log_prob is not None:
            arrays |= {"member_log_prob": self.member_log_prob, "log_jacobian": np.float64(self.log_jacobian or 0.0)}
        if self.magnitude is not None:
            arrays |= {"magnitude": self.magnitude, "magnitude_name": np.array(self.magnitude_name, dtype=np.str_)}
        for name in _OPTIONAL:
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)

        def save(temporary: Path) -> None:
            with temporary.open("wb") as stream:
                np.savez(stream, **arrays)

        atomic_write(path, save)
        return path

    @classmethod
    def read(cls, path: Path, *, with_draws: bool = True) -> Posterior:
        """The inverse of `write`; without draws, nearly all of the file, there are none of them: (0, n, t)."""
        with np.load(path, allow_pickle=False) as arrays:
            known, truth = "member_log_prob" in arrays, arrays["truth"]
            return cls(
                arrays["target_id"],
                [str(name) for name in arrays["targets"]],
                truth,
                arrays["draws"].transpose(1, 0, 2) if with_draws else np.zeros((0, *truth.shape), np.float32),
                arrays["member_log_prob"] if known else None,
                float(arrays["log_jacobian"]) if known else None,
                magnitude=arrays.get("magnitude"),
                magnitude_name=str(arrays["magnitude_name"]) if "magnitude_name" in arrays else "",
                **{name: arrays[name] for name in _OPTIONAL if name in arrays},
            )

    def select(self, names: Sequence[str]) -> Posterior:
        """The same galaxies, only these targets in this order; a density of more targets than these is left out."""
        columns = [list(self.names).index(name) for name in names]
        joint = len(columns) == len(self.names)
        return Posterior(
            self.target_id,
            list(names),
            self.truth[:, columns],
            self.draws[:, :, columns],
            self.member_log_prob if joint else None,
            self.log_jacobian if joint else None,
            self.ess,
            self.magnitude,
            self.magnitude_name,
            None if self.validation_pit is None else self.validation_pit[:, columns],
            self.validation_magnitude,
            *((getattr(self, name) if joint else None) for name in _JOINT),
        )

"""Files of weights: named arrays with the facts of the model they belong to, as safetensors.

The header is read without torch, so that a file is known before anything is computed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError
from benchmark.store import atomic_write

__all__ = ["WeightsHeader", "is_official", "read_header", "read_weights", "write_weights"]

_MODEL = "model"
_OFFICIAL = (".ckpt", ".pth", ".pt")
_MAX_HEADER = 100_000_000  # what the format itself allows


@dataclass(frozen=True)
class WeightsHeader:
    """What a file of weights says of itself.

    Attributes
    ----------
    facts : name, revision, factory and options of the model, and what it was trained on; empty where the file was
        written by another program.
    n_arrays : number of arrays.
    """

    facts: Mapping[str, Any]
    n_arrays: int


def write_weights(path: Path, state: Mapping[str, NDArray], facts: Mapping[str, Any]) -> None:
    """Write named arrays with the facts of their model.

    Raises
    ------
    GalaxybenchError
        If the file cannot be written.
    """
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(array) for name, array in state.items()}
    metadata = {_MODEL: json.dumps(dict(facts), sort_keys=True)}

    def save(temporary: Path) -> None:
        temporary.touch()
        permissions = temporary.stat().st_mode
        save_file(arrays, temporary, metadata=metadata)  # which makes a file that nobody else may read
        temporary.chmod(permissions)

    atomic_write(path, save)


def is_official(path: Path) -> bool:
    """Whether a file, by its suffix, is one that torch wrote: released weights rather than ours."""
    return path.suffix.lower() in _OFFICIAL


def read_header(path: Path) -> WeightsHeader:
    """What a file of weights says of itself, after comparing its length with what the header announces.

    Raises
    ------
    GalaxybenchError
        If the file cannot be read, is no safetensors file, or was cut.
    """
    try:
        with path.open("rb") as stream:
            n_header = int.from_bytes(stream.read(8), "little")
            if not 0 < n_header <= min(_MAX_HEADER, path.stat().st_size):
                raise ValueError("no header")
            header = json.loads(stream.read(n_header))
        metadata = header.pop("__metadata__", {})
        facts = json.loads(metadata.get(_MODEL, "{}"))
        end = 8 + n_header + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except OSError as error:
        raise GalaxybenchError(f"{path}: cannot be read ({error.strerror}); give a file of weights") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise GalaxybenchError(f"{path}: is no safetensors file; give one that 'pretrain' wrote") from error
    if path.stat().st_size != end:
        raise GalaxybenchError(
            f"{path}: has {path.stat().st_size:,} bytes, its header announces {end:,}; the file was cut or altered, "
            "copy it again"
        )
    return WeightsHeader(facts if isinstance(facts, dict) else {}, len(header))


def read_weights(path: Path) -> dict[str, NDArray]:
    """The arrays of a file by name, as the encoder takes them; released weights under our names.

    Raises
    ------
    GalaxybenchError
        If the file cannot be read, is no file of weights, or was cut.
    """
    if is_official(path):
        from encoders.official import read_official  # brings torch

        try:
            return read_official(path).encoder_state()
        except ValueError as error:
            raise GalaxybenchError(str(error)) from error
    from safetensors.numpy import load_file

    read_header(path)
    arrays: dict[str, NDArray] = load_file(path)
    return arrays

"""In which numbers a network computes: bfloat16 where the hardware multiplies it natively, float32 elsewhere.

The choice is made from what the hardware says it can do, never from a timing: two runs on one machine choose alike.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Precision", "attention", "autocast", "compute_dtype", "default_device", "has_native_bf16"]

Precision = Literal["auto", "float32", "bfloat16"]

_CPU_FACTS = Path("/proc/cpuinfo")


def default_device() -> torch.device:
    """The current CUDA device where there is one, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


@functools.cache
def has_native_bf16(facts: Path = _CPU_FACTS) -> bool:
    """Whether the CPU multiplies bfloat16 itself, by its flags; False where these cannot be read.

    With the tiles of AMX or the dot product of AVX-512 its matrix products are about four times as fast as in float32.
    On other CPUs bfloat16 is emulated, and slower.
    """
    try:
        lines = facts.read_text().splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return bool({"amx_bf16", "avx512_bf16"} & set(flags))


def compute_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """What matrices are multiplied in on a device: ``auto`` is bfloat16 where that is native, see `has_native_bf16`.

    Raises
    ------
    ValueError
        If the precision is none of ``auto``, ``float32``, ``bfloat16``.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision '{precision}': must be one of {', '.join(get_args(Precision))}")
    if precision == "auto":
        if device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            native = device.type == "cpu" and has_native_bf16()
        precision = "bfloat16" if native else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[None]:
    """Torch's autocast to bfloat16; a context that does nothing for float32. Weights stay float32 in both."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype is torch.bfloat16)


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention (..., n_tokens, width), in float32 on a CPU also under autocast.

    The bfloat16 backward pass of torch's fused attention is some twenty times slower on a CPU than that in float32.
    """
    if query.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return F.scaled_dot_product_attention(query, key, value)
    with torch.autocast("cpu", enabled=False):
        mixed = F.scaled_dot_product_attention(query.float(), key.float(), value.float())
    return mixed.to(query.dtype)

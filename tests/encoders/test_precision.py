"""The choice of precision, from flags, and attention under autocast."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from encoders.training import precision
from encoders.training.precision import attention, autocast, compute_dtype, has_native_bf16

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "native"), [("fpu avx512_bf16", True), ("fpu amx_bf16 amx_tile", True), ("avx512f amx_bf16x", False)]
)
def test_native_bfloat16_is_read_from_the_flags(flags: str, native: bool, tmp_path: Path) -> None:
    facts = tmp_path / "cpuinfo"
    facts.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t: amx_bf16\n")
    assert has_native_bf16(facts) is native


def test_a_machine_without_flags_computes_in_float32(tmp_path: Path) -> None:
    assert has_native_bf16(tmp_path / "none") is False


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_follows_the_flags_and_a_named_precision_does_not(
    native: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_native_bf16", lambda: native)
    assert compute_dtype("auto", CPU) is dtype
    assert compute_dtype("float32", CPU) is torch.float32
    assert compute_dtype("bfloat16", CPU) is torch.bfloat16
    with pytest.raises(ValueError, match="precision 'half': must be one of auto, float32, bfloat16"):
        compute_dtype("half", CPU)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_is_what_was_asked_for(dtype: torch.dtype) -> None:
    with autocast(dtype, CPU):
        assert torch.nn.functional.linear(torch.ones(2, 4), torch.ones(3, 4)).dtype is dtype


def test_attention_on_a_cpu_is_computed_in_float32_also_under_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 9, 8, generator=generator) for _ in range(3))
    exact = F.scaled_dot_product_attention(query, key, value)
    with autocast(torch.bfloat16, CPU):
        ours = attention(query, key, value)
        theirs = F.scaled_dot_product_attention(query, key, value)
        rounded = attention(*(part.bfloat16() for part in (query, key, value)))
    assert torch.equal(ours, exact)
    assert not torch.equal(theirs.float(), exact)  # autocast would have rounded
    assert rounded.dtype is torch.bfloat16
    assert torch.allclose(rounded.float(), exact, atol=0.03)  # inputs and output of 8 bits

"""Where a record comes from: code, packages, device."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from pathlib import Path

__all__ = ["provenance"]

_PACKAGES = ("galaxybench", "torch", "nflows", "numpy", "scipy", "scikit-learn", "pandas")


@functools.cache
def provenance() -> dict[str, object]:
    """Git commit (None outside a checkout), package versions, Python, device and dtype."""
    return {
        "git_commit": _git_commit(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "device": "cpu",
        "machine": platform.machine(),
        "dtype": "float32",
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None

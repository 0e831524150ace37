"""Jobs for the tests of the engine; workers import this module by its name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def do(payload: Mapping[str, Any]) -> str:
    """Log the start, do what the payload asks for, log the end; several processes append to one file."""
    _log(payload, "start")
    what = payload.get("what", "nothing")
    if what == "die once":
        flag = Path(f"{payload['log']}-{payload['name']}.died")
        if not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    elif what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "raise":
        raise ZeroDivisionError("three galaxies among none")
    elif what == "fail":
        return "the model has no weights"
    elif what == "sleep":
        time.sleep(payload["seconds"])
    elif what == "tell threads":
        _log(payload, f"threads={os.environ.get('OMP_NUM_THREADS')}")
    _log(payload, "end")
    return ""


def _log(payload: Mapping[str, Any], what: str) -> None:
    if "log" in payload:
        with Path(payload["log"]).open("a") as stream:  # one short write in append mode is not torn
            stream.write(f"{payload['name']} {what} {os.getpid()}\n")

"""Waiting for a condition, never for a time."""

import time
from collections.abc import Callable
from typing import Any

import psutil


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Return the first true value of `condition()`; raises AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not reached within {seconds:g} s"
        time.sleep(0.01)
    return value


def gone(process: psutil.Process) -> bool:
    """Count a zombie as gone: in some containers nobody collects orphans."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True

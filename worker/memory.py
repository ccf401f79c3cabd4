"""Tells glibc's allocator to return what a burst of pictures took; with another C library this does nothing."""

import ctypes
import gc
from typing import Final

_M_TRIM_THRESHOLD: Final = -1  # <malloc.h>
_M_ARENA_MAX: Final = -8
_KEPT_BYTES: Final = 128 * 1024  # glibc's own default, which it otherwise raises after the first large block
_LIBC: Final = ctypes.CDLL(None)


def stay_small() -> None:
    """Have one arena for all threads, and give its free end back at once. Call it before any thread starts."""
    if hasattr(_LIBC, "mallopt"):
        _LIBC.mallopt(_M_ARENA_MAX, 1)
        _LIBC.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def settle() -> None:
    """Set what start-up made aside from the collector, which walked all of it again and again; give back the rest."""
    gc.collect()
    gc.freeze()
    give_back()


def give_back() -> None:
    """Return what start-up, or a burst, left free; it takes some tens of milliseconds."""
    gc.collect()
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)

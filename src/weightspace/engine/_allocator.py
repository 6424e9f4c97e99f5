"""How the C library treats freed memory."""

import ctypes
import sys

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory(megabytes: int = 1024) -> bool:
    """Lets freed blocks up to this size stay with the process, for the next tensor of their size.

    By default glibc gives blocks of tens of megabytes back to the system as soon as they are freed, and the system
    fills them with zeros when they are asked for again: a training step on a CPU can spend a good part of its time on
    that.
    Holds for the whole process; does nothing where the C library is another one, or an old one.

    Args:
        megabytes: size of the largest block to keep, below 2048.

    Returns:
        Whether it took effect.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    size = megabytes * 2**20
    return bool(mallopt and mallopt(_M_MMAP_THRESHOLD, size) and mallopt(_M_TRIM_THRESHOLD, size))

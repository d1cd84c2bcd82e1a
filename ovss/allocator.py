"""Keep freed memory in the process, where C's allocator would give it back. Standard library only.

A pass makes and frees tensors of some megabytes by the thousand. glibc returns such memory to the system and asks for
it again, and every page comes back as a fault that costs more than the operation itself.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT = 2**28  # bytes that are kept when they are free
LARGEST = 2**25  # bytes of the largest tensor that is kept so; glibc allows no more


def keep_freed_memory() -> bool:
    """Set it for this process; whether it could be: only glibc can be told so."""
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST) and mallopt(M_TRIM_THRESHOLD, KEPT))

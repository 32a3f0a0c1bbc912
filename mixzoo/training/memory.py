"""The allocator, tuned for training on a CPU."""

import ctypes
import sys

# glibc's mallopt parameters (malloc.h)
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Tell glibc to keep what the process frees, for the life of the process; whether it could be told.

    A step allocates and frees the same large tensors again and again; by default each goes back to the kernel and is
    faulted in anew, page by page. Costs memory that is in use at the peak anyway. No number changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another libc
        return False
    settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 256 << 20}
    return all([mallopt(parameter, value) == 1 for parameter, value in settings.items()])

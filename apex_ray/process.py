"""Settings of a process that computes: how many threads, and how its allocator treats freed memory."""

from __future__ import annotations

import ctypes
import sys

# mallopt's parameters, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8
LARGEST_MMAP_THRESHOLD = 32 * 2**20  # glibc takes no more
KEPT_BYTES = 2**30


def prepare_process(threads: int) -> None:
    """Call in the thread that will compute, before it does: OpenMP's thread count belongs to the calling thread."""
    import torch  # which processes that only emulate do without

    torch.set_num_threads(threads)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next allocation instead of giving it back to the kernel.

    Every update allocates the same tens of megabytes of activations; returning them costs thousands of page faults an
    update (docs/performance.md). One arena for all threads, so that what one frees another can take. Elsewhere than on
    glibc this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return
    for parameter, value in (
        (M_ARENA_MAX, 1),
        (M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD),
        (M_TRIM_THRESHOLD, KEPT_BYTES),
        (M_TOP_PAD, 64 * 2**20),
    ):
        mallopt(parameter, value)

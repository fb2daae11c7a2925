"""Ctrl-C and SIGTERM as a question that a loop asks, instead of an exception anywhere.

Python raises KeyboardInterrupt between any two bytecodes of the main thread. Where these are of a destructor or of a
callback, it is reported and lost, and the program goes on.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_requested(first: Callable[[], None] = lambda: None) -> Iterator[Callable[[], bool]]:
    """While inside, the first Ctrl-C (or SIGTERM) makes what is yielded true, and a second one stops at once.

    `first` is called on the first one, for a caller that can't ask as it waits for something else. Always false outside
    of the main thread, the only one that may handle signals.
    """
    received: list[int] = []

    def ask(number: int, frame: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        first()

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deaf_children() -> Iterator[None]:
    """What is started inside does not hear SIGTERM, as Ray's processes don't hear Ctrl-C.

    `timeout` and systemd send it to all processes of a run at once, and without Ray there is no last checkpoint.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""What needs Ray: clusters that are not there, processes that end on it, and a machine without shared memory."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.apex_ray.bad_inputs import Row
from tests.apex_ray.bad_inputs.environments import ENDED, of

RAY = "train small.yaml mode=ray"
EXPECTED = "expected auto, host:port, ray://host:port, or local for a Ray of this run's own"
SMALL_SHARED_MEMORY = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=1M none /dev/shm && exec "$@"', "sh")


class Silent(http.server.BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def another_server() -> Iterator[None]:
    """RAY_ADDRESS is where something else listens."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        os.environ["RAY_ADDRESS"] = f"127.0.0.1:{server.server_port}"
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


ROWS = [
    Row(
        "a RAY_ADDRESS where nobody is",
        RAY,
        ("RAY_ADDRESS = '127.0.0.1:1' can't be reached (Connection refused)", EXPECTED),
        environ={"RAY_ADDRESS": "127.0.0.1:1"},
    ),
    Row(
        "one that is for jobs",
        RAY,
        "RAY_ADDRESS = 'http://127.0.0.1:1' is where jobs are submitted",
        environ={"RAY_ADDRESS": "http://127.0.0.1:1"},
    ),
    Row(
        "one that is none", RAY, "RAY_ADDRESS = 'head' can't be reached (no host:port)", environ={"RAY_ADDRESS": "head"}
    ),
    Row("one where something else is", RAY, "something listens there, but not Ray", within=another_server),
    Row(
        "a client's address where nobody is",
        f"{RAY} cluster.address=ray://127.0.0.1:1",
        "cluster.address = 'ray://127.0.0.1:1' can't be reached (Connection refused)",
    ),
    Row(
        "its actor ends at each start",
        of("ends its process", 9, "mode=ray"),
        "actor 0 lost its process twice in a row before it had done any work",
        alone=True,
    ),
    Row(
        "a full /dev/shm",
        RAY,
        ("/dev/shm has 1.0 MiB free", ENDED),
        0,
        alone=True,
        prefix=SMALL_SHARED_MEMORY,
    ),
]

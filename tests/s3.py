"""A local S3 server, moto's, and a network to it that can be made slow and bad."""

from __future__ import annotations

import os
import random
import re
import select
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SERVER = Path(sys.prefix) / "s3" / "bin" / "moto_server"  # what it needs, apex-ray's constraints don't allow
BUCKET = "bucket"
UNSIGNED_REQUESTS = 1  # the one that makes the bucket


@dataclass(frozen=True)
class S3:
    port: int

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to find it."""
        return environment(self.port)


def environment(port: int, key: str = "key") -> dict[str, str]:
    nowhere = os.devnull  # whatever this machine's user has
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": key and "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": nowhere,
        "AWS_SHARED_CREDENTIALS_FILE": nowhere,
    }


@contextmanager
def s3_server(asks_for_credentials: bool = False) -> Iterator[S3]:
    """A server with an empty bucket."""
    assert SERVER.exists(), f"{SERVER} is missing; make setup-dev installs it"
    more = {"INITIAL_NO_AUTH_ACTION_COUNT": str(UNSIGNED_REQUESTS)} if asks_for_credentials else {}
    process = subprocess.Popen(
        [str(SERVER), "-H", "127.0.0.1", "-p", "0"],
        env={**os.environ, **more, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"Running on http://127\.0\.0\.1:(\d+)", line):
                break
        else:
            raise AssertionError("".join(lines))
        threading.Thread(target=process.stderr.read, daemon=True).start()
        request = urllib.request.Request(f"http://127.0.0.1:{found[1]}/{BUCKET}", method="PUT", data=b"")
        urllib.request.urlopen(request).close()
        yield S3(int(found[1]))
    finally:
        process.kill()
        process.wait()


class BadNetwork:
    """What is before the server as a proxy: of `failing` of all requests it loses all, the answer, or a half."""

    def __init__(self, server: S3, failing: float = 0.0, slow_s: float = 0.0) -> None:
        self.failing, self.slow_s, self.faults = failing, slow_s, ("request", "answer", "half")
        self._server, self._drawn = server, random.Random(0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    @property
    def environment(self) -> dict[str, str]:
        return environment(self.port)

    def __enter__(self) -> BadNetwork:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        """Both ways, until either end or a fault closes the connection."""
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self._server.port)) as server:
            fault, answering = "", True
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(2**16)
                    if not data:
                        return
                    if source is client and answering:  # another request begins
                        time.sleep(self.slow_s)
                        fault = self._drawn.choice(self.faults) if self._drawn.random() < self.failing else ""
                    answering = source is server
                    if fault == ("answer" if answering else "request"):
                        return
                    if fault == "half" and answering:
                        client.sendall(data[: len(data) // 2])
                        return
                    (client if answering else server).sendall(data)

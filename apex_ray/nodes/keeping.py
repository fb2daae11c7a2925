"""What a process of a run needs that writes a share of the run folder."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from apex_ray.nodes.living import Living, restarted
from apex_ray.run_files import RunPlace
from trainkit.fetching import Share
from trainkit.sending import Sender


class Keeping(Living):
    def keep(self, place: RunPlace, share: Share, metrics: Callable[[], Any] | None) -> None:
        """The share that this process writes, in its constructor; `metrics` gives the node that passes on lines."""
        self._place, self._share, self._metrics = place, share, metrics
        self._opening, self._opened = threading.Lock(), False
        self._sender: Sender | None = None

    def folder(self) -> Path:
        """The run folder on this machine, with the share in it. UserError where it can't be fetched."""
        with self._opening:
            if not self._opened:
                self._sender = self._place.open(self._share, self._say, self._share.name)
                self._opened = True
        return self._place.here

    def _say(self, text: str) -> None:
        if self._metrics is not None:
            self._metrics().say.remote(text)

    @ray.method(concurrency_group="life")
    def send_rest(self) -> str:
        """Send what is not at the run's URI yet: why it could not be; "" when all of it is there."""
        if restarted():
            self.folder()  # there may be something that the process before has written
        return self._sender.close() if self._sender else ""

"""Which process writes what of a run folder, and where each process has that folder.

A run at a URI has a working folder on each machine that writes a share of it (trainkit/storage.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainkit.fetching import Share, newest_here
from trainkit.files import atomic_write
from trainkit.run_layout import CONFIG_FILE
from trainkit.sending import Sender, fetch_share, sender_of
from trainkit.storage import working_folder
from trainkit.words import Say

UPDATES, BEST, DAMAGED = "checkpoints/update-*", "checkpoints/best", "checkpoints/damaged-*"
# On Ray.
LEARNER = Share("learner", sealed=(UPDATES,), files=(DAMAGED,), reads=(BEST,))
EVALUATOR = Share("evaluator", sealed=(BEST,), files=("videos/*",))
DRIVER = Share("driver", files=("*",), but=("checkpoints/*", "replay/*", "videos/*"))
# In one process.
ALL = Share("all", sealed=(UPDATES, BEST, "replay/shard-*"), files=("*",), but=(UPDATES, f"{BEST}/*", "replay/*"))


def of_shard(shard: int) -> Share:
    """What replay shard `shard` writes."""
    return Share(f"replay-{shard}", sealed=(f"replay/shard-{shard}",))


@dataclass(frozen=True)
class RunPlace:
    """Where the processes of a run find its folder."""

    folder: Path  # on the machine that the run was started on; where there is no `uri`, on all of them
    uri: str = ""
    starts: tuple[str, ...] = ()  # of the run, the last two: what these wrote on a machine is newest there
    settings: str = ""  # config.yaml

    @property
    def here(self) -> Path:
        """On this machine."""
        return working_folder(self.uri) if self.uri else self.folder

    def open(self, share: Share, say: Say, who: str) -> Sender | None:
        """Have the share here, and send to the URI what is written of it from now on; None where there is no URI.

        UserError where it can't be fetched.
        """
        if not self.uri:
            return None
        fetch_share(self.here, self.uri, share, self.starts)
        if not newest_here(self.here, self.starts)(CONFIG_FILE):  # not the machine that the run was started on
            atomic_write(self.here / CONFIG_FILE, self.settings.encode())
        sender = sender_of(self.here, self.uri, share, self.starts[-1], say, who)
        sender.start()
        return sender

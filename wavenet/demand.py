"""What a run asks of a cluster, for `apex-cluster plan apex-wavenet PRESET ...`."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.resources import Bundle
from cluster.room import bundles
from trainkit.errors import UserError
from wavenet.config import load


def plan(words: Sequence[str], cores: int | None, gpus: float, count: int | None = None) -> list[Bundle]:
    """Bundles of `apex-wavenet train WORDS`, as cluster.plan.Planner has it; `count` is of workers."""
    if not words or "=" in words[0]:
        raise UserError(
            "command line: no preset; expected the words of apex-wavenet train, such as folder workers.count=4"
        )
    return bundles(load(words[0], [*words[1:], *([f"workers.count={count}"] if count else [])]).config.workers)

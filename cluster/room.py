"""Room for a run on a cluster: asked of an autoscaler, waited for, or refused; and what a data-parallel run needs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster.fit_range import fit_range
from cluster.ray_private import Held
from cluster.resource_tables import bundle_table, node_table
from cluster.resources import Bundle, Fit, Node, Planner, emptied, fit, snapshot
from cluster.workers_config import WorkersConfig
from trainkit.checkpoints import whole
from trainkit.config import Presets
from trainkit.errors import UserError
from trainkit.interrupts import stop_requested
from trainkit.run_layout import STOP_FILE
from trainkit.words import Say

POLL_S = 1.0
SHOW_AGAIN_S = 60.0


def bundles(workers: WorkersConfig) -> list[Bundle]:
    """What a data-parallel job asks of a cluster, for `apex-cluster plan` too."""
    return [
        Bundle(
            "worker",
            cpus=workers.cpus,
            gpus=1.0 if workers.gpu else 0.0,
            count=workers.range.most,
            at_least=workers.range.fewest,
            labels=workers.labels,
        )
    ]


def planner(presets: Presets[Any], example: str) -> Planner:
    """The planner of a data-parallel trainer, whose settings have WorkersConfig as `workers`."""

    def needs(words: Sequence[str], cores: int | None, gpus: float, count: int | None = None) -> list[Bundle]:
        if not words or "=" in words[0]:
            raise UserError(
                f"command line: no preset; expected the words of {presets.trainer} train, such as {example}"
            )
        more = [f"workers.count={count}"] if count else []
        return bundles(presets.load(words[0], [*words[1:], *more]).config.workers)

    return Planner(needs)


def ask_autoscaler(needs: Sequence[Bundle]) -> None:
    """Have the cluster's autoscaler, if it has one, make room for all of `needs` at once; none: take the wish back."""
    from ray.autoscaler.sdk import request_resources

    wanted = [b for b in needs for _ in range(b.count)]
    request_resources(bundles=[b.scheduled for b in wanted], bundle_label_selectors=[dict(b.labels) for b in wanted])


def wait_for_room(needs: list[Bundle], autoscale_s: float, say: Say, for_others: bool = True) -> Fit:
    """How the least of `needs` or more fits what is free, as `fit_range` finds; while it does not, `say` says why.

    What others hold is waited for as long as it takes, unless `for_others` is false. UserError when the run does not
    fit otherwise, after `autoscale_s` seconds of asking the autoscaler for nodes: Ray would leave it pending for ever.
    KeyboardInterrupt for Ctrl-C or SIGTERM meanwhile.
    """
    started, shown, shown_at = time.monotonic(), "", 0.0
    try:
        with stop_requested() as stop:
            while not (found := fit_range(needs, snapshot())).enough:
                if stop():
                    raise KeyboardInterrupt
                idle = fit_range(needs, emptied(found.nodes))
                waits = for_others and idle.enough
                if not waits and time.monotonic() - started >= autoscale_s:
                    raise _refused(idle if for_others else found, idle.enough, autoscale_s)
                if autoscale_s:
                    ask_autoscaler(needs)
                why = "other jobs use the rest" if waits else "more nodes were asked of the autoscaler"
                text = f"waiting for room on the cluster: needs {found.missing()} now; {why}"
                if text != shown or time.monotonic() - shown_at >= SHOW_AGAIN_S:
                    say(text)
                    shown, shown_at = text, time.monotonic()
                time.sleep(POLL_S)
    finally:
        if autoscale_s:
            ask_autoscaler([])  # from here on, what is pending in Ray is the demand
    if shown:
        say("there is room now")
    return found


def _refused(found: Fit, fits_alone: bool, autoscale_s: float) -> UserError:
    """For a run that does not fit the nodes of `found`: with what runs on them, or with nothing."""
    scaling = found.scaling
    waited = f" after {autoscale_s:g} s of waiting for the autoscaler" if autoscale_s else ""
    alone = "" if fits_alone else " even with nothing else on it"
    others = " (others use the rest; it fits when they have ended)" if fits_alone else ""
    most = ""
    if found.largest and all(found.count(b) >= b.minimum for b in found.bundles if b is not scaling):
        most = f"; the largest that fits is {scaling.name}s.count={found.largest}"
    return UserError(
        f"the run does not fit the cluster{alone}{waited}: it needs {found.missing()}{others}; "
        f"{found.lacking()}{most}\n"
        f"{bundle_table(found.bundles)}\n\n{node_table(found)}"
    )


class FreeRoom:
    """As many workers as fit what is free and what the job itself holds: for an elastic job beside others.

    Ray Train's own policy counts the nodes as if nothing else ran on them. Beside Ape-X it asks for CPUs that actors
    hold, waits a minute for them in vain, and asks again, for ever; a job that runs is stopped for it every minute.
    Here a running job grows only right after a checkpoint, so that nothing is computed twice.
    """

    def __init__(self, worker: Bundle, run: Path) -> None:
        self._worker, self._run = worker, run
        self._checkpoint: Path | None = None  # after which it was last considered whether to grow

    def workers(self, held: Held) -> int:
        """How many there is room for, with what the job's own have now."""
        return fit([self._worker], with_own(snapshot(), held)).count(self._worker)

    def may_grow(self) -> bool:
        """True once after each checkpoint, unless the run is asked to end."""
        kept = whole(self._run)
        newest = kept[-1] if kept else None
        if newest == self._checkpoint or (self._run / STOP_FILE).exists():
            return False
        self._checkpoint = newest
        return True


def with_own(nodes: list[Node], held: Held) -> list[Node]:
    """The nodes as if what is `held` were free."""
    free = {node.id: dict(node.free) for node in nodes}
    for id, resources in held:
        for kind, amount in resources.items():
            if id in free:
                free[id][kind] = free[id].get(kind, 0.0) + amount
    return [replace(node, free=free[node.id]) for node in nodes]

"""Room for a data-parallel job on a cluster: what it needs, asked of an autoscaler, waited for, or refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from cluster.resources import Bundle, Fit, bundle_table, emptied, fit, node_table, snapshot
from cluster.workers_config import WorkersConfig
from trainkit.errors import UserError
from trainkit.interrupts import asked_to_stop

POLL_S = 1.0
SAY_AGAIN_S = 60.0


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


def ask_autoscaler(needs: Sequence[Bundle]) -> None:
    """Have the cluster's autoscaler, if it has one, make room for all of `needs` at once; none: take the wish back."""
    from ray.autoscaler.sdk import request_resources

    wanted = [b for b in needs for _ in range(b.count)]
    request_resources(bundles=[b.scheduled for b in wanted], bundle_label_selectors=[dict(b.labels) for b in wanted])


def wait_for_room(needs: list[Bundle], autoscale_s: float, told: Callable[[str], None]) -> None:
    """Return when the least of `needs` fits what is free; say why while it does not.

    What others hold is waited for as long as it takes. UserError when the job would not fit if nothing else ran, after
    `autoscale_s` seconds of asking the autoscaler for more nodes: Ray would leave it pending for ever.
    KeyboardInterrupt for Ctrl-C or SIGTERM meanwhile.
    """
    with asked_to_stop() as stop:
        _wait(needs, autoscale_s, told, stop)
        if stop():
            raise KeyboardInterrupt


def _wait(needs: list[Bundle], autoscale_s: float, told: Callable[[str], None], stop: Callable[[], bool]) -> None:
    started, said, said_at = time.monotonic(), "", 0.0
    try:
        while not (found := fit(needs, snapshot())).enough:
            if stop():
                return
            waited, idle = time.monotonic() - started, fit(needs, emptied(found.nodes))
            if not idle.enough and waited >= autoscale_s:
                raise _never(idle, autoscale_s)
            if autoscale_s:
                ask_autoscaler(needs)
            why = "other jobs use the rest" if idle.enough else "more nodes were asked of the autoscaler"
            text = f"waiting for room on the cluster: needs {found.missing()} now; {why}"
            if text != said or time.monotonic() - said_at >= SAY_AGAIN_S:
                told(text)
                said, said_at = text, time.monotonic()
            time.sleep(POLL_S)
    finally:
        if autoscale_s:
            ask_autoscaler([])  # from here on, Ray Train asks for its workers
    if said:
        told("there is room now")


def _never(idle: Fit, autoscale_s: float) -> UserError:
    """For a job that does not fit what `idle` was made from: the nodes with nothing on them."""
    (needs,) = idle.bundles
    waited = f" after {autoscale_s:g} s of waiting for the autoscaler" if autoscale_s else ""
    if count := idle.count(needs):
        most = f"the largest that fits is workers.count={count}"
    else:
        cpus = max((node.total.get("CPU", 0.0) for node in idle.nodes), default=0.0)
        gpus = sum(node.total.get("GPU", 0.0) for node in idle.nodes)
        most = (
            f"the largest node has {cpus:g} CPU, the cluster {gpus:g} GPU (workers.cpus, workers.gpu, workers.labels)"
        )
    return UserError(
        f"the job does not fit the cluster even with nothing else on it{waited}: it needs {idle.missing()}; {most}\n"
        f"{bundle_table(idle.bundles)}\n\n{node_table(idle)}"
    )

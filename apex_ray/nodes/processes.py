"""Which process of which node a part of the run is, and what it is doing where it hangs."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from apex_ray import stacks
from apex_ray.nodes.flow import remote
from cluster.initialised import initialised

ANSWERED_S = 15.0


@cache
def _incarnation() -> str:
    """Of this process, which may be a fork of one that has imported this file."""
    return uuid.uuid4().hex


class Process(NamedTuple):
    node: str  # its id
    pid: int
    incarnation: str  # another one for each process


def this_process() -> Process:
    """From now on it writes its stacks on request, too."""
    stacks.write_on_request()
    return Process(str(ray.get_runtime_context().get_node_id()), os.getpid(), _incarnation())


def write_stacks(run: Path, processes: Mapping[str, Process]) -> str:
    """Write into the run folder what these processes, by the part that each is, are doing: where that is, in words."""
    if not processes:
        return "no stacks: its process is not known yet"
    with ThreadPoolExecutor(len(processes)) as pool:
        found = pool.map(_stacks, processes.values())
        return stacks.write(run, dict(zip(processes, found, strict=True)))


def _stacks(process: Process) -> str:
    """By a call on its node, where that is another one."""
    client = (initialised() or "").startswith("ray://")
    if not client and process.node == ray.get_runtime_context().get_node_id():
        return stacks.stacks_of(process.pid)
    there = NodeAffinitySchedulingStrategy(process.node, soft=False)
    call = remote(num_cpus=0, scheduling_strategy=there, max_retries=0)(stacks.stacks_of).remote(process.pid)
    try:
        text: str = ray.get(call, timeout=ANSWERED_S)
        return text
    except (ray.exceptions.RayError, TimeoutError) as error:
        return f"its node has not told its stacks: {type(error).__name__}\n"

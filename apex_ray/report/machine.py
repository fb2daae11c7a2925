"""What a bug report needs of this machine: versions, devices, memory, games; no names of users, folders or hosts."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import psutil

from trainkit.run_record import PACKAGES, installed
from trainkit.words import plural, size

CPU_INFO, SHARED_MEMORY = Path("/proc/cpuinfo"), Path("/dev/shm")


def lines() -> list[str]:
    """`name  value`, aligned, for a terminal and for pasting."""
    found = list(facts())
    width = max(len(name) for name, _ in found)
    return [f"{name:{width}}  {value}" for name, value in found]


def facts() -> Iterator[tuple[str, str]]:
    """(what, value)."""
    yield "Python", platform.python_version()
    yield "system", f"{platform.system()} {platform.release()} {platform.machine()}, {_libc()}"
    for name in PACKAGES:
        yield name, installed(name) or "not installed"
    yield "CPU", f"{_cpu()}, {plural(len(os.sched_getaffinity(0)), 'core')} for this process"
    memory = psutil.virtual_memory()
    yield "memory", f"{size(memory.total)}, {size(memory.available)} free"
    if SHARED_MEMORY.is_dir():
        yield "shared memory", f"{size(shutil.disk_usage(SHARED_MEMORY).free)} free in {SHARED_MEMORY}"
    yield "torch's devices", _devices()
    yield "RAY_ADDRESS", "set" if os.environ.get("RAY_ADDRESS") else "not set"  # to what is its user's affair
    yield "Atari games", _games()
    yield "plug-ins", ", ".join(sorted(found.name for found in entry_points(group="apex_ray.environments"))) or "none"


def _libc() -> str:
    return " ".join(platform.libc_ver()).strip() or "unknown C library"


def _cpu() -> str:
    try:
        found = [line for line in CPU_INFO.read_text().splitlines() if line.startswith("model name")]
    except OSError:
        found = []
    return found[0].split(":", 1)[1].strip() if found else platform.processor() or "unknown CPU"


def _devices() -> str:
    try:
        import torch
    except Exception as error:  # of a broken installation, which is what the reader wants to know
        return f"torch can't be imported: {type(error).__name__}: {error}"
    cuda = torch.cuda
    gpus = [f"{cuda.get_device_name(i)}, {size(cuda.mem_get_info(i)[1])}" for i in range(cuda.device_count())]
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPUs"
    return f"{', '.join(gpus) or 'CPU only'} (built for {built})"


def _games() -> str:
    try:
        import ale_py
        import gymnasium
    except ImportError as error:
        return f"ale-py can't be imported: {error}"
    gymnasium.register_envs(ale_py)
    return f"{sum(name.startswith('ALE/') for name in gymnasium.registry)} that ale-py brings"

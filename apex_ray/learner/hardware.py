"""What the machine has for the learner: its device, and whether torch.compile can work on it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Literal

import torch

from apex_ray.types import AnyArray
from trainkit.errors import UserError


def resolve_device(name: str, setting: str = "learner.device") -> torch.device:
    """The device a name means; `auto` is CUDA where there is one. UserError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{setting} = {name!r} can't be used ({reason}); expected auto, cpu or cuda[:N]") from None
    return device


def resolve_compile(setting: bool | Literal["auto"], device: torch.device) -> bool:
    """Whether to compile. UserError when it is asked for and something is missing; `auto` does without then."""
    missing = missing_for_compile(device) if setting else None
    if setting is True and missing:
        raise UserError(f"learner.compile = true, but there is {missing}; install it, or expected auto or false")
    return bool(setting) and not missing


def page_lock(memory: AnyArray) -> None:
    """Lock an array's pages, so that a GPU reads them by itself and beside its work. Slower transfers if it can't."""
    pages = torch.from_numpy(memory)
    torch.cuda.cudart().cudaHostRegister(pages.data_ptr(), memory.nbytes, 0)  # type: ignore[no-untyped-call]


def missing_for_compile(device: torch.device) -> str | None:
    """What torch.compile lacks on this machine, or None. On a CPU it writes C++ that becomes a Python extension,
    on a GPU Triton builds a launcher in C.
    """
    if device.type == "cuda":
        if not importlib.util.find_spec("triton"):
            return "no package triton"
        compiler = os.environ.get("CC", "gcc")
        return None if shutil.which(compiler) else f"no C compiler {compiler} ($CC may name another)"
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if not shutil.which(compiler):
        return f"no C++ compiler {compiler} ($CXX may name another)"
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return None if header.exists() else f"no {header} (Python's development package brings it)"

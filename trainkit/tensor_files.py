""".safetensors files of finite tensors, and an optimizer's state as such tensors. Nothing is unpickled."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from trainkit.errors import NotWrittenError


class NotFiniteError(NotWrittenError):
    """Values that are no use to go on from."""


def write(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write the tensors, from whatever device. NotFiniteError when one holds nan or inf; OSError for a full disk."""
    here = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    for name, tensor in here.items():
        if not torch.isfinite(tensor).all():
            raise NotFiniteError(f"{name} of {path.name} is not finite: such weights are not saved")
    try:
        save_file(here, path)
    except SafetensorError as error:  # it tells the system's reason only in words
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from None


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What it has learned of each parameter, as "NUMBER.NAME", but none of its settings; none before its first step."""
    state: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, of in state.items() for name, value in of.items()}


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Go on from `optimizer_tensors`, with the settings (learning rate and so on) that `optimizer` was built with.

    ValueError where they do not fit its parameters.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        if not (number.isdecimal() and int(number) < len(parameters) and name):
            raise ValueError(f"the optimizer has no {key}")
        parameter = parameters[int(number)].detach()
        if value.dim() and value.shape != parameter.shape:
            raise ValueError(f"the optimizer's {key} has shape {list(value.shape)}, not {list(parameter.shape)}")
        # A copy, in the parameter's own memory layout, as the optimizer itself would have made it.
        like = parameter if value.dim() else value
        state.setdefault(int(number), {})[name] = torch.empty_like(like, dtype=value.dtype, device="cpu").copy_(value)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

"""Checkpoints of data-parallel runs as every trainer names them: which is the newest, and how far it had come."""

from __future__ import annotations

from pathlib import Path

import torch

from cluster.errors import UserError

WEIGHTS, TRAINING, OPTIMIZER = "weights.safetensors", "training.safetensors", "optimizer.pt"


def newest(run: Path) -> Path:
    """The newest checkpoint's folder of a run. UserError when there is none."""
    found = sorted(p for p in run.glob("checkpoint_*") if (p / WEIGHTS).is_file())
    if not found:
        raise UserError(f"run {str(run)!r} has no checkpoint yet; the first is written at the first validation or stop")
    return found[-1]


def updates(run: Path) -> int:
    """How many the newest checkpoint comes after; 0 without one."""
    if not any(run.glob(f"checkpoint_*/{WEIGHTS}")):
        return 0
    return int(torch.load(newest(run) / OPTIMIZER, map_location="cpu", weights_only=True)["step"])

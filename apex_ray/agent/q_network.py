"""A Q-network for any observation: a torso for it, one for each part where it has several, and a head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from apex_ray.agent.registry import TORSO, TORSOS, made, named
from apex_ray.agent.torsos import conv_fits
from apex_ray.config.schema import NetworkConfig
from apex_ray.types import EnvSpec
from trainkit.errors import UserError


class QNetwork(nn.Module):
    """Observations, leaves [B, S, *F] -> what the head gives. A torso of one leaf is given its tensor alone."""

    def __init__(self, spec: EnvSpec, torso: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.torso, self.head = torso, head
        names = list(spec.seen)
        self._only = names[0] if len(names) == 1 else None

    def forward(self, observations: Mapping[str, Tensor]) -> Tensor:
        return self.head(self.torso(observations if self._only is None else observations[self._only]))  # type: ignore[no-any-return]


class CombinedTorso(nn.Module):
    """A torso for each leaf of an observation; their features side by side."""

    def __init__(self, spec: EnvSpec, config: NetworkConfig) -> None:
        super().__init__()
        self._names = list(spec.seen)
        torsos: list[Any] = [
            _torso_of_leaf(replace(spec, observation={name: leaf}), config) for name, leaf in spec.seen.items()
        ]
        self.torsos = nn.ModuleList(torsos)
        self.num_features = sum(torso.num_features for torso in torsos)

    def forward(self, observations: Mapping[str, Tensor]) -> Tensor:
        """Leaves [B, S, *F] -> [B, features]."""
        features = [torso(observations[n]) for n, torso in zip(self._names, self.torsos, strict=True)]
        return torch.cat(features, dim=1)


def build_torso(spec: EnvSpec, config: NetworkConfig) -> nn.Module:
    """The torso that `network.torso` names. One of apex-ray's own is for the leaves that it can take; a user's own has
    the whole observation: its tensor, or where there are several leaves, a mapping of them.
    """
    named(TORSOS | {"auto": TORSOS["mlp"]}, config.torso, "network.torso")  # refused here where there is none
    if len(spec.seen) > 1 and ":" not in config.torso:
        return CombinedTorso(spec, config)
    return _built(config.torso if ":" in config.torso else _fitting(spec, config), spec, config)


def _torso_of_leaf(spec: EnvSpec, config: NetworkConfig) -> nn.Module:
    """Of one among several; what `config` names is for the images, or with mlp for the others."""
    if (config.torso != "mlp") != (spec.leaf.kind == "image"):
        config = config.model_copy(update={"torso": "auto", "torso_kwargs": {}})
    return _built(_fitting(spec, config), spec, config)


def _fitting(spec: EnvSpec, config: NetworkConfig) -> str:
    """The name that `auto` stands for, or the one that is given."""
    if config.torso != "auto":
        return config.torso
    if spec.leaf.kind != "image":
        return "mlp"
    return "conv" if conv_fits(spec, config) else "small_conv"


def _built(name: str, spec: EnvSpec, config: NetworkConfig) -> nn.Module:
    torso: nn.Module = made(TORSO, name, spec, config)
    if not isinstance(torso, nn.Module):
        raise UserError(f"network.torso = {name!r} gave {type(torso).__name__}; expected a torch.nn.Module")
    if not isinstance(torso.num_features, int):
        raise UserError(f"network.torso = {name!r} has num_features = {torso.num_features!r}; expected a whole number")
    return torso
